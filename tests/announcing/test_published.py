"""A version as platforms are told of it, of a folder that is opened with a password."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqcls_beam import storage
from seqcls_beam.announcing import platforms
from seqcls_beam.announcing.columns import schema_of
from seqcls_beam.announcing.published import PlatformError
from tests.announcing.told import version

SECRET = "ftp://me:hunter2@host/out"


def test_a_folder_is_opened_with_its_password_and_known_without(monkeypatch):
    announced = platforms.announced(SECRET, "", 1, {"kind": "classify", "parts": [{"path": "labels/a.parquet"}]})
    assert announced.output == "ftp://host/out" and "hunter2" not in repr(announced)
    asked = []

    def connect(uri):
        asked.append(uri)
        raise OSError(f"{uri} is away")

    monkeypatch.setattr(storage, "connect", connect)
    with pytest.raises(PlatformError, match=r"^ftp://host/out/labels/a\.parquet cannot be read") as error:
        schema_of(announced)
    assert asked == [f"{SECRET}/labels/a.parquet"] and "hunter2" not in str(error.value)


def test_a_folder_without_one_is_itself(tmp_path, monkeypatch):
    pq.write_table(pa.table({"label": ["a"]}), tmp_path / "a.parquet")
    monkeypatch.chdir(tmp_path.parent)
    manifest = {"kind": "classify", "parts": [{"path": "a.parquet", "rows": 1}]}
    for announced in (
        version(manifest, output=tmp_path.name),
        platforms.announced(tmp_path.name, "", 1, manifest),
    ):
        assert schema_of(announced) == pa.schema({"label": pa.string()})
