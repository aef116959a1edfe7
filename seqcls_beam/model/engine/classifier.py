"""The classifier: batches of sequences through the engine that was chosen for the model.

Axes in names as in `seqcls_beam.model.engine`.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from torch import Tensor

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint, CheckpointError
from seqcls_beam.model.engine.choosing import PutBack, choose
from seqcls_beam.model.engine.devices import PASS, cores, multiplies_bfloat16, resolve_device
from seqcls_beam.model.engine.errors import EngineError
from seqcls_beam.model.engine.faults import end_if_dead, out_of_memory
from seqcls_beam.model.engine.int8 import quantize
from seqcls_beam.model.engine.kernels.trial import available
from seqcls_beam.model.engine.loading import vocabulary
from seqcls_beam.model.engine.packed import Packed
from seqcls_beam.model.engine.packing import Ints, distinct, take
from seqcls_beam.model.engine.static import Static
from seqcls_beam.model.tokens import Sequences

_BATCH_TOKENS = {"cpu": 2048, "cuda": 65_536}
_log = logging.getLogger(__name__)


class Classifier:
    """A loaded model. Constructing one reads the weights, which takes seconds; make one per process.

    The fastest way to run the model is taken that gives, on a few synthetic sequences and on those `at_hand`, what
    plain transformers gives; `facts` say which, and which were refused. `first` are the first sequences of the corpus,
    which int8 is fitted to and judged by. Both: (ids int32 [T], offsets int64 [N + 1], token types int8 [T] or None),
    as `first_sequences` has them.
    Raises `CheckpointError` where the weights do not load, `EngineError` where the device or the precision that was
    asked for cannot be had.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        options: ModelOptions,
        first: Sequences | None = None,
        at_hand: Sequences | None = None,
    ) -> None:
        device = resolve_device(options.device)
        if options.dtype == "int8" and first is None:
            raise EngineError("--dtype=int8: it is fitted to the first rows of a corpus, and here is none")
        if options.dtype == "fastest":
            raise EngineError(
                "--dtype=fastest: pipelines.classify finds which that is on the first rows of files, before it starts; "
                "here name a precision"
            )
        self._budget = options.batch_tokens or _BATCH_TOKENS[device.type]
        self._longest = options.max_length or checkpoint.max_length
        self._labels = len(checkpoint.labels)
        self._checkpoint, self._options = checkpoint, options
        self._wide: Classifier | None = None  # for what overflows in float16
        self._widening = threading.Lock()
        threads = options.threads or cores()
        torch.set_num_threads(threads)
        self._executor, chosen = choose(checkpoint, device, options, self._budget, self._longest, at_hand)
        self.vocabulary = vocabulary(self._executor.model)
        """Ids that the model reads are below this."""
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
            halve = None
            if isinstance(self._executor, Packed):
                self._executor.fills = False  # it is fitted to all that a pass reads
                halve = partial(self._executor.become, torch.bfloat16) if available() else None
            changed = self._executor.changed if isinstance(self._executor, PutBack) else None
            self.facts |= quantize(self._executor.model, checkpoint, first, self.logits, changed, halve)
        _log.info("the engine that runs: %s", self.facts)

    def logits(
        self,
        ids: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        token_type_ids: npt.NDArray[np.int8] | None,
        advance: Callable[[int], None] | None = None,
    ) -> npt.NDArray[np.float32]:
        """N sequences, one after the other → float32 [N, L], same order.

        Sequence i is `ids[offsets[i] : offsets[i + 1]]`, special tokens included; `token_type_ids`, where the
        checkpoint tells sentences apart, is as long as `ids`. Identical sequences are computed once; those whose logits
        are not finite in float16, a second time in bfloat16 or float32. `advance` is called with the number of
        sequences that were answered: on a CPU after each forward pass, on a GPU at the end.

        Raises `ValueError` for a sequence the model cannot take, `FloatingPointError` for logits that are not finite,
        `MemoryError` where a single sequence does not fit, `CheckpointError` where some overflow in float16 and the
        model cannot be had in a wider precision; for all others what the model raises.
        """
        lengths_N = np.diff(offsets)
        self._check(ids, lengths_N)
        logits_NL = np.empty((len(lengths_N), self._labels), np.float32)
        if len(lengths_N):
            rows_R, same_as_N = distinct(ids, offsets, token_type_ids)
            counts_R = np.bincount(same_as_N)
            told = (lambda some: advance(int(counts_R[some].sum()))) if advance else None
            logits_NL = self._run(ids, offsets, token_type_ids, rows_R, told)[same_as_N]
        broken = np.flatnonzero(~np.isfinite(logits_NL).all(axis=1))
        if len(broken) and self.facts["dtype"] == "float16":
            where, offsets_R1 = take(offsets, broken)
            types = None if token_type_ids is None else token_type_ids[where]
            logits_NL[broken] = self._wider().logits(ids[where], offsets_R1, types)
        elif len(broken):
            raise FloatingPointError(
                f"the logits of {len(broken)} of {len(lengths_N)} sequences are not finite, the first those of "
                f"sequence {broken[0]}: {logits_NL[broken[0]].tolist()}"
            )
        return logits_NL

    def what_runs(self) -> dict[str, Any]:
        """`facts`, for another process, to which only methods can be given."""
        return self.facts

    def _wider(self) -> "Classifier":
        """The same model in a precision that does not overflow, read when it is first needed."""
        with self._widening:
            if self._wide is None:
                dtype = "bfloat16" if multiplies_bfloat16(self._executor.model.device) else "float32"
                _log.warning("%s: some texts overflow in float16 and are read in %s", self._checkpoint.name, dtype)
                options = replace(self._options, device=self.facts["device"], dtype=dtype, compile=False)
                try:
                    self._wide = Classifier(self._checkpoint, options)
                except Exception as error:
                    # Of no row: each would read the weights again.
                    raise CheckpointError(
                        f"{self._checkpoint.name}: some texts overflow in float16, and it cannot be run in {dtype} "
                        f"({type(error).__name__}: {error})"
                    ) from error
                self.facts["overflow"] = dtype
            return self._wide

    def _run(
        self,
        ids_T: Ints,
        offsets_N1: Ints,
        types_T: Ints | None,
        rows_R: Ints,
        told: Callable[[Ints], None] | None,
    ) -> npt.NDArray[np.float32]:
        """→ [R, L]; `told` hears which of the rows are done, by their places in `rows_R`."""
        place_N = np.empty(len(offsets_N1) - 1, np.int64)
        place_N[rows_R] = np.arange(len(rows_R))
        lengths_N = np.diff(offsets_N1)
        groups = deque(self._executor.packs(lengths_N, rows_R, self._budget))
        done, found = [], []
        at_once = self.facts["device"] == "cpu"  # a GPU is told of its passes, and does them later
        try:
            while groups:
                group = groups.popleft()
                logits = self._forward(ids_T, offsets_N1, types_T, group)
                if logits is None:
                    self._halve(lengths_N[group])
                    rest = np.concatenate([group, *groups])
                    groups = deque(self._executor.packs(lengths_N, rest, self._budget))
                    continue
                done.append(place_N[group])
                found.append(logits)
                if told and at_once:
                    told(place_N[group])
            logits_RL = np.empty((len(rows_R), self._labels), np.float32)
            logits_RL[np.concatenate(done)] = torch.cat(found).cpu().numpy()  # the one wait for a GPU
        except RuntimeError as error:
            end_if_dead(error)
            raise
        if told and not at_once:
            told(np.arange(len(rows_R)))
        return logits_RL

    def _forward(self, ids_T: Ints, offsets_N1: Ints, types_T: Ints | None, rows_R: Ints) -> Tensor | None:
        """One forward pass → [R, L]; None where it does not fit into memory."""
        where, offsets_R1 = take(offsets_N1, rows_R)
        types = None if types_T is None else types_T[where]
        try:
            with PASS, torch.inference_mode():
                return self._executor.forward(ids_T[where], types, np.diff(offsets_R1))
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            return None

    def _halve(self, lengths_R: Ints) -> None:
        """From now on, half the tokens of a pass that did not fit."""
        static = isinstance(self._executor, Static)  # each of whose passes is as large as the largest
        if len(lengths_R) == 1 and not (static and self._budget > self._longest):
            raise MemoryError(f"one sequence of {lengths_R[0]} tokens does not fit into the memory of this device")
        if self.facts["device"] != "cpu":
            with PASS:  # not while another thread captures a graph
                torch.cuda.empty_cache()
        tokens = self._budget if static else int(lengths_R.sum())
        self._budget = self.facts["batch_tokens"] = tokens // 2
        _log.warning("out of memory: from now on %d tokens per forward pass", self._budget)

    def _check(self, ids_T: Ints, lengths_N: Ints) -> None:
        if len(lengths_N) and (lengths_N.min() < 1 or lengths_N.max() > self._longest):
            raise ValueError(
                f"a sequence has {lengths_N.min() if lengths_N.min() < 1 else lengths_N.max()} tokens; the model reads "
                f"1 to {self._longest}"
            )
        if len(ids_T) and (ids_T.min() < 0 or ids_T.max() >= self.vocabulary):
            raise ValueError(
                f"token id {ids_T.min() if ids_T.min() < 0 else ids_T.max()} is outside the model's embedding table of "
                f"{self.vocabulary}: the tokenizer does not belong to the model"
            )
