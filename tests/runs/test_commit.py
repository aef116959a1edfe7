"""A run is published whole or not at all, whatever happens and whoever else publishes."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seqcls_beam import storage
from seqcls_beam.config.classify import LossOptions
from seqcls_beam.runs import publication
from seqcls_beam.runs.commit import recover
from seqcls_beam.runs.publication import follow, outcome, unpublishable
from seqcls_beam.runs.run import Run, RunError, _finished, recorded_units, short, verified_record
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import Published, damage, open_labels, read_manifest, read_newest
from tests.runs.attempts import write_run


def begun(out: Path, run_id: str, units: int, rejected: frozenset[int] = frozenset(), **how: Any) -> Run:
    """A run whose units are made."""
    run = follow(Run(str(out), run_id, **how))
    write_run(run, units, rejected)
    return run


def records_of(run: Run, units: int) -> list[dict[str, Any]]:
    return [verified_record(run, unit) for unit in range(units)]


def publish(run: Run, units: int) -> int:
    return publication.publish(run, records_of(run, units))


def newest(out: Path) -> Published:
    found = read_newest(store_of(str(out)))
    assert found is not None
    return found


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def no_renames(monkeypatch: pytest.MonkeyPatch, of: str = "") -> None:
    """Every rename of a name with `of` in it fails, from here on."""
    rename = storage.rename

    def failing(source: str, target: str) -> None:
        if of in source:
            raise OSError("no such luck")
        rename(source, target)

    monkeypatch.setattr(storage, "rename", failing)


def test_a_published_run_is_its_parts_and_a_version(tmp_path):
    publish(begun(tmp_path, "0123456789abcdef" * 2, 3, frozenset({4, 25}), limits=LossOptions(max_rejected=1)), 3)
    assert files(tmp_path) == [
        "_rejects/part-00000-of-00003-v1-01234567.parquet",
        "_rejects/part-00002-of-00003-v1-01234567.parquet",
        "_versions/00000001.json",
        "labels/part-00000-of-00003-v1-01234567.parquet",
        "labels/part-00001-of-00003-v1-01234567.parquet",
        "labels/part-00002-of-00003-v1-01234567.parquet",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_rejects", "_versions", "labels"]
    manifest = read_manifest(str(tmp_path))
    assert manifest is not None
    assert manifest["rows"] == {
        "in": 30,
        "labeled": 28,
        "rejected": 2,
        "rejected_by_reason": {"invalid_json": 2},
        "lost": 0,
        "lost_weight": "counted",
        "lost_by_reason": {},
    }
    assert manifest["inputs"] == [
        {
            "path": "corpus.jsonl",
            "size": 9,
            "version": "1",
            "rows": 30,
            "rows_lost": 0,
            "bytes": 9,
            "bytes_lost": 0,
        }
    ]
    ids = open_labels(str(tmp_path)).to_table()["id"].to_pylist()
    assert ids == [i for i in range(30) if i not in (4, 25)]


@pytest.mark.parametrize("error", [RuntimeError("no such luck"), KeyboardInterrupt(), SystemExit(3)])
def test_whatever_becomes_of_who_is_told_what_is_decided_is_carried_out(tmp_path, caplog, error):
    """Between the names of the new files and the end of those before stands somebody else's code, and a signal."""
    publish(begun(tmp_path, "a" * 32, 2), 2)
    seen = []

    def placed(partition, number, manifest):
        seen.append((number, manifest["run_id"], len(files(tmp_path / "labels"))))
        raise error

    run = begun(tmp_path, "b" * 32, 1, overwrite=True, placed=placed)
    if isinstance(error, Exception):
        assert publication.publish(run, records_of(run, 1)) == 2
        assert [each.getMessage() for each in caplog.records] == [f"{tmp_path} is published, but no such luck"]
    else:
        with pytest.raises(type(error)) as raised:
            publication.publish(run, records_of(run, 1))
        assert raised.value is error, "somebody asked for the end, and gets it"
    assert seen == [(2, "b" * 32, 3)]
    assert files(tmp_path / "labels") == ["part-00000-of-00001-v2-bbbbbbbb.parquet"]
    assert newest(tmp_path).version.run_id == "b" * 32 and not files(tmp_path / "_attempts")
    recover(store_of(str(tmp_path)), "", placed)
    assert len(seen) == 1, "all is done"


def test_partitions_are_versions_of_their_own_and_one_table(tmp_path):
    nights = [begun(tmp_path, letter * 32, 1, partition=f"run_date=2026-11-2{n}") for n, letter in enumerate("ab")]
    assert [publish(night, 1) for night in nights] == [1, 1]
    assert files(tmp_path) == [
        "_versions/run_date=2026-11-20/00000001.json",
        "_versions/run_date=2026-11-21/00000001.json",
        "labels/run_date=2026-11-20/part-00000-of-00001-v1-aaaaaaaa.parquet",
        "labels/run_date=2026-11-21/part-00000-of-00001-v1-bbbbbbbb.parquet",
    ]
    table = open_labels(str(tmp_path)).to_table()
    assert table["run_date"].to_pylist() == ["2026-11-20"] * 10 + ["2026-11-21"] * 10
    assert not (tmp_path / "_attempts").exists()


@pytest.mark.parametrize("mode", ["fresh", "overwrite"])
@pytest.mark.parametrize("kind", ["labels", "folder", "root"])
@pytest.mark.parametrize("how", ["kill", "fail"])
def test_a_crash_at_any_step_leaves_the_old_state_or_is_carried_out(tmp_path, how, kind, mode):
    command = [sys.executable, "-m", "tests.runs.crash_commit", str(tmp_path), how, kind, mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    steps = int(done.stdout.split()[-2])
    assert steps > 10


@pytest.mark.parametrize("overwrite", [False, True])
def test_of_two_runs_at_once_one_is_published_and_the_other_told(tmp_path, overwrite):
    first, second = begun(tmp_path, "a" * 32, 1), begun(tmp_path, "b" * 32, 2, overwrite=overwrite)
    publish(first, 1)
    before = files(tmp_path / "labels")
    with pytest.raises(RunError, match=r"another run, aaaaaaaa, was published into .* since this one began"):
        publish(second, 2)
    manifest = read_manifest(str(tmp_path))
    assert manifest is not None
    assert manifest["run_id"] == first.run_id and outcome(second) is None
    assert files(tmp_path / "labels") == before == [Path(manifest["parts"][0]["path"]).name]
    assert open_labels(str(tmp_path)).count_rows() == 10


def test_a_run_that_comes_later_is_refused_what_stands_there(tmp_path):
    publish(begun(tmp_path, "a" * 32, 1), 1)
    second = begun(tmp_path, "b" * 32, 2)
    assert "holds another run" in (unpublishable(second) or "")
    with pytest.raises(RunError, match="holds another run"):
        publish(second, 2)
    assert open_labels(str(tmp_path)).count_rows() == 10
    assert publish(replace(second, overwrite=True), 2) == 2
    assert open_labels(str(tmp_path)).count_rows() == 20


def test_a_run_that_comes_while_another_is_published_fails_and_harms_nothing(tmp_path, monkeypatch):
    first, second = begun(tmp_path, "a" * 32, 2), begun(tmp_path, "b" * 32, 1)
    with monkeypatch.context() as patch:
        no_renames(patch, "/00001-")
        with pytest.raises(OSError, match="no such luck"):
            publish(first, 2)
    with pytest.raises(RunError, match="another run, aaaaaaaa, was published"):
        publish(second, 1)
    assert open_labels(str(tmp_path)).count_rows() == 20, "decided, and read from where its files lie"
    follow(Run(str(tmp_path), "c" * 32))
    assert len(files(tmp_path / "labels")) == 2 and open_labels(str(tmp_path)).count_rows() == 20


def test_publishing_twice_is_publishing_once(tmp_path):
    run = begun(tmp_path, "a" * 32, 2)
    records = records_of(run, 2)
    assert publication.publish(run, records) == 1
    before = files(tmp_path)
    for again in (run, Run(str(tmp_path), run.run_id), replace(run, overwrite=True)):
        assert publication.publish(again, records) == 1
        assert files(tmp_path) == before and not (tmp_path / "_attempts").exists()


@pytest.mark.parametrize("by", ["a start", "a try", "a start of another run"])
def test_a_publication_that_failed_half_way_is_finished(tmp_path, monkeypatch, by):
    run = begun(tmp_path, "a" * 32, 2)
    records = records_of(run, 2)
    with monkeypatch.context() as patch:
        no_renames(patch, "/00001-")
        with pytest.raises(OSError, match="no such luck"):
            publication.publish(run, records)
    assert len(files(tmp_path / "labels")) < 2, "it did fail half way"
    assert open_labels(str(tmp_path)).count_rows() == 20, "a reader of the version finds each part where it lies"
    if by == "a try":
        publication.publish(run, records)
    else:
        follow(Run(str(tmp_path), ("a" if by == "a start" else "b") * 32))
    assert len(files(tmp_path / "labels")) == 2 and open_labels(str(tmp_path)).count_rows() == 20
    assert outcome(run) is not None and not (tmp_path / "_attempts").exists()


def test_a_damaged_run_that_cannot_be_made_again_is_not_called_published(tmp_path, monkeypatch):
    publish(begun(tmp_path, "a" * 32, 1), 1)
    next((tmp_path / "labels").iterdir()).unlink()
    run = begun(tmp_path, "a" * 32, 1, overwrite=True)
    records = records_of(run, 1)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "put_if_absent", lambda *_: (_ for _ in ()).throw(OSError("no such luck")))
        with pytest.raises(OSError, match="no such luck"):
            publication.publish(run, records)
    assert outcome(run) is None
    with monkeypatch.context() as patch:
        no_renames(patch, "/00000-")
        with pytest.raises(OSError, match="no such luck"):
            publication.publish(run, records)
    publication.publish(run, records)
    assert open_labels(str(tmp_path)).count_rows() == 10 and len(files(tmp_path / "labels")) == 1
    assert damage(newest(tmp_path)) is None


def test_many_may_carry_one_version_out_at_once(tmp_path, monkeypatch):
    for attempt in range(5):
        out = tmp_path / str(attempt)
        run = begun(out, "a" * 32, 12)
        records = records_of(run, 12)
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(publication.publish, run, records) for _ in range(4)]:
                assert done.result() == 1
        assert open_labels(str(out)).count_rows() == 120 and len(files(out / "labels")) == 12
        assert not (out / "_attempts").exists()
        again = begun(out, "b" * 32, 12, overwrite=True)
        with monkeypatch.context() as patch:
            no_renames(patch, "/00007-")
            with pytest.raises(OSError, match="no such luck"):
                publish(again, 12)
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(recover, [store_of(str(out))] * 4, [""] * 4)) == [2] * 4
        assert len(files(out / "labels")) == 12 and all("-v2-" in name for name in files(out / "labels"))
        follow(again)
        assert not (out / "_attempts").exists()


def test_a_folder_inside_labels_does_not_block_an_overwrite(tmp_path):
    publish(begun(tmp_path, "a" * 32, 1), 1)
    (tmp_path / "labels" / ".ipynb_checkpoints").mkdir()
    publish(begun(tmp_path, "b" * 32, 2, overwrite=True), 2)
    assert open_labels(str(tmp_path)).count_rows() == 20
    assert (tmp_path / "labels" / ".ipynb_checkpoints").is_dir() and len(files(tmp_path / "labels")) == 2


def test_names_of_runs_that_begin_alike_do_not_collide():
    assert short("2026-11-20") != short("2026-11-21")
    assert short("0123456789abcdef" * 2) == "01234567"


def test_records_of_another_plan_do_not_count(tmp_path):
    run = begun(tmp_path, "a" * 32, 3)
    assert sorted(_finished(run, 3)) == [0, 1, 2]
    assert list(_finished(run, 2)) == []
    assert list(recorded_units(run, [])) == []


def test_overwrite_replaces_every_file_of_the_old_run(tmp_path):
    publish(begun(tmp_path, "a" * 32, 2, frozenset({1}), limits=LossOptions(max_rejected=1)), 2)
    publish(begun(tmp_path, "b" * 32, 1, overwrite=True), 1)
    assert files(tmp_path) == [
        "_versions/00000001.json",
        "_versions/00000002.json",
        "labels/part-00000-of-00001-v2-bbbbbbbb.parquet",
    ]
    assert not (tmp_path / "_attempts").exists()


def test_an_overwrite_leaves_other_partitions_alone(tmp_path):
    for letter, night in zip("abc", ("2026-11-20", "2026-11-21", "2026-11-20"), strict=True):
        publish(begun(tmp_path, letter * 32, 1, overwrite=True, partition=f"run_date={night}"), 1)
    assert files(tmp_path / "labels") == [
        "run_date=2026-11-20/part-00000-of-00001-v2-cccccccc.parquet",
        "run_date=2026-11-21/part-00000-of-00001-v1-bbbbbbbb.parquet",
    ]


def test_too_many_rejects_publish_nothing_and_say_where_they_lie(tmp_path):
    run = begun(tmp_path, "a" * 32, 1, frozenset({1, 2}), limits=LossOptions(max_rejected=0.1))
    with pytest.raises(RunError, match=r"2 of 10 rows were rejected \(20.0%: 2 invalid_json\).*") as told:
        publish(run, 1)
    folder = str(told.value).rsplit(" ", 1)[-1]
    assert [path.suffix for path in Path(folder).iterdir()] == [".parquet"]
    assert not (tmp_path / "labels").exists() and read_manifest(str(tmp_path)) is None
    publish(replace(run, limits=LossOptions(max_rejected=0.2)), 1)
    assert read_manifest(str(tmp_path)) is not None


def test_a_missing_unit_publishes_nothing(tmp_path):
    run = begun(tmp_path, "a" * 32, 3)
    with pytest.raises(RunError, match="1 of 3 units have no record"):
        publication.publish(run, [verified_record(run, unit) for unit in (0, 2)])
    assert read_manifest(str(tmp_path)) is None


@pytest.mark.parametrize("harm", ["cut", "flip", "gone"])
def test_a_damaged_part_is_found_and_its_unit_made_again(tmp_path, harm):
    run = begun(tmp_path, "a" * 32, 2)
    part = sorted((Path(run.attempt) / "labels").iterdir())[1]
    data = bytearray(part.read_bytes())
    if harm == "gone":
        part.unlink()
    else:
        data[20] ^= 1
        part.write_bytes(data if harm == "flip" else data[:-1])
    with pytest.raises(RunError, match="Start the run again"):
        verified_record(run, 1)
    assert list(recorded_units(run, [])) == [0]


@pytest.mark.parametrize("folder", ["labels", "_rejects", "labels/run_date=2026-11-20"])
def test_files_of_unknown_origin_are_not_mixed_with_a_run(tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "mine.parquet").write_bytes(b"")
    run = Run(str(tmp_path), "a" * 32, partition=folder.partition("/")[2])
    assert f"{folder}/mine.parquet is not of a run" in (unpublishable(follow(run)) or "")
    publish(begun(tmp_path / "other", "a" * 32, 1), 1)
    (tmp_path / "other" / "labels" / "mine.parquet").write_bytes(b"")
    for overwrite in (False, True):
        assert "mine.parquet" in (unpublishable(follow(Run(str(tmp_path / "other"), "a" * 32, overwrite))) or "")


def test_damage_of_a_published_run_is_named(tmp_path):
    run = begun(tmp_path, "a" * 32, 2)
    publish(run, 2)
    now = newest(tmp_path)
    assert damage(now) is None
    name = now.manifest["parts"][1]["path"]
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:-1])
    assert damage(now) == f"{name} has {len(whole) - 1} bytes instead of {len(whole)}"
    (tmp_path / name).unlink()
    assert damage(now) == f"{name} is gone"
