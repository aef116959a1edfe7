"""Files over HTTP, from servers that leave out what they may."""

import gzip
import io
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.files import list_files
from seqcls_beam.reading.records import plan_layout, read_unit
from seqcls_beam.reading.units import plan_units
from tests import web

TEXTS = [f"text {i}" for i in range(3000)]


@pytest.fixture
def pages():
    with web.server() as pages:
        yield pages


def read(url: str, unit_bytes: int = 0) -> tuple[list[str], int]:
    """The texts of a file, and the number of units that they were read in."""
    options = ReadOptions(input=(url,))
    files = list_files(options)
    units = plan_units(files, unit_bytes)
    layout = plan_layout(files, options)
    return [text for unit in units for batch in read_unit(unit, layout) for text in batch["text"].to_pylist()], len(
        units
    )


@pytest.mark.parametrize("ranges", [True, False])
def test_files_are_cut_only_where_the_server_gives_parts(ranges, pages):
    pages.ranges = ranges
    parquet = io.BytesIO()
    pq.write_table(pa.table({"text": TEXTS}), parquet, row_group_size=500)
    lines = "".join(f"{text}\n" for text in TEXTS).encode()
    pages.files = {"/a.txt": lines, "/a.parquet": parquet.getvalue(), "/a.txt.gz": gzip.compress(lines), "/b.txt": b""}
    for name in ("a.txt", "a.parquet"):
        texts, units = read(f"{pages.url}/{name}", 5000)
        assert texts == TEXTS
        assert (units > 2) is ranges
    assert read(f"{pages.url}/a.txt.gz", 100) == (TEXTS, 1)
    assert read(f"{pages.url}/b.txt") == ([], 1)
    if ranges:
        assert all(asked is not None for _, asked in pages.asked)


def test_a_url_is_asked_for_as_it_stands(pages):
    pages.files = {"/a%20b/c%23d.txt?x=1&token=abc": b"here\n"}
    assert read(f"{pages.url}/a%20b/c%23d.txt?x=1&token=abc") == (["here"], 1)
    assert read(f"{pages.url}/a b/c%23d.txt?x=1&token=abc") == (["here"], 1)


@pytest.fixture
def hasty(monkeypatch):
    """Nothing is asked again for long."""
    monkeypatch.setattr("seqcls_beam.storage.retries.PATIENCE", 0.3)


@pytest.mark.parametrize("fault", [{"cut": 3}, {"status": 503}])
def test_what_passes_is_asked_again(fault, pages):
    pages.files = {"/a.txt": "".join(f"{text}\n" for text in TEXTS).encode()}
    for name, value in fault.items():
        setattr(pages, name, value)
    whole = {name: getattr(type(pages), name) for name in fault}
    threading.Timer(0.3, pages.__dict__.update, (whole,)).start()
    assert read(f"{pages.url}/a.txt", 5000)[0] == TEXTS
    assert len(pages.asked) > 5


def test_a_version_tells_a_file_from_its_later_self(pages):
    pages.files = {"/a.txt": b"one\n"}
    options = ReadOptions(input=(f"{pages.url}/a.txt",))
    assert list_files(options)["version"].to_pylist() == ['"1"']
    pages.version = '"2"'
    assert list_files(options)["version"].to_pylist() == ['"2"']
    pages.version, pages.modified = "", "Thu, 26 Nov 2026 12:00:00 GMT"
    assert list_files(options)["version"].to_pylist() == ["Thu, 26 Nov 2026 12:00:00 GMT"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"length": False, "ranges": False}, "does not say how long the file is: .*curl"),
        ({"encoding": "gzip"}, r"packs it on the way \(gzip\)"),
        ({"login": "me:p@ss"}, "answers 401 Unauthorized"),
        ({"status": 204}, "a.txt: the server answers 204 No Content"),
        ({"status": 205}, "a.txt: the server answers 205 Reset Content"),
        ({"status": 302, "location": "/a.txt"}, "a.txt: the server leads from one address to another without an end"),
    ],
)
def test_what_a_server_may_do_is_told(change, sentence, pages):
    pages.files = {"/a.txt": b"one\n"}
    for name, value in change.items():
        setattr(pages, name, value)
    with pytest.raises((ValueError, OSError), match=sentence):
        read(f"{pages.url}/a.txt")


def test_a_file_that_is_packed_anyway_is_read(pages):
    pages.files, pages.encoding = {"/a.txt.gz": gzip.compress(b"one\n")}, "gzip"  # as Apache says of .gz
    assert read(f"{pages.url}/a.txt.gz") == (["one"], 1)


def test_passwords_are_used_and_never_told(pages):
    pages.files, pages.login = {"/a.txt": b"one\n"}, "me:p@ss/word"
    user = pages.url.replace("://", "://me:p%40ss%2Fword@")
    assert read(f"{user}/a.txt") == (["one"], 1)
    for url, kind, sentence in (
        (f"{user}/b.txt", FileNotFoundError, r"^http://127[^@]*/b.txt: the server answers 404 Not Found$"),
        (f"{user}/*.txt", FileNotFoundError, r"^http://127[^@]*404 .*name each file\)$"),
        (f"{user}/a/", ValueError, r"^http://127[^@]*/a/ is a folder"),
        (
            "http://me:secret@127.0.0.1:1/a.txt",
            OSError,
            r"^http://127.0.0.1:1/a.txt: no answer \([^@]*refused[^@]*\)$|Connect",
        ),
    ):
        with pytest.raises(kind, match=sentence) as error:
            read(url)
        assert "secret" not in str(error.value) and "p%40ss" not in str(error.value)


def test_a_connection_that_ends_early_is_an_error(pages, hasty):
    pages.files, pages.ranges, pages.cut = {"/a.txt": b"one\ntwo\n"}, False, 3
    (file,) = list_files(ReadOptions(input=(f"{pages.url}/a.txt",))).to_pylist()
    fs, path = storage.connect(file["path"])
    with pytest.raises(Exception, match=r"(?i)not enough data|payload"):
        fs.open(path, "rb")


def test_a_part_that_is_not_the_one_that_was_asked_for_is_no_part(pages, hasty):
    pages.files = {"/a.txt": "".join(f"{text}\n" for text in TEXTS).encode()}
    pages.shift = 7
    with pytest.raises(OSError, match="the server gives bytes "):
        read(f"{pages.url}/a.txt", 5000)
    pages.shift, pages.cut = 0, 3
    with pytest.raises(OSError, match=r"/a\.txt"):
        read(f"{pages.url}/a.txt", 5000)
