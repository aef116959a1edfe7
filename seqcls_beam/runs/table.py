"""A published output as its readers find it: the newest version of every partition, and its rows.

Readers of a version see all of it at any moment: while it is being carried out they find a file where it still lies.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow.fs import FSSpecHandler, PyFileSystem

from seqcls_beam import storage
from seqcls_beam.runs.commit import carry_out, locate
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.store import Store, store_of
from seqcls_beam.runs.versions import EARLIER, FOLDER, Version, newest, published_files, read_version
from seqcls_beam.schema import PARTITION

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


def settled(found: Published) -> Published:
    """A version whose files have their names, for who opens them later; finishes what a dead process left.

    Raises `OSError` where that cannot be, as in a folder that can only be read.
    """
    carry_out(found.store, found.version)
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


def open_labels(output: str) -> ds.Dataset:
    """The labelled rows of a folder, exactly those of the newest versions: partitions by name, rows in input order.

    Where the table has partitions, their value is a column. A publication that a dead process left half done is carried
    out. A dataset opens files when it is read: where another run has replaced them since, open it again. Raises
    `FileNotFoundError` where nothing is published or files of it are gone, `RunError` where a version is damaged, no
    labels are published there, or partitions differ in their columns.
    """
    gone: FileNotFoundError | None = None
    for _ in range(TRIES):
        runs = list(published(output))
        if not runs:
            raise FileNotFoundError(f"{output} holds no published run")
        for run in runs:
            if run.manifest["kind"] != "classify":
                raise RunError(f"{output} holds no labels, but the output of pipelines.{run.manifest['kind']}")
        with suppress(OSError):  # of a folder that can only be read: then files are found where they lie
            storage.each(settled, runs)
        places = storage.each(Published.locations, runs)
        files = [(run, name) for run, names in zip(runs, places, strict=True) for name in names]
        there = storage.each(_is_there, files)
        missing = [name for (_, name), is_there in zip(files, there, strict=True) if not is_there]
        try:
            if not missing:
                return _dataset(output, files)
            gone = FileNotFoundError(
                f"{storage.join(output, missing[0])} is gone, and a version names it; run it again"
            )
        except FileNotFoundError as error:  # moved, or replaced, since we looked
            gone = error
    assert gone is not None
    raise gone


def _is_there(file: tuple[Published, str]) -> bool:
    return file[0].store.exists(file[1])


def _dataset(output: str, files: list[tuple[Published, str]]) -> ds.Dataset:
    fs, root = storage.connect(storage.absolute(output))
    system, form = PyFileSystem(FSSpecHandler(fs)), ds.ParquetFileFormat()
    made: list[ds.ParquetFileFragment] = []
    firsts: dict[str, ds.ParquetFileFragment] = {}
    for run, name in files:
        key, _, value = run.version.partition.partition("=")
        where = {"partition_expression": ds.field(key) == value} if key else {}
        made.append(form.make_fragment(storage.join(root, name), system, **where))
        firsts.setdefault(run.version.partition, made[-1])
    found = storage.each(lambda each: each.physical_schema, list(firsts.values()))
    schemas = dict(zip(firsts, found, strict=True))
    schema = found[0]
    if any(each.metadata != schema.metadata for each in found):
        schema = schema.remove_metadata()  # the order of `scores` is not the same in all
    for partition, each in schemas.items():
        try:
            schema = pa.unify_schemas([schema, each])
        except pa.ArrowException as error:
            raise RunError(f"{output}: the partitions {next(iter(schemas))} and {partition} differ: {error}") from error
    for key in {partition.partition("=")[0] for partition in schemas} - {""}:
        schema = schema.append(pa.field(key, pa.string()))
    return ds.FileSystemDataset(made, schema, form, system)


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


def covered_inputs(
    store: Store, model: str, read: dict[str, Any], leave_out: str | None = None
) -> set[tuple[str, int, str]]:
    """Path, size and version of the files that versions of any partition labelled with this model (its digest).

    A file of which nothing could be read is covered where it was read as now, which `read` says. `leave_out` is a
    partition that does not count, for it is about to be replaced.
    """
    manifests = [read_version(store, each, newest(store, each))[1] for each in partitions(store) if each != leave_out]
    return {
        (file["path"], file["size"], file["version"])
        for manifest in manifests  # also of one that says that its rows were taken away
        if manifest.get("model", {}).get("digest") == model
        for file in manifest["inputs"]
        if file.get("rows", 1) or not file.get("rows_lost", 0) or manifest.get("read") == read
    }


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
