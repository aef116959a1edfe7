"""`ClassifierHandler` in a user's own RunInference: of texts and of TOKENS batches, keyed and not."""

from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.ml.inference.base import (
    KeyedModelHandler,
    KeyModelMapping,
    MaybeKeyedModelHandler,
    ModelMetadata,
    PredictionResult,
    RunInference,
)
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.utils.multi_process_shared import MultiProcessShared

import seqcls_beam
from seqcls_beam.config import ModelOptions
from seqcls_beam.model import resolve
from seqcls_beam.model.answers import answers
from seqcls_beam.model.tokens import tokenize
from seqcls_beam.transforms import ClassifierHandler
from tests import tiny
from tests.corpora import plain_scores, texts

pytestmark = pytest.mark.engine

OPTIONS = ModelOptions(threads=1, device="cpu")
TEXTS = texts(40)
HOLES: list[Any] = [None, "", "nul\0", 5, float("nan"), b"bytes", ("a", "b"), {"text": "a"}, object]
REASONS = ["missing_text", "empty_text", "nul_byte", "wrong_type", "missing_text", *["wrong_type"] * 4]
GIVEN: list[Any] = []


def collect(element: Any) -> None:
    GIVEN.append(element)


@pytest.fixture(autouse=True)
def no_files_left(monkeypatch, tmp_path):
    """Beam leaves two files in the temporary directory for each object that processes share."""
    monkeypatch.setitem(MultiProcessShared.__init__.__kwdefaults__, "path", str(tmp_path))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def checkpoint(model):
    return resolve(str(model))


def inferred(elements: list[Any], handler: Any, kind: Any = Any) -> tuple[list[Any], dict[str, Any]]:
    """What RunInference gives for elements, in its order, and the metrics it leaves."""
    GIVEN.clear()
    pipeline = beam.Pipeline(runner=FnApiRunner())
    source = pipeline | beam.Create([0]) | beam.FlatMap(lambda _: elements).with_output_types(kind)
    source | RunInference(handler) | "Collect" >> beam.Map(collect)
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query()
    return list(GIVEN), {each.key.metric.name: each.committed for kind in found.values() for each in kind}


def test_a_text_is_answered_as_by_transformers(model, checkpoint):
    found, metrics = inferred(TEXTS, ClassifierHandler(checkpoint, OPTIONS), str)
    expected = plain_scores(model, TEXTS)
    assert all(type(each) is PredictionResult for each in found)
    assert [each.example for each in found] == TEXTS
    inferences = [each.inference for each in found]
    assert np.abs(np.array([each["scores"] for each in inferences]) - expected).max() <= 1e-5
    assert [each["label"] for each in inferences] == [["negative", "positive"][row.argmax()] for row in expected]
    assert {each.model_id for each in found} == {each["model"] for each in inferences} == {checkpoint.digest[:12]}
    assert metrics["num_inferences"] == 40 and metrics["inference_request_batch_size"].count == 1
    assert metrics["inference_request_batch_byte_size"].sum == sum(len(each.encode()) for each in TEXTS)


@pytest.mark.parametrize("keyed", [False, True])
def test_a_row_that_cannot_be_labelled_costs_itself(keyed, model, checkpoint):
    rows = [row for pair in zip(HOLES, TEXTS, strict=False) for row in pair]
    handler: Any = ClassifierHandler(checkpoint, OPTIONS)
    if keyed:
        found, _ = inferred(list(enumerate(rows)), KeyedModelHandler(handler))
        assert [key for key, _ in found] == list(range(len(rows)))
        found = [result for _, result in found]
    else:
        found, _ = inferred(rows, handler)
    bad, good = found[::2], found[1::2]
    assert [each.inference["reject"]["reason"] for each in bad] == REASONS
    assert {name for each in bad for name, value in each.inference.items() if value is not None} == {"model", "reject"}
    scores = plain_scores(model, TEXTS[: len(good)])
    assert np.abs(np.array([each.inference["scores"] for each in good]) - scores).max() <= 1e-5
    assert {each.inference["reject"] for each in good} == {None}


def test_pairs_are_tuples_where_they_are_asked_for(model, checkpoint):
    first, second = TEXTS[:20], TEXTS[20:]
    odd = ["alone", ("a", None), ("a", "b", "c"), (None, "b")]
    handler = ClassifierHandler(checkpoint, OPTIONS, pairs=True)
    found, _ = inferred([*zip(first, second, strict=True), *odd], handler)
    scores = np.array([each.inference["scores"] for each in found[:20]])
    assert np.abs(scores - plain_scores(model, first, second)).max() <= 1e-5
    reasons = [each.inference["reject"]["reason"] for each in found[20:]]
    assert reasons == ["missing_text", "missing_text", "wrong_type", "missing_text"]
    keyed, _ = inferred([("k", each) for each in zip(first, second, strict=True)], KeyedModelHandler(handler))
    assert [(key, each.inference) for key, each in keyed] == [("k", each.inference) for each in found[:20]]


@pytest.mark.parametrize(
    "options",
    [{"max_length": 8}, {"max_length": 16, "overflow": "window", "stride": 4, "pooling": "max"}],
)
def test_options_hold_as_for_label(options, checkpoint):
    """The same dicts as `label` has them; what is in these is tried there."""
    found, _ = inferred(TEXTS, ClassifierHandler(checkpoint, ModelOptions(threads=1, device="cpu", **options)))
    table = seqcls_beam.label(TEXTS, checkpoint.location, threads=1, device="cpu", **options)
    assert [each.inference for each in found] == table.to_pylist()
    plain = seqcls_beam.label(TEXTS, checkpoint.location, threads=1, device="cpu")
    assert table["scores"] != plain["scores"]


def test_a_model_of_several_labels(tmp_path):
    folder = tiny.checkpoint(tmp_path, labels=("a", "b", "c"), problem="multi_label_classification")
    options = ModelOptions(threads=1, device="cpu", threshold=0.4)
    found, _ = inferred(TEXTS, ClassifierHandler(resolve(str(folder)), options))
    expected = [{"abc"[i] for i in np.flatnonzero(row >= 0.4)} for row in plain_scores(folder, TEXTS)]
    assert [set(each.inference["labels"]) for each in found] == expected
    assert len({len(each) for each in expected}) > 1
    assert all(each.model_id.endswith("@0.4") for each in found)


@pytest.mark.parametrize("keyed", [False, True])
def test_batches_are_of_one_size_and_smaller_where_texts_are_long(keyed, checkpoint):
    handler: Any = ClassifierHandler(checkpoint, ModelOptions(threads=1, max_length=8, device="cpu"), max_batch_size=8)
    # 40,000 characters would count ten times, in batches of eight: Beam has an empty batch for more than a whole one.
    rows = ["a" * 40_000, *["short"] * 20, *["a " * 5000] * 5]
    found, metrics = inferred(
        [(1, each) for each in rows] if keyed else rows, KeyedModelHandler(handler) if keyed else handler
    )
    assert len(found) == len(rows) == metrics["num_inferences"]
    sizes = metrics["inference_request_batch_size"]
    # 1; 8; 8; 4 and one of 10,000 characters, which counts three times; 2; 2
    assert (sizes.count, sizes.min, sizes.max) == (6, 1, 8)


def test_a_size_of_the_users_own_is_beams(checkpoint):
    handler = ClassifierHandler(checkpoint, OPTIONS, min_batch_size=3, max_batch_size=3, element_size_fn=len)
    found, metrics = inferred(["a", "b", "c", "abc", "a"], handler)
    assert len(found) == 5 and metrics["inference_request_batch_size"].count == 3


def token_batches(checkpoint: Any) -> list[pa.RecordBatch]:
    """Three, of which the last has pairs, and so other columns."""
    made = [tiny.records(TEXTS[:9], rejected=[2]), tiny.records(TEXTS[9:]), tiny.records(["a"], ["b"])]
    return [tokenize(each, checkpoint, OPTIONS) for each in made]


def test_token_batches_keyed_and_not(model, checkpoint):
    batches = token_batches(checkpoint)
    handler = ClassifierHandler(checkpoint, OPTIONS)
    alone, metrics = inferred(batches, handler.with_no_batching(), pa.RecordBatch)
    assert metrics["num_inferences"] == 41, "rows"
    scores = [row for each in alone[:2] for row in each["scores"].to_pylist()]
    assert scores.pop(2) is None
    assert np.abs(np.array(scores) - plain_scores(model, TEXTS[:2] + TEXTS[3:])).max() <= 1e-5
    plain = [answers(each).to_pylist() for each in alone]
    elements = [(name, batch) for name, batch in zip("abc", batches, strict=True)]
    kinds: list[tuple[Any, list[Any], Any]] = [
        (KeyedModelHandler(handler), elements, tuple[str, pa.RecordBatch]),
        (MaybeKeyedModelHandler(handler), elements, tuple[str, pa.RecordBatch]),
        (KeyedModelHandler([KeyModelMapping(["a", "b", "c"], handler)]), elements, tuple[str, pa.RecordBatch]),
        (MaybeKeyedModelHandler(handler.with_no_batching()), batches, pa.RecordBatch),
        (handler, batches, pa.RecordBatch),
    ]
    for wrapped, given, kind in kinds:
        found, _ = inferred(given, wrapped, kind)
        if given is elements:
            assert [key for key, _ in found] == ["a", "b", "c"]
            found = [each for _, each in found]
        assert [answers(each).to_pylist() for each in found] == plain


def test_texts_that_may_have_keys_and_lists_of_texts(checkpoint):
    handler = ClassifierHandler(checkpoint, OPTIONS)
    plain, _ = inferred(TEXTS, handler)
    maybe: Any = MaybeKeyedModelHandler(handler)
    assert inferred(TEXTS, maybe)[0] == plain
    assert inferred(list(enumerate(TEXTS)), maybe)[0] == list(enumerate(plain))
    assert inferred([TEXTS[:30], [], TEXTS[30:]], handler.with_no_batching())[0] == plain


def upper(text: Any) -> Any:
    return text.upper()


def label_of(result: Any) -> str:
    return f"<{result.inference['label']}>"


def upper_keyed(row: tuple[int, str]) -> tuple[int, str]:
    return row[0], row[1].upper()


def test_functions_before_and_after(checkpoint):
    plain, _ = inferred([each.upper() for each in TEXTS], ClassifierHandler(checkpoint, OPTIONS))
    handler = ClassifierHandler(checkpoint, OPTIONS).with_preprocess_fn(upper).with_postprocess_fn(label_of)
    assert inferred(TEXTS, handler)[0] == [label_of(each) for each in plain]
    keyed: Any = KeyedModelHandler(ClassifierHandler(checkpoint, OPTIONS))
    assert inferred(list(enumerate(TEXTS)), keyed.with_preprocess_fn(upper_keyed))[0] == list(enumerate(plain))


def test_a_model_for_some_keys_and_another_for_others(tmp_path, model, checkpoint):
    folder = tiny.checkpoint(tmp_path, labels=("x", "y", "z"))
    pairs = [(["a", "b"], checkpoint), (["c"], resolve(str(folder)))]
    handler = KeyedModelHandler([KeyModelMapping(keys, ClassifierHandler(each, OPTIONS)) for keys, each in pairs])
    found, _ = inferred([("abc"[i % 3], text) for i, text in enumerate(TEXTS)], handler)
    for key, (folder_of, start) in {"a": (model, 0), "b": (model, 1), "c": (folder, 2)}.items():
        mine = [each for name, each in found if name == key]
        assert [each.example for each in mine] == TEXTS[start::3]
        scores = np.array([each.inference["scores"] for each in mine])
        assert np.abs(scores - plain_scores(folder_of, TEXTS[start::3])).max() <= 1e-5


def size_of_failed(failed: tuple[list[Any], Any]) -> None:
    GIVEN.append(("failed", len(failed[0])))


def test_what_fails_as_a_batch_can_be_set_aside(tmp_path):
    """A few rows on which the model raises are rejects; where many do, it is the model, and the batch fails."""
    checkpoint = resolve(str(tiny.raising(tmp_path)))
    rows = [*["good"] * 19, "unembeddable", *["unembeddable"] * 20, *["good"] * 3]
    GIVEN.clear()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        source = pipeline | beam.Create([0]) | beam.FlatMap(lambda _: rows)
        handler = ClassifierHandler(checkpoint, OPTIONS, max_batch_size=20)
        results, others = source | RunInference(handler).with_exception_handling()
        results | beam.Map(collect)
        others.failed_inferences | "Failed" >> beam.Map(size_of_failed)
    failed = [each for each in GIVEN if each[0] == "failed"]
    results = [each.inference["reject"] for each in GIVEN if each[0] != "failed"]
    assert failed == [("failed", 20)]
    assert [each and each["reason"] for each in results] == [*[None] * 19, "model_error", *[None] * 3]
    with pytest.raises(RuntimeError, match="fails on many rows of 20"):
        inferred(rows, ClassifierHandler(checkpoint, OPTIONS, max_batch_size=20))


@pytest.mark.parametrize("name", ["", "its own", "another"])
def test_a_watch_for_models_is_refused_where_it_finds_another(name, checkpoint):
    told = checkpoint.name if name == "its own" else name
    GIVEN.clear()

    def run() -> None:
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            models = pipeline | "Models" >> beam.Create([ModelMetadata(told, "")])
            texts = pipeline | beam.Create(TEXTS)
            handler = ClassifierHandler(checkpoint, OPTIONS)
            texts | RunInference(handler, model_metadata_pcoll=models) | beam.Map(collect)

    if name == "another":
        with pytest.raises(ValueError, match=f"labels with {checkpoint.name}, and was told to go on with another"):
            run()
    else:
        run()
        assert len(GIVEN) == len(TEXTS)


@pytest.mark.parametrize(
    ("dtype", "said"),
    [("int8", " is fitted to the first rows of a corpus"), ("fastest", ": pipelines.classify finds which that is")],
)
def test_a_precision_that_follows_from_a_corpus_is_refused(checkpoint, dtype, said):
    with pytest.raises(ValueError, match=f"--dtype={dtype}{said}"):
        ClassifierHandler(checkpoint, ModelOptions(dtype=dtype))


def test_an_argument_that_nobody_knows_is_refused(checkpoint):
    with pytest.raises(TypeError, match=r"max_batch_sise is no argument of .*Beam's are .*max_batch_size"):
        ClassifierHandler(checkpoint, max_batch_sise=4)
    with pytest.raises(ValueError, match="this handler takes none"):
        asked = RunInference(ClassifierHandler(checkpoint), inference_args={"max_length": 8})
        beam.Pipeline(runner=FnApiRunner()) | beam.Create(TEXTS) | asked
    assert ClassifierHandler(checkpoint, max_batch_size=4).batch_elements_kwargs()["max_batch_size"] == 4


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"max_batch_size": 0}, "max_batch_size=0: expected at least 1"),
        ({"min_batch_size": "8"}, "min_batch_size='8' is a str: expected int or None"),
        ({"pairs": "yes"}, "pairs='yes' is a str: expected bool"),
        ({"options": {"max_length": 8}}, r"options=.* is a dict: expected ModelOptions or None"),
    ],
)
def test_an_argument_that_cannot_be_is_refused_when_it_is_made(checkpoint, how, why):
    with pytest.raises((TypeError, ValueError), match=why):
        ClassifierHandler(checkpoint, **how)
    with pytest.raises(TypeError, match="checkpoint='sentiment' is a str: expected Checkpoint"):
        ClassifierHandler("sentiment")  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", ["good film", b"good", {"a": "b"}, None])
def test_what_is_no_batch_is_refused_and_not_taken_letter_by_letter(checkpoint, batch):
    handler = ClassifierHandler(checkpoint, OPTIONS)
    with pytest.raises(TypeError, match=r"is no batch: with_no_batching\(\) is for TOKENS batches"):
        handler.run_inference(batch, handler.load_model())


@pytest.mark.parametrize("order", [1, -1])
def test_texts_and_batches_in_one_are_refused(checkpoint, order):
    handler = ClassifierHandler(checkpoint, OPTIONS)
    tokens = tokenize(tiny.records(TEXTS[:2]), checkpoint, OPTIONS)
    with pytest.raises(TypeError, match="texts and TOKENS batches in one PCollection, such as 'a text'"):
        handler.run_inference(["a text", tokens][::order], handler.load_model())
