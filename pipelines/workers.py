"""How many workers an engine has for a command, and how many threads for each."""

import os
from glob import glob

from apache_beam.options.pipeline_options import DirectOptions, FlinkRunnerOptions, PipelineOptions

from pipelines.command import LOCAL, say, warn
from pipelines.engines import is_flink_cluster
from pipelines.flink import cluster


def one_worker_per_gpu(runner: str, device: str, words: list[str], beam_options: PipelineOptions, units: int) -> None:
    """Have a worker process for each GPU of this machine, where it has several and no word of Beam's is on workers.

    Of fewer units, for each of these.
    """
    said = {flag.partition("=")[0] for flag in words}
    if runner != LOCAL or device not in ("auto", "cuda") or said & {"--direct_running_mode", "--direct_num_workers"}:
        return
    found = min(gpus(), units)
    if found > 1:
        direct = beam_options.view_as(DirectOptions)
        direct.direct_running_mode, direct.direct_num_workers = "multi_processing", found
        say(f"{found} worker processes, each with a GPU of its own (--direct_num_workers=1: one process, one GPU)", 0)


def tell_of_idle(runner: str, beam_options: PipelineOptions, units: int) -> None:
    """Say it where this machine is to have more workers than there are units to work on."""
    direct = beam_options.view_as(DirectOptions)
    if runner != LOCAL or direct.direct_running_mode == "in_memory":
        return
    found = int(direct.direct_num_workers or cores())
    if found > units:
        warn(
            f"--direct_num_workers={direct.direct_num_workers}: {found} workers for {units} "
            f"unit{'s' * (units != 1)} of the input, so {found - units} of them will have nothing to read; a smaller "
            "--unit_bytes makes more units of files that can be cut",
        )


def gpus() -> int:
    """GPUs that this process may use, as far as there may be several."""
    if len(glob("/dev/nvidia[0-9]*")) < 2:  # the engine knows better, but it takes seconds to import
        return 0
    from seqcls_beam.model.engine.devices import cuda_devices

    return cuda_devices()


def workers(beam_options: PipelineOptions) -> int:
    """Units that are worked on at once; 1 where one process does it all, and of services, which decide later."""
    if is_flink_cluster(beam_options):
        return max(1, int(beam_options.view_as(FlinkRunnerOptions).parallelism))
    direct = beam_options.view_as(DirectOptions)
    if direct.direct_running_mode != "multi_processing":
        return 1
    return int(direct.direct_num_workers or cores())


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_per_worker(beam_options: PipelineOptions) -> int:
    """Threads for each of several worker processes that share a machine's cores; 0, for all, where there is one.

    Asks a Flink cluster. Raises `RunError` where none answers.
    """
    if is_flink_cluster(beam_options):
        return cluster(beam_options.view_as(FlinkRunnerOptions).flink_master).threads
    direct = beam_options.view_as(DirectOptions)
    if direct.direct_running_mode != "multi_processing":
        return 0
    return max(1, cores() // workers(beam_options))
