"""What the explorer needs to know of nights that share their input: their program, and what must hold.

A night follows its date, claims files and publishes a version that says that it is made of them, by the shipped code.
It has no rows: how those are published is explored without claims. Whether another night lives is answered either way
at every question, for nothing that is published may rest on it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import orjson

from seqcls_beam.runs import claims, commit, publication
from seqcls_beam.runs.covered import Covered, Key
from seqcls_beam.runs.run import Run, RunError
from seqcls_beam.runs.store import Store, store_of
from seqcls_beam.runs.versions import NOTHING
from tests.runs import memory
from tests.runs.explorer import Explorer, Scenario
from tests.runs.invariants import Invariants, Snapshot, Violation, demand
from tests.runs.memory import OUTPUT, READS, State, below
from tests.runs.replay import Node, Outcome, Process, Replay

VERSIONS, CLAIMS = "_versions", claims.FOLDER
LIVES = "?lives"
MANY = 2000
"""Steps after which one that runs alone is taken for one that never ends; a night does about a hundred."""

Publish = Callable[[Callable[[], int]], Outcome]


def night(name: str, date: str, files: str, publish: Publish, starts: int = 1) -> Process:
    """A night that finds files, each of one letter. `publish` says what became of a publication."""
    keys: list[Key] = [(letter, 1, "") for letter in files]

    def begin(_: Any) -> Run:
        return publication.follow(Run(OUTPUT, "", partition=f"run_date={date}"))

    def take(run: Run) -> Any:
        before = publication.current(run)
        if before is not None and before.manifest["inputs"]:
            return Outcome("refused")  # a date is labelled once
        try:
            taken = claims.take(run, keys, lambda: covered(store_of(OUTPUT)))
        except RunError:
            return Outcome("refused")  # another start of the date works on other files
        mine = "".join(letter for letter, ours in zip(files, taken.files, strict=True) if ours)
        if not mine and before is not None:
            return Outcome("refused")
        return replace(run, run_id=f"{date}{mine}")

    def end(run: Run) -> Outcome:
        inputs = [{"path": letter, "size": 1, "version": "", "rows": 1} for letter in run.run_id[len(date) :]]
        manifest = {**NOTHING, "run_id": run.run_id, "kind": "classify", "inputs": inputs}
        return publish(lambda: publication.publish_files(run, manifest, []))

    return Process(name, date, (begin, take, end), starts)


def cleaner(name: str) -> Process:
    """Empties files of claims that do not count any more."""

    def clean(_: Any) -> Outcome:
        claims.empty(store_of(OUTPUT))
        return Outcome("cleaned")

    return Process(name, "0", (clean,))


def covered(store: Store) -> Covered:
    """What all versions cover."""
    return Covered(store, {})


class _Asked:
    """Files in memory, and whether somebody lives: no at first, for one that runs alone."""

    def step(self, state: State, operation: str, names: tuple[str, ...], data: bytes, writer: str) -> memory.Steps:
        if names[0].startswith(LIVES):
            return [(False, state), (True, state)]
        return super().step(state, operation, names, data, writer)  # type: ignore[misc]


class Disk(_Asked, memory.Disk):
    """A disk."""


class Bucket(_Asked, memory.Bucket):
    """A store."""


class Nights(Replay):
    """The shipped code; between the steps of `claims.take` a process knows only what these were given and answered."""

    @contextmanager
    def patched(self) -> Iterator[None]:
        """The same, for nights."""

        def lives(_: Store, claim: Any, now: float) -> bool:
            return bool(self._answer("exists", (f"{LIVES}/{claim.partition}/{claim.number}",), b""))

        with ExitStack() as patches:
            patches.enter_context(super().patched())
            patches.enter_context(mock.patch.object(claims, "_lives", lives))
            patches.enter_context(mock.patch.object(claims, "_at_work", lives))
            for of, name in (
                (claims, "_look"),
                (claims, "_refuse_beside"),
                (claims, "_end_dead"),
                (claims, "_end"),
                (claims, "_write"),
                (commit, "publish"),
            ):
                patches.enter_context(mock.patch.object(of, name, self._forgetting(name, getattr(of, name))))
            this = Nights.__module__
            patches.enter_context(mock.patch(f"{this}.covered", self._forgetting("covered", covered)))
            yield

    def _forgetting(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def forgetting(store: Store, *given: Any) -> Any:
            if self._state is not None or not self._forgets:
                return function(store, *given)
            outer = self._frames
            said = (name, *map(repr, given))
            self._frames = (*outer, said)
            self._pass()
            result = function(store, *given)
            kept = sorted(result.files.items()) if isinstance(result, Covered) else result
            self._frames = (*outer, (*said, repr(kept)))
            self._pass()
            return result

        return forgetting

    def _answer(self, operation: str, names: tuple[str, ...], data: bytes) -> Any:
        if self._state is not None and self._asked > MANY:
            raise Violation("it does not end")
        return super()._answer(operation, names, data)


@dataclass(eq=False)
class Table(Snapshot):
    """The files at one moment, and what the newest versions are made of."""

    newest: dict[str, int] = field(default_factory=dict)  # partition → number
    inputs: dict[str, frozenset[str]] = field(default_factory=dict)  # partition → files
    kept: dict[str, bytes] = field(default_factory=dict)  # files that never change


class Shared(Invariants):
    """What must hold of files that nights share, whoever is halted where."""

    asked: dict[str, str]
    """Names of nights → the files that each finds."""

    def snapshot(self, state: State) -> Table:
        """A state that was not seen before.

        No file is in two partitions, neither versions nor claims have a gap, no claim goes before it is over, and who
        ends one wants a file of it.
        """
        found = Table(state)
        for name in sorted(name for name in state if name.startswith((f"{VERSIONS}/", f"{CLAIMS}/"))):
            data = self._files.content(state, name)
            if data is not None:
                found.kept[name] = data
                folder, _, file = name.rpartition("/")
                found.newest[folder] = found.newest.get(folder, 0) + 1
                demand(file == f"{found.newest[folder]:08d}.json", f"{folder} has a gap before {file}")
        for folder, number in found.newest.items():
            if folder != CLAIMS:
                said = orjson.loads(found.kept[f"{folder}/{number:08d}.json"])
                found.inputs[folder] = frozenset(each["path"] for each in said.get("inputs", []))
        twice = _twice(found.inputs)
        demand(not twice, f"{twice} are of two partitions: {found.inputs}")
        held = [_claims(data) for name, data in found.kept.items() if name.startswith(f"{CLAIMS}/")]
        for partition, number, file in set().union(*held) - (held[-1] if held else set()):
            over = found.newest.get(f"{VERSIONS}/{partition}", 0) >= number
            demand(over, f"the claim of {partition} to {file} is gone before it is over")
        self._check_bars(found, set().union(*held))
        return found

    def _check_bars(self, found: Table, held: set[tuple[str, int, str]]) -> None:
        for name, data in found.kept.items():
            if name.startswith(f"{VERSIONS}/") and (commit := orjson.loads(data)["commit"])["bars"]:
                who = commit["stage"].rpartition("-")[2][0]
                ended = {file for *of, file in held if of == [commit["partition"], commit["version"]]}
                wanted = {claims._digest((letter, 1, "")) for letter in self.asked[who]}
                demand(not ended or bool(ended & wanted), f"{who} ends a claim to files that it does not want")

    def check_step(self, before: Snapshot, after: Snapshot) -> None:
        """What no step may do: change what was decided or claimed, or uncover a file."""
        assert isinstance(before, Table) and isinstance(after, Table)
        for name, data in before.kept.items():
            spent = name.startswith(f"{CLAIMS}/") and after.kept.get(name) == b"" and name < _last(after)
            demand(spent or after.kept.get(name) == data, "a version or a file of claims has changed or is gone")
        for folder, files in before.inputs.items():
            lost = files - after.inputs[folder]
            demand(not lost, f"{folder} does not cover {set(lost)} any more")

    def check_claim(self, process: Process, number: int, state: State) -> None:
        """That a night that says so has published, and its files are covered."""
        if not number:
            return
        say = f"{process.name} says that version {number} of {process.run_id} is published"
        folder = f"{VERSIONS}/run_date={process.run_id}"
        data = self._files.content(state, f"{folder}/{number:08d}.json")
        if data is None:
            raise Violation(f"{say}, and there is none")
        said = orjson.loads(data)
        demand(not said["commit"]["bars"], f"{say}, and that bars")
        demand(not self._replay.look(state).is_open(said["commit"]["stage"]), f"{say}, and its stage is open")
        mine = set(said["run_id"][len(process.run_id) :])
        lacking = mine - self.snapshot(state).inputs[folder]
        demand(not lacking, f"{say}, and {lacking} are not covered")

    def check_rest(self, snapshot: Snapshot, nodes: tuple[Node, ...]) -> None:
        """What is left when all have ended: where nobody died, nothing."""
        if not any(node.start for node in nodes):
            left = [name for name in below(snapshot.state, "_attempts") if "/publish-" in name]
            demand(not left, f"all have ended, and {left} are left")

    def check_all_are_taken(self, files: set[str], state: State) -> None:
        """That every file is of a partition."""
        lacking = files - frozenset[str]().union(*self.snapshot(state).inputs.values())
        demand(not lacking, f"a later night that runs alone does not get {lacking}")


def _claims(data: bytes) -> set[tuple[str, int, str]]:
    """(partition, version, file) of a file of claims."""
    said = orjson.loads(data)["claims"] if data else []
    return {(each["partition"], each["number"], file) for each in said for file in each["files"]}


def _last(table: Table) -> str:
    """The newest file of claims."""
    return f"{CLAIMS}/{table.newest[CLAIMS]:08d}.json"


def _twice(inputs: dict[str, frozenset[str]]) -> set[str]:
    every = [file for files in inputs.values() for file in files]
    return {file for file in every if every.count(file) > 1}


class Sharing(Explorer):
    """The search, for nights.

    More steps that make no difference: somebody is asked whether he lives, a file of claims that is there is read, and
    it is asked for labels and rejects, which are none here. To create a version or a file of claims makes one.
    """

    def __init__(self, scenario: Scenario, later: Process, files: str, asked: dict[str, str]) -> None:
        """`later` is a night after all others, that finds all files; `asked` says what each night finds."""
        super().__init__(scenario)
        self._later, self._files_there = later, set(files)
        self._replay = Nights(scenario.files, scenario.forgets)
        self._holds: Shared = Shared(scenario.files, self._replay, scenario.content)
        self._holds.asked = {**asked, later.name: files}

    def _makes_no_difference(self, snapshot: Snapshot, node: Node) -> bool:
        assert node.call is not None and isinstance(snapshot, Table)
        operation, names = node.call.operation, node.call.names
        name = names[-1 if operation == "aside" else 0]
        if operation in READS:
            if operation == "names":
                return name == "" or name.startswith(("labels/", "_rejects/"))  # rows there are none
            if name.startswith((LIVES, "labels", "_rejects")) or name in ("_attempts", VERSIONS):
                return True
            there = name in snapshot.state
            if name.startswith((f"{VERSIONS}/", f"{CLAIMS}/")):
                return there
            return super()._makes_no_difference(snapshot, node)
        if "/publish-" in name and f"-{node}." in name:
            folder, _, rest = name.partition("/publish-")
            newest = snapshot.newest.get(f"{VERSIONS}/{folder.partition('/')[2]}", 0)
            return operation != "link" and int(rest.split("-")[0]) > newest
        return "/over-" in name

    def _check_nobody_is_blocked(self, state: State) -> None:
        super()._check_nobody_is_blocked(state)
        self._holds.check_all_are_taken(self._files_there, self._alone(self._later, state))
