"""Runs a workflow's steps; what it calls beyond itself is given."""

from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.deploy.workflows.expressions import WorkflowError, body, evaluate, library

Call = Callable[[dict[str, Any]], Any]
MOST_STEPS = 100_000
"""That an execution may take, by the quotas of the service."""


@dataclass
class _Next:
    step: str


@dataclass
class _Return:
    value: Any


Outcome = _Next | _Return | None


class Execution:
    """One execution. `calls` are connectors and other calls, by name: each gets its arguments as one map.

    The clock is the execution's own: it stands still but for `sys.sleep` and the pauses between tries.
    """

    def __init__(
        self, workflow: dict[str, Any], environ: Mapping[str, str], calls: Mapping[str, Call], now: float
    ) -> None:
        self._workflows = workflow
        self._calls = calls
        self._functions = library(environ, lambda: self.now)
        self.now = now
        self.slept: list[float] = []
        self.steps = 0

    def run(self, argument: Any = None) -> Any:
        """What `main` returns. Raises `WorkflowError` with what nothing caught."""
        return self._subworkflow("main", {"args": argument})

    def _subworkflow(self, name: str, given: dict[str, Any]) -> Any:
        of = self._workflows[name]
        if {*given} != {*of.get("params", [])}:
            raise TypeError(f"{name} takes {of.get('params', [])}, and was given {[*given]}")
        outcome = self._list(of["steps"], ChainMap(dict(given)))
        assert not isinstance(outcome, _Next), f"{name} jumps to {outcome}, which it has not"
        return outcome.value if outcome else None

    def _list(self, steps: list[dict[str, Any]], scope: ChainMap[str, Any]) -> Outcome:
        names = [next(iter(each)) for each in steps]
        at = 0
        while at < len(steps):
            self.steps += 1
            assert self.steps < MOST_STEPS, "the execution does not end"
            outcome = self._step(steps[at][names[at]], scope)
            if isinstance(outcome, _Next):
                if outcome.step not in names:
                    return outcome
                at = names.index(outcome.step)
            elif outcome:
                return outcome
            else:
                at += 1
        return None

    def _step(self, step: dict[str, Any], scope: ChainMap[str, Any]) -> Outcome:
        outcome: Outcome = None
        if "assign" in step:
            self._assign(step["assign"], scope)
        elif "switch" in step:
            outcome = self._switch(step["switch"], scope)
        elif "for" in step:
            outcome = self._for(step["for"], scope)
        elif "try" in step:
            outcome = self._try(step, scope)
        else:
            outcome = self._plain(step, scope)
        return outcome or (_Next(step["next"]) if "next" in step else None)

    def _plain(self, step: dict[str, Any], scope: ChainMap[str, Any]) -> Outcome:
        """A call, a return, a raise, or steps within."""
        if "call" in step:
            result = self._call(step["call"], self._of(step.get("args", {}), scope))
            if "result" in step:
                self._set(step["result"], result, scope)
            return None
        if "steps" in step:
            return self._list(step["steps"], scope)
        if "raise" in step:
            raise WorkflowError(self._of(step["raise"], scope))
        return _Return(self._of(step["return"], scope)) if "return" in step else None

    def _call(self, name: str, given: dict[str, Any]) -> Any:
        if name in self._workflows:
            return self._subworkflow(name, given)
        if name == "sys.sleep":
            return self._sleep(given["seconds"])
        return self._calls[name](given)

    def _switch(self, cases: list[dict[str, Any]], scope: ChainMap[str, Any]) -> Outcome:
        for case in cases:
            holds = self._of(case["condition"], scope)
            assert isinstance(holds, bool), case["condition"]
            if holds:
                return self._plain(case, scope) or (_Next(case["next"]) if "next" in case else None)
        return None

    def _for(self, loop: dict[str, Any], scope: ChainMap[str, Any]) -> Outcome:
        for each in self._of(loop["in"], scope):
            outcome = self._list(loop["steps"], scope.new_child({loop["value"]: each}))
            if outcome:
                return outcome
        return None

    def _try(self, step: dict[str, Any], scope: ChainMap[str, Any]) -> Outcome:
        retry = step.get("retry")
        pause = retry["backoff"]["initial_delay"] if retry else 0
        tries = 0
        while True:
            try:
                return self._plain(step["try"], scope)
            except WorkflowError as error:
                if retry and tries < retry["max_retries"] and self._is_tried_again(retry["predicate"], error.error):
                    self._sleep(pause)
                    pause = min(pause * retry["backoff"]["multiplier"], retry["backoff"]["max_delay"])
                    tries += 1
                elif "except" in step:
                    caught = step["except"]
                    return self._list(caught["steps"], scope.new_child({caught["as"]: error.error}))
                else:
                    raise

    def _is_tried_again(self, predicate: str, error: Any) -> bool:
        name = body(predicate)
        assert name in self._workflows, predicate
        (parameter,) = self._workflows[name]["params"]
        answer = self._subworkflow(name, {parameter: error})
        assert isinstance(answer, bool)
        return answer

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def _assign(self, pairs: list[dict[str, Any]], scope: ChainMap[str, Any]) -> None:
        for pair in pairs:
            ((target, value),) = pair.items()
            self._set(target, self._of(value, scope), scope)

    def _set(self, target: str, value: Any, scope: ChainMap[str, Any]) -> None:
        """Assign where the variable is, or here where nobody has it; `a.b` is a member of the map `a`."""
        name, *path = target.split(".")
        of = next((each for each in scope.maps if name in each), scope.maps[0])
        for member in path:
            of, name = of[name], member
        of[name] = value

    def _of(self, value: Any, scope: ChainMap[str, Any]) -> Any:
        return evaluate(value, scope, self._functions)
