"""Hive folders: what the name of a folder, `lang=en/`, says of all rows in it."""

import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import unquote

import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.matching import has_signs, split

_NULL = "__HIVE_DEFAULT_PARTITION__"


def names(files: pa.RecordBatch, options: ReadOptions) -> list[str]:
    """The columns that folders give to files (UNIT rows): those that all have, in order, then those of some only.

    Only folders count that lie below what all patterns name outright.
    """
    counts = Counter(name for found in _each(files, options) for name in found)
    return sorted(counts, key=lambda name: counts[name] < len(files))


def value(path: str, name: str) -> str | None:
    """What the folders of a path say for a column, the last where several do; None for Hive's null, and for nothing."""
    said = _columns(_plain(path)).get(name)
    return None if said == _NULL else said


def _each(files: pa.RecordBatch, options: ReadOptions) -> Iterator[dict[str, str]]:
    """For each file the columns of its folders, below what is named outright."""
    paths = [_plain(path) for path in files["path"].to_pylist()]
    base = _base(paths, options)
    for path in paths:
        yield _columns(path[len(base) :]) if path.startswith(base) else {}


def _base(paths: list[str], options: ReadOptions) -> str:
    """The folder, with a slash, that all patterns name outright; of several files or folders the one they share."""
    files = set(paths)
    shared: str | None = None
    for pattern in options.input:
        uri = storage.absolute(pattern)
        if not storage.is_local(uri):
            fs, path = storage.connect(uri)
            uri = fs.unstrip_protocol(path)  # as its files are listed
        path = _plain(uri)
        outright = path in files or not has_signs(path) or any(each.startswith(f"{path}/") for each in paths)
        stem = path if path in files else f"{path}/" if outright else split(path)[0]
        shared = stem[: stem.rfind("/") + 1] if shared is None else shared
        while not stem.startswith(shared):
            shared = shared[: shared.rstrip("/").rfind("/") + 1]
    return shared or ""


def _plain(uri: str) -> str:
    """A URI of the local disk → its path; others as they are."""
    return storage.local_path(uri) if storage.is_local(uri) else uri


def _columns(path: str) -> dict[str, str]:
    if storage.is_web(path):  # has no folders
        return {}
    folders = path.split("/")[:-1]
    pairs = [folder.split("=", 1) for folder in folders if re.match("[^=]+=", folder)]
    return {_decoded(name): _decoded(said) for name, said in pairs}


def _decoded(text: str) -> str:
    try:
        return storage.named(unquote(text, errors="strict"))
    except UnicodeDecodeError:  # no encoding of Hive's
        return storage.named(text)
