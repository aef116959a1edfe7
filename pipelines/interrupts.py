"""Ctrl-C, SIGTERM and SIGHUP: the first one ends a command in an orderly way, a second one at once."""

import atexit
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NoReturn

from pipelines import voice
from seqcls_beam.importing import IMPORTING

_DEFAULTS: dict[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
_WAKING = signal.SIGURG
"""Nobody else sends it, and a process that has no handler for it passes over it."""
_asked: list[int] = []
_raising = False
_woken = threading.Event()
_folders: list[str] = []


class Interrupted(KeyboardInterrupt):
    """Somebody asked the command to end, by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def asked() -> int | None:
    """The signal that asked the command to end, None where none did.

    Of an interrupt in a worker in this process Beam makes an error of another kind.
    """
    return _asked[0] if _asked else None


def wake() -> None:
    """Have the main thread raise `KeyboardInterrupt`, which nobody asked for, also where SIGINT is ignored.

    Nothing happens where that is in no command.
    """
    _woken.set()
    signal.pthread_kill(threading.main_thread().ident or 0, _WAKING)


@contextmanager
def folder() -> Iterator[str]:
    """A folder for temporary files that is gone after the block, and at once where a signal comes."""
    with tempfile.TemporaryDirectory(prefix="seqcls_beam-", ignore_cleanup_errors=True) as made:
        _folders.append(made)
        try:
            yield made
        finally:
            _folders.remove(made)


def end_at_once() -> None:
    """From now on each of them ends this process without a traceback: a command that has not begun."""
    for number, default in _DEFAULTS.items():
        if signal.getsignal(number) is default:
            signal.signal(number, _end_at_once)


@contextmanager
def heeded() -> Iterator[None]:
    """The first of them is noted until the block ends, and a second one ends the process; see `raising`.

    A signal that is ignored stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = [number for number, default in _DEFAULTS.items() if signal.getsignal(number) in (default, _end_at_once)]
    said = threading.excepthook, sys.unraisablehook
    before: dict[int, Any] = {number: signal.signal(number, _raise) for number in handled}
    before[_WAKING] = signal.signal(_WAKING, _wake)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: set by no Python
        if handled and _asked and _end_at_once not in before.values():  # else this process is at its end
            logging.disable(logging.NOTSET)
            threading.excepthook, sys.unraisablehook = said
        if handled:
            _asked.clear()
        _woken.clear()


@contextmanager
def raising() -> Iterator[None]:
    """Where signals are heeded, the first one raises `Interrupted` in the main thread until the block ends.

    From then on no thread and no log says anything of its own.
    """
    with _while_raising(True):
        check()  # one that came while all this was prepared
        yield


def noted() -> AbstractContextManager[None]:
    """Until the block ends the first signal is noted and no more: what is published, and its code, stay as they are."""
    return _while_raising(False)


@contextmanager
def loading() -> Iterator[None]:
    """Until the block ends the first signal is noted, and it is raised then: what works is imported, for seconds.

    Of what is raised within them libraries make something else, or nothing.
    """
    with noted(), IMPORTING:
        yield
    check()


@contextmanager
def held() -> Iterator[None]:
    """Until the block ends the first signal is noted; it is raised then, if it would have been.

    Not in other threads than the main one, where none is raised, nor once one was.
    """
    if threading.current_thread() is not threading.main_thread() or _asked:
        yield
        return
    with noted():
        yield
    if _raising:
        check()


def check() -> None:
    """Raise `Interrupted` where a signal was noted."""
    if _asked:
        _interrupt(_asked[0])


def over(code: int) -> None:
    """All is said and done: a signal that comes while Python takes itself apart changes the code no more."""
    for number in _DEFAULTS:
        if signal.getsignal(number) is _end_at_once:
            signal.signal(number, lambda *_: os._exit(code))
            atexit.register(signal.signal, number, signal.SIG_IGN)  # Python takes handlers away at its very end


@contextmanager
def _while_raising(raises: bool) -> Iterator[None]:
    global _raising
    before, _raising = _raising, raises
    try:
        yield
    finally:
        _raising = before


def _wake(_: int, __: object) -> None:
    if not _raising or not _woken.is_set():
        return
    _woken.clear()
    if _asked:
        raise Interrupted(_asked[0])
    raise KeyboardInterrupt


def _raise(number: int, _: object) -> None:
    if _asked:
        _end_at_once(number, _)
    _asked.append(number)
    if _raising:
        _interrupt(number)


def _interrupt(number: int) -> NoReturn:
    _clear()
    logging.disable(logging.CRITICAL)
    threading.excepthook, sys.unraisablehook = _silent, _once_more
    raise Interrupted(number)


def _end_at_once(number: int, _: object) -> None:
    with suppress(OSError):
        os.write(2, f"{voice.line(f'{signal.Signals(number).name} came: ended at once', logging.ERROR)}\n".encode())
    _clear()
    os._exit(128 + number)


def _clear() -> None:
    for each in _folders:
        shutil.rmtree(each, ignore_errors=True)


def _silent(_: object) -> None:
    """What a thread says of its end where all ends."""


def _once_more(lost: Any) -> None:
    """Raise what asks the command to end again where Python passed over it: in a destructor, in a callback from C."""
    if isinstance(lost.exc_value, Interrupted):  # once this has returned: what is raised in here is lost, too
        again = threading.Timer(0.2, wake)
        again.daemon = True
        again.start()
