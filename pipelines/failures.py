"""What is said of a failure: one sentence. Workers report theirs as the text of a traceback."""

import ast
import errno
import logging
import os
import re
import traceback
import warnings

from pipelines import voice
from pipelines.terminal import discreet
from seqcls_beam import storage

_STEP = r"(?: \[while running '.*'\])?$"  # what Beam adds at the end

_OURS = {"RunError", "CheckpointError", "EngineError", "InputChanged", "InputFailed", "StoreError"}
_EXPECTED = re.compile(rf"^(?:[\w.]*\.)?(?:{'|'.join(sorted(_OURS))}): (.*?)" + _STEP, re.MULTILINE)
"""The last line of a worker's traceback, where it ends in an error that speaks to the user."""

_OF_THE_SYSTEM = re.compile(r"^(?:RuntimeError: )?\w+Error: \[Errno (\d+)\] ([^:]*?)(?:: ('.*'|\".*\"))?" + _STEP)
"""What a disk or a file system says."""

_OF_MEMORY = re.compile(
    r"^(?:RuntimeError: )?(?:[\w.]*\.)?_?(?:Array|Arrow)?MemoryError:? ?(?:(?:Unable to allocate|malloc|realloc)\b.*)?"
    + _STEP
    + "|"
    r"\bcan't start new thread|DefaultCPUAllocator: (?:can't|not enough)"
)
"""What Python, numpy, Arrow and torch say where there is no more memory, as the last line of a traceback."""
_MEMORY = (
    "this process gets no more memory, or threads: give it more (ulimit -v, ulimit -u, the limit of a container) and "
    "start it again, it goes on from what is done"
)

_DO = {
    errno.ENOSPC: "make room and start it again, it goes on from there",
    errno.EDQUOT: "make room and start it again, it goes on from there",
    errno.EACCES: "who runs this may not, so let them, or name another place",
    errno.EPERM: "who runs this may not, so let them, or name another place",
    errno.EROFS: "name another place",
    errno.ENOMEM: "give it more memory, and start it again",
    errno.EFBIG: "raise the limit of the size of files (ulimit -f)",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}
"""What to do where a system says so."""

_LONGEST = 600
_TRACEBACK = "Traceback (most recent call last)"
_OF_WORKER = re.compile(r'message: ("(?:[^"\\]|\\.)*")')
"""A log entry of a worker in a process of its own."""
_WORKER = re.compile(_OF_WORKER.pattern + r'.*log_location: "[^"]*/(?:seqcls_beam|pipelines)/')
"""One of this program's."""


_CATALOGS = ("pyiceberg", "sqlalchemy")


def show(error: BaseException) -> None:
    """Show where an error came from, where somebody wants to know."""
    if voice.now.debug:
        voice.news(discreet.hidden("".join(traceback.format_exception(error))).rstrip("\n"), logging.ERROR)


def log_to_stderr() -> None:
    """Show warnings, without tracebacks, and nothing of what the command itself will say in a sentence."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Ours())
    logging.basicConfig(handlers=[handler])
    logging.getLogger("apache_beam.utils.subprocess_server").setLevel(logging.ERROR)  # it warns of what it starts
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it tells of each try, and who called it of the last one
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs tracebacks of errors that it raises, too
    for each in logging.getLogger().handlers:
        each.addFilter(_is_of_use)
    for module in _CATALOGS:  # what is of use of it is said of the table
        warnings.filterwarnings("ignore", module=rf"{module}\b", append=True)


class _Ours(logging.Formatter):
    """What this program warns of looks like all that it says."""

    def format(self, record: logging.LogRecord) -> str:
        text, name = super().format(record), record.name
        if _is_worker(record):
            found = _OF_WORKER.search(text)
            text, ours = (ast.literal_eval(found[1]), _WORKER.search(text) is not None) if found else (text, False)
            name = "seqcls_beam" if ours else "apache_beam.worker"
        elif not voice.now.debug:
            text = _without_traceback(text)
        if voice.now.log_json:
            return voice.entry(text, record.levelno, name, record.created)
        return f"seqcls_beam: {text}" if name.startswith("seqcls_beam") else f"{name}: {text}"


def _without_traceback(text: str) -> str:
    """The first line of what was logged, and what error came with it."""
    said, trace, _ = text.partition(_TRACEBACK)
    if not trace:
        return text
    lines = [said.strip().partition("\n")[0], text.rstrip().rpartition("\n")[2]]
    return ": ".join(filter(None, lines))[:_LONGEST]


def _is_worker(record: logging.LogRecord) -> bool:
    return record.name == "apache_beam.runners.portability.local_job_service"


def _is_of_use(record: logging.LogRecord) -> bool:
    """Whether a record is news: of a failure that Beam logs, who started what failed tells."""
    if record.levelno < voice.now.least:
        return False
    if voice.now.debug or voice.now.log_level in ("DEBUG", "INFO"):
        return True
    if record.name.partition(".")[0] in _CATALOGS:
        return False
    if not record.name.startswith("apache_beam."):
        return True
    text = logging.Formatter().format(record)
    if _TRACEBACK in text or _expected(text) is not None:
        return False
    return not _is_worker(record) or _WORKER.search(text) is not None


def explained(error: Exception) -> Exception:
    """The one sentence behind a failed job, as a `RunError`, where there is one."""
    from seqcls_beam.runs.run import RunError  # brings Arrow, and a command that is used wrongly ends without it

    told = _told(error)
    return error if told is None else RunError(told)


def _told(error: Exception) -> str | None:
    if isinstance(error, OSError) and error.errno is not None:
        return of_system(error)
    return _expected(f"{type(error).__name__}: {error}")


def _expected(text: str) -> str | None:
    if said := _EXPECTED.findall(text):
        return str(said[-1])
    last = text.rstrip().rpartition("\n")[2]
    if _OF_MEMORY.search(last):
        return _MEMORY
    found = _OF_THE_SYSTEM.search(last)
    if found is None:
        return None
    file = ast.literal_eval(found[3]) if found[3] else None
    return of_system(OSError(int(found[1]), found[2], file))


def sentence(error: Exception) -> str:
    """What is told of an error: its sentence where it has one, else the last line of its traceback."""
    if (told := _told(error)) is not None:
        return storage.without_secrets(told)
    last = re.sub(r" \[while running '[^']*'\]", "", str(error).rstrip().rpartition("\n")[2])
    # Beam wraps what it cannot make again in a RuntimeError.
    wrapped = type(error) is RuntimeError and re.match(r"[\w.]+(?:Error|Exception): ", last)
    return last if wrapped else f"{type(error).__name__}: {last}".removesuffix(": ")


def own(error: Exception) -> str:
    """What may leave the machine of an error: a sentence of this program or the system, else its kind alone.

    What another library says may have a text in it that it could not read.
    """
    told = _told(error)
    if told is None and {*_OURS, "UsageError"}.intersection(each.__name__ for each in type(error).__mro__):
        told = str(error)
    if told is None:
        return f"{type(error).__name__}, of which the command says more"
    return storage.without_secrets(told)


def fault(error: Exception) -> str:
    """What is said of an error that no sentence was written for."""
    told = storage.without_secrets(sentence(error))
    return f"{told[:_LONGEST]} (a fault of the program; --debug shows where)"


def of_system(error: OSError) -> str:
    """What a disk or a file system says, as a sentence: what is wrong, of which file, and what to do about it."""
    if error.errno is None:
        return f"{type(error).__name__}: {error}"
    if error.errno == errno.ENOTDIR and error.filename and (file := _file_above(str(error.filename))):
        return f"{file} is a file where a folder is due: name another"
    if error.errno == errno.EISDIR and error.filename:
        return f"{error.filename} is a folder where a file is due"
    names = " and ".join(str(each) for each in (error.filename, error.filename2) if each is not None)
    said = ": ".join(filter(None, [error.strerror or os.strerror(error.errno), names]))
    return f"{said}; {_DO[error.errno]}" if error.errno in _DO else said


def _file_above(path: str) -> str | None:
    """The first part of a path that is there and no folder."""
    while path not in ("", "/"):
        if os.path.lexists(path):
            return None if os.path.isdir(path) else path
        path = os.path.dirname(path)
    return None
