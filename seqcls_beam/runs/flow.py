"""A stream in this process: how much is taken at a time, how far event time is, what was written, whether to stop.

What the steps of its pipelines tell, and the launcher asks, while pipelines come and go. On a runner whose workers are
elsewhere nobody asks; there the runner's own counters tell.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa

from seqcls_beam.runs.sealing import Sealed

SKEW = 60_000_000
"""Microseconds that an event may be dated after its publishing, by a clock that is ahead; one that is more is wrong."""
MAX_BYTES = 32 << 20
"""Of payload in a batch."""
_FIRST_ROWS = 32
_GROWTH = 4
_RECENT = 8


class Pace:
    """How many messages make a batch: as many as the steps behind did lately in the seconds that they may take.

    What a batch costs whatever is in it, its pieces and its bundle, is taken from these seconds, and the model has the
    rest; but as much as that cost at least, or where the seconds are few nearly all time would go into writing pieces.
    Rows and payload bytes are both measured, over the last 8 batches, and the one that is used up first ends the batch:
    bytes stand for tokens, which nobody knows before the texts are tokenised. The first batch has 32 rows, and none has
    more than four times those of the largest of the last 8, so that one wrong measurement, or the first texts through a
    model that was just loaded, makes no batch that takes minutes.

    `worked` says how many seconds the tokenizer and the model have taken in this process.
    """

    def __init__(self, worked: Callable[[], float]) -> None:
        self._worked = worked
        self._done: deque[tuple[int, int, float, float]] = deque(maxlen=_RECENT)
        self._under_way: tuple[int, int, float, float] | None = None

    def begin(self, rows: int, size: int) -> None:
        """A batch goes to the steps behind."""
        self._under_way = (rows, size, time.monotonic(), self._worked())

    def end(self) -> None:
        """It is through, if one was under way: whoever notices first says it."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            rows, size, begun, before = under_way
            self._done.append((rows, size, time.monotonic() - begun, max(self._worked() - before, 1e-6)))

    def enough(self, seconds: float, batch_rows: int) -> tuple[int, int]:
        """(rows, payload bytes) that a batch may have to be through in `seconds`; at least 1 each."""
        if not self._done:
            return min(_FIRST_ROWS, batch_rows), MAX_BYTES
        rows, size, took, worked = (sum(column) for column in zip(*self._done, strict=True))
        beside = max(took - worked, 0.0) / len(self._done)
        share = max(seconds - beside, beside) / worked
        most = _GROWTH * max(rows for rows, *_ in self._done)
        return max(1, min(batch_rows, most, int(rows * share))), max(1, min(MAX_BYTES, int(size * share)))


class Flow:
    """What is known of one stream, by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[int, int] = {}
        self._paces: dict[int, Pace] = {}
        self.stopping = threading.Event()  # pull no more
        self.worked = 0.0  # seconds of the tokenizer and the model
        self.rows = self.rejected = 0  # written, as often as they were
        self.open: dict[str, float] = {}  # windows that are not sealed since rows were written → when they were
        self.sealed = self.amended = self.duplicates = 0  # versions published, of them amendments; rows left out

    def pace(self, puller: int) -> Pace:
        """That of a puller, over all its pipelines."""
        with self._lock:
            return self._paces.setdefault(puller, Pace(lambda: self.worked))

    def pulled(self, puller: int, events: pa.Array, published: pa.Array) -> int | None:
        """The event time of a puller after messages with these times, in microseconds since 1970.

        It is the greatest seen, and of a message that is dated after its publishing the time of that; one that is dated
        more than a minute after it says nothing. None where none said anything yet.
        """
        event, publish = (np.asarray(each.cast(pa.int64())) for each in (events, published))
        known = np.minimum(event, publish)[event <= publish + SKEW]
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

    def written(self, pieces: Iterable[tuple[str, int, int]], worked: float) -> None:
        """Pieces of a batch are durable, (window, rows, rejected) each; tokenizer and model took `worked` seconds."""
        with self._lock:
            self.worked += worked
            for window, rows, rejected in pieces:
                self.rows += rows
                self.rejected += rejected
                self.open[window] = time.monotonic()

    def published(self, sealed: Sealed, since: float) -> None:
        """A window was sealed, with all rows that were written before `since`; later ones keep it open."""
        with self._lock:
            if self.open.get(sealed.window, since) < since:
                del self.open[sealed.window]
            self.duplicates += sealed.duplicates
            if sealed.version is not None:
                self.sealed += 1
                self.amended += sealed.amended > 0


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
