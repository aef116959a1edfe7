"""What counts in an output folder: a chain of versions, each a JSON file that is created once and never changed.

    OUT/_versions/[run_date=2026-11-20/]00000001.json

A version is the manifest of what was published, and under `commit` where its files lay before and where they go. The
newest of a partition is what its readers see. Versions are numbered without a gap, so the newest is found by asking for
names, never by a listing, which may lag.
"""

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from seqcls_beam import storage
from seqcls_beam.runs.accounting import is_file
from seqcls_beam.runs.run import RunError, attempts, short
from seqcls_beam.runs.store import Store

FOLDER = "_versions"
FORMAT_VERSION = 2
KINDS = ("classify", "prepare", "finetune", "evaluate")
"""The commands whose output a version may be; "nothing" is what one says that has no files."""

EARLIER = ("_MANIFEST.json", "_attempts/_INTENT.json")
"""Files of the layout before versions, which is not read."""


@dataclass(frozen=True)
class Version:
    """One publication as the protocol needs it. All names are relative to the output folder."""

    partition: str  # "" or a folder such as run_date=2026-11-20
    number: int  # from 1
    run_id: str
    stage: str  # a folder that no other version has: every step of this one has an end in it, or a name of its own
    work: str  # the folder of the run's unfinished work, put away at the end
    moves: tuple[tuple[str, str], ...] = ()  # where a file lies → where it is published
    replaces: tuple[str, ...] = ()  # what the version before published under names that are used again
    sweeps: tuple[str, ...] = ()  # folders in which the parts of earlier versions go
    named: frozenset[str] = frozenset()  # every file that counts
    bars: bool = False  # it says what the version before said, and is there so that no run can follow that one

    @property
    def name(self) -> str:
        """The file that says so."""
        return version_name(self.partition, self.number)

    @property
    def old(self) -> str:
        """The folder for what is replaced; there until all of it has been put away."""
        return f"{self.stage}/old"

    def body(self, manifest: dict[str, Any]) -> bytes:
        """The bytes of the file."""
        commit = {
            "version": self.number,
            "partition": self.partition,
            "stage": self.stage,
            "work": self.work,
            "moves": self.moves,
            "replaces": self.replaces,
            "sweeps": self.sweeps,
            "bars": self.bars,
        }
        return orjson.dumps({**manifest, "run_id": self.run_id, "commit": commit}, option=orjson.OPT_INDENT_2)


def version_name(partition: str, number: int) -> str:
    """The file of a version."""
    return "/".join(filter(None, [FOLDER, partition, f"{number:08d}.json"]))


NOTHING: dict[str, Any] = {
    "format_version": FORMAT_VERSION,
    "kind": "nothing",
    "run_id": "",
    "parts": [],
    "rejects": [],
}
"""The manifest of a version that has no files."""


def newest(store: Store, partition: str) -> int:
    """The number of a partition's newest version, 0 where there is none."""
    return highest(lambda number: store.exists(version_name(partition, number)))


def highest(exists: Callable[[int], bool]) -> int:
    """The last of numbers from 1 without a gap, 0 where there is none; asks twice as often as it has bits."""
    low, high = 0, 1
    while exists(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if exists(middle) else (low, middle)
    return low


def read_version(store: Store, partition: str, number: int) -> tuple[Version, dict[str, Any]]:
    """(what the protocol needs of a version, its manifest). Raises `RunError` for a file that is no version."""
    name = version_name(partition, number)
    data = store.read(name)
    if data is None:
        raise RunError(f"{store.uri(name)} is gone")
    try:
        manifest = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise RunError(f"{store.uri(name)} is no version ({error}); name another folder, or move it away") from error
    wrong = _fault(manifest, partition, number)
    if wrong:
        raise RunError(f"{store.uri(name)} is no version of this project: {wrong}; name another folder")
    commit = manifest["commit"]
    return Version(
        partition,
        number,
        manifest["run_id"],
        commit["stage"],
        commit["work"],
        tuple((place, target) for place, target in commit["moves"]),
        tuple(commit["replaces"]),
        tuple(commit["sweeps"]),
        frozenset(each["path"] for each in published_files(manifest)),
        commit.get("bars") is True,
    ), manifest


def published_files(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The files that a manifest names, each with `path` and `bytes`."""
    return [*manifest["parts"], *manifest["rejects"], *([manifest["card"]] if "card" in manifest else [])]


def is_below(name: Any, folder: str = "") -> bool:
    """Whether a name that was read is a relative path in normal form below a folder."""
    return (
        isinstance(name, str)
        and name not in ("", ".")
        and "\0" not in name
        and "\\" not in name
        and not name.startswith(("/", "../"))
        and name != ".."
        and ":" not in name.split("/")[0]
        and posixpath.normpath(name) == name
        and name.startswith(folder)
    )


def _fault(manifest: Any, partition: str, number: int) -> str | None:
    """What is wrong with a document as a version; None if nothing is."""
    if not isinstance(manifest, dict):
        return f"it holds {type(manifest).__name__} where an object is due"
    if manifest.get("format_version") != FORMAT_VERSION:
        return f"its format_version is {manifest.get('format_version')!r}, and this program reads {FORMAT_VERSION}"
    commit = manifest.get("commit")
    if not isinstance(commit, dict):
        return "it has no `commit`"
    if not isinstance(manifest.get("run_id"), str):
        return "it has no `run_id`"
    if manifest.get("kind") not in (*KINDS, "nothing"):
        return f"its `kind` is {manifest.get('kind')!r}"
    if (commit.get("partition"), commit.get("version")) != (partition, number):
        return f"it says that it is version {commit.get('version')!r} of {commit.get('partition')!r}"
    for key in ("parts", "rejects"):
        if not isinstance(manifest.get(key), list) or not all(map(_is_file, manifest[key])):
            return f"`{key}` is no list of files below the folder"
    if not isinstance(manifest.get("model", {}), dict):
        return "`model` is no object"
    if not isinstance(manifest.get("inputs", []), list) or not all(map(is_file, manifest.get("inputs", []))):
        return "`inputs` is no list of files with path, size and version, and what became of them"
    if "card" in manifest and not _is_file(manifest["card"]):
        return "`card` is no file below the folder"
    for key in ("stage", "work"):
        if not is_below(commit.get(key), "_attempts/"):
            return f"`{key}` is {commit.get(key)!r}, which is not below _attempts/"
    if not isinstance(commit.get("moves"), list) or not all(map(_is_move, commit["moves"])):
        return "`moves` leads out of the folder"
    if not {target for _, target in commit["moves"]} <= {each["path"] for each in published_files(manifest)}:
        return "`moves` has files that it does not publish"
    for key in ("replaces", "sweeps"):
        names = commit.get(key)
        if not isinstance(names, list) or not all(is_below(each) and _is_published(each) for each in names):
            return f"`{key}` leads out of the folder"
    return None


def _is_file(each: Any) -> bool:
    return (
        isinstance(each, dict)
        and is_below(each.get("path"))
        and _is_published(each["path"])
        and isinstance(each.get("bytes"), int)
        and isinstance(each.get("rows", 0), int)
    )


def _is_move(each: Any) -> bool:
    return (
        isinstance(each, list)
        and len(each) == 2
        and is_below(each[0], "_attempts/")
        and is_below(each[1])
        and _is_published(each[1])
    )


def _is_published(name: str) -> bool:
    """Whether a name is one that a run may publish under: none of the protocol's own."""
    return name.split("/")[0] not in (FOLDER, "_attempts")


STAGE = re.compile(r"publish-(\d+)-.+")
"""The name of a stage: of which version."""


def stage_name(partition: str, number: int) -> str:
    """A stage for a version, a folder that nobody else has."""
    return f"{attempts(partition)}/publish-{number:08d}-{storage.token()}"


PART = re.compile(r"part-\d+-of-\d+-v(\d+)-[0-9a-f]{8}\.parquet")
"""The name of a part: which of how many, of which version, of which run."""


def part_name(folder: str, unit: int, units: int, number: int, run_id: str) -> str:
    """The published name of a part, relative to the output folder; no other version ever has it."""
    return f"{folder}/part-{unit:05d}-of-{units:05d}-v{number}-{short(run_id)}.parquet"
