"""What the versions of a table say, each read once: their input, their columns, and which name parts that are gone."""

from collections.abc import Callable, Iterable
from functools import cached_property, partial
from typing import Any

from seqcls_beam import storage
from seqcls_beam.runs.columns import Shape, shape
from seqcls_beam.runs.commit import locate, recovered
from seqcls_beam.runs.run import Placed
from seqcls_beam.runs.store import Store
from seqcls_beam.runs.table import TRIES, called, partitions
from seqcls_beam.runs.versions import Version, newest, published_files, read_version

Key = tuple[str, int, str]
"""A file as it was read: path without a password, size in bytes, version."""

_KEPT = ("id_column", "keep_columns", "keep_source")


class Names:
    """Files by the names under which they are known: on a disk one file has many, links among them."""

    def __init__(self, known: Iterable[Key]) -> None:
        self._known = dict.fromkeys(known)
        self._found: dict[tuple[int, str], dict[str, Key]] = {}
        self._asked: dict[Key, Key] = {}
        self._gone: dict[tuple[int, str], Key | None] = {}

    def of(self, key: Key) -> Key:
        """The name under which a file is known; its own where it is not, or where that name leads to it no more.

        As it was when this was first asked of it.
        """
        if key not in self._asked:
            self._asked[key] = self._look(key)
        return self._asked[key]

    def _look(self, key: Key) -> Key:
        alike = key[1:]
        # Only what has its size and time is looked at: a look costs something on a disk of the network.
        if key in self._known or not (others := self._alike.get(alike)) or not (mine := _itself(key)):
            return key
        if alike not in self._found:
            self._found[alike] = {_itself(each): each for each in reversed(others)}
        return self._found[alike].get(mine, key)

    def moved(self, key: Key) -> Key | None:
        """A file of the size and time of this one that was known by a name that leads nowhere now."""
        alike = key[1:]
        if alike not in self._gone:
            others = self._alike.get(alike, ())
            self._gone[alike] = next((each for each in others if storage.is_gone(each[0])), None)
        return self._gone[alike]

    @cached_property
    def _alike(self) -> dict[tuple[int, str], list[Key]]:
        found: dict[tuple[int, str], list[Key]] = {}
        for key in self._known:
            found.setdefault(key[1:], []).append(key)
        return found


def _itself(key: Key) -> str:
    return "" if key[0] == "-" else storage.itself(key[0])  # - is what was read from the standard input


class Covered:
    """The input of the newest versions of all partitions, when this was made; whatever model labelled it."""

    def __init__(
        self,
        store: Store,
        read: dict[str, Any],
        leave_out: str | None = None,
        carry_out: bool = True,
        placed: Placed | None = None,
    ) -> None:
        """`read` says how files are read now; `leave_out` is a partition that is about to be replaced and covers none.

        Versions that were decided and interrupted are carried out first, and `placed` told, unless somebody only asks.
        Raises `RunError` for a file that is none.
        """
        self.shapes: dict[str, Shape] = {}  # partition → what its rows look like, where there are any and that is known
        self.files: dict[Key, bool] = {}  # False: rows of it are missing that may be read now
        self.unread: set[Key] = set()  # of which nothing could be read
        self.by_path: dict[str, str] = {}  # → a partition that has rows of a file of that name
        self.gone: dict[str, str] = {}  # partition → a part that its version names, and that is gone
        names = partitions(store)
        find = partial(recovered, placed=placed) if carry_out else _newest
        found = zip(names, storage.each(partial(_look, store, find), names), strict=True)
        for partition, (manifest, part) in ((name, each) for name, each in found if each is not None):
            if (looks := shape(called(partition), manifest)) and not looks.blank:
                self.shapes[partition] = looks
            if partition == leave_out:
                continue
            if part:
                self.gone[partition] = part
            for file in manifest.get("inputs", []):  # also of one that says that its rows were taken away
                key = key_of(file)
                self.files[key] = self.files.get(key, False) or is_covered(file, manifest.get("read"), read)
                self.by_path[key[0]] = partition
                if file.get("rows_lost") and not file["rows"]:
                    self.unread.add(key)
        self.names = Names(self.files)

    def __contains__(self, key: Key) -> bool:
        """Whether a file needs no other look, whatever name it has here."""
        return self.files.get(self.names.of(key), False)


def key_of(file: dict[str, Any]) -> Key:
    """A file of a listing, or among a manifest's inputs."""
    return (storage.without_password(file["path"]), file["size"], file["version"])


def is_covered(file: dict[str, Any], then: Any, now: dict[str, Any]) -> bool:
    """Whether a file among a manifest's inputs needs no other look; how it was read then, and would be now.

    One of which rows were lost does not while it is read as it was, as far as that decides what of it can be read; one
    of which nothing was read always does.
    """
    if not file.get("rows_lost"):
        return True
    # What is kept of a row decides nothing of an archive that ends early; else a kept column may be what is damaged.
    whole = any(each["reason"] != "truncated_file" for each in file["losses"])
    deciding = [name for name in now if whole or name not in _KEPT]
    same = isinstance(then, dict) and all(then.get(name) == now[name] for name in deciding)
    return same and bool(file["rows"])


_Find = Callable[[Store, str], tuple[Version, dict[str, Any]] | None]


def _look(store: Store, find: _Find, partition: str) -> tuple[dict[str, Any], str | None] | None:
    """The manifest of a partition's newest version, and a part that it names and that is gone; None without a version.

    On a disk a folder is there before its first version is.
    """
    for _ in range(TRIES):
        if (found := find(store, partition)) is None:
            return None
        version, manifest = found
        part = missing(store, version, manifest)
        if part is None or newest(store, partition) == version.number:
            return manifest, part
    return manifest, None  # each time it was replaced by another one, which took the parts away


def _newest(store: Store, partition: str) -> tuple[Version, dict[str, Any]] | None:
    number = newest(store, partition)
    return read_version(store, partition, number) if number else None


def missing(store: Store, version: Version, manifest: dict[str, Any]) -> str | None:
    """A part that a version names and that is nowhere; one that a listing lacks is asked for by its name."""
    named = {each["path"] for each in published_files(manifest)}
    folders = {path.rpartition("/")[0] for path in named}
    listed = {f"{folder}/{name}" for folder in folders for name in store.names(folder)}
    if not (lacking := sorted(named - listed)):
        return None
    elsewhere = locate(store, version)
    there = storage.each(store.exists, [elsewhere.get(path, path) for path in lacking])
    return next((path for path, is_there in zip(lacking, there, strict=True) if not is_there), None)
