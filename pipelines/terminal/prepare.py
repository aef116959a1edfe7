"""What a person sees of a preparation: the live line, and the tables when it is done."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich import filesize
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipelines.terminal import accounting, live, screen
from pipelines.terminal.screen import Table, Text
from seqcls_beam.preparation import findings, spellings, tasks
from seqcls_beam.preparation.job import Job
from seqcls_beam.runs.run import Run, short

SKEWED = 0.1
"""Differences between splits, as the manifest has them under `skew`, that are pointed out."""

_SAID = {
    "read": "reading, cleaning, tokenising",
    "exact": "finding duplicates",
    "pairs": "finding near-duplicates",
    "keys": "finding near-duplicates",
    "compare": "comparing near-duplicates",
    **dict.fromkeys(["islands", "groups", "count", "quotas", "draw", "decide", "settle", "assign"], "splitting"),
    "shards": "writing shards",
}


def _said(stage: str) -> str:
    return _SAID.get(stage.removeprefix("fold "), "joining texts that belong together")


def begun(job: Job, size: int, done: int) -> str:
    """The sentence that a preparation begins with: bytes of input, in how many units, how many are done already."""
    return (
        f"run {short(job.run.run_id)}: {filesize.decimal(size)} in {job.units:,} unit{'s'[: job.units != 1]}"
        + (f", {done:,} of them done before" if done else "")
        + ("; all tasks assign splits (--assign=all)" if job.shared else "")
    )


@contextmanager
def watching(job: Job) -> Iterator[None]:
    """Show how far a job is, by the records its tasks leave, until the block ends."""
    stages = _Stages(job)
    with live.watching(partial(_bar, stages, job.units), stages.line):
        yield


def _bar(stages: "_Stages", units: int, console: Console, done: threading.Event) -> None:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total}")
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("starting", total=units)
        while not done.wait(0.5):
            stage, finished, total = stages.now()
            bar.update(task, description=_said(stage), completed=finished, total=total)


class _Stages:
    """Those of a job that are not over, as far as is known: to ask for one lists its records."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._left = list(tasks.stages(job).items())

    def now(self) -> tuple[str, int, int]:
        """(the stage at work, its tasks that are done, all of them)."""
        while True:
            stage, total = self._left[0]
            finished = tasks.done(self._job, stage)
            if finished < total or len(self._left) == 1:
                return stage, finished, total
            del self._left[0]

    def line(self) -> str:
        """The same as a sentence."""
        stage, finished, total = self.now()
        return f"{_said(stage)}: {finished:,} of {total:,} tasks done"


def summary(run: Run, manifest: dict[str, Any]) -> None:
    """Print what a preparation made, what it left out, and what it found."""
    console = screen.console()
    counts, splits = manifest["rows"], manifest["splits"]
    facts = screen.facts()
    facts.add_row("rows", accounting.rows(counts, kept=counts["kept"], removed=counts["removed"]))
    for name in ("removed", "rejected"):
        if counts[name]:
            told = (f"{reason} {count:,}" for reason, count in counts[f"{name}_by_reason"].items())
            facts.add_row(f"  {name}", ", ".join(told))
    for name, said in accounting.losses(manifest):
        facts.add_row(name, Text(said))
    facts.add_row("labels", Text(f"{manifest['problem']}, read as {manifest['label_form']}"))
    if alike := spellings.told(manifest.get("labels_alike", [])):
        facts.add_row("  alike", Text(alike))
    if manifest["cleaned"]:
        facts.add_row("cleaned", ", ".join(f"{step} {count:,}" for step, count in manifest["cleaned"].items()))
    facts.add_row("duplicates", _duplicates(manifest["duplicates"]))
    facts.add_row("leaks", Text(_leaks(manifest["leaks"])))
    console.print(facts)
    console.print(_splits(manifest))
    facts = screen.facts()
    if "class_weights" in manifest and len(manifest["labels"]) <= 12:
        weights = zip(manifest["labels"], manifest["class_weights"]["inverse_frequency"], strict=True)
        facts.add_row("class weights", Text(", ".join(f"{name}: {weight:.2f}" for name, weight in weights)))
    absent = findings.absent(splits)
    if absent:
        facts.add_row("no rows", Text(absent))
    if manifest.get("majority_baseline"):
        told = (f"{name} {each['accuracy']:.1%}" for name, each in manifest["majority_baseline"].items())
        facts.add_row("majority class", ", ".join(told) + " accuracy")
    skewed = [
        f"{what} of {name} and train differ by {value:.2f}"
        for name, each in manifest["skew"].items()
        for what, value in each.items()
        if value > SKEWED
    ]
    if skewed:
        facts.add_row("skew", ", ".join(skewed))
    shares = manifest.get("shares")
    far = findings.sentence(shares) if shares else None
    if far:
        facts.add_row("shares", Text(far))
    if "suggested_max_length" in manifest:
        cut = sum(each["truncated_rows"] for each in splits.values())
        enough, most = manifest["suggested_max_length"], manifest["tokenizer"]["max_length"]
        lengths = f"{cut:,} rows cut to {most} tokens"
        if enough < most and enough >= splits["train"]["length"]["p99"]:
            lengths += f"; --max_length={enough} reads 99 % of the training texts whole"
        facts.add_row("lengths", lengths)
    facts.add_row("output", Text(f"{run.output}/data ({len(manifest['parts']):,} shards)"))
    console.print(facts)
    screen.then(f"python -m pipelines.finetune --data={screen.quoted(run.output)} --model=BASE --output=MODEL")


def _splits(manifest: dict[str, Any]) -> Table:
    """Rows by class and split; of many classes the ten most frequent."""
    splits = manifest["splits"]
    table = Table()
    table.add_column("")
    for name in splits:
        table.add_column(name, justify="right")
    if manifest["problem"] == "regression":
        for name in ("mean", "standard_deviation"):
            table.add_row(name.replace("_", " "), *(f"{each['target'][name]:.4g}" for each in splits.values()))
    else:
        train = splits["train"]["label_counts"]
        shown = set(sorted(train, key=lambda name: -train[name])[:10])
        for name in manifest["labels"]:
            if name in shown:
                table.add_row(Text(name), *(_share(each, name) for each in splits.values()))
        if len(train) > len(shown):
            table.add_row(f"… {len(train) - len(shown)} more", *("" for _ in splits))
    table.add_section()
    if any("unlabelled_rows" in each for each in splits.values()):
        table.add_row("no label", *(f"{each.get('unlabelled_rows', 0):,}" for each in splits.values()))
    table.add_row("rows", *(f"{each['rows']:,}" for each in splits.values()))
    table.add_row("tokens", *(f"{each['tokens']:,}" for each in splits.values()))
    lengths = (each["length"] for each in splits.values())
    table.add_row("length p50 / p99 / max", *(f"{each['p50']} / {each['p99']} / {each['max']}" for each in lengths))
    return table


def _share(split: dict[str, Any], name: str) -> str:
    count, rows = split["label_counts"][name], split["rows"] - split.get("unlabelled_rows", 0)
    return f"{count:,} ({count / max(rows, 1):.1%})"


def _duplicates(found: dict[str, Any]) -> str:
    told = f"{found['duplicate_rows']:,} rows repeat a text, {found['conflict_groups']:,} texts have several labels"
    if found["near_duplicates"] == "off":
        return told
    return told + (
        f"; {found['clusters']:,} clusters of near-duplicates ({found['clustered_texts']:,} texts), "
        f"{found['near_pairs_with_other_labels']:,} of {found['near_pairs']:,} pairs with different labels"
    )


def _leaks(found: dict[str, Any]) -> str:
    told = [f"{pair} {counts['rows']:,}" for pair, counts in found["exact"].items()]
    told += [f"{pair} {count:,} nearly" for pair, count in found["near"].items()]
    told += [f"{pair} {count:,} sentences" for pair, count in found.get("sentences", {}).items()]
    return ", ".join(told) or "none"
