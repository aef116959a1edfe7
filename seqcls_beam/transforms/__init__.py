"""The PTransforms: wiring only, and the one room that knows Beam. What a step does is a function of another room.

Importing it registers the coder of `pa.RecordBatch`, which every pipeline here stands on.
"""

import logging
from typing import TYPE_CHECKING, Any


def _is_of_use(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("apitools not found")


# Beam without its [gcp] extra warns on import that its BigQuery client is missing, which nothing here uses; and so that
# first warning of a program gives the root logger a handler, after which the program's own basicConfig does nothing.
_root = logging.getLogger()
_lent = None if _root.handlers else logging.lastResort
_root.addFilter(_is_of_use)
if _lent:
    _root.addHandler(_lent)
try:
    import apache_beam  # noqa: F401
finally:
    _root.removeFilter(_is_of_use)
    if _lent:
        _root.removeHandler(_lent)

import seqcls_beam.transforms.coder  # noqa: E402, F401
from seqcls_beam.transforms.classify import Classify, ReadRecords, Tokenize, WriteLabeled  # noqa: E402
from seqcls_beam.transforms.rows import FromRows, ToRows  # noqa: E402

if TYPE_CHECKING:
    from seqcls_beam.transforms.beam_yaml import SeqclsClassify
    from seqcls_beam.transforms.handler import ClassifierHandler

__all__ = [
    "ClassifierHandler",
    "Classify",
    "FromRows",
    "ReadRecords",
    "SeqclsClassify",
    "ToRows",
    "Tokenize",
    "WriteLabeled",
]


def __getattr__(name: str) -> Any:
    """Load on first use what few need; and Beam's inference package imports torch wherever it is installed."""
    if name == "SeqclsClassify":
        from seqcls_beam.transforms.beam_yaml import SeqclsClassify

        return SeqclsClassify
    if name == "ClassifierHandler":
        from seqcls_beam.transforms.handler import ClassifierHandler

        return ClassifierHandler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Names that are loaded on first use among them, for `dir` and `pydoc`."""
    return sorted({*globals(), *__all__})
