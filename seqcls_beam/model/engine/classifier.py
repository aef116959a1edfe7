"""The classifier: batches of sequences through the engine that was chosen for the model."""

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from torch import Tensor

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.model.engine.choosing import choose, cores, resolve_device, vocabulary
from seqcls_beam.model.engine.errors import EngineError
from seqcls_beam.model.engine.int8 import quantize
from seqcls_beam.model.engine.packing import Ints, distinct, take
from seqcls_beam.model.engine.static import Static
from seqcls_beam.model.tokens import Sequences

_BATCH_TOKENS = {"cpu": 2048, "cuda": 65_536}
_FORWARD = threading.Lock()  # one pass at a time per process: it uses all the threads it may
_log = logging.getLogger(__name__)


class Classifier:
    """A loaded model. Constructing one reads the weights, which takes seconds; make one per process.

    The fastest way to run the model is taken that gives, on a few synthetic sequences, what plain transformers gives;
    `facts` say which, and which were refused. `first` are the first sequences of the corpus (ids, offsets, token
    types), which int8 is fitted to and judged by. Raises `CheckpointError` and `EngineError`.
    """

    def __init__(self, checkpoint: Checkpoint, options: ModelOptions, first: Sequences | None = None) -> None:
        device = resolve_device(options.device)
        if options.dtype == "int8" and first is None:
            raise EngineError("--dtype=int8: it is fitted to the first rows of a corpus, and here is none")
        self._budget = options.batch_tokens or _BATCH_TOKENS[device.type]
        self._longest = options.max_length or checkpoint.max_length
        self._labels = len(checkpoint.labels)
        threads = options.threads or cores()
        torch.set_num_threads(threads)
        self._executor, chosen = choose(checkpoint, device, options, self._budget, self._longest)
        self._vocabulary = vocabulary(self._executor.model)
        self.facts: dict[str, Any] = {
            **chosen,
            "device": str(device),
            "threads": threads,
            "batch_tokens": self._budget,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "model": checkpoint.name,
            "revision": checkpoint.revision,
            "checkpoint": checkpoint.digest,
            "problem": checkpoint.problem,
            "labels": list(checkpoint.labels),
        }
        if options.dtype == "int8" and first is not None:
            self.facts |= quantize(self._executor.model, checkpoint, first, self.logits)
        _log.info("the engine that runs: %s", self.facts)

    def logits(
        self,
        ids: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        token_type_ids: npt.NDArray[np.int8] | None,
        advance: Callable[[int], None] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Flat ids [T] and offsets [N + 1] of N sequences → float32 [N, labels], same order.

        Identical sequences are computed once. `advance` is called after each forward pass with the sequences it took.
        Raises `ValueError` for a sequence the model cannot take, `FloatingPointError` for logits that are not finite,
        `MemoryError` where a single sequence does not fit; for all others what the model raises.
        """
        lengths = np.diff(offsets)
        self._check(ids, lengths)
        logits = np.empty((len(lengths), self._labels), np.float32)
        if len(lengths):
            rows, same_as = distinct(ids, offsets, token_type_ids)
            counts = np.bincount(same_as)
            told = (lambda some: advance(int(counts[some].sum()))) if advance else None
            logits = self._run(ids, offsets, token_type_ids, rows, told)[same_as]
        broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
        if len(broken):
            raise FloatingPointError(
                f"the logits of {len(broken)} of {len(lengths)} sequences are not finite, the first those of sequence "
                f"{broken[0]}: {logits[broken[0]].tolist()}"
            )
        return logits

    def _run(
        self, ids: Ints, offsets: Ints, types: Ints | None, rows: Ints, told: Callable[[Ints], None] | None
    ) -> npt.NDArray[np.float32]:
        """Logits of the sequences `rows`; `told` hears which of these are done, by their number in `rows`."""
        place = np.empty(len(offsets), np.int64)
        place[rows] = np.arange(len(rows))
        lengths = np.diff(offsets)
        groups = deque(self._executor.packs(lengths, rows, self._budget))
        done, found = [], []
        try:
            while groups:
                group = groups.popleft()
                logits = self._forward(ids, offsets, types, group)
                if logits is None:
                    self._halve(lengths[group])
                    rest = np.concatenate([group, *groups])
                    groups = deque(self._executor.packs(lengths, rest, self._budget))
                    continue
                done.append(place[group])
                found.append(logits)
                if told:
                    told(place[group])
            out = np.empty((len(rows), self._labels), np.float32)
            out[np.concatenate(done)] = torch.cat(found).cpu().numpy()  # the one wait for a GPU
        except RuntimeError as error:
            if "device-side assert" in str(error):
                _end_process(error)
            raise
        return out

    def _forward(self, ids: Ints, offsets: Ints, types: Ints | None, rows: Ints) -> Tensor | None:
        """One forward pass; None where it does not fit into memory."""
        where, _ = take(offsets, rows)
        try:
            with _FORWARD, torch.inference_mode():
                return self._executor.forward(
                    ids[where], None if types is None else types[where], offsets[rows + 1] - offsets[rows]
                )
        except RuntimeError as error:
            if not (isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)):
                raise
            return None

    def _halve(self, lengths: Ints) -> None:
        """From now on, half the tokens of a pass that did not fit."""
        static = isinstance(self._executor, Static)  # each of whose passes is as large as the largest
        if len(lengths) == 1 and not (static and self._budget > self._longest):
            raise MemoryError(f"one sequence of {lengths[0]} tokens does not fit into the memory of this device")
        if self.facts["device"] != "cpu":
            torch.cuda.empty_cache()
        tokens = self._budget if static else int(lengths.sum())
        self._budget = self.facts["batch_tokens"] = tokens // 2
        _log.warning("out of memory: from now on %d tokens per forward pass", self._budget)

    def _check(self, ids: Ints, lengths: Ints) -> None:
        if len(lengths) and (lengths.min() < 1 or lengths.max() > self._longest):
            raise ValueError(
                f"a sequence has {lengths.min() if lengths.min() < 1 else lengths.max()} tokens; the model reads 1 to "
                f"{self._longest}"
            )
        if len(ids) and (ids.min() < 0 or ids.max() >= self._vocabulary):
            raise ValueError(
                f"token id {ids.min() if ids.min() < 0 else ids.max()} is outside the model's embedding table of "
                f"{self._vocabulary}: the tokenizer does not belong to the model"
            )


def _end_process(error: RuntimeError) -> None:
    """After a device-side assert every call to the GPU fails, and no retry in this process can help."""
    print(
        f"seqcls_beam: the GPU stopped at an assertion in one of its kernels ({error}); this process ends, since "
        "nothing can run on that GPU from it any more",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)
