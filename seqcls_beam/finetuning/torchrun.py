"""The processes of a training: which one this is, and that all of them end with the torchrun that started them.

Killed, torchrun cannot end them, and what a scheduler starts in its place would train beside them.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def processes() -> tuple[int, int]:
    """(rank of this process, how many there are), as torchrun says in the environment."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def end_with_torchrun() -> None:
    """Let the system end this process as soon as torchrun is gone, where that is what started it, on Linux.

    One whose torchrun is gone already finds that out when it asks it how the processes meet.
    """
    if sys.platform == "linux" and "TORCHELASTIC_RUN_ID" in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
