"""An attempt is made where a run can be published from, and what is read back from one is not trusted."""

import os
import tempfile
from pathlib import Path

import orjson
import pytest

from seqcls_beam.runs.publication import follow, publish
from seqcls_beam.runs.run import Run, RunError, finished_units, open_attempt, verified_record
from tests.runs.attempts import write_run


@pytest.fixture
def other_disk():
    """A folder of another file system."""
    if not Path("/dev/shm").is_dir() or os.stat("/dev/shm").st_dev == os.stat(tempfile.gettempdir()).st_dev:
        pytest.skip("there is no second file system here")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.mark.parametrize("name", ["_attempts", "_versions", "labels"])
def test_a_link_to_another_disk_is_refused_before_the_work(tmp_path, other_disk, name):
    (tmp_path / name).symlink_to(other_disk)
    with pytest.raises(RunError, match=r"cannot be written.*cross-device"):
        open_attempt(follow(Run(str(tmp_path), "a" * 32)))
    assert [path for path in other_disk.rglob("*") if path.is_file()] == []


def test_a_link_to_the_same_disk_is_fine(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "_attempts").symlink_to(tmp_path / "elsewhere")
    run = follow(Run(str(tmp_path / "out"), "a" * 32))
    open_attempt(run)
    write_run(run, 1)
    assert publish(run, [verified_record(run, 0)]) == 1


@pytest.mark.parametrize("name", ["../../secret.parquet", "/etc/passwd", "..", "", 5, None])
def test_a_record_whose_part_lies_elsewhere_is_refused(tmp_path, name):
    run = follow(Run(str(tmp_path / "out"), "a" * 32))
    write_run(run, 1)
    secret = tmp_path / "secret.parquet"
    secret.write_bytes(next(Path(run.attempt, "labels").iterdir()).read_bytes())
    record = orjson.loads(Path(run.record(0)).read_bytes())
    record["labels"]["name"] = name
    Path(run.record(0)).write_bytes(orjson.dumps(record))
    for read in (lambda: verified_record(run, 0), lambda: finished_units(run, 1)):
        with pytest.raises(RunError, match="none of this program's"):
            read()
    assert secret.exists()


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'"x"', b'{"labels": []}'])
def test_a_record_of_another_shape_is_refused(tmp_path, body):
    run = follow(Run(str(tmp_path), "a" * 32))
    write_run(run, 1)
    Path(run.record(0)).write_bytes(body)
    with pytest.raises(RunError, match=r"damaged|none of this program's"):
        verified_record(run, 0)
