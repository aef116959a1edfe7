"""What a person sees of a labelling when it begins and when it is done, and of a quick look."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import rich.text
from rich import filesize
from rich.console import Console

from pipelines.terminal import accounting, screen
from pipelines.terminal.screen import Table, Text
from seqcls_beam import storage
from seqcls_beam.reading.units import unit_size, whole
from seqcls_beam.runs.job import Job
from seqcls_beam.runs.run import Run, label_folders, short
from seqcls_beam.runs.table import first_rows

ROWS = 5
"""That are shown of a run."""
_TEXT, _OTHER, _LONGEST = 32, 24, 80
"""Signs that a text has at least where it is longer, another column has at most, and a text has at most."""
_ANSWERS = ("label", "labels", "score", "scores", "model")


def begun(job: Job, units: int, done: int) -> str:
    """The sentence that a run begins with: what is to be read, in how many units, and how many are done already."""
    files, size = job.files.num_rows, pc.sum(job.files["size"]).as_py()
    return (
        f"run {short(job.run.run_id)}: {files:,} file{'s'[: files != 1]}, {filesize.decimal(size)}, "
        f"{units:,} unit{'s'[: units != 1]}" + (f", {done:,} of them done before" if done else "")
    )


def shares(job: Job, units: list[pa.RecordBatch], workers: int) -> list[str]:
    """Sentences on what of the work cannot be shared, or not be gone on with, since too much of it is in one unit."""
    size, said = pc.sum(job.files["size"]).as_py() or 0, []
    uncut = whole(units, unit_size(job.files, job.config.read.unit_bytes))
    if 2 * sum(row["size"] for row in uncut) > size:
        largest = max(uncut, key=lambda row: int(row["size"]))
        name = f"{storage.without_password(largest['path'])} ({filesize.decimal(largest['size'])})"
        if len(uncut) == 1:
            what = f"{name} is most of the run and cannot be cut: it is"
        else:
            what = f"{len(uncut):,} files are most of the run and cannot be cut, such as {name}: each is"
        said.append(
            f"{what} one unit, which one worker reads and a killed run begins anew; plain JSONL or Parquet is cut"
        )
    if workers > len(units):
        smaller = "" if uncut else " (a smaller --unit_bytes makes more)"
        said.append(
            f"{workers} workers have {len(units)} unit{'s'[: len(units) != 1]}{smaller}: "
            f"{workers - len(units)} of them have nothing to do"
        )
    return said


def summary(run: Run, manifest: dict[str, Any], texts: bool = True) -> None:
    """Print what a published run made, and its first rows, without `texts` only their ids and answers."""
    console = screen.console()
    counts = manifest["rows"]
    # Names of labels, columns and folders may look like markup: everything of the user's is wrapped in Text.
    facts = screen.facts()
    facts.add_row("rows", accounting.rows(counts, labelled=counts["labeled"]))
    labelled = sorted(manifest["label_counts"].items(), key=lambda item: -item[1])
    more = f", … ({len(labelled)} labels)" if len(labelled) > 8 else ""
    facts.add_row("labels", Text(", ".join(f"{name}: {count:,}" for name, count in labelled[:8]) + more))
    if counts["rejected"]:
        reasons = ", ".join(f"{name} {count:,}" for name, count in counts["rejected_by_reason"].items())
        facts.add_row("rejects", reasons)
    for name, said in accounting.losses(manifest):
        facts.add_row(name, Text(said))
    if manifest["truncated_rows"]:
        facts.add_row("truncated", f"{manifest['truncated_rows']:,} (texts longer than the model reads)")
    seconds = manifest["seconds"]
    busy = sum(seconds.get(stage, 0.0) for stage in ("read", "tokenize", "classify", "write"))
    if busy:
        stages = ", ".join(f"{stage} {seconds[stage]:.1f} s" for stage in ("read", "tokenize", "classify", "write"))
        facts.add_row("speed", f"{(counts['labeled'] + counts['rejected']) / busy:,.0f} texts/s per worker ({stages})")
    parts = len(manifest["parts"])
    folder = storage.join(run.output, label_folders(run.partition)[0])
    facts.add_row("output", Text(f"{folder} ({parts:,} part{'s'[: parts != 1]})"))
    console.print(facts)
    head, read = first_rows(run.output, ROWS, run.partition), manifest["read"]
    if not texts:
        head = head.select([name for name in head.column_names if name in (*_ANSWERS, read["id_column"])])
    _show_rows(console, head, [read.get("text_column"), read.get("text_pair_column")])
    screen.then_read(run.output)


def _show_rows(console: Console, head: pa.Table, texts: Sequence[str | None]) -> None:
    """Print rows as wide as the screen; columns that would leave no room for the texts are named below."""
    if not head.num_rows:
        return
    there = [name for name in head.column_names if name not in ("tokens", "truncated")]
    cells = {name: [_cell(value, name in _ANSWERS) for value in head[name].to_pylist()] for name in there}
    widths = {name: max(len(Text(name)), *map(len, cells[name])) for name in there}
    room = {name: min(widths[name], _TEXT if name in texts else _OTHER) for name in there}
    names = _fitting(there, room, console.width, texts)
    # The texts share what the others leave; a short one leaves its share to the other.
    left = console.width - 1 - sum(3 + room[name] for name in names)
    long = sorted((name for name in names if name in texts), key=widths.__getitem__)
    for i, name in enumerate(long):
        more = max(0, min(widths[name] - room[name], left // (len(long) - i), _LONGEST - room[name]))
        room[name], left = room[name] + more, left - more
    table = Table()
    for name in names:
        table.add_column(Text(name), no_wrap=True, overflow="ellipsis", max_width=room[name])
    for row in zip(*(cells[name] for name in names), strict=True):
        table.add_row(*row)
    console.print(table)
    if len(names) < len(there):
        told = ", ".join(name for name in there if name not in names)
        console.print(Text(f"not shown, for want of room: {told}"), soft_wrap=True)


def _fitting(names: list[str], room: dict[str, int], width: int, texts: Sequence[str | None]) -> list[str]:
    """Those of the columns that fit beside each other: of the others the last goes first, once all scores are gone."""
    stay = [name for name in names if name in texts or name in ("label", "labels", "score")]
    spare: list[str] = [name for name in ("model", "scores") if name in names]
    spare += [name for name in reversed(names) if name not in (*stay, *spare)]
    left = [*names]
    for name in spare:
        if sum(3 + room[each] for each in left) + 1 <= width:
            break
        left.remove(name)
    return left


def _cell(value: Any, answer: bool) -> rich.text.Text:
    """A value; of a text, unlike of a label, what joins letters does so."""
    said = _said(value)
    return Text(said) if answer else screen.prose(said)


def _said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return " ".join(map(_said, value[:6])) + (" …" if len(value) > 6 else "")
    return "" if value is None else str(value)


def probabilities(texts: list[str], labels: tuple[str, ...], scores: Any) -> None:
    """Print the probability of every label of a few texts."""
    console = screen.console()
    table = Table()
    table.add_column("text", max_width=60)
    for label in labels:
        table.add_column(Text(label), justify="right")
    for text, row in zip(texts, scores, strict=True):
        table.add_row(screen.prose(text), *(f"{score:.3f}" for score in row))
    console.print(table)
