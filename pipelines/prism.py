"""A Prism for one pipeline: started before it, and taken away after it.

Beam keeps one for the life of a process, which a Ctrl-C of the terminal ends with the command, and which cannot be
started by a thread.
"""

import copy
import logging
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, PrismRunnerOptions
from apache_beam.runners.portability.prism_runner import PrismJobServer
from apache_beam.runners.worker import sdk_worker

from pipelines.engines import speaks

_STARTING = 30.0
_ENDING = 5.0
_ORPHANED = "20s"
"""After which one ends whose process was killed."""


class PrismEnded(RuntimeError):
    """There is no Prism any more, or there never was."""


@contextmanager
def prism_of_its_own(beam_options: PipelineOptions) -> Iterator[PipelineOptions]:
    """Yields options of a pipeline that is run by a Prism that nobody else has.

    Raises `PrismEnded` where it does not start, or has died when the block ends with an error.
    """
    options = copy.deepcopy(beam_options)
    options.view_as(PrismRunnerOptions).prism_log_level = "error"
    try:
        command, endpoint = PrismJobServer(options).subprocess_cmd_and_endpoint()
    except (OSError, ValueError, RuntimeError) as error:  # of a binary that is to be fetched first
        place = options.view_as(PrismRunnerOptions).prism_location
        raise PrismEnded(f"--prism_location={place} cannot be had: {error}") from error
    command.append(f"--idle_shutdown_timeout={_ORPHANED}")
    with tempfile.TemporaryFile() as said:
        # In a session of its own, for a Ctrl-C of the terminal is for this process alone.
        process = subprocess.Popen(
            [str(each) for each in command], stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
        try:
            _wait_for(endpoint, process)
            portable = options.view_as(PortableOptions)
            portable.job_endpoint, portable.environment_type = endpoint, portable.environment_type or "LOOPBACK"
            with _quiet():
                yield options
        except Exception as error:
            if process.poll() is None:
                raise
            said.seek(0)
            words = said.read().decode(errors="backslashreplace").strip().rpartition("\n")[2]
            raise PrismEnded(f"Prism ended with {process.returncode}{words and f': {words}'}") from error
        finally:
            process.terminate()
            try:
                process.wait(_ENDING)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _quiet() -> Iterator[None]:
    """A worker in this process neither prints nor logs what it raises, which is told when the pipeline ends with it.

    Prism asks for the end of bundles that have none, too: of the step that comes before a source that asks for it.
    """
    log = logging.getLogger(sdk_worker.__name__)
    log.addFilter(_not_raised)
    vars(sdk_worker)["print"] = _say_nothing
    try:
        yield
    finally:
        del vars(sdk_worker)["print"]
        log.removeFilter(_not_raised)


def _not_raised(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Error processing instruction")


def _say_nothing(*_: object, **__: object) -> None:
    pass


def _wait_for(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    host, port = endpoint.rsplit(":", 1)
    until = time.monotonic() + _STARTING
    while True:
        try:
            socket.create_connection((host, int(port)), 1.0).close()
            break
        except OSError as error:
            if process.poll() is not None or time.monotonic() > until:
                raise PrismEnded(f"Prism does not answer at {endpoint}") from error
            time.sleep(0.02)
    while not speaks(endpoint, 1.0):
        if process.poll() is not None or time.monotonic() > until:
            raise PrismEnded(f"what was started as Prism does not answer at {endpoint}")
