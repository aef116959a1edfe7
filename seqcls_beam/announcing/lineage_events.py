"""A run → its events of OpenLineage: START when it begins, FAIL where it fails, COMPLETE of what is published.

Those of a published version are made of its manifest, again and again, and are the same each time.
"""

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

from seqcls_beam import storage
from seqcls_beam.announcing import lineage_datasets as datasets
from seqcls_beam.announcing import lineage_facets as facets
from seqcls_beam.announcing.columns import parts_of, schema_of
from seqcls_beam.announcing.published import Announced
from seqcls_beam.runs import remembered
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.store import store_of
from seqcls_beam.schema import REJECT, WINDOW

NAMESPACE = "OPENLINEAGE_NAMESPACE"
_LONGEST = 4096
"""Signs of what stands in a manifest, and is said."""
_MOST = {"columns": 2**14}
"""Of what a list or an object of a manifest has at most in an event; of others a thousand."""
_FILES = ("inputs", "parts", "rejects")
"""Lists of a manifest of which sums are said, and of `inputs` names of few folders."""
_OURS = uuid.uuid5(uuid.NAMESPACE_URL, "pkg:pypi/seqcls-beam")
"""What the UUIDs of runs are made in."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is known of a run when it begins, in the words of a manifest; more of it when it is over."""

    output: str
    partition: str
    run_id: str
    kind: str
    command: str = ""
    inputs: Sequence[Mapping[str, Any]] = ()  # files, with `path` and `size`
    model: Mapping[str, Any] | None = None  # `name`, `revision`, `digest`
    versions: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)  # what is read that is no list of files: `path`, or `folder`
    manifest: Mapping[str, Any] = field(default_factory=dict)  # of what is published

    @cached_property
    def sources(self) -> tuple[list[datasets.Source], int]:
        """The files as datasets, and how many are in none."""
        return datasets.of_files({**each, "path": _short(each["path"])} for each in self.inputs)

    @property
    def where(self) -> str:
        """The output folder, by the one name that it has in all events."""
        return storage.without_password(storage.absolute(self.output))


def of_version(announced: Announced) -> Told:
    """What a manifest says of its run. Raises as one does who reads what no command wrote."""
    whole = announced.manifest
    manifest = {
        name: value if name in _FILES else _short(value, _MOST.get(name, 1000)) for name, value in whole.items()
    }
    return Told(
        output=announced.output,
        partition=announced.partition,
        run_id=manifest["run_id"],
        kind=manifest["kind"],
        command=manifest.get("command") or "",
        inputs=whole.get("inputs") or (whole.get("data") or {}).get("inputs") or (),
        model=manifest.get("model") or manifest.get("base"),
        versions=manifest.get("versions") or {},
        data=manifest.get("data") or {},
        manifest=manifest,
    )


def _short(value: Any, most: int = 1000) -> Any:
    """What a manifest says, as much of it as an event may have."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"
    if isinstance(value, list):
        return [_short(each) for each in value[:most]]
    if isinstance(value, dict):
        return {_short(name): _short(each) for name, each in islice(value.items(), most)}
    return value


def run_uuid(output: str, partition: str, run_id: str) -> uuid.UUID:
    """What OpenLineage knows a run by. The same run into another folder, or partition, is another one."""
    where = storage.without_password(storage.absolute(output))
    return uuid.uuid5(_OURS, "\n".join([where, partition, run_id]))


def start(told: Told, time: str) -> RunEvent:
    """What is known when a run begins; `time` as manifests have it."""
    found, _ = _inputs(told)
    return _event(RunState.START, time, told, found, [OutputDataset(*datasets.of_uri(told.where))])


def fail(told: Told, time: str, sentence: str) -> RunEvent:
    """Why it failed."""
    found, left = _inputs(told)
    own = facets.PublicationRunFacet(
        told.run_id,
        told.kind,
        told.partition or None,
        inputFilesNotNamed=left or None,
        producer=facets.PRODUCER,
    )
    more = {"errorMessage": facets.error(sentence), facets.OWN: own}
    return _event(RunState.FAIL, time, told, found, [OutputDataset(*datasets.of_uri(told.where))], more)


def published(announced: Announced) -> list[RunEvent]:
    """START and COMPLETE of a published version. Raises `PlatformError`, and as `of_version`."""
    told = of_version(announced)
    manifest = told.manifest
    found, left = _inputs(told)
    columns = _columns(announced, manifest)
    sources = [source.name for source in told.sources[0]]
    traced, untraced = facets.lineage([name for name, _ in columns], sources, manifest.get("read") or {})
    output = _written(announced, told.where, manifest.get("parts", []))
    output.facets = {
        **(output.facets or {}),
        **({"schema": facets.schema(columns)} if columns else {}),
        **({"columnLineage": traced} if traced else {}),
    }
    outputs = [output]
    if manifest.get("rejects"):
        rejects = _written(announced, storage.join(told.where, "_rejects"), manifest["rejects"])
        rejects.facets = {**(rejects.facets or {}), "schema": facets.schema(facets.fields_of(REJECT))}
        outputs.append(rejects)
    about = facets.publication(told.run_id, told.kind, told.partition, announced.version, manifest, left, untraced)
    return [
        start(told, manifest.get("started") or manifest["finished"]),
        _event(RunState.COMPLETE, manifest["finished"], told, found, outputs, {facets.OWN: about}),
    ]


def _event(
    kind: RunState,
    time: str,
    told: Told,
    inputs: list[InputDataset],
    outputs: list[OutputDataset],
    more: Mapping[str, Any] | None = None,
) -> RunEvent:
    said = {
        "nominalTime": facets.nominal_time(told.partition, told.manifest.get("window") or {}),
        "processing_engine": facets.engine(told.versions),
        "parent": facets.parent(),
        **(more or {}),
    }
    job = Job(
        os.environ.get(NAMESPACE) or "seqcls_beam",
        f"{told.kind}:{told.where}",
        dict(facets.of_job(told.kind, told.partition, told.command)),
    )
    run = Run(
        str(run_uuid(told.output, told.partition, told.run_id)),
        {name: facet for name, facet in said.items() if facet is not None},
    )
    return RunEvent(
        eventType=kind, eventTime=time, run=run, job=job, inputs=inputs, outputs=outputs, producer=facets.PRODUCER
    )


def _inputs(told: Told) -> tuple[list[InputDataset], int]:
    """What the run reads as datasets, and how many of its files are in none of them."""
    sources, left = told.sources
    found = [InputDataset(*source.name, inputFacets=dict(facets.read(source))) for source in [*sources, *_others(told)]]
    if told.model and isinstance(told.model.get("name"), str):
        name = datasets.of_model(told.model["name"], told.model.get("revision"))
        digest = told.model.get("digest")
        found.append(InputDataset(*name, facets={"version": facets.version(digest)} if digest else {}))
    return found, left


def _others(told: Told) -> list[datasets.Source]:
    """What is read that is no list of files: prepared data, and the topic of a stream, which its folder remembers."""
    if folder := told.data.get("path") or told.data.get("folder"):
        rows = told.data.get("rows")
        return [datasets.Source(datasets.of_uri(folder), rows=sum(rows.values()) if rows else None)]
    if told.partition.startswith(f"{WINDOW}="):
        try:
            topic = remembered.begun(store_of(storage.absolute(told.output))).get("topic")
        except (RunError, OSError):
            topic = None  # the folder says it no more; what is published counts all the same
        if topic and (name := datasets.of_topic(topic)):
            return [datasets.Source(name, rows=(told.manifest.get("messages") or {}).get("distinct"))]
    return []


def _written(announced: Announced, folder: str, parts: Sequence[Mapping[str, Any]]) -> OutputDataset:
    """A folder that files were published into."""
    version = "/".join(filter(None, [announced.partition, str(announced.version)]))
    return OutputDataset(
        *datasets.of_uri(folder),
        facets={"version": facets.version(version)},
        outputFacets=dict(facets.written(parts)),
    )


def _columns(announced: Announced, manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What columns the output has: its manifest says it, or a part does; none of what is no table."""
    said = manifest.get("columns")
    if said and parts_of(announced):
        return [(each["name"], each["type"]) for each in said]
    found = schema_of(announced)
    return facets.fields_of(found) if found is not None else []
