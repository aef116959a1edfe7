"""What the commands share: how they speak and end, and what a manifest says of how they were called."""

import errno
import io
import logging
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from importlib import metadata
from typing import Any

import orjson
from rich.text import Text

from pipelines.called import as_called
from pipelines.terminal import discreet, screen
from seqcls_beam import storage
from seqcls_beam.config.option import flag, option_fields
from seqcls_beam.reading.formats.pieces import InputChanged, InputFailed
from seqcls_beam.runs import publication
from seqcls_beam.runs.lease import alive, end, is_elsewhere
from seqcls_beam.runs.run import Run, RunError, short
from seqcls_beam.runs.shapes import checked
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
of them failed), 2 wrong usage
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
    return re.sub(r"(\S{300})\S{400,}(\S{300})", r"\1…\2", shown(storage.without_password(message), name=True))


class GoesOn(Exception):
    """A job works on, or waits, without the command that sent it: (sentence, exit code)."""


class NoJob(RunError):
    """No job of a run is at work any more: the one that there was has ended."""


class NotTaken(RunError):
    """The job of a run was refused; an earlier one of it may be at work."""


class _NotPlanned(Exception):
    """What ends a command before anything starts: (sentence, exit code)."""


@contextmanager
def planning() -> Iterator[None]:
    """What is wrong with flags, files or a model ends the command in one sentence.

    Only here: the same errors of a run under way are faults of the program, and keep their traceback.
    """
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        raise _NotPlanned(storage.without_password(str(error)), 2) from error
    except ImportError as error:  # of an extra: it says which
        raise _NotPlanned(str(error), 2) from error
    except (InputChanged, InputFailed, storage.StoreError) as error:
        raise _NotPlanned(str(error), 1) from error
    except OSError as error:
        raise _NotPlanned(f"{type(error).__name__}: {error}", 1) from error


def exit_code(command: Callable[[list[str]], int], argv: list[str], tell: Callable[[str, int], int] = say) -> int:
    """Run a command; what ends it becomes a sentence and a code. What could not be planned is told by `tell`."""
    discreet.install()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where it is closed
            stream.reconfigure(errors="backslashreplace")  # whatever names are shown, and whatever a terminal can show
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs tracebacks of errors that it raises, too
    if os.getpid() == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        # The first process of a container ends by no signal that it does not handle.
        signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    try:
        return command(argv)
    except _NotPlanned as end:
        return tell(*end.args)
    except GoesOn as end:
        return say(*end.args)
    except storage.MissingPackage as error:
        return tell(str(error), 2)
    except (RunError, storage.StoreError) as error:
        return say(str(error), 1)
    except OSError as error:
        if error.errno is None:  # no disk and no file system says this
            raise
        return say(f"{type(error).__name__}: {error}", 1)
    except screen.NotShown as error:
        return say(f"the standard output takes nothing more ({error}); what was published stays published", 1)
    except KeyboardInterrupt:
        return say("interrupted: start the run again and it goes on where it stopped", 130)


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
        say(f"already published: {run.output} holds exactly this run; nothing to do", 0)
        summary(run, checked(now.manifest, storage.join(run.output, now.version.name)))
        return True
    if not run.overwrite:
        raise RunError(f"{run.output} holds this run, but {wrong}; give --overwrite to make it again")
    return False


def finish(run: Run, begin: Callable[[], None], work: Callable[[], None], elsewhere: bool = False) -> dict[str, Any]:
    """Begin a run and do its work; the manifest it published. Raises `RunError` with the sentence behind a failure.

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
    except Exception as error:
        if isinstance(error, NoJob) or (isinstance(error, NotTaken) and not before):
            end(run)
        if _INTERRUPTED.match(str(error)):
            raise KeyboardInterrupt from error
        if not _became_something(run):
            raise explained(error) from error
        say("another process published this same run meanwhile", 0)
    return told(run)


def _became_something(run: Run) -> bool:
    try:
        return publication.outcome(run) is not None
    except OSError:  # what fails now may be what failed before, which is what is to be told
        return False


def told(run: Run) -> dict[str, Any]:
    """The manifest that a run published; says where another run has replaced it since."""
    mine, now = publication.outcome(run), read_newest(store_of(run.output), run.partition)
    if mine is None:
        raise RunError(f"the job ended, but {run.output} does not hold it; see the runner's log")
    if now is not None and now.version.run_id != run.run_id:
        say(f"published as version {mine.version.number}, and replaced since by run {short(now.version.run_id)}", 0)
    return mine.manifest


_STEP = r"(?: \[while running '.*'\])?$"  # what Beam adds at the end

_EXPECTED = re.compile(
    r"^(?:[\w.]*\.)?(?:RunError|CheckpointError|EngineError|InputChanged|InputFailed|StoreError): (.*?)" + _STEP,
    re.MULTILINE,
)
"""The last line of a worker's traceback, where it ends in an error that speaks to the user."""

_OF_THE_SYSTEM = re.compile(r"^(?:RuntimeError: )?(\w+Error: \[Errno \d+\] .*?)" + _STEP)
"""What a disk or a file system says, which needs no traceback to be understood."""


_INTERRUPTED = re.compile(r"(?:RuntimeError: )?KeyboardInterrupt\b")
"""The last line of a traceback where somebody pressed Ctrl-C; Beam names the step it came in."""


def log_to_stderr() -> None:
    """Show warnings, but not what a worker logs of an error that the command itself will say in a sentence."""
    logging.basicConfig()
    logging.getLogger("apache_beam.utils.subprocess_server").setLevel(logging.ERROR)  # it warns of what it starts
    for handler in logging.getLogger().handlers:
        handler.addFilter(_unexpected)


def _unexpected(record: logging.LogRecord) -> bool:
    text = logging.Formatter().format(record)
    last = text.rstrip().rpartition("\n")[2]
    return not (_EXPECTED.search(text) or _OF_THE_SYSTEM.search(last) or _INTERRUPTED.match(last))


def explained(error: Exception) -> Exception:
    """The one sentence behind a failed job, where there is one: workers report theirs as the text of a traceback."""
    said = _EXPECTED.findall(f"{type(error).__name__}: {error}")
    if not said and f"[Errno {errno.ENOSPC}]" in str(error):
        said = [
            "no space is left on a disk that the run writes to: make room and start it again, it goes on from there"
        ]
    if not said:
        said = _OF_THE_SYSTEM.findall(f"{type(error).__name__}: {error}".rstrip().rpartition("\n")[2])
    return RunError(said[-1]) if said else error


def sentence(error: Exception) -> str:
    """What is told of an error: its sentence where it has one, else the last line of its traceback."""
    told = explained(error)
    if isinstance(told, RunError):
        return str(told)
    last = re.sub(_STEP, "", str(error).rstrip().rpartition("\n")[2])
    # Beam wraps what it cannot make again in a RuntimeError.
    wrapped = type(error) is RuntimeError and re.match(r"[\w.]+(?:Error|Exception): ", last)
    return last if wrapped else f"{type(error).__name__}: {last}"


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
