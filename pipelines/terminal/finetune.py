"""What a person sees of a fine-tuning: the live line, and the scores when it is done."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from pipelines.terminal import live, screen
from pipelines.terminal.screen import Table, Text
from seqcls_beam.finetuning.card import stopped
from seqcls_beam.finetuning.job import Job, Progress, step_of
from seqcls_beam.finetuning.torchrun import processes
from seqcls_beam.runs.run import Run, short

MAJORITY = 0.7
"""Share of one label from which on accuracy is mostly of that label."""


def begun(job: Job) -> str:
    """The sentence that a training begins with: rows, processes, and the step it goes on from."""
    rows, ranks, last = job.prepared.manifest["splits"]["train"]["rows"], processes()[1], job.last_checkpoint()
    return f"run {short(job.run.run_id)}: {rows:,} rows, {ranks} process{'es'[: 2 * (ranks != 1)]}" + (
        f", going on from step {step_of(last):,}" if last else ""
    )


def hint(job: Job) -> str | None:
    """What is said of a metric by which nobody asked to choose, and which says little of these data."""
    share = job.prepared.manifest.get("majority_baseline", {}).get("validation", {}).get("accuracy", 0.0)
    if job.config.train.best_metric != "auto" or share < MAJORITY:
        return None
    return (
        f"{share:.1%} of the validation rows have one label, and --best_metric=auto is accuracy: macro_f1 would count "
        "each label as much"
    )


@contextmanager
def watching(job: Job) -> Iterator[Callable[[Progress], None]]:
    """Show how far a training is until the block ends; yields what is to be called with news of it."""
    clock = _Clock(job.best_metric)
    with live.watching(partial(_bar, clock), clock.line):
        yield clock.tell


class _Clock:
    """The last news, and the time that is left by the pace since this start began."""

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self._began: float | None = None
        self.now = Progress()

    def tell(self, news: Progress) -> None:
        if self._began is None:
            self._began = time.monotonic()
        self.now = news

    def line(self) -> str:
        now = self.now
        if self._began is None:
            return "loading the data and the model"
        said = [f"step {now.step:,} of {now.steps:,}"]
        made = now.step - now.began
        if now.evaluating:
            said.append("evaluating")
        elif made:
            left = (time.monotonic() - self._began) * (now.steps - now.step) / made
            said.append(f"{_time(left)} left")
        if now.loss is not None:
            said.append(f"loss {now.loss:.3f}")
        if now.judged is not None:
            said.append(f"validation {self._metric} {now.judged:.3f}")
        return ", ".join(said)


def _bar(clock: _Clock, console: Console, done: threading.Event) -> None:
    with Bar(BarColumn(24), TextColumn("{task.description}"), console=console, transient=True) as bar:
        task = bar.add_task(clock.line())
        while not done.wait(0.5):
            bar.update(task, description=clock.line(), completed=clock.now.step, total=clock.now.steps or None)


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def summary(run: Run, manifest: dict[str, Any]) -> None:
    """Print what was trained, and how good it is."""
    console = screen.console()
    facts = screen.facts()
    rows, base, machine, best = (manifest[name] for name in ("data", "base", "machine", "best"))
    facts.add_row("data", f"{rows['rows']['train']:,} training rows, {manifest['problem']}")
    facts.add_row("base", Text(f"{base['name']} ({base['head']} head)"))
    facts.add_row(
        "training",
        f"{manifest['steps']:,} steps{stopped(manifest)}{_in_the_end(manifest)}{_time(manifest['seconds'])}; step "
        f"{best['step']:,} is "
        "published" + (f", the best by validation {best['metric']}" if "validation" in manifest["scores"] else ""),
    )
    facts.add_row(
        "machine",
        Text(
            f"{machine['processes']} × {machine['device']}, {machine['computed_in']}, {machine['threads']} threads, "
            f"{machine['padding']:.1%} padding"
        ),
    )
    told = ", ".join(f"{name}: {weight:.2f}" for name, weight in list(manifest["label_weights"].items())[:12])
    if told:
        facts.add_row("weights", Text(told + ", …" * (len(manifest["label_weights"]) > 12)))
    for name, count in rows["rows"].items():
        scored = manifest["scored_rows"].get(name, 0)
        if name != "train" and scored < count:
            facts.add_row("no label", f"{count - scored:,} of {count:,} {name} rows, which are in no score")
    facts.add_row("output", Text(run.output))
    console.print(facts)
    if manifest["scores"]:
        console.print(_scores(manifest))
    screen.then(f"python -m pipelines.classify --model={screen.quoted(run.output)} --input=FILES --output=LABELS")


def _in_the_end(manifest: dict[str, Any]) -> str:
    made = manifest["steps"] - manifest["resumed_at"]
    return f", the last {made:,} of them in " if manifest["resumed_at"] else " in "


def _scores(manifest: dict[str, Any]) -> Table:
    scores = manifest["scores"]
    table = Table()
    table.add_column("")
    for split in scores:
        table.add_column(split, justify="right")
    for name in dict.fromkeys(name for each in scores.values() for name in each):
        table.add_row(name, *(f"{each[name]:.4f}" if name in each else "" for each in scores.values()))
    baseline = manifest["majority_baseline"]
    if baseline:
        shown = (f"{baseline[split]['accuracy']:.4f}" if split in baseline else "" for split in scores)
        table.add_section()
        table.add_row("majority accuracy", *shown)
    return table
