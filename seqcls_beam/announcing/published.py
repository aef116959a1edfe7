"""A published version as platforms are told of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seqcls_beam import storage


class PlatformError(Exception):
    """Why a platform was not told, as one sentence; no secret is said with it."""

    def __init__(self, said: str) -> None:
        super().__init__(storage.without_secrets(said))


class NotThere(PlatformError):
    """What would be told has to be made first, and is not to be."""


def brief(said: object, most: int = 300) -> str:
    """What somebody else says, as one line without a secret: of one that is cut, the rest would show."""
    line = storage.without_secrets(" ".join(str(said).split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


@dataclass(frozen=True, kw_only=True)
class Announced:
    """One version of an output, and what was written of it."""

    output: str  # the output folder as a URI or path, without password
    partition: str  # run_date=2026-01-31, window=…, or "" of a table without partitions
    version: int
    manifest: Mapping[str, Any]  # as read from the version
