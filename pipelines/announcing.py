"""Platforms, told of a run as it goes: that it began, what it published, or why it did not.

Nothing that is published waits long for them, or fails with them: who was not told is told by `pipelines.announce`.
"""

import shlex
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from pipelines import interrupts, outcome
from pipelines.command import GoesOn, warn
from pipelines.failures import own, sentence
from pipelines.publishing import MayGoOn
from pipelines.reporting import Show
from seqcls_beam import storage
from seqcls_beam.announcing import platforms
from seqcls_beam.announcing.platforms import NAMES, Where
from seqcls_beam.announcing.published import Announced, PlatformError, reading
from seqcls_beam.runs import publication
from seqcls_beam.runs.lease import is_elsewhere
from seqcls_beam.runs.run import Placed, Run, RunError
from seqcls_beam.runs.table import called
from seqcls_beam.schema import PARTITION

_SECONDS = 80.0
"""For all platforms together, beside the footers of parts; each has a limit of its own that is far less."""
_ENDING = 5.0
"""Seconds that somebody who asked the command to end waits for what is being told."""
TOLD = "told"


def facts_of(named: Where) -> dict[str, Any]:
    """What the manifest of a run says of platforms."""
    return {platforms.KEY: dict(named)} if named else {}


def placing(output: str) -> Placed:
    """Who is told when the files of a version have their names, and again, with a warning, when it is published."""
    return partial(platforms.placed_or_later, storage.absolute(output))


def placing_here(output: str) -> Placed:
    """The same for what this process publishes and shows nobody; a warning says what was not told."""

    def placed(partition: str, number: int, manifest: dict[str, Any]) -> None:
        failed: list[str] = []

        def tell() -> None:
            try:
                platforms.placed(storage.absolute(output), partition, number, manifest)
            except Exception as error:  # of a store's, or of a manifest that no command wrote
                failed.append(str(error) if isinstance(error, PlatformError) else sentence(error))

        with interrupts.held():
            late = _within(tell, seconds=_SECONDS + reading(manifest))
            if why := next(iter(failed), f"iceberg was not told of its files: {late}" if late else None):
                there: Where = {}
                with suppress(PlatformError):
                    there = platforms.remembered(manifest)
                how = again(output, {name: place for name, place in there.items() if name == "iceberg"}, partition)
                warn(f"warning: {called(partition)}: {why}; {how} tells it again")

    return placed


@contextmanager
def witnessed(run: Run, where: Where, known: Callable[[], dict[str, Any]]) -> Iterator[Callable[[], None]]:
    """Yields what tells that the run begins; whatever ends the block after that, with nothing published, is told too.

    `known` is asked at either: command, model, inputs, as a manifest has them. What goes on without this command, or
    may, has not failed.
    """
    begun = False

    def begins() -> None:
        nonlocal begun
        if "openlineage" in where:
            begun = True
            _of_run(run, where, known(), None)

    try:
        yield begins
    except (GoesOn, MayGoOn):
        raise
    except BaseException as error:
        if begun and not is_elsewhere(run.attempt) and not _is_published(run):
            _of_run(run, where, known(), _why(error))
        raise


def _why(error: BaseException) -> str:
    number = interrupts.asked()
    if number is not None or not isinstance(error, Exception):
        return f"told to end ({signal.Signals(number or signal.SIGINT).name})"
    return own(error)


def _is_published(run: Run) -> bool:
    with suppress(OSError, RunError):
        now = publication.current(publication.beside(run))
        return now is not None and now.version.run_id == run.run_id
    return False


def _of_run(run: Run, where: Where, known: dict[str, Any], failure: str | None) -> None:
    """Say that a run begins, or that it failed; what keeps that away is warned of, and no more."""
    facts = {**known, "kind": run.kind, "run_id": run.run_id}
    found: list[str | None] = []

    def say() -> None:
        found.append(platforms.tell_of(where["openlineage"], run.output, run.partition, facts, failure))

    late = _within(say)
    if why := next(iter(found), late):
        what = "begins" if failure is None else "failed"
        warn(f"warning: openlineage was not told that the run {what}: {why}")


def with_platforms(show: Show, where: Where) -> Show:
    """Show a manifest, and then tell platforms of it: while signals are noted, as `publishing.finish` has it."""

    def both(run: Run, manifest: dict[str, Any]) -> None:
        show(run, manifest)
        published(run, manifest, where)

    return both


def published(run: Run, manifest: Mapping[str, Any], where: Where) -> None:
    """Tell platforms of what a run published; a warning names those that could not be told.

    Iceberg tables that have rows of the output are told, whoever is named: a start that was killed may have left them.
    """
    due = platforms.due(platforms.with_tables(run.output, where, manifest), manifest)
    if not due:
        return
    failed = tell(due, platforms.announced(run.output, run.partition, manifest["commit"]["version"], manifest))
    outcome.last("runs", platforms={name: failed.get(name, TOLD) for name in due})
    if failed:
        said = "; ".join(f"{name} was not told: {why}" for name, why in failed.items())
        there = {name: due[name] for name in failed}
        warn(f"warning: {said}; {again(run.output, there, run.partition)} tells it again")


def document_published(run: Run, where: Where) -> None:
    """The same of an evaluation, of which platforms are told the whole document."""
    if not where:
        return
    try:
        now = platforms.newest_of(run.output, "")
    except (RunError, OSError) as error:
        warn(f"warning: platforms were not told: {sentence(error)}; {again(run.output, where)} tells it again")
        return
    if now is not None:
        published(run, now.manifest, where)


def _never() -> bool:
    return False


def tell(due: Where, announced: Announced, over: Callable[[], bool] = _never) -> dict[str, str]:
    """Tell platforms of a version; why not, by platform.

    Who asks the command to end waits some seconds at most, and so does who says that all is `over`.
    """
    found: dict[str, str | None] = {}

    def each() -> None:
        for name, why in platforms.tell(due, announced):
            found[name] = why

    late = _within(each, over, _SECONDS + announced.reading)
    became = found if late is None else {name: found.get(name, late) for name in due}
    return {name: why for name, why in became.items() if why is not None}


def again(output: str, where: Where, partition: str = "") -> str:
    """The command that tells platforms of what a folder holds, of a night where it is one.

    It names them, since a manifest may not: a run that was published before has none, and not all of it is believed.
    """
    key, _, date = partition.partition("=")
    words = [storage.without_password(output), *([f"--run_date={date}"] if key == PARTITION else [])]
    words += [f"--{name}={place}" for name, place in where.items() if place]  # tables that OUT lists need no flag
    return " ".join(["python -m pipelines.announce", *map(shlex.quote, words)])


def _within(do: Callable[[], None], over: Callable[[], bool] = _never, seconds: float = _SECONDS) -> str | None:
    """Do it beside this thread; why nobody waited until it was done, None where it was.

    The time is short once somebody asked the command to end, or all is `over`.
    """
    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    until, late = time.monotonic() + seconds, f"it did not answer within {seconds:.0f} s"
    asked = False
    while thread.is_alive() and time.monotonic() < until:
        if not asked and (interrupts.asked() is not None or over()):
            asked, until = True, min(until, time.monotonic() + _ENDING)
            late = "the command was told to end before it answered"
        thread.join(0.1)
    return late if thread.is_alive() else None


class Windows:
    """Platforms, told of windows as these are sealed. One that does not answer is left alone for a while.

    What it was not told waits, and is told together with what comes; of too much the oldest is left to `announce`.
    """

    def __init__(self, output: str, named: Where, patience: float = 60.0, most: int = 1000) -> None:
        self._output, self._named = storage.absolute(output), named
        self._patience, self._most = patience, most
        self._waiting: dict[str, dict[str, str]] = {}  # window → who is to be told of it, and where
        self._left: set[tuple[str, str]] = set()  # who was not told of windows that wait no more, and where
        self._gone = 0  # windows that wait no more
        self._down: dict[str, float] = {}  # platform, or window → until when it is left alone
        self._said: set[str] = set()

    def sealed(self, window: str, told: Where) -> None:
        """One was published; what its manifest says of who is told."""
        manifest = {"kind": "classify", platforms.KEY: told}
        where, doubts = platforms.believed(self._output, manifest, self._named)
        for doubt in doubts:
            self._warn(doubt, f"{window}: ")
        if where:
            self._waiting.pop(window, None)  # the newest one waits last
            self._waiting[window] = where
        if len(self._waiting) > self._most:
            self._warn(f"more than {self._most:,} windows wait for platforms: the oldest are told by {self._again()}")
            oldest = next(iter(self._waiting))
            self._left.update(self._waiting.pop(oldest).items())
            self._gone += 1

    def tell(self, over: Callable[[], bool] = _never) -> None:
        """Tell of all that wait, until it is `over`; a platform that fails is warned of, once for each reason."""
        for window, left in list(self._waiting.items()):
            if over():
                return
            asked = {name: place for name, place in left.items() if self._is_up(name)}
            if asked and self._is_up(window):
                told = self._told(window, asked, over)
                self._waiting[window] = {name: place for name, place in left.items() if name not in told}
                if not self._waiting[window]:
                    del self._waiting[window]

    def _told(self, window: str, asked: Where, over: Callable[[], bool]) -> Collection[str]:
        """Tell of one window; who waits for it no more."""
        try:
            if (announced := platforms.newest_of(self._output, window)) is None:
                return NAMES
            failed = tell(platforms.due(asked, announced.manifest), announced, over)
        except OSError as error:  # of a store that is away for a while
            self._down[window] = time.monotonic() + self._patience
            self._warn(f"{window} is told nobody yet: {sentence(error)}")
            return ()
        except Exception as error:  # of what no command wrote: a stream goes on
            self._warn(f"{window} is told nobody: {sentence(error)}")
            return NAMES
        for name, why in failed.items():
            self._down[name] = time.monotonic() + self._patience
            self._warn(f"{name} was not told: {why}")
        return asked.keys() - failed.keys()

    def last(self) -> None:
        """Say how the rest is told."""
        if many := len(self._waiting) + self._gone:
            what = f"{many:,} windows" if many > 1 else "a window"
            warn(f"warning: platforms were not told of {what}; {self._again()} tells it again")

    def _is_up(self, what: str) -> bool:
        return self._down.get(what, 0.0) <= time.monotonic()

    def _again(self) -> str:
        left = self._left.union(*(where.items() for where in self._waiting.values()))
        return again(self._output, alike(left))

    def _warn(self, said: str, of: str = "") -> None:
        if said not in self._said:
            self._said.add(said)
            warn(f"warning: {of}{said}")


def alike(places: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Platforms of which all that is named is one place: a command that names it is of use for all."""
    found: dict[str, set[str]] = {}
    for name, place in places:
        found.setdefault(name, set()).add(place)
    return {name: min(found[name]) for name in NAMES if len(found.get(name, ())) == 1}
