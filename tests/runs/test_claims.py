"""Files are claimed by one run at a time, and by no other once it can publish."""

import itertools
import random
import threading
from pathlib import Path
from typing import Any

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


def told(out: str, files) -> list[str]:
    """What a file of claims calls some files: as it stands in one, of another output."""
    take(night(f"{out}-other", "2026-01-01"), files)
    return [digest for each in said(f"{out}-other", 1) for digest in each["files"]]


def said(out: str, number: int) -> list[dict[str, Any]]:
    claimed: list[dict[str, Any]] = orjson.loads(storage.read(f"{out}/{claims.FOLDER}/{number:08d}.json"))["claims"]
    return claimed


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
    assert [each["partition"] for each in said(out, 2)] == ["run_date=2026-11-24"], "the first one is not kept for ever"


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


def test_a_night_whose_job_works_elsewhere_may_wait_for_machines(out, monkeypatch):
    sent = night(out, "2026-11-23")
    take(sent)
    begin(sent, [], {})
    with lease.alive(sent, elsewhere=True):
        pass
    passed(monkeypatch, lease.EXPIRES + 60)
    assert take(night(out, "2026-11-24")).held == {sent.partition: 4}
    with pytest.raises(RunError, match="another start of run_date=2026-11-23 labels other files"):
        take(night(out, "2026-11-23"), [])
    passed(monkeypatch, lease.ELSEWHERE_EXPIRES)
    assert take(night(out, "2026-11-24")).files == [True] * 4


def test_a_dead_night_is_left_alone_by_one_that_wants_none_of_its_files(out, monkeypatch):
    """As of a dated inbox: the 21st failed, and is started again after the 22nd."""
    failed = night(out, "2026-11-21")
    take(failed, FILES[:2])
    passed(monkeypatch, lease.EXPIRES + 60)
    for day, files in ((22, FILES[2:3]), (23, FILES[2:])):
        later = night(out, f"2026-11-{day}")
        take(later, files)
        published(later, files[-1:])
    assert not store_of(out).names(f"_versions/{failed.partition}")
    again = night(out, "2026-11-21")
    assert again.follows == 0 and take(again).files == [True, True, False, False]
    published(failed, FILES[:2])  # nobody took its files, so it may also wake
    assert take(night(out, "2026-11-24"), FILES[:2]).files == [False, False]


def test_a_second_start_with_other_files_is_refused_while_the_first_lives(out, monkeypatch):
    take(night(out, "2026-11-23"), FILES[:2])
    second = night(out, "2026-11-23")
    for files in (FILES[2:], []):
        with pytest.raises(RunError, match=r"another start of run_date=2026-11-23 labels other files .* wait for it"):
            take(second, files)
    assert store_of(out).names(claims.FOLDER) == ["00000001.json"]
    assert take(second, FILES[1:]).files == [True, False, False], "it is given the files of the first, as far as asked"
    passed(monkeypatch, lease.EXPIRES + 60)
    assert take(second, FILES[2:]).files == [True, True]


def test_a_start_that_failed_and_ended_makes_way_at_once_and_one_that_was_killed_does_not(out, monkeypatch):
    """As where a file that was damaged has been repaired: it is another one then."""
    first = night(out, "2026-11-23")
    take(first, FILES[:1])
    begin(first, [], {})
    again, repaired = night(out, "2026-11-23"), [("in/a.jsonl", 11, "2")]
    with pytest.raises(ZeroDivisionError), lease.alive(first):
        with pytest.raises(RunError, match="another start of run_date=2026-11-23"):
            take(again, repaired)
        raise ZeroDivisionError
    assert take(again, repaired).fresh
    with pytest.raises(RunError, match="another start of run_date=2026-11-23"):
        take(again, [("in/a.jsonl", 9, "0")])  # while that one is planned
    begin(first, [], {})
    storage.put(first.lease, b"")  # as who is killed leaves it
    third = [("in/a.jsonl", 12, "3")]
    with pytest.raises(RunError, match="another start of run_date=2026-11-23"):
        take(again, third)
    passed(monkeypatch, lease.EXPIRES + 60)
    assert take(again, third).fresh


def test_a_look_asks_for_the_time_once(out, monkeypatch):
    for day in range(1, 7):
        take(night(out, f"2026-11-{day:02}"), [(f"in/{day}", 1, "")])
    asked = []
    clock = lease.clock

    def counted(store: Any) -> float:
        asked.append(store)
        return clock(store)

    monkeypatch.setattr(lease, "clock", counted)
    taken = take(night(out, "2026-11-20"), [(f"in/{day}", 1, "") for day in range(1, 7)])
    assert sum(taken.held.values()) == 6 and len(asked) == 1


def spoken(out: str) -> dict[str, bool]:
    """Files of claims, and whether they say anything."""
    return {path.name: path.stat().st_size > 0 for path in sorted(Path(out, claims.FOLDER).iterdir())}


def test_claims_that_are_over_are_emptied_and_their_numbers_are_never_free_again(out):
    for day in range(1, 7):
        run = night(out, f"2026-11-{day:02}")
        take(run, [(f"in/{day}", 1, "")])
        published(run, [(f"in/{day}", 1, "")])
    living = night(out, "2026-11-10")
    take(living, FILES[:2])
    store = store_of(out)
    assert len(claims.spent(store)) == 7 - claims.KEPT
    claims.empty(store)
    assert not claims.spent(store)
    assert spoken(out) == {f"{number:08d}.json": number > 7 - claims.KEPT for number in range(1, 8)}
    late = night(out, "2026-11-11")  # as one who was halted when the first one was the newest
    assert not claims._write(store, 2, (claims._Claim(late.partition, 1, 0.0, ("x",)),))
    assert take(late).held == {living.partition: 2}


def test_who_looked_at_a_file_that_was_emptied_since_looks_again(out, monkeypatch):
    first = night(out, "2026-11-01")
    take(first, FILES[:1])
    newest, store = claims._newest, store_of(out)
    looks = []

    def halted(store: Any) -> int:
        number = newest(store)
        looks.append(number)
        if len(looks) == 1:
            for day in range(2, 6):
                take(night(out, f"2026-11-{day:02}"), [(f"in/{day}", 1, "")])
            claims.empty(store)
        return number

    monkeypatch.setattr(claims, "_newest", halted)
    assert take(night(out, "2026-11-10")).held == {first.partition: 1} and looks[0] == 1 < looks[-1]
    assert not spoken(out)["00000001.json"] and store.names(claims.FOLDER)[-1] == "00000006.json"


def test_the_newest_file_of_claims_that_is_empty_is_told(out):
    storage.put(f"{out}/{claims.FOLDER}/00000001.json", b"")
    with pytest.raises(RunError, match=r"00000001\.json says no claims"):
        take(night(out, "2026-11-23"))


@pytest.mark.parametrize("gone", [[1], [2], [1, 2, 3]])
def test_files_of_claims_that_somebody_removed_hide_none_behind_them(out, gone):
    nights = [night(out, f"2026-11-{day:02}") for day in range(1, 5)]
    for run, file in zip(nights, FILES, strict=True):
        take(run, [file])
    for number in gone:
        storage.remove(f"{out}/{claims.FOLDER}/{number:08d}.json")
    taken = take(night(out, "2026-11-10"), [*FILES, ("in/e.jsonl", 10, "1")])
    assert taken.held == {run.partition: 1 for run in nights} and taken.files == [False] * 4 + [True]
    assert len(said(out, 5)) == 5


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
    (digest,) = told(out, FILES[:1])
    said = {"claims": [{"partition": "run_date=x", "number": 7, "since": 0.0, "files": [digest]}]}
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
