"""Labelling in plain Python: the same answers as anywhere, row for row, whatever holds the texts."""

import os
import re
import shutil
import subprocess
import sys
from itertools import repeat
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import orjson
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import seqcls_beam
from seqcls_beam import notebook
from seqcls_beam.model import CheckpointError
from seqcls_beam.model.checkpoints import resolve
from tests import tiny
from tests.corpora import plain_scores, texts

pytestmark = pytest.mark.engine

TEXTS = texts(40)
HOLES = [None, "", " ", "nul\0", "half \ud800", 5, float("nan"), b"bytes", "x" * (16 * 2**20 + 1)]
REASONS = [
    "missing_text", "empty_text", "empty_text", "nul_byte", "lone_surrogate",
    "wrong_type", "missing_text", "wrong_type", "record_too_large",
]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def table(model):
    return seqcls_beam.label(TEXTS, str(model), threads=1)


def test_answers_are_those_of_transformers(model, table):
    expected = plain_scores(model, TEXTS)
    names = np.array(["negative", "positive"])
    assert np.abs(np.array(table["scores"].to_pylist()) - expected).max() <= 1e-5
    assert table["label"].to_pylist() == names[expected.argmax(axis=1)].tolist()
    assert np.abs(table["score"].to_numpy() - expected.max(axis=1)).max() <= 1e-5
    assert table["reject"].null_count == len(TEXTS)
    assert orjson.loads(table.schema.metadata[b"seqcls_beam.labels"]) == names.tolist()
    types = {"label": pa.string(), "score": pa.float32(), "scores": pa.list_(pa.float32()), "tokens": pa.int32()}
    assert {name: table.schema.field(name).type for name in types} == types
    assert table.schema.names == [*types, "truncated", "model", "reject"]
    assert table["model"].to_pylist() == [resolve(str(model)).digest[:12]] * len(TEXTS)


COLUMNS: dict[str, Any] = {
    "a tuple": tuple,
    "a generator": iter,
    "a column of pandas": pd.Series,
    "objects of pandas": lambda values: pd.Series(values, dtype=object),
    "a column of polars": pl.Series,
    "an array of pyarrow": pa.array,
    "a column of pyarrow": lambda values: pa.chunked_array([values[:7], values[7:]]),
    "numpy": np.array,
    "a column of datasets": lambda values: datasets.Dataset.from_dict({"text": values})["text"],
    "values of a dict": lambda values: dict(enumerate(values)).values(),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_of_every_kind(kind, model, table):
    assert seqcls_beam.label(COLUMNS[kind](TEXTS), str(model), threads=1).equals(table)


@pytest.mark.parametrize("kind", [each for each in COLUMNS if each != "numpy"])
def test_missing_values_keep_their_place(kind, model, table):
    found = seqcls_beam.label(COLUMNS[kind]([*TEXTS[:3], None, *TEXTS[3:]]), str(model), threads=1)
    assert found["reject"][3].as_py()["reason"] == "missing_text"
    assert pa.concat_tables([found.slice(0, 3), found.slice(4)]).equals(table)


def test_a_model_may_be_a_path_and_a_number_one_of_numpy(model, table):
    found = seqcls_beam.label(TEXTS, model, threads=np.int64(1), threshold=1)
    assert found.equals(table)


class Anyones(os.PathLike[str]):
    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


@pytest.mark.parametrize("kind", [Path, Anyones])
@pytest.mark.parametrize("name", ["sentiment", "org/name", "hf:/org/name", "gs://bucket"])
def test_a_path_is_a_folder_whatever_it_is_called(name, kind, model, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / path))):  # and neither the packaged nor a Hub
        seqcls_beam.label(TEXTS, kind(path), threads=1)
    shutil.copytree(model, tmp_path / path)
    assert seqcls_beam.label(TEXTS, kind(path), threads=1).equals(table)


def test_bytes_that_are_no_text_cost_their_row(model, table):
    invalid = pa.StringArray.from_buffers(2, pa.array([0, 1, 4], pa.int32()).buffers()[1], pa.py_buffer(b"\xffok!"))
    found = seqcls_beam.label(invalid, model, threads=1)
    assert [row and row["reason"] for row in found["reject"].to_pylist()] == ["wrong_type", None]


def test_missing_values_of_pandas(model):
    found = seqcls_beam.label(pd.Series(["a", pd.NA, np.nan, pd.NaT, None], dtype=object), str(model), threads=1)
    assert [row and row["reason"] for row in found["reject"].to_pylist()] == [None, *repeat("missing_text", 4)]


def test_rows_that_cannot_be_labelled_are_named_in_their_place(model, table):
    mixed = [each for pair in zip(HOLES, TEXTS, strict=False) for each in pair]
    found = seqcls_beam.label(mixed, str(model), threads=1)
    assert found.take(list(range(1, len(mixed), 2))).equals(table.slice(0, len(HOLES)))
    bad = found.take(list(range(0, len(mixed), 2)))
    rejects = bad["reject"].to_pylist()
    assert [each["reason"] for each in rejects] == REASONS
    assert orjson.loads(rejects[3]["raw"]) == {"text": "nul\0"} and b"\\ud800" in rejects[4]["raw"]
    assert all(bad[name].null_count == len(HOLES) for name in bad.schema.names if name not in ("model", "reject"))


def test_pairs(tmp_path):
    folder = tiny.checkpoint(tmp_path)
    found = seqcls_beam.label(TEXTS, str(folder), text_pairs=TEXTS[::-1], threads=1)
    expected = plain_scores(folder, TEXTS, TEXTS[::-1])
    assert np.abs(np.array(found["scores"].to_pylist()) - expected).max() <= 1e-5
    for first, second in ((TEXTS, TEXTS[1:]), (iter(TEXTS[1:]), iter(TEXTS))):
        with pytest.raises(ValueError, match="one has 39 values, and the other more"):
            seqcls_beam.label(first, str(folder), text_pairs=second, threads=1)


def test_several_labels(tmp_path):
    folder = tiny.checkpoint(tmp_path, labels=("a", "b", "c"), problem="multi_label_classification")
    found = seqcls_beam.label([*TEXTS, None], str(folder), threads=1, threshold=0.4)
    expected = plain_scores(folder, TEXTS)
    assert np.abs(np.array(found["scores"].to_pylist()[:-1]) - expected).max() <= 1e-5
    assert "label" not in found.schema.names and found["labels"][-1].as_py() is None
    for row, scores in zip(found["labels"].to_pylist(), expected, strict=False):
        assert set(row) == {name for name, score in zip("abc", scores, strict=True) if score >= 0.4}


def test_what_an_output_is_can_be_said(tmp_path):
    folder = tiny.checkpoint(tmp_path, labels=("relevance",))
    plain, sigmoid = (
        seqcls_beam.label(TEXTS, str(folder), threads=1, problem_type=kind)
        for kind in (None, "multi_label_classification")
    )
    assert b"regression" in plain.schema.metadata[b"seqcls_beam.reading"]
    assert b"sigmoid" in sigmoid.schema.metadata[b"seqcls_beam.reading"]
    values = np.array(plain["scores"].to_pylist(), np.float64)
    assert np.abs(1 / (1 + np.exp(-values)) - sigmoid["scores"].to_pylist()).max() < 1e-6


def test_no_texts(model, table):
    found = seqcls_beam.label([], str(model), threads=1)
    assert found.num_rows == 0 and found.schema.equals(table.schema, check_metadata=True)


def test_a_model_is_loaded_once_for_the_same_files_and_options(tmp_path, monkeypatch):
    from seqcls_beam.model.engine import Classifier

    loaded: list[Any] = []
    made = Classifier.__init__

    def load(self: Any, *how: Any) -> None:
        loaded.append(how)
        made(self, *how)

    monkeypatch.setattr(Classifier, "__init__", load)
    folder = tiny.checkpoint(tmp_path / "model")
    first = seqcls_beam.label(TEXTS, str(folder), threads=1)
    assert seqcls_beam.label(TEXTS, str(folder), threads=1).equals(first)
    assert len(loaded) == 1
    seqcls_beam.label(TEXTS, str(folder), threads=1, max_length=16)
    assert len(loaded) == 2
    tiny.checkpoint(tmp_path / "model", initializer_range=0.2)  # other weights under the same name
    assert not seqcls_beam.label(TEXTS, str(folder), threads=1).equals(first)
    assert len(loaded) == 3


def test_int8_is_fitted_to_the_texts_of_the_call():
    some = texts(80)
    # Of a few, one that lies between two labels is more than int8 may lose, on one processor and not on another.
    sure = seqcls_beam.label(some, threads=1)["score"].to_numpy() > 0.9
    clear = [text for text, kept in zip(some, sure, strict=True) if kept]
    plain = seqcls_beam.label(clear, threads=1)
    assert len(clear) > 40
    found = [seqcls_beam.label(each, dtype="int8", threads=1) for each in (clear, clear[:20], clear)]
    assert found[2].equals(found[0]), "whatever was labelled before"
    assert 0 < np.abs(np.array(found[0]["scores"].to_pylist()) - plain["scores"].to_pylist()).max() < 0.1


class Text(str):
    now = most = 0

    def __init__(self, _: str) -> None:
        Text.now += 1
        Text.most = max(Text.most, Text.now)

    def __del__(self) -> None:
        Text.now -= 1


def test_many_texts_in_flat_memory(model, monkeypatch, table):
    monkeypatch.setattr(notebook, "BATCH_ROWS", 500)
    found = seqcls_beam.label((Text(TEXTS[i % 40]) for i in range(5_000)), str(model), threads=1)
    assert found.slice(4_960).equals(table)
    assert found.num_rows == 5_000 and Text.most <= 1010


@pytest.mark.parametrize(
    ("given", "options", "error", "said"),
    [
        ("one string", {}, TypeError, "texts is a str"),
        ({"text": ["a"]}, {}, TypeError, "texts is a dict"),
        (pd.DataFrame({"text": ["a"]}), {}, TypeError, "texts is a DataFrame"),
        (pl.DataFrame({"text": ["a"]}), {}, TypeError, "texts is a DataFrame"),
        (pa.table({"text": ["a"]}), {}, TypeError, "texts is a Table"),
        (pa.record_batch({"text": ["a"]}), {}, TypeError, "texts is a RecordBatch"),
        (pa.table({"text": ["a"]}).to_reader(), {}, TypeError, "texts is a RecordBatchReader"),
        (pl.LazyFrame({"text": ["a"]}), {}, TypeError, "texts is a LazyFrame"),
        (datasets.Dataset.from_dict({"text": ["a"]}), {}, TypeError, "texts is a Dataset"),
        (datasets.DatasetDict(), {}, TypeError, "texts is a DatasetDict"),
        (datasets.Dataset.from_dict({"text": ["a"]}).to_iterable_dataset(), {}, TypeError, "a IterableDataset"),
        ({"a", "b"}, {}, TypeError, "texts is a set"),
        (frozenset("ab"), {}, TypeError, "texts is a frozenset"),
        (b"bytes", {}, TypeError, "texts is a bytes"),
        (bytearray(b"bytes"), {}, TypeError, "texts is a bytearray"),
        (np.array("a"), {}, TypeError, "texts is a ndarray"),
        (np.array([["a"], ["b"]]), {}, TypeError, "texts is a ndarray"),
        (pa.scalar("a"), {}, TypeError, "texts is a StringScalar"),
        (None, {}, TypeError, "texts is a NoneType"),
        (5, {}, TypeError, "texts is a int"),
        (["a"], {"text_pairs": {"a"}}, TypeError, "text_pairs is a set"),
        (["a"], {"max_length": 8.0}, TypeError, r"max_length=8\.0 is a float: expected int or None"),
        (["a"], {"max_length": "8"}, TypeError, "max_length='8' is a str: expected int or None"),
        (["a"], {"max_length": True}, TypeError, "max_length=True is a bool: expected int or None"),
        (["a"], {"threads": None}, TypeError, "threads=None is a NoneType: expected int"),
        (["a"], {"compile": 1}, TypeError, "compile=1 is a int: expected bool"),
        (["a"], {"threshold": "0.5"}, TypeError, "threshold='0.5' is a str: expected float"),
        (["a"], {"device": 0}, TypeError, "device=0 is a int: expected str"),
        (["a"], {"model": None}, TypeError, "model=None is a NoneType: expected str"),
        (["a"], {"model": b"sentiment"}, TypeError, "model=b'sentiment' is a bytes: expected str"),
        (["a"], {"text_pairs": "b"}, TypeError, "text_pairs is a str"),
        (["a"], {"max_len": 5}, TypeError, "no option max_len; those there are revision, max_length"),
        (["a"], {"max_length": 1}, ValueError, "max_length=1"),
        (["a"], {"max_length": 10_000}, ValueError, "reads at most"),
        (["a"], {"model": "/no/such/folder"}, CheckpointError, "/no/such/folder"),
    ],
)
def test_what_cannot_be_is_said(given, options, error, said):
    with pytest.raises(error, match=said):
        seqcls_beam.label(given, **options)


def test_no_beam_and_no_warning():
    code = (
        "import sys, seqcls_beam; print(seqcls_beam.label(['I love this book', 'awful'])['label'].to_pylist());"
        "print(callable(seqcls_beam.label), 'apache_beam' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout.split("\n") == ["['positive', 'negative']", "True False", ""]
    assert (done.stderr, done.returncode) == ("", 0)
