"""Options of a job for Dataflow: what is missing is refused, what was left out is set, before anything is planned."""

import re
from collections.abc import Iterable
from typing import Any

from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    TestOptions,
    WorkerOptions,
)

from pipelines.command import say
from pipelines.usage import UsageError
from seqcls_beam import storage
from seqcls_beam.config.dataflow import GPUS, DataflowOptions

RUNNER = "DataflowRunner"

GPU_DISK_GB = 100
"""The image with CUDA takes 7 GB, and again when it is unpacked; a checkpoint and what is staged lie beside it."""
GPU_THREADS = 2
"""One bundle has the GPU while the other one reads or writes."""
STREAM_THREADS = 4
"""One has the model for seconds; others meanwhile read, gather what came, and write."""
DRIVER = "5xx"
"""The newer of the two families of drivers that Dataflow installs."""
_ONE_PROCESS = "no_use_multiple_sdk_containers"
_MANY_PROCESSES = "use_multiple_sdk_containers"
ACCELERATOR = "worker_accelerator="
"""How the service option begins that gives workers one."""

_PROJECT = re.compile(r"[a-z][-a-z0-9:.]{4,}[a-z0-9]")
_REGION = re.compile(r"[a-z]+-[a-z]+[0-9]+")
_ZONE = re.compile(r"([a-z]+-[a-z]+[0-9]+)-[a-z]")
_BUCKET = re.compile(r"gs://[a-z0-9][-_.a-z0-9]+[a-z0-9](/.*)?")


def is_dataflow(runner: str) -> bool:
    """Whether a runner's name, or its path in Python, is of Dataflow's."""
    return "dataflow" in runner.lower()


def configure(
    beam_options: PipelineOptions,
    runner: str,
    options: DataflowOptions,
    device: str = "",
    streaming: bool = False,
) -> str:
    """Check and complete Beam's options for a job, and say what was set.

    `device` is the model's, of a command that has one: its workers are one process a machine, and with a GPU they must
    use it; so the device may be another then, which is returned. Does nothing for other runners. Raises `UsageError`
    for what is missing or cannot be, and `OSError` where the bucket cannot be written.
    """
    refuse_contrary(beam_options, runner, options, device)
    if not is_dataflow(runner):
        return device
    try:
        from google.cloud import dataflow  # noqa: F401
    except ImportError as error:
        raise UsageError(f"--runner={runner} needs packages of Google's: pip install 'seqcls_beam[gcp]'") from error
    _refuse_missing(beam_options)
    setup = beam_options.view_as(SetupOptions)
    if setup.sdk_location in (None, "default") and beam_options.view_as(WorkerOptions).sdk_container_image:
        setup.sdk_location = "container"  # else Beam looks for itself on the package index
    setup.save_main_session = False  # all that workers call is in their packages
    if not device:
        return device
    accelerated = options.gpu is not None or accelerator(beam_options) is not None
    chosen = _of_model(beam_options, STREAM_THREADS if streaming else GPU_THREADS if accelerated else 1)
    if accelerated and device == "auto":
        device = "cuda"  # or a worker without its driver would go on without it
        chosen.append(f"--device={device}")
    if options.gpu is not None:
        chosen += _of_gpu(beam_options, options.gpu)
    if chosen:
        say(f"workers of Dataflow get {' '.join(chosen)}; each may be given otherwise", 0)
    return device


def refuse_contrary(beam_options: PipelineOptions, runner: str, options: DataflowOptions, device: str = "") -> None:
    """Raise `UsageError` for options of which one makes nothing of another; asks nobody."""
    gpu = options.gpu
    if not is_dataflow(runner):
        if gpu is not None:
            raise UsageError(
                f"--gpu={gpu} is for workers of Dataflow, and the runner is {runner}: give --runner={RUNNER}, or "
                "--device=cuda for a GPU of this machine"
            )
        if place := beam_options.view_as(GoogleCloudOptions).template_location:
            raise UsageError(f"--template_location={place} is for jobs of Dataflow, and the runner is {runner}")
        return
    if beam_options.view_as(TestOptions).dry_run:
        raise UsageError("--dry_run of Beam's begins a run and sends no job: --plan says what a run would take")
    if gpu is None:
        return
    if device == "cpu":
        raise UsageError(f"--gpu={gpu} and --device=cpu: which of the two is to compute?")
    if hint := _hinted(beam_options):
        raise UsageError(
            f"--gpu={gpu} and --resource_hint={hint}: Dataflow takes one of the two, a service option or a hint"
        )


def accelerator(beam_options: PipelineOptions) -> str | None:
    """What Beam's own options ask for as an accelerator of each worker, as a service option or as a hint."""
    services = beam_options.view_as(GoogleCloudOptions).dataflow_service_options or []
    return next((each for each in services if each.startswith(ACCELERATOR)), None) or _hinted(beam_options)


def _hinted(beam_options: PipelineOptions) -> str | None:
    hints = beam_options.view_as(StandardOptions).resource_hints or []
    return next((each for each in hints if "accelerator" in each), None)


def refuse_unseen(runner: str, **places: Iterable[str | None]) -> None:
    """Raise `UsageError` for a place on this machine, by its flag, where workers of Dataflow would not see it."""
    if not is_dataflow(runner):
        return
    for flag, uris in places.items():
        for uri in filter(None, uris):
            if uri == "-":
                raise UsageError(f"--{flag}=-: workers of Dataflow do not read the standard input of this machine")
            if storage.is_local(uri):
                raise UsageError(
                    f"--{flag}={uri} is on this machine, and workers of Dataflow do not see it: put it into a bucket, "
                    "and give its gs:// URI"
                )


def _refuse_missing(beam_options: PipelineOptions) -> None:
    cloud, worker = beam_options.view_as(GoogleCloudOptions), beam_options.view_as(WorkerOptions)
    setup = beam_options.view_as(SetupOptions)
    packaged = setup.setup_file or setup.extra_packages or setup.requirements_file
    missing = [
        example
        for given, example in (
            (cloud.project, "--project=PROJECT"),
            (cloud.region, "--region=us-central1"),
            (cloud.temp_location or cloud.staging_location, "--temp_location=gs://BUCKET/temp"),
            (worker.sdk_container_image or packaged, "--sdk_container_image=IMAGE, which docs/image.md builds"),
        )
        if not given
    ]
    if missing:
        raise UsageError(f"--runner={RUNNER} needs {_listed(missing)}")
    if not _PROJECT.fullmatch(cloud.project):
        raise UsageError(
            f"--project={cloud.project}: expected the id of a project, such as my-project-1, not its number"
        )
    if zone := _ZONE.fullmatch(cloud.region):
        raise UsageError(f"--region={cloud.region} is a zone: its region is {zone[1]}; for a zone give --worker_zone")
    if not _REGION.fullmatch(cloud.region):
        raise UsageError(f"--region={cloud.region}: expected a region, such as us-central1 or europe-west4")
    for name in ("temp_location", "staging_location"):
        place = getattr(cloud, name)
        if place is not None and not _BUCKET.fullmatch(place):
            raise UsageError(f"--{name}={place}: expected a folder in a bucket, gs://BUCKET/FOLDER")
    _refuse_anonymous(cloud)
    # Beam makes a bucket of its own where it cannot use the one it was given.
    for place in {cloud.temp_location or cloud.staging_location, cloud.staging_location or cloud.temp_location}:
        storage.ensure_writable(place.rstrip("/"))


def _refuse_anonymous(cloud: Any) -> None:
    """Raise `UsageError` where nobody says who asks; Beam looks for it four times, half a minute in all."""
    if cloud.no_auth:
        return
    import google.auth  # of the extra "gcp"

    try:
        google.auth.default()
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise UsageError(
            "no credentials for Google Cloud are found: `gcloud auth application-default login` makes some, or "
            "GOOGLE_APPLICATION_CREDENTIALS names a file of them"
        ) from error


def _of_model(beam_options: PipelineOptions, threads: int) -> list[str]:
    """One process a machine: Dataflow's default is one for each core, each with a model and threads for all cores."""
    debug = beam_options.view_as(DebugOptions)
    chosen = []
    if not {_ONE_PROCESS, _MANY_PROCESSES} & {*(debug.experiments or [])}:
        debug.add_experiment(_ONE_PROCESS)
        chosen.append(f"--experiments={_ONE_PROCESS}")
    if not debug.number_of_worker_harness_threads:
        debug.number_of_worker_harness_threads = threads
        chosen.append(f"--number_of_worker_harness_threads={threads}")
    return chosen


def _of_gpu(beam_options: PipelineOptions, gpu: str) -> list[str]:
    cloud, worker = beam_options.view_as(GoogleCloudOptions), beam_options.view_as(WorkerOptions)
    chosen = []
    if accelerator(beam_options) is None:
        asked = f"{ACCELERATOR}type:{gpu};count:1;install-nvidia-driver:{DRIVER}"
        cloud.dataflow_service_options = [*(cloud.dataflow_service_options or []), asked]
        chosen.append(f"--dataflow_service_options='{asked}'")
    if not worker.machine_type:
        worker.machine_type = GPUS[gpu]
        chosen.append(f"--machine_type={worker.machine_type}")
    if not worker.disk_size_gb:
        worker.disk_size_gb = GPU_DISK_GB
        chosen.append(f"--disk_size_gb={worker.disk_size_gb}")
    return chosen


def _listed(things: list[str]) -> str:
    return things[0] if len(things) == 1 else f"{', '.join(things[:-1])} and {things[-1]}"
