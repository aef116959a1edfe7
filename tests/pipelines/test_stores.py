"""Ways to a store that break: what is published is what is published without; a store that stays away is told of."""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import fsspec
import gcsfs
import pytest

from pipelines import classify, clean
from seqcls_beam import open_labels, storage
from seqcls_beam.runs.table import read_manifest
from tests import gcs, proxy, s3, tiny
from tests.corpora import texts

pytestmark = pytest.mark.engine

ROWS = [{"id": i, "text": text} for i, text in enumerate(texts(160))]

PAGE = "_report/report.html"
"""What a person is told of a run."""


@contextmanager
def broken(kind: str) -> Iterator[tuple[str, proxy.Faults]]:
    """The URI of a bucket to which the way may break, and what breaks on it."""
    with ExitStack() as stack:
        service = stack.enter_context(gcs.server("corpus") if kind == "gs" else s3.server())
        url, faults = stack.enter_context(proxy.before(service, seed=7))
        if kind == "gs":
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setenv("STORAGE_EMULATOR_HOST", url)
            gcsfs.GCSFileSystem.clear_instance_cache()
            stack.callback(gcsfs.GCSFileSystem.clear_instance_cache)
        else:
            stack.enter_context(s3.led_to(url))
            fsspec.filesystem("s3").mkdir("corpus")
        yield f"{kind}://corpus", faults


@pytest.fixture(scope="module", params=["gs", "s3"])
def way(request):
    with broken(request.param) as found:
        yield found


@pytest.fixture
def soon(monkeypatch):
    """gcsfs waits a twentieth of its time before it asks again."""
    monkeypatch.setattr("gcsfs.retry.asyncio", SimpleNamespace(sleep=lambda seconds: asyncio.sleep(seconds / 20)))


@pytest.fixture
def bucket(way):
    return way[0]


@pytest.fixture
def faults(way):
    """Those of the way; none outlives its test."""
    yield way[1]
    way[1].__init__(7)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("kind", proxy.KINDS)
def test_a_question_is_asked_again(bucket, faults, soon, kind):
    """Whatever it is, and each fault once; but for those that only a read of a part can meet."""
    data = bytes(range(256)) * 40
    folder = f"{bucket}/again/{kind}"
    storage.put(f"{folder}/a", data)
    met = 0
    for number, (ask, answer) in enumerate(
        (
            (lambda: storage.read(f"{folder}/a"), data),
            (lambda: storage.size(f"{folder}/a"), len(data)),
            (lambda: storage.names(folder), ["a"]),
            (lambda: storage.exists(f"{folder}/none"), False),
            (lambda: part(f"{folder}/a", 100, 9_000), data[100:9_000]),
            (lambda: storage.put(f"{folder}/b", data), None),
            (lambda: storage.put_if_absent(f"{folder}/c", data), True),
            (lambda: storage.put_if_absent(f"{folder}/c", b"other"), False),
            (lambda: storage.copy(f"{folder}/c", f"{folder}/d"), None),
            (lambda: storage.remove_file(f"{folder}/d"), None),
            (lambda: storage.update(f"{folder}/n", lambda there: (there or b"") + b"1"), b"1"),
            (lambda: storage.update(f"{folder}/n", lambda there: (there or b"") + b"1"), b"11"),
            (lambda: written(f"{folder}/e", data), None),
        )
    ):
        faults.once(kind)
        assert ask() == answer, number
        assert faults.met.total() or kind in ("cut", "slow", "short"), number
        met += faults.met.total()
        faults.once("")
    assert met
    left = {name: storage.read(f"{folder}/{name}") for name in storage.names(folder)}
    assert left == {"a": data, "b": data, "c": data, "e": data, "n": b"11"}


def part(uri: str, start: int, end: int) -> bytes:
    fs, path = storage.connect(uri)
    with fs.open(path, "rb", cache_type="none") as file:
        file.seek(start)
        return file.read(end - start)


def written(uri: str, data: bytes) -> None:
    with storage.creating(uri) as file:
        file.write(data)


def test_a_part_that_stays_short_is_no_end_of_a_file(bucket, faults, monkeypatch):
    monkeypatch.setattr("seqcls_beam.storage.retries.PATIENCE", 1.0)
    storage.put(f"{bucket}/short", b"0123456789")
    faults.rates, faults.where = {"short": 1.0}, "GET .*short"
    with pytest.raises(storage.StoreError, match=rf"{bucket}/short: of bytes 2 to 10 the last 4 do not come"):
        part(f"{bucket}/short", 2, 10)
    assert faults.met["short"] > 1


def test_an_answer_that_is_lost_is_told_from_another_writer(bucket, faults, soon):
    """Who finds a file there that is his own has created it, and who finds one of the same bytes has not."""
    faults.where = "(POST|PUT) "
    faults.once("unanswered")
    assert storage.put_if_absent(f"{bucket}/lost", b"same")
    assert faults.met["unanswered"] == 1
    assert not storage.put_if_absent(f"{bucket}/lost", b"same")
    faults.once("unanswered")
    assert not storage.put_if_absent(f"{bucket}/lost", b"same")


def test_what_is_published_through_a_broken_way_is_what_is_published(bucket, faults, soon, model, tmp_path, capfd):
    fs = fsspec.filesystem(bucket.split(":")[0])
    (tmp_path / "in").mkdir()
    for i in range(4):
        lines = "".join(json.dumps(row) + "\n" for row in ROWS[i * 40 : i * 40 + 40])
        (tmp_path / "in" / f"{i}.jsonl").write_text(lines)
        fs.pipe_file(f"corpus/in/{i}.jsonl", lines.encode())
    fs.put(str(model), "corpus/model", recursive=True)
    flags = ["--threads=1", "--id_column=id", "--unit_bytes=2000"]
    assert classify.main([*flags, f"--model={model}", f"--input={tmp_path}/in/*", f"--output={tmp_path}/out"]) == 0
    here = read_manifest(str(tmp_path / "out"))
    faults.rates, faults.where = dict.fromkeys(proxy.KINDS, 0.01), "."
    remote = [*flags, f"--model={bucket}/model", f"--input={bucket}/in/*", f"--output={bucket}/out"]
    assert classify.main(remote) == 0
    met, faults.rates = faults.met.total(), {}
    there = read_manifest(f"{bucket}/out")
    assert here is not None and there is not None and met > 5
    assert [part["sha256"] for part in there["parts"]] == [part["sha256"] for part in here["parts"]]
    assert open_labels(f"{bucket}/out").to_table()["id"].to_pylist() == [row["id"] for row in ROWS]
    names = {name.removeprefix("corpus/out/") for name in fs.find("corpus/out", refresh=True)} - {PAGE}
    assert names == {"_versions/00000001.json", *(part["path"] for part in there["parts"])}


@pytest.fixture(params=["at once", pytest.param("in its time", marks=pytest.mark.slow)])
def hasty(request, monkeypatch):
    """Nothing is asked again for long."""
    if request.param == "at once":
        request.getfixturevalue("soon")
        monkeypatch.setattr("seqcls_beam.storage.retries.PATIENCE", 1.0)


def test_a_store_that_stays_away_ends_a_command_in_a_sentence(bucket, faults, hasty, model, capfd, caplog):
    storage.put(f"{bucket}/away/in.txt", b"a text\n")
    command = [f"--model={model}", "--threads=1", f"--input={bucket}/away/in.txt", f"--output={bucket}/away/out"]
    for rates in ({"refused": 1.0}, {"busy": 1.0}):
        faults.rates, faults.where = rates, "."
        began = time.monotonic()
        assert classify.main(command) == 1
        took = time.monotonic() - began
        said = capfd.readouterr().err
        assert took < 120 and "Traceback" not in said + caplog.text
        assert re.fullmatch(rf"seqcls_beam: {bucket}/away/.*", said.splitlines()[-1])
    faults.rates = {}
    assert classify.main(command) == 0
    assert clean.main([f"{bucket}/away/out"]) == 0
    assert not re.search("Traceback", capfd.readouterr().err)


def test_a_large_file_comes_whole_though_no_word_of_it_does(bucket, faults, soon):
    """Of an upload in several parts the first answers, and the last, are lost."""
    data = bytes(range(256)) * 240_000
    faults.where, faults.rates = "(POST|PUT) ", {"unanswered": 0.3}
    written(f"{bucket}/large", data)
    assert faults.met["unanswered"]
    faults.rates = {}
    assert storage.size(f"{bucket}/large") == len(data) and storage.read(f"{bucket}/large") == data
    storage.remove_file(f"{bucket}/large")


@pytest.mark.slow
def test_two_nights_at_once_over_a_broken_way_label_each_file_once(bucket, faults, model):
    out = f"{bucket}/nights"
    command = [sys.executable, "-m", "pipelines.classify", f"--model={model}", "--threads=1", "--only_new"]
    night = [*command, f"--input={bucket}/days/*", f"--output={out}"]
    for turn in range(3):
        for i in range(6):
            storage.put(f"{bucket}/days/{turn}-{i}.txt", f"text {turn} {i}\n".encode())
        faults.rates, faults.where = dict.fromkeys(proxy.KINDS, 0.01), "."
        dates = [f"--run_date=2026-11-{2 * turn + half:02d}" for half in (1, 2)]
        both = [subprocess.Popen([*night, date], cwd=Path(__file__).parents[2]) for date in dates]
        assert [each.wait() for each in both] == [0, 0]
        faults.rates = {}
        found = open_labels(out).to_table()["text"].to_pylist()
        assert sorted(found) == sorted(f"text {before} {i}" for before in range(turn + 1) for i in range(6))
    assert faults.met.total() > 5
