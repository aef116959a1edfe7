"""A run and what it published → events of OpenLineage (https://openlineage.io).

START when a run begins, FAIL with its sentence where it fails, COMPLETE of what is published, with the input as
datasets, the output, its rows and columns, and which columns of the input a label is made of.

The job is what is done over and over: its namespace is OPENLINEAGE_NAMESPACE, else "seqcls_beam", and its name the
command and the folder, classify:gs://bucket/labelled. A run's UUID is made of the folder, the partition and the run's
id, so a run that is killed and started again is one.

    lineage_events.py     a run → what is said of it
    lineage_datasets.py   names, and files as few datasets
    lineage_facets.py     what is said of each
    lineage_sending.py    to whom, and for how long
"""

import datetime
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from seqcls_beam.announcing.published import Announced, PlatformError
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.shapes import as_written


def ensure(where: str) -> None:
    """Raise `PlatformError` where events could not be sent: a package is missing, or what is named is none.

    Nobody is asked: a server that is down when a run begins may be up when it ends.
    """
    events, sending = _modules()
    events.facets.parent()
    sending.check(where)


def tell_start(
    where: str,
    *,
    output: str,
    partition: str,
    run_id: str,
    kind: str,
    command: str = "",
    inputs: Iterable[Mapping[str, Any]] = (),
    model: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
    data: Mapping[str, Any] | None = None,
    started: str | None = None,
) -> None:
    """Tell that a run begins. `inputs`, `model`, `versions` and `data` are as a manifest has them.

    `started` is as its manifest will have it; now, where that is not known. Raises `PlatformError`.
    """
    events, sending = _modules()
    told = events.Told(
        output=output,
        partition=partition,
        run_id=run_id,
        kind=kind,
        command=command,
        inputs=[*inputs],
        model=model,
        versions=versions or {},
        data=data or {},
    )
    sending.send(where, [events.start(told, started or _now())])


def tell_fail(
    where: str,
    *,
    output: str,
    partition: str,
    run_id: str,
    kind: str,
    sentence: str,
    command: str = "",
    inputs: Iterable[Mapping[str, Any]] = (),
    model: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Tell that a run failed, and why: a sentence, of which no secret is shown. Raises `PlatformError`."""
    events, sending = _modules()
    told = events.Told(
        output=output,
        partition=partition,
        run_id=run_id,
        kind=kind,
        command=command,
        inputs=[*inputs],
        model=model,
        versions=versions or {},
        data=data or {},
    )
    sending.send(where, [events.fail(told, _now(), sentence)])


def tell(where: str, announced: Announced) -> None:
    """Tell of a published version: COMPLETE, and START where this process did not. Raises `PlatformError`.

    Of a version that took all away there is nothing to tell.
    """
    events, sending = _modules()
    if announced.manifest.get("kind") == "nothing":
        return
    try:
        with as_written(f"the manifest of {announced.output}"):
            made = events.published(announced)
    except RunError as error:
        raise PlatformError(str(error)) from error
    sending.send(where, made)


def _modules() -> tuple[ModuleType, ModuleType]:
    """What makes events, and what sends them: both know the package. Raises `PlatformError` where it is missing."""
    try:
        from seqcls_beam.announcing import lineage_events, lineage_sending
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "openlineage":
            raise
        raise PlatformError(
            "--openlineage needs the package openlineage-python, which is not installed (pip install "
            "'seqcls_beam[openlineage]')"
        ) from error
    return lineage_events, lineage_sending


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
