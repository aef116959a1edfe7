"""What the commands share: how they speak, and what a manifest says of how they were called."""

import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib import metadata
from typing import Any

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from pipelines import display
from seqcls_beam import storage
from seqcls_beam.config import option_fields
from seqcls_beam.runs import RunError


def say(message: str, code: int) -> int:
    """One sentence to the user; the exit code, for `return say(…)`."""
    print(f"seqcls_beam: {message}", file=sys.stderr, flush=True)
    return code


def explained(error: Exception) -> Exception:
    """The one sentence behind a failed job, where there is one: workers report theirs as the text of a traceback."""
    said = display.EXPECTED.findall(f"{type(error).__name__}: {error}")
    return RunError(said[-1]) if said else error


def flags(config: Any) -> Iterator[str]:
    """A command's options as they would be given, defaults among them, without passwords."""
    for group in fields(config):
        options = getattr(config, group.name)
        for each in option_fields(type(options)):
            value = getattr(options, each.name)
            if value is not None and value is not False and (value != () or each.default != ()):
                yield _flag(each.name, value, each.type == tuple[str, ...])


def _flag(name: str, value: Any, several: bool) -> str:
    if value is True:
        return f"--{name}"
    if several:
        return " ".join([f"--{name}", *(shlex.quote(storage.without_password(each)) for each in value)])
    said = ",".join(value) if isinstance(value, tuple) else str(value)
    return f"--{name}={shlex.quote(storage.without_password(said))}"


def versions(*packages: str) -> dict[str, str]:
    """The installed versions of the project and of packages it stands on."""
    return {name: metadata.version(name) for name in ("seqcls_beam", *packages)}


def threads_per_worker(beam_options: PipelineOptions) -> int:
    """Threads for each of several worker processes on this machine; 0, for all, where there is one."""
    direct = beam_options.view_as(DirectOptions)
    if direct.direct_running_mode != "multi_processing":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // (direct.direct_num_workers or cores))
