"""What events of OpenLineage say of a run, of its job and of its datasets: their facets.

All that this project says and the specification has no facet for stands in one of its own, `seqcls_beam_publication`,
which `lineage_publication.json` describes.
"""

import datetime
import os
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attr
import pyarrow as pa
from openlineage.client.facet_v2 import (
    DatasetFacet,
    InputDatasetFacet,
    JobFacet,
    OutputDatasetFacet,
    RunFacet,
    column_lineage_dataset,
    dataset_version_dataset,
    error_message_run,
    input_statistics_input_dataset,
    job_type_job,
    nominal_time_run,
    output_statistics_output_dataset,
    parent_run,
    processing_engine_run,
    schema_dataset,
    source_code_job,
)

from seqcls_beam import storage
from seqcls_beam.announcing.lineage_datasets import Name, Source
from seqcls_beam.announcing.published import PlatformError, brief
from seqcls_beam.schema import MODEL, PARTITION, PREDICTION, PREDICTION_MULTI_LABEL, TOKENS, WINDOW
from seqcls_beam.version import __version__

PRODUCER = f"pkg:pypi/seqcls-beam@{__version__}"
"""Who says all this: a package URL, for events have a URI here."""

OWN = "seqcls_beam_publication"
PARENT, ROOT = "OPENLINEAGE_PARENT_ID", "OPENLINEAGE_ROOT_PARENT_ID"

MOST_COLUMNS = 1000
"""Columns of a schema."""
MOST_FIELDS = 1000
"""Fields of inputs that column lineage names: of a hundred datasets each column has a hundred."""
LONGEST = 2000
"""Signs of an error, and of a command."""

_ANSWERS = {each.name for each in (*PREDICTION, *PREDICTION_MULTI_LABEL, *TOKENS[2:])}
_OF_THE_RUN = {MODEL.name, PARTITION, WINDOW, "source_file", "source_position"}
_RENAMED = "input_"


@attr.define
class PublicationRunFacet(RunFacet):
    """A published version, what became of its rows, and the model; what a run has not is left out."""

    runId: str
    kind: str
    partition: str | None = None
    version: int | None = None
    rows: dict[str, int] | None = None
    rejectedByReason: dict[str, int] | None = None
    lostByReason: dict[str, int] | None = None
    lostWeight: str | None = None
    modelDigests: list[str] | None = None
    tokens: int | None = None
    truncatedRows: int | None = None
    inputFilesNotNamed: int | None = None
    columnsNotTraced: int | None = None

    @staticmethod
    def _get_schema() -> str:
        return f"{PRODUCER}#seqcls_beam/announcing/lineage_publication.json"


def publication(
    run_id: str, kind: str, partition: str, version: int, manifest: Mapping[str, Any], left: int, untraced: int
) -> PublicationRunFacet:
    """`left` files of the input are in none of the datasets; of `untraced` columns there would be too much lineage."""
    rows = manifest.get("rows") or {}
    model = manifest.get("model") or manifest.get("base") or {}
    digests = [model["digest"]] if model.get("digest") else sorted(manifest.get("models") or ())
    return PublicationRunFacet(
        run_id,
        kind,
        partition or None,
        version,
        {name: count for name, count in rows.items() if isinstance(count, int)} or None,
        rows.get("rejected_by_reason"),
        rows.get("lost_by_reason"),
        rows.get("lost_weight") if rows.get("lost") else None,
        digests or None,
        manifest.get("tokens"),
        manifest.get("truncated_rows"),
        left or None,
        untraced or None,
        producer=PRODUCER,
    )


def nominal_time(partition: str, window: Mapping[str, Any]) -> RunFacet | None:
    """The day of a night, or the window of a stream; None of a table without partitions."""
    key, _, value = partition.partition("=")
    if key == WINDOW and window:
        return nominal_time_run.NominalTimeRunFacet(window["start"], window["end"], producer=PRODUCER)
    if key != PARTITION:
        return None
    day = datetime.date.fromisoformat(value)
    end = None if day == day.max else f"{day + datetime.timedelta(days=1)}T00:00:00Z"
    return nominal_time_run.NominalTimeRunFacet(f"{day}T00:00:00Z", end, producer=PRODUCER)


def engine(versions: Mapping[str, str]) -> RunFacet | None:
    """What did the work: Beam, or what trains; None where nobody says."""
    for package, name in (("apache-beam", "Apache Beam"), ("transformers", "transformers")):
        if package in versions:
            return processing_engine_run.ProcessingEngineRunFacet(
                versions[package], name, __version__, producer=PRODUCER
            )
    return None


def error(sentence: str) -> RunFacet:
    """Why a run failed. Secrets are looked for in all of it, and only then it is cut."""
    said = storage.without_secrets(sentence)
    if len(said) > LONGEST:
        said = said[: LONGEST - 1] + "…"
    return error_message_run.ErrorMessageRunFacet(said, "PYTHON", producer=PRODUCER)


def parent() -> RunFacet | None:
    """The run of a scheduler that started this one, as the environment says it. Raises `PlatformError`."""
    if not (said := os.environ.get(PARENT)):
        return None
    namespace, job, run = _run_of(PARENT, said)
    root_namespace, root_job, root = _run_of(ROOT, os.environ.get(ROOT) or said)
    return parent_run.ParentRunFacet(
        parent_run.Run(run),
        parent_run.Job(namespace, job),
        parent_run.Root(parent_run.RootRun(root), parent_run.RootJob(root_namespace, root_job)),
        producer=PRODUCER,
    )


def _run_of(name: str, said: str) -> tuple[str, str, str]:
    found = re.fullmatch(r"(.+)/([^/]+)/([^/]+)", said)
    try:
        if found:
            return found[1], found[2], str(uuid.UUID(found[3]))
    except ValueError:
        pass
    raise PlatformError(f"{name}={brief(said, 200)}: expected NAMESPACE/JOB/RUN with the UUID of a run, or unset it")


def of_job(kind: str, partition: str, command: str) -> dict[str, JobFacet]:
    """What kind of work it is, and the command without secrets."""
    beam = kind != "finetune"
    streams = partition.startswith(f"{WINDOW}=")
    facets: dict[str, JobFacet] = {
        "jobType": job_type_job.JobTypeJobFacet(
            "STREAMING" if streams else "BATCH", "BEAM" if beam else "TRANSFORMERS", "JOB", producer=PRODUCER
        )
    }
    if command:
        said = storage.without_secrets(command)
        said = said if len(said) <= LONGEST else said[: LONGEST - 1] + "…"
        facets["sourceCode"] = source_code_job.SourceCodeJobFacet("shell", said, producer=PRODUCER)
    return facets


def read(source: Source) -> dict[str, InputDatasetFacet]:
    """How much of a dataset was read."""
    if source.rows is None and source.bytes is None and source.files is None:
        return {}
    return {
        "inputStatistics": input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
            source.rows, source.bytes, source.files, producer=PRODUCER
        )
    }


def written(parts: Sequence[Mapping[str, Any]]) -> dict[str, OutputDatasetFacet]:
    """How much was published."""
    rows = [part["rows"] for part in parts if "rows" in part]
    return {
        "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            sum(rows) if len(rows) == len(parts) else None,
            sum(part["bytes"] for part in parts),
            len(parts),
            producer=PRODUCER,
        )
    }


def version(said: str) -> DatasetFacet:
    """Which version of a dataset."""
    return dataset_version_dataset.DatasetVersionDatasetFacet(said, producer=PRODUCER)


def schema(columns: Iterable[tuple[str, str]]) -> DatasetFacet:
    """Columns, by name and type as Arrow has it; of very many the first."""
    fields = [
        schema_dataset.SchemaDatasetFacetFields(name, kind, ordinal_position=place)
        for place, (name, kind) in enumerate(columns, 1)
        if place <= MOST_COLUMNS
    ]
    return schema_dataset.SchemaDatasetFacet(fields, producer=PRODUCER)


def fields_of(columns: pa.Schema) -> list[tuple[str, str]]:
    """A schema as name and type of each column."""
    return [(each.name, str(each.type)) for each in columns]


def lineage(
    columns: Sequence[str], sources: Sequence[Name], options: Mapping[str, Any]
) -> tuple[DatasetFacet | None, int]:
    """Columns of labelled rows → which columns of the input each is made of, and how many have more than is told.

    Answers are made of the texts; a kept column is one of the input, as it is. A column input_X is X where that was
    named to be kept, itself where it was, and is left out where all columns were and nobody can say. None where
    nothing is known.
    """
    texts = [name for key in ("text_column", "text_pair_column") if (name := options.get(key))]
    made, room, untraced = dict[str, column_lineage_dataset.Fields](), MOST_FIELDS, 0
    if not texts or not sources:
        return None, 0
    for name in sorted(columns, key=lambda each: each not in _ANSWERS):  # answers first
        if name in _OF_THE_RUN:
            continue
        answer = name in _ANSWERS
        origins = texts if answer else [origin] if (origin := _origin(name, options)) else []
        if not origins:
            continue
        if len(origins) * len(sources) > room:
            untraced += 1
            continue
        room -= len(origins) * len(sources)
        how = column_lineage_dataset.Transformation("DIRECT", "TRANSFORMATION" if answer else "IDENTITY")
        made[name] = column_lineage_dataset.Fields(
            [
                column_lineage_dataset.InputField(source.namespace, source.name, origin, [how])
                for source in sources
                for origin in origins
            ]
        )
    return (column_lineage_dataset.ColumnLineageDatasetFacet(made, producer=PRODUCER) if made else None), untraced


def _origin(name: str, options: Mapping[str, Any]) -> str | None:
    """The column of the input that a kept one is; None where nobody can say."""
    if not name.startswith(_RENAMED):
        return name
    names = [name]
    while names[-1].startswith(_RENAMED):
        names.append(names[-1].removeprefix(_RENAMED))
    kept = [str(each).partition(":")[0] for each in options.get("keep_columns") or ()]
    named = [*kept, *(options.get(key) for key in ("id_column", "text_column", "text_pair_column"))]
    found = [each for each in names if each in named]
    return found[0] if len(found) == 1 and "*" not in kept else None
