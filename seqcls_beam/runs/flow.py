"""A stream in this process: how much is taken at a time, how far event time is, what was written, whether to stop.

What the steps of its pipelines tell, and the launcher asks, while pipelines come and go. On a runner whose workers are
elsewhere nobody asks; there the runner's own counters tell.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.runs.sealing import Sealed

SKEW = 60_000_000
"""Microseconds that an event may be dated after its publishing, by a clock that is ahead; one that is more is wrong."""
MAX_BYTES = 32 << 20
"""Of payload in a batch."""
_FIRST_ROWS = 32
_GROWTH = 4
_RECENT = 8
_DAY = 86_400_000_000
_TEN_YEARS = 3_653 * _DAY

_log = logging.getLogger(__name__)


class Took(NamedTuple):
    """What a batch took to become durable."""

    rows: int
    bytes: int  # of payload
    worked: float  # seconds of the tokenizer and the model
    beside: float  # seconds of writing its pieces


class Pace:
    """How many messages make a batch: as many as the steps behind did lately in the seconds that they may take.

    What a batch costs whatever is in it, its pieces, is taken from these seconds, and the model has the rest; but as
    much as that cost at least, or where the seconds are few nearly all time would go into writing pieces. Rows and
    payload bytes are both measured, over the last 8 batches, and the one that is used up first ends the batch: bytes
    stand for tokens, which nobody knows before the texts are tokenised. The first batch has 32 rows, and none has more
    than four times those of the largest of the last 8, so that one wrong measurement, or the first texts through a
    model that was just loaded, makes no batch that takes minutes.

    Each batch brings what it took itself, however many pullers have batches in one bundle.
    """

    def __init__(self) -> None:
        self._done: deque[Took] = deque(maxlen=_RECENT)

    def done(self, took: Took) -> None:
        """A batch is durable."""
        self._done.append(took)

    def enough(self, seconds: float, batch_rows: int) -> tuple[int, int]:
        """(rows, payload bytes) that a batch may have to be through in `seconds`; at least 1 each."""
        done = [*self._done]
        if not done:
            return min(_FIRST_ROWS, batch_rows), MAX_BYTES
        rows, size, worked, beside = (sum(column) for column in zip(*done, strict=True))
        beside /= len(done)
        share = max(seconds - beside, beside) / max(worked, 1e-6)
        most = _GROWTH * max(took.rows for took in done)
        return max(1, min(batch_rows, most, int(rows * share))), max(1, min(MAX_BYTES, int(size * share)))


class Flow:
    """What is known of one stream, by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[int, int] = {}
        self._new: set[str] = set()  # windows that rows were written of since the last look began
        self._warned = False
        self.pace = Pace()
        self.stopping = threading.Event()  # pull no more
        self.rows = self.rejected = 0  # written, as often as they were
        self.open: set[str] = set()  # windows that have pieces, as far as is known
        self.sealed = self.amendments = self.duplicates = 0  # first versions, later ones; rows left out
        self.passed = 0  # rows of batches of which topics were told what they are to be told
        self.sent = self.dead_lettered = self.too_large = 0  # messages to topics; what is in the folder alone

    def pulled(self, puller: int, events: pa.Array, published: pa.Array) -> int | None:
        """The event time of a puller after messages with these times, in microseconds since 1970.

        It is the greatest seen, and of a message that is dated after its publishing the time of that; one that is dated
        more than a minute after it says nothing. None where none said anything yet.
        """
        event, publish = (np.asarray(each.cast(pa.int64())) for each in (events, published))
        known = np.minimum(event, publish)[event <= publish + SKEW]
        self._warn(event, publish)
        with self._lock:
            if len(known):
                latest = int(known.max())
                self._seen[puller] = max(self._seen.get(puller, latest), latest)
            return self._seen.get(puller)

    @property
    def watermark(self) -> int | None:
        """The least event time of the pullers that have seen any, in microseconds since 1970."""
        with self._lock:
            return min(self._seen.values(), default=None)

    def written(self, pieces: Iterable[tuple[str, int, int]], took: Took) -> None:
        """Pieces of a batch are durable, (window, rows, rejected) each."""
        self.pace.done(took)
        with self._lock:
            for window, rows, rejected in pieces:
                self.rows += rows
                self.rejected += rejected
                self.open.add(window)
                self._new.add(window)

    def told(self, rows: int, sent: int, dead_lettered: int, too_large: int) -> None:
        """Topics have what they get of a batch of so many rows."""
        with self._lock:
            self.passed += rows
            self.sent += sent
            self.dead_lettered += dead_lettered
            self.too_large += too_large

    def looking(self) -> None:
        """Windows that are over are looked for, and sealed; `published` and `left` say what comes of it."""
        with self._lock:
            self._new = set()

    def published(self, sealed: Sealed) -> None:
        """A window was sealed; rows that were written since `looking` keep it open."""
        with self._lock:
            self.open -= {sealed.window} - self._new
            self.duplicates += sealed.duplicates
            if sealed.version is not None:
                self.sealed += sealed.amended == 0
                self.amendments += sealed.amended > 0

    def left(self, windows: Iterable[str]) -> None:
        """These have pieces, as the folder says after a look, whoever wrote or sealed them."""
        with self._lock:
            self.open = {*windows, *self._new}

    def _warn(self, events: npt.NDArray[Any], published: npt.NDArray[Any]) -> None:
        """Once, where event times are years from their publishing, and were not if they were meant as seconds."""
        if self._warned:
            return
        # As float64: a thousand times a time is no int64 any more.
        as_seconds = np.abs(events * 1000.0 - published) < _DAY
        found = events[as_seconds & (np.abs(published - events) > _TEN_YEARS)]
        if len(found):
            self._warned = True
            number = int(found[0]) // 1000
            _log.warning(
                "an event time of %d is read as milliseconds since 1970, years from when the message was published; it "
                "looks like seconds, which the timestamp attribute does not take: RFC 3339 or milliseconds",
                number,
            )


_flows: dict[str, Flow] = {}
_lock = threading.Lock()


def flow_of(subscription: str) -> Flow:
    """The flow of a subscription in this process."""
    with _lock:
        return _flows.setdefault(subscription, Flow())


def forget(subscription: str) -> None:
    """A job is over; another one in this process begins anew."""
    with _lock:
        _flows.pop(subscription, None)
