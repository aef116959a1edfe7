"""Files that a store has packed, with a Content-Encoding: the rows of the plain file, or a sentence."""

import gzip
import json

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.files import list_files
from seqcls_beam.reading.formats.pieces import InputFailed
from seqcls_beam.reading.records import plan_layout, read_unit
from seqcls_beam.reading.units import plan_units
from tests import gcs, s3

pytestmark = pytest.mark.engine

ROWS = [{"id": i, "text": f"text {i} {'x' * (i % 90)}"} for i in range(4_000)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


@pytest.fixture(scope="module", params=["gs", "s3"])
def bucket(request):
    with (gcs if request.param == "gs" else s3).bucket("packed") as uri:
        yield uri


def put(uri: str, data: bytes, encoding: str) -> None:
    """Store an object with a Content-Encoding."""
    protocol, _, path = uri.partition("://")
    if protocol == "gs":
        fsspec.filesystem("gs").pipe_file(path, data, fixed_key_metadata={"content_encoding": encoding})
    else:
        fsspec.filesystem("s3").pipe_file(path, data, ContentEncoding=encoding)


def rows(uri: str, unit_bytes: int = 0) -> tuple[list[dict], int]:
    """The rows of a file, read in units, and how many units that were."""
    options = ReadOptions(input=(uri,), text_column="text", keep_columns=("*",))
    files = list_files(options)
    layout = plan_layout(files, options)
    units = plan_units(files, unit_bytes)
    found = []
    for unit in units:
        batches = pa.Table.from_batches(list(read_unit(unit, layout)))
        assert batches["reject"].null_count == len(batches)
        kept = batches["keep"].to_pylist()
        found += [{**keep, "text": text} for keep, text in zip(kept, batches["text"].to_pylist(), strict=True)]
    return [{"id": row["id"], "text": row["text"]} for row in found], len(units)


@pytest.mark.parametrize("unit_bytes", [0, 20_000])
@pytest.mark.parametrize("name", ["plain.jsonl", "packed.jsonl", "packed.jsonl.gz"])
def test_rows_are_those_of_the_plain_file(bucket, name, unit_bytes):
    packed = gzip.compress(LINES, mtime=0)
    uri = f"{bucket}/rows/{name}"
    if name == "plain.jsonl":
        storage.put(uri, LINES)
    else:
        put(uri, packed, "gzip")
    found, units = rows(uri, unit_bytes)
    assert found == ROWS
    assert units == (-(-len(LINES) // unit_bytes) if unit_bytes and name == "plain.jsonl" else 1)


def test_a_file_is_read_as_it_is_stored(bucket):
    """Whatever range is asked for; the size is that of the listing."""
    packed = gzip.compress(LINES, mtime=0)
    put(f"{bucket}/stored.jsonl", packed, "gzip")
    fs, path = storage.connect(f"{bucket}/stored.jsonl")
    assert (
        storage.size(f"{bucket}/stored.jsonl") == len(packed) == next(iter(fs.find(path, detail=True).values()))["size"]
    )
    assert storage.packing(fs.info(path)) == "gzip"
    for cache in ("none", "readahead"):
        with fs.open(path, "rb", cache_type=cache) as file:
            file.seek(1_000)
            assert file.read(10) == packed[1_000:1_010]
            file.seek(0)
            assert file.read() == packed and file.read() == b""


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [("a.csv", b"text,n\none,1\ntwo,2\n", ["one", "two"]), ("b.txt", b"three\nfour\n", ["three", "four"])],
)
def test_other_formats_too(bucket, name, data, found):
    put(f"{bucket}/kinds/{name}", gzip.compress(data), "gzip")
    options = ReadOptions(input=(f"{bucket}/kinds/{name}",))
    files = list_files(options)
    (unit,) = plan_units(files, 0)
    (batch,) = read_unit(unit, plan_layout(files, options))
    assert batch["text"].to_pylist() == found


def test_what_cannot_be_read_is_refused(bucket):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["a"]}), sink)
    for name, data, encoding, said in (
        ("a.jsonl", LINES, "br", "is stored with Content-Encoding br, which is not read: store it with gzip"),
        (
            "a.parquet",
            gzip.compress(sink.getvalue().to_pybytes()),
            "gzip",
            "cannot be read from its middle: store it as",
        ),
    ):
        put(f"{bucket}/refused/{name}", data, encoding)
        with pytest.raises(InputFailed, match=rf"^{bucket}/refused/{name} .*{said}"):
            rows(f"{bucket}/refused/{name}")


def test_an_encoding_that_is_none_is_none(bucket):
    put(f"{bucket}/none.jsonl", LINES, "identity")
    assert rows(f"{bucket}/none.jsonl")[0] == ROWS
    if bucket.startswith("s3"):
        put(f"{bucket}/chunked.jsonl", LINES, "aws-chunked")
        assert rows(f"{bucket}/chunked.jsonl")[0] == ROWS
