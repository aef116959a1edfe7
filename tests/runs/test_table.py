"""What readers find: the newest versions, all partitions, and no more questions than need be."""

import shutil
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqcls_beam import open_labels, storage
from seqcls_beam.runs.publication import follow, publish
from seqcls_beam.runs.run import Run, RunError, verified_record
from seqcls_beam.runs.store import Disk
from seqcls_beam.runs.table import read_manifest, read_newest
from seqcls_beam.runs.versions import newest, version_name
from tests.runs.attempts import write_run


class Counting(Disk):
    """A disk that counts what it is asked."""

    asked = 0

    def exists(self, name: str) -> bool:
        self.asked += 1
        return super().exists(name)


def published(out: Path, run_id: str, partition: str = "") -> None:
    run = follow(Run(str(out), run_id * 32, partition=partition))
    write_run(run, 1)
    publish(run, [verified_record(run, 0)])


@pytest.mark.parametrize("versions", [1, 2, 3, 4, 7, 8, 1000, 1024])
def test_the_newest_of_many_versions_is_found_by_few_questions(tmp_path, versions):
    published(tmp_path, "a")
    first = tmp_path / version_name("", 1)
    manifest = orjson.loads(first.read_bytes())
    for number in range(2, versions + 1):
        manifest["commit"]["version"] = number
        (tmp_path / version_name("", number)).write_bytes(orjson.dumps(manifest))
    store = Counting(str(tmp_path))
    assert newest(store, "") == versions
    assert store.asked <= 2 * versions.bit_length()
    found = read_newest(store)
    assert found is not None and found.version.number == versions


def test_a_folder_that_can_only_be_read_is_read_while_a_version_is_half_done(tmp_path, monkeypatch):
    run = follow(Run(str(tmp_path), "a" * 32))
    write_run(run, 2)
    records = [verified_record(run, unit) for unit in range(2)]

    def failing(source: str, target: str) -> None:
        raise PermissionError(13, "read-only", source)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "rename", failing)
        with pytest.raises(PermissionError):
            publish(run, records)
        assert not (tmp_path / "labels").exists()
        assert open_labels(str(tmp_path)).to_table()["id"].to_pylist() == list(range(20))
    assert open_labels(str(tmp_path)).count_rows() == 20
    assert len(list((tmp_path / "labels").iterdir())) == 2, "who may write carries it out"


def test_partitions_whose_columns_differ_are_named(tmp_path):
    days = ("run_date=2026-11-20", "run_date=2026-11-21")
    for day in days:
        published(tmp_path, "a", day)
    part = next((tmp_path / "labels" / days[1]).iterdir())
    table = pq.read_table(part)
    size = part.stat().st_size
    pq.write_table(table.set_column(0, "id", pa.array(["x"] * table.num_rows)), part)
    version = next((tmp_path / "_versions" / days[1]).iterdir())
    version.write_text(version.read_text().replace(f'"bytes": {size}', f'"bytes": {part.stat().st_size}'))
    with pytest.raises(RunError, match=f"column 'id' is int64 in {days[0]}, and string in {days[1]}"):
        open_labels(str(tmp_path))


def test_a_part_that_is_gone_is_named(tmp_path):
    published(tmp_path, "a")
    shutil.rmtree(tmp_path / "labels")
    with pytest.raises(FileNotFoundError, match=r"labels/part-00000-of-00001-v1-a{8}\.parquet is gone"):
        open_labels(str(tmp_path))


@pytest.mark.parametrize("damage", [lambda data: data[:-50], lambda _: b"", lambda data: bytes(len(data))])
def test_a_part_that_is_damaged_is_named(tmp_path, damage):
    published(tmp_path, "a")
    part = min((tmp_path / "labels").iterdir())
    part.write_bytes(damage(part.read_bytes()))
    with pytest.raises(RunError, match=rf"labels/{part.name} is damaged: "):
        open_labels(str(tmp_path))


def test_nothing_is_published_where_nothing_is(tmp_path):
    assert read_manifest(str(tmp_path)) is None
    with pytest.raises(FileNotFoundError, match="no published run"):
        open_labels(str(tmp_path))
    assert not list(tmp_path.iterdir())
