"""A published version as platforms are told of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seqcls_beam import storage

FOOTERS = 100.0


class PlatformError(Exception):
    """Why a platform was not told, as one sentence; no secret is said with it."""

    def __init__(self, said: str) -> None:
        super().__init__(storage.without_secrets(said))


class NotThere(PlatformError):
    """What would be told has no rows of the output: it has others', or has to be made first, and is not to be."""


class Unread(PlatformError):
    """The parts of the version cannot be read: whoever needs them is told no more than others."""


def brief(said: object, most: int = 300) -> str:
    """What somebody else says, as one line without a secret: of one that is cut, the rest would show."""
    line = storage.without_secrets(" ".join(str(said).split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def reading(manifest: Mapping[str, Any]) -> float:
    """Seconds at most for the footers of all parts: of many fifty in each, as slow stores give them."""
    return max(FOOTERS, len(manifest.get("parts") or ()) / 50)


@dataclass(frozen=True, kw_only=True)
class Announced:
    """One version of an output, and what was written of it."""

    output: str  # the output folder as a URI or path, without password
    partition: str  # run_date=2026-01-31, window=…, or "" of a table without partitions
    version: int
    manifest: Mapping[str, Any]  # as read from the version
    place: str = field(default="", repr=False)  # the folder as it is opened, with a password; nobody is told of it

    @property
    def reading(self) -> float:
        """Seconds at most for the footers of all parts."""
        return reading(self.manifest)

    @property
    def opened(self) -> str:
        """The output folder as files of it are read."""
        return self.place or storage.absolute(self.output)
