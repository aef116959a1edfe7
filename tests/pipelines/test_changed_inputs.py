"""Files that change or go away under a command: tried once more; then nothing is published, and the file is named."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from pipelines import classify, evaluate, prepare
from seqcls_beam.preparation import examples, tasks
from seqcls_beam.reading import records
from seqcls_beam.transforms import classify as steps
from tests import tiny
from tests.corpora import labels, texts, write_jsonl
from tests.pipelines.test_classify import manifest_of, run
from tests.prepared import all_rows

pytestmark = pytest.mark.engine

TEXTS = [f"{text} {i}" for i, text in enumerate(texts(300))]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Three files of 100 rows, a unit each."""
    for module in (records, tasks):
        monkeypatch.setattr(module, "PAUSE", 0.0)
    for number, name in enumerate("abc"):
        rows = [
            {"text": text, "label": ("negative", "positive")[i % 2]}
            for i, text in enumerate(TEXTS[100 * number : 100 * (number + 1)])
        ]
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    return tmp_path


def flags(corpus: Path, *more: str) -> list[str]:
    return [f"--input={corpus}/*.jsonl", "--batch_rows=30", "--unit_bytes=13000", *more]


def meddling(monkeypatch: Any, path: Path, do: Callable[[int], None]) -> list[int]:
    """Have something done when the first batch of a file was taken: `do` is told how often that was before."""
    times: list[int] = []
    read = records.read_unit

    def meddled(unit: pa.RecordBatch, layout: Any) -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(read(unit, layout)):
            yield batch
            if unit["path"][0].as_py() == str(path) and number == 0:
                do(len(times))
                times.append(number)

    for module in (records, examples, steps):
        monkeypatch.setattr(module, "read_unit", meddled)
    return times


def test_a_file_that_was_another_one_for_a_moment_is_read_once_more(corpus, model, monkeypatch):
    path = corpus / "b.jsonl"
    data, facts = path.read_bytes(), path.stat()

    def write(new: bytes) -> None:
        with path.open("r+b") as file:
            file.write(new)
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    pauses: list[float] = []

    def put_back(seconds: float) -> None:
        pauses.append(seconds)
        write(data)

    monkeypatch.setattr(records, "time", SimpleNamespace(perf_counter=time.perf_counter, sleep=put_back))
    times = meddling(monkeypatch, path, lambda time: None if time else write(data.upper()))
    out = run(model, corpus / "out", *flags(corpus))
    assert len(times) == 2 and len(pauses) == 1
    assert labels(out)["text"].to_pylist() == TEXTS
    assert manifest_of(out)["rows"]["labeled"] == 300


@pytest.mark.parametrize("command", [classify, prepare, evaluate])
def test_a_file_that_grows_fails_every_command(command, corpus, model, monkeypatch, capsys):
    path = corpus / "b.jsonl"
    size = path.stat().st_size

    def grow(_: int) -> None:
        with path.open("a") as file:
            file.write(json.dumps({"text": "one more", "label": "positive"}) + "\n")

    meddling(monkeypatch, path, grow)
    out = corpus / "out"
    given = [f"--model={model}", f"--output={out}", *flags(corpus, "--max_unreadable=9", "--max_rejected=1")]
    given += ["--labels=negative,positive"] if command is not classify else []
    assert command.main(given) == 1
    said = capsys.readouterr().err
    assert f"{path} had {size} bytes (version " in said and "a new run takes it as it is then" in said
    assert len(path.read_text().splitlines()) == 101  # a second try sees it before it reads
    assert not (out / "_versions").exists() and not (out / "labels").exists() and not (out / "data").exists()


@pytest.mark.parametrize("command", [classify, prepare])
def test_a_file_that_goes_away_fails_the_run_until_it_is_back(command, corpus, model, monkeypatch, capsys):
    path, away = corpus / "c.jsonl", corpus / "away"
    size = path.stat().st_size
    read = records.read_unit
    meddling(monkeypatch, path, lambda _: os.rename(path, away))
    out = corpus / "out"
    given = [f"--model={model}", f"--output={out}", *flags(corpus, "--max_unreadable=9", "--max_rejected=1")]
    given += ["--labels=negative,positive", "--keep_text"] if command is prepare else []
    assert command.main(given) == 1
    said = capsys.readouterr().err
    assert f"{path} had {size} bytes when the run was planned and has none: it is gone; put it back and start" in said
    assert not (out / "_versions").exists()
    os.rename(away, path)
    for module in (records, examples, steps):
        monkeypatch.setattr(module, "read_unit", read)
    assert command.main(given) == 0
    found = labels(out)["text"].to_pylist() if command is classify else [
        row["text"] for split in all_rows(out).values() for row in split
    ]  # fmt: skip
    assert sorted(found) == sorted(TEXTS)
    assert command is prepare or "done before" in capsys.readouterr().err
