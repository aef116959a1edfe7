"""How far workers are, told through a folder, and what a launcher sees of it."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from seqcls_beam import storage
from seqcls_beam.runs import progress


@pytest.fixture
def folder(tmp_path):
    made = str(tmp_path / "told")
    reader = progress.open_folder(made)
    yield made
    progress.close_folder(made, reader)


def until(asked: Callable[[], bool]) -> None:
    for _ in range(100):
        if asked():
            return
        time.sleep(0.05)
    pytest.fail("it never came")


def test_totals_are_summed_over_processes(folder):
    progress.report(folder, rows=3, bytes=30)
    progress.report(folder, rows=4)
    other = progress._Teller(folder)  # as another process has one
    other.add({"rows": 100.0})
    reader = progress.Reader(folder)
    until(lambda: reader.look().totals["rows"] == 107)
    assert reader.look().totals["bytes"] == 30


def test_a_task_in_hand_is_named_and_gives_signs(folder):
    reader = progress.Reader(folder)
    with progress.working(folder, "unit 3", "in/a.jsonl"):
        until(lambda: "unit 3" in reader.look().hand)
        assert reader.look().of == {"unit 3": "in/a.jsonl"}
        before = reader.look().hand["unit 3"]
        progress.report(folder, classified=1)
        until(lambda: reader.look().hand["unit 3"] != before)
    until(lambda: not reader.look().hand)


def test_signs_are_those_of_the_thread_that_has_the_task(folder):
    reader, go = progress.Reader(folder), threading.Event()

    def still() -> None:
        with progress.working(folder, "unit 1"):
            go.wait()

    thread = threading.Thread(target=still)
    thread.start()
    until(lambda: "unit 1" in reader.look().hand)
    before = reader.look().hand["unit 1"]
    with progress.working(folder, "unit 2"):
        progress.report(folder, rows=1)
        until(lambda: reader.look().totals["rows"] == 1)
        assert reader.look().hand["unit 1"] == before and "unit 2" in reader.look().hand
    go.set()
    thread.join()


def test_what_a_dead_process_had_in_hand_is_over_when_another_has_done_it(folder):
    dead = progress._Teller(folder)
    dead.begin("unit 5", "")
    reader = progress.Reader(folder)
    until(lambda: "unit 5" in reader.look().hand)
    with pytest.raises(ZeroDivisionError), progress.working(folder, "unit 5"):
        raise ZeroDivisionError
    time.sleep(1.2)
    assert "unit 5" in reader.look().hand, "what failed is not done"
    with progress.working(folder, "unit 5"):
        pass
    until(lambda: not reader.look().hand)


def test_a_dead_process_is_silent_and_one_that_hangs_is_not(folder, monkeypatch):
    monkeypatch.setattr(progress, "_BEAT", 0.2)
    Path(folder, "dead.json").write_text(
        '{"totals":{"begun_rows":0,"begun_bytes":0,"classified":0,"rows":5,"rejected":0,"bytes":0},'
        '"hand":{"unit 4":[3,"in/b.jsonl"]},"done":[],"beat":9}'
    )
    monkeypatch.setattr(progress, "_SILENT", 3.0)
    reader = progress.Reader(folder)
    with progress.working(folder, "unit 3", "in/a.jsonl"):
        until(lambda: bool(reader.look().silent))
        ((dead, _),) = reader.look().hand["unit 4"]
        assert dead.endswith("/dead.json") and reader.look().silent == {dead}
        assert reader.look().hand["unit 3"][0][1] == 0, "it has told nothing new meanwhile"
    assert reader.look().totals["rows"] == 5


def test_what_an_earlier_start_left_is_not_told_again(tmp_path):
    folder = str(tmp_path / "told")
    progress.open_folder(folder)  # by a launcher that is killed
    Path(folder, "dead.json").write_text("{}")
    opened = progress.open_folder(folder)
    progress.report(folder, rows=3)
    reader = progress.Reader(folder)
    until(lambda: reader.look().totals["rows"] == 3)
    progress.close_folder(folder, opened)


def test_two_launchers_read_until_the_last_of_them_ends(tmp_path):
    folder = str(tmp_path / "told")
    one, other = progress.open_folder(folder), progress.open_folder(folder)
    progress.close_folder(folder, one)
    progress.report(folder, rows=3)
    reader = progress.Reader(folder)
    until(lambda: reader.look().totals["rows"] == 3)
    progress.close_folder(folder, other)
    assert not Path(folder).exists()


def test_nothing_is_written_where_nobody_reads(tmp_path):
    folder = tmp_path / "gone"
    progress.report(str(folder), rows=1)
    time.sleep(1.2)
    assert not folder.exists()


def test_a_store_is_told_too():
    folder = "memory://progress-test/told"
    opened = progress.open_folder(folder)
    try:
        progress.report(folder, rows=7)
        reader = progress.Reader(folder)
        until(lambda: any(each.endswith(".json") for each in storage.files(folder)))
        assert reader.look().totals["rows"] == 7
    finally:
        progress.close_folder(folder, opened)
    assert storage.files(folder) == []


def test_what_is_half_written_changes_nothing(folder):
    progress.report(folder, rows=2)
    reader = progress.Reader(folder)
    until(lambda: reader.look().totals["rows"] == 2)
    Path(folder, "x.json").symlink_to(Path(folder, "nowhere"))
    time.sleep(0.6)
    assert reader.look().totals["rows"] == 2


@pytest.mark.parametrize("strange", ["not json", "[]", "{}", '{"totals": 1, "beat": 2}', "null"])
def test_what_is_no_news_changes_nothing(folder, strange):
    progress.report(folder, rows=2)
    reader = progress.Reader(folder)
    until(lambda: reader.look().totals["rows"] == 2)
    Path(folder, "x.json").write_text(strange)
    time.sleep(0.6)
    assert reader.look().totals["rows"] == 2
