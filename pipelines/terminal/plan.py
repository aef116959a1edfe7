"""What a person sees of a run that is only planned."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich import filesize
from rich.console import Console

from pipelines.terminal import live, screen
from pipelines.terminal.screen import Table, Text
from seqcls_beam import storage


class Told:
    """How far planning is."""

    line = "planning"

    def sampling(self, done: int, units: int) -> None:
        """So many units of the sample are read."""
        self.line = f"sampling: {done:,} of {units:,} units"

    def timing(self) -> None:
        """The sample is there, and the model is timed."""
        self.line = "timing the model"


@contextmanager
def watching() -> Iterator[Told]:
    """Show how far planning is until the block ends."""
    told = Told()
    with live.watching(partial(_status, told), lambda: told.line):
        yield told


def _status(told: Told, console: Console, done: threading.Event) -> None:
    with console.status("") as shown:
        while not done.wait(0.5):
            shown.update(Text(told.line))


def told(found: dict[str, Any], file: str | None) -> None:
    """Print what `--plan` found, and wrote into a file; where that is -, to the standard error."""
    console = screen.aside() if file == "-" else screen.console()
    facts = screen.facts("fold")
    for run in found["runs"]:
        facts.add_row("run", Text(_run(run)))
    facts.add_row("rows", Text(_estimate(found["rows"], found["sample"]["whole"])))
    tokens = _estimate(found["tokens"], found["sample"]["whole"])
    facts.add_row("tokens", Text(f"{tokens}{_lengths(found['sample'])}"))
    facts.add_row("sample", Text(_sample(found["sample"])))
    facts.add_row("speed", Text(_speed(found["speed"]) if found["speed"] else f"not measured: {found['not_measured']}"))
    if found["here"]:
        facts.add_row("", Text(f"this machine, which is not the worker: {_speed(found['here'])}"))
    elif found["not_measured_here"]:
        facts.add_row("", Text(f"nor on this machine: {found['not_measured_here']}"))
    facts.add_row("price", Text(_price(found["price"], found["worker"])))
    console.print(facts)
    if found["hours"]:
        console.print(_hours(found["hours"], found["price"]))
    else:
        console.print(Text("hours and price: not measured"))
    rest = screen.facts("fold")
    rest.add_row("not included", Text(found["not_included"]))
    rest.add_row("written", Text(_written(file)))
    console.print(rest)


def _written(file: str | None) -> str:
    if file in (None, "-"):
        return "nothing was written"
    return f"{storage.without_password(str(file))}, and nothing else"


def _run(run: dict[str, Any]) -> str:
    where = f"{run['partition']}, " if run["partition"] else ""
    done = run["units"] - run["units_left"]
    goes_on = f", {done:,} of them done before: it goes on with {run['units_left']:,}" if done else ""
    size = filesize.decimal(run["bytes"])
    return f"{where}{run['run_id']}: {_count(run['files'], 'file')}, {size}, {_count(run['units'], 'unit')}{goes_on}"


def _estimate(found: dict[str, Any], counted: bool) -> str:
    value, spread = found["value"], found["spread"]
    if counted:
        return f"{value:,.0f}"
    if spread is None:
        return f"about {value:,.0f}, by the beginning of the one unit alone"
    return f"about {value:,.0f} ± {spread / max(value, 1):.1%}"


def _lengths(sample: dict[str, Any]) -> str:
    labelled = sample["rows"] - sample["rejected"]
    if not labelled:
        return ""
    cut = f", {sample['truncated'] / labelled:.1%} of the texts are cut" if sample["truncated"] else ""
    return f"; {sample['tokens'] / labelled:,.1f} a text{cut}"


def _sample(sample: dict[str, Any]) -> str:
    bad = f", {sample['rejected']:,} of them rejected" if sample["rejected"] else ""
    if sample["whole"]:
        return f"all {_count(sample['rows'], 'row')} were read{bad}"
    return (
        f"{_count(sample['rows'], 'row')}{bad}, from the beginnings of {sample['units']:,} of "
        f"{_count(sample['units_left'], 'unit')}; ± is two standard errors"
    )


def _speed(speed: dict[str, Any]) -> str:
    rate = f"{speed['tokens_per_second']:,.0f} tokens/s"
    if speed["whole"] or speed["digest"] is None:
        return f"{rate}, by {speed['source']}"
    alone = speed["model_tokens_per_second"]
    model = f" (the model alone {alone:,.0f})" if alone and alone > 1.01 * speed["tokens_per_second"] else ""
    cores = f", {_count(speed['threads'], 'thread')}" if speed["device"] == "cpu" else ""
    on = speed["gpu"] or speed["processor"]
    return f"{rate}{model}, {speed['source']} for {speed['seconds']:.0f} s: {on}{cores}, {speed['dtype']}"


def _price(price: dict[str, Any], worker: dict[str, Any] | None) -> str:
    if worker is None:
        return "no machine is named: --gpu or --machine_type says which one is paid for"
    gpu = f" with {worker['gpus']} {worker['gpu']}" if worker["gpu"] else ""
    what = f"{worker['machine']}{gpu}, {worker['disk_gb']:g} GB of disk"
    if price["hour"] is None:
        return f"{what}: {price['unknown']}"
    where = ", ".join(filter(None, [price["region"], f"prices of {price['date']}"]))
    return f"{price['hour']:,.4f} {price['currency']} an hour: {what} ({where})"


def _hours(found: list[dict[str, Any]], price: dict[str, Any]) -> Table:
    table = Table()
    priced = price["hour"] is not None
    for name in ("workers", "time", "worker-hours", *([price["currency"]] if priced else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for each in found:
        cells = [f"{each['workers']:,}", _time(each["hours"]), _number(each["worker_hours"])]
        table.add_row(*cells, *([_amount(each["price"])] if priced else []))
    return table


def _time(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{60 * hours:.1f} min" if hours >= 1 / 60 else f"{3600 * hours:.1f} s"


def _number(hours: float) -> str:
    return f"{hours:,.1f}" if hours >= 10 else f"{hours:.2g}" if hours >= 1e-4 else "0"


def _amount(price: float) -> str:
    return f"{price:,.2f}" if price >= 0.01 else "< 0.01"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'s'[: number != 1]}"
