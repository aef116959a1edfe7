"""Messages from the source of Dataflow's own, gathered in Beam's state into batches of a size that the model likes.

    ReadFromPubSub ─ Pack ┄ (stored: acknowledged) ┄ Group ─ Batch

The source hands over message by message. What a bundle brings is packed before it travels, so that no message travels
alone. Packs of one key meet in a group, and a group becomes one batch.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders.coders import TupleCoder, VarIntCoder
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow, TimestampedValue
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from seqcls_beam.config.stream import SourceOptions
from seqcls_beam.reading.messages import Message, MessageLayout, to_record
from seqcls_beam.reading.packs import pack, unpack, weight
from seqcls_beam.runs.flow import MAX_BYTES
from seqcls_beam.transforms.coder import RecordBatchCoder

Batches = PCollection[pa.RecordBatch]

# A running job is updated only where names and coders of its state stay as they are.
_DUE = TimerSpec("due", TimeDomain.REAL_TIME)
_END = TimerSpec("end", TimeDomain.WATERMARK)
_PACKS = beam.DoFn.StateParam(BagStateSpec("packs", RecordBatchCoder()))
_HELD = beam.DoFn.StateParam(ReadModifyWriteStateSpec("held", TupleCoder((VarIntCoder(), VarIntCoder()))))
"""Rows and bytes of the packs."""
_DUE_TIMER = beam.DoFn.TimerParam(_DUE)
_END_TIMER = beam.DoFn.TimerParam(_END)


@dataclass
class ReadMessages(beam.PTransform[PBegin, Batches]):
    """A subscription → the RECORD batches of PullMessages, by the source of Dataflow's own.

    Dataflow acknowledges a message when it has stored the pack that it is in, and keeps it itself from there on.
    Messages wait for others for half of `max_latency`, after which a batch goes on; it also does with `batch_rows` rows
    or 32 MiB of payload and attributes, and where a job is drained.

    Their event time is found by the layout and not by the source: a message whose time is missing or none is a
    rejected row then, and Dataflow needs no second subscription to follow the times of those it has not read. Its
    watermark is of publish time so; no step here waits for it. No `id_label` is passed: Dataflow drops what Pub/Sub
    delivers again by Pub/Sub's id, and which of two publishings with one key stays is for sealing to decide. A source
    that dropped by key would keep whichever came first, and lose a mended message that follows a malformed one.
    """

    source: SourceOptions
    layout: MessageLayout
    batch_rows: int = 8192

    def expand(self, root: PBegin) -> Batches:
        """Read, pack, gather, and read what is gathered."""
        # Here and not above: Beam's module imports Google's client, which takes seconds.
        from apache_beam.io.gcp.pubsub import ReadFromPubSub

        seconds = self.source.max_latency / 2
        keyed = beam.typehints.Tuple[bytes, pa.RecordBatch]
        return (
            root
            | "Read" >> ReadFromPubSub(subscription=self.source.subscription, with_attributes=True)
            | "Pack" >> beam.ParDo(_Pack(self.batch_rows, seconds)).with_output_types(keyed)
            | "Group" >> beam.ParDo(_Group(self.batch_rows, seconds)).with_output_types(pa.RecordBatch)
            | "Batch" >> beam.Map(recorded, self.layout).with_output_types(pa.RecordBatch)
        )


class _Pack(beam.DoFn):
    """Messages of a bundle → (key, PACK), of `rows` messages or 32 MiB at most, or of one message."""

    def __init__(self, rows: int, seconds: float) -> None:
        self._rows, self._seconds = rows, seconds
        self._held: list[Message] = []
        self._bytes, self._first = 0, 0

    def start_bundle(self) -> None:
        """What a bundle that failed has left is not of this one."""
        self._held, self._bytes = [], 0

    def process(self, message: Any, timestamp: Any = beam.DoFn.TimestampParam) -> Iterator[TimestampedValue]:
        """Hold it; yield those before it where they are enough."""
        published, micros = message.publish_time, int(timestamp.micros)
        one = Message(
            message.message_id or "",
            micros if published is None else int(Timestamp.from_utc_datetime(published).micros),
            message.attributes or {},
            message.data or b"",
        ).identified
        size = weight(one)
        if self._held and (len(self._held) >= self._rows or self._bytes + size > MAX_BYTES):
            first = Timestamp(micros=self._first)
            yield TimestampedValue(self._packed(), first)
        self._first = min(self._first, micros) if self._held else micros
        self._held.append(one)
        self._bytes += size

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """What is left."""
        if self._held:
            first = Timestamp(micros=self._first)
            yield WindowedValue(self._packed(), first, (GlobalWindow(),))

    def _packed(self) -> tuple[bytes, pa.RecordBatch]:
        name, packed = self._held[0].id, pack(self._held)
        self._held, self._bytes = [], 0
        return _KEYS.key(name, packed, self._rows, self._seconds), packed


class _Keys:
    """Under which key a process packs: that of one group until it is full or goes on, then of another one.

    A key is the id of the first message under it, so no two processes share one. One that stayed would be a process's
    for ever, on one worker, whose model then holds up the next group of it, while others may have none; one for every
    pack would gather nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key, self._until = b"", 0.0
        self._rows, self._bytes = 0, 0

    def key(self, name: str, packed: pa.RecordBatch, rows: int, seconds: float) -> bytes:
        """That of the group, of so many rows at most and so long, that a pack whose first message has this id joins."""
        with self._lock:
            self._rows, self._bytes = self._rows + packed.num_rows, self._bytes + packed.nbytes
            if self._rows > rows or self._bytes > MAX_BYTES or now() >= self._until:
                self._key, self._until = name.encode(), now() + seconds
                self._rows, self._bytes = packed.num_rows, packed.nbytes
            return self._key


_KEYS = _Keys()


class _Group(beam.DoFn):
    """(key, PACK) → PACK of a whole group: of `rows` messages, of 32 MiB, or as old as `seconds`.

    It has no more, since no more is packed under one key. State is empty and both timers are cleared when it has gone
    on, so nothing is left of a key.
    """

    def __init__(self, rows: int, seconds: float) -> None:
        self._rows, self._seconds = rows, seconds

    def process(
        self,
        element: tuple[bytes, pa.RecordBatch],
        window: Any = beam.DoFn.WindowParam,
        packs: Any = _PACKS,
        held: Any = _HELD,
        due: Any = _DUE_TIMER,
        end: Any = _END_TIMER,
    ) -> Iterator[pa.RecordBatch]:
        """Gather; yield what is enough."""
        packed = element[1]
        rows, size = held.read() or (0, 0)
        if rows == 0:
            due.set(Timestamp.of(now() + self._seconds))
            end.set(window.end)  # a job that is drained ends event time, and waits for no clock
        packs.add(packed)
        rows, size = rows + packed.num_rows, size + packed.nbytes
        held.write((rows, size))
        if rows >= self._rows or size >= MAX_BYTES:
            yield from _whole(packs, held, due, end)

    @on_timer(_DUE)
    def waited(
        self,
        packs: Any = _PACKS,
        held: Any = _HELD,
        due: Any = _DUE_TIMER,
        end: Any = _END_TIMER,
    ) -> Iterator[pa.RecordBatch]:
        """The oldest has waited long enough."""
        yield from _whole(packs, held, due, end)

    @on_timer(_END)
    def ended(
        self,
        packs: Any = _PACKS,
        held: Any = _HELD,
        due: Any = _DUE_TIMER,
        end: Any = _END_TIMER,
    ) -> Iterator[pa.RecordBatch]:
        """Nothing more comes."""
        yield from _whole(packs, held, due, end)


def now() -> float:
    """The clock that Beam's timers of processing time go by, seconds since 1970."""
    return time.time()


def recorded(packed: pa.RecordBatch, layout: MessageLayout) -> pa.RecordBatch:
    """PACK → RECORD."""
    return to_record(unpack(packed), layout)


def _whole(packs: Any, held: Any, due: Any, end: Any) -> Iterator[pa.RecordBatch]:
    """A group as one batch, and nothing of it stays. A timer that was late finds none."""
    found = list(packs.read())
    for each in (packs, held, due, end):
        each.clear()
    if found:
        yield pa.concat_batches(found)
