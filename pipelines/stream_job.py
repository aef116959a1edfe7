"""A stream that an engine elsewhere labels: one job without an end, found again, watched, and cancelled when asked to.

A message that was not acknowledged when its job ends comes again, so to cancel a job loses nothing.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)

from pipelines.command import say, warn
from pipelines.engines import is_flink_cluster
from pipelines.failures import sentence
from pipelines.flink_jobs import OVER, FlinkJobs, Gone
from pipelines.publishing import NoJob
from pipelines.terminal import pieces as terminal
from pipelines.terminal.signals import asking_to_end
from seqcls_beam.runs.run import RunError

_POLL = 1.0
_PATIENCE = 60.0
"""Seconds without an answer after which the job is left to itself."""
_SUBMITTING = 180.0
_CANCELLING = 60.0
_AGAIN = "what is not acknowledged comes again"
_COMES_TO_ITS_END = ("FAILING", "CANCELLING")

Build = Callable[[beam.Pipeline], None]


class Job(Protocol):
    """One that an engine has."""

    name: str

    def state(self) -> str:
        """`RUNNING`, one of `OVER`, or another; raises `OSError` where nobody answers."""

    def failed(self) -> str | None:
        """Why it failed, of a failure that was not told before."""

    def cancel(self) -> None:
        """Ask for its end."""


def run(beam_options: PipelineOptions, build: Build, name: str, output: str) -> None:
    """Label until somebody ends it. Raises `RunError` where the job failed, is gone, or may be at work unseen, and
    `NoJob` where somebody else cancelled it.
    """
    if not beam_options.view_as(GoogleCloudOptions).job_name:
        beam_options.view_as(GoogleCloudOptions).job_name = name
    with asking_to_end("ended at once; the job may go on, and a second start finds it") as asked:
        job = _of_flink(beam_options, build) if is_flink_cluster(beam_options) else _Sent(beam_options, build)
        with terminal.watching(output):
            _watch(job, asked)


def _watch(job: Job, asked: Callable[[], Any]) -> None:
    """Until it ends."""
    heard, ending, heeded, why = time.monotonic(), 0.0, False, ""
    while True:
        try:
            state, before = job.state(), why
            why = job.failed() or why
            if state in OVER and (ending or state == "FINISHED"):
                return
            if state == "CANCELED":
                raise NoJob(f"{job.name} was cancelled on its engine: start it again; {_AGAIN}")
            if state == "FAILED":  # why may have been known before it came to its end
                raise RunError(f"{job.name} failed{f': {why}' if why else ', and does not say why'}; {_AGAIN}")
            if why != before and state not in _COMES_TO_ITS_END:
                warn(f"{job.name} failed, and is started again; {_AGAIN}: {why}")
            heard = time.monotonic()
        except OSError as error:
            if (silent := time.monotonic() - heard) > _PATIENCE:
                raise RunError(
                    f"nobody has said for {silent:.0f} s how {job.name} does ({error}); it may go on or be over: "
                    "start it again, which finds it where it goes on"
                ) from error
        except Gone as error:
            raise RunError(
                f"{job.name} is known no more: a JobManager without high availability forgets its jobs when it dies; "
                f"start it again; {_AGAIN}"
            ) from error
        if not ending and (came := asked()):
            say(f"{came.name} came: {job.name} is cancelled; {_AGAIN}", 0)
            ending = time.monotonic()
        if ending and not heeded:
            with suppress(OSError, Gone):  # and asked again
                job.cancel()
                heeded = True
        if ending and time.monotonic() - ending > _CANCELLING:
            raise RunError(f"{job.name} was asked to end {_CANCELLING:.0f} s ago, and has not: see its engine")
        time.sleep(_POLL)


class _OnFlink:
    """A job of a Flink, whoever sent it."""

    def __init__(self, jobs: FlinkJobs, job: str) -> None:
        self._jobs, self._job = jobs, job
        self._told = 0  # when it failed, of the failure that was told last
        self.name = f"job {job}"

    def state(self) -> str:
        return self._jobs.state(self._job)

    def failed(self) -> str | None:
        failure = self._jobs.failure(self._job)
        if failure is None or failure[0] <= self._told:
            return None
        self._told = failure[0]
        return _cause(failure[1])

    def cancel(self) -> None:
        self._jobs.cancel(self._job)


def _of_flink(beam_options: PipelineOptions, build: Build) -> Job:
    """The job of this stream: the one at work, or one that is sent now."""
    jobs = FlinkJobs(beam_options.view_as(FlinkRunnerOptions).flink_master)
    name = beam_options.view_as(GoogleCloudOptions).job_name
    try:
        job = jobs.at_work(name)
    except (OSError, Gone) as error:
        raise RunError(f"that Flink does not answer any more ({error}): nothing was sent, start it again") from error
    if job is not None:
        say(f"this stream is at work already: its job is waited for, and keeps its options ({jobs.page(job)})", 0)
        found = _OnFlink(jobs, job)
        with suppress(OSError, Gone):
            found.failed()  # before anybody looked
        return found
    sent = _Sent(beam_options, build)
    until = time.monotonic() + _SUBMITTING
    while job is None:
        with suppress(OSError):
            if why := sent.failed():
                raise RunError(f"the job did not begin: {why}")
        if time.monotonic() > until:
            with suppress(OSError):
                sent.cancel()
            raise RunError(
                f"the job server took the job {_SUBMITTING:.0f} s ago, and Flink does not know it: see its log"
            )
        time.sleep(_POLL)
        with suppress(OSError, Gone):  # who does not answer for a moment may have it
            job = jobs.at_work(name)
    say(f"Flink has it as job {job}: {jobs.page(job)}", 0)
    return _OnFlink(jobs, job)


class _Sent:
    """A job that this process sent to a job server."""

    name = "the job"

    def __init__(self, beam_options: PipelineOptions, build: Build) -> None:
        beam_options.view_as(StandardOptions).streaming = True
        endpoint = beam_options.view_as(PortableOptions).job_endpoint
        self._server = f"the job server{f' at {endpoint}' if endpoint else ''}"
        pipeline = beam.Pipeline(options=beam_options)
        build(pipeline)
        try:
            self._result: Any = pipeline.run()
        except grpc.RpcError as error:
            raise RunError(
                f"{self._server} did not take the job ({error.code().name}): start it again, which finds it if it was "
                "taken after all"
            ) from error

    def state(self) -> str:
        try:
            state = str(self._result.state)
        except grpc.RpcError as error:
            raise ConnectionError(f"{self._server}: {error.code().name}") from error
        return {"DONE": "FINISHED", "CANCELLED": "CANCELED"}.get(state, state)

    def failed(self) -> str | None:
        if self.state() != "FAILED":
            return None
        try:
            self._result.wait_until_finish()
        except Exception as error:  # as Beam has it
            return sentence(error)
        return "its engine does not say why"

    def cancel(self) -> None:
        try:
            self._result.cancel()
        except grpc.RpcError as error:
            raise ConnectionError(f"{self._server}: {error.code().name}") from error


def _cause(trace: str) -> str:
    """The sentence in a trace of Java's, which may have a worker's traceback in it."""
    logging.debug(trace)
    head, _, python = trace.rpartition("Traceback (most recent call last):\n")
    if head:
        lines = [line for line in python.splitlines() if line.strip() and not line.startswith(("\tat ", "Caused by"))]
        return sentence(RuntimeError("\n".join(lines)))
    causes = [line for line in trace.splitlines() if line.startswith("Caused by: ")]
    first = trace.strip().partition("\n")[0]
    return (causes[-1].removeprefix("Caused by: ") if causes else first)[:400]
