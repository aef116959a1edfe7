"""Files, tables, models and topics as OpenLineage names them, and a run's inputs as few datasets.

Names follow https://openlineage.io/docs/spec/naming: a bucket is the namespace and the rest the name, of a disk the
namespace is "file". What this project publishes is one dataset, its folder, whatever partitions and parts are in it:
so what one command writes is what the next one reads.

A run may read a million files. Those of one folder are one dataset; a file that is alone in its folder is one itself.
Where that makes too many, folders are taken together from the deepest up.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from seqcls_beam import storage
from seqcls_beam.runs.versions import PART

MOST = 100
"""Datasets of one event; what is left is counted."""

OURS = "seqcls_beam"
HUB = "https://huggingface.co"
_BUCKETS = {"gs": "gs", "gcs": "gs", "s3": "s3", "s3a": "s3", "s3n": "s3"}
_CONTAINERS = {"abfs": "abfss", "abfss": "abfss", "wasb": "wasbs", "wasbs": "wasbs", "az": "az", "adl": "adl"}
_ASKED = re.compile(r"[?#@]|::")
_LABELS = re.compile(r"(.*?/|)labels(?:/\w+=[^/]+)?")
_TOPIC = re.compile(r"projects/([^/]+)/(topic|subscription)s/([^/]+)")


class Name(NamedTuple):
    """What a dataset is known by."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Source:
    """A dataset that a run read, and how much of it, where that is known."""

    name: Name
    files: int | None = None
    rows: int | None = None
    bytes: int | None = None


def of_uri(uri: str) -> Name:
    """A file or a folder. Of one in another, as zip://a.csv::gs://bucket/b.zip, the outer one; no secret is in it."""
    uri = storage.without_password(uri).rpartition("::")[2]
    if storage.is_local(uri):
        return Name("file", re.sub(r"^(file|local|bytes):(//)?", "", uri).rstrip("/") or "/")
    scheme, _, rest = uri.partition("://")
    host, _, path = rest.partition("/")
    scheme = _BUCKETS.get(scheme) or _CONTAINERS.get(scheme, scheme)
    # What is no file in a store's bucket has a path from the root.
    root = "" if scheme in _BUCKETS or scheme in _CONTAINERS.values() else "/"
    return Name(f"{scheme}://{host}", root + path.strip("/") or "/")


def of_model(name: str, revision: str | None) -> Name:
    """A checkpoint as a manifest names it: a Hub id where it has a revision, else a folder.

    The bundled one has a name alone, and so has a folder that was named from a working folder nobody knows any more:
    neither is a path.
    """
    if revision is not None:
        return Name(HUB, name)
    return of_uri(name) if name.startswith("/") or "://" in name else Name(OURS, storage.without_password(name))


def of_topic(resource: str) -> Name | None:
    """A topic, or a subscription, projects/PROJECT/topics/NAME; None for another name."""
    found = _TOPIC.fullmatch(resource)
    return Name("pubsub", f"{found[2]}:{found[1]}:{found[3]}") if found else None


def of_files(files: Iterable[Mapping[str, Any]], most: int = MOST) -> tuple[list[Source], int]:
    """Files, as a manifest has them under `inputs` → (at most so many datasets by name, files that are in none).

    Files are left out only where more places than that have nothing in common: the smallest ones.
    """
    groups: dict[Name, list[Mapping[str, Any]]] = {}
    for file in files:
        groups.setdefault(_folder(file["path"]), []).append(file)
    alone = {folder: of_uri(found[0]["path"]) for folder, found in groups.items() if len(found) == 1}
    groups = {_whole(alone.get(name, name), found): found for name, found in groups.items()}
    depth = max((name.name.count("/") for name in groups), default=0)
    while len(groups) > most and depth > 0:
        depth -= 1
        groups = _cut(groups, depth)
    ranked = sorted(groups.items(), key=lambda group: (-_size(group[1]), group[0]))
    left = sum(len(found) for _, found in ranked[most:])
    return [_source(name, found) for name, found in sorted(ranked[:most], key=lambda group: group[0])], left


def _folder(path: str) -> Name:
    """The folder of a file, or the table of a part that this project published."""
    before, _, name = path.rpartition("/")
    if _ASKED.search(path):  # a slash may be one of a query
        whole = of_uri(path)
        before, _, name = whole.name.rpartition("/")
        folder = whole._replace(name=before or "/")
    else:
        folder = _folder_of(before)
    if PART.fullmatch(name) and (found := _LABELS.fullmatch(folder.name)):
        return folder._replace(name=found[1].rstrip("/") or "/")
    return folder


@lru_cache(65_536)
def _folder_of(uri: str) -> Name:
    return of_uri(uri or "/")  # of a million files most have the same


def _whole(name: Name, found: list[Mapping[str, Any]]) -> Name:
    """A part that is the only one is its table all the same."""
    folder = _folder(found[0]["path"])
    return folder if PART.fullmatch(name.name.rpartition("/")[2]) else name


def _cut(groups: dict[Name, list[Mapping[str, Any]]], depth: int) -> dict[Name, list[Mapping[str, Any]]]:
    """The same files by names of at most so many slashes."""
    made: dict[Name, list[Mapping[str, Any]]] = {}
    for name, found in groups.items():
        short = "/".join(name.name.split("/")[: depth + 1]) or "/"
        made.setdefault(name._replace(name=short), []).extend(found)
    return made


def _source(name: Name, found: list[Mapping[str, Any]]) -> Source:
    return Source(name, len(found), _sum(found, "rows"), _size(found) or None)


def _size(found: list[Mapping[str, Any]]) -> int:
    """Bytes that were read; before a run those that are there."""
    return next((size for key in ("bytes", "size") if (size := _sum(found, key)) is not None), 0)


def _sum(found: list[Mapping[str, Any]], key: str) -> int | None:
    """None where it is not known of one of them."""
    values = [file.get(key) for file in found]
    return sum(values) if all(isinstance(value, int) for value in values) else None  # type: ignore[arg-type]
