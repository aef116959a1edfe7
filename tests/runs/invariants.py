"""What must hold of an output folder at every moment, whoever is halted where."""

from collections.abc import Callable
from dataclasses import dataclass

from seqcls_beam.runs import commit
from seqcls_beam.runs.versions import Version, newest, read_version, version_name
from tests.runs.memory import Bucket, Disk, State, below
from tests.runs.replay import Node, Process, Replay


class Violation(AssertionError):
    """What must not be."""


def demand(holds: bool, otherwise: str) -> None:
    """Raise `Violation` where something does not hold."""
    if not holds:
        raise Violation(otherwise)


@dataclass(eq=False)
class Snapshot:
    """The files at one moment, and what the versions among them say."""

    state: State
    decided: tuple[bytes, ...] = ()
    versions: tuple[Version, ...] = ()
    closed: frozenset[str] = frozenset()  # stages of versions


class Invariants:
    """Checks; each raises `Violation`."""

    def __init__(self, files: Disk | Bucket, replay: Replay, content: Callable[[str, str], bytes]) -> None:
        self._files = files
        self._replay = replay
        self._content = content
        self._given = 0  # versions that were there before
        self._damaged: frozenset[str] = frozenset()  # of which these files are not

    def begin(self, state: State, damaged: list[str]) -> None:
        """What is there before anybody is at work."""
        self._given, self._damaged = _count(state), frozenset(damaged)

    def snapshot(self, state: State) -> Snapshot:
        """A state that was not seen before. Versions have no gap."""
        found, store = Snapshot(state), self._replay.look(state)
        for number in range(1, _count(state) + 1):
            name = version_name("", number)
            demand(name in state, f"versions have a gap: {name} is not there")
            found.decided += (self._files.content(state, name) or b"",)
            found.versions += (read_version(store, "", number)[0],)
        found.closed = frozenset(each.stage for each in found.versions if not store.is_open(each.stage))
        self._check_listings(found)
        self._check_reader(found)
        return found

    def check_step(self, before: Snapshot, after: Snapshot) -> None:
        """What no step may do."""
        demand(after.decided[: len(before.decided)] == before.decided, "a version has changed or is gone")
        demand(before.closed <= after.closed, "a stage that was closed is open again")

    def check_claim(self, process: Process, number: int, state: State) -> None:
        """That a version is published, as a process says."""
        if not number:
            return
        say = f"{process.name} says that version {number} is published"
        demand(number <= _count(state), f"{say}, and there is none")
        store = self._replay.look(state)
        version, _ = read_version(store, "", number)
        demand(version.run_id == process.run_id, f"{say}, which is of run {version.run_id}")
        demand(not store.is_open(version.stage), f"{say}, and its stage is open")
        for name in version.named if number == _count(state) else ():
            data = self._files.content(state, name)
            demand(data == self._content(version.run_id, name), f"{say}, and {name} is {data!r}")

    def check_rest(self, snapshot: Snapshot, nodes: tuple[Node, ...]) -> None:
        """What is left when all have ended: only work of runs that were beaten or shut out, or crashed."""
        kept = {node.process.run_id for node in nodes if node.start or (node.outcome and node.outcome.said == "beaten")}
        barred = any(version.bars for version in snapshot.versions)
        for name in below(snapshot.state, "_attempts"):
            allowed = barred or name.split("/")[1].rpartition("-")[0] in kept
            demand(allowed, f"all have ended, and {name} is left")
        if self._files.local and snapshot.versions:
            named = snapshot.versions[-1].named
            there = set(self._visible(snapshot.state))
            demand(there == named, f"all have ended, and these are missing or left: {sorted(there ^ named)}")

    def _visible(self, state: State) -> dict[str, bytes]:
        names = [name for name in state if name[0] != "?" and name.split("/")[0] not in ("_versions", "_attempts")]
        return {name: data for name in names if (data := self._files.content(state, name)) is not None}

    def _check_listings(self, snapshot: Snapshot) -> None:
        """Who lists folders finds nothing of an attempt that never won, and on a disk no mixture."""
        visible = self._visible(snapshot.state)

        def is_of(version: Version, name: str) -> bool:
            return name in version.named and visible[name] == self._content(version.run_id, name)

        for name in visible:
            right = any(is_of(version, name) for version in snapshot.versions)
            demand(right, f"a listing shows {name} with {visible[name]!r}, which no version has")
        if not self._files.local or not snapshot.versions:
            return
        for folder in {name.rpartition("/")[0] for name in visible} - {""}:
            there = {name for name in visible if name.rpartition("/")[0] == folder}
            if folder == "data":  # of the fixed names
                one = any(all(is_of(version, name) for name in there) for version in snapshot.versions)
                demand(one, f"{folder}/ shows files of two versions: {sorted(there)}")
            if len(snapshot.versions) == 1 and not self._given:
                due = {name for name in snapshot.versions[0].named if name.rpartition("/")[0] == folder}
                demand(there == due, f"{folder}/ shows a part of the first version: {sorted(there)}")

    def _check_reader(self, snapshot: Snapshot) -> None:
        """Who reads by version finds all files of the newest one, with their bytes."""
        store = self._replay.look(snapshot.state)
        number = newest(store, "")
        demand(number == len(snapshot.versions), f"the newest is {len(snapshot.versions)}, and {number} is found")
        if not number:
            return
        version, _ = read_version(store, "", number)
        elsewhere = commit.locate(store, version)
        for name in sorted(version.named - (self._damaged if number <= self._given else frozenset())):
            place = elsewhere.get(name, name)
            data = self._files.content(snapshot.state, place)
            demand(
                data == self._content(version.run_id, name), f"version {number}: {name}, read at {place}, is {data!r}"
            )


def _count(state: State) -> int:
    return sum(name.startswith("_versions/") and state[name] is not None for name in state)
