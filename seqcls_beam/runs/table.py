"""A published output as its readers find it: the newest version of every partition, and its rows.

Readers of a version see all of it at any moment: while it is being carried out they find a file where it still lies.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from fsspec.implementations.dirfs import DirFileSystem

from seqcls_beam import storage
from seqcls_beam.runs import pieces, unsealed
from seqcls_beam.runs.accounting import vanished
from seqcls_beam.runs.commit import carry_out, locate
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


def open_labels(output: str, live: bool = False) -> ds.Dataset:
    """The labelled rows of a folder, exactly those of the newest versions: partitions by name, rows in input order.

    Where the table has partitions, their value is a column. A publication that a dead process left half done is carried
    out. A dataset opens files when it is read: where another run has replaced them since, open it again. `live` adds
    what a stream has labelled and nobody has sealed, each message once, as sealing would: read into memory, now. Raises
    `FileNotFoundError` where nothing is published or files of it are gone, `RunError` where a version or a piece is
    damaged, no labels are published there, or partitions differ in their columns.
    """
    gone: FileNotFoundError | None = None
    for _ in range(TRIES):
        # Before the versions: what is sealed in between is in both, and left out of one.
        waiting = _waiting(output) if live else []
        runs = list(published(output))
        if not runs and not waiting:
            raise FileNotFoundError(f"{output} holds no published run")
        for run in runs:
            if run.manifest["kind"] != "classify":
                raise RunError(f"{output} holds no labels, but the output of pipelines.{run.manifest['kind']}")
        with suppress(OSError):  # of a folder that can only be read: then files are found where they lie
            storage.each(settled, runs)
        places = storage.each(Published.locations, runs)
        files = [
            _Part(run, name, part["bytes"], str(part.get("shape", run.version.partition)))
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
    schema = _unified(f"{output}:", [("sealed rows" if part is sealed else "pieces", part.schema) for part in parts])
    return ds.UnionDataset(schema, [part.replace_schema(schema) for part in parts])


def _dataset(output: str, files: list[_Part]) -> ds.Dataset:
    fs, root = storage.connect(storage.absolute(output))
    if storage.named(root) != root:  # Arrow takes only names that are UTF-8
        fs, root = DirFileSystem(root, fs), "."
    system, form = arrow_files(fs), ds.ParquetFileFormat()
    made: list[ds.ParquetFileFragment] = []
    firsts: dict[str, tuple[_Part, ds.ParquetFileFragment]] = {}
    for part in files:
        partition = part.run.version.partition
        key, _, value = partition.partition("=")
        where = {"partition_expression": ds.field(key) == value} if key else {}
        made.append(form.make_fragment(storage.join(root, part.name), system, **where))
        firsts.setdefault(part.shape, (part, made[-1]))
    schema = _unified(
        f"{output}: the partitions",
        storage.each(_columns, list(firsts.values())),
    )
    for key in {part.run.version.partition.partition("=")[0] for part in files} - {""}:
        schema = schema.append(pa.field(key, pa.string()))
    return ds.FileSystemDataset(made, schema, form, system)


def _columns(first: tuple[_Part, ds.ParquetFileFragment]) -> tuple[str, pa.Schema]:
    part, fragment = first
    try:
        return part.run.version.partition, fragment.physical_schema
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{part.uri} is damaged: {' '.join(str(error).split())}") from error


def _unified(what: str, found: list[tuple[str, pa.Schema]]) -> pa.Schema:
    """All columns of things that have a name. Raises `RunError`, which begins with `what`, where their types differ."""
    first, schema = found[0]
    if any(each.metadata != schema.metadata for _, each in found):
        schema = schema.remove_metadata()  # the order of `scores` is not the same in all
    for name, each in found:
        try:
            schema = pa.unify_schemas([schema, each])
        except pa.ArrowException as error:
            raise RunError(f"{what} {first} and {name} differ: {error}") from error
    return schema


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


def known_inputs(
    store: Store, model: str, read: dict[str, Any], leave_out: str | None = None
) -> dict[tuple[str, int, str], bool]:
    """Path, size and version of the files that versions of any partition read for this model (its digest) → covered?

    A file of which something is missing is covered where it was there and was read as now, which `read` says, as far as
    that decides what of it can be read. `leave_out` is a partition that does not count, for it is about to be replaced.
    """
    manifests = [read_version(store, each, newest(store, each))[1] for each in partitions(store) if each != leave_out]
    known: dict[tuple[str, int, str], bool] = {}
    for manifest in manifests:  # also of one that says that its rows were taken away
        if manifest.get("model", {}).get("digest") == model:
            for file in manifest["inputs"]:
                key = (file["path"], file["size"], file["version"])
                known[key] = known.get(key, False) or _is_covered(file, manifest.get("read"), read)
    return known


def _is_covered(file: dict[str, Any], then: Any, now: dict[str, Any]) -> bool:
    if not file.get("rows_lost"):
        return True
    # What is kept of a row decides nothing of an archive that ends early; else a kept column may be what is damaged.
    whole = any(each["reason"] != "truncated_file" for each in file["losses"])
    deciding = [name for name in now if whole or name not in _KEPT]
    same = isinstance(then, dict) and all(then.get(name) == now[name] for name in deciding)
    return same and not vanished([file])


_KEPT = ("id_column", "keep_columns", "keep_source")


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
