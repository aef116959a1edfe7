"""What is said of a checkpoint that cannot be used."""


class CheckpointError(ValueError):
    """The checkpoint cannot be used: one sentence that says why, and what to do."""
