"""RECORD → TOKENS → PREDICTION: which checkpoint, how its tokenizer reads, what it answers.

Knows no files of text, no run and no Beam; torch only in `engine/`.
"""

from seqcls_beam.model.checkpoints import Checkpoint, CheckpointError, resolve

__all__ = ["Checkpoint", "CheckpointError", "resolve"]
