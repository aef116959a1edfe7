"""What the commands share: how they speak, and what a manifest says of how they were called.

Imported before a command knows what it is asked, so it imports nothing that takes long.
"""

import logging
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from importlib import metadata
from typing import Any

from pipelines import outcome, voice
from pipelines.called import as_called
from seqcls_beam import storage
from seqcls_beam.config.option import flag, option_fields
from seqcls_beam.finetuning.torchrun import processes
from seqcls_beam.signs import shown
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
    """One sentence to the user; the exit code, for `return say(…)`. With another code than 0 it is why that is so."""
    message = as_called(_harmless(message))
    if code:
        outcome.failed(message)
    voice.utter(message, logging.ERROR if code else logging.INFO)
    return code


def warn(message: str) -> None:
    """One sentence to the user that deserves a look, and ends nothing."""
    message = as_called(_harmless(message))
    outcome.warned(message.removeprefix("warning: "))
    voice.utter(message, logging.WARNING)


def say_once(message: str, code: int) -> int:
    """What all processes of a training have to say, by the first one alone; the exit code."""
    return say(message, code) if processes()[0] == 0 else code


def _harmless(message: str) -> str:
    """A sentence on one line, whatever names are in it: no password, no sign that acts, and of a long word both ends.

    Names of files may hold any sign, and so may what a store answers.
    """
    return re.sub(r"(\S{300})\S{400,}(\S{300})", r"\1…\2", shown(storage.without_secrets(message), name=True))


class GoesOn(Exception):
    """A job works on, or waits, without the command that sent it: (sentence, exit code)."""


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
