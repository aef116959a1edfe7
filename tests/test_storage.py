"""What must be atomic is atomic, on a local disk and in a store without folders."""

import os
import resource
import threading
import time
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqcls_beam import storage


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    if request.param == "local":
        yield str(tmp_path)
    else:
        yield f"memory://{tmp_path.name}"
        storage.remove(f"memory://{tmp_path.name}")


def race(uri: str, threads: int) -> list[int]:
    """Which of so many threads, each with its number to write, created a file at once."""
    won: list[int] = []

    def create(i: int) -> None:
        if storage.put_if_absent(uri, b"%d" % i):
            won.append(i)

    started = [threading.Thread(target=create, args=(i,)) for i in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return won


def test_put_if_absent_lets_one_of_many_win(folder):
    uri = storage.join(folder, "a", "intent.json")
    won = race(uri, 8)
    if folder.startswith("memory"):
        assert won  # fsspec's memory store does not lock; what is left must be what a winner wrote
    else:
        assert len(won) == 1
    assert int(storage.read(uri)) in won
    assert not storage.put_if_absent(uri, b"late")


def test_put_replaces_and_leaves_nothing_beside(folder):
    uri = storage.join(folder, "manifest.json")
    storage.put(uri, b"old")
    storage.put(uri, b"new")
    assert storage.read(uri) == b"new"
    assert storage.files(folder) == [uri] or [f.rsplit("/", 1)[-1] for f in storage.files(folder)] == ["manifest.json"]


@pytest.mark.parametrize("put", [storage.put, storage.put_if_absent])
def test_a_disk_that_takes_no_more_keeps_nothing_of_a_file_half_written(tmp_path, put):
    uri, scratch = f"{tmp_path}/out/manifest.json", f"{tmp_path}/scratch"
    storage.put(f"{scratch}/other", b"1")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            put(uri, bytes(2**17), scratch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(scratch) == ["other"] and os.listdir(f"{tmp_path}/out") == []


def test_a_rename_replaces_a_file_and_no_folder_with_something_in_it(tmp_path):
    storage.put(f"{tmp_path}/from", b"1")
    storage.put(f"{tmp_path}/to/there", b"0")
    storage.rename(f"{tmp_path}/from", f"{tmp_path}/to/there")
    assert storage.read(f"{tmp_path}/to/there") == b"1" and not storage.exists(f"{tmp_path}/from")
    storage.put(f"{tmp_path}/new/there", b"2")
    with pytest.raises(OSError, match="not empty"):
        storage.rename(f"{tmp_path}/new", f"{tmp_path}/to")
    (tmp_path / "empty").mkdir()
    storage.rename(f"{tmp_path}/new", f"{tmp_path}/empty")
    assert storage.read(f"{tmp_path}/empty/there") == b"2" and not storage.exists(f"{tmp_path}/new")


def test_a_copy_replaces_the_target(folder):
    if not folder.startswith("memory"):
        return  # on a disk files are renamed
    storage.put(storage.join(folder, "from"), b"1")
    storage.put(storage.join(folder, "to", "there"), b"0")
    storage.copy(storage.join(folder, "from"), storage.join(folder, "to", "there"))
    assert storage.read(storage.join(folder, "to", "there")) == b"1" == storage.read(storage.join(folder, "from"))
    with pytest.raises(FileNotFoundError):
        storage.copy(storage.join(folder, "none"), storage.join(folder, "to", "there"))


def let_one_of_many_create(uri: str) -> None:
    """Of threads that create a file of a store at once one does, and its bytes are there."""
    won = race(uri, 6)
    assert len(won) == 1
    assert storage.read(uri) == b"%d" % won[0]


def remove_only_what_was_seen(uri: str) -> None:
    """Of a file of a store the version that was seen, and no later one, is removed."""
    storage.put(uri, b"seen")
    seen = storage.version_of(uri)
    assert seen
    storage.put(uri, b"later")
    storage.remove_version(uri, seen)
    assert storage.read(uri) == b"later"
    later = storage.version_of(uri)
    assert later is not None and later != seen
    storage.remove_version(uri, later)
    assert storage.version_of(uri) is None and not storage.exists(uri)
    storage.remove_version(uri, later)


def test_only_the_version_that_was_seen_is_removed():
    remove_only_what_was_seen("memory://versions/file")


@pytest.mark.parametrize(
    ("info", "version", "proves"),
    [
        ({"generation": "7", "etag": "x", "mtime": 1.5}, "7", True),  # of Google Cloud Storage
        ({"ETag": '"abc"', "LastModified": "then", "VersionId": "v"}, '"abc"', True),  # of S3
        ({"ETag": 'W/"abc"', "Last-Modified": "then"}, 'W/"abc"', False),  # RFC 9110, 8.8.1: weak
        ({"Last-Modified": "then"}, "then", False),
        ({"mtime": 1.5, "created": 2.5}, "1.5", False),
        ({}, "", False),
    ],
)
def test_which_versions_prove_that_bytes_are_the_same(info, version, proves):
    assert (storage.version(info), storage.proves(info)) == (version, proves)


@pytest.mark.parametrize(
    ("info", "identity"),
    [
        ({"generation": "7", "etag": "x"}, "7"),
        ({"ETag": '"abc"', "LastModified": "then", "VersionId": "v"}, '"abc" then v'),
        ({"ETag": '"abc"', "LastModified": "then", "VersionId": None}, '"abc" then'),
        ({"mtime": 1.5}, "1.5"),
    ],
)
def test_files_of_the_same_bytes_are_told_apart_as_far_as_the_store_does(info, identity):
    assert storage.identity(info) == identity


@pytest.mark.parametrize(
    ("info", "packing"),
    [
        ({"contentEncoding": "gzip"}, "gzip"),  # of Google Cloud Storage
        ({"ContentEncoding": "GZIP, aws-chunked"}, "gzip"),  # of S3
        ({"ContentEncoding": "aws-chunked"}, ""),
        ({"contentEncoding": "", "encoding": "br"}, "br"),
        ({"encoding": "identity"}, ""),
        ({}, ""),
    ],
)
def test_how_a_store_says_that_bytes_are_packed(info, packing):
    assert storage.packing(info) == packing


def test_the_state_of_a_file_moves_with_all_that_is_done_to_it_and_cannot_be_set_back(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    facts, before = path.stat(), storage.state(str(path))
    assert before == storage.state(f"file://{path}") == f"{facts.st_ino} {facts.st_ctime_ns}"
    time.sleep(0.02)  # a tick of the disk's clock
    path.write_bytes(b"two")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert path.stat().st_mtime_ns == facts.st_mtime_ns and storage.state(str(path)) != before
    assert storage.state("memory://a") == ""


def test_what_is_in_a_folder_by_name(folder):
    for name in ("b", "a/1", "a/2/3"):
        storage.put(storage.join(folder, name), b"xy")
    assert storage.names(folder) == ["a", "b"] and storage.names(storage.join(folder, "none")) == []
    storage.remove_file(storage.join(folder, "a", "1"))
    storage.remove_file(storage.join(folder, "a", "1"))
    assert not storage.exists(storage.join(folder, "a", "1")) and storage.exists(storage.join(folder, "b"))


def test_each_keeps_order_and_raises_what_was_raised():
    assert storage.each(lambda n: n * n, list(range(40))) == [n * n for n in range(40)]
    with pytest.raises(ZeroDivisionError):
        storage.each(lambda n: 1 // n, [1, 0, 2])


def test_files_of_a_missing_folder_and_removing_nothing(folder):
    assert storage.files(storage.join(folder, "none")) == []
    storage.remove(storage.join(folder, "none"))
    assert storage.size(storage.join(folder, "none")) is None


def test_absolute_names_do_not_depend_on_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert storage.absolute("out/") == str(tmp_path / "out")
    assert storage.absolute("gs://bucket/out/") == "gs://bucket/out"


def test_an_unwritable_folder_says_so(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        storage.ensure_writable(str(tmp_path / "file" / "out"))


def test_a_name_that_looks_like_a_pattern_is_a_name(folder):
    for name in ("out[1]", "out1", "out*"):
        storage.put(storage.join(folder, name, "a"), b"")
    storage.remove(storage.join(folder, "out[1]"))
    storage.remove(storage.join(folder, "out*"))
    assert storage.names(folder) == ["out1"]
    assert storage.names(storage.join(folder, "out1")) == ["a"]


def test_two_colons_in_a_path_are_no_chain_of_file_systems(tmp_path):
    (tmp_path / "a").mkdir()
    storage.put(f"{tmp_path}/a::b/c", b"1")
    storage.remove(f"{tmp_path}/a::b/c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a::b"]


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
BYTES = st.binary(min_size=1, max_size=8).filter(lambda name: not set(name) & {0, ord("/")})


@given(st.one_of(NAMES.map(os.fsencode), BYTES))
def test_any_path_is_a_uri_in_utf8_that_leads_back(name):
    path = os.fsdecode(b"/folder/" + name)
    uri = storage.named(path)
    assert storage.local_path(uri.encode().decode()) == path.rstrip("/")
    assert storage.named(uri) == uri and storage.is_local(uri)
    assert uri == path or uri.startswith("bytes:///folder/")
    assert storage.lies_in(uri, "/folder") and storage.lies_in(uri, "file:///folder")


def test_local_names_are_no_protocols(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("file:a", "local:a", "a::b", "gs::a", "~nobody-here", "a:b"):
        assert storage.absolute(name) == f"{tmp_path}/{name}"
    for uri in ("file:///a/b", "file:/a/b", "local:///a/b", "bytes:///a/b", "/a/b/", "/a/./b"):
        assert storage.absolute(uri) == "/a/b"
    assert storage.absolute("/a://b") == "/a:/b"
    assert storage.absolute("http://host/a?b=c/") == "http://host/a?b=c/"
    with pytest.raises(ValueError, match="an empty name"):
        storage.absolute("")


@pytest.mark.parametrize("name", ["a::b", "a#1", "a#1234567890123456", "a?b", "a[1]", "a%41", "a b", "a*"])
def test_signs_in_a_name_are_part_of_it(name, folder):
    uri = storage.join(folder, "signs", name)
    storage.put(uri, b"1")
    assert storage.read(uri) == b"1" and storage.names(storage.join(folder, "signs")) == [name]
    assert storage.lies_in(uri, storage.join(folder, "signs"))
    storage.remove_file(uri)
    assert not storage.exists(uri)


def test_chains_of_file_systems_are_followed(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("b.txt", "inside")
    assert storage.read(f"zip://b.txt::file://{tmp_path}/a.zip") == b"inside"
    assert storage.read(f"simplecache::file://{tmp_path}/a.zip") == (tmp_path / "a.zip").read_bytes()


@pytest.mark.parametrize("uri", ["s3://KEY:se/cret@bucket/a", "s3a://KEY:secret@bucket", "gs://me:secret@bucket/a"])
def test_keys_that_nobody_would_read_are_refused_and_not_told(uri):
    with pytest.raises(ValueError, match=r"^[sg3a]+://bucket.*: keys in front of a bucket are not read; set ") as error:
        storage.connect(uri)
    assert "cret" not in str(error.value)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:pw@host/a", "http://host/a"),
        ("http://me:p@ss@host/a@b", "http://host/a@b"),
        ("s3://KEY:se/cr/et@bucket/a", "s3://bucket/a"),
        ("http://host:8080/a@b", "http://host:8080/a@b"),
        ("http://host:8080?a=b@c", "http://host:8080?a=b@c"),
        ("gs://bucket/me@host/a", "gs://bucket/me@host/a"),
        ("https://h/a?x=1&X-Amz-Signature=ab%2F&y=2", "https://h/a?x=1&X-Amz-Signature=...&y=2"),
        ("https://h/a?sig=abc#f", "https://h/a?sig=...#f"),
        ("https://h/a?access_token=abc", "https://h/a?access_token=..."),
        ("https://h/a?design=abc", "https://h/a?design=abc"),
        ("/a?token=abc", "/a?token=abc"),
        ("no answer from http://me:pw@host/a", "no answer from http://host/a"),
        ("/caf\udce9", "bytes:///caf%E9"),
        (f"/home/me/.cache/seqcls_beam-stdin-{'0a' * 16}.csv.gz", "-"),
        (f"no rows in '/c/seqcls_beam-stdin-{'0a' * 16}.txt'", "no rows in '-'"),
        (f"/tmp/my old cache/seqcls_beam-stdin-{'0a' * 16}.txt", "-"),
        (f"/tmp/my cache/seqcls_beam-stdin-{'0a' * 16}.txt had 3 bytes", "- had 3 bytes"),
        (f"no file '/tmp/my cache/seqcls_beam-stdin-{'0a' * 16}.txt'", "no file '-'"),
        (f"/in/a b.txt is not /tmp/o'my c/seqcls_beam-stdin-{'0a' * 16}.txt", "/in/a b.txt is not -"),
        (f"/in/a.txt, /c d/seqcls_beam-stdin-{'0a' * 16}.txt", "/in/a.txt, -"),
        (f"at file:///tmp/seqcls_beam-stdin-{'0a' * 16}.txt", "at -"),
        ("/in/seqcls_beam-stdin-notes.txt", "/in/seqcls_beam-stdin-notes.txt"),
    ],
)
def test_what_is_published_holds_no_secret(uri, shown):
    assert storage.without_password(uri) == shown
    assert storage.without_password(shown) == shown


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no disk that is always full")
def test_a_full_disk_says_of_which_file():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"), storage.creating("/dev/full") as file:
        file.write(b"x" * 100_000)
