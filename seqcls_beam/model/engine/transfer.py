"""Numbers of this machine's memory → a device."""

import torch
from torch import Tensor

from seqcls_beam.model.engine.packing import Ints


def on(device: torch.device, values: Ints) -> Tensor:
    """A copy on a device, which does not wait for what the device is doing; on a CPU the values themselves."""
    tensor = torch.from_numpy(values)
    # torch keeps pinned memory until the copy has been made.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
