"""Whether kernels run on this machine: one is compiled, and does what it should."""

import functools
import logging

import torch

from seqcls_beam.model.engine.kernels import machine

_log = logging.getLogger(__name__)


@functools.cache
def available() -> bool:
    """Whether they do; why not is logged where the processor is such that they should."""
    try:
        if why := machine.lacking():
            if why != machine.BFLOAT16:
                _log.info("the engine's kernels do not run: this machine lacks %s", why)
            return False
        # Of llvmlite, which need not be installed.
        from seqcls_beam.model.engine.kernels.sums import normed

        x_TD, y_TD, weight_D, bias_D = (torch.ones(*rows, machine.WIDTHS) for rows in ((1,), (1,), (), ()))
        return bool(normed(x_TD, y_TD, weight_D, bias_D, 1.0).eq(1).all())
    except Exception as error:  # not installed, another version, or memory that may not hold code
        _log.info("the engine's kernels do not run: %s: %s", type(error).__name__, error)
        return False
