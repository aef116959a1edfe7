"""Packages that only fine-tuning and evaluation need, imported where they are used."""

import importlib
from typing import Any


def wanted(name: str) -> Any:
    """A module of an optional package; raises `ImportError` with the one sentence that helps."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = {"sklearn": "scikit-learn"}.get(name.split(".")[0], name.split(".")[0])
        raise ImportError(
            f"{package} is missing, which evaluation needs: pip install 'seqcls_beam[train]'", name=name
        ) from error
