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
from typing import Any, Required, TypedDict, Unpack

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


class Known(TypedDict, total=False):
    """What is known of a run when it begins; the last five are as a manifest has them."""

    output: Required[str]
    partition: Required[str]
    run_id: Required[str]
    kind: Required[str]
    command: str
    inputs: Iterable[Mapping[str, Any]]
    model: Mapping[str, Any] | None
    versions: Mapping[str, str] | None
    data: Mapping[str, Any] | None


def tell_start(where: str, *, started: str | None = None, **known: Unpack[Known]) -> None:
    """Tell that a run begins.

    `started` is as its manifest will have it; now, where that is not known. Raises `PlatformError`.
    """
    events, sending = _modules()
    sending.send(where, [events.start(_run(events, known), started or _now())])


def tell_fail(where: str, *, sentence: str, **known: Unpack[Known]) -> None:
    """Tell that a run failed, and why: a sentence, of which no secret is shown. Raises `PlatformError`."""
    events, sending = _modules()
    sending.send(where, [events.fail(_run(events, known), _now(), sentence)])


def _run(events: ModuleType, known: Known) -> Any:
    said = {name: value for name, value in known.items() if value is not None}
    return events.Told(**{**said, "inputs": [*known.get("inputs", ())]})


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
