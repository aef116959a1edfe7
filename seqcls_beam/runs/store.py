"""What a publication does with files, on a disk and in an object store.

A process may be halted before any of these steps and wake when others have gone on. So each step is one that does
nothing then: it moves from, or into, a folder that only its own version has, and that is closed before the next version
begins; or it names a file as it was seen while that folder was open.

Names are relative to the output folder. `files` are the functions of `seqcls_beam.storage`, or others that do the same.
"""

import errno
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from seqcls_beam import storage

Moves = Sequence[tuple[str, str]]

OVER = "over-"
"""How the names of folders below `_attempts` begin that were closed and are being removed."""

_LATE = (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)
"""What a rename answers where somebody else has done it, or has closed the folder that it names."""


class Store(Protocol):
    """An output folder as the protocol sees it."""

    def uri(self, name: str) -> str:
        """The URI of a name."""

    def exists(self, name: str) -> bool:
        """Whether a file is there; asked for by its name, never read off a listing."""

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where there is none."""

    def names(self, folder: str) -> list[str]:
        """The names of files and folders in a folder, as a listing has them: in a store it may lag."""

    def create(self, name: str, data: bytes, scratch: str) -> bool:
        """Write a file whole unless there is one; says whether it was written. Of many at once, one writes."""

    def open(self, stage: str, folders: Iterable[str]) -> None:
        """Make a stage, a folder that only one version has, from which files will go to `folders`."""

    def is_open(self, folder: str) -> bool:
        """Whether a stage, or its folder for what is replaced, is there and was not closed."""

    def close(self, folder: str) -> None:
        """Close a stage, or its folder for what is replaced: from here on no late step that names it acts."""

    def put_away(self, names: Sequence[str], aside: str) -> None:
        """Take published files away, as long as the folder `aside` is open."""

    def place(self, stage: str, moves: Moves) -> list[str]:
        """Move files to where they are published; those that are nowhere, although the stage is open."""

    def discard(self, folder: str) -> None:
        """Remove a folder of unfinished work that nobody can publish any more."""

    def adopt(self, old: str, new: str) -> bool:
        """Let what an attempt at an earlier version left be that at the next; says whether it is."""

    def remove(self, names: Sequence[str]) -> None:
        """Remove files whose names are never used again."""


class _Folder:
    """What both have in common."""

    def __init__(self, output: str, files: Any = storage) -> None:
        self._output = output
        self._files = files

    def uri(self, name: str) -> str:
        """The URI of a name."""
        return storage.join(self._output, name)

    def exists(self, name: str) -> bool:
        """Whether a file is there."""
        return bool(self._files.exists(self.uri(name)))

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where there is none."""
        try:
            return bytes(self._files.read(self.uri(name)))
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """What is in a folder."""
        return list(self._files.names(self.uri(folder)))

    def create(self, name: str, data: bytes, scratch: str) -> bool:
        """Write a file whole unless there is one."""
        created = bool(self._files.put_if_absent(self.uri(name), data, self.uri(scratch)))
        self._files.sync(self.uri(name.rsplit("/", 2)[0]))  # where a folder of versions may be new
        return created

    def remove(self, names: Sequence[str]) -> None:
        """Remove files, each by its name."""
        self._files.each(self._files.remove_file, [self.uri(name) for name in names])

    def _absent(self, names: list[str]) -> list[str]:
        there = self._files.each(self.exists, names)
        return [name for name, is_there in zip(names, there, strict=True) if not is_there]


class Disk(_Folder):
    """A disk: files and whole folders are renamed, which either happens or does not."""

    def open(self, stage: str, folders: Iterable[str]) -> None:
        """Make its folders now: later a missing one says that the stage is closed."""
        self._files.make_folder(self.uri(f"{stage}/old"))
        for folder in filter(None, folders):
            self._files.make_folder(self.uri(f"{stage}/new/{folder}"))
            if "/" in folder:
                self._files.make_folder(self.uri(folder.rpartition("/")[0]))

    def is_open(self, folder: str) -> bool:
        """A folder is open as long as it is there."""
        return bool(self._files.exists(self.uri(folder)))

    def close(self, folder: str) -> None:
        """Rename it to where nobody looks, which is one step, and remove that."""
        over = f"_attempts/{OVER}{self._files.token()}"
        if self._rename(folder, over):
            with suppress(OSError):  # files of another user: `pipelines.clean` lists them, and nobody reads them
                self._files.remove(self.uri(over))

    def put_away(self, names: Sequence[str], aside: str) -> None:
        """Rename what is in the root, whole folders at once: who lists one sees what was there, or what comes."""
        for name in dict.fromkeys(name.split("/")[0] for name in names):
            self._rename(name, f"{aside}/{name}")

    def place(self, stage: str, moves: Moves) -> list[str]:
        """Rename. A folder is filled in the stage; if it is new, it appears with all its files at once."""
        doubtful: set[str] = set()  # of these somebody else has moved the file, or nobody has it
        for folder, files in _by_folder(moves).items():
            if not folder:
                doubtful.update(target for place, target in files if not self._rename(place, target))  # in order
            elif self.names(folder):
                gone = self._rename_all(files)
                doubtful |= self._rename_all([(f"{stage}/new/{target}", target) for target in sorted(gone)])
            else:
                doubtful |= self._fill(folder, files, f"{stage}/new")
            for each in dict.fromkeys((folder or ".", folder.rpartition("/")[0] or ".")):
                self._files.sync(self.uri(each))
        missing = self._absent(sorted(doubtful))
        if not missing or not self.is_open(stage):
            return []
        for target in missing:
            if self.exists(f"{stage}/new/{target}"):
                raise OSError(f"{self.uri(stage)}/new/{target} cannot be moved to {self.uri(target)}")
        return missing

    def discard(self, folder: str) -> None:
        """Rename it to where nobody looks, and remove that."""
        self.close(folder)

    def adopt(self, old: str, new: str) -> bool:
        """Rename it, unless there is one: what a late process does under the old name it does to nothing."""
        return self._rename(old, new)

    def _fill(self, folder: str, files: Moves, aside: str) -> set[str]:
        """Let a folder appear with all its files at once; the names that others have moved."""
        staged = {target: f"{aside}/{target}" for _, target in files}
        gone = self._rename_all([(place, staged[target]) for place, target in files])
        self._files.sync(self.uri(f"{aside}/{folder}"))
        if self._rename(f"{aside}/{folder}", folder):
            return {target for target in staged if staged[target] in gone}
        return self._rename_all([(staged[target], target) for _, target in files])

    def _rename_all(self, moves: Moves) -> set[str]:
        """Rename files; the targets of those that could not be, because somebody else did."""
        done = self._files.each(lambda move: self._rename(*move), list(moves))
        return {target for (_, target), renamed in zip(moves, done, strict=True) if not renamed}

    def _rename(self, source: str, target: str) -> bool:
        try:
            self._files.rename(self.uri(source), self.uri(target))
        except OSError as error:
            if error.errno not in _LATE:
                raise
            return False
        return True


class Bucket(_Folder):
    """An object store: no folders and no renames, but a file can be removed if it is still the one that was seen."""

    def open(self, stage: str, folders: Iterable[str]) -> None:
        """Write a file into each folder that says so."""
        for folder in (f"{stage}/old", stage):
            self._files.put(self.uri(f"{folder}/open"), b"")

    def is_open(self, folder: str) -> bool:
        """A folder is open as long as it has the file that says so."""
        return self.exists(f"{folder}/open")

    def close(self, folder: str) -> None:
        """Remove the files that say so; the stage holds nothing else."""
        for each in (folder, f"{folder}/old"):
            self._files.remove_file(self.uri(f"{each}/open"))

    def put_away(self, names: Sequence[str], aside: str) -> None:
        """Remove what was seen while it was open, if it is that still; the first name before the others."""
        seen = self._files.each(lambda name: (name, self._files.version_of(self.uri(name))), list(names))
        if self.is_open(aside):  # asked after the look: what was seen is not what comes later
            there = [(self.uri(name), version) for name, version in seen if version is not None]
            for some in (there[:1], there[1:]):
                self._files.each(lambda each: self._files.remove_version(*each), some)

    def place(self, stage: str, moves: Moves) -> list[str]:
        """Copy, and remove the source."""
        done = self._files.each(lambda move: self._move(*move), list(moves))
        doubtful = [target for (_, target), moved in zip(moves, done, strict=True) if not moved]
        missing = self._absent(sorted(doubtful))
        return missing if missing and self.is_open(stage) else []

    def discard(self, folder: str) -> None:
        """Remove what a listing has."""
        self._files.remove(self.uri(folder))

    def adopt(self, old: str, new: str) -> bool:
        """Not here: files would be copied one by one, and whoever removes the old ones could be late."""
        return False

    def _move(self, source: str, target: str) -> bool:
        try:
            self._files.copy(self.uri(source), self.uri(target))
        except FileNotFoundError:
            return False
        self._files.remove_file(self.uri(source))
        return True


def store_of(output: str) -> Store:
    """The store that an output folder lies in."""
    return Disk(output) if storage.is_local(output) else Bucket(output)


def _by_folder(moves: Moves) -> dict[str, list[tuple[str, str]]]:
    """Moves by the folder of their target, in order; the root's files come last."""
    folders: dict[str, list[tuple[str, str]]] = {}
    for place, target in moves:
        folders.setdefault(target.rpartition("/")[0], []).append((place, target))
    root = folders.pop("", None)
    return {**folders, **({"": root} if root else {})}
