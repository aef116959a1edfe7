"""Loading: a checkpoint's files → the model of transformers, or one sentence on why there is none."""

import ctypes
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers

from seqcls_beam.model.checkpoints import Checkpoint, CheckpointError
from seqcls_beam.model.checkpoints.errors import told
from seqcls_beam.model.checkpoints.files import weight_files
from seqcls_beam.model.checkpoints.tensors import shapes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_ANY_ID = 1 << 31
"""Ids below are read by a model without a table of embeddings: Canine hashes characters."""
_COMPUTED = 1 << 28
"""Numbers that a model may have beside its weights: masks and tables of positions."""

_log = logging.getLogger(__name__)


def load(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype = torch.float32) -> Any:
    """The model in a precision, whatever the weights are stored in, ready for inference; raises `CheckpointError`."""
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformers.modeling_utils").addFilter(_no_report)
    warnings.filterwarnings("ignore", "Detected pickle protocol")  # it is read, or refused
    folder = checkpoint.local()
    try:
        _check_size(checkpoint, folder)
        model, found = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder,
            trust_remote_code=False,
            local_files_only=True,
            weights_only=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below
        )
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{checkpoint.name}: does not load ({told(error)})") from error
    for name, has, needs in sorted(found["mismatched_keys"])[:1]:
        raise CheckpointError(
            f"{checkpoint.name}: {name} has the shape {tuple(has)} in the weights, and {tuple(needs)} by config.json: "
            "take the config.json that belongs to the weights"
        )
    missing = sorted(found["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{checkpoint.name}: the weights lack {', '.join(missing[:4])}{' …' * (len(missing) > 4)}, which would be "
            "random numbers; was it saved without its classification head?"
        )
    if left := sorted(found["unexpected_keys"]):
        _log.warning(
            "%s: of the weights %d have no place in the model, such as %s", checkpoint.name, len(left), left[0]
        )
    return model.eval().requires_grad_(False).to(dtype).to(device)


def _check_size(checkpoint: Checkpoint, folder: Path) -> None:
    """Raise `CheckpointError` for a config of a model that is much larger than its weights, which would be made first.

    It is built without its numbers, which takes no memory.
    """
    there = shapes(folder / each for each in weight_files(checkpoint.files))
    if there is None:
        return
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    with torch.device("meta"):
        model = transformers.AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    wanted = sum(each.numel() for each in (*model.parameters(), *model.buffers()))
    had = sum(torch.Size(shape).numel() for shape in there.values())
    if wanted > 2 * had + _COMPUTED:
        raise CheckpointError(
            f"{checkpoint.name}: by config.json the model has {wanted:,} numbers, and the weights have {had:,}: take "
            "the config.json that belongs to the weights"
        )


def vocabulary(model: Any) -> int:
    """Ids that the model reads are below this: rows of the embedding table."""
    try:
        return len(model.get_input_embeddings().weight)
    except (AttributeError, NotImplementedError):
        return _ANY_ID


def weight_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of its files of weights."""
    folder = checkpoint.local()
    return sum((folder / name).stat().st_size for name in weight_files(checkpoint.files))


def keep_freed_memory() -> None:
    """Let glibc reuse memory that was freed, up to 256 MiB of it, where by default it gives it back to the system.

    A forward pass frees and takes tens of megabytes in every layer; fresh pages cost 5 to 7 % of its time on a CPU.
    """
    libc = ctypes.CDLL(None)
    if sys.platform == "linux" and hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the most that glibc takes
        libc.mallopt(_M_TRIM_THRESHOLD, 256 << 20)


def _no_report(record: logging.LogRecord) -> bool:
    """Not the table of weights that transformers shows: what it says is refused, or said in a line."""
    return "LOAD REPORT" not in record.getMessage()
