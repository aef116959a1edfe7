"""Files are claimed by one run at a time, and by no other once it can publish."""

import itertools
import random
import threading

import orjson
import pytest

from seqcls_beam import storage
from seqcls_beam.runs import claims, commit, lease
from seqcls_beam.runs.covered import Covered
from seqcls_beam.runs.publication import follow, publish, publish_files
from seqcls_beam.runs.run import Run, RunError, begin
from seqcls_beam.runs.store import Disk, store_of
from seqcls_beam.runs.versions import NOTHING, version_name

FILES = [(f"in/{name}.jsonl", 10, "1") for name in "abcd"]


@pytest.fixture
def out(tmp_path):
    return str(tmp_path / "out")


def night(out: str, date: str, name: str = "run") -> Run:
    return follow(Run(out, name, partition=f"run_date={date}"))


def take(run: Run, files=FILES) -> claims.Taken:
    return claims.take(run, files, lambda: Covered(store_of(run.output), {}))


def published(run: Run, files) -> None:
    """As the run would end that had labelled some files; the protocol alone, no rows."""
    inputs = [{"path": path, "size": size, "version": version, "rows": 1} for path, size, version in files]
    publish_files(run, {**NOTHING, "run_id": run.run_id, "kind": run.kind, "inputs": inputs}, [])


def passed(monkeypatch, seconds: float) -> None:
    clock = lease.clock
    monkeypatch.setattr(lease, "clock", lambda store: clock(store) + seconds)


def test_two_nights_share_the_files_and_the_same_night_again_has_its_own(out):
    monday, tuesday = night(out, "2026-11-23"), night(out, "2026-11-24")
    assert take(monday, FILES[:2]).files == [True, True]
    taken = take(tuesday)
    assert taken.files == [False, False, True, True] and taken.held == {monday.partition: 2}
    again = take(monday)
    assert again.files == [True, True, False, False]
    assert again.held == {tuesday.partition: 2} and again.late == 0
    more = [*FILES, ("in/e.jsonl", 10, "1")]
    assert take(monday, more).late == 1
    assert take(monday, more).files == [True, True, False, False, False]
    wednesday = take(night(out, "2026-11-25"), more)
    assert wednesday.files == [False, False, False, False, True]


def test_what_was_published_is_covered_and_claims_of_it_are_over(out):
    monday = night(out, "2026-11-23")
    take(monday, FILES[:2])
    published(monday, FILES[:2])
    tuesday = take(night(out, "2026-11-24"))
    assert tuesday.files == [False, False, True, True] and not tuesday.held
    newest = max(name for name in store_of(out).names(claims.FOLDER))
    said = orjson.loads(storage.read(f"{out}/{claims.FOLDER}/{newest}"))["claims"]
    assert [each["partition"] for each in said] == ["run_date=2026-11-24"], "the first one is not kept for ever"


def test_a_night_that_is_dead_loses_its_files_and_cannot_publish_when_it_wakes(out, monkeypatch):
    halted = night(out, "2026-11-23")
    take(halted)
    passed(monkeypatch, lease.EXPIRES - 30)
    assert take(night(out, "2026-11-24")).held == {halted.partition: 4}
    passed(monkeypatch, 60)
    later = night(out, "2026-11-24")
    assert take(later).files == [True] * 4
    with pytest.raises(RunError, match="taken for dead"):
        published(halted, FILES)
    published(later, FILES)
    assert take(night(out, "2026-11-23")).files == [False] * 4


def test_a_sign_of_life_keeps_the_files(out, monkeypatch):
    with monkeypatch.context() as earlier:
        passed(earlier, -2 * lease.EXPIRES)
        first, second = night(out, "2026-11-23"), night(out, "2026-11-24")
        take(first, FILES[:2])
        take(second, FILES[2:])
    begin(first, [], {})
    taken = take(night(out, "2026-11-25"))
    assert taken.held == {first.partition: 2} and taken.files == [False, False, True, True]


def test_who_cannot_begin_ends_no_claim_that_another_start_works_by(out):
    first = night(out, "2026-11-23")
    take(first)
    claims.give_up(first)
    again = night(out, "2026-11-23")
    assert again.follows == 1 and take(again).fresh
    begin(again, [], {})
    claims.give_up(again)
    assert not store_of(out).exists(version_name("run_date=2026-11-23", 2))
    published(again, FILES)


def test_who_publishes_while_another_one_takes_it_for_dead_keeps_its_files(out, monkeypatch):
    first = night(out, "2026-11-23")
    take(first)
    passed(monkeypatch, lease.EXPIRES + 60)
    bar = commit.bar

    def late(*how):
        published(first, FILES)  # between the look and the step that decides
        return bar(*how)

    monkeypatch.setattr(commit, "bar", late)
    assert take(night(out, "2026-11-24")).files == [False] * 4


def test_many_nights_at_once_take_each_file_once(out):
    files = [(f"in/{number}.jsonl", number, "1") for number in range(40)]
    nights = [night(out, f"2026-11-{day:02}") for day in range(1, 9)]
    taken: dict[str, list[int]] = {}
    ready = threading.Barrier(len(nights))

    def work(run: Run) -> None:
        seen = random.Random(run.partition).sample(range(40), 25)
        ready.wait()
        mine = take(run, [files[number] for number in seen]).files
        taken[run.partition] = [number for number, ours in zip(seen, mine, strict=True) if ours]

    threads = [threading.Thread(target=work, args=(each,)) for each in nights]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    all_taken = list(itertools.chain(*taken.values()))
    seen_by_any = {number for run in nights for number in random.Random(run.partition).sample(range(40), 25)}
    assert sorted(all_taken) == sorted(seen_by_any)


HOSTILE = [
    b"[]",
    b'{"claims": 1}',
    b'{"claims": [{"files": 1}]}',
    *(
        orjson.dumps({"claims": [{"partition": "run_date=x", "number": 1, "since": 0.0, "files": [], **wrong}]})
        for wrong in (
            {"partition": "../../escaped"},
            {"partition": ""},
            {"partition": None},
            {"partition": "run_date=../x"},
            {"number": 0},
            {"number": "1"},
            {"since": "x"},
            {"since": None},
            {"files": [1]},
        )
    ),
    b'{"claims": [{"partition": "run_date=x", "number": 1e30, "since": 0, "files": []}]}',
]


@pytest.mark.parametrize("said", HOSTILE)
def test_a_file_that_says_no_claims_is_told_and_nothing_is_written(tmp_path, out, said):
    storage.put(f"{out}/{claims.FOLDER}/00000001.json", said)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError, match=r"00000001\.json says no claims"):
        take(night(out, "2026-11-23"))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_claim_for_a_version_that_is_not_the_next_is_told_and_nothing_is_written(out):
    said = {"claims": [{"partition": "run_date=x", "number": 7, "since": 0.0, "files": []}]}
    storage.put(f"{out}/{claims.FOLDER}/00000001.json", orjson.dumps(said))
    with pytest.raises(RunError, match="has a claim for version 7 of run_date=x, of which 0 is the newest"):
        take(night(out, "2026-11-23"))
    assert not store_of(out).names("_versions")


def test_a_clock_that_was_put_back_keeps_nobody_alive_for_ever(out, monkeypatch):
    first = night(out, "2026-11-23")
    take(first)
    passed(monkeypatch, -2 * lease.EXPIRES)
    assert take(night(out, "2026-11-24")).files == [True] * 4


def test_a_night_of_which_another_version_is_decided_has_no_claim_any_more(out):
    first, second = night(out, "2026-11-23", "one"), night(out, "2026-11-23", "two")
    take(first)
    assert take(second).files == [True] * 4, "it is the same date, so one of the two is published"
    published(first, FILES)
    with pytest.raises(RunError):
        publish(second, [])
    with pytest.raises(RunError, match="another run"):
        published(second, FILES)
    assert store_of(out).exists(version_name("run_date=2026-11-23", 1))


def test_a_partition_that_is_there_before_its_first_version_covers_nothing(tmp_path, out):
    (tmp_path / "out/_versions/run_date=2026-11-23").mkdir(parents=True)  # as who is killed at that moment leaves it
    assert take(night(out, "2026-11-24")).files == [True] * 4


def test_who_loses_the_scratch_folder_looks_again(out, monkeypatch):
    run = night(out, "2026-11-23")
    removed: list[str] = []
    create = Disk.create

    def tidied(store, name, data, scratch):
        if not removed:
            removed.append(scratch)
            monkeypatch.setattr(storage, "put_if_absent", gone)
        return create(store, name, data, scratch)

    def gone(*_):
        monkeypatch.undo()
        raise FileNotFoundError(removed[0])

    monkeypatch.setattr(Disk, "create", tidied)
    assert take(run).files == [True] * 4 and removed
