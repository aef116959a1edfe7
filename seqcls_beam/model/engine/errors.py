"""What the engine says when it cannot do what was asked for."""


class EngineError(ValueError):
    """The device or the precision that was asked for cannot be had: here, or with this checkpoint and corpus."""
