"""A pipeline from its graph to its end, on any runner."""

import atexit
import copy
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from pipelines import interrupts, submitted
from pipelines.command import LOCAL
from pipelines.dataflow import is_dataflow
from pipelines.engines import is_flink_cluster
from pipelines.flink_jobs import FlinkJobs
from pipelines.hanging import watched
from pipelines.prism import PrismEnded, prism_of_its_own
from pipelines.publishing import MayGoOn, NoJob
from pipelines.quiet import quiet_threads
from pipelines.runners import is_prism
from seqcls_beam import storage
from seqcls_beam.runs.progress import Reader, close_folder, open_folder
from seqcls_beam.runs.run import RunError


@dataclass(frozen=True)
class Engine:
    """What a command's pipelines run on, as the user said."""

    runner: str  # as `name_runner` has it
    options: PipelineOptions
    words: list[str]  # those of Beam, of a file of options too
    step_timeout: float
    platforms: Mapping[str, str] = field(default_factory=dict)  # that are told of runs, and where


_ENDED = re.compile(r"failed in state (CANCELLED|FAILED): (.*)", re.DOTALL)
"""How Beam tells that a job of a job server did not end well, and what the engine said last."""
_WORKER_GONE = "Channel closed prematurely."
"""What Beam's local runner says of a process that it started and that answers no more."""


@contextmanager
def told_in(folder: str) -> Iterator[Reader]:
    """A folder that workers tell in how far they are, until the block ends. Raises `RunError` where it cannot be."""
    try:
        opened = open_folder(folder)
    except OSError as error:
        raise RunError(f"workers cannot tell in {folder} how far they are: {error}") from error
    try:
        yield Reader(folder)
    finally:
        close_folder(folder, opened)


def unless_service(runner: str, shown: AbstractContextManager[None]) -> AbstractContextManager[None]:
    """What shows how far a run is, but of a service's job, which is shown with the state that it is in."""
    return nullcontext() if is_dataflow(runner) else shown


def run_pipeline(
    beam_options: PipelineOptions,
    build: Callable[[beam.Pipeline], None],
    name: str | None,
    reader: Reader | None = None,
    step_timeout: float = 0.0,
) -> None:
    """Build it, run it, and wait for its end.

    `name` is what a job is called on Dataflow: the same for the same run, so that a second start finds the first one,
    or None where only this process makes something of it; `reader` reads what workers tell, and `step_timeout` is how
    many seconds that may stand still (0: for ever), or without a reader the whole. Raises what the runner raises,
    `RunError` where it stood still for longer or its job server is gone, `NoJob` where that ended the job or somebody
    cancelled it, and as `submitted.run`.
    """
    service = is_dataflow(beam_options.view_as(StandardOptions).runner or "")
    watch = None
    try:
        with watched(reader, step_timeout, waits=service) as watch:
            if service:
                submitted.run(beam_options, build, name, reader, watch)
                return
            quiet_threads()
            with (
                _ready(beam_options, name) as options,
                _sentences(beam_options.view_as(PortableOptions).job_endpoint),
                _local(options) as runner,
            ):
                pipeline = beam.Pipeline(runner, options)
                try:
                    build(pipeline)
                    result: Any = pipeline.run()
                    watch.cancel = partial(_cancel, result, beam_options)
                    _wait(result, watch.cancel)
                finally:  # Beam forgets it where a signal comes before the run
                    shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)
    except BaseException as error:  # also of the last moment, in which a run that hangs may come to its end
        if watch is None or watch.hung is None:
            raise
        ended = NoJob if isinstance(error, NoJob) else RunError
        raise ended(f"{watch.hung}: start it again, and it goes on from what is done") from error


@contextmanager
def _local(options: PipelineOptions) -> Iterator[FnApiRunner | None]:
    """The runner of this machine where it starts worker processes; None for any other, which Beam finds by its name."""
    direct = options.view_as(DirectOptions)
    if options.view_as(StandardOptions).runner != LOCAL or direct.direct_running_mode != "multi_processing":
        yield None
        return
    direct.direct_running_mode = None  # else Beam has a command of its own
    with interrupts.folder() as folder:
        # Ctrl-C and SIGHUP come to all processes of a terminal: this one answers for all, also while they are imported.
        words = [sys.executable, "-m", "seqcls_beam.transforms.worker", folder]
        yield FnApiRunner(SubprocessSDKEnvironment.from_command_string(f"trap '' INT HUP; exec {shlex.join(words)}"))


@contextmanager
def _ready(beam_options: PipelineOptions, name: str | None) -> Iterator[PipelineOptions]:
    """Options for one pipeline, while its engine stands: portable runners take the runner out of them."""
    runner = beam_options.view_as(StandardOptions).runner or ""
    if not is_prism(runner) or beam_options.view_as(PortableOptions).job_endpoint:
        options = copy.deepcopy(beam_options)
        if is_flink_cluster(options):
            cloud = options.view_as(GoogleCloudOptions)  # by its name alone a job is found there
            cloud.job_name = "-".join(filter(None, [cloud.job_name or name, storage.token()]))
        yield options
        return
    try:
        with prism_of_its_own(beam_options) as options:
            yield options
    except BaseException as error:
        # Its worker is a thread of this process that may be at work still, and native code aborts under it at the end.
        code = 128 + getattr(error, "number", 2) if isinstance(error, KeyboardInterrupt) else 1
        atexit.register(_leave, code)
        if not isinstance(error, PrismEnded):
            raise
        raise RunError(f"{error}: start it again, and it goes on from what is done") from error


def _leave(code: int) -> None:
    """End the process as it is, once all is said."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _cancel(result: Any, beam_options: PipelineOptions) -> None:
    """End a job on its engine. A job server for Flink ends its own waiting alone, so Flink is told, too, and before:

    whoever waits for the job may be the last of the process, and gone when it is told.
    """
    if is_flink_cluster(beam_options):
        with suppress(Exception):  # the job server may know more
            jobs = FlinkJobs(beam_options.view_as(FlinkRunnerOptions).flink_master)
            job = jobs.at_work(result._job_id.rpartition("_")[0])
            if job is not None:
                jobs.cancel(job)
    result.cancel()


def _wait(result: Any, cancel: Callable[[], None]) -> None:
    """Until a job is done; whoever stops waiting takes it away."""
    try:
        result.wait_until_finish()
    except KeyboardInterrupt:
        with suppress(Exception):  # of an engine that does not answer any more
            cancel()
        raise


@contextmanager
def _sentences(endpoint: str | None) -> Iterator[None]:
    """What an engine says of a job that did not end well becomes a sentence; what a worker says stays what it is."""
    try:
        yield
    except grpc.RpcError as error:
        raise MayGoOn(
            f"the job server{f' at {endpoint}' if endpoint else ''} does not answer any more ({error.code().name}): "
            "the job may go on or be over; start it again, which goes on from what is done"
        ) from error
    except RuntimeError as error:
        if str(error) == _WORKER_GONE:
            raise RunError(
                "a worker process of this run is gone, as one is that was killed for want of memory: start it again, "
                "which goes on from what is done"
            ) from error
        found = _ENDED.search(str(error))
        if found is None or "Traceback (most recent call last)" in found[2]:
            raise
        if found[1] == "CANCELLED":
            raise NoJob(
                "the job was cancelled on its engine, and published nothing: start it again, and it goes on from there"
            ) from error
        why = " ".join(found[2].split())[:400]
        if "NoResourceAvailableException" in why:
            why = "fewer slots are free there than --parallelism asks for"
        raise NoJob(
            f"the job failed on its engine, and published nothing: {why}; start it again, and it goes on from there"
        ) from error
