"""Engine: token ids → logits. The only place that knows torch or a GPU.

Names of arrays and tensors end with their axes where these are not plain from the line above: `q_QHK` is [Q, H, K].

    N    sequences: those of a batch, or of a forward pass
    R    some of these, by their numbers
    T    the tokens of all of them, one sequence after the other, no padding between
    N1   N + 1 offsets into T: where each sequence begins, then where the last one ends; R1 likewise
    Q    tokens that ask in attention: all T, or the first of each of N sequences
    W    width: tokens of each sequence of a group, where all have as many, or are padded to as many
    D    hidden size: numbers per token
    H    attention heads
    K    numbers per token and head, D / H
    I O  inputs and outputs of one product
    L    labels
    1    before the others: the axis of batches, which transformers' modules expect
"""

from seqcls_beam.model.engine.classifier import Classifier
from seqcls_beam.model.engine.loaded import loaded

__all__ = ["Classifier", "loaded"]
