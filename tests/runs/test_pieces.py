"""Pieces: durable when they are told of, once whoever writes them, and none of them half."""

import errno
import itertools
import os
import resource
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import gcsfs
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqcls_beam import open_labels, storage
from seqcls_beam.config.stream import SourceOptions
from seqcls_beam.runs import cleaning, lease, pieces, publication, remembered
from seqcls_beam.runs.run import Run, RunError
from seqcls_beam.runs.sealing import seal
from seqcls_beam.runs.store import store_of
from seqcls_beam.schema import MESSAGE, Mark, labeled
from tests import gcs, web
from tests.messages import Message, predictions
from tests.runs.test_cleaning import let_pass

S = 10**6
FIRST = "window=19700101T000000Z"


ONE = "projects/test-project/subscriptions/one"


def source(**how: Any) -> SourceOptions:
    return SourceOptions(subscription=ONE, **how)


def files(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in (out / "_pieces").rglob("*") if path.is_file())


def rows_of(out: Path) -> list[tuple[str, bool]]:
    """(message id, whether it was rejected) of all pieces."""
    tables = [pq.read_table(path) for path in sorted((out / "_pieces").rglob("window=*/*.parquet"))]
    return [(row["message_id"], row["reject"] is not None) for table in tables for row in table.to_pylist()]


@pytest.fixture
def out(tmp_path):
    pieces.prepare(str(tmp_path / "out"), 300)
    return tmp_path / "out"


MESSAGES = [Message("a", 0, text="one"), Message("b", 299 * S, 7, rejected=True), Message("c", 300 * S, 9, text="x")]


def test_a_batch_is_a_piece_for_each_window(out):
    told = pieces.append(str(out), predictions(MESSAGES), 300)
    assert told == [(FIRST, 2, 1), ("window=19700101T000500Z", 1, 0)]
    (path,) = (out / "_pieces" / FIRST).iterdir()
    table = pq.read_table(path)
    assert table.column_names == [
        *("text", "message_id", "event_time", "publish_time", "label", "score", "scores", "tokens", "truncated"),
        *("model", "reject"),
    ]
    good, bad = table.to_pylist()
    assert (good["text"], good["label"], good["model"], good["reject"]) == ("one", "negative", "0123456789ab", None)
    assert (bad["message_id"], bad["text"], bad["reject"]["raw"]) == ("b", None, b"{b")
    assert bad["publish_time"].isoformat() == "1970-01-01T00:00:00.000007+00:00"
    assert orjson.loads(table.schema.metadata[b"seqcls_beam.labels"]) == ["negative", "positive"]


def test_a_batch_without_rows_is_no_piece(out):
    assert pieces.append(str(out), predictions([]), 300) == []
    assert files(out) == ["_pieces/stream.json"]


def test_a_batch_that_runs_twice_is_one_piece(out):
    told, there = pieces.append(str(out), predictions(MESSAGES), 300), files(out)
    assert (pieces.append(str(out), predictions(MESSAGES), 300), files(out)) == (told, there)
    # What another model says of the same messages is kept, and sealing chooses: not who came first.
    pieces.append(str(out), predictions(MESSAGES, model="f" * 64), 300)
    assert set(there) < set(files(out))


def test_a_row_that_was_rejected_and_is_labelled_now_is_another_piece(out):
    for rejected in (True, False):
        pieces.append(str(out), predictions([Message("a", 0, rejected=rejected)]), 300)
    assert sorted(rows_of(out)) == [("a", False), ("a", True)]


def test_a_piece_of_which_half_is_lost_counts_for_nobody(out):
    """A message is acknowledged on account of the piece that is there: it must be whole."""
    pieces.append(str(out), predictions(MESSAGES[:1]), 300)
    (path,) = (out / "_pieces" / FIRST).iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    for _ in range(2):
        pieces.append(str(out), predictions(MESSAGES[:1]), 300)
        (again,) = set((out / "_pieces" / FIRST).iterdir()) - {path}
        assert pq.read_table(again)["message_id"].to_pylist() == ["a"]


def test_kept_columns_that_are_called_as_ours_are_renamed(out):
    keep = [(name, pa.string()) for name in ("model", "window", "Reject", "label", "run_date")]
    pieces.append(str(out), predictions(MESSAGES[:1], keep=keep), 300)
    (path,) = (out / "_pieces" / FIRST).iterdir()
    names = ["input_model", "input_window", "input_Reject", "input_label", "run_date", *(each.name for each in MESSAGE)]
    assert pq.read_schema(path).names[: len(names)] == names


def full_disk() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))


def test_on_a_full_disk_nothing_half_is_left_and_the_batch_can_be_appended_again(out):
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            full_disk()
            pieces.append(str(out), predictions(MESSAGES), 300)
        except OSError as error:
            code = 7 if error.errno == errno.EFBIG else 4
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert not rows_of(out) and not list((out / "_pieces" / "scratch").iterdir())
    pieces.append(str(out), predictions(MESSAGES), 300)
    assert sorted(rows_of(out)) == [("a", False), ("b", True), ("c", False)]


@pytest.mark.parametrize("call", ["link", "fsync"])
def test_a_disk_that_fails_is_told_of_and_nothing_half_is_left(out, monkeypatch, call):
    def failing(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch, pytest.raises(OSError, match="Input/output error"):
        patch.setattr(os, call, failing)
        pieces.append(str(out), predictions(MESSAGES), 300)
    assert files(out) == ["_pieces/stream.json"]  # word of columns is the first thing that is written


def test_a_folder_that_a_sealer_removes_at_that_moment_is_made_again(out, monkeypatch):
    link, times = os.link, []

    def late(source: str, target: str) -> None:
        if target.endswith(".parquet"):
            times.append(target)
            if len(times) < 4:
                os.rmdir(os.path.dirname(target))
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    pieces.append(str(out), predictions(MESSAGES[:1]), 300)
    assert rows_of(out) == [("a", False)] and len(times) == 4
    assert not list((out / "_pieces" / "scratch").iterdir())


def test_windows_of_another_length_are_refused_with_both(out):
    pieces.prepare(str(out), 300)
    with pytest.raises(RunError, match=r"--window=60: .* was begun with --window=300, .*; give --window=300, "):
        pieces.prepare(str(out), 60)


TOPIC, OTHER = "projects/p/topics/one", "projects/p/topics/other"


def stream(out: Path) -> Path:
    return out / "_pieces" / "stream.json"


def test_a_stream_is_of_one_topic(tmp_path):
    assert pieces.prepare(str(tmp_path), 300, topic=TOPIC) and pieces.prepare(str(tmp_path), 300, topic=TOPIC)
    assert orjson.loads(stream(tmp_path).read_bytes()) == {"format_version": 1, "window": 300, "topic": TOPIC}
    with pytest.raises(RunError, match=rf"has messages of {TOPIC}, .* is of {OTHER}: .*; name another folder"):
        pieces.prepare(str(tmp_path), 300, topic=OTHER)
    assert files(tmp_path) == ["_pieces/stream.json"]
    assert not pieces.prepare(str(tmp_path), 300, topic=None)  # of whichever it is
    assert remembered.known(store_of(str(tmp_path)))["topic"] == TOPIC


@pytest.mark.parametrize("said", [{"topic": None}, {}], ids=["that was not known", "of before topics were written"])
def test_a_topic_is_filled_in(tmp_path, said):
    stream(tmp_path).parent.mkdir()
    stream(tmp_path).write_bytes(orjson.dumps({"format_version": 1, "window": 300, **said}))
    assert "topic" not in remembered.known(store_of(str(tmp_path)))
    assert not pieces.prepare(str(tmp_path), 300, topic=None)
    assert not pieces.prepare(str(tmp_path), 300, topic=TOPIC)  # what is there may be of another one
    assert pieces.prepare(str(tmp_path), 300, topic=TOPIC)
    with pytest.raises(RunError, match=f"has messages of {TOPIC}, "):
        pieces.prepare(str(tmp_path), 300, topic=OTHER)
    assert pieces.length(store_of(str(tmp_path))) == 300


@pytest.mark.parametrize("unknown", [True, False])
def test_of_jobs_of_several_topics_that_begin_at_once_one_begins(tmp_path, unknown):
    if unknown:
        pieces.prepare(str(tmp_path), 300)
    topics, begun, refused = [f"projects/p/topics/{number}" for number in range(8)], [], []
    together = threading.Barrier(len(topics))

    def begin(topic: str) -> None:
        together.wait()
        try:
            pieces.prepare(str(tmp_path), 300, topic=topic)
            begun.append(topic)
        except RunError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=begin, args=(topic,)) for topic in topics]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert begun == [remembered.known(store_of(str(tmp_path)))["topic"]]
    assert len(refused) == 7 and all(f"has messages of {begun[0]}, " in each for each in refused)


@pytest.mark.parametrize(
    ("name", "said"),
    [("stream", '"topic": 5, "window": 300'), ("stream-1", '"id_attribute": 7'), ("stream-1", '"window": null')],
)
def test_a_file_that_says_something_else_is_refused(out, name, said):
    (out / "_pieces" / f"{name}.json").write_text(f'{{"format_version": 1, {said}}}')
    with pytest.raises(RunError, match=rf"{name}\.json is none of this program's"):
        pieces.prepare(str(out), 300, topic=TOPIC)


ATTRIBUTES = [
    ({}, {"id_attribute": "order"}, "--id_attribute=order: .* begun without --id_attribute, .* leave out --id_attr"),
    (
        {"id_attribute": "one"},
        {"id_attribute": "order"},
        "begun with --id_attribute=one, .*; give --id_attribute=one, ",
    ),
    ({"timestamp_attribute": "at"}, {}, "no --timestamp_attribute: .* give --timestamp_attribute=at, "),
    ({}, {"timestamp_attribute": "at"}, "--timestamp_attribute=at: .* without --timestamp_attribute, .* leave out"),
]


@pytest.mark.parametrize(("first", "then", "told"), ATTRIBUTES)
def test_other_attributes_are_refused_with_both(tmp_path, first, then, told):
    pieces.prepare(str(tmp_path), 300, source=source(**first))
    pieces.prepare(str(tmp_path), 300, source=source(**first))
    before = files(tmp_path)
    for begin in (pieces.check, pieces.prepare):
        with pytest.raises(RunError, match=f"{told}.*or name another folder"):
            begin(str(tmp_path), 300, source=source(**then))
    assert files(tmp_path) == before == ["_pieces/stream.json"]


def test_attributes_that_are_not_known_are_filled_in(tmp_path):
    pieces.prepare(str(tmp_path), 300)
    pieces.prepare(str(tmp_path), 300, topic=TOPIC)
    pieces.prepare(str(tmp_path), 300, source=source(id_attribute="order"))
    assert len(files(tmp_path)) == 3
    with pytest.raises(RunError, match="--id_attribute=order"):
        pieces.prepare(str(tmp_path), 300, source=source())
    assert remembered.known(store_of(str(tmp_path))) == {
        "window": 300,
        "topic": TOPIC,
        "timestamp_attribute": None,
        "id_attribute": "order",
    }


@pytest.mark.parametrize("there", ["a piece", "a sealed window"])
def test_where_the_file_is_gone_that_says_how_long_windows_are_none_begins(out, there):
    pieces.append(str(out), predictions(MESSAGES), 300)
    if there == "a sealed window":
        assert [each.fault for each in seal(str(out))] == [None, None]
    stream(out).unlink()
    for begin in (pieces.check, pieces.prepare):
        with pytest.raises(RunError, match=r"stream\.json is gone, .*put it back, or write \{\"format_version\": 1, "):
            begin(str(out), 60)
    with pytest.raises(RunError, match=r"stream\.json is gone, "):
        list(seal(str(out)))
    assert not stream(out).exists()
    stream(out).write_bytes(b'{"format_version": 1, "window": 300}')
    assert [each.fault for each in seal(str(out))] == [None] * (2 * (there == "a piece"))


def test_who_only_looks_whether_a_stream_may_begin_begins_none(tmp_path):
    columns = labeled(pa.schema([("id", pa.int64()), *MESSAGE]), False, streamed=True)
    pieces.check(str(tmp_path), 300, columns)
    assert files(tmp_path) == []
    pieces.prepare(str(tmp_path), 300, columns)
    pieces.append(str(tmp_path), predictions(MESSAGES, keep=[("id", pa.int64())]), 300)
    with pytest.raises(RunError, match="--window=60: "):
        pieces.check(str(tmp_path), 60)
    with pytest.raises(RunError, match="column 'id' would be string"):
        pieces.check(str(tmp_path), 300, labeled(pa.schema([("id", pa.string())]), False, streamed=True))


def test_columns_of_another_type_are_refused_with_both_and_others_are_not(out):
    def columns(*keep: tuple[str, pa.DataType]) -> pa.Schema:
        return labeled(pa.schema([*keep, *MESSAGE]), False, streamed=True)

    pieces.append(str(out), predictions(MESSAGES, keep=[("id", pa.int64())]), 300)
    pieces.append(str(out), predictions(MESSAGES, keep=[("user", pa.string())]), 300)
    pieces.prepare(str(out), 300, labeled(pa.schema([]), True, streamed=True))
    for name in ("id", "ID"):
        told = f"column '{name}' would be string, and the stream there has 'id' as int64"
        for _ in range(2):
            with pytest.raises(RunError, match=told):
                pieces.prepare(str(out), 300, columns((name, pa.string())))
        with pytest.raises(RunError, match=told):  # a job that began before there were rows
            pieces.append(str(out), predictions(MESSAGES[:1], keep=[(name, pa.string())]), 300)
    assert len(rows_of(out)) == 2 * len(MESSAGES)
    pieces.prepare(str(out), 300, columns(("id", pa.int64()), ("user", pa.string())))


def test_columns_of_a_job_that_wrote_no_row_refuse_none(out):
    for kind in (pa.int64(), pa.string()):
        pieces.prepare(str(out), 300, labeled(pa.schema([("id", kind), *MESSAGE]), False, streamed=True))
    pieces.append(str(out), predictions([], keep=[("id", pa.int64())]), 300)
    pieces.append(str(out), predictions(MESSAGES, keep=[("id", pa.string())]), 300)


def test_word_of_columns_that_is_damaged_is_named(out):
    pieces.append(str(out), predictions(MESSAGES), 300)
    (path,) = (out / "_pieces" / "columns").iterdir()
    for data in (b"", path.read_bytes()[:-20], b"garbage" * 9):
        path.write_bytes(data)
        with pytest.raises(RunError, match=rf"{path} is damaged, .*put it back"):
            pieces.check(str(out), 300, labeled(pa.schema([*MESSAGE]), False, streamed=True))


def test_rows_of_models_of_both_kinds_have_columns_of_their_own(out):
    """What was kept as `label` or `labels` is never in one column with what a model said."""
    kept = [("label", pa.string()), ("Labels", pa.string()), ("score", pa.string()), ("message_key", pa.string())]
    for multi_label in (False, True):
        names = labeled(pa.schema([*kept, *MESSAGE]), multi_label, streamed=True).names
        assert names[:4] == ["input_label", "input_Labels", "input_score", "message_key"]
    pieces.append(str(out), predictions(MESSAGES[:1], keep=[("labels", pa.string())]), 300)
    assert [each.fault for each in seal(str(out))] == [None]
    assert open_labels(str(out)).to_table()["input_labels"].to_pylist() == ["one"]


def engine(**other: Any) -> dict[str, Any]:
    model = {"checkpoint": "0123456789abcdef", "model": "gs://me:secret@b/m", "revision": None, "labels": ["a", "b"]}
    return model | {"problem": "multi_label", "device": "cpu", "dtype": "float32", "threshold": 0.5} | other


def test_what_made_rows_is_said_once_for_each_threshold_and_engine(out):
    store = store_of(str(out))
    for each in (engine(), engine(), engine(device="cuda:0"), engine(threshold=0.7), engine(threshold=None)):
        remembered.leave_model(store, each)
    assert len(list((out / "_pieces" / "models").iterdir())) == 4
    found = pieces.models(store, ["0123456789ab@0.5", "0123456789ab@0.7", "0123456789ab", "f" * 12])
    assert {name: (each["threshold"], len(each["engines"])) for name, each in found.items()} == {
        "0123456789ab": (None, 1),
        "0123456789ab@0.5": (0.5, 2),
        "0123456789ab@0.7": (0.7, 1),
    }
    said = found["0123456789ab@0.5"]
    model = {"name": "gs://b/m", "revision": None, "digest": "0123456789abcdef", "labels": ["a", "b"]}
    assert said["model"] == model | {"problem": "multi_label"}
    batch = predictions(MESSAGES[:1])
    decided = replace(Mark.of(batch), engine=engine(threshold=0.25))
    pieces.append(str(out), decided.on(batch), 300)
    (path,) = (out / "_pieces" / FIRST).iterdir()
    assert pq.read_table(path)["model"].to_pylist() == ["0123456789ab@0.25"]
    assert pieces.models(store, ["0123456789ab@0.25"])["0123456789ab@0.25"]["threshold"] == 0.25
    assert {each["device"] for each in said["engines"]} == {"cpu", "cuda:0"}
    assert {each["pyarrow"] for each in said["engines"]} == {pa.__version__}


@pytest.mark.parametrize("name", ["_versions/00000001.json", "_versions/run_date=2026-11-20", "_MANIFEST.json"])
def test_a_folder_of_something_else_is_refused(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    with pytest.raises(RunError, match=name.rpartition("/")[2]):
        pieces.prepare(str(tmp_path), 300)
    assert not (tmp_path / "_pieces").exists()


@pytest.mark.parametrize(
    "said",
    ["{", "[]", *(f'{{"format_version": 1, "window": {window}}}' for window in ('"300"', "true", "0", "1.5", "null"))],
)
def test_a_file_that_does_not_say_how_long_windows_are_is_refused(out, said):
    (out / "_pieces" / "stream.json").write_text(said)
    with pytest.raises(RunError, match=r"stream\.json is none of this program's"):
        pieces.prepare(str(out), 300)


@pytest.mark.parametrize("name", ["stream", "stream-1"])
def test_a_file_of_a_newer_version_is_called_so(out, name):
    (out / "_pieces" / f"{name}.json").write_text('{"format_version": 2, "window": 300}')
    with pytest.raises(RunError, match=rf"{name}\.json has format 2, of a newer version of this program"):
        pieces.prepare(str(out), 300)


@pytest.mark.parametrize("kind", ["a file", "a device", "a link to nothing", "under a file", "in /proc"])
def test_what_can_be_no_folder_is_told_with_the_option(tmp_path, kind):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    name = {
        "a file": f"{tmp_path}/file",
        "a device": "/dev/null",
        "a link to nothing": f"{tmp_path}/link",
        "under a file": f"{tmp_path}/file/out",
        "in /proc": "/proc/out",
    }[kind]
    with pytest.raises((RunError, OSError), match=rf"^--output={name}(:| is) "):
        pieces.check(name, 300)


def test_a_folder_whose_name_is_not_utf_8(tmp_path):
    out = os.fsdecode(os.fsencode(tmp_path) + b"/out\xff")
    pieces.prepare(out, 300)
    pieces.append(out, predictions(MESSAGES), 300)
    assert [(each.version, each.fault) for each in seal(out)] == [(1, None), (1, None)]
    assert sorted(open_labels(out).to_table()["message_id"].to_pylist()) == ["a", "c"]
    assert not (tmp_path / "bytes:").exists()
    files = os.fsdecode(os.fsencode(tmp_path) + b"/files\xff")
    os.makedirs(f"{files}/_attempts")
    assert publication.unpublishable(publication.follow(Run(storage.absolute(files), "a" * 32))) is None


def test_a_labelling_of_files_is_refused_where_a_stream_writes(out):
    for partition in ("", "run_date=2026-11-20"):
        run = publication.follow(Run(str(out), "a" * 32, overwrite=True, partition=partition))
        assert "holds what a stream labelled" in (publication.unpublishable(run) or "")


def test_a_store_gets_pieces_too(tmp_path):
    out = f"memory://{tmp_path.name}/out"
    pieces.prepare(out, 300)
    pieces.prepare(out, 300)
    pieces.append(out, predictions(MESSAGES), 300)
    pieces.append(out, predictions(MESSAGES), 300)
    found = pieces.listed(store_of(out))
    assert {window: len(names) for window, names in found.items()} == {FIRST: 1, "window=19700101T000500Z": 1}
    fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


@contextmanager
def faulty(service: str, fails: Callable[[int], str]) -> Iterator[str]:
    """A gateway to a storage service; `fails` says whether "before" or "after" the n-th write, or never, 503 comes."""
    writes = itertools.count(1)

    class Gateway(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            how = fails(next(writes)) if self.command == "POST" else ""
            status, data = 503, b"busy"
            if how != "before":
                headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
                asked = urllib.request.Request(f"{service}{self.path}", body or None, headers, method=self.command)
                try:
                    with urllib.request.urlopen(asked) as answered:
                        status, data = answered.status, answered.read()
                except urllib.error.HTTPError as error:
                    with error:
                        status, data = error.code, error.read()
            self.send_response(503 if how else status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    with web.serving(ThreadingHTTPServer(("127.0.0.1", 0), Gateway)) as url:
        yield url


NEVER, ALWAYS = "", "before"


@pytest.mark.parametrize(
    "fails",
    [
        lambda number: ["before", "after", ""][min(number, 3) - 1],
        pytest.param(lambda number: ALWAYS if number <= 6 else NEVER, marks=pytest.mark.slow),
    ],
    ids=["twice", "until all tries are spent"],
)
def test_a_store_that_answers_503(fails, monkeypatch, request):
    """Tried again, also where the piece was written and only the answer lost; or an error, and nothing is there."""
    lasting = "spent" in request.node.name
    with gcs.server("busy") as service, faulty(service, fails) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        gcsfs.GCSFileSystem.clear_instance_cache()
        store = store_of("gs://busy/out")
        if lasting:
            with pytest.raises(OSError, match="HttpError: busy"):
                pieces.append("gs://busy/out", predictions(MESSAGES[:2]), 300)
            assert pieces.listed(store) == {}
        told = pieces.append("gs://busy/out", predictions(MESSAGES[:2]), 300)
        assert told == [(FIRST, 2, 1)] and [len(names) for names in pieces.listed(store).values()] == [1]
        gcsfs.GCSFileSystem.clear_instance_cache()


def test_half_a_piece_of_a_dead_process_is_removed_and_a_piece_never(out):
    pieces.append(str(out), predictions(MESSAGES), 300)
    half = out / "_pieces" / "scratch" / ".x.parquet-0123"
    half.write_bytes(b"PAR1")
    (told,) = cleaning.look(str(out))
    assert (told.name, told.removable) == ("_pieces/scratch/.x.parquet-0123", False)
    let_pass(str(out), lease.EXPIRES + 60)
    before = files(out)
    (told,) = cleaning.look(str(out))
    assert told.why == "half a piece, of a process that is dead" and told.bytes == 4
    assert [why for _, why in cleaning.remove(str(out), [told])] == [None]
    assert files(out) == [name for name in before if name != told.name]
    assert storage.size(str(out / "_pieces" / "stream.json"))
