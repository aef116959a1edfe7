"""Options of portable engines, Prism and Flink: what is missing is found or refused, what was left out is set and said.

Before anything is planned, so that nobody waits for the model to learn that no cluster answers.
"""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import apache_beam
import grpc
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    StandardOptions,
)
from apache_beam.runners.worker.channel_factory import GRPCChannelFactory

from pipelines import flink
from pipelines.command import LOCAL, say
from pipelines.flink_flags import FlinkJobOptions
from pipelines.runners import is_prism
from pipelines.usage import UsageError
from seqcls_beam.runs.run import RunError

JOB_PORT = 8099
"""Of the job server beside a Flink, as Beam starts one."""
POOL = "localhost:50000"
"""Where each TaskManager finds the worker pool of its machine."""
_STREAM: dict[str, int | bool] = {
    # Milliseconds: Flink finalises bundles, so that messages are acknowledged, when a checkpoint is done.
    "checkpointing_interval": 10_000,
    # Else what a bundle yields that a checkpoint meets waits for the next bundle, which the first steps never have.
    "finish_bundle_before_checkpointing": True,
    # A pull is an element, and waits up to two seconds for others that never come.
    "max_bundle_size": 1,
    # A few failures in a year are no reason to end a stream.
    "number_of_execution_retries": 2**31 - 1,
    "execution_retry_delay": 5_000,
}
"""Options of a stream's job."""
_LONGEST_INTERVAL = 600_000
"""Milliseconds. A message that is not done within an hour comes again."""
CACHED = 2_000
"""Milliseconds that workers are kept for between two stages of a job: else each stage loads the model again. Less than
a cluster waits before it starts a job again: what is kept then is a worker that may be dead, and every try would fail.
"""
_MAGIC = ("[auto]", "[local]")
_CONNECT_SECONDS = 3.0


def is_flink(runner: str) -> bool:
    """Whether a runner's name, or its path in Python, is Flink's."""
    return "flink" in runner.lower()


def is_flink_cluster(beam_options: PipelineOptions) -> bool:
    """Whether a run goes to a Flink that is there already."""
    master = beam_options.view_as(FlinkRunnerOptions).flink_master
    return is_flink(beam_options.view_as(StandardOptions).runner or "") and master not in _MAGIC


def works_here(runner: str, beam_options: PipelineOptions) -> bool:
    """Whether what a pipeline does is done in threads of this process: Beam's local runner, and a Prism of its own."""
    portable = beam_options.view_as(PortableOptions)
    alone = is_prism(runner) and not portable.job_endpoint
    return runner == LOCAL or (alone and portable.environment_type in (None, "LOOPBACK"))


def configure(beam_options: PipelineOptions, runner: str, streaming: bool = False) -> None:
    """Check and complete Beam's options for an engine, and say what was set. Does nothing for other runners.

    Raises `UsageError` for what is missing or cannot be, and `RunError` where a cluster does not answer.
    """
    if is_prism(runner):
        _of_prism(beam_options)
    if is_flink(runner):
        _of_flink(beam_options, streaming)
    elif streaming and "portablerunner" in runner.lower():
        raise UsageError(
            f"--runner={runner}: when messages are acknowledged is the engine's, so a stream needs its name: "
            "--runner=FlinkRunner --flink_master=HOST:PORT, or --runner=PrismRunner, each with --job_endpoint"
        )


def _of_prism(beam_options: PipelineOptions) -> None:
    portable, prism = beam_options.view_as(PortableOptions), beam_options.view_as(PrismRunnerOptions)
    if portable.job_endpoint:
        _refuse_silent(portable.job_endpoint, "Prism", "deploy/prism/start.sh")
        return
    if not prism.prism_location:
        prism.prism_location = _found_prism()
        say(f"Prism is {prism.prism_location}", 0)
    elif not re.match(r"\w+://", prism.prism_location) and not os.path.isfile(prism.prism_location):
        raise UsageError(f"--prism_location={prism.prism_location} is no file")


def _found_prism() -> str:
    """The path of Prism's binary. Beam would download one where it has none."""
    folders = [os.environ.get("GOBIN"), *(f"{each}/bin" for each in _go_paths())]
    places = [shutil.which("prism"), *(f"{folder}/prism" for folder in folders if folder)]
    for each in filter(None, places):
        if os.access(each, os.X_OK) and os.path.isfile(each):
            return each
    version = apache_beam.version.__version__
    raise UsageError(
        f"--runner=PrismRunner: prism is neither on PATH nor in Go's bin folder ({', '.join(filter(None, folders))}); "
        f"`go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{version}` makes it, and --prism_location names one "
        "that lies elsewhere"
    )


def _go_paths() -> list[str]:
    """Go's folders, where Go says nothing else."""
    said = os.environ.get("GOPATH")
    if not said and shutil.which("go"):
        asked = subprocess.run(["go", "env", "GOPATH"], capture_output=True, text=True, check=False)
        said = asked.stdout.strip()
    return [each for each in (said or "").split(os.pathsep) if each] or [str(Path.home() / "go")]


def _of_flink(beam_options: PipelineOptions, streaming: bool) -> None:
    portable, options = beam_options.view_as(PortableOptions), beam_options.view_as(FlinkRunnerOptions)
    if options.flink_master in _MAGIC:
        _refuse_no_jar(options)
        if streaming:
            raise UsageError("a stream needs a Flink that stands: --flink_master=HOST:PORT")
        return
    cluster = flink.cluster(options.flink_master)
    chosen = []
    if not portable.job_endpoint and not options.flink_job_server_jar:
        host = re.sub(r"https?://", "", options.flink_master).rsplit(":", 1)[0]
        if not _answers(f"{host}:{JOB_PORT}"):
            raise RunError(
                f"--flink_master={options.flink_master}: no job server answers at {host}:{JOB_PORT}: start one "
                "(deploy/flink/start.sh does), name another with --job_endpoint=HOST:PORT, or its jar with "
                "--flink_job_server_jar"
            )
        portable.job_endpoint = f"{host}:{JOB_PORT}"
        chosen.append(f"--job_endpoint={portable.job_endpoint}")
    elif portable.job_endpoint:
        _refuse_silent(portable.job_endpoint, "job server", "deploy/flink/start.sh")
    if not portable.environment_type:
        portable.environment_type, portable.environment_config = "EXTERNAL", portable.environment_config or POOL
        chosen.append(f"--environment_type=EXTERNAL --environment_config={portable.environment_config}")
    if options.parallelism > cluster.slots:
        raise UsageError(
            f"--parallelism={options.parallelism}: that Flink has {_counted(cluster.slots, 'slot')}, and waits for more"
        )
    if options.parallelism < 1:
        options.parallelism = cluster.slots
        chosen.append(f"--parallelism={options.parallelism}")
    if streaming and int(portable.environment_cache_millis):
        raise UsageError(
            f"--environment_cache_millis={portable.environment_cache_millis} keeps workers of a stream, and the "
            "messages that they hold, when its job is over: leave it out"
        )
    if not streaming and int(portable.environment_cache_millis) == 0:
        portable.environment_cache_millis = CACHED
        chosen.append(f"--environment_cache_millis={CACHED}")
    if streaming:
        chosen += _of_flink_stream(beam_options.view_as(FlinkJobOptions))
    there = f"Flink {cluster.version} with {_counted(cluster.task_managers, 'TaskManager')}"
    say(f"{there} and {_counted(cluster.slots, 'slot')} answers" + _told(chosen), 0)


def _of_flink_stream(options: FlinkJobOptions) -> list[str]:
    """What a job without an end needs, where it was left out."""
    interval = options.checkpointing_interval
    if interval is not None and not 0 < interval <= _LONGEST_INTERVAL:
        raise UsageError(
            f"--checkpointing_interval={interval}: expected milliseconds from 1 to {_LONGEST_INTERVAL}: messages are "
            "acknowledged when a checkpoint is done, and held until then"
        )
    chosen = []
    for name, value in _STREAM.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
            chosen.append(f"--{name}" if value is True else f"--{name}={value}")
    return chosen


def _told(chosen: list[str]) -> str:
    return f"; the job gets {' '.join(chosen)}, and each may be given otherwise" if chosen else ""


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s'[: number != 1]}"


def _refuse_no_jar(options: FlinkRunnerOptions) -> None:
    if not options.flink_job_server_jar:
        raise UsageError(
            "--flink_master=HOST:PORT is missing: the REST address of a cluster. (Without one Beam runs a Flink in its "
            "job server's process, and would download that: name its jar with --flink_job_server_jar)"
        )


def _refuse_silent(endpoint: str, what: str, script: str) -> None:
    if not _answers(endpoint):
        raise RunError(f"--job_endpoint={endpoint}: no {what} answers there ({script} starts one)")


def _answers(endpoint: str) -> bool:
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host or "localhost", int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, ValueError):
        return False
    return speaks(endpoint, _CONNECT_SECONDS)


def speaks(endpoint: str, seconds: float) -> bool:
    """Whether what listens at HOST:PORT is asked as Beam asks, and answers within so many seconds.

    Not everything that listens does, and Beam itself would wait for it without end.
    """
    with GRPCChannelFactory.insecure_channel(endpoint) as channel:
        try:
            grpc.channel_ready_future(channel).result(seconds)
        except grpc.FutureTimeoutError:
            return False
    return True


def machines(beam_options: PipelineOptions) -> tuple[flink.Machine, ...]:
    """Those that an engine's workers are on, as far as it says."""
    if not is_flink_cluster(beam_options):
        return ()
    return flink.cluster(beam_options.view_as(FlinkRunnerOptions).flink_master).machines
