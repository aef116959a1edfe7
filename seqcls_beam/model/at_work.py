"""What labels a stream at a time: a checkpoint and its engine, and what makes engines."""

from dataclasses import dataclass
from typing import Protocol

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.model.predictions import Engine
from seqcls_beam.model.tokens import Sequences


class Engines(Protocol):
    """What makes engines of checkpoints, on one device."""

    def load(self, checkpoint: Checkpoint, options: ModelOptions, at_hand: Sequences | None) -> Engine:
        """One that passed its self-test, on the sequences at hand, too; raises as `Classifier`.

        `MemoryError`, or an error that has it as a cause, where there is too little memory for it.
        """

    def room(self, checkpoint: Checkpoint, beside: Checkpoint) -> tuple[int, int] | None:
        """Bytes (that it may take beside the other one, that are free); None where it is not known."""

    def let_go(self) -> None:
        """Give back what engines held that are gone."""


@dataclass
class AtWork:
    """A checkpoint and its engine."""

    checkpoint: Checkpoint
    engine: Engine
    batches: int = 0  # that are under way in it


class Ended(Exception):
    """A stream ended while a model was being loaded for it."""
