"""Platforms, told of a run as it goes: that it began, what it published, or why it did not.

Nothing that is published waits long for them, or fails with them: who was not told is told by `pipelines.announce`.
"""

import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from pipelines import interrupts, outcome
from pipelines.command import GoesOn, warn
from pipelines.failures import sentence
from pipelines.reporting import Show
from seqcls_beam import storage
from seqcls_beam.announcing import platforms
from seqcls_beam.announcing.platforms import Where
from seqcls_beam.announcing.published import Announced
from seqcls_beam.runs import publication
from seqcls_beam.runs.commit import Placed
from seqcls_beam.runs.run import Run, RunError

_SECONDS = 180.0
"""For all platforms together; each has a limit of its own that is far less."""
_ENDING = 5.0
"""Seconds that somebody who asked the command to end waits for what is being told."""
TOLD = "told"


def facts_of(run: Run, named: Where) -> dict[str, Any]:
    """What the manifest of a run says of platforms, those among them that go on with what it replaces."""
    before = publication.current(run)
    told = platforms.kept(named, before.manifest if before else None)
    return {"platforms": told} if told else {}


def placing(run: Run, facts: Mapping[str, Any]) -> Placed | None:
    """What `commit.publish` tells of a run in a worker; None where no Iceberg table has its rows."""
    return partial(platforms.placed, run.output) if "iceberg" in facts.get("platforms", {}) else None


@contextmanager
def telling(run: Run, where: Where, known: Callable[[], dict[str, Any]]) -> Iterator[Callable[[], None]]:
    """Yields what tells that the run begins; whatever ends the block after that, with nothing published, is told too.

    `known` is asked once, when it begins: command, model, inputs, as a manifest has them. What goes on without this
    command has not failed.
    """
    facts: dict[str, Any] = {}

    def begins() -> None:
        if "openlineage" in where:
            facts.update(kind=run.kind, run_id=run.run_id, **known())
            _of_run(run, where, facts, None)

    try:
        yield begins
    except GoesOn:
        raise
    except BaseException as error:
        if facts and not _is_published(run):
            _of_run(run, where, facts, _why(error))
        raise


def _why(error: BaseException) -> str:
    number = interrupts.asked()
    if number is not None or not isinstance(error, Exception):
        return f"told to end ({signal.Signals(number or signal.SIGINT).name})"
    return sentence(error)


def _is_published(run: Run) -> bool:
    with suppress(OSError, RunError):
        now = publication.current(publication.beside(run))
        return now is not None and now.version.run_id == run.run_id
    return False


def _of_run(run: Run, where: Where, facts: dict[str, Any], failure: str | None) -> None:
    """Say that a run begins, or that it failed; what keeps that away is warned of, and no more."""
    found: list[str] = []  # why not, "" where it was told

    def say() -> None:
        said = platforms.tell_of(where["openlineage"], run.output, run.partition, facts, failure)
        found.append(said or "")

    if not _within(say):
        found.append(_unanswered())
    if found[0]:
        what = "begins" if failure is None else "failed"
        warn(f"warning: openlineage was not told that the run {what}: {found[0]}")


def with_platforms(show: Show, where: Where) -> Show:
    """Show a manifest, and then tell platforms of it: while signals are noted, as `publishing.finish` has it."""

    def both(run: Run, manifest: dict[str, Any]) -> None:
        show(run, manifest)
        published(run, manifest, where)

    return both


def published(run: Run, manifest: Mapping[str, Any], where: Where) -> None:
    """Tell platforms of what a run published; a warning names those that could not be told."""
    if not where:
        return
    announced = Announced(
        output=run.output, partition=run.partition, version=manifest["commit"]["version"], manifest=manifest
    )
    failed = tell(where, announced)
    outcome.last("runs", platforms={name: failed.get(name, TOLD) for name in where})
    warn_of(failed, run.output)


def _never() -> bool:
    return False


def tell(where: Where, announced: Announced, over: Callable[[], bool] = _never) -> dict[str, str]:
    """Tell platforms of a version; why not, by platform.

    Who asks the command to end waits some seconds at most, and so does who says that all is `over`.
    """
    found: dict[str, str | None] = {}

    def each() -> None:
        for name, why in platforms.tell(where, announced):
            found[name] = why

    done_in_time = _within(each, over)
    due = [name for name in platforms.NAMES if name in where and platforms.applies(name, announced.manifest)]
    if not done_in_time:
        found = {name: found.get(name, _unanswered()) for name in due}
    return {name: why for name, why in found.items() if why is not None}


def warn_of(failed: Mapping[str, str], output: str) -> None:
    """One line for all that were not told, with how to tell them."""
    if failed:
        said = "; ".join(f"{name} was not told: {why}" for name, why in failed.items())
        warn(f"warning: {said}; {again(output)} tells it again")


def again(output: str) -> str:
    """The command that tells platforms of what a folder holds."""
    return f"python -m pipelines.announce {shlex.quote(storage.without_password(output))}"


def _within(do: Callable[[], None], over: Callable[[], bool] = _never) -> bool:
    """Do it beside this thread; whether it was done in time, which is short once somebody asked the command to end."""
    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    until, asked = time.monotonic() + _SECONDS, False
    while thread.is_alive() and time.monotonic() < until:
        if not asked and (interrupts.asked() is not None or over()):
            asked, until = True, min(until, time.monotonic() + _ENDING)
        thread.join(0.1)
    return not thread.is_alive()


def _unanswered() -> str:
    if interrupts.asked() is not None:
        return "the command was told to end before it answered"
    return f"it did not answer within {_SECONDS:.0f} s"


class Windows:
    """Platforms, told of windows as these are sealed. One that does not answer is left alone for a while.

    What it was not told waits, and is told together with what comes.
    """

    def __init__(self, output: str, named: Where, patience: float = 60.0) -> None:
        self._output, self._named = storage.absolute(output), named
        self._patience = patience
        self._waiting: dict[str, frozenset[str]] = {}  # window → who was told of it
        self._down: dict[str, tuple[float, str]] = {}  # platform → until when it is left alone, and why
        self._said: dict[str, str | None] = {}

    def sealed(self, window: str) -> None:
        """One was published."""
        self._waiting[window] = frozenset()

    def tell(self, over: Callable[[], bool] = _never) -> None:
        """Tell of all that wait, until it is `over`; a platform that fails is warned of, once for each reason."""
        for window in list(self._waiting):
            if over():
                return
            try:
                announced = platforms.newest_of(self._output, window)
            except (RunError, OSError) as error:
                self._warn(window, sentence(error))
                announced = None
            if announced is None:
                del self._waiting[window]
                continue
            where, doubts = platforms.believed(announced.manifest, self._named)
            for doubt in doubts:
                self._warn(f"{window}: {doubt}", None)
            told = self._waiting[window]
            now = time.monotonic()
            asked = {
                name: place
                for name, place in where.items()
                if name not in told and self._down.get(name, (0.0, ""))[0] <= now
            }
            failed = tell(asked, announced, over)
            for name, why in failed.items():
                self._down[name] = time.monotonic() + self._patience, why
                self._warn(name, why)
            told |= asked.keys() - failed.keys()
            self._waiting[window] = told
            if told >= where.keys():
                del self._waiting[window]

    def last(self) -> None:
        """Say how the rest is told."""
        if self._waiting:
            many = len(self._waiting)
            what = f"{many:,} windows" if many > 1 else "a window"
            warn(f"warning: platforms were not told of {what}; {again(self._output)} tells it again")

    def _warn(self, what: str, why: str | None) -> None:
        if self._said.get(what, "") != why:
            self._said[what] = why
            warn(f"warning: {what}" if why is None else f"warning: {what} was not told: {why}")
