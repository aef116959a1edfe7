"""Messages → rows: beside Python's own `json` and `datetime`."""

import json
from datetime import UTC, datetime, timedelta, timezone
from hashlib import blake2b
from typing import Any

import pyarrow as pa
import pytest
from google.pubsub_v1 import types
from hypothesis import given
from hypothesis import strategies as st

from seqcls_beam.config import ReadOptions
from seqcls_beam.config.stream import SourceOptions
from seqcls_beam.reading.formats.blocks import MAX_RECORD_BYTES
from seqcls_beam.reading.messages import Message, MessageLayout, event_time, message_layout, own_time, to_record
from seqcls_beam.reading.subscription import Subscription
from seqcls_beam.schema import REASONS, Mark

PUBLISHED = 1_800_000_000_000_000


def layout(read: dict[str, Any] | None = None, **source: Any) -> MessageLayout:
    options = SourceOptions(subscription="projects/test-project/subscriptions/one", **source)
    return message_layout(ReadOptions(input=(), **(read or {})), options)


def message(data: bytes | str, **attributes: str) -> Message:
    return Message("7", PUBLISHED, attributes, data.encode() if isinstance(data, str) else data)


def rows(messages: list[Message], read: dict[str, Any] | None = None, **source: Any) -> list[dict[str, Any]]:
    made = to_record(messages, layout(read, **source))
    made.validate(full=True)
    assert made.schema.equals(layout(read, **source).schema) and len(made) == len(messages)
    return made.to_pylist()


def fault(data: bytes | str, read: dict[str, Any] | None = None, **source: Any) -> str:
    """Why a payload is rejected; its bytes are kept, and what the message itself says."""
    (row,) = rows([message(data)], read, **source)
    keep, reject = row["keep"], row["reject"]
    assert row["text"] is None and reject["stage"] == "read"
    assert reject["raw"] == (data.encode() if isinstance(data, str) else data)
    assert keep["message_id"] == "7" and keep["publish_time"] == at(PUBLISHED) and row["position"] == PUBLISHED
    assert reject["reason"] in REASONS
    return str(reject["reason"])


def test_a_message_without_an_id_has_one_by_all_else_in_it():
    known = message("a")
    assert known.identified is known
    bare = [
        Message("", *rest) for rest in [(1, {}, b"a"), (1, {}, b"b"), (2, {}, b"a"), (1, {"a": "", "b": "c"}, b"a")]
    ]
    bare += [Message("", 1, {"a": "b", "": "c"}, b"a"), Message("", 1, {}, b"a\0"), Message("", 11, {}, b"")]
    ids = [each.identified.id for each in bare]
    assert len({*ids}) == len(bare)
    turned = bare[3]._replace(attributes={"b": "c", "a": ""})
    assert turned.identified.id == ids[3]
    # By hand: each part with its length before it, in eight bytes.
    parts = [b"1", b"a", b"", b"b", b"c", b"a"]
    told = blake2b(b"".join(bytes(7) + bytes([len(each)]) + each for each in parts), digest_size=16)
    assert ids[3] == "derived-" + told.hexdigest()
    assert all(each._replace(id=id) == each.identified for each, id in zip(bare, ids, strict=True))


def test_messages_without_an_id_are_all_pulled(monkeypatch):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")  # which nobody asks
    source, received = Subscription("projects/test-project/subscriptions/one", 100), []
    for number in range(3):
        one = types.PubsubMessage(data=b"%d" % (number % 2), publish_time=at(PUBLISHED))
        received.append(types.ReceivedMessage.pb(types.ReceivedMessage(ack_id=f"a{number}", message=one)))
    source._arrive(received)
    taken = source._taken(10, 100)
    assert [each.data for each in taken] == [b"0", b"1"]  # the third is the first, delivered again
    assert source.outstanding == 2
    source._service.close()


def at(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


# JSON

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.text(st.characters(codec="utf-8")))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner), max_leaves=6)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(lambda text: text.strip())
SPACE = st.text(" \t\r\n", max_size=3)


@given(st.lists(st.tuples(TEXTS, VALUES, st.sampled_from([None, 1, "\t"]), SPACE, SPACE, st.booleans()), max_size=6))
def test_json_of_any_layout_says_what_python_reads(cases):
    messages = []
    for text, other, indent, before, behind, escaped in cases:
        written = json.dumps({"x": other, "text": text}, indent=indent, ensure_ascii=escaped)
        messages.append(message(f"{before}{written}{behind}"))
    made = rows(messages, {"keep_columns": ("text", "x")})
    for row, (text, other, *_) in zip(made, cases, strict=True):
        assert row["reject"] is None
        assert row["text"] == row["keep"]["text"] == text
        kept = row["keep"]["x"]
        assert kept == other if isinstance(other, str | None) else json.loads(kept) == other


@given(
    st.lists(st.binary(max_size=12) | st.sampled_from([b'{"text":"a"}', b'{"text":"', b'"}', b'{"text":"a"}{}', b"{"]))
)
def test_a_row_is_what_its_payload_alone_says(payloads):
    together = rows([message(data) for data in payloads])
    assert together == [row for data in payloads for row in rows([message(data)])]
    for row, data in zip(together, payloads, strict=True):
        try:
            alone = json.loads(data.decode())
        except ValueError:
            alone = None
        good = isinstance(alone, dict) and isinstance(alone.get("text"), str)
        assert (row["reject"] is None) == good
        assert good or row["reject"]["raw"] == data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "empty_text"),
        (" \r\n\t", "empty_text"),
        ("\ufeff", "empty_text"),
        ('{"text": ""}', "empty_text"),
        ('{"text": null}', "missing_text"),
        ("{}", "missing_text"),
        ('{"text": 5}', "wrong_type"),
        ('{"text": {"text": "nested"}}', "wrong_type"),
        ('[{"text": "in an array"}]', "invalid_json"),
        ('"text"', "invalid_json"),
        ('{"text": "a"}\n{"text": "b"}', "invalid_json"),
        ('{"text": "a", "n": NaN\n}', "invalid_json"),
        ('{"text": "a", "n": Infinity \r\n}', "invalid_json"),
        ('{"text": "a\nb"}', "invalid_json"),
        ('{"text": "a",}', "invalid_json"),
        ('{"text": "a", "text": "b"}', "duplicate_key"),
        ('{"text": "\\ud800"}', "lone_surrogate"),
        ('{"text": "\\u0000"}', "nul_byte"),
        (b'{"text": "\xff"}', "invalid_utf8"),
        ("text\ufffe".encode("utf-16"), "invalid_utf8"),
        (b'{"text": "' + b"a" * MAX_RECORD_BYTES + b'"}', "record_too_large"),
    ],
)
def test_what_is_no_row_keeps_its_bytes(data, reason):
    assert fault(data) == reason


def test_details_advise_nothing_about_files():
    (row,) = rows([message('[{"text": "a"},')])
    assert "file" not in row["reject"]["detail"].lower()


def test_a_mark_before_the_object_is_no_part_of_it():
    (row,) = rows([message('\ufeff{"text": "a"}')])
    assert row["text"] == "a"


def test_ten_megabytes():
    text = "wörter " * 1_300_000
    (row,) = rows([message(json.dumps({"text": text}))])
    assert row["text"] == text


def test_a_column_without_type_is_kept_as_it_is_written():
    read = {"keep_columns": ("n", "x", "o", "b", "s", "absent", "i:int64"), "id_column": "id"}
    data = '{"id": 12, "text": "a", "n": 1.50, "x": 1e3, "o": {"k": [1,\n 2]}, "b": true, "s": "5", "i": 5}'
    (row,) = rows([message(data)], read)
    kept = {name: row["keep"][name] for name in ("id", "n", "x", "o", "b", "s", "absent", "i")}
    assert kept == {
        "id": "12", "n": "1.50", "x": "1e3", "o": '{"k": [1,\n 2]}', "b": "true", "s": "5", "absent": None, "i": 5,
    }  # fmt: skip
    assert fault('{"text": "a", "i": "five"}', read) == "wrong_type"


def test_pairs():
    read = {"text_column": "a", "text_pair_column": "b"}
    (row,) = rows([message('{"a": "one", "b": "two"}')], read)
    assert (row["text"], row["text_pair"]) == ("one", "two")
    assert fault('{"a": "one"}', read | {}) == "missing_text"


# Texts


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"))))
def test_a_payload_is_its_text(texts):
    made = rows([message(text) for text in texts], message_format="text")
    for row, text in zip(made, texts, strict=True):
        if text.strip():
            assert row["reject"] is None and row["text"] == row["keep"]["text"] == text
        else:
            assert row["reject"]["reason"] == "empty_text" and row["text"] is None


def test_a_payload_that_is_no_text():
    assert fault(b"caf\xe9", message_format="text") == "invalid_utf8"
    good, bad = rows([message("good"), message(b"\xff")], message_format="text")
    assert good["text"] == "good" and bad["text"] is None


# Time


OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=OFFSETS),
    st.integers(0, 9),
    st.integers(0, 999),
    st.sampled_from("Tt "),
)
def test_rfc_3339_says_what_python_reads(time, digits, finer, between):
    written = time.strftime("%Y").zfill(4) + time.strftime(f"-%m-%d{between}%H:%M:%S")
    fraction = f"{time.microsecond:06}{finer:03}"[:digits]
    hours, minutes = divmod(abs(int(time.utcoffset().total_seconds())) // 60, 60)
    sign = "-" if time.utcoffset() < timedelta() else "+"
    kept = time.replace(microsecond=int(fraction[:6].ljust(6, "0")))
    expected = (kept - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert event_time(written + (f".{fraction}" if digits else "") + f"{sign}{hours:02}:{minutes:02}") == expected


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2026-11-20T10:00:00Z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20t10:00:00z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20 10:00:00-00:00", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20T10:00:00.5+05:30", datetime(2026, 11, 20, 4, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-11-20T10:59:59.999999999Z", datetime(2026, 11, 20, 10, 59, 59, 999_999, tzinfo=UTC)),
        ("2026-11-20T10:00:00.123456789123Z", datetime(2026, 11, 20, 10, 0, 0, 123_456, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60.25Z", datetime(2017, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)),
        ("2017-01-01T05:29:60+05:30", datetime(2017, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("2099-06-01T00:00:00Z", datetime(2099, 6, 1, tzinfo=UTC)),
        ("0", datetime(1970, 1, 1, tzinfo=UTC)),
        ("1800000000123", datetime(2027, 1, 15, 8, 0, 0, 123_000, tzinfo=UTC)),
        ("-1", datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
        ("-62135596800000", datetime(1, 1, 1, tzinfo=UTC)),
        ("253402300799999", datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
    ],
)
def test_times(written, time):
    (row,) = rows([message('{"text": "a"}', t=written)], timestamp_attribute="t")
    assert row["keep"]["event_time"] == time and row["keep"]["publish_time"] == at(PUBLISHED)
    assert at(row["position"]) == time and row["reject"] is None


@pytest.mark.parametrize(
    "written",
    [
        "", " ", "yesterday", "1800000000.5", "1.8e12", "+5", "٣", "0x10", "9" * 15, "-62135596800001",
        "253402300800000", "2026-11-20", "2026-11-20T10:00:00", "2026-11-20T10:00Z", "2026-11-20T10:00:00 Z",
        " 2026-11-20T10:00:00Z",
        "2026-11-20T10:00:00Z\n", "2026-11-20T10:00:00.Z", "2026-11-20T10:00:00,5Z", "2026-11-20T24:00:00Z",
        "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-20T10:60:00Z", "2026-11-20T10:00:61Z",
        "2026-11-20T10:00:60Z", "2016-12-30T23:59:60Z", "2026-11-20T10:00:00+0530", "2026-11-20T10:00:00+24:00",
        "2026-11-20T10:00:00+05:60", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z", "12026-11-20T10:00:00Z", "2026-W47-5T10:00:00Z", "20261120T100000Z",
    ],
)  # fmt: skip
def test_what_is_no_time_is_rejected_when_it_was_published(written):
    (row,) = rows([message('{"text": "a"}', t=written)], timestamp_attribute="t")
    assert row["reject"]["reason"] == "invalid_timestamp" and row["reject"]["raw"] == b'{"text": "a"}'
    assert row["position"] == PUBLISHED and row["keep"]["event_time"] == at(PUBLISHED)


def test_without_the_attribute_of_its_time_a_message_is_rejected():
    assert fault('{"text": "a"}', timestamp_attribute="t") == "invalid_timestamp"


def test_without_such_an_attribute_a_message_is_of_when_it_was_published():
    (row,) = rows([message('{"text": "a"}')])
    assert row["keep"]["event_time"] == at(PUBLISHED)


# What messages say of themselves


def test_attributes_and_keys_stand_in_rejected_rows_too():
    read, source = {"id_column": "id"}, {"attributes": ("lang", "absent"), "id_attribute": "key"}
    good, bad, keyless, empty = rows(
        [
            message('{"id": "x", "text": "a"}', lang="en", key="k1"),
            message("nonsense", lang="de", key="k2"),
            message('{"id": "y", "text": "b"}'),
            message('{"id": "z", "text": "c"}', key=""),
        ],
        read,
        **source,
    )
    assert [*good["keep"]] == [
        "id", "text", "lang", "absent", "message_id", "event_time", "publish_time", "message_key",
    ]  # fmt: skip
    assert good["keep"]["lang"] == "en" and good["keep"]["message_key"] == "k1" and good["keep"]["absent"] is None
    assert bad["keep"]["lang"] == "de" and bad["keep"]["message_key"] == "k2" and bad["keep"]["id"] is None
    assert keyless["keep"]["message_key"] is None and empty["keep"]["message_key"] is None


def test_repeated_messages_are_rows_each():
    twice = [message('{"text": "a"}')] * 2
    assert len({str(row) for row in rows(twice)}) == 1 and len(rows(twice)) == 2


def test_names_that_are_taken():
    read = {"keep_columns": ("message_ID", "Lang", "input_lang", "publish_time:int64")}
    names = layout(read, attributes=("lang", "LANG", "event_time"), timestamp_attribute="event_time").keep.names
    assert names[-3:] == ["message_id", "event_time", "publish_time"]
    assert len({name.casefold() for name in names}) == len(names) == 10
    (row,) = rows(
        [
            message(
                '{"text": "a", "message_ID": 1, "Lang": 2, "input_lang": 3, "publish_time": 4}',
                lang="5",
                event_time="6",
            )
        ],
        read,
        attributes=("lang", "LANG", "event_time"),
        timestamp_attribute="event_time",
    )
    keep = row["keep"]
    assert keep["input_message_ID"] == "1" and keep["lang"] == "5" and keep["input_event_time"] == "6"
    assert keep["input_publish_time"] == 4 and keep["event_time"] == at(6000)
    assert {"2", "3"} <= set(map(str, keep.values()))


@pytest.mark.parametrize("attribute", [None, "key"])
def test_a_column_that_is_called_as_the_key_of_others_is_renamed(attribute):
    """Another job into the same folder may have keys."""
    names = layout({"keep_columns": ("Message_Key",)}, id_attribute=attribute).keep.names
    assert names[0] == "input_Message_Key" and names[1:4] == ["message_id", "event_time", "publish_time"]


def test_a_batch_is_marked_and_has_one_source():
    made = to_record([message('{"text": "a"}'), message("x")], layout())
    mark = Mark.of(made)
    assert (mark.units, mark.rows, mark.bytes) == (0, 2, 14)
    assert made["source"].to_pylist() == ["pubsub"] * 2
    assert Mark.of(to_record([message('{"text": "a"}'), message("x")], layout())) == mark


def test_no_messages():
    made = to_record([], layout(attributes=("a",), id_attribute="k"))
    assert made.num_rows == 0 and made.schema.equals(layout(attributes=("a",), id_attribute="k").schema)
    assert to_record([], layout(message_format="text")).num_rows == 0


def test_nothing_but_what_messages_say_of_themselves_is_kept():
    (row,) = rows([message('{"text": "a"}')], {"keep_columns": ()})
    assert [*row["keep"]] == ["message_id", "event_time", "publish_time"] and row["text"] == "a"


@pytest.mark.parametrize(
    ("read", "source", "says"),
    [
        ({"keep_columns": ("*",)}, {}, "messages do not say beforehand"),
        ({"encoding": "latin-1"}, {}, "--encoding=latin-1"),
        ({"keep_columns": ("text:int64",)}, {}, "which is a string"),
        ({"id_column": "id"}, {"message_format": "text"}, "no column 'id'"),
        ({"text_pair_column": "b"}, {"message_format": "text"}, "no column 'b'"),
    ],
)
def test_what_messages_do_not_have_is_refused(read, source, says):
    with pytest.raises(ValueError, match=says):
        layout(read, **source)


def test_types_of_what_is_kept():
    kept = layout({"keep_columns": ("a", "b:bool", "c:float64")}, attributes=("d",)).keep
    assert kept.field("a").type == kept.field("d").type == pa.string()
    assert (kept.field("b").type, kept.field("c").type) == (pa.bool_(), pa.float64())
    assert kept.field("event_time").type == pa.timestamp("us", "UTC")


def test_a_message_has_a_time_of_its_own_whatever_is_in_it():
    assert own_time(message(b"{", t="1000"), "t") == 1_000_000
    assert own_time(message(b"", t="1000"), None) == PUBLISHED
    assert own_time(message(b"{"), "t") is None and own_time(message(b"{", t="noon"), "t") is None
