"""Messages of a stream → RECORD, row for row, by the rules of the reader: a payload is what a line of a file is.

Knows what a message is and when it was, not where it comes from.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from seqcls_beam.config import ReadOptions
from seqcls_beam.config.stream import SourceOptions
from seqcls_beam.reading.formats.blocks import MAX_RECORD_BYTES, Block, to_columns
from seqcls_beam.reading.formats.columns import Layout, invalid_rows, nulled, pin, requested, shown, text_columns
from seqcls_beam.reading.formats.encodings import UTF8, of
from seqcls_beam.reading.formats.jsonl import Parser
from seqcls_beam.reading.formats.lines import Lines, too_large
from seqcls_beam.schema import ATTRIBUTES, MESSAGE, MESSAGE_KEY, PAYLOAD, PUBSUB, Mark, record, renamed

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = -62_135_596_800_000, 253_402_300_799_999  # ms of the years 1 to 9999, which calendars have
_MILLISECONDS = re.compile(r"-?[0-9]{1,15}")
_HOUR_MINUTE = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_RFC_3339 = re.compile(
    rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})[Tt ]({_HOUR_MINUTE}):([0-5][0-9]|60)(?:\.([0-9]+))?([Zz]|[+-]{_HOUR_MINUTE})"
)

Rejects = dict[int, tuple[str, str]]
"""Row → (reason, detail)."""


DERIVED = "derived-"
"""Begins an id that is ours; Pub/Sub's are numbers."""


class Message(NamedTuple):
    """One message of Pub/Sub."""

    id: str
    published: int  # microseconds since 1970, UTC
    attributes: Mapping[str, str]
    data: bytes

    @property
    def identified(self) -> "Message":
        """Itself; where it came without an id, with one that is a digest of all else in it.

        So a delivery that is repeated is the same message, and so are two of the same microsecond, attributes and
        payload, which nothing tells apart.
        """
        if self.id:
            return self
        said = [text for pair in sorted(self.attributes.items()) for text in pair]
        parts = [*(each.encode() for each in (str(self.published), *said)), self.data]
        digest = blake2b(digest_size=16)
        for each in parts:  # with its length, or "a", "bc" would be "ab", "c"
            digest.update(len(each).to_bytes(8, "big") + each)
        return self._replace(id=f"{DERIVED}{digest.hexdigest()}")


@dataclass(frozen=True)
class MessageLayout:
    """What the rows of a stream look like."""

    payload: Layout  # what is read of a payload
    source: SourceOptions
    keep: pa.Schema  # all that is kept: columns of the payload, then attributes, then of the message itself
    attributed: bool = False  # rows have ATTRIBUTES

    @property
    def schema(self) -> pa.Schema:
        """RECORD."""
        schema = record(self.keep, self.payload.options.text_pair_column is not None).append(PAYLOAD)
        return schema.append(ATTRIBUTES) if self.attributed else schema


def message_layout(read: ReadOptions, source: SourceOptions, attributed: bool = False) -> MessageLayout:
    """Options → MessageLayout. A column to keep without a type is a string: its value as it is written.

    A column or attribute that is named like one of a message itself, or like another one, is renamed as by
    `schema.renamed`; of equal ones that of the attribute stays. Raises `ValueError` for what messages do not have.
    """
    if of(read.encoding) != UTF8:
        raise ValueError(f"--encoding={read.encoding}: the payload of a message is read as UTF-8")
    texts = text_columns(read)
    needed = [*([read.id_column] if read.id_column is not None else []), *texts]
    requests = needed if read.keep_columns is None else read.keep_columns
    if "*" in requests:
        raise ValueError("--keep_columns='*': messages do not say beforehand which columns they have; name some")
    if read.id_column is not None and read.id_column not in (requested(each)[0] for each in requests):
        requests = (read.id_column, *requests)
    typed = tuple(each if requested(each)[1] or each in texts else f"{each}:string" for each in requests)
    layout = pin(replace(read, keep_columns=typed), "jsonl", None)
    if source.message_format == "text":
        others = [name for name in layout.names if name != read.text_column]
        if others:
            raise ValueError(
                f"no column {shown(others[0])}: with --message_format=text a message is its text, under the name "
                f"{shown(read.text_column)}"
            )
    own = [*MESSAGE, *([MESSAGE_KEY] if source.id_attribute is not None else [])]
    attributes = [pa.field(name, pa.string()) for name in source.attributes or ()]
    named = renamed([*attributes, *layout.keep], [each.name for each in [*MESSAGE, MESSAGE_KEY]])
    kept = pa.schema([*named[len(attributes) :], *named[: len(attributes)], *own])
    return MessageLayout(layout, source, kept, attributed)


def to_record(messages: Sequence[Message], layout: MessageLayout) -> pa.RecordBatch:
    """Messages → RECORD, row for row, with a `Mark` of no unit; `position` is the event time in microseconds.

    A message that is no row, or whose time cannot be told, is rejected with its payload, at the time when it was
    published. A batch holds less than 2 GiB of payloads. The mark's place is a digest of the ids, for what is drawn by
    lot.
    """
    payloads = [message.data.removeprefix(UTF8.mark) for message in messages]
    rejects = _unreadable(payloads)
    times = _times(messages, layout.source.timestamp_attribute, rejects)
    read = _texts if layout.source.message_format == "text" else _objects
    found = read([b"{}" if row in rejects else data for row, data in enumerate(payloads)], layout.payload)
    block = replace(
        found,
        positions=np.array(times, np.int64),
        rejects=found.rejects | rejects,
        raw=lambda row: messages[row].data,
    )
    columns = to_columns(block, layout.payload)
    children = [*columns["keep"].flatten(), *_of_messages(messages, times, layout.source)]
    keep = pa.StructArray.from_arrays(children, fields=list(layout.keep))
    columns = columns.set_column(columns.schema.get_field_index("keep"), "keep", keep)
    zeros = pa.array(np.zeros(len(messages), np.int32))
    source = pa.DictionaryArray.from_arrays(zeros, pa.array([PUBSUB], pa.string()))
    place = blake2b("\n".join([message.id for message in messages]).encode(), digest_size=8).digest()
    mark = Mark(
        unit=int.from_bytes(place[:4], "big") >> 1,
        units=0,
        sequence=int.from_bytes(place[4:], "big") >> 1,
        rows=len(messages),
        bytes=sum([len(message.data) for message in messages]),
    )
    whole = [pa.array([message.data for message in messages], PAYLOAD.type)]
    if layout.attributed:
        whole.append(pa.array([[*message.attributes.items()] for message in messages], ATTRIBUTES.type))
    return mark.on(pa.RecordBatch.from_arrays([source, *columns.columns, *whole], schema=layout.schema))


def _unreadable(payloads: list[bytes]) -> Rejects:
    """Payloads of which nothing is read, whatever their format."""
    rejects = {}
    for row, data in enumerate(payloads):
        if not data:
            rejects[row] = ("empty_text", "the payload is empty")
        elif data.isspace():
            rejects[row] = ("empty_text", "the payload is white space")
        elif len(data) > MAX_RECORD_BYTES:
            rejects[row] = ("record_too_large", too_large(len(data)))
    return rejects


def _times(messages: Sequence[Message], attribute: str | None, rejects: Rejects) -> list[int]:
    """Event times in microseconds; of a row that has none, which is rejected, when it was published."""
    if attribute is None:
        return [message.published for message in messages]
    times = []
    for row, message in enumerate(messages):
        time = own_time(message, attribute)
        if time is None:
            written = message.attributes.get(attribute)
            what = "is missing" if written is None else f"is neither RFC 3339 nor milliseconds: {shown(written)}"
            rejects.setdefault(row, ("invalid_timestamp", f"the attribute {shown(attribute)} {what}"))
        times.append(message.published if time is None else time)
    return times


def own_time(message: Message, attribute: str | None) -> int | None:
    """When the event was, in microseconds since 1970: as the attribute says, or by publishing where none is to say it.

    None where the attribute is missing or no time.
    """
    if attribute is None:
        return message.published
    written = message.attributes.get(attribute)
    return None if written is None else event_time(written)


def event_time(written: str) -> int | None:
    """RFC 3339, or whole milliseconds since 1970 → microseconds since 1970, of the years 1 to 9999; None: no such time.

    What is finer than a microsecond is cut off: a time never falls into the window behind its own. A leap second (RFC
    3339 § 5.7: 23:59:60 UTC at the end of a month) is the first second of the next day, as POSIX counts.
    """
    if _MILLISECONDS.fullmatch(written):
        milliseconds = int(written)
        return milliseconds * 1000 if _FIRST <= milliseconds <= _LAST else None
    parts = _RFC_3339.fullmatch(written)
    if parts is None:
        return None
    date, minute, second, fraction, offset = parts.groups()
    leap = second == "60"
    try:
        made = datetime.fromisoformat(f"{date}T{minute}:{'59' if leap else second}{offset.upper()}")
        made = made.astimezone(UTC) + timedelta(seconds=leap)
    except (ValueError, OverflowError):
        return None
    if leap and (made.day, made.hour, made.minute) != (1, 0, 0):
        return None
    return (made - _EPOCH) // timedelta(microseconds=1) + int((fraction or "")[:6].ljust(6, "0"))


def _objects(payloads: list[bytes], layout: Layout) -> Block:
    """JSON objects, each as if it were a line, though it may have line ends in it."""
    pasts = np.cumsum([len(data) + 1 for data in payloads], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), pasts])[:-1]
    data = b"\n".join([*payloads, b""])
    lines = Lines(data, starts, pasts - 1, data, starts, pasts - 1, 0, 0)
    return Parser(layout, cured=False).block(lines)


def _texts(payloads: list[bytes], layout: Layout) -> Block:
    """Payloads that are texts."""
    bad = invalid_rows(payloads)
    values = pa.array(payloads, pa.binary())
    values = (nulled(values, bad) if bad else values).cast(pa.string())
    rejects = dict.fromkeys(bad, ("invalid_utf8", "the payload is not UTF-8"))
    positions = np.zeros(len(payloads), np.int64)
    return Block(positions, [values], [values for _ in layout.keep], rejects, payloads.__getitem__, 0)


def _of_messages(messages: Sequence[Message], times: list[int], source: SourceOptions) -> Iterable[pa.Array]:
    """What is kept of messages beside their payloads: attributes, MESSAGE and MESSAGE_KEY."""
    for name in source.attributes or ():
        yield pa.array([message.attributes.get(name) for message in messages], pa.string())
    id, event, published = MESSAGE
    yield pa.array([message.id for message in messages], id.type)
    yield pa.array(times, pa.int64()).cast(event.type)
    yield pa.array([message.published for message in messages], pa.int64()).cast(published.type)
    if source.id_attribute is not None:
        # An empty key would make one message of all that have it.
        yield pa.array([message.attributes.get(source.id_attribute) or None for message in messages], MESSAGE_KEY.type)
