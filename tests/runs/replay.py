"""Processes that stop after every step without a thread: what has been answered is answered again, then one step more.

A process is a chain of functions that call the shipped code, each given what the one before returned and nothing else.
A function runs from its start with the results of the primitives that it has had; at the first that it has not had it
is cut off, and that one is what the process does next.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from unittest import mock

from seqcls_beam.runs import commit, publication, store, table
from tests.runs.memory import OUTPUT, Bucket, Disk, Failed, State, instead_of_storage

FORGETFUL = [
    (commit, "carry_out"),
    (publication, "_tidy"),
    (table, "_refuse_earlier"),
    *((of, name) for of in (store.Disk, store.Bucket) for name in ("place", "put_away", "discard", "close")),
]
"""Functions before and after which only their arguments and results matter, and those of the ones around them: nothing
else that was answered on the way is kept. The methods are so in `carry_out` only: `_tidy` goes through a listing, and
`commit.publish` keeps what it read.
"""


@dataclass(frozen=True)
class Outcome:
    """How a process ended, and the version that it said is published; 0 for none."""

    said: str
    number: int = 0


@dataclass(frozen=True)
class Process:
    """A program, and how often it may start: once more after every crash."""

    name: str  # one letter, of which its tokens are made
    run_id: str
    program: tuple[Callable[[Any], Any], ...]  # what one returns the next is given, unless it is an `Outcome`
    starts: int = 1


@dataclass(frozen=True)
class Call:
    """A primitive with its names (relative to the output folder) and, where it writes, its bytes."""

    operation: str
    names: tuple[str, ...]
    data: bytes


@dataclass(frozen=True)
class Since:
    """Where a process remembers from."""

    phase: int = 0
    given: Any = None
    tokens: int = 0  # that it had drawn


@dataclass(eq=False)
class Node:
    """A process as far as it has come: what it has been answered, and what it wants next, or how it ended."""

    process: Process
    start: int
    since: Since
    results: tuple[Any, ...] = ()
    changed: bool = False  # the last step was one that a crash of this process does not undo
    call: Call | None = None
    outcome: Outcome | None = None
    error: Exception | None = None
    after: dict[Any, "Node"] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.process.name}{self.start}"


class _Known(BaseException):
    """A process is where it has been before, by other answers that it has forgotten."""


class _CutOff(BaseException):
    """The first step of a process that it has no result of; no `except` of the program may hold it up."""


class Replay:
    """Runs processes over files of one kind; within `patched` only."""

    def __init__(self, files: Disk | Bucket, forgets: bool = True) -> None:
        self._files = files
        self._forgets = forgets
        self._state: State | None = None  # where a process runs undisturbed
        self._who: tuple[str, int] = ("", 0)
        self._results: tuple[Any, ...] = ()
        self._asked = self._tokens = 0
        self._key: tuple[Any, ...] = ()  # whose run it is, and since when
        self._frames: tuple[Any, ...] = ()  # the forgetful functions that it is or has been in, outermost first
        self._carries_out = False
        self._passed: list[tuple[Any, ...]] = []
        self._reached: dict[tuple[Any, ...], Node] = {}

    @contextmanager
    def patched(self) -> Iterator[None]:
        """The shipped code, over files in memory."""
        with ExitStack() as patches:
            patches.enter_context(instead_of_storage(self._files.local, self._answer, self._token))
            # What is asked so is a folder in every scenario.
            patches.enter_context(mock.patch("os.path.isdir", lambda path: True))
            for of, name in FORGETFUL if self._forgets else []:
                patches.enter_context(mock.patch.object(of, name, self._forgetful(of, name)))
            yield

    def look(self, state: State) -> store.Store:
        """An output folder in a state, for the shipped code to look at."""
        self._begin("look", 0, state=state)
        return store.store_of(OUTPUT)

    def undisturbed(self, process: Process, state: State) -> tuple[State, Outcome]:
        """A process run to its end, with nobody else at work; the state then."""
        self._begin(process.name, 9, state=state)
        given: Any = None
        for phase in process.program:
            given = phase(given)
            if isinstance(given, Outcome):
                break
        assert self._state is not None
        return self._state, given

    def start(self, process: Process, start: int) -> Node:
        """A process that starts for the `start`-th time, from 0."""
        return self._phase(process, start, Since())

    def advance(self, node: Node, result: Any, changed: bool) -> Node:
        """A process after its next step has been answered."""
        if (result, changed) not in node.after:
            results = (*node.results, result)
            node.after[result, changed] = self._node(node.process, node.start, node.since, results, changed)
        return node.after[result, changed]

    def _phase(self, process: Process, start: int, since: Since, changed: bool = False) -> Node:
        key = (process.name, start, since, changed)
        if key not in self._reached:
            self._reached[key] = self._node(process, start, since, (), changed)
        return self._reached[key]

    def _node(self, process: Process, start: int, since: Since, results: tuple[Any, ...], changed: bool) -> Node:
        node = Node(process, start, since, results, changed)
        self._begin(process.name, start, results, tokens=since.tokens)
        self._key = (process.name, start, since, changed)
        try:
            value = process.program[since.phase](since.given)
        except _CutOff as cut:
            node.call = cut.args[0]
        except _Known as known:
            node = known.args[0]
        except Exception as error:
            node.error = error
        else:
            passed = self._passed
            if isinstance(value, Outcome):
                node = self._reached.setdefault((process.name, start, value, changed), node)
                node.outcome = value
            else:
                node = self._phase(process, start, Since(since.phase + 1, value, self._tokens), changed)
            self._passed = passed
        self._reached |= dict.fromkeys(self._passed, node)
        return node

    def _begin(
        self, name: str, start: int, results: tuple[Any, ...] = (), state: State | None = None, tokens: int = 0
    ) -> None:
        self._who, self._results, self._state, self._asked, self._tokens = (name, start), results, state, 0, tokens
        self._frames, self._passed, self._carries_out = (), [], False

    def _answer(self, operation: str, names: tuple[str, ...], data: bytes) -> Any:
        if self._state is not None:
            writer = f"{self._who}.{self._asked}"  # no phases here
            result, self._state = self._files.step(self._state, operation, names, data, writer)[0]
        elif self._asked == len(self._results):
            raise _CutOff(Call(operation, names, data))
        else:
            result = self._results[self._asked]
        self._asked += 1
        if isinstance(result, Failed):
            raise result.error()
        return result

    def _token(self) -> str:
        self._tokens += 1
        return f"{self._who[0]}{self._who[1]}.{self._tokens}"

    def _forgetful(self, where: Any, name: str) -> Callable[..., Any]:
        function, outermost = getattr(where, name), isinstance(where, ModuleType)

        def forgetful(of: Any, *given: Any) -> Any:
            if self._state is not None or not (outermost or self._carries_out):
                return function(of, *given)
            said = (name, *(tuple(map(tuple, each)) if isinstance(each, list) else each for each in given))
            outer, self._carries_out = self._frames, self._carries_out or name == "carry_out"
            self._frames = (*outer, said)
            self._pass()
            result = function(of, *given)
            self._frames = (*outer, (*said, tuple(result or ())))
            self._carries_out = self._carries_out and name != "carry_out"
            self._pass()
            return result

        return forgetful

    def _pass(self) -> None:
        if self._asked == len(self._results):
            key = (*self._key, self._frames, self._tokens)
            if key in self._reached:
                raise _Known(self._reached[key])
            self._passed.append(key)
