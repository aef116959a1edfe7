"""What a folder holds, newest version first, and what it held before."""

import re
from dataclasses import dataclass
from typing import Any

from seqcls_beam import storage
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.shapes import checked
from seqcls_beam.runs.store import Store, store_of
from seqcls_beam.runs.table import Published, partitions, read_newest
from seqcls_beam.runs.versions import read_version

_WINDOW = re.compile(r"window=(\d{4})(\d{2})(\d{2})T\d+.*Z")
_BACK = 8  # versions that are looked through for the one before


@dataclass(frozen=True)
class Folder:
    """An output folder."""

    uri: str
    store: Store
    partitions: tuple[str, ...]  # by name; "" is what has none

    @property
    def name(self) -> str:
        """What people call it."""
        return storage.without_password(self.uri).rstrip("/").rsplit("/", 1)[-1]


def look(output: str) -> Folder:
    """A folder that a command published into. Raises `RunError` for one that holds nothing."""
    uri = storage.absolute(output)
    store = store_of(uri)
    names = partitions(store)
    if not names:
        read_newest(store)  # which tells of an earlier layout
        raise RunError(f"{storage.without_password(output)} holds nothing that a command published")
    return Folder(uri, store, tuple(names))


def current(folder: Folder, partition: str) -> Published | None:
    """The newest version of a partition, checked; None where it says that there is nothing."""
    found = read_newest(folder.store, partition)
    if found is not None:
        checked(found.manifest, folder.store.uri(found.version.name))
    return found


def replaced(folder: Folder, now: Published) -> Published | None:
    """The last version of another run of the same partition; None where there was none, or nobody can read it."""
    partition, number = now.version.partition, now.version.number
    for each in range(number - 1, max(number - 1 - _BACK, 0), -1):
        try:
            version, manifest = read_version(folder.store, partition, each)
            if manifest["kind"] == now.manifest["kind"] and version.run_id != now.version.run_id:
                return Published(folder.store, version, checked(manifest, folder.store.uri(version.name)))
        except RunError:
            return None
    return None


def earlier(folder: Folder, partition: str, most: int) -> list[str]:
    """The partitions before one, the last first."""
    kind = partition.partition("=")[0]
    return sorted(
        (name for name in folder.partitions if name.partition("=")[0] == kind and name < partition), reverse=True
    )[:most]


def days(folder: Folder) -> dict[str, list[str]]:
    """The windows of a stream by the day in which they begin, YYYY-MM-DD, in order."""
    found: dict[str, list[str]] = {}
    for name in folder.partitions:
        if match := _WINDOW.fullmatch(name):
            found.setdefault("-".join(match.groups()), []).append(name)
    return found


def report_texts(manifest: dict[str, Any]) -> bool:
    """Whether the person who ran it let texts be shown."""
    return bool(manifest.get("report_texts", 1))
