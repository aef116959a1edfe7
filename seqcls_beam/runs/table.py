"""A published output as its readers find it: the newest version of every partition, and its rows.

Readers of a version see all of it at any moment: while it is being carried out they find a file where it still lies.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from fsspec.implementations.dirfs import DirFileSystem

from seqcls_beam import storage
from seqcls_beam.runs import pieces, unsealed
from seqcls_beam.runs.approval import NAME, approval, repeated
from seqcls_beam.runs.columns import File, Shape, problem_of, shape, unified
from seqcls_beam.runs.commit import arrange, carry_out, locate
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.store import Store, store_of
from seqcls_beam.runs.versions import EARLIER, FOLDER, Version, newest, published_files, read_version
from seqcls_beam.schema import PARTITION
from seqcls_beam.storage.arrow import arrow_files

TRIES = 5  # of opening what another run replaces at that moment


@dataclass(frozen=True)
class Published:
    """The newest version of a partition, with something in it."""

    store: Store
    version: Version
    manifest: dict[str, Any]

    def locations(self) -> list[str]:
        """Where the parts are now, relative to the output folder, in input order."""
        elsewhere = locate(self.store, self.version)
        return [elsewhere.get(part["path"], part["path"]) for part in self.manifest["parts"]]

    def uris(self, key: str) -> list[str]:
        """Where the files are now that the manifest names under `parts` or `rejects`, those without rows left out."""
        elsewhere = locate(self.store, self.version)
        files = [each["path"] for each in self.manifest[key] if each["rows"]]
        return [self.store.uri(elsewhere.get(path, path)) for path in files]


def settled(found: Published) -> Published:
    """A version whose files have their names, for who opens them later; finishes what a dead process left.

    But for labels that replace others: a table may have those, and lets go of them when somebody writes. Raises
    `OSError` where that cannot be, as in a folder that can only be read.
    """
    replaces_labels = found.manifest["kind"] == "classify" and found.version.number > 1
    (arrange if replaces_labels else carry_out)(found.store, found.version)
    return found


def partitions(store: Store) -> list[str]:
    """The partitions that have versions, sorted: folders whose name says so; "" is the table without any."""
    names = store.names(FOLDER)
    return [""] * any(name.endswith(".json") for name in names) + [name for name in names if "=" in name]


def read_newest(store: Store, partition: str = "") -> Published | None:
    """The newest version of a partition; None where there is none, or where it says that there is nothing.

    Raises `RunError` for a file that is no version, and for an output of the layout before versions.
    """
    number = newest(store, partition)
    if not number:
        _refuse_earlier(store)
        return None
    version, manifest = read_version(store, partition, number)
    return Published(store, version, manifest) if manifest["kind"] != "nothing" else None


def read_manifest(output: str, partition: str = "") -> dict[str, Any] | None:
    """The manifest of what is published in a folder (in a partition of it); None where nothing is.

    Raises `RunError` for a file that is no version.
    """
    found = read_newest(store_of(storage.absolute(output)), partition)
    return found.manifest if found else None


def published(output: str) -> Iterator[Published]:
    """The newest versions of all partitions, by name. Raises `RunError` as `read_newest` does."""
    store = store_of(storage.absolute(output))
    for found in storage.each(lambda partition: read_newest(store, partition), partitions(store) or [""]):
        if found is not None:
            yield found


def shapes(store: Store) -> dict[str, Shape]:
    """What the rows of each partition that has any look like, as newest versions say it. Raises as `read_newest`."""
    names = partitions(store)
    found = zip(names, storage.each(lambda each: read_newest(store, each), names), strict=True)
    told = ((name, shape(called(name), each.manifest)) for name, each in found if each)
    return {name: each for name, each in told if each is not None and not each.blank}


def called(partition: str) -> str:
    """What sentences call a partition."""
    return partition or "the table without partitions"


def passed(output: str) -> Iterator[Published]:
    """The versions that passed when `pipelines.approve` judged them, by partition; not those without rows by now.

    Raises `RunError` where one was replaced and the new one has not passed, `FileNotFoundError` where nothing passed.
    """
    store = store_of(storage.absolute(output))
    judged = approval(store)
    if not judged.passed:
        raise FileNotFoundError(f"{output} holds nothing that passed: python -m pipelines.approve judges it")
    names = sorted(judged.passed)
    runs = storage.each(lambda name: read_newest(store, name), names)
    judged = approval(store)  # once more: what was replaced and judged between two looks has passed
    for name, run in zip(names, runs, strict=True):
        if run is not None and run.version.number != judged.passed[name] and not repeated(store, judged, run.version):
            did = "did not pass" if judged.refuses(name, run.version.number) else "was not judged"
            raise RunError(
                f"{name or output} passed as version {judged.passed[name]}, and was replaced since by version "
                f"{run.version.number}, which {did}: python -m pipelines.approve judges it"
            )
        if run is None and not newest(store, name):
            gone = store.uri("/".join(filter(None, [FOLDER, name])))
            raise FileNotFoundError(
                f"{name or output} passed, and its versions are gone: put {gone} back, or move {NAME} away and judge "
                "the nights again"
            )
        if run is not None:
            yield run


def open_labels(output: str, live: bool = False, approved: bool = False) -> ds.Dataset:
    """The labelled rows of a folder, exactly those of the newest versions: partitions by name, rows in input order.

    Where the table has partitions, their value is a column; what only some of them have is null in the others. A
    publication that a dead process left half done is read as if it were done. A dataset opens files when it is read:
    where another run has replaced them since, open it again. `live` adds what a stream has labelled and nobody has
    sealed, each message once, as sealing would: read into memory, now. `approved` leaves out what has not passed when
    `pipelines.approve` judged it. Raises `FileNotFoundError` where nothing is published (or has passed) or files of it
    are gone, `RunError` where a version or a piece is damaged, what passed was replaced since, no labels are published
    there, or columns of partitions do not go together (`runs.columns`).
    """
    gone: FileNotFoundError | None = None
    for _ in range(TRIES):
        # Before the versions: what is sealed in between is in both, and left out of one.
        waiting = _waiting(output) if live else []
        runs = list(passed(output) if approved else published(output))
        if not runs and not waiting:
            raise FileNotFoundError(f"{output} holds no published run")
        for run in runs:
            if run.manifest["kind"] != "classify":
                raise RunError(f"{output} holds no labels, but the output of pipelines.{run.manifest['kind']}")
        with suppress(OSError):  # of a folder that can only be read: then files are found where they lie
            storage.each(settled, runs)
        places = storage.each(Published.locations, runs)
        files = [
            _Part(run, name, part["bytes"], part["rows"], str(part.get("shape", run.version.partition)))
            for run, names in zip(runs, places, strict=True)
            for name, part in zip(names, run.manifest["parts"], strict=True)
        ]
        sizes = storage.each(_size, files)
        missing = [part.name for part, size in zip(files, sizes, strict=True) if size is None]
        for part, size in zip(files, sizes, strict=True):
            if size is not None and size != part.bytes:
                raise RunError(
                    f"{part.uri} is damaged: it has {size:,} bytes, and {part.bytes:,} were published; put the file "
                    "back, or label its rows again"
                )
        try:
            if not missing:
                return _with_unsealed(output, _dataset(output, files) if files else None, waiting, runs)
            gone = FileNotFoundError(
                f"{storage.join(output, missing[0])} is gone, and a version names it; run it again"
            )
        except FileNotFoundError as error:  # moved, or replaced, since we looked
            gone = error
    assert gone is not None
    raise gone


class _Part(NamedTuple):
    """A file of labelled rows."""

    run: Published
    name: str
    bytes: int
    rows: int
    shape: str  # what names its columns: parts of one name have the same

    @property
    def uri(self) -> str:
        """Where it is."""
        return self.run.store.uri(self.name)


def _size(part: _Part) -> int | None:
    return storage.size(part.uri)


def _waiting(output: str) -> list[unsealed.Waiting]:
    try:
        return unsealed.look(store_of(storage.absolute(output)))
    except pieces.Damaged as error:
        raise RunError(str(error)) from error


def _with_unsealed(
    output: str, sealed: ds.Dataset | None, waiting: list[unsealed.Waiting], runs: list[Published]
) -> ds.Dataset:
    """A dataset with the rows that no version has. Raises `FileNotFoundError` where a part is gone."""
    versions = {run.version.partition: run for run in runs}
    parts: list[ds.Dataset] = [] if sealed is None else [sealed]
    for each in waiting:
        run = versions.get(each.window)
        try:
            fresh = unsealed.fresh(each, run.uris("parts") if run is not None else [])
        except pieces.Damaged as error:
            raise RunError(str(error)) from error
        parts += [ds.dataset(table) for table in fresh]
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return ds.dataset(pa.table({}))  # nights without rows
    found = [File("what is sealed" if part is sealed else "what is not", None, part.schema) for part in parts]
    schema = unified(output, found)
    return ds.UnionDataset(schema, [part.replace_schema(schema) for part in parts])


def _dataset(output: str, files: list[_Part]) -> ds.Dataset:
    fs, root = storage.connect(storage.absolute(output))
    if storage.named(root) != root:  # Arrow takes only names that are UTF-8
        fs, root = DirFileSystem(root, fs), "."
    system, form = arrow_files(fs), ds.ParquetFileFormat()
    files = [part for part in files if part.rows] or files[:1]  # what has no rows decides no columns
    firsts: dict[str, tuple[_Part, ds.ParquetFileFragment]] = {}
    for part in files:
        if part.shape not in firsts:
            firsts[part.shape] = part, form.make_fragment(storage.join(root, part.name), system)
    found = storage.each(_columns, list(firsts.values()))
    schema = unified(output, found)
    known = {each: _known(file, schema) for each, file in zip(firsts, found, strict=True)}
    made = []
    for part in files:
        key, _, value = part.run.version.partition.partition("=")
        terms = [*known[part.shape], *([ds.field(key) == value] if key else [])]
        where = {"partition_expression": reduce(and_, terms)} if terms else {}
        made.append(form.make_fragment(storage.join(root, part.name), system, **where))
    for key in {part.run.version.partition.partition("=")[0] for part in files} - {""}:
        schema = schema.append(pa.field(key, pa.string()))
    return ds.FileSystemDataset(made, schema, form, system)


def _known(file: File, schema: pa.Schema) -> list[pc.Expression]:
    """What is known of the rows of a file: which columns have no value. These are not read, under whatever type."""
    others = [each.name for each in file.schema if schema.field(each.name).type != each.type]
    return [ds.field(name).is_null() for name in others if name in file.empty]


def _columns(first: tuple[_Part, ds.ParquetFileFragment]) -> File:
    part, fragment = first
    manifest, where = part.run.manifest, part.run.version.partition
    try:
        looks = shape(where, manifest)
        empty = [each.name for each in looks.columns if each.empty] if looks is not None else []
        return File(where, problem_of(manifest), fragment.physical_schema, empty)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{part.uri} is damaged: {' '.join(str(error).split())}") from error


def first_rows(output: str, rows: int, partition: str = "") -> pa.Table:
    """At most `rows` labelled rows of a partition, the first of its first part that has any; for a look."""
    found = read_newest(store_of(storage.absolute(output)), partition)
    names = found.locations() if found else []
    for name, part in zip(names, found.manifest["parts"] if found else [], strict=True):
        if part["rows"]:
            fs, path = storage.connect(storage.join(storage.absolute(output), name))
            with fs.open(path, "rb") as file:
                return pa.Table.from_batches([next(pq.ParquetFile(file).iter_batches(rows))])
    return pa.table({})


def damage(run: Published) -> str | None:
    """What of a published run is no longer there; None if every part is, with its size."""
    elsewhere = locate(run.store, run.version)
    files = published_files(run.manifest)
    sizes = storage.each(storage.size, [run.store.uri(elsewhere.get(each["path"], each["path"])) for each in files])
    for file, size in zip(files, sizes, strict=True):
        if size != file["bytes"]:
            return f"{file['path']} " + ("is gone" if size is None else f"has {size} bytes instead of {file['bytes']}")
    return None


def _refuse_earlier(store: Store) -> None:
    dated = [f"{name}/{EARLIER[0]}" for name in store.names("") if name.startswith(f"{PARTITION}=")]
    for name in (*EARLIER, *dated):
        if store.exists(name):
            raise RunError(
                f"{store.uri(name)} is of an earlier layout, which this version does not read: name another folder"
            )
