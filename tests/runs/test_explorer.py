"""The protocol of a publication in all interleavings of processes that use it, on a disk and in a store."""

import errno
import inspect
import random
import re
import textwrap
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from seqcls_beam import storage
from seqcls_beam.config.classify import LossOptions
from seqcls_beam.runs import cleaning, commit, lease, publication
from seqcls_beam.runs import run as attempt
from seqcls_beam.runs.run import Run, RunError
from seqcls_beam.runs.store import Bucket as ShippedBucket
from seqcls_beam.runs.store import Disk as ShippedDisk
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import damage
from seqcls_beam.runs.versions import FORMAT_VERSION
from tests.runs.explorer import Explorer, Scenario
from tests.runs.invariants import Violation
from tests.runs.memory import OUTPUT, Bucket, Disk, Failed, State, is_folder
from tests.runs.replay import Outcome, Process

R, S = "R", "S"


def content(run_id: str, name: str) -> bytes:
    """What a run has under a published name: the same in all its versions."""
    folder, _, file = name.rpartition("/")
    part = re.match(r"part-(\d+)", file)
    return f"{run_id[:2]} {folder} {int(part[1]) if part else file}".encode()


Program = tuple[Callable[[Any], Any], ...]


def table(run: Run, units: int = 1) -> Program:
    """What `pipelines.classify` does with files: units of a part of labels and a part of rejects."""

    def work(mine: Run) -> tuple[Run, bytes]:
        return mine, orjson.dumps([unit(mine, number, units) for number in range(units)])

    def end(done: tuple[Run, bytes]) -> Outcome:
        return published(lambda: publication.publish(done[0], orjson.loads(done[1])))

    return begin(run), already, take_up, work, end


def unit(run: Run, number: int, units: int) -> dict[str, Any]:
    """A unit's record, kept from an earlier start if its parts are there."""
    try:
        record: dict[str, Any] = orjson.loads(storage.read(run.record(number)))
    except FileNotFoundError:
        pass
    else:
        if all(storage.exists(f"{run.attempt}/{of}/{record[of]['name']}") for of in ("labels", "rejects")):
            return record
    record = {"unit": number, "units": units, "rows": 2, "engine": None, "inputs": [], "tokens": 0, "truncated": 0}
    record |= {"reasons": {}, "label_counts": {}, "seconds": {}, "score_histogram": [0]}
    for of, folder in (("labels", "labels"), ("rejects", "_rejects")):
        data = content(run.run_id, f"{folder}/part-{number}")
        name = f"part-{number}-{storage.token()}.parquet"
        storage.put(f"{run.attempt}/{of}/{name}", data)
        record[of] = {"name": name, "rows": 1, "bytes": len(data), "sha256": ""}
    storage.put(run.record(number), orjson.dumps(record))
    return record


def folder(run: Run, names: tuple[str, ...]) -> Program:
    """What `pipelines.prepare` and `pipelines.finetune` do with files: fixed names, made anew at every start."""

    def work(mine: Run) -> tuple[Run, str]:
        token = storage.token()
        for name in names:
            storage.put(f"{mine.attempt}/{token}/{name}", content(run.run_id, name))
        return mine, token

    def end(done: tuple[Run, str]) -> Outcome:
        mine, token = done
        files = [{"path": name, "bytes": len(content(run.run_id, name))} for name in names]
        manifest = {"format_version": FORMAT_VERSION, "run_id": run.run_id, "parts": files, "rejects": []}
        moves = [(f"{mine.work}/{token}/{name}", name) for name in names]
        return published(lambda: publication.publish_files(mine, manifest, moves))

    return begin(run), already, take_up, work, end


def begin(run: Run) -> Callable[[Any], Any]:
    return lambda _: publication.follow(run)


def already(run: Run) -> Any:
    """The run, unless it is published, or may not be."""
    now = publication.current(run)
    if now is None:
        return run
    if now.version.run_id == run.run_id:
        return run if damage(now) else Outcome("published", now.version.number)
    return run if run.overwrite else Outcome("refused")


def take_up(run: Run) -> Run:
    attempt.take_up(store_of(OUTPUT), run)
    return run


def published(publish: Callable[[], int]) -> Outcome:
    try:
        return Outcome("published", publish())
    except RunError as error:
        if "published into" in str(error) or "was taken for dead" in str(error):
            return Outcome("beaten")
        if "holds another run" in str(error):
            return Outcome("refused")
        raise


def cleaner(_: Any) -> Any:
    """What `pipelines.clean --remove` finds; to it every attempt is one that nothing happens to any more."""
    try:
        return tuple(cleaning.look(OUTPUT))
    except RunError:
        return Outcome("cleaned")


def clean(found: tuple[cleaning.Leftover, ...]) -> Outcome:
    list(cleaning.remove(OUTPUT, list(found)))
    return Outcome("cleaned")


PREPARED = {R: ("data/a", "data/b", "README.md"), S: ("data/a", "config.json", "README.md")}


def process(kind: str, name: str, run_id: str, *, starts: int = 1, overwrite: bool = True, units: int = 1) -> Process:
    if kind == "labels":
        return Process(name, run_id, table(Run(OUTPUT, run_id, overwrite, LossOptions(max_rejected=1)), units), starts)
    run = Run(OUTPUT, run_id, overwrite, kind="prepare", publishes=("data", "README.md"))
    return Process(name, run_id, folder(run, PREPARED[run_id]), starts)


def damaged(state: State) -> list[str]:
    """A published file that somebody has removed."""
    return [name for name in state if name.startswith(("labels/", "data/")) and not is_folder(state, name)][:1]


@pytest.fixture(autouse=True)
def time_stands_still(monkeypatch):
    """A process that runs again is to write the same manifest; a cleaner takes everybody for dead."""
    monkeypatch.setattr("seqcls_beam.runs.manifest.time.time", lambda: 0.0)
    monkeypatch.setattr(lease, "EXPIRES", 0)
    monkeypatch.setattr(lease, "usage", lambda uri: (1, 1, 0.0))
    monkeypatch.setattr(lease, "clock", lambda store: 0.0)


def scenario(files: Disk | Bucket, kind: str, who: str, *, over: bool = False, damage: bool = False) -> Scenario:
    """`who` names processes: R and S publish with --overwrite, r and s without, C cleans; the digit is their starts."""
    processes = []
    for name, (letter, starts) in zip("abc", re.findall(r"(\w)(\d)", who), strict=False):
        if letter == "C":
            processes.append(Process(name, "cleaner", (cleaner, clean), int(starts)))
        else:
            own = process(kind, name, letter.upper(), starts=int(starts), overwrite=letter.isupper())
            processes.append(own)
    before = (process(kind, "z", S),) if over or damage else ()
    spoil = damaged if damage else lambda state: []
    return Scenario(files, tuple(processes), content, before, spoil, cleaner="C" in who)


def explore(what: Scenario) -> Explorer:
    explorer = Explorer(what)
    print(f"\n    {explorer.explore()}")
    return explorer


FILES = pytest.mark.parametrize("files", [Disk(), Bucket()], ids=["disk", "bucket"])
KINDS = pytest.mark.parametrize("kind", ["labels", "data"])


@FILES
@KINDS
@pytest.mark.parametrize("who", ["r1r1", "r1s1", pytest.param("R1S1", marks=pytest.mark.slow), "r3"])
def test_into_an_empty_folder(files, kind, who):
    explore(scenario(files, kind, who))


@FILES
@KINDS
@pytest.mark.parametrize("who", ["R1S1", "R3"])
def test_over_an_earlier_version(files, kind, who):
    explore(scenario(files, kind, who, over=True))


@FILES
@KINDS
def test_a_damaged_run_is_made_again(files, kind):
    explore(scenario(files, kind, "s1s1", damage=True))


@pytest.mark.parametrize("files", [Disk(), pytest.param(Bucket(), marks=pytest.mark.slow)], ids=["disk", "bucket"])
def test_crashes_of_two_runs(files):
    explore(scenario(files, "labels", "R2S1", over=True))


@FILES
@KINDS
@pytest.mark.parametrize("over", [False, True], ids=["empty", "over"])
def test_a_cleaner_harms_nobody(files, kind, over):
    explore(scenario(files, kind, "R1C1", over=over))


def test_a_creation_whose_answer_was_lost():
    explore(scenario(Bucket(loses_answers=True), "labels", "R1S1"))


def test_a_new_folder_appears_with_all_its_files():
    explore(Scenario(Disk(), (process("labels", "a", R, units=2), process("labels", "b", S)), content))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@FILES
@KINDS
@pytest.mark.parametrize("who", ["R1R1", "R2S2", "R2R2", "R2C1", "R1S1s1"])
def test_deeper(files, kind, who):
    explore(scenario(files, kind, who, over=True))


@pytest.mark.parametrize("files", [pytest.param(Disk(), marks=pytest.mark.slow), Bucket()], ids=["disk", "bucket"])
def test_what_a_process_forgets_makes_no_difference(files):
    what = scenario(files, "labels", "r1s1")
    assert explore(what).files() == explore(Scenario(files, what.processes, content, forgets=False)).files()


def test_of_two_that_are_about_to_decide_either_may_be_first():
    first: set[int] = set()

    class Watched(Explorer):
        def _moves(self, snapshot: Any, nodes: Any) -> Any:
            deciding = all(node.call and node.call.operation == "link" for node in nodes)
            for step in super()._moves(snapshot, nodes):
                if deciding:
                    first.update(
                        at for at, (one, other) in enumerate(zip(nodes, step[1][1], strict=True)) if one != other
                    )
                yield step

    Watched(scenario(Disk(), "labels", "R1S1")).explore()
    assert first == {0, 1}


RECOVERED = "replace(run, follows=commit.recover(store, run.partition, run.placed))"
BROKEN = {
    "nothing is carried out": (commit, "publish", "carry_out(store, decided, placed)", "[]"),
    "old names that stay open": (commit, "_arrange", "store.close(version.old)", "pass"),
    "a sweep of later parts": (commit, "_is_over", "int(part[1]) <= version.number and ", ""),
    "no recovery": (publication, "follow", RECOVERED, "replace(run, follows=commit.newest(store, run.partition))"),
    "an attempt that is discarded too early": (
        commit,
        "publish",
        "    missing = ",
        "    store.discard(version.work)\n    missing = ",
    ),
    "a lost answer": (commit, "publish", "if decided.stage != version.stage:", "if decided is not version:"),
    "another version that is looked at": (
        publication,
        "current",
        "    if not run.follows:",
        "    run = replace(run, follows=commit.newest(store_of(run.output), ''))\n    if not run.follows:",
    ),
    "a cleaner that carries nothing out": (cleaning, "remove", "commit.recover(", "newest("),
    "a look that is too late": (ShippedBucket, "put_away", "if self.is_open(aside):", "if True:"),
    "a folder that fills up": (ShippedDisk, "place", "elif self.names(folder):", "elif True:"),
}


def changed(monkeypatch: pytest.MonkeyPatch, of: Any, name: str, old: str, new: str) -> None:
    """Have a function of a module or class run with other lines than those that are shipped."""
    source = textwrap.dedent(inspect.getsource(getattr(of, name)))
    assert source.count(old) == 1
    made: dict[str, Any] = {}
    exec(source.replace(old, new), vars(inspect.getmodule(getattr(of, name))), made)
    monkeypatch.setattr(of, name, made[name])


LATE = ("old names that stay open", "a lost answer", "a cleaner that carries nothing out", "a look that is too late")
"""What five to ten seconds of looking find."""


@pytest.mark.parametrize("what", [pytest.param(each, marks=[pytest.mark.slow] * (each in LATE)) for each in BROKEN])
def test_a_broken_protocol_is_found(what, monkeypatch):
    of, name, old, new = BROKEN[what]
    changed(monkeypatch, of, name, old, new)
    with pytest.raises(Violation) as found:
        for each in (
            scenario(Disk(), "labels", "R1R1"),
            scenario(Disk(), "labels", "R1S1", over=True),
            scenario(Disk(), "labels", "R1C1"),
            scenario(Bucket(loses_answers=True), "labels", "R1"),
            scenario(Disk(), "data", "R1S1", over=True),
            scenario(Bucket(), "data", "R1S1", over=True),
        ):
            Explorer(each).explore()
    print(f"\n{found.value}")


def test_files_in_memory_do_what_a_disk_does(tmp_path):
    """Random steps, on both; the same answers and the same tree."""
    rng, files, state = random.Random(7), Disk(), State()
    steps = ["put", "rename", "make_folder", "remove", "remove_file", "remove_if_empty", "exists", "read", "names"]
    for number in range(1500):
        operation = rng.choice(steps)
        names = ["/".join(rng.choices("abc", k=rng.randint(1, 3))) for _ in range(1 + (operation == "rename"))]
        data = str(number).encode()
        uris = [f"{tmp_path}/{name}" for name in names]
        try:
            answer = getattr(storage, operation)(*uris, *([data] if operation == "put" else []))
        except storage.StoreError:  # a folder where a file is due, in a sentence
            answer = Failed(errno.EISDIR)
        except OSError as error:
            answer = Failed(error.errno or 0)
        result, state = files.step(state, operation, tuple(names), data, "")[0]
        if isinstance(answer, Failed):
            assert isinstance(result, Failed), (operation, names, answer)
            assert result == answer or operation not in ("rename", "read"), (operation, names)
        elif operation in ("exists", "read", "names"):
            assert result == (tuple(answer) if operation == "names" else answer), (operation, names)
        else:
            assert not isinstance(result, Failed), (operation, names, result)
        tree = {str(each.relative_to(tmp_path)): each for each in tmp_path.rglob("*")}
        assert {name: None if each.is_dir() else each.read_bytes() for name, each in tree.items()} == state
