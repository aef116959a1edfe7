"""What can be said of a workflow that does not run: names resolve, variables are assigned, calls exist."""

from collections.abc import Iterator
from typing import Any

from tests.deploy.workflows.expressions import body, calls, library, parsed, reads

CONNECTORS: dict[str, tuple[set[str], set[str]]] = {
    "googleapis.dataflow.v1b3.projects.locations.flexTemplates.launch": ({"projectId", "location", "body"}, set()),
    "googleapis.dataflow.v1b3.projects.locations.jobs.get": ({"projectId", "location", "jobId"}, {"view"}),
    "googleapis.dataflow.v1b3.projects.locations.jobs.list": (
        {"projectId", "location"},
        {"filter", "pageSize", "pageToken", "view"},
    ),
    "googleapis.run.v2.projects.locations.jobs.run": ({"name", "body"}, {"connector_params"}),
    "googleapis.run.v2.projects.locations.jobs.executions.tasks.list": ({"parent"}, {"pageSize", "pageToken"}),
    "googleapis.storage.v1.objects.list": (
        {"bucket"},
        {"delimiter", "endOffset", "matchGlob", "maxResults", "pageToken", "prefix", "startOffset"},
    ),
    "sys.log": ({"text"}, {"severity"}),
    "sys.sleep": ({"seconds"}, set()),
}
"""Calls → the arguments that they must have, and may have, by the connectors' reference."""

LONGEST = 400
"""Characters of an expression, by the quotas of the service."""

KINDS = ("assign", "call", "for", "raise", "return", "steps", "switch", "try")
_BESIDE: dict[str, set[str]] = {
    "assign": {"next"},
    "call": {"args", "result", "next"},
    "for": set(),
    "raise": set(),
    "return": set(),
    "steps": {"next"},
    "switch": {"next"},
    "try": {"retry", "except", "next"},
}
_CASE = {"condition", "next", "raise", "return", "steps"}
_FUNCTIONS = set(library({}, lambda: 0.0))
_MODULES = {name.partition(".")[0] for name in _FUNCTIONS}

Step = dict[str, Any]
Jump = tuple[str, set[str]]
"""A step, and what is assigned where it is come to."""


def problems(workflow: dict[str, Any]) -> list[str]:
    """What is wrong, each in a sentence."""
    found = list(_unused(workflow))
    for name, of in workflow.items():
        checked = _Subworkflow(workflow)
        checked.steps(of["steps"], {*of.get("params", [])})
        names = [*_names(of)]
        checked.found += [f"{each} is the name of two steps" for each in names if names.count(each) > 1]
        found += [f"{name}: {each}" for each in dict.fromkeys(checked.found)]
    return found


def environ_of(workflow: Any) -> set[str]:
    """Variables of the environment that expressions read, but those of the service."""
    names = set()
    for value in _values(workflow):
        text = body(value)
        if text and "sys.get_env(" in text:
            names |= {each.partition('"')[0] for each in text.split('sys.get_env("')[1:]}
    return {each for each in names if not each.startswith("GOOGLE_CLOUD_")}


def _names(tree: Any, are_steps: bool = False) -> Iterator[str]:
    """Of all steps, those within steps too."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _names(value, key == "steps")
    elif isinstance(tree, list):
        for each in tree:
            if are_steps:
                yield from each
            yield from _names(each)


def _unused(workflow: dict[str, Any]) -> Iterator[str]:
    used = {"main"}
    for value in _values(workflow):
        text = body(value)
        used.add(str(value if text is None else text))
    for name in workflow:
        if name not in used:
            yield f"{name}: nobody calls it"


def _values(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        for each in tree.values():
            yield from _values(each)
    elif isinstance(tree, list):
        for each in tree:
            yield from _values(each)
    else:
        yield tree


class _Subworkflow:
    """Walks the steps of one, with the variables that are surely assigned where it is."""

    def __init__(self, workflow: dict[str, Any]) -> None:
        self._workflow = workflow
        self.found: list[str] = []

    def steps(self, steps: list[Step], known: set[str]) -> set[str] | None:
        """What is assigned behind a list of steps; None where nothing goes on behind it."""
        names = [next(iter(each)) for each in steps]
        before: dict[int, set[str]] = {0: known}
        behind: list[set[str]] = []
        settled = False
        while not settled:  # a step may be come to from behind, with less assigned
            settled, behind = True, []
            for at, step in enumerate(steps):
                if at not in before:
                    continue  # nothing comes here, so far
                falls, jumps = self._step(names[at], step[names[at]], before[at])
                for target, assigned in [*jumps, *([("", falls)] if falls is not None else [])]:
                    if target and target not in names:
                        self.found.append(f"{names[at]} goes on to {target}, which is not in its list")
                        continue
                    to = names.index(target) if target else at + 1
                    if to == len(steps):
                        behind.append(assigned)
                    elif to not in before or not before[to] <= assigned:
                        before[to] = assigned & before.get(to, assigned)
                        settled = False
        self.found += [f"{name} is never reached" for at, name in enumerate(names) if at not in before]
        return set.intersection(*behind) if behind else None

    def _step(self, name: str, step: Step, known: set[str]) -> tuple[set[str] | None, list[Jump]]:
        """(what is assigned where the next step follows, [(where it jumps to, what is assigned there)])."""
        kind, *more = [each for each in KINDS if each in step] or [""]
        if not kind or more or {*step} - {kind} - _BESIDE[kind]:
            self.found.append(f"{name} has {', '.join(step)}")
            return known, []
        falls: set[str] | None = known
        jumps: list[Jump] = []
        if kind == "assign":
            falls = self._assigned(name, step["assign"], known)
        elif kind == "switch":
            falls, jumps = self._switch(name, step["switch"], known)
        elif kind == "for":
            self._read(name, step["for"]["in"], known)
            self.steps(step["for"]["steps"], known | {step["for"]["value"]})  # may run never
        elif kind == "try":
            falls = self._try(name, step, known)
        else:
            falls = self._plain(name, step, known)
        if "next" in step and falls is not None:
            return None, [*jumps, (step["next"], falls)]
        return falls, jumps

    def _plain(self, name: str, step: Step, known: set[str]) -> set[str] | None:
        """A call, a return, a raise, or steps within."""
        if "call" in step:
            return self._called(name, step, known)
        if "steps" in step:
            return self.steps(step["steps"], known)
        for kind in ("raise", "return"):
            if kind in step:
                self._read(name, step[kind], known)
                return None
        return known

    def _switch(self, name: str, cases: list[Step], known: set[str]) -> tuple[set[str], list[Jump]]:
        ways: list[set[str]] = [known]  # where no condition holds
        jumps: list[Jump] = []
        for case in cases:
            if {*case} - _CASE or len(case) < 2:
                self.found.append(f"{name} has a case of {', '.join(case)}")
            self._read(name, case["condition"], known)
            behind = self._plain(name, case, known)
            if behind is not None:
                if "next" in case:
                    jumps.append((case["next"], behind))
                else:
                    ways.append(behind)
        return set.intersection(*ways), jumps

    def _try(self, name: str, step: Step, known: set[str]) -> set[str] | None:
        kinds = {*step["try"]}
        if not (kinds == {"steps"} or "call" in kinds):
            self.found.append(f"{name} tries {', '.join(kinds)}")
        ways = [self._plain(name, step["try"], known)]
        if "retry" in step:
            retry = step["retry"]
            if {*retry} != {"predicate", "max_retries", "backoff"}:
                self.found.append(f"{name} tries again by {', '.join(retry)}")
            elif {*retry["backoff"]} != {"initial_delay", "max_delay", "multiplier"}:
                self.found.append(f"{name} waits by {', '.join(retry['backoff'])}")
            elif body(retry["predicate"]) not in self._workflow:
                self.found.append(f"{name} asks {retry['predicate']} whether to try again")
        if "except" in step:
            caught = step["except"]
            behind = self.steps(caught["steps"], known | {caught["as"]})
            ways.append(None if behind is None else known)  # what is new in there stays in there
        open_ = [each for each in ways if each is not None]
        return set.intersection(*open_) if open_ else None

    def _called(self, name: str, step: Step, known: set[str]) -> set[str]:
        given = step.get("args", {})
        self._read(name, given, known)
        if step["call"] in self._workflow:
            must, may = {*self._workflow[step["call"]].get("params", [])}, set[str]()
        elif step["call"] in CONNECTORS:
            must, may = CONNECTORS[step["call"]]
        else:
            self.found.append(f"{name} calls {step['call']}, which is not known")
            return known
        if not must <= {*given} <= must | may:
            self.found.append(f"{name} calls {step['call']} with {', '.join(given)}")
        return known | {step["result"]} if "result" in step else known

    def _assigned(self, name: str, pairs: list[Step], known: set[str]) -> set[str]:
        known = {*known}
        for pair in pairs:
            ((target, value),) = pair.items()
            self._read(name, value, known)
            variable, _, member = target.partition(".")
            if member and variable not in known:
                self.found.append(f"{name} assigns {target}, and {variable} is not assigned before")
            if variable in _MODULES:
                self.found.append(f"{name} assigns {variable}, which is the library's")
            known.add(variable)
        return known

    def _read(self, name: str, value: Any, known: set[str]) -> None:
        for each in _values(value):
            text = body(each)
            if text is None:
                continue
            tree = parsed(text)
            if len(text) > LONGEST:
                self.found.append(f"{name} has an expression of {len(text)} characters")
            for function in calls(tree):
                if function not in _FUNCTIONS:
                    self.found.append(f"{name} calls {function}, which is not known")
            for variable in reads(tree):
                if variable not in known:
                    self.found.append(f"{name} reads {variable}, which may not be assigned")
