"""What torch raises → a lack of memory, the end of a GPU for this process, or an error like others."""

import os
import sys

import torch


def out_of_memory(error: BaseException) -> bool:
    """torch has a class for a lack of memory, but not for that of a library, or of the host."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        sign in str(error) for sign in ("can't allocate memory", "out of memory", "ALLOC_FAILED")
    )


def end_if_dead(error: RuntimeError) -> None:
    """End the process where a fault in a kernel left a GPU on which nothing can run from it any more.

    After an assertion or an illegal address every call to the GPU fails, and no retry in this process can help; other
    errors of the driver, as of a kernel that cannot be launched, leave it as it was.
    """
    if not isinstance(error, torch.AcceleratorError) or out_of_memory(error) or _answers():
        return
    print(
        f"seqcls_beam: the GPU stopped at a fault in one of its kernels ({error}); this process ends, since nothing "
        "can run on that GPU from it any more",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def _answers() -> bool:
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True
