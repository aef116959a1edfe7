"""A run from its beginning to what it published, or to why it did not."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pipelines import outcome, voice
from pipelines.command import GoesOn, say
from pipelines.failures import explained
from pipelines.interrupts import asked, noted
from seqcls_beam import storage
from seqcls_beam.runs import publication
from seqcls_beam.runs.lease import alive, end, is_elsewhere
from seqcls_beam.runs.run import Run, RunError, short
from seqcls_beam.runs.shapes import as_written, checked
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import damage, read_newest


class NoJob(RunError):
    """No job of a run is at work any more: the one that there was has ended."""


class MayGoOn(RunError):
    """The job of a run may go on, or be over: who has it does not answer any more."""


class NotTaken(RunError):
    """The job of a run was refused; an earlier one of it may be at work."""


def already_published(run: Run, summary: Callable[[Run, dict[str, Any]], None]) -> bool:
    """Whether this very run is published and whole; then it is shown. Raises `RunError` where it cannot be."""
    reason = publication.unpublishable(run)
    if reason:
        raise RunError(reason)
    now = publication.current(run)
    if now is None or now.version.run_id != run.run_id:
        return False
    wrong = damage(now)
    if wrong is None:
        uri = storage.join(run.output, now.version.name)
        with noted(), as_written(uri):
            manifest = checked(now.manifest, uri)
            _note(run, now.version.number, manifest, already_published=True)
            summary(run, manifest)
        voice.speak_of(run.run_id)
        say(f"already published: {run.output} holds exactly this run; nothing to do", 0)
        return True
    if not run.overwrite:
        raise RunError(f"{run.output} holds this run, but {wrong}; give --overwrite to make it again")
    return False


def finish(
    run: Run,
    begin: Callable[[], None],
    work: Callable[[], None],
    show: Callable[[Run, dict[str, Any]], None],
    elsewhere: bool = False,
) -> None:
    """Begin a run, do its work, show the manifest it published. Raises `RunError` with the sentence behind a failure.

    What works `elsewhere` may go on without this command, however that ends.
    """
    before = False
    voice.speak_of(run.run_id)
    try:
        begin()
        before = is_elsewhere(run.attempt)
        with alive(run, elsewhere):
            work()
        if elsewhere:
            end(run)
    except GoesOn:
        raise
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, NoJob) or (isinstance(error, NotTaken) and not before):
            end(run)
        if not _became_something(run):
            if isinstance(error, Exception):
                raise explained(error) from error
            raise
        if asked() is None:
            say("another process published this same run meanwhile", 0)
    with noted():
        show(run, _told(run))


def publish(run: Run, write: Callable[[], None]) -> None:
    """Publish what was made here. A signal that comes once that is decided ends nothing."""
    try:
        write()
    except KeyboardInterrupt:
        if not _became_something(run):
            raise


def _became_something(run: Run) -> bool:
    try:
        became = publication.outcome(run) is not None
    except OSError:  # what fails now may be what failed before, which is what is to be told
        return False
    if became:
        with suppress(OSError, RunError):
            publication.follow(run)  # removes what is left, to which the run did not come
    return became


def _told(run: Run) -> dict[str, Any]:
    """The manifest that a run published; says where another run has replaced it since."""
    mine, now = publication.outcome(run), read_newest(store_of(run.output), run.partition)
    if mine is None:
        raise RunError(f"the job ended, but {run.output} does not hold it; see the runner's log")
    if now is not None and now.version.run_id != run.run_id:
        say(f"published as version {mine.version.number}, and replaced since by run {short(now.version.run_id)}", 0)
    _note(run, mine.version.number, mine.manifest, already_published=False)
    return mine.manifest


_FACTS = ("rows", "label_counts", "truncated_rows", "splits", "leaks", "scores", "best", "steps")


def _note(run: Run, version: int, manifest: dict[str, Any], already_published: bool) -> None:
    """What programs are told of a run."""
    facts = {name: manifest[name] for name in _FACTS if name in manifest}
    outcome.append(
        "runs",
        run_id=run.run_id,
        output=storage.without_password(run.output),
        partition=run.partition,
        version=version,
        already_published=already_published,
        **facts,
    )
