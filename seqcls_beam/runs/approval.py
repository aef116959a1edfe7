"""What consumers may read: `OUT/_APPROVED.json`, which names the last version that passed, and every other one.

    {partition, version, labels, run_id, passed: {partition: number}, failed: {partition: {version, why}}}

It is written by compare-and-swap alone. `passed` has of each partition the newest version that passed and never an
older one, and the partition named at the top is the last of these, null where there are none: so it only moves forward,
in whatever order nights are judged, and whoever was halted while it judged.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from seqcls_beam import storage
from seqcls_beam.runs.run import RunError, label_folders
from seqcls_beam.runs.store import Store
from seqcls_beam.runs.versions import Version, is_below, newest, read_version, version_name

NAME = "_APPROVED.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Approval:
    """What was judged."""

    passed: dict[str, int] = field(default_factory=dict)  # partition → the newest version that passed
    failed: dict[str, tuple[int, list[str]]] = field(default_factory=dict)  # → a version that did not, and why

    @property
    def last(self) -> str | None:
        """The last partition that passed."""
        return max(self.passed, default=None)

    def knows(self, partition: str, number: int) -> bool:
        """Whether a version was judged."""
        return self.passed.get(partition) == number or self.refuses(partition, number)

    def refuses(self, partition: str, number: int) -> bool:
        """Whether a version was judged, and did not pass."""
        return partition in self.failed and self.failed[partition][0] == number

    def judged(self, partition: str, number: int, why: list[str]) -> "Approval":
        """With the judgement of one more version: why it did not pass, or nothing. What passed stays passed."""
        if self.passed.get(partition, 0) >= number:
            return self
        others = {name: each for name, each in self.failed.items() if name != partition}
        if why:
            return Approval(self.passed, {**others, partition: (number, why)})
        return Approval({**self.passed, partition: number}, others)


def approval(store: Store) -> Approval:
    """What of an output folder was judged. Raises `RunError` for what has that name and is none of this program's."""
    data = store.read(NAME)
    if data is None and store.exists(NAME) and (data := store.read(NAME)) is None:  # else it came in between
        raise RunError(f"{_shown(store)} is a link that leads nowhere: remove it")
    return _parsed(data, _shown(store))


def record(store: Store, version: Version, why: list[str]) -> Approval:
    """Write down a judgement, unless the version was replaced meanwhile; what stands there then.

    Raises `RunError` as `approval` and `judged` do, and where the file system has no compare-and-swap.
    """
    shown = _shown(store)

    def change(data: bytes | None) -> bytes | None:
        before = _parsed(data, shown)
        after = before.judged(version.partition, version.number, why)
        if after == before or newest(store, version.partition) != version.number:
            return None
        return _document(store, after)

    try:
        return _parsed(storage.update(store.uri(NAME), change), shown)
    except storage.StoreError:
        raise
    except OSError as error:
        raise RunError(f"{shown} cannot be written: {storage.without_secrets(str(error))}") from error


def read_judged(store: Store, partition: str, number: int) -> tuple[Version, dict[str, Any]]:
    """A version that was judged, as `read_version` has it. Raises `RunError` saying what to do where it is gone."""
    name = version_name(partition, number)
    if not store.exists(name):
        where = storage.without_password(store.uri(name))
        raise RunError(
            f"{where} is gone, and {NAME} says that it passed: put it back, or move {NAME} away and judge the nights "
            "again"
        )
    return read_version(store, partition, number)


def _shown(store: Store) -> str:
    return storage.without_password(store.uri(NAME))


def repeated(store: Store, known: Approval, version: Version) -> int | None:
    """The number of a version that passed, where a later one only says the same again; None for any other.

    Such a one shuts out a run that died (`commit.bar`): no row is another one, so there is nothing to judge.
    """
    while version.bars and version.number > 1:
        version = read_version(store, version.partition, version.number - 1)[0]
        if known.passed.get(version.partition) == version.number:
            return version.number
    return None


def _document(store: Store, known: Approval) -> bytes:
    last = known.last
    number = 0 if last is None else known.passed[last]
    said: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "kind": "approval",
        "partition": last,
        "version": None if last is None else version_name(last, number),
        "labels": None if last is None else label_folders(last)[0],
        "run_id": None if last is None else read_judged(store, last, number)[0].run_id,
    }
    failed = {name: {"version": number, "why": why} for name, (number, why) in sorted(known.failed.items())}
    said |= {"passed": dict(sorted(known.passed.items())), "failed": failed}
    return orjson.dumps(said, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _parsed(data: bytes | None, shown: str) -> Approval:
    if data is None:
        return Approval()
    try:
        said = orjson.loads(data)
        if said["format_version"] != FORMAT_VERSION or said["kind"] != "approval":
            raise ValueError
        passed = {_partition(name): _number(number) for name, number in said["passed"].items()}
        failed = {
            _partition(name): (_number(each["version"]), [str(why) for why in each["why"]])
            for name, each in said["failed"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):  # orjson's own is a ValueError
        raise RunError(f"{shown} is none of this program's; move it away, and judge the nights again") from None
    return Approval(passed, failed)


def _partition(name: str) -> str:
    """The name of a partition, which is a folder of its own, or "" for the table without any."""
    if name and not (is_below(name) and "=" in name and "/" not in name):
        raise ValueError
    return name


def _number(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError
    return value
