"""The PTransforms: wiring only, and the one room that knows Beam. What a step does is a function of another room.

Importing it registers the coder of `pa.RecordBatch`, which every pipeline here stands on.
"""

from typing import TYPE_CHECKING, Any

import seqcls_beam.transforms.coder  # noqa: F401
from seqcls_beam.transforms.classify import Classify, ReadRecords, Tokenize, WriteLabeled
from seqcls_beam.transforms.rows import FromRows, ToRows

if TYPE_CHECKING:
    from seqcls_beam.transforms.handler import ClassifierHandler

__all__ = ["ClassifierHandler", "Classify", "FromRows", "ReadRecords", "ToRows", "Tokenize", "WriteLabeled"]


def __getattr__(name: str) -> Any:
    """Load the handler on first use: Beam's inference package imports torch wherever it is installed."""
    if name == "ClassifierHandler":
        from seqcls_beam.transforms.handler import ClassifierHandler

        return ClassifierHandler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Names that are loaded on first use among them, for `dir` and `pydoc`."""
    return sorted({*globals(), *__all__})
