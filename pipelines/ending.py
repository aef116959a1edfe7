"""How a command ends: whatever ends it becomes one sentence, and a code that its screen has no part in."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipelines import failures, interrupts, outcome, voice
from pipelines.command import GoesOn, say
from pipelines.terminal import discreet, standard
from seqcls_beam import storage

GOES_ON = "start the run again and it goes on where it stopped"

_TOLD = (signal.SIGTERM, signal.SIGHUP)


class _NotPlanned(Exception):
    """What ends a command before anything starts: (sentence, exit code)."""


@contextmanager
def planning() -> Iterator[None]:
    """What is wrong with flags, files or a model ends the command in one sentence.

    Only here: the same errors of a run under way are faults of the program.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise _NotPlanned(_of_system(error) if error.errno else storage.without_secrets(str(error)), 2) from error
    except (ValueError, ImportError) as error:  # of an extra: it says which
        raise _NotPlanned(storage.without_secrets(str(error)), 2) from error
    except (RuntimeError, OSError) as error:
        from seqcls_beam.reading.formats.pieces import (  # not where flags are wrong: takes long
            InputChanged,
            InputFailed,
        )

        if isinstance(error, (InputChanged, InputFailed, storage.StoreError)):
            raise _NotPlanned(str(error), 1) from error
        if isinstance(error, OSError):
            raise _NotPlanned(_of_system(error), 1) from error
        raise


def exit_code(
    command: Callable[[list[str]], int],
    argv: list[str],
    tell: Callable[[str, int], int] = say,
    after: str = GOES_ON,
) -> int:
    """Run a command; what ends it becomes a sentence and a code. `tell` says what several processes meet alike.

    `after` is what a command that somebody ended says of starting it again.
    """
    with standard.lenient(), interrupts.heeded(), voice.speaking(argv) as alone:
        discreet.install()
        failures.log_to_stderr()
        if alone:
            outcome.begin()
        before = standard.lost()
        try:
            with interrupts.raising():  # no more than that: what is said of an end is said to its end
                code = command(argv)
            if alone:
                code = _document(code)
            if (why := standard.lost()) and why != before:
                say(f"the standard output takes nothing more ({why}); what was published stays published", code)
        except SystemExit:  # of --help and --version
            standard.lost()
            raise
        except GoesOn as end:
            code = _document(say(*end.args)) if alone else say(*end.args)
        except BaseException as error:
            number = interrupts.asked()
            if number is not None or isinstance(error, KeyboardInterrupt):
                how = f"told to end ({signal.Signals(number).name})" if number in _TOLD else "interrupted"
                code = tell(f"{how}: {after}", 128 + (number or 2))
            elif isinstance(error, Exception):
                code = _told(error, tell)
            else:
                raise
            if alone:
                code = _document(code)
    interrupts.over(code)
    return code


def _document(code: int) -> int:
    """Write what became of the command where a program reads it; the exit code."""
    file = voice.now.json
    if file is None or (file != "-" and code == 2):  # the name of the file may be what is wrong
        return code
    from pipelines.as_json import write_json  # brings Arrow, and most calls do without it

    try:
        write_json(file, outcome.document(code))
    except OSError as error:
        return say(_of_system(error), code or 1)
    why = standard.lost() if file == "-" and code in (0, 3) and not outcome.is_kept() else None
    return say(_NOT_SHOWN.format(why), 1) if why else code


_NOT_SHOWN = "the standard output takes nothing more ({}), and what was found stands nowhere else"


def _told(error: Exception, tell: Callable[[str, int], int]) -> int:
    """Say what ended a command; the exit code."""
    failures.show(error)
    if isinstance(error, _NotPlanned):
        return tell(*error.args)
    if isinstance(error, storage.MissingPackage):
        return tell(str(error), 2)
    from seqcls_beam.runs.run import RunError  # likewise

    if isinstance(error, (RunError, storage.StoreError)):
        return tell(str(error), 1)
    if isinstance(error, standard.NotShown):
        return say(_NOT_SHOWN.format(error), 1)
    if isinstance(error, OSError) and error.errno is not None:
        return say(_of_system(error), 1)
    return say(failures.fault(error), 1)


def _of_system(error: OSError) -> str:
    return storage.without_secrets(failures.of_system(error))
