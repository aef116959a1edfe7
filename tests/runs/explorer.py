"""All interleavings of processes that publish into one folder, by the shipped code, over files in memory.

After every step of any process, any process may do its next one. A process may crash (it forgets everything) and start
again; to be halted is never to be chosen again, so every state that is reached is also one in which any of the others
are halted for ever, and what must hold is asked of every state.

What is left out, because it makes no difference:
- States are the same where the files are and where every process is at the same place of the shipped code with the same
  values, whatever it was answered before (`replay.FORGETFUL` names the places; a test explores without them, too).
- A crash is tried only right after a step that changed something: what a process read and then forgot changed nothing.
- A step that nobody else can see or hinder is taken at once, without the others' steps before it: a version that is
  there is read (it never changes), a stage is found closed (it never opens again), a stage is made or removed by the
  process that drew its token while its number is not decided, what was renamed to be removed is removed, and a run's
  work is written where no other process is of that run. Where a cleaner is at work, which looks at all of it, only the
  first two.
- A listing that lags does so by one change in its top folder; `_attempts` is listed to remove what is left over, and a
  lag would only leave more.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from seqcls_beam.runs.versions import EARLIER
from tests.runs.invariants import Invariants, Snapshot, Violation, demand
from tests.runs.memory import READS, Bucket, Disk, State
from tests.runs.replay import Node, Process, Replay

DEFINITE = frozenset({"published", "refused", "beaten", "cleaned"})

Nodes = tuple[Node, ...]
Happened = tuple[Node, Any]
"""A process before it did something, and what it was answered; or what it is after it crashed."""


@dataclass(frozen=True)
class Scenario:
    """What is there, and who is at work."""

    files: Disk | Bucket
    processes: tuple[Process, ...]
    content: Callable[[str, str], bytes]  # (run id, published name) → the bytes that belong there
    before: tuple[Process, ...] = ()  # run one after the other, undisturbed
    damage: Callable[[State], list[str]] = lambda state: []  # names that are then removed
    cleaner: bool = False
    forgets: bool = True
    every: int = 1  # a fresh process of each run is tried from one in so many states of the files


@dataclass
class Report:
    """What was explored."""

    states: int = 0
    files: int = 0  # states of the files alone
    steps: int = 0
    ends: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def __str__(self) -> str:
        ends = ", ".join(f"{'/'.join(names)} {count}" for names, count in sorted(self.ends.items()))
        return f"{self.states:,} states, {self.files:,} of the files, {self.steps:,} steps; ends: {ends}"


class Explorer:
    """The search, depth first. `explore` raises `Violation` with the way to it where something does not hold."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._files = scenario.files
        self._replay = Replay(scenario.files, scenario.forgets)
        self._holds = Invariants(scenario.files, self._replay, scenario.content)
        self._runs = Counter(each.run_id for each in scenario.processes)
        self._snapshots: dict[frozenset[tuple[str, Any]], Snapshot] = {}
        self._private: dict[tuple[Snapshot, Node], bool] = {}
        self._steps: dict[tuple[Snapshot, Node], list[tuple[Any, Snapshot, Node]]] = {}

    def explore(self) -> Report:
        """Every state that can be reached."""
        with self._replay.patched():
            state: State = {}
            for process in self._scenario.before:
                state, _ = self._replay.undisturbed(process, state)
            damaged = self._scenario.damage(state)
            self._holds.begin(state, damaged)
            return self._search({name: each for name, each in state.items() if name not in damaged})

    def files(self) -> set[frozenset[tuple[str, Any]]]:
        """The states of the files that were reached."""
        return set(self._snapshots)

    def _search(self, state: State) -> Report:
        report = Report()
        first = (self._snapshot(state, None), tuple(self._replay.start(each, 0) for each in self._scenario.processes))
        seen = {first}
        trail: list[tuple[Happened, Iterator[tuple[Happened, tuple[Snapshot, Nodes]]]]] = [
            ((first[1][0], None), self._moves(*first))
        ]
        try:
            while trail:
                step = next(trail[-1][1], None)
                if step is None:
                    trail.pop()
                    continue
                happened, after = step
                report.steps += 1
                if after in seen:
                    continue
                seen.add(after)
                trail.append((happened, self._moves(*after)))
                if all(node.outcome for node in after[1]):
                    self._holds.check_rest(*after)
                    report.ends[tuple(node.outcome.said for node in after[1] if node.outcome)] += 1
        except Violation as violation:
            told = [_say(*happened) for happened, _ in trail[1:]]
            raise Violation("\n".join([str(violation), *told, *getattr(violation, "__notes__", [])])) from None
        report.states, report.files = len(seen), len(self._snapshots)
        return report

    def _moves(self, snapshot: Snapshot, nodes: Nodes) -> Iterator[tuple[Happened, tuple[Snapshot, Nodes]]]:
        """Every (what happens, the state after it)."""
        able = [number for number, node in enumerate(nodes) if node.call]
        private = next((number for number in able if self._is_private(snapshot, nodes[number])), None)
        for number in able if private is None else [private]:
            try:
                following = self._step(snapshot, nodes[number])
            except Violation as violation:
                violation.add_note(_say(nodes[number], "?"))
                raise
            for result, after, node in following:
                yield (nodes[number], result), (after, (*nodes[:number], node, *nodes[number + 1 :]))
        for number, node in enumerate(nodes):
            if node.changed and node.start + 1 < node.process.starts and private in (None, number):
                again = self._replay.start(node.process, node.start + 1)
                yield (node, again), (snapshot, (*nodes[:number], again, *nodes[number + 1 :]))

    def _step(self, snapshot: Snapshot, node: Node) -> list[tuple[Any, Snapshot, Node]]:
        """What may come of the next step of a process: (result, files, process)."""
        key = (snapshot, node)
        if key not in self._steps:
            call, self._steps[key] = node.call, []
            assert call is not None
            writer = f"{node}.{node.since.phase}"
            changes = call.operation not in READS and not (self._is_private(snapshot, node) and not self._is_work(node))
            for result, state in self._files.step(snapshot.state, call.operation, call.names, call.data, writer):
                after = self._snapshot(state, snapshot)
                following = self._replay.advance(node, result, changes)
                if following.error is not None:
                    raise Violation(f"{following} ends with {following.error!r}")
                if following.outcome is not None:
                    demand(following.outcome.said in DEFINITE, f"{following} ends as {following.outcome.said}")
                    self._holds.check_claim(following.process, following.outcome.number, state)
                self._steps[key].append((result, after, following))
        return self._steps[key]

    def _is_private(self, snapshot: Snapshot, node: Node) -> bool:
        """Whether it makes no difference what others do before the next step of a process."""
        if (snapshot, node) not in self._private:
            self._private[snapshot, node] = self._makes_no_difference(snapshot, node)
        return self._private[snapshot, node]

    def _makes_no_difference(self, snapshot: Snapshot, node: Node) -> bool:
        assert node.call is not None
        operation, name = node.call.operation, node.call.names[-1 if node.call.operation == "aside" else 0]
        if operation in READS:
            there = name in snapshot.state
            if "/publish-" in name and not there:
                return name.split("/")[-1].startswith("publish-") or name.endswith(("/open", "/old"))
            return (name.startswith("_versions/") and there) or name.endswith("/run.json") or name in EARLIER
        if self._scenario.cleaner:
            return False
        if "/publish-" in name and f"-{node}." in name and operation != "link":
            return int(name.partition("/publish-")[2].split("-")[0]) > len(snapshot.versions)
        return "/over-" in name or self._is_work(node)

    def _is_work(self, node: Node) -> bool:
        """Whether the next step writes work of a run that no other process is of."""
        assert node.call is not None
        own = node.call.names[0].startswith(f"_attempts/{node.process.run_id}-v")
        return own and node.call.operation == "put" and self._runs[node.process.run_id] == 1

    def _snapshot(self, state: State, before: Snapshot | None) -> Snapshot:
        if before is not None and state is before.state:
            return before
        key = frozenset(state.items())
        if key not in self._snapshots:
            snapshot = self._holds.snapshot(state)
            if len(self._snapshots) % self._scenario.every == 0:
                self._check_nobody_is_blocked(state)
            self._snapshots[key] = snapshot
        after = self._snapshots[key]
        if before is not None:
            self._holds.check_step(before, after)
        return after

    def _check_nobody_is_blocked(self, state: State) -> None:
        """That a fresh process of each run, with all others halted for ever, ends as one does."""
        for process in {each.run_id: each for each in self._scenario.processes}.values():
            self._alone(process, state)

    def _alone(self, process: Process, state: State) -> State:
        """What a fresh process makes of a state, with all others halted for ever; it must come to an end."""
        try:
            after, outcome = self._replay.undisturbed(process, state)
        except Exception as error:
            raise Violation(f"a fresh {process.name} that runs alone from here ends with {error!r}") from error
        demand(outcome.said in DEFINITE, f"a fresh {process.name} that runs alone from here is {outcome.said}")
        self._holds.check_claim(process, outcome.number, after)
        return after


def _say(node: Node, result: Any) -> str:
    if isinstance(result, Node):
        return f"{node} crashes and starts again"
    assert node.call is not None
    said = repr(result)
    names = " → ".join(node.call.names)
    return f"{node} {node.call.operation} {names} = {said if len(said) < 80 else f'{said[:77]}...'}"
