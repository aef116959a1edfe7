"""Devices: what an option names → the device, and what of the machine is this process's."""

import logging
import os
import threading
from collections.abc import Sequence

import torch

from seqcls_beam.model.cards import take
from seqcls_beam.model.engine.errors import EngineError

AMPERE = (8, 0)
"""The compute capability from which on a GPU multiplies bfloat16, and runs FlashAttention-2."""

PASS = threading.Lock()
"""Held for each forward pass, of which a process makes one at a time: it uses all the threads it may."""

_log = logging.getLogger(__name__)


def resolve_device(name: str) -> torch.device:
    """The device an option names; `auto` is a GPU where there is one. Raises `EngineError` where there is none.

    Of several GPUs `auto` and `cuda` are the one on which the fewest processes of this package work, the same each time
    in a process.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type != "cuda":
        return device
    there = torch.cuda.device_count()
    if (device.index or 0) >= there:
        raise EngineError(
            f"--device={name}: there is no such CUDA device here (torch {torch.__version__} sees {there})"
            if there
            else f"--device={name}: there is no CUDA device here (torch {torch.__version__})"
        )
    # One that is named is taken too: for others to pass over it.
    return torch.device("cuda", _taken(range(there) if device.index is None else [device.index]))


def _taken(cards: Sequence[int]) -> int:
    """Which of the CUDA devices of these numbers is this process's; the first where it cannot be told."""
    try:
        return cards[take([str(torch.cuda.get_device_properties(card).uuid) for card in cards])]
    except OSError as error:
        _log.warning("the first GPU is taken, whoever else works on it, for none can be locked: %s", error)
        return cards[0]


def on_gpu(name: str) -> bool:
    """Whether the device an option names is a GPU, as far as there is one; takes none."""
    return name != "cpu" and torch.cuda.is_available()


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a GPU has products of bfloat16; torch also says so of older ones, which emulate them."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE


def cuda_devices() -> int:
    """CUDA devices that this process may use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
