"""What is said of a checkpoint that cannot be used."""


class CheckpointError(ValueError):
    """The checkpoint cannot be used: one sentence that says why, and what to do."""

    def __init__(self, sentence: str, passing: bool = False) -> None:
        """`passing`: a store did not answer, so that another try may help."""
        super().__init__(sentence)
        self.passing = passing
