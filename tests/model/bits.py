"""Whether the bits of a text's scores follow from the text alone: on a CPU that is oneDNN's doing, or not."""

import pytest
import torch

from seqcls_beam.model.engine.linear import Linear, available


def rows_keep_their_bits() -> bool:
    """Whether a row of a product of oneDNN's is the same beside any number of others."""
    made = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 768, generator=made)
    product = Linear(torch.randn(256, 768, generator=made), None)
    whole = product(inputs)
    return all(torch.equal(product(inputs[:rows]), whole[:rows]) for rows in range(1, len(inputs)))


def _holds() -> bool:
    new = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 13)
    return new or not available() or rows_keep_their_bits()


same_bits = pytest.mark.skipif(not _holds(), reason="oneDNN before 3.12 rounds by the number of rows on this processor")
"""For tests of bits. From torch 2.13 on they run wherever oneDNN does."""
