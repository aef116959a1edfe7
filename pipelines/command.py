"""What the commands share: how they speak, and what a manifest says of how they were called."""

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields
from importlib import metadata
from typing import Any

import orjson
from rich.text import Text

from pipelines.called import as_called
from pipelines.failures import explained
from pipelines.interrupts import asked, noted
from pipelines.terminal import screen
from seqcls_beam import storage
from seqcls_beam.config.option import flag, option_fields
from seqcls_beam.runs import publication
from seqcls_beam.runs.lease import alive, end, is_elsewhere
from seqcls_beam.runs.run import Run, RunError, short
from seqcls_beam.runs.shapes import as_written, checked
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import damage, read_newest
from seqcls_beam.signs import json_shown, shown
from seqcls_beam.version import __version__

LOCAL = "FnApiRunner"
"""The runner of this machine, as `name_runner` has it."""

EPILOG = """\
runner options are passed on to Beam, such as
  --runner=DirectRunner                 this machine, one process (the default)
  --direct_running_mode=multi_processing --direct_num_workers=4
  --runner=PrismRunner                  this machine, Beam's runner in Go
  --runner=FlinkRunner --flink_master=HOST:8081
  --runner=DataflowRunner --project=P --region=R --temp_location=gs://...

exit codes: 0 published (or already published), 1 failed and nothing published (of several nights or partitions: one
of them failed), 2 wrong usage, 129, 130 and 143 ended by SIGHUP, Ctrl-C and SIGTERM
"""
"""What `--help` of every command ends with."""


def say(message: str, code: int) -> int:
    """One sentence to the user; the exit code, for `return say(…)`."""
    print(f"seqcls_beam: {as_called(_harmless(message))}", file=sys.stderr, flush=True)
    return code


def ensure_json(file: str | None, flag: str = "json") -> None:
    """Raise `RunError` where `write_json` could not write: before the work, so that nobody does it twice."""
    if file in (None, "-"):
        return
    try:
        storage.ensure_puts(storage.absolute(str(file)))
    except OSError as error:
        raise RunError(f"--{flag}={storage.without_password(str(file))} cannot be written: {error}") from error


def write_json(file: str, found: dict[str, Any]) -> None:
    """Write a document into a file, or where that is - to the standard output."""
    data = orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if file == "-":
        screen.console().print(Text(json_shown(data.decode())), soft_wrap=True, end="")
    else:
        storage.put(storage.absolute(file), data)


def _harmless(message: str) -> str:
    """A sentence on one line, whatever names are in it: no password, no sign that acts, and of a long word both ends.

    Names of files may hold any sign, and so may what a store answers.
    """
    return re.sub(r"(\S{300})\S{400,}(\S{300})", r"\1…\2", shown(storage.without_secrets(message), name=True))


class GoesOn(Exception):
    """A job works on, or waits, without the command that sent it: (sentence, exit code)."""


class NoJob(RunError):
    """No job of a run is at work any more: the one that there was has ended."""


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
            summary(run, checked(now.manifest, uri))
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
    return mine.manifest


def flags(config: Any) -> Iterator[str]:
    """A command's options as a shell takes them, defaults among them, without passwords."""
    for group in fields(config):
        options = getattr(config, group.name)
        for each in option_fields(type(options)):
            value = getattr(options, each.name)
            if value is None or value is False:
                continue
            if value is True:
                yield f"--{flag(each)}"
            elif each.type == tuple[str, ...]:
                yield from (_flag(flag(each), one) for one in value)
            else:
                yield _flag(flag(each), ",".join(value) if isinstance(value, tuple) else str(value))


def _flag(name: str, value: str) -> str:
    # One word, so that a value may begin with a dash.
    return f"--{name}={shlex.quote(storage.without_password(value))}"


def versions(*packages: str) -> dict[str, str]:
    """The installed versions of the project and of packages it stands on."""
    return {"seqcls_beam": __version__, **{name: metadata.version(name) for name in packages}}
