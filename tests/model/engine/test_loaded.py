"""One model in a process: taken over by who wants the same one, and gone before another one is loaded."""

from pathlib import Path
from typing import Any
from weakref import WeakSet

import apache_beam as beam
import pytest

import seqcls_beam
from seqcls_beam.config import ModelOptions
from seqcls_beam.model import resolve
from seqcls_beam.model.engine import Classifier, loaded
from seqcls_beam.transforms import Classify, FromRows, Tokenize
from tests import tiny
from tests.corpora import texts

pytestmark = pytest.mark.engine

TEXTS = texts(20)
OPTIONS = ModelOptions(threads=1)


@pytest.fixture
def beside(monkeypatch):
    """At every load, how many models there are already."""
    counts: list[int] = []
    living: WeakSet[Any] = WeakSet()
    made = Classifier.__init__

    def load(self: Any, *how: Any) -> None:
        counts.append(len(living))
        made(self, *how)
        living.add(self._executor.model)

    monkeypatch.setattr(Classifier, "__init__", load)
    return counts


def piped(model: Path | str, options: ModelOptions = OPTIONS) -> None:
    """A pipeline in this process."""
    checkpoint = resolve(model)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        records = pipeline | beam.Create(TEXTS) | FromRows()
        _ = records | Tokenize(checkpoint, options) | Classify(checkpoint, options)


def test_a_later_pipeline_and_a_call_take_the_model_over(tmp_path, beside):
    model = str(tiny.checkpoint(tmp_path))
    piped(model)
    piped(model)
    seqcls_beam.label(TEXTS, model, threads=1)
    assert beside == [0]


def test_a_model_is_gone_before_another_is_loaded(tmp_path, beside):
    one, two = (
        str(tiny.checkpoint(tmp_path / name, initializer_range=wide)) for name, wide in (("a", 0.1), ("b", 0.2))
    )
    seqcls_beam.label(TEXTS, two, threads=1)
    seqcls_beam.label(TEXTS, two, threads=1, max_length=16)
    seqcls_beam.label(TEXTS, dtype="int8", threads=1)
    seqcls_beam.label(TEXTS, two, threads=1)
    for each in (one, two, one):
        piped(each)
    assert beside == [0] * 7


def test_a_model_that_is_in_use_is_shared_and_not_loaded_twice(tmp_path, beside):
    one, two = (
        resolve(str(tiny.checkpoint(tmp_path / name, initializer_range=wide)))
        for name, wide in (("a", 0.1), ("b", 0.2))
    )
    used = loaded(one, OPTIONS)
    loaded(two, OPTIONS)
    assert loaded(one, OPTIONS) is used
    assert beside == [0, 1]
