"""One version of a partition → one snapshot of the Iceberg table that has the partition's rows.

What a table knows of OUT stands in its properties, which outlive snapshots:

    seqcls_beam.output             the output folder whose rows it has, and no other's
    seqcls_beam.version.PARTITION  the version that it has, and its run: "3 0123…"; "." is the table without partitions

Both change in the commit that changes the files. So what is told twice is told once, and a commit that another one
overtook is made anew, from what the table has then. Only the newest version of a partition is told: it is asked for
after the table was read, so a version that is decided later is told by a commit that comes later.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.expressions import AlwaysTrue, EqualTo
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import (
    PARTITION_FIELD_ID_START,
    UNPARTITIONED_PARTITION_SPEC,
    PartitionField,
    PartitionSpec,
)
from pyiceberg.table import Table, TableProperties, Transaction
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record

from seqcls_beam.announcing import iceberg_columns, iceberg_files
from seqcls_beam.announcing.iceberg_files import Part
from seqcls_beam.announcing.published import Announced, NotThere, PlatformError

OUTPUT = "seqcls_beam.output"
VERSION = "seqcls_beam.version."
RUN, NUMBER, PARTITION = "seqcls_beam.run_id", "seqcls_beam.version", "seqcls_beam.partition"
"""What the summary of a snapshot says."""

TRIES = 12
"""Of a commit that others overtake; as many partitions can be told at once as get through in the time there is."""
_PAUSE = 0.1, 2.0  # seconds between two of them: the first, the longest

_NEW = {
    TableProperties.FORMAT_VERSION: "2",
    # The files are OUT's: what a table lets go of, or all of it when it is dropped, is not to be deleted with it.
    "gc.enabled": "false",
    # Of the table's own metadata the last hundred stay.
    TableProperties.METADATA_DELETE_AFTER_COMMIT_ENABLED: "true",
}
_ONCE = {TableProperties.COMMIT_NUM_RETRIES: "0"}
"""A commit that was overtaken is made anew here: pyiceberg would repeat it as it is."""


@dataclass(frozen=True)
class Telling:
    """A version, and the table that is told of it."""

    shown: str  # what sentences call the table
    catalog: str
    config: dict[str, Any]
    name: tuple[str, ...]  # namespace …, table
    announced: Announced
    output: str  # absolute, with a protocol
    newest: Callable[[], int]  # the number of the partition's newest version
    over: Callable[[], bool]  # nobody waits any more
    makes: bool = True  # a table where there is none

    def is_told(self) -> bool:
        """Whether nothing is to be done: the table has this version, or there is a newer one. Raises as `tell`."""
        with self._opened() as catalog:
            table = self._table(catalog)
            if self._has(table) or self.newest() != self.announced.version:
                return True
            if table is None and not any(part["rows"] for part in self.announced.manifest["parts"]):
                return True  # it begins with the first rows, which say what columns it has
            self._ensure_made(table)
            return False

    def tell(self, parts: Sequence[Part]) -> None:
        """Let the partition have these parts, and no others. Raises `PlatformError`, with nothing changed."""
        with self._opened() as catalog:
            for attempt in range(TRIES):
                table = self._table(catalog)
                if self._has(table) or self.newest() != self.announced.version or self.over():
                    return
                if table is None and not parts:
                    return
                self._ensure_made(table)
                try:
                    if table is None:
                        # What was published before the table was there did not find it: who makes it asks once more.
                        table = self._created(catalog, parts)
                        if self.newest() != self.announced.version:
                            raise PlatformError(
                                f"{self.shown}: another version was published meanwhile; announce the run again"
                            )
                    self._commit(table, parts)
                    return
                except (CommitFailedException, CommitStateUnknownException, TableAlreadyExistsError):
                    time.sleep(min(_PAUSE[1], _PAUSE[0] * 2**attempt) * random.uniform(0.5, 1))
        raise PlatformError(
            f"{self.shown}: others changed the table {TRIES} times while it was told; announce the run again"
        )

    def _ensure_made(self, table: Table | None) -> None:
        if table is None and not self.makes:
            raise NotThere(
                f"{self.shown}: a manifest alone names this table, and it is not there: if it is to be made, give the "
                "flag"
            )

    @contextmanager
    def _opened(self) -> Iterator[Catalog]:
        with load_catalog(self.catalog, **self.config) as catalog:
            yield catalog

    def _table(self, catalog: Catalog) -> Table | None:
        """The table; None where there is none. Raises `PlatformError` where it is none of this output's."""
        try:
            table = catalog.load_table(self.name)
        except NoSuchTableError:
            return None
        whose = table.properties.get(OUTPUT)
        if whose != self.output:
            has = f"has the rows of {whose}" if whose else "was not made by this program"
            raise NotThere(f"{self.shown}: the table is there, and {has}; name another one for {self.output}")
        fields = [(table.schema().find_column_name(each.source_id), each.transform) for each in table.spec().fields]
        if fields != ([(self._key, IdentityTransform())] if self._key else []):
            by = self._key or "no column"
            raise PlatformError(
                f"{self.shown}: the table is not partitioned by {by}, as {self.output} is; name another one"
            )
        return table

    def _has(self, table: Table | None) -> bool:
        return table is not None and table.properties.get(self._record) == self._told

    def _commit(self, table: Table, parts: Sequence[Part]) -> None:
        change, there = _changing(table), _columns(table)
        columns = self._joined(parts, there)
        if columns != there:
            with change.update_schema() as update:
                update.union_by_name(iceberg_columns.schema_of(columns))
        if TableProperties.DEFAULT_NAME_MAPPING not in table.properties:
            mapping = change.table_metadata.schema().name_mapping.model_dump_json()
            change.set_properties({TableProperties.DEFAULT_NAME_MAPPING: mapping})
        change.set_properties({self._record: self._told})
        live = {file.file_path: file for file in self._live(table)}
        named = {part.uri for part in parts}
        new = [part for part in parts if part.uri not in live]
        gone = [file for path, file in live.items() if path not in named]
        if new or gone:  # else the partition is as the version has it, and its name alone is new
            summary = {
                RUN: str(self.announced.manifest["run_id"]),
                NUMBER: str(self.announced.version),
                PARTITION: self.announced.partition,
            }
            snapshot = change.update_snapshot(snapshot_properties=summary)
            files = snapshot.overwrite() if gone else snapshot.fast_append()
            for file in gone:
                files.delete_data_file(file)
            for made in iceberg_files.data_files(new, change.table_metadata, self._partition):
                files.append_data_file(made)
            files.commit()
        change.commit_transaction()

    def _created(self, catalog: Catalog, parts: Sequence[Part]) -> Table:
        """The table without rows, in a namespace that may be new."""
        columns = self._joined(parts, {})
        schema, spec = iceberg_columns.schema_of(columns), UNPARTITIONED_PARTITION_SPEC
        if self._key:
            field = schema.find_field(self._key).field_id
            spec = PartitionSpec(PartitionField(field, PARTITION_FIELD_ID_START, IdentityTransform(), self._key))
        try:
            catalog.create_namespace_if_not_exists(self.name[:-1])
        except Exception:  # of each catalog its own, where another process makes it at this moment
            if not catalog.namespace_exists(self.name[:-1]):
                raise
        return catalog.create_table(self.name, schema, partition_spec=spec, properties={**_NEW, OUTPUT: self.output})

    def _joined(self, parts: Sequence[Part], there: dict[str, pa.DataType]) -> dict[str, pa.DataType]:
        """The columns of a table and of parts, and behind those of the first parts the partition's."""
        try:
            found = iceberg_columns.joined([each.schema for each in parts], there)
        except iceberg_columns.Unfit as unfit:
            raise PlatformError(f"{self.shown}: {unfit}; leave that column out of --keep_columns") from None
        return {**found, self._key: pa.string()} if self._key else found

    def _live(self, table: Table) -> Iterator[DataFile]:
        """The files that the table has of the partition now, whoever wrote them."""
        # pyiceberg hands them to pydantic by name.
        where = EqualTo(self._key, self._value) if self._key else AlwaysTrue()  # type: ignore[call-arg, arg-type]
        for task in table.scan(row_filter=where).plan_files():
            if task.file.partition == self._partition:
                yield task.file

    @property
    def _key(self) -> str:
        return self.announced.partition.partition("=")[0]

    @property
    def _value(self) -> str:
        return self.announced.partition.partition("=")[2]

    @property
    def _partition(self) -> Record:
        return Record(self._value) if self._key else Record()

    @property
    def _record(self) -> str:
        return VERSION + (self.announced.partition or ".")

    @property
    def _told(self) -> str:
        return f"{self.announced.version} {self.announced.manifest['run_id']}"


def _columns(table: Table) -> dict[str, pa.DataType]:
    schema = schema_to_pyarrow(table.schema(), include_field_ids=False)
    return {each.name: iceberg_columns.stored(each.type) for each in schema}


def _changing(table: Table) -> Transaction:
    """A transaction that is tried once."""
    metadata = table.metadata.model_copy(update={"properties": {**table.properties, **_ONCE}})
    once = Table(table.name(), metadata, table.metadata_location, table.io, table.catalog)
    return once.transaction()
