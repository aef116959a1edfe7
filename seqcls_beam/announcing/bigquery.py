"""A published version → the definition of the job that loads it into a table of BigQuery. Nothing is sent.

    OUT/_report/bigquery/run_date=2026-01-31.json     its `job` is the body of a request, jobs.insert

A night replaces the day of a table that is partitioned by the time of loading, `_PARTITIONDATE`, for a file has no
column that says which night it is of; a window of a stream replaces its hour or its day. A table without partitions is
replaced whole. The job's id is made of run and version, so BigQuery does it once however often it is asked to.
"""

import datetime
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import orjson
import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.announcing import bigquery_schema
from seqcls_beam.announcing.columns import schema_of
from seqcls_beam.announcing.patience import Late, within
from seqcls_beam.announcing.published import Announced, PlatformError
from seqcls_beam.runs import windows
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.shapes import as_written
from seqcls_beam.runs.versions import PART
from seqcls_beam.schema import PARTITION, WINDOW

FOLDER = "_report/bigquery"
_SECONDS = 10.0  # for a store, or another process that holds the file

_TABLE = re.compile(
    r"(?P<project>(?:[a-z][a-z0-9.-]{0,61}[a-z0-9]:)?[a-z][a-z0-9-]{4,28}[a-z0-9])\."
    r"(?P<dataset>\w{1,1024})\.(?P<table>[\w -]{1,1024})"
)
_FIRST, _END = windows.moment("1960-01-01T00:00:00Z"), windows.moment("2160-01-01T00:00:00Z")
"""What a partition may be of, in microseconds since 1970."""
_MOST_URIS = 10_000
_MOST_BYTES = 15 * 2**40
_LENGTHS = {3600: ("HOUR", "%Y%m%d%H"), 86_400: ("DAY", "%Y%m%d")}
"""Seconds of a window → the partition that it is, and what that is called."""


def ensure(where: str) -> None:
    """Raise `PlatformError` where a name is no table's, PROJECT.DATASET.TABLE. Nobody is asked."""
    _named(where)


def tell(where: str, announced: Announced) -> str:
    """Write the definition beside the output; where it lies. Raises `PlatformError`.

    A later version's stays. Where one without files follows, the document says that there is nothing to load.
    """
    folder = storage.join(storage.absolute(announced.output), FOLDER)
    place = storage.join(folder, f"{announced.partition or 'table'}.json")
    empty = announced.manifest["kind"] in ("classify", "nothing") and not announced.manifest["parts"]
    try:
        with as_written(f"the manifest of {announced.output}"):
            made = nothing(announced) if empty else definition(where, announced)
    except RunError as error:
        raise PlatformError(str(error)) from error

    def change(there: bytes | None) -> bytes | None:
        if (there is None and empty) or _version(there) > announced.version:
            return None
        return orjson.dumps(made, option=orjson.OPT_INDENT_2)

    try:
        if storage.is_local(folder):
            storage.make_folder(folder)
        within(_SECONDS, lambda: storage.update(place, change))
    except (OSError, ImportError, Late) as error:
        said = " ".join(str(error).split())
        raise PlatformError(
            f"{place} cannot be written ({type(error).__name__}: {said}): let this user do so"
        ) from error
    return place


def nothing(announced: Announced) -> dict[str, Any]:
    """What stands in its place for a version without files, of which there is no job."""
    return {
        "description": (
            f"Version {announced.version} of {announced.partition or 'the table'} in {announced.output} has no files, "
            "which no load job takes: empty it in BigQuery by hand, where an earlier version was loaded"
        ),
        "run": False,
        "version": announced.version,
        "rows": 0,
        "left_out": [],
        "job": None,
    }


def _version(document: bytes | None) -> int:
    """Which version a document is of; 0 where there is none, or it is somebody else's."""
    try:
        found = orjson.loads(document or b"null")["version"]
    except (ValueError, KeyError, TypeError):
        return 0
    return found if isinstance(found, int) else 0


def definition(where: str, announced: Announced) -> dict[str, Any]:
    """The job, and what it is of. Raises `PlatformError` for a version that BigQuery cannot load."""
    project, dataset, table = _named(where)
    manifest = announced.manifest
    if manifest["kind"] != "classify":
        raise PlatformError(f"{announced.output} holds no labels, but what pipelines.{manifest['kind']} made")
    sources = _sources(announced)
    schema = schema_of(announced)
    assert schema is not None  # there are parts
    found, left = _fields(schema, manifest)
    decorator, partitioning = _partition(announced)
    load: dict[str, Any] = {
        "sourceUris": sources,
        "sourceFormat": "PARQUET",
        "destinationTable": {"projectId": project, "datasetId": dataset, "tableId": f"{table}{decorator}"},
        "schema": {"fields": found},
        "createDisposition": "CREATE_IF_NEEDED",
        "writeDisposition": "WRITE_TRUNCATE",
        "parquetOptions": {"enableListInference": True, "mapTargetType": "ARRAY_OF_STRUCT"},
        "decimalTargetTypes": ["NUMERIC", "BIGNUMERIC"],
        "columnNameCharacterMap": "STRICT",  # no name is changed
    }
    if partitioning:
        load["timePartitioning"] = {"type": partitioning}
        load["schemaUpdateOptions"] = ["ALLOW_FIELD_ADDITION", "ALLOW_FIELD_RELAXATION"]
    if left:
        load["ignoreUnknownValues"] = True
    return {
        "description": (
            f"Loads version {announced.version} of {announced.partition or 'the table'} in {announced.output}. Not "
            "run: seqcls_beam wrote this definition and sent it to nobody. `job` is the body of POST "
            f"https://bigquery.googleapis.com/bigquery/v2/projects/{project}/jobs; who sends it may add a location to "
            "jobReference. Sent again it is refused as one that exists; a job that failed needs another jobId"
        ),
        "run": False,
        "version": announced.version,
        "rows": manifest["rows"]["labeled"],
        "left_out": left,
        "job": {
            "jobReference": {"projectId": project, "jobId": _job_id(where, announced)},
            "configuration": {"labels": _labels(announced), "load": load},
        },
    }


def _named(where: str) -> tuple[str, str, str]:
    found = _TABLE.fullmatch(where)
    if found is None or len(found["table"].encode()) > 1024 or not found["dataset"].isascii():
        raise PlatformError(
            f"--bigquery={where}: expected PROJECT.DATASET.TABLE, such as my-project.reviews.labels, without quotes "
            "and without a partition behind $"
        )
    return found["project"], found["dataset"], found["table"]


def _sources(announced: Announced) -> list[str]:
    """The parts; of more than a job may name, patterns that only they have."""
    output, parts = storage.absolute(announced.output), announced.manifest["parts"]
    if not output.startswith(("gs://", "gcs://")):
        raise PlatformError(f"BigQuery loads from gs:// alone, and {output} is not there: give an --output in a bucket")
    if (size := sum(part["bytes"] for part in parts)) > _MOST_BYTES:
        raise PlatformError(
            f"{size:,} bytes are more than the {_MOST_BYTES:,} of a load job: give each run fewer files"
        )
    root = f"gs://{output.partition('://')[2]}"
    if "*" in root:
        raise PlatformError(f"to BigQuery * in {output} is a pattern: give an --output without it")
    names = [part["path"] for part in parts if part["rows"]] or [parts[0]["path"]]
    if len(names) > _MOST_URIS:
        names = list(dict.fromkeys(map(_pattern, names)))
    return [storage.join(root, name) for name in names]


def _pattern(name: str) -> str:
    """What the names of all parts of a run and a version are, and of no other."""
    folder, _, part = name.rpartition("/")
    if not PART.fullmatch(part):
        raise PlatformError(f"{name} is called as no part is, and more than {_MOST_URIS:,} cannot be named one by one")
    return f"{folder}/{re.sub(r'^part-[0-9]+-', 'part-*-', part)}"


def _fields(schema: pa.Schema, manifest: Mapping[str, Any]) -> tuple[list[bigquery_schema.Field], list[str]]:
    """The schema, and the columns that are none of it: those without a value, of which nobody knows the type."""
    rows = any(part["rows"] for part in manifest["parts"])
    empty = {each["name"] for each in manifest.get("columns") or () if each.get("empty") and rows}
    found = bigquery_schema.fields(schema, empty)
    there = {each["name"] for each in found}
    return found, [name for name in schema.names if name not in there]


def _partition(announced: Announced) -> tuple[str, str]:
    """What stands behind the table's name, and what kind of partition that is; neither of a table without them."""
    if not announced.partition:
        return "", ""
    key, _, value = announced.partition.partition("=")
    if key == PARTITION:
        begins, length = windows.moment(f"{datetime.date.fromisoformat(value)}T00:00:00Z"), 86_400
    elif key == WINDOW:
        window = announced.manifest["window"]
        begins = windows.moment(window["start"])
        length, rest = divmod(windows.moment(window["end"]) - begins, windows.SECOND)
        if length not in _LENGTHS or rest or begins % (length * windows.SECOND):
            raise PlatformError(
                f"{announced.partition} is of {length:,} seconds, and BigQuery replaces hours and days: give the "
                "stream --window=3600 or --window=86400"
            )
    else:
        raise PlatformError(f"{announced.partition} is no partition of time, by which alone BigQuery's are replaced")
    if not _FIRST <= begins < _END:
        raise PlatformError(f"{announced.partition}: BigQuery has partitions of the years 1960 to 2159 alone")
    kind, form = _LENGTHS[length]
    return f"${datetime.datetime.fromtimestamp(begins // windows.SECOND, datetime.UTC).strftime(form)}", kind


def _job_id(where: str, announced: Announced) -> str:
    """The same for the same version of the same place in the same table, and for nothing else."""
    about = "\n".join([storage.absolute(announced.output), announced.partition, where])
    place = hashlib.blake2b(about.encode(), digest_size=6).hexdigest()
    run = re.sub(r"[^A-Za-z0-9_-]", "_", announced.manifest["run_id"])
    return f"seqcls_beam-{run[:200]}-v{announced.version}-{place}"


def _labels(announced: Announced) -> dict[str, str]:
    run = re.sub(r"[^a-z0-9_-]", "_", announced.manifest["run_id"].lower())
    return {"seqcls_beam_run": run[:63], "seqcls_beam_version": str(announced.version)}
