"""What a process says by itself, of errors, warnings and in its log: without passwords, and without signs that act.

What Beam, clients of stores and Python print does not go through the commands' own sentences.
"""

import logging
import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import Any

from seqcls_beam.signs import shown
from seqcls_beam.storage import without_secrets


def install() -> None:
    """From now on, whatever this process logs or warns of, and whatever ends it. Once is enough; more do nothing."""
    if not isinstance(logging.getLogRecordFactory(), _Records):
        logging.setLogRecordFactory(_Records(logging.getLogRecordFactory()))
    # Hooks of others, as those of a notebook, stay.
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _show
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _show_of_thread
    if warnings.formatwarning is _formatted_before:
        warnings.formatwarning = _formatted


def hidden(text: str) -> str:
    """Lines, such as a traceback or news of work, as they may be shown."""
    return shown(without_secrets(text), keep="\n\t")


class _Records:
    """What makes the records of the log."""

    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, *args: Any, **how: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._before(*args, **how)
        try:
            said = record.getMessage()
        except Exception:  # whoever logs it tells of the mistake
            return record
        if (told := hidden(said)) != said:
            record.msg, record.args = told, ()
        if record.exc_info:
            # A formatter takes this for what it would make of the error.
            record.exc_text = hidden(logging.Formatter().formatException(record.exc_info)).rstrip("\n")
        return record


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if sys.stderr is not None:
        print(hidden("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr, flush=True)


def _show_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or args.exc_type is SystemExit or sys.stderr is None:
        return
    print(f"Exception in thread {args.thread.name if args.thread else '?'}:", file=sys.stderr)
    _show(args.exc_type, args.exc_value, args.exc_traceback)


_formatted_before = warnings.formatwarning


def _formatted(message: Any, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    return hidden(_formatted_before(message, category, filename, lineno, line))
