"""Streams' models in this process: one `Watch` each, which outlives the pipelines."""

import logging
import threading

import torch

from seqcls_beam import storage
from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint, CheckpointError
from seqcls_beam.model.engine import memory
from seqcls_beam.model.engine.classifier import Classifier
from seqcls_beam.model.engine.devices import PASS, resolve_device
from seqcls_beam.model.engine.faults import out_of_memory
from seqcls_beam.model.engine.loading import weight_bytes
from seqcls_beam.model.tokens import Sequences
from seqcls_beam.model.watching import Watch

_GROWTH = 2
"""What each byte of weights may cost that a model has more than one that was measured: read, then laid out anew."""

_log = logging.getLogger(__name__)
_watches: dict[tuple[Checkpoint, ModelOptions], Watch] = {}
_lock = threading.Lock()


def watch_of(launched: Checkpoint, options: ModelOptions) -> Watch:
    """That of a stream whose launcher found this checkpoint."""
    with _lock:
        return _watches.setdefault((launched, options), Watch(launched, options, Loading()))


def forget(launched: Checkpoint, options: ModelOptions) -> None:
    """A stream is over: its model goes, and nobody looks for a newer one."""
    with _lock:
        watch = _watches.pop((launched, options), None)
    if watch is not None:
        watch.stop()


class Loading:
    """Classifiers of checkpoints, and what they take of their device's memory."""

    def __init__(self) -> None:
        self._device: torch.device | None = None
        self._took: tuple[int, int] | None = None  # bytes of weights, and the most that loading them took

    def load(self, checkpoint: Checkpoint, options: ModelOptions, at_hand: Sequences | None) -> Classifier:
        """As `Classifier`; how much memory it takes is measured. `MemoryError` where it does not do."""
        device = self._device = resolve_device(options.device)
        with memory.measured(device) as taken:
            try:
                made = Classifier(checkpoint, options, at_hand=at_hand)
            except (RuntimeError, ValueError) as error:
                if _of_memory(error):
                    raise MemoryError(f"{checkpoint.name}: {error}") from error
                # Nobody knows the folder of the cache.
                where = storage.without_password(checkpoint.location).removeprefix("file://")
                said = str(error).replace(str(checkpoint.local()), where)
                if isinstance(error, CheckpointError) and said != str(error):
                    raise CheckpointError(said, error.passing) from error
                raise
        weights = weight_bytes(checkpoint)
        # Where a model is loaded into memory that another one left, less is seen to be taken.
        if self._took is None or taken.bytes - self._took[1] > _GROWTH * (weights - self._took[0]):
            self._took = weights, taken.bytes
        _log.info("%s: loading took %.0f MB at most", checkpoint.name, taken.bytes / 1e6)
        return made

    def room(self, checkpoint: Checkpoint, beside: Checkpoint) -> tuple[int, int] | None:
        """Bytes (that it may take beside the other one, that are free); None where it is not known."""
        free = None if self._device is None else memory.free(self._device)
        if self._took is None or free is None:
            return None
        weights, took = self._took
        return took + _GROWTH * max(0, weight_bytes(checkpoint) - weights), free

    def let_go(self) -> None:
        """Give what torch holds unused of a GPU to whoever asks."""
        if self._device is not None and self._device.type == "cuda":
            with PASS:  # not while another thread captures a graph
                torch.cuda.empty_cache()


def _of_memory(error: BaseException | None) -> bool:
    """Whether torch lacked memory, behind what was said of it; an error of ours quotes what each way to run it met."""
    while error is not None:
        if isinstance(error, MemoryError) or out_of_memory(error):
            return True
        error = error.__cause__
    return False
