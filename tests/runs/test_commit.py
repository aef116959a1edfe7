"""A run is published whole or not at all, whatever happens and whoever else publishes."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from seqcls_beam import storage
from seqcls_beam.runs import commit
from seqcls_beam.runs.manifest import open_labels, read_manifest, short
from seqcls_beam.runs.run import Run, RunError, _finished, recorded_units, verified_record
from tests.runs.attempts import write_run


def publish(run: Run, units: int) -> None:
    commit.publish(run, [verified_record(run, unit) for unit in range(units)])


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_published_run_is_its_parts_and_a_manifest(tmp_path):
    run = Run(str(tmp_path), "0123456789abcdef" * 2, max_rejected=1)
    write_run(run, 3, frozenset({4, 25}))
    publish(run, 3)
    assert files(tmp_path) == [
        "_MANIFEST.json",
        "labels/part-00000-of-00003-01234567.parquet",
        "labels/part-00001-of-00003-01234567.parquet",
        "labels/part-00002-of-00003-01234567.parquet",
        "rejects/part-00000-of-00003-01234567.parquet",
        "rejects/part-00002-of-00003-01234567.parquet",
    ]
    manifest = read_manifest(str(tmp_path))
    assert manifest is not None
    assert manifest["rows"] == {"in": 30, "labeled": 28, "rejected": 2, "rejected_by_reason": {"invalid_json": 2}}
    assert manifest["inputs"] == [{"path": "corpus.jsonl", "size": 9, "version": "1", "rows": 30}]
    ids = open_labels(str(tmp_path)).to_table()["id"].to_pylist()
    assert ids == [i for i in range(30) if i not in (4, 25)]


@pytest.mark.parametrize("mode", ["fresh", "overwrite"])
@pytest.mark.parametrize("how", ["kill", "fail"])
def test_a_crash_at_any_step_leaves_the_old_state_or_is_rolled_forward(tmp_path, how, mode):
    command = [sys.executable, "-m", "tests.runs.crash_commit", str(tmp_path), how, mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    steps = int(done.stdout.split()[-2])
    assert steps > 10


def test_of_two_runs_at_once_one_is_published(tmp_path):
    first, second = Run(str(tmp_path), "a" * 32), Run(str(tmp_path), "b" * 32)
    write_run(first, 1)
    write_run(second, 2)
    publish(first, 1)
    with pytest.raises(RunError, match="holds another run"):
        publish(second, 2)
    manifest = read_manifest(str(tmp_path))
    assert manifest is not None
    assert manifest["run_id"] == first.run_id
    assert [name for name in files(tmp_path) if "labels/part" in name] == [manifest["parts"][0]["path"]]


def test_a_run_that_comes_while_another_is_published_fails(tmp_path):
    run = Run(str(tmp_path), "a" * 32)
    write_run(run, 1)
    storage.put(storage.join(str(tmp_path), "_attempts", "_INTENT.json"), b'{"run_id": "another"}')
    with pytest.raises(RunError, match="another run is being published"):
        publish(run, 1)
    assert read_manifest(str(tmp_path)) is None


def test_publishing_twice_is_publishing_once(tmp_path):
    run = Run(str(tmp_path), "a" * 32)
    write_run(run, 2)
    records = [verified_record(run, unit) for unit in range(2)]
    commit.publish(run, records)
    before = files(tmp_path)
    commit.publish(run, records)
    assert files(tmp_path) == before


def test_a_publication_that_failed_half_way_is_finished_by_the_next_try(tmp_path, monkeypatch):
    run = Run(str(tmp_path), "a" * 32)
    write_run(run, 2)
    records = [verified_record(run, unit) for unit in range(2)]
    move = storage.move
    with monkeypatch.context() as patch:

        def failing(source: str, target: str) -> None:
            if "00001-" in source:
                raise OSError("no such luck")
            move(source, target)

        patch.setattr(storage, "move", failing)
        with pytest.raises(OSError, match="no such luck"):
            commit.publish(run, records)
    commit.publish(run, records)
    assert open_labels(str(tmp_path)).count_rows() == 20


def test_a_damaged_run_that_cannot_be_made_again_is_not_called_published(tmp_path, monkeypatch):
    run = Run(str(tmp_path), "a" * 32, overwrite=True)
    write_run(run, 1)
    publish(run, 1)
    next((tmp_path / "labels").iterdir()).unlink()
    write_run(run, 1)
    records = [verified_record(run, 0)]

    def failing(source: str, target: str) -> None:
        raise OSError("no such luck")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "move", failing)
        with pytest.raises(OSError, match="no such luck"):
            commit.publish(run, records)
    commit.publish(run, records)
    assert open_labels(str(tmp_path)).count_rows() == 10


def test_many_may_finish_one_intent_at_once(tmp_path):
    for attempt in range(5):
        out = tmp_path / str(attempt)
        run = Run(str(out), "a" * 32)
        write_run(run, 12)
        records = [verified_record(run, unit) for unit in range(12)]
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(commit.publish, run, records) for _ in range(4)]:
                done.result()
        assert open_labels(str(out)).count_rows() == 120
        assert not (out / "_attempts").exists()


def test_a_folder_inside_labels_does_not_block_an_overwrite(tmp_path):
    old, new = Run(str(tmp_path), "a" * 32), Run(str(tmp_path), "b" * 32, overwrite=True)
    write_run(old, 1)
    publish(old, 1)
    (tmp_path / "labels" / ".ipynb_checkpoints").mkdir()
    write_run(new, 2)
    publish(new, 2)
    assert open_labels(str(tmp_path)).count_rows() == 20


def test_names_of_runs_that_begin_alike_do_not_collide():
    assert short("2026-11-20") != short("2026-11-21")
    assert short("0123456789abcdef" * 2) == "01234567"


def test_a_damaged_manifest_is_named(tmp_path):
    (tmp_path / "_MANIFEST.json").write_text("{")
    with pytest.raises(RunError, match=r"_MANIFEST\.json is no manifest"):
        read_manifest(str(tmp_path))


def test_records_of_another_plan_do_not_count(tmp_path):
    run = Run(str(tmp_path), "a" * 32)
    write_run(run, 3)
    assert sorted(_finished(run, 3)) == [0, 1, 2]
    assert list(_finished(run, 2)) == []
    assert list(recorded_units(run, [])) == []


def test_an_intent_made_void_by_another_run_is_taken_back(tmp_path):
    first, second = Run(str(tmp_path), "a" * 32), Run(str(tmp_path), "b" * 32, overwrite=True)
    write_run(first, 1)
    write_run(second, 1)
    publish(first, 1)
    # `second` saw an empty folder when it decided to publish.
    intent: dict[str, Any] = {"run_id": second.run_id, "replaces": None, "moves": [], "removes": [], "manifest": {}}
    assert not commit._roll_forward(str(tmp_path), intent)
    manifest = read_manifest(str(tmp_path))
    assert manifest is not None
    assert manifest["run_id"] == first.run_id


def test_overwrite_replaces_every_file_of_the_old_run(tmp_path):
    old, new = Run(str(tmp_path), "a" * 32, max_rejected=1), Run(str(tmp_path), "b" * 32, overwrite=True)
    write_run(old, 2, frozenset({1}))
    publish(old, 2)
    write_run(new, 1)
    publish(new, 1)
    assert files(tmp_path) == ["_MANIFEST.json", "labels/part-00000-of-00001-bbbbbbbb.parquet"]


def test_too_many_rejects_publish_nothing_and_say_where_they_lie(tmp_path):
    run = Run(str(tmp_path), "a" * 32, max_rejected=0.1)
    write_run(run, 1, frozenset({1, 2}))
    with pytest.raises(RunError, match=r"2 of 10 rows were rejected \(20.0%: 2 invalid_json\).*_attempts/a+/rejects"):
        publish(run, 1)
    assert not (tmp_path / "labels").exists()
    publish(Run(str(tmp_path), "a" * 32, max_rejected=0.2), 1)
    assert read_manifest(str(tmp_path)) is not None


def test_a_missing_unit_publishes_nothing(tmp_path):
    run = Run(str(tmp_path), "a" * 32)
    write_run(run, 3)
    with pytest.raises(RunError, match="1 of 3 units have no record"):
        commit.publish(run, [verified_record(run, unit) for unit in (0, 2)])


@pytest.mark.parametrize("harm", ["cut", "flip", "gone"])
def test_a_damaged_part_is_found_and_its_unit_made_again(tmp_path, harm):
    run = Run(str(tmp_path), "a" * 32)
    write_run(run, 2)
    part = sorted((tmp_path / "_attempts" / run.run_id / "labels").iterdir())[1]
    data = bytearray(part.read_bytes())
    if harm == "gone":
        part.unlink()
    else:
        data[20] ^= 1
        part.write_bytes(data if harm == "flip" else data[:-1])
    with pytest.raises(RunError, match="Start the run again"):
        verified_record(run, 1)
    assert list(recorded_units(run, [])) == [0]


def test_files_of_unknown_origin_in_labels_are_not_mixed_with_a_run(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "mine.parquet").write_bytes(b"")
    assert "are not of a run" in (commit.unpublishable(Run(str(tmp_path), "a" * 32)) or "")


def test_damage_of_a_published_run_is_named(tmp_path):
    run = Run(str(tmp_path), "a" * 32)
    write_run(run, 2)
    publish(run, 2)
    manifest = read_manifest(str(tmp_path))
    assert manifest is not None
    assert commit.damage(str(tmp_path), manifest) is None
    (tmp_path / manifest["parts"][1]["path"]).unlink()
    assert commit.damage(str(tmp_path), manifest) == f"{manifest['parts'][1]['path']} is gone"
