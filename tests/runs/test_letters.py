"""What topics get of a stream's rows: columns as JSON, messages as they came, and what the service would not take."""

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqcls_beam.runs.letters import Letter, of_labelled, of_rejected
from seqcls_beam.schema import ATTRIBUTES, Mark
from tests.messages import MODEL, Message, predictions

SECOND = 1_000_000
TEN = int(datetime(2026, 11, 20, 10, tzinfo=UTC).timestamp()) * SECOND


def size_on_the_wire(letter: Letter) -> int:
    from google.pubsub_v1 import types

    request = types.PublishRequest(topic=f"projects/{'p' * 30}/topics/{'t' * 255}")
    request.messages.append(types.PubsubMessage(data=letter.data, attributes=letter.attributes))
    return len(types.PublishRequest.serialize(request))


def test_a_labelled_row_is_its_columns_and_says_where_it_belongs():
    batch = predictions(
        [
            Message("11", TEN + 299_999_999, TEN + 5, key="k1", text="a “film”"),
            Message("12", TEN, TEN, rejected=True),
            Message("13", TEN + 300 * SECOND, TEN, key=None, text=""),
        ],
        keyed=True,
        keep=[("text", pa.string()), ("label", pa.string())],
    )
    first, second = of_labelled(batch, 300).made
    assert first.attributes == {
        "message_id": "11",
        "message_key": "k1",
        "model": "0123456789ab",
        "window": "20261120T100000Z",
        "event_time": "2026-11-20T10:04:59.999999Z",
    }
    score = 0.5 + (TEN + 299_999_999) % 97 / 200
    assert json.loads(first.data) == {
        "text": "a “film”",
        "input_label": "a “film”",
        "message_id": "11",
        "event_time": "2026-11-20T10:04:59.999999Z",
        "publish_time": "2026-11-20T10:00:00.000005Z",
        "message_key": "k1",
        "label": "positive",
        "score": pytest.approx(score, abs=1e-6),
        "scores": pytest.approx([1 - score, score], abs=1e-6),
        "tokens": 8,
        "truncated": False,
        "model": "0123456789ab",
    }
    assert [*json.loads(first.data)][:2] == ["text", "input_label"]
    assert second.attributes == {
        "message_id": "13",
        "model": "0123456789ab",
        "window": "20261120T100500Z",
        "event_time": "2026-11-20T10:05:00Z",
    }
    assert json.loads(second.data)["message_key"] is None


def test_the_model_of_several_labels_says_its_threshold():
    batch = predictions([Message("1", TEN)])
    labels = pa.array([["positive", "negative"]], pa.list_(pa.string()))
    mark = Mark.of(batch)
    engine = {"labels": ["negative", "positive"], "checkpoint": MODEL, "threshold": 0.5}
    batch = batch.drop_columns(["label", "score"]).append_column("labels", labels)
    batch = Mark(unit=mark.unit, units=mark.units, engine=engine).on(batch)
    (letter,) = of_labelled(batch, 300).made
    assert letter.attributes["model"] == "0123456789ab@0.5"
    row = json.loads(letter.data)
    assert row["labels"] == ["positive", "negative"] and "label" not in row


def test_what_json_has_not_is_null_or_a_string():
    batch = predictions([Message("1", TEN, text="x")], keep=[("n", pa.string())])
    kept = [
        pa.array([np.nan], pa.float64()),
        pa.array([b"\xff\x00a"], pa.binary()),
        pa.array([12345], pa.decimal128(9, 2)),
    ]
    names = ["nothing", "bytes", "money"]
    keep = pa.StructArray.from_arrays(
        [*kept, *batch["keep"].flatten()[1:]], [*names, "message_id", "event_time", "publish_time"]
    )
    batch = batch.set_column(batch.schema.get_field_index("keep"), "keep", keep)
    (letter,) = of_labelled(batch, 300).made
    row = json.loads(letter.data)
    assert (row["nothing"], row["bytes"], row["money"]) == (None, "\\xff\x00a", "12345.00")


def test_batches_of_one_kind_have_no_letters_of_the_other():
    good, bad = predictions([Message("1", TEN)]), predictions([Message("2", TEN, rejected=True)])
    assert of_labelled(bad, 300) == ([], 0)
    assert of_rejected(attributed(good, [{}])) == ([], 0)


def attributed(batch: pa.RecordBatch, attributes: list[dict[str, str]]) -> pa.RecordBatch:
    return batch.append_column(ATTRIBUTES, pa.array([[*each.items()] for each in attributes], ATTRIBUTES.type))


def rejected(data: bytes | None, attributes: dict[str, str], detail: str = "no") -> pa.RecordBatch:
    """A batch of one good row and one that was rejected."""
    batch = attributed(predictions([Message("0", TEN), Message("1", TEN, rejected=True)]), [{"good": "1"}, attributes])
    why = {"stage": "read", "reason": "invalid_json", "detail": detail, "raw": data}
    values = pa.array([None, why], batch.schema.field("reject").type)
    return batch.set_column(batch.schema.get_field_index("reject"), "reject", values)


OURS = {
    "seqcls_beam.message_id": "1",
    "seqcls_beam.stage": "read",
    "seqcls_beam.reason": "invalid_json",
    "seqcls_beam.detail": "no",
}


@pytest.mark.parametrize("data", [b'{"te', b"\xff\xfe\x00 \xed\xa0\x80", b"\xef\xbb\xbf{", b"\n", b""])
def test_a_rejected_row_is_the_message_that_it_was(data):
    ((letter,), large) = of_rejected(rejected(data, {"key": "k", "": "no name", "größe": "東京"}))
    assert letter == (data, {"key": "k", "größe": "東京", **OURS, "seqcls_beam.attributes_left_out": "1"})
    assert large == 0


def test_a_row_that_a_step_rejected_without_its_payload_is_told_of():
    ((letter,), _) = of_rejected(rejected(None, {"key": "k"}))
    assert letter == (b"", {"key": "k", **OURS})


def test_attributes_at_their_limits_and_beyond():
    at = {"n" * 256: "v" * 1024, "é" * 128: "é" * 512, "empty": ""}
    beyond = {"n" * 257: "v", "é" * 129: "v", "value": "v" * 1025, "googclient_schemaencoding": "JSON"}
    ((letter,), _) = of_rejected(rejected(b"x", at | beyond))
    assert letter.attributes == {**at, **OURS, "seqcls_beam.attributes_left_out": "4"}
    # What it said of itself when it was rejected before is no attribute that it came with.
    before = {"seqcls_beam.reason": "empty_text", "seqcls_beam.attributes_left_out": "7", "a": "b"}
    ((letter,), _) = of_rejected(rejected(b"x", before))
    assert letter.attributes == {"a": "b", **OURS}


@pytest.mark.parametrize(("count", "left"), [(95, 0), (96, 1), (100, 5)])
def test_of_too_many_attributes_the_first_by_name_stay(count, left):
    ((letter,), _) = of_rejected(rejected(b"x", {f"a{n:03d}": str(n) for n in reversed(range(count))}))
    theirs = {name: value for name, value in letter.attributes.items() if not name.startswith("seqcls_beam.")}
    assert theirs == {f"a{n:03d}": str(n) for n in range(95)}
    assert letter.attributes.get("seqcls_beam.attributes_left_out", "0") == str(left)
    assert len(letter.attributes) == 99 + (left > 0) <= 100


@pytest.mark.parametrize(
    ("detail", "kept"), [("é" * 600, "é" * 512), ("aé" * 400, "aé" * 341 + "a"), ("🙂" * 300, "🙂" * 256)]
)
def test_a_long_detail_is_cut_between_characters(detail, kept):
    ((letter,), _) = of_rejected(rejected(b"x", {}, detail))
    assert letter.attributes["seqcls_beam.detail"] == kept
    assert len(kept.encode()) <= 1024 < len(detail.encode())


def test_what_is_too_large_goes_without_its_attributes_and_then_not_at_all():
    came = {"key": "k" * 1000}
    whole, (alone, large) = of_rejected(rejected(b"x" * 9_900_000, came)), of_rejected(rejected(b"x" * 9_989_000, came))
    assert whole.made[0].attributes == came | OURS
    assert alone[0].attributes == {**OURS, "seqcls_beam.attributes_left_out": "1"} and large == 0
    assert size_on_the_wire(alone[0]) <= 10_000_000
    assert of_rejected(rejected(b"x" * 9_995_000, came)) == ([], 1)


def test_a_row_whose_json_is_too_large_is_counted():
    # Each of these signs is one byte of text and six of JSON.
    batch = predictions([Message("1", TEN, text="\x01" * 1_700_000), Message("2", TEN, text="\x01" * 1_000)])
    made, large = of_labelled(batch, 300)
    assert ([each.attributes["message_id"] for each in made], large) == (["2"], 1)


names = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.binary(max_size=50), st.dictionaries(names, names, max_size=120))
def test_a_letter_is_no_larger_than_it_says_and_within_the_limits(data, attributes):
    ((letter,), _) = of_rejected(rejected(data, attributes))
    assert size_on_the_wire(letter) <= letter.size + 320  # with the name of the topic
    assert letter.data == data and len(letter.attributes) <= 100
    assert all(
        0 < len(name.encode()) <= 256 and len(value.encode()) <= 1024 for name, value in letter.attributes.items()
    )
    assert letter.attributes.items() >= OURS.items()
    theirs = {name for name in attributes if not name.startswith("seqcls_beam.")}
    kept = theirs & letter.attributes.keys()
    assert int(letter.attributes.get("seqcls_beam.attributes_left_out", 0)) == len(theirs) - len(kept)
