"""The manifest of a labelling, the one before it and a look at its rows → what its page says."""

from dataclasses import dataclass
from typing import Any

from seqcls_beam.config.compare import DriftOptions
from seqcls_beam.evaluation.comparison import compared
from seqcls_beam.evaluation.sample import sample as counted
from seqcls_beam.reports import answers, looks
from seqcls_beam.reports.alerts import labels, rows
from seqcls_beam.reports.making import made, models
from seqcls_beam.reports.pages import (
    Figure,
    Page,
    Section,
    base_name,
    percent,
    rows_of,
    seconds_of,
    sections,
    sorted_alerts,
)
from seqcls_beam.reports.sample import Sample, text_and_id
from seqcls_beam.runs.accounting import PREFIX
from seqcls_beam.runs.table import Published

_WINDOWS = (
    "Where what stands behind the cut matters, label again with --overflow=window, which reads all of a text; a model "
    "that reads longer texts does it, too."
)


@dataclass(frozen=True)
class Before:
    """The labelling that this one is measured against, and what people call it."""

    run: Published
    name: str


def page(
    run: Published,
    title: str,
    look: Sample,
    before: Before | None = None,
    nights: list[int] | None = None,
    refused: list[str] | None = None,
    texts: bool = True,
    links: tuple[tuple[str, str], ...] = (),
) -> Page:
    """What a labelling's page says. `nights` are rows of the nights before, `refused` why it did not pass.

    Raises `RunError` for a manifest that no command wrote.
    """
    manifest, count = run.manifest, run.manifest["rows"]
    moved: dict[str, Any] | None = None
    name = before.name if before is not None else ""
    if before is not None:
        moved = compared(counted(name, before.run), [counted("this run", run)], DriftOptions())["runs"][0]
    alerts = [
        labels.no_rows(manifest),
        labels.refused(refused or []),
        rows.lost(manifest),
        rows.rejected(manifest),
        labels.quiet(count["in"], nights or []),
        rows.truncated(manifest["truncated_rows"], count["labeled"], manifest.get("max_tokens"), _WINDOWS),
        labels.unsure(manifest),
        *([labels.drifted(moved, name), labels.incomparable(moved, name)] if moved is not None else []),
        labels.one_label(manifest),
        labels.other_model(manifest, before.run.manifest, name) if before is not None else None,
        labels.absent_labels(manifest),
        rows.files_without_rows(manifest),
    ]
    several = count["labeled"] > 0
    made_of: list[Section | None] = [
        answers.labels(manifest, moved["labels"] if moved is not None else [], name),
        answers.scores(manifest),
        answers.lengths(manifest),
        looks.by_label(look, count["labeled"]) if several else None,
        answers.times(manifest),
        looks.texts(look, count["labeled"], text_and_id(manifest)[0], texts) if several else None,
        looks.rejects(manifest, look, texts),
        answers.drift(moved, name) if moved is not None else None,
    ]
    return Page(
        "Labelling",
        title,
        _subtitle(manifest),
        _headline(manifest),
        sorted_alerts(alerts),
        sections(made_of),
        made(manifest, f"version {run.version.number}"),
        links,
    )


def _subtitle(manifest: dict[str, Any]) -> str:
    files = manifest.get("inputs") or []
    what = base_name(files[0]["path"]) if files else "no file"
    what += f" and {rows_of(len(files) - 1, 'more file')}" if len(files) > 1 else ""
    if "models" in manifest:
        what = "messages of a stream"
    by = ", ".join(dict.fromkeys(base_name(each.get("name") or "a model") for each in models(manifest))) or "no model"
    engine = next(iter(manifest.get("engines") or []), None)
    on = f" on {engine['device']}" + (f" in {engine['dtype']}" if "dtype" in engine else "") if engine else ""
    when = f", {manifest['finished'].replace('T', ' ').replace('Z', ' UTC')}" if manifest.get("finished") else ""
    return f"{what}, labelled by {by}{on}{when}."


def _headline(manifest: dict[str, Any]) -> tuple[Figure, ...]:
    count = manifest["rows"]
    found = [
        Figure("rows in", f"{count['in']:,}"),
        Figure("labelled", f"{count['labeled']:,}", percent(count["labeled"], count["in"])),
        Figure("rejected", f"{count['rejected']:,}", percent(count["rejected"], count["in"])),
    ]
    if count.get("lost"):
        lost = f"{PREFIX[count['lost_weight']]}{count['lost']:,}"
        found.append(Figure("lost", lost, percent(count["lost"], count["in"])))
    cut = manifest["truncated_rows"]
    found.append(Figure("cut texts", f"{cut:,}", percent(cut, count["labeled"])))
    wall = (manifest.get("seconds") or {}).get("wall")
    if wall:
        found.append(Figure("time", seconds_of(wall), "from begin to end"))
    return tuple(found)
