"""The padded engine: plain transformers modules on rectangles of fixed shape.

A sequence's logits depend on the sequence alone, bit for bit: not on its neighbours, its place, or how the corpus was
cut into batches. Matrix kernels choose their blocking, and with it the order of their sums, by shape; so a sequence
always runs in the same shape, `[batch_tokens // width, width]`, where `width` follows from its own length.
"""

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers

from seqcls_beam.checkpoints import Checkpoint, CheckpointError
from seqcls_beam.config import ModelOptions

_STEP = 8  # widths are multiples of it
_BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}
_FORWARD = threading.Lock()  # one forward at a time per process: it uses all the threads it may


class DeviceError(ValueError):
    """The device that was asked for is not on this machine."""


class Classifier:
    """A loaded model. Constructing one reads the weights, which takes seconds; make one per process."""

    def __init__(self, checkpoint: Checkpoint, options: ModelOptions) -> None:
        self._device = _device(options.device)
        self._budget = options.batch_tokens or _BATCH_TOKENS[self._device.type]
        self._longest = options.max_length or checkpoint.max_length
        self._labels = len(checkpoint.labels)
        threads = options.threads or _cores()
        torch.set_num_threads(threads)
        self._model = _load(checkpoint).to(self._device)
        self._vocabulary = self._model.get_input_embeddings().num_embeddings
        pad = self._model.config.pad_token_id
        self._pad = 0 if pad is None else pad
        self.facts: dict[str, Any] = {
            "engine": "padded",
            "device": str(self._device),
            "dtype": "float32",
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

    def logits(
        self,
        ids: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        token_type_ids: npt.NDArray[np.int8] | None,
        advance: Callable[[int], None] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Flat ids [T] and offsets [N + 1] of N sequences → float32 [N, labels], same order.

        `advance` is called after each forward pass with the sequences it took.
        Raises `ValueError` for a sequence the model cannot take, `FloatingPointError` for logits that are not finite,
        `MemoryError` where a forward pass does not fit; for all others what the model raises.
        """
        lengths = np.diff(offsets)
        self._check(ids, lengths)
        logits = np.empty((len(lengths), self._labels), np.float32)
        for rows, width in self._rectangles(lengths):
            inside = np.arange(width) < lengths[rows, None]
            source = (offsets[rows, None] + np.arange(width))[inside]
            types = None if token_type_ids is None else token_type_ids[source]
            logits[rows] = self._forward(inside, ids[source], types)
            if advance:
                advance(len(rows))
        broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
        if len(broken):
            raise FloatingPointError(
                f"the logits of {len(broken)} of {len(lengths)} sequences are not finite, the first those of sequence "
                f"{broken[0]}: {logits[broken[0]].tolist()}"
            )
        return logits

    def _check(self, ids: npt.NDArray[np.int32], lengths: npt.NDArray[np.int64]) -> None:
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

    def _rectangles(self, lengths: npt.NDArray[np.int64]) -> Iterator[tuple[npt.NDArray[np.intp], int]]:
        """Rows of equal width, as many as one forward pass takes.

        A sequence's width is the next multiple of 8 *above* its length: every row then ends in padding, and a
        rectangle cannot, by having none, slip onto the kernel that transformers takes for unmasked batches. Sequences
        of full length have none by definition, and rectangles of their own.
        """
        widths = np.minimum((lengths // _STEP + 1) * _STEP, self._longest)
        group = 2 * widths + (lengths == self._longest)
        for each in np.unique(group):
            rows, width = np.flatnonzero(group == each), int(each // 2)
            height = self._height(width)
            for start in range(0, len(rows), height):
                yield rows[start : start + height], width

    def _height(self, width: int) -> int:
        """Rows of a rectangle: a multiple of 8, or 4, 2, 1.

        The classification head is a product with as many rows as texts. Matrix libraries take few rows in blocks of 8
        and 4, and what is left over by another kernel, which sums in another order: measured with oneDNN on two
        threads, where the last rows of heights 5, 6 and 9 to 11 differed in the last bit.
        """
        fit = max(1, self._budget // width)
        return fit - fit % 8 if fit >= 8 else 1 << (fit.bit_length() - 1)

    def _forward(
        self,
        inside: npt.NDArray[np.bool_],
        ids: npt.NDArray[np.int32],
        types: npt.NDArray[np.int8] | None,
    ) -> npt.NDArray[np.float32]:
        """The rows marked by `inside` [rows, width], filled up with dummy rows to the fixed height."""
        rows, width = inside.shape
        shape = (self._height(width), width)
        mask = np.zeros(shape, np.int64)
        mask[:rows] = inside
        mask[rows:] = inside[0]  # what a dummy row holds does not matter, but it must not be all padding
        inputs = {"input_ids": np.full(shape, self._pad, np.int64), "attention_mask": mask}
        inputs["input_ids"][:rows][inside] = ids
        if types is not None:
            inputs["token_type_ids"] = np.zeros(shape, np.int64)
            inputs["token_type_ids"][:rows][inside] = types
        try:
            with _FORWARD, torch.inference_mode():
                tensors = {name: torch.from_numpy(each).to(self._device) for name, each in inputs.items()}
                logits: npt.NDArray[np.float32] = self._model(**tensors).logits[:rows].cpu().numpy()
                return logits
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
                raise MemoryError(f"a forward pass of {shape} tokens does not fit: lower --batch_tokens") from error
            raise


def _load(checkpoint: Checkpoint) -> Any:
    """The model in float32, whatever the weights are stored in, ready for inference on the CPU."""
    transformers.utils.logging.disable_progress_bar()
    try:
        model, found = transformers.AutoModelForSequenceClassification.from_pretrained(
            checkpoint.local(),
            trust_remote_code=False,
            local_files_only=True,
            weights_only=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{checkpoint.name}: does not load ({type(error).__name__}: {error})") from error
    missing = sorted(found["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{checkpoint.name}: the weights lack {', '.join(missing[:4])}{' …' * (len(missing) > 4)}, which would be "
            "random numbers; was it saved without its classification head?"
        )
    return model.eval()


def _device(name: str) -> torch.device:
    """The device an option names; `auto` is a GPU where there is one. Raises `DeviceError` where there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device("cuda:0" if name == "cuda" else name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        there = torch.cuda.device_count()
        raise DeviceError(
            f"--device={name}: there is no such CUDA device here (torch {torch.__version__} sees {there})"
            if there
            else f"--device={name}: there is no CUDA device here (torch {torch.__version__})"
        )
    return device


def _cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
