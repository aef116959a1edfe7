"""A subscription of Pub/Sub as this process has it: pulled ahead, leases extended, acknowledged, given back.

What is pulled is *held* until its acknowledgement is sent: it waits for `take`, then is worked on, then is to be
acknowledged. Three threads do what must go on meanwhile: one pulls, one extends the leases of all that is held, one
acknowledges. Pub/Sub delivers at least once; while this process lives it hands each message on once.

Messages come by the generated client's Pull, a thousand at a time, not by the streaming pull of `subscribe`, which
costs several times the processor time a message.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from seqcls_beam.reading.formats.pieces import InputFailed
from seqcls_beam.reading.messages import Message
from seqcls_beam.reading.pubsub import MAX_IDS, Service

MAX_PULL = 1000  # messages of one answer, as the service allows
MAX_HELD_BYTES = 256 * 2**20  # payloads that are held at once …
PULL_BYTES = 32 * 2**20  # … and about so many come in one answer
TYPICAL_BYTES = 2**20  # of a payload, as long as none has come
GIVING_BACK = 2.0  # seconds that a request may take
MAX_LEASE = 3600.0  # seconds that a message is worked on; a bundle that takes longer has failed without a word

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    """A message that is held, without what is in it."""

    ack_id: str
    published: int
    size: int
    taken: float | None = None  # when, by the monotonic clock
    done: bool = False  # it is to be acknowledged


class Subscription:
    """The process's one client of a subscription; its methods may be called by any thread.

    Making one raises as `Service.connect`.
    """

    def __init__(self, name: str, max_outstanding: int) -> None:
        self.name = name
        self._max_outstanding = max_outstanding
        self._changed = threading.Condition()  # guards what follows
        self._held: dict[str, _Held] = {}
        self._bytes = 0  # of all that is held
        self._waiting: deque[tuple[Message, float]] = deque()  # what was not taken yet, and since when it is here
        self._waiting_bytes = 0
        self._acks: dict[str, None] = {}  # ids that are to be acknowledged, in order
        self._settled: dict[str, None] = {}  # the last ones that were
        self._typical = TYPICAL_BYTES
        self._pulled = self._acknowledged = 0
        self._stopped = False
        self._ended = threading.Event()
        self._empty_since = time.monotonic()  # of what is held, as answers have it
        self._silence = 0.0
        self._service = Service(name, self._end)
        self._service.connect()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to pull, unless it has begun."""
        if self._threads:
            return
        for target in (self._pull, self._acknowledge, self._extend):
            thread = threading.Thread(target=self._guarded, args=(target,), daemon=True)
            self._threads.append(thread)
            thread.start()

    @property
    def outstanding(self) -> int:
        """Messages that are held."""
        return len(self._held)

    @property
    def pulled(self) -> int:
        """Messages that came, each counted once as long as it is held."""
        return self._pulled

    @property
    def acknowledged(self) -> int:
        """Messages whose acknowledgement the service has."""
        return self._acknowledged

    @property
    def silence(self) -> float:
        """Seconds up to the last answered pull in which no message came, nothing was held and the service was there."""
        return self._silence

    @property
    def away(self) -> float | None:
        """When, in seconds since 1970, the service was heard last, if it does not answer now."""
        return self._service.away

    @property
    def oldest(self) -> int | None:
        """Publish time, in microseconds, of the oldest message that is held and not yet acknowledged."""
        with self._changed:
            return min((held.published for held in self._held.values() if not held.done), default=None)

    def topic(self) -> str | None:
        """The topic that it is of; None where it is deleted, where this account may not ask, and when stopped.

        Waits for the answer, which no pulling need have begun for. Raises `InputFailed` where none will ever come.
        """
        topic = self._service.about().topic
        if self._service.fault is not None:
            raise InputFailed(self._service.fault)
        return topic

    def take(self, rows: int, size: int, wait: float) -> list[Message]:
        """Up to so many messages, of so many payload bytes together, or one that is larger.

        Returns when they are there, when no more can come before some are acknowledged, or when the oldest has waited
        `wait` seconds; empty after `wait` seconds without any, and at once when stopped. Raises `InputFailed` where no
        message will ever come.
        """
        began = time.monotonic()
        with self._changed:
            while not self._stopped:
                if self._service.fault is not None:
                    raise InputFailed(self._service.fault)
                due = (self._waiting[0][1] if self._waiting else began) + wait
                enough = len(self._waiting) >= rows or self._waiting_bytes >= size
                left = due - time.monotonic()
                if left <= 0 or (self._waiting and (enough or self._full())):
                    return self._taken(rows, size)
                self._changed.wait(left)
        return []

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Messages whose rows are durable; returns at once, never raises, and is repeated until the service has it."""
        with self._changed:
            for id in ids:
                held = self._held.get(id)
                if held is None:
                    self._settle(id)  # its lease is lost, and it will come again
                else:
                    held.done = True
                    self._acks[id] = None
            self._changed.notify_all()

    def give_back(self, ids: Sequence[str]) -> None:
        """Messages that nobody works on any more: they come again soon, to whoever is there. Never raises.

        Of those whose rows are durable nothing is given back.
        """
        with self._changed:
            if self._ended.is_set():  # `close` gives back what is held
                return
            mine = [id for id in ids if (held := self._held.get(id)) is not None and not held.done]
            ack_ids = [self._held[id].ack_id for id in mine]
            for id in mine:
                self._let_go(id)
            self._changed.notify_all()
        self._service.lease(ack_ids, 0, GIVING_BACK)  # where that fails they come when their leases end

    def stop(self) -> None:
        """Pull no more; what is taken may be worked on and acknowledged."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if not self._threads:  # who waits for the topic
            self._service.end()

    def close(self, patience: float) -> None:
        """Stop, wait up to so many seconds until all is acknowledged that is to be, and give the rest back at once."""
        until = time.monotonic() + patience
        self.stop()
        for thread in self._threads[:1]:
            thread.join(min(patience, 1.0))  # what an answer under way brings can be given back
        with self._changed:
            self._changed.wait_for(lambda: not self._acks or self._service.fault, until - time.monotonic())
        self._end()
        for thread in self._threads:
            while thread.is_alive():
                self._service.end()  # a call may have begun since
                thread.join(0.1)
        ids = [held.ack_id for held in self._held.values()]
        if not self._service.lease(ids, 0, GIVING_BACK):
            told = "%s: %d messages could not be given back; they come again when their leases end"
            _log.warning(told, self.name, len(ids))
        self._service.close()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Thread: whoever waits for messages is told if it dies."""
        try:
            work()
        except BaseException as error:
            self._service.give_up(f"--subscription={self.name}: {type(error).__name__}: {error}")
            raise

    def _end(self) -> None:
        """End all threads, and tell whoever waits for messages."""
        with self._changed:
            self._ended.set()
            self._changed.notify_all()

    def _pull(self) -> None:
        """Thread: pull as long as there is room."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._ended.is_set() or self._room())
                if self._stopped or self._ended.is_set():
                    return
                room = self._room()
            answer = self._service.call("pull", max_messages=room)
            if answer is not None:  # without wrappers, which cost more than all else
                self._arrive(type(answer).pb(answer).received_messages)

    def _room(self) -> int:
        """Messages that may be asked for."""
        room = min(MAX_PULL, self._max_outstanding - len(self._held), max(1, PULL_BYTES // self._typical))
        return room if self._bytes < MAX_HELD_BYTES else 0

    def _full(self) -> bool:
        """Whether nothing comes before what is worked on is acknowledged."""
        return not self._room() and not self._acks

    def _arrive(self, received: Any) -> None:
        """What an answer brings, added to what waits."""
        arrived = []
        for each in received:
            one = each.message
            stamp = one.publish_time
            published = stamp.seconds * 1_000_000 + stamp.nanos // 1000
            message = Message(one.message_id, published, dict(one.attributes), one.data)
            arrived.append((each.ack_id, message.identified))
        now = time.monotonic()
        with self._changed:
            for ack_id, message in arrived:
                held = self._held.get(message.id)
                if held is not None:  # its lease was lost, and this is the new one
                    held.ack_id = ack_id
                    continue
                size = len(message.data)
                self._held[message.id] = held = _Held(ack_id, message.published, size)
                self._bytes += size
                if message.id in self._settled:  # an acknowledgement that came too late
                    held.done = True
                    self._acks[message.id] = None
                    continue
                self._pulled += 1
                self._waiting.append((message, now))
                self._waiting_bytes += size
            if arrived or self._held:
                self._empty_since = now
            self._silence = max(0.0, self._service.asked - max(self._empty_since, self._service.there))
            if arrived:
                self._typical = max(1, sum([len(message.data) for _, message in arrived]) // len(arrived))
            self._changed.notify_all()

    def _taken(self, rows: int, size: int) -> list[Message]:
        taken: list[Message] = []
        now = time.monotonic()
        while self._waiting and len(taken) < rows:
            message, _ = self._waiting[0]
            size -= len(message.data)
            if size < 0 and taken:
                break
            self._waiting.popleft()
            self._waiting_bytes -= len(message.data)
            self._held[message.id].taken = now
            taken.append(message)
        return taken

    def _acknowledge(self) -> None:
        """Thread: send acknowledgements, and what of them is missing again, until all are sent or it is over."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._acks or self._ended.is_set())
                if self._ended.is_set():
                    return
                sent = {id: self._held[id].ack_id for id in islice(self._acks, MAX_IDS)}
            answer = self._service.call("acknowledge", ack_ids=[*sent.values()])
            with self._changed:
                if answer is None and self._ended.is_set():
                    return
                for id, ack_id in sent.items():
                    if self._held[id].ack_id == ack_id:  # else it came again meanwhile, and that is sent, too
                        del self._acks[id]
                        self._acknowledged += answer is not None and id not in self._settled
                        self._settle(id)
                        self._let_go(id)
                self._changed.notify_all()

    def _settle(self, id: str) -> None:
        self._settled[id] = None
        if len(self._settled) > self._max_outstanding:
            del self._settled[next(iter(self._settled))]

    def _let_go(self, id: str) -> None:
        self._bytes -= self._held.pop(id).size

    def _extend(self) -> None:
        """Thread: extend the leases of all that is held, at a third of the deadline."""
        deadline = self._service.about().deadline
        pause = deadline / 3
        while not self._ended.wait(pause):
            with self._changed:
                for id in self._overdue():
                    self._let_go(id)
                ids = [held.ack_id for held in self._held.values()]
            pause = deadline / 3 if self._service.lease(ids, deadline, deadline / 3) else min(deadline / 3, 1.0)

    def _overdue(self) -> list[str]:
        """Messages that nobody works on any more; they come again, to whoever is there."""
        since = time.monotonic() - MAX_LEASE
        found = [
            id for id, held in self._held.items() if held.taken is not None and held.taken < since and not held.done
        ]
        if found:
            _log.warning(
                "%s: %d messages were not done in %g seconds, and come again", self.name, len(found), MAX_LEASE
            )
        return found
