"""Memory of a training on a CPU, which batches of ever other widths would let grow.

glibc keeps what was freed, in pieces that the next width does not fit into. (oneDNN keeps what it compiled for the last
1,024 shapes, some 0.7 GB in bfloat16; with fewer, small models would compile in most steps, for a tenth of their time.)
"""

import ctypes
import os
import sys
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

FIRST = 5
"""Steps that show what a step needs: the rows of the first are the longest."""

SLACK, FLOOR = 1.25, 64 << 20
"""How much more may be kept than a step needs: so many times as much, or so many bytes more."""

APART = 20
"""Steps from one time to the next: to get the pages again costs as much as one or two steps of a small model."""


class GiveBack(TrainerCallback):
    """Gives what is free back to the system where much more is kept than a step needs. Of other libraries than glibc,
    which keep less, nothing is asked."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._can = sys.platform == "linux" and hasattr(self._libc, "malloc_trim")
        self._step = self._last = 0
        self._most = 0  # bytes that are resident with what a step needs …
        self._left = 0  # … and without it, when that was given back last
        self._needs = 0

    def on_step_end(self, _: TrainingArguments, __: TrainerState, ___: TrainerControl, **____: Any) -> None:
        """Look at what is resident."""
        if not self._can:
            return
        self._step += 1
        if self._step <= FIRST:
            self._most = max(self._most, resident())
        if self._step == FIRST:
            self._give_back()
            self._needs = max(self._most - self._left, 0)
        elif self._step >= self._last + APART and resident() - self._left > max(
            SLACK * self._needs, self._needs + FLOOR
        ):
            self._give_back()

    def _give_back(self) -> None:
        self._libc.malloc_trim(0)
        self._left, self._last = resident(), self._step


def resident() -> int:
    """Bytes of this process that are in memory, on Linux."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
