"""Checkpoints: from what the user named to a verified folder on this machine.

    name → resolve, once, where the run is launched → Checkpoint → .local(), in every process → folder

A checkpoint's identity is the digest of its files, not its name: a worker that fetches other bytes than the launcher
saw raises. A folder may hold a file LATEST that says which of the checkpoints in it is meant. Nothing here reads the
user's texts or knows torch.
"""

from seqcls_beam.model.checkpoints.checkpoint import (
    PACKAGED,
    Checkpoint,
    resolve,
    resolve_base,
    resolve_copy,
    resolve_tokenizer,
)
from seqcls_beam.model.checkpoints.description import load_tokenizer
from seqcls_beam.model.checkpoints.errors import CheckpointError
from seqcls_beam.model.checkpoints.files import tokenizer_files
from seqcls_beam.model.checkpoints.latest import LATEST, promote, version_in

__all__ = [
    "LATEST",
    "PACKAGED",
    "Checkpoint",
    "CheckpointError",
    "load_tokenizer",
    "promote",
    "resolve",
    "resolve_base",
    "resolve_copy",
    "resolve_tokenizer",
    "tokenizer_files",
    "version_in",
]
