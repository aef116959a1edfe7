"""What a person sees of an evaluation on the terminal."""

from collections.abc import Iterable
from typing import Any

from rich import filesize

from pipelines.terminal import accounting, screen
from pipelines.terminal.screen import Table, Text
from seqcls_beam import storage
from seqcls_beam.evaluation.counting.tally import MOST_VALUES
from seqcls_beam.evaluation.formatting import METRICS, cell, interval, matrix, measured, number
from seqcls_beam.evaluation.job import Job

MOST_CLASSES = 30
MOST_MATRIX = 10
MOST_SLICES = 10
WORST = 5


def begun(job: Job) -> str:
    """The sentence that an evaluation begins with: which model, if any, on what."""
    model = "" if job.checkpoint is None else f"{storage.without_password(job.checkpoint.name)} on "
    if job.data["kind"] == "prepared":
        rows = f"the {job.data['split']} split of {job.data['folder']}"
    else:
        count = len(job.data["inputs"])
        rows = f"{count:,} file{'s'[: count != 1]}"
    return f"evaluating {model}{rows}: {filesize.decimal(job.size)}"


def summary(found: dict[str, Any], output: str | None) -> None:
    """Print an evaluation as evaluation.json has it."""
    console = screen.console()
    console.print(_facts(found))
    console.print(_headline(found))
    for title, table in (
        ("classes", _classes(found)),
        ("rows are gold labels, columns answers", _matrix(found)),
        *((f"by {name}", _slices(groups)) for name, groups in found["slices"].items()),
        ("by length in tokens", _slices(found["lengths"], in_order=True)),
        ("worst", _worst(found, console.width)),
    ):
        if table is not None:
            console.print(Text(title, "bold"))
            console.print(table)
    told = screen.facts("fold")
    for name, line in _remarks(found, output):
        told.add_row(name, Text(line))
    console.print(told)
    if output is None:
        screen.then("the same with --output=FOLDER keeps it, with a page for people")


def _facts(found: dict[str, Any]) -> Table:
    rows = found["rows"]
    facts = screen.facts("fold")
    without = {"without a gold label": rows["unlabelled"]} if rows["unlabelled"] else {}
    facts.add_row("rows", accounting.rows(rows, scored=rows["scored"], **without))
    if rows["rejected"]:
        facts.add_row("rejects", ", ".join(f"{name} {count:,}" for name, count in rows["rejected_by_reason"].items()))
    if rows["lost"]:
        facts.add_row("lost", ", ".join(f"{name} {count:,}" for name, count in rows["lost_by_reason"].items()))
    if rows["unknown_labels"]:
        facts.add_row("unknown", Text(", ".join(map(repr, rows["unknown_labels"]))))
    facts.add_row("gold", Text(f"column {found['gold']['column']!r}, read as {found['gold']['read_as']}"))
    if found["truncated_rows"]:
        facts.add_row("truncated", f"{found['truncated_rows']:,} (texts longer than the model reads)")
    busy = sum(found["seconds"].get(stage, 0.0) for stage in ("read", "tokenize", "classify"))
    if found["model"] is not None and busy:
        facts.add_row("speed", f"{(rows['in'] - rows['lost']) / busy:,.0f} texts/s per worker")
    return facts


def _headline(found: dict[str, Any]) -> Table:
    table = Table()
    table.add_column("")
    table.add_column("value", justify="right")
    redrawn = _redrawn(found["metrics"].values())
    if redrawn:
        table.add_column("95 % interval", justify="right")
    baseline = found.get("baseline", {})
    if baseline:
        table.add_column("most frequent class", justify="right")
    for name, said in METRICS.items():
        metric = found["metrics"].get(name)
        if metric is not None:
            cells = [number(metric["value"]), *([interval(metric["ci"])] if redrawn else [])]
            if baseline:
                cells.append(number(baseline[name]) if name in baseline else "")
            table.add_row(Text(said.format(positive=found.get("positive", ""))), *cells)
    return table


def _classes(found: dict[str, Any]) -> Table | None:
    classes = found.get("classes")
    if not classes:
        return None
    ranked = any(each.get("average_precision") is not None for each in classes)
    redrawn = _redrawn(classes)
    table = Table()
    table.add_column("label", max_width=40, overflow="ellipsis", no_wrap=True)
    heads = ["precision", "recall", "F1", *(["95 % interval"] if redrawn else [])]
    for name in (*heads, *(["avg. precision"] if ranked else []), "gold", "answers"):
        table.add_column(name, justify="right")
    shown = sorted(classes, key=_support)[:MOST_CLASSES] if len(classes) > MOST_CLASSES else classes
    for each in shown:
        numbers = [number(each["precision"]), number(each["recall"]), number(each["f1"])]
        numbers += [interval(each["ci"])] if redrawn else []
        if ranked:
            precision = each["average_precision"]
            numbers.append("" if precision is None else number(precision))
        table.add_row(Text(each["label"]), *numbers, f"{each['support']:,}", f"{each['predicted']:,}")
    if len(classes) > len(shown):
        table.add_row(f"… {len(classes) - len(shown)} more, less frequent")
    return table


def _support(each: dict[str, Any]) -> tuple[int, str]:
    return -each["support"], each["label"]


def _matrix(found: dict[str, Any]) -> Table | None:
    if "confusion" not in found or len(found["labels"]) > MOST_MATRIX:
        return None
    table = Table()
    width = max(6, (100 // (len(found["labels"]) + 1)) - 3)
    table.add_column("", max_width=width, overflow="ellipsis", no_wrap=True)
    for name in found["labels"]:
        table.add_column(Text(name), justify="right", max_width=width, overflow="ellipsis", no_wrap=True)
    for place, (name, row) in enumerate(zip(found["labels"], matrix(found).tolist(), strict=True)):
        cells = [Text(f"{count:,}", "bold" if place == column else "") for column, count in enumerate(row)]
        table.add_row(Text(name), *cells)
    return table


def _slices(groups: list[dict[str, Any]], in_order: bool = False) -> Table | None:
    if not groups:
        return None
    names, redrawn = measured(groups), any(group.get("ci") for group in groups)
    heads = [METRICS.get(name, name) for name in names]
    heads[1:1] = ["95 % interval"] if redrawn else []
    table = Table()
    table.add_column("", max_width=50, overflow="ellipsis", no_wrap=True)
    for name in ("rows", *heads):
        table.add_column(name, justify="right")
    for group in groups if in_order else groups[:MOST_SLICES]:
        numbers = [number(group[name]) if name in group else "" for name in names]
        numbers[1:1] = [interval(group.get("ci"))] if redrawn else []
        table.add_row(Text(group["value"]), f"{group['rows']:,}", *numbers)
    if not in_order and len(groups) > MOST_SLICES:
        table.add_row(f"… {len(groups) - MOST_SLICES:,} more values")
    return table


def _worst(found: dict[str, Any], width: int) -> Table | None:
    rows = found["worst"][:WORST]
    if not rows:
        return None
    ids = any(row.get("id") is not None for row in rows)
    last = "text" if any("text" in row for row in rows) else "where"
    lines = [([cell(row.get("id"))] if ids else []) + _answer(row) for row in rows]
    names = [*(["id"] if ids else []), "gold", "answer", "loss"]
    widths = [max(len(name), *map(len, column)) for name, column in zip(names, zip(*lines, strict=True), strict=True)]
    widths = [min(each, 24) for each in widths]
    table = Table()
    for name, each in zip(names, widths, strict=True):
        table.add_column(name, min_width=each, max_width=each, no_wrap=True, overflow="ellipsis")
    # The text takes the rest of the line.
    room = max(20, width - sum(widths) - 3 * (len(names) + 1) - 1)
    table.add_column(last, max_width=room, no_wrap=True, overflow="ellipsis")
    for line, row in zip(lines, rows, strict=True):
        text = str(row.get("text") or "") if last == "text" else f"{row.get('source', '')}:{row.get('position', '')}"
        if row.get("text_pair") is not None:
            text += f" | {row['text_pair']}"
        table.add_row(*map(Text, line), screen.prose(text))
    return table


def _answer(row: dict[str, Any]) -> list[str]:
    answer = cell(row["predicted"])
    if "gold_probability" in row:
        answer += f" {row['probability']:.3f}"
    return [cell(row["gold"]), answer, number(row["loss"])]


def _remarks(found: dict[str, Any], output: str | None) -> list[tuple[str, str]]:
    remarks = [("warning", said) for said in found.get("warnings", ())]
    calibration = found.get("calibration")
    if calibration is not None:
        told = f"expected error {calibration['ece']:.4f}, Brier {calibration['brier']:.4f}, log loss "
        told += f"{calibration['nll']:.4f}"
        best = calibration["temperature"]
        if best is not None:
            told += f"; at temperature {best['value']:.2f} expected error {best['ece']:.4f}, log loss {best['nll']:.4f}"
            told += " (found on these very rows)"
        remarks.append(("calibration", told))
    tuned = found.get("tuned")
    if tuned is not None:
        told = ", ".join(
            f"{METRICS[name]} {each['value']:.4f} at {each['threshold']:.3f}" for name, each in tuned.items()
        )
        remarks.append(("best threshold", f"{told} (found on these very rows)"))
    if found["ranked"] == "histogram":
        remarks.append(("ranked", "AUC and average precision are those of a histogram: there are many decisions"))
    remarks += [("not sliced", f"{name} has more than {MOST_VALUES:,} values") for name in found["unsliced"]]
    if "spearman_rows" in found:
        remarks.append(("sampled", f"the Spearman correlation is that of {found['spearman_rows']:,} rows"))
    remarks += [
        (
            "gate",
            f"{'passed' if gate['passed'] else 'FAILED'}: {gate['metric']} "
            f"{'undefined' if gate['value'] is None else number(gate['value'])}, "
            f"{'at least' if gate['gate'].startswith('min') else 'at most'} {gate['limit']:g}",
        )
        for gate in found["gates"]
    ]
    if output is not None:
        remarks.append(("output", f"{output}/evaluation.json and report.html"))
    return remarks


def _redrawn(metrics: Iterable[dict[str, Any]]) -> bool:
    """Whether there are intervals to show."""
    return any(metric["ci"] is not None for metric in metrics)
