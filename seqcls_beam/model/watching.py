"""A stream's model, replaced between two batches by a newer one that stands at the same name.

    at work ─ look, every 10 s ─ something newer ─ fetched, loaded, tried ┬ at work in its place
                                                                          ├ refused, once; the old one stays
                                                                          └ not for a fault of its own: tried again

A batch is tokenised by the checkpoint at work, and marked with it. Where another one is at work by the time that it is
classified, it is tokenised once more: so tokens and weights are always of one checkpoint, whatever steps hold batches
in between, and a model is let go as soon as no batch is under way in it.
"""

import gc
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.config import ModelOptions
from seqcls_beam.model.at_work import AtWork, Ended, Engines
from seqcls_beam.model.checkpoints import Checkpoint, CheckpointError, errors
from seqcls_beam.model.newer import (
    AtHand,
    Changing,
    Scores,
    Seen,
    agreement,
    ensure_alike,
    ensure_answers,
    find,
    lacks_memory,
    look,
    passes,
    told,
)
from seqcls_beam.model.predictions import Engine, first_sequences, scored
from seqcls_beam.model.tokens import check, tokenize
from seqcls_beam.schema import REJECT_VALUE, TOKENS, Mark

LOOK_SECONDS = 10.0
"""From one look at the name of the model to the next. What two looks in a row see is whole, and tried."""
SETTLED_SECONDS = LOOK_SECONDS
"""From the first look to the second where a process begins, and something else than the launcher's stands there."""
MEMORY_SECONDS = 600.0
"""From one try of a version to the next where memory did not do for it: while it is tried batches may wait."""
_STOP_SECONDS = 5.0  # that a look may still take
_TICK = 0.1
_DIGITS = 12  # of a digest, as the column `model` has them

_log = logging.getLogger(__name__)


class Watch:
    """The model of a stream in this process.

    `launched` is what the launcher found at its name: newer ones must have its problem and its labels. Constructing one
    does nothing.
    """

    def __init__(self, launched: Checkpoint, options: ModelOptions, engines: Engines) -> None:
        self._launched, self._options, self._engines = launched, options, engines
        self._name = storage.without_password(launched.name)
        self._changed = threading.Condition()
        self._at_work: AtWork | None = None
        self._reading = launched  # what texts are tokenised by
        self._paused = False
        self._hand = AtHand()
        self._last: Seen | str = ""  # what the last look saw, or met
        self._taken: Seen | None = None
        self._refused: Seen | None = None
        self._scarce: tuple[Seen, float] | None = None  # what memory did not do for; by which time it is tried again
        self._told: Seen | str = ""  # what is tried again was told of
        self._over = threading.Event()
        self._replaces = False  # a model is being loaded in place of another
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Load the newest that will do, or else the launcher's, and from then on look for others; once.

        Raises what loading the launcher's does.
        """
        with self._changed:
            if not self._paused:
                self._begun()

    def tokenized(self, records: pa.RecordBatch) -> pa.RecordBatch:
        """RECORD → TOKENS, by the checkpoint at work, or lately at work; raises as `tokenize` and `begin`."""
        self._hand.see(records)
        with self._changed:
            if not self._paused:
                self._reading = self._begun().checkpoint
            checkpoint = self._reading
        return _read(records, checkpoint, self._options)

    @contextmanager
    def working(self) -> Iterator[AtWork]:
        """The model for one batch or several that are classified together; raises as `begin`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._paused)
            work = self._begun()
            work.batches += 1
        try:
            yield work
        finally:
            with self._changed:
                work.batches -= 1
                self._changed.notify_all()

    def read_by(self, tokens: pa.RecordBatch, checkpoint: Checkpoint) -> pa.RecordBatch:
        """TOKENS of `tokenized`, or tokenised once more where that was by another checkpoint."""
        if Mark.of(tokens).engine.get("checkpoint") == checkpoint.digest:
            return tokens
        ours = {each.name for each in TOKENS}
        records = tokens.select([name for name in tokens.schema.names if name not in ours])
        return _read(records, checkpoint, self._options)

    def stop(self) -> None:
        """Look no more; a model that is being loaded is waited for, since a process that ends then would be aborted."""
        self._over.set()
        if self._thread is None:
            return
        self._thread.join(_STOP_SECONDS)
        if self._replaces and self._thread.is_alive():
            _log.warning("%s: a newer model is being loaded, and this ends when it is there", self._name)
            while self._replaces and self._thread.is_alive():
                self._thread.join(_TICK)
            self._thread.join(_STOP_SECONDS)

    def _begun(self) -> AtWork:
        """Called with the lock held."""
        if self._at_work is None:
            self._at_work = self._newest() or AtWork(self._launched, self._load(self._launched))
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="newer-model", daemon=True)
            self._thread.start()
        return self._at_work

    def _newest(self) -> AtWork | None:
        """What stands at the name as this process begins; None where that will not do, or is the launcher's."""
        seen: Seen | None = None
        self._taken = None
        try:
            seen = look(self._launched.name)
            if seen == self._refused:
                return None
            try:
                found = find(self._launched.name, self._options.problem_type, seen)
            except CheckpointError:
                self._settle(seen)
                raise
            work = None
            if found.digest != self._launched.digest:
                self._settle(seen)
                work = AtWork(found, self._tried(found))
            self._taken = seen
            return work
        except Exception as error:
            self._fails(error, seen)
        self._collect()
        return None

    def _settle(self, seen: Seen) -> None:
        """Raise `Changing` where somebody is still at work on the files."""
        self._over.wait(SETTLED_SECONDS)
        if look(self._launched.name) != seen:
            raise Changing(self._launched.name)

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            try:
                self._look()
            except Exception:
                _log.exception("%s: the look for a newer model failed, and is tried again", self._name)

    def _look(self) -> None:
        """Take what is new, or refuse it."""
        seen: Seen | None = None
        try:
            seen = look(self._launched.name)
            before, self._last = self._last, seen
            if before != seen or seen in (self._taken, self._refused) or self._is_scarce(seen):
                return
            found = find(self._launched.name, self._options.problem_type, seen)
            work = self._at_work
            if work is not None and found.digest != work.checkpoint.digest:
                self._replace(work, found)
            self._taken, self._told = seen, ""
            return
        except Exception as error:
            self._fails(error, seen)
        if seen is not None:
            self._collect()

    def _is_scarce(self, seen: Seen) -> bool:
        """Whether memory did not do for it lately."""
        return self._scarce is not None and seen == self._scarce[0] and time.monotonic() < self._scarce[1]

    def _fails(self, error: Exception, seen: Seen | None) -> None:
        """Refuse for good what will not do, but not what others are to blame for; says which and why, once."""
        why = f"{error}" if isinstance(error, CheckpointError) else errors.told(error)
        if isinstance(error, Changing | Ended):
            return
        if seen is None and not passes(error):  # a LATEST that is being written, perhaps
            before, self._last = self._last, why
            if before != why:
                return
        if seen is not None and not passes(error):
            self._refused = seen
            _log.warning("%s: what is new there is refused, and the model stays as it is: %s", self._name, why)
            return
        key: Seen | str = why
        if seen is not None and lacks_memory(error):
            self._scarce = seen, time.monotonic() + MEMORY_SECONDS
            key = seen  # each time with other numbers
        if key != self._told:
            self._told = key
            _log.warning("%s: what is new there is not had yet, and is tried again: %s", self._name, why)

    def _collect(self) -> None:
        """Behind an error, which held all that there was of a model that failed."""
        gc.collect()
        self._engines.let_go()

    def _replace(self, work: AtWork, found: Checkpoint) -> None:
        """Put another model in place of the one at work. Raises where it will not do."""
        ensure_alike(found, self._launched)
        self._replaces = True  # before it is asked whether it is over, as `stop` does the other way round
        try:
            self._swap(work, found)
        finally:
            self._replaces = False

    def _swap(self, work: AtWork, found: Checkpoint) -> None:
        self._go_on()
        texts = self._hand.texts()
        before = None if texts is None else scored(texts, work.checkpoint, work.engine, self._options)
        room = self._engines.room(found, work.checkpoint)
        if room is None or room[0] <= room[1]:
            engine = self._tried(found, texts, before, work.checkpoint)
            with self._changed:
                self._at_work = AtWork(found, engine)
                self._changed.wait_for(lambda: not work.batches)
            self._let_go(work)
        else:
            with self._alone(work, room, texts):
                engine = self._tried(found, texts, before, work.checkpoint)
                self._at_work = AtWork(found, engine)
        _log.warning(
            "%s: from now on %s labels in place of %s (%s): %s",
            self._name,
            found.digest[:_DIGITS],
            work.checkpoint.digest[:_DIGITS],
            storage.without_password(found.location.removeprefix("file://")),
            told(engine.facts["replaces"]),
        )

    @contextmanager
    def _alone(self, work: AtWork, room: tuple[int, int], texts: pa.RecordBatch | None) -> Iterator[None]:
        """Without the old model, and with no batch under way; where the block raises the old one is loaded again."""
        _log.warning(
            "%s: the new model may take %s MB beside the one at work, and %s MB are free: batches wait while one is "
            "let go and the other loaded",
            *(self._name, *(f"{each / 1e6:,.0f}" for each in room)),
        )
        began = time.monotonic()
        with self._changed:
            self._paused = True
            self._changed.wait_for(lambda: not work.batches)
        facts = work.engine.facts
        try:
            self._let_go(work)
            try:
                yield
            except Ended:
                raise  # no batch comes any more
            except BaseException:
                gc.collect()
                self._engines.let_go()
                engine = self._load(work.checkpoint, texts)
                engine.facts |= {name: facts[name] for name in ("replaces",) if name in facts}
                self._at_work = AtWork(work.checkpoint, engine)
                raise
        finally:
            with self._changed:
                self._paused = False
                self._changed.notify_all()
            _log.warning("%s: batches waited for %.1f s", self._name, time.monotonic() - began)

    def _let_go(self, work: AtWork) -> None:
        """Nobody uses it any more."""
        if self._at_work is work:
            self._at_work = None
        del work.engine
        gc.collect()  # a model's modules know each other, so that it would stay until Python looks
        self._engines.let_go()

    def _tried(
        self,
        found: Checkpoint,
        texts: pa.RecordBatch | None = None,
        before: Scores | None = None,
        old: Checkpoint | None = None,
    ) -> Engine:
        """An engine that answers the texts at hand; its facts say how it differs from the old one."""
        ensure_alike(found, self._launched)
        tried = _stub() if texts is None else texts
        check(found, self._options, pairs="text_pair" in tried.schema.names)
        engine = self._load(found, texts)
        self._go_on()
        after = scored(tried, found, engine, self._options, strict=True)
        ensure_answers(after, before)
        if old is not None:
            compared: dict[str, Any] = {"texts": 0}
            if before is not None:
                compared = agreement(before, after, found.problem, self._options.threshold)
            engine.facts["replaces"] = {"model": old.digest[:_DIGITS], **compared}
        return engine

    def _go_on(self) -> None:
        if self._over.is_set():
            raise Ended

    def _load(self, checkpoint: Checkpoint, texts: pa.RecordBatch | None = None) -> Engine:
        at_hand = None if texts is None else first_sequences([texts], checkpoint, self._options)
        return self._engines.load(checkpoint, self._options, at_hand)


def _read(records: pa.RecordBatch, checkpoint: Checkpoint, options: ModelOptions) -> pa.RecordBatch:
    tokens = tokenize(records, checkpoint, options)
    return replace(Mark.of(tokens), engine={"checkpoint": checkpoint.digest}).on(tokens)


def _stub() -> pa.RecordBatch:
    """What is asked where no text came yet."""
    return pa.record_batch({"text": pa.array(["."]), "reject": pa.nulls(1, REJECT_VALUE)})
