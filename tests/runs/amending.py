"""What the explorer needs to know of the windows of a stream: processes that append, seal and read, and what must hold.

Processes run `seqcls_beam.runs.sealing.seal` and `pieces.append` as shipped, to the bytes of Parquet files. A file is
read, or appears, in one step, and probing whether a folder can be written is a file that is created and removed. What
is left out: whether two folders are on one disk, and that leases are renewed, which no decision but `clean`'s rests on.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from types import SimpleNamespace
from typing import IO, Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.runs import commit, gathering, pieces, publication, run, sealing, unsealed
from seqcls_beam.runs.store import Bucket, Disk, store_of
from seqcls_beam.runs.table import Published, read_newest
from seqcls_beam.runs.versions import newest, read_version, version_name
from tests.messages import Message, predictions
from tests.runs import memory
from tests.runs.explorer import Explorer, Happened, Nodes, Scenario
from tests.runs.invariants import Invariants, Snapshot, Violation, demand
from tests.runs.memory import OUTPUT, State, below
from tests.runs.replay import Node, Outcome, Process, Replay
from tests.runs.streams import FIRST, LENGTH

FORGETFUL = [
    (sealing, "_published"),
    (sealing, "_look"),
    (sealing, "_made"),
    (publication, "publish_files"),
    (commit, "publish"),
    (sealing, "_give_way"),
    (sealing, "_tidy"),
]
"""More functions before and after which only their arguments and results matter. `_seal` itself remembers nothing of a
window that it looks at again, so before the first one nothing else does either. What
`_look` finds in pieces and versions, which never change, its arguments say."""

FILES = ("labels", "_rejects")
Files = memory.Disk | memory.Bucket
Row = tuple[str, bool]  # id of a message, whether it was rejected


def append(*messages: Message) -> Callable[[Any], Any]:
    """A batch becomes a piece."""

    def step(_: Any) -> Outcome:
        pieces.append(OUTPUT, predictions(messages), LENGTH)
        return Outcome("published")

    return step


def seal(_: Any) -> Outcome:
    """What `pipelines.seal` does; the version that it says is published."""
    done = list(sealing.seal(OUTPUT))
    for each in done:
        assert each.fault is None, each.fault
    return Outcome("published", max((each.version or 0 for each in done), default=0))


def read(expected: frozenset[str]) -> Callable[[Any], Any]:
    """What `open_labels(…, live=True)` does, as far as rows are concerned; these messages at least are found."""

    def step(_: Any) -> Outcome:
        store = store_of(OUTPUT)
        for _ in range(5):
            waiting = unsealed.look(store)
            found = read_newest(store, FIRST)
            try:
                labels = [] if found is None else _ids(found.locations(), storage.read)
                held = [] if found is None else found.uris("parts")
                fresh = [table for each in waiting for table in unsealed.fresh(each, held)]
            except FileNotFoundError:
                continue
            ids = labels + [id for table in fresh for id in table["message_id"].to_pylist()]
            assert len(set(ids)) == len(ids), f"a reader finds {sorted(ids)}"
            assert expected <= set(ids), f"a reader finds {sorted(ids)}"
            return Outcome("published")
        raise AssertionError("a reader finds files gone again and again")

    return step


def _ids(names: list[str], read: Callable[[str], bytes]) -> list[str]:
    return [id for name in names for id, _ in rows(read(f"{OUTPUT}/{name}"))]


def one_after_the_other(*steps: Callable[[Any], Any]) -> tuple[Callable[[Any], Any], ...]:
    """A program of some of the above: a crash forgets all of it."""

    def kept(step: Callable[[Any], Any], given: Any) -> int:
        return int(step(given).number)

    return (*(partial(kept, step) for step in steps[:-1]), steps[-1])


def begun(*steps: Callable[[Any], Any]) -> Process:
    """A stream that ran before, undisturbed."""

    def prepare(_: Any) -> None:
        pieces.prepare(OUTPUT, LENGTH)

    return Process("z", "z", (prepare, *one_after_the_other(*steps)))


@cache
def rows(data: bytes) -> tuple[Row, ...]:
    """The rows of a piece or a part, in order."""
    table = pq.read_table(pa.BufferReader(data))
    ids = table["message_id"].to_pylist()
    if "reject" in table.column_names:
        return tuple(zip(ids, table["reject"].is_valid().to_pylist(), strict=True))
    return tuple((id, "raw" in table.column_names) for id in ids)


class Windows(Replay):
    """The shipped code with Parquet files in memory, too."""

    def __init__(self, files: Files, forgets: bool = True) -> None:
        super().__init__(files, forgets)
        # What a function came to: by who ran it with what, by what it was answered.
        self._ends: dict[Any, dict[tuple[Any, ...], tuple[int, Any, Exception | None]]] = {}

    @contextmanager
    def patched(self) -> Iterator[None]:
        """The same, for code that seals."""

        @contextmanager
        def creating(uri: str) -> Iterator[IO[bytes]]:
            file = io.BytesIO()
            yield file
            storage.put(uri, file.getvalue())

        def ensure_writable(folder: str) -> None:
            probe = f"{folder}/.probe-{storage.token()}"
            storage.put_if_absent(probe, b"probe")
            storage.remove(probe)

        def opened(path: str, _: str) -> IO[bytes]:
            return io.BytesIO(storage.read(path))

        @contextmanager
        def alive(of: run.Run) -> Iterator[None]:
            storage.put(of.lease, b"")
            yield

        own: dict[str, Any] = {
            "connect": lambda uri: (SimpleNamespace(open=opened), uri),
            "creating": creating,
            "ensure_writable": ensure_writable,
        }
        with ExitStack() as patches:
            patches.enter_context(super().patched())
            patches.enter_context(mock.patch.multiple(storage, **own))
            patches.enter_context(mock.patch.object(sealing, "alive", alive))
            patches.enter_context(mock.patch.object(sealing, "_now", lambda: 0.0))
            patches.enter_context(mock.patch.object(run, "_ensure_movable", lambda *_: None))
            fresh = lambda prefix: f"{prefix}-{storage.token()}.parquet"  # noqa: E731
            patches.enter_context(mock.patch.object(gathering, "fresh_name", fresh))
            patches.enter_context(self._forgetting())
            yield

    @contextmanager
    def _forgetting(self) -> Iterator[None]:
        with ExitStack() as patches:
            for of, name in FORGETFUL:
                patches.enter_context(mock.patch.object(of, name, self._forgetful_too(getattr(of, name), name)))
            patches.enter_context(mock.patch.object(sealing, "publish_files", publication.publish_files))
            yield

    def _forgetful_too(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def forgetful(*given: Any) -> Any:
            if self._state is not None:
                return function(*given)
            outer = () if name == "_published" else self._frames
            said = (name, *map(_said, given))
            self._frames = (*outer, said)
            self._pass()
            result, error = self._again(function, given)
            kept = ("raised", repr(error)) if error else _said(result)
            self._frames = (*outer, (*said, kept))
            self._pass()
            if error:
                raise error.with_traceback(None)
            return result

        return forgetful

    def _again(self, function: Callable[..., Any], given: tuple[Any, ...]) -> tuple[Any, Exception | None]:
        """What a function returns or raises; not run where it was answered all the same before."""
        since = self._asked
        ends = self._ends.setdefault((self._who, self._frames, self._tokens), {})
        for size in {len(each) for each in ends}:
            answered = self._results[since : since + size]
            if answered in ends:
                self._asked += len(answered)
                self._tokens, result, error = ends[answered]
                return result, error
        result, error = None, None
        try:
            result = function(*given)
        except Exception as raised:
            error = raised
        ends[self._results[since : self._asked]] = (self._tokens, result, error)
        return result, error

    def _pass(self) -> None:
        if self._forgets:
            super()._pass()


def _said(each: Any) -> Any:
    """What tells a value from others, in one window of one stream."""
    if isinstance(each, Published):
        return repr(each.version)
    # Its rows are told by the run's id, and in which pieces they are by the names given to `_published`.
    return "" if isinstance(each, (Disk, Bucket, sealing._Look)) else repr(each)


class Whole(Invariants):
    """What must hold of a window, whoever is halted where."""

    def __init__(self, files: Files, replay: Replay, content: Callable[[str, str], bytes]) -> None:
        super().__init__(files, replay, content)
        self._live: dict[Any, list[str]] = {}
        self._held: dict[Snapshot, tuple[set[str], set[str]]] = {}  # ids that are sealed, and all

    def snapshot(self, state: State) -> Snapshot:
        """A state that was not seen before."""
        found, store = Snapshot(state), self._replay.look(state)
        for number in range(1, versions(state) + 1):
            name = version_name(FIRST, number)
            demand(name in state, f"versions have a gap: {name} is not there")
            found.decided += (self._files.content(state, name) or b"",)
            found.versions += (read_version(store, FIRST, number)[0],)
        found.closed = frozenset(each.stage for each in found.versions if not store.is_open(each.stage))
        self._check_listings(found)
        self._check_reader(found)
        return found

    def check_step(self, before: Snapshot, after: Snapshot) -> None:
        """What no step may do. A row that is in a piece or in the newest version stays in one of them."""
        super().check_step(before, after)
        (had, knew), (has, knows) = self._ids(before), self._ids(after)
        gone, lost = knew - knows, had - has
        demand(not gone, f"{sorted(gone)} are in no piece and not in the newest version")
        demand(not lost, f"{sorted(lost)} were sealed, and the newest version does not have them")

    def check_claim(self, process: Process, number: int, state: State) -> None:
        """That a version is published, as a sealer says."""
        if not number:
            return
        say = f"{process.name} says that version {number} is published"
        demand(number <= versions(state), f"{say}, and there is none")
        store = self._replay.look(state)
        version, _ = read_version(store, FIRST, number)
        demand(not store.is_open(version.stage), f"{say}, and its stage is open")
        for name in version.named:
            demand(self._files.content(state, name) is not None, f"{say}, and {name} is not there")

    def check_rest(self, snapshot: Snapshot, nodes: tuple[Node, ...]) -> None:
        """What is left when all have ended: where nobody died, versions and their parts, and nothing else."""
        state = snapshot.state
        if self._files.local:
            waiting = self.waiting(state)
            demand(not waiting, f"all have ended, and {sorted(id for id, _ in waiting)} wait in pieces")
        if not any(node.start for node in nodes) and not any(version.bars for version in snapshot.versions):
            left = below(state, "_attempts")
            demand(not left, f"all have ended, and {left} are left")

    def check_sealed(self, before: State, state: State) -> None:
        """That one sealer, alone, has sealed all that was known."""
        ids = {id for id, _ in self.sealed(state)}
        demand(ids == self.known(before), f"a sealer that runs alone has {sorted(ids)} of {sorted(self.known(before))}")
        left = [name for name in below(state, pieces.FOLDER) if name.endswith(".parquet")]
        demand(not left, f"a sealer that runs alone leaves {left}")

    def sealed(self, state: State) -> list[Row]:
        """The rows of the newest version, read where they are now. All its parts are there."""
        store = self._replay.look(state)
        number = newest(store, FIRST)
        if not number:
            return []
        version, manifest = read_version(store, FIRST, number)
        elsewhere = commit.locate(store, version)
        found: list[Row] = []
        for part in [*manifest["parts"], *manifest["rejects"]]:
            place = elsewhere.get(part["path"], part["path"])
            data = self._files.content(state, place)
            if data is None:
                raise Violation(f"version {number}: {part['path']}, read at {place}, is not there")
            demand(len(data) == part["bytes"], f"version {number}: {part['path']} has {len(data)} bytes")
            demand(len(rows(data)) == part["rows"], f"version {number}: {part['path']} has {len(rows(data))} rows")
            found += rows(data)
        counts = manifest["rows"]
        said = (counts["in"], counts["labeled"], counts["rejected"])
        bad = sum(rejected for _, rejected in found)
        demand(said == (len(found), len(found) - bad, bad), f"version {number} says that it has {said} rows")
        return found

    def waiting(self, state: State) -> list[Row]:
        """The rows of all pieces."""
        names = [name for name in below(state, f"{pieces.FOLDER}/{FIRST}") if name.endswith(".parquet")]
        return [row for name in names for row in rows(self._files.content(state, name) or b"")]

    def known(self, state: State) -> set[str]:
        """Every message that is there."""
        return {id for id, _ in [*self.sealed(state), *self.waiting(state)]}

    def _ids(self, snapshot: Snapshot) -> tuple[set[str], set[str]]:
        if snapshot not in self._held:
            sealed = {id for id, _ in self.sealed(snapshot.state)}
            self._held[snapshot] = sealed, sealed | {id for id, _ in self.waiting(snapshot.state)}
        return self._held[snapshot]

    def _check_reader(self, snapshot: Snapshot) -> None:
        state, store = snapshot.state, self._replay.look(snapshot.state)
        number = newest(store, FIRST)
        demand(number == len(snapshot.versions), f"the newest is {len(snapshot.versions)}, and {number} is found")
        for before, after in zip(snapshot.versions, snapshot.versions[1:], strict=False):
            gone = before.named - after.named
            demand(not gone, f"version {after.number} does not name {sorted(gone)} of the one before")
        sealed = self.sealed(state)
        twice = [row for row, times in Counter(sealed).items() if times > 1]
        demand(not twice, f"version {number} has {twice} twice")
        held = {id for id, rejected in sealed if not rejected}
        due = {id for id, rejected in sealed if not rejected}
        due |= {id for id, rejected in self.waiting(state) if not rejected and id not in held}
        live = self._read_live(state, sealed)
        demand(sorted(live) == sorted(due), f"a live reader finds {sorted(live)} of {sorted(due)}")

    def _read_live(self, state: State, sealed: list[Row]) -> list[str]:
        there = frozenset((name, data) for name, data in state.items() if name.startswith(f"{pieces.FOLDER}/{FIRST}/"))
        if (there, tuple(sealed)) not in self._live:
            store = self._replay.look(state)
            found = read_newest(store, FIRST)
            live = [] if found is None else _ids(found.locations(), storage.read)
            for each in unsealed.look(store):
                for table in unsealed.fresh(each, [] if found is None else found.uris("parts")):
                    live += table["message_id"].to_pylist()
            self._live[there, tuple(sealed)] = live
        return self._live[there, tuple(sealed)]

    def _check_listings(self, snapshot: Snapshot) -> None:
        named = frozenset[str]().union(*(version.named for version in snapshot.versions))
        for name in snapshot.state:
            if name.startswith(tuple(f"{folder}/" for folder in FILES)):
                shown = self._files.content(snapshot.state, name) is not None
                demand(not shown or name in named, f"a listing shows {name}, which no version has")


@dataclass(frozen=True)
class Stream(Scenario):
    """What is there, and who is at work in one window."""

    in_turns: bool = False  # who is not the first, once begun, goes on to its end: the first is halted, and wakes


class Sealings(Explorer):
    """The search, for the one window that a stream has.

    More steps that make no difference: what never changes is read, and what is asked for only to see that it is no
    file, which it never is here.
    """

    def __init__(self, scenario: Stream) -> None:
        super().__init__(scenario)
        self._in_turns = scenario.in_turns
        self._replay = Windows(scenario.files, scenario.forgets)
        self._holds: Whole = Whole(scenario.files, self._replay, scenario.content)

    def _moves(self, snapshot: Snapshot, nodes: Nodes) -> Iterator[tuple[Happened, tuple[Snapshot, Nodes]]]:
        begun = [each for each in nodes[1:] if not each.outcome and each is not self._replay.start(each.process, 0)]
        for happened, after in super()._moves(snapshot, nodes):
            if not (self._in_turns and begun) or happened[0] in begun:
                yield happened, after

    def _makes_no_difference(self, snapshot: Snapshot, node: Node) -> bool:
        assert node.call is not None
        operation, name = node.call.operation, node.call.names[0]
        if self._in_turns:
            return False
        if operation == "read" and name == f"{pieces.FOLDER}/stream.json":
            return True
        if operation == "exists" and name in ("_attempts", "_versions", *FILES, *(f"{each}/{FIRST}" for each in FILES)):
            return True
        if operation == "make_folder" and name in FILES and name in snapshot.state:
            return True
        return super()._makes_no_difference(snapshot, node)

    def _check_nobody_is_blocked(self, state: State) -> None:
        self._holds.check_sealed(state, self._alone(Process("sealer", "y", (seal,)), state))


def versions(state: State) -> int:
    """How many versions of the window there are."""
    return sum(name.startswith(f"_versions/{FIRST}/") and state[name] is not None for name in state)
