"""Options of the commands where they run on Dataflow; what Dataflow itself takes are Beam's options."""

from dataclasses import dataclass

from seqcls_beam.config.option import check, option

GPUS = {
    "nvidia-l4": "g2-standard-4",
    "nvidia-tesla-t4": "n1-standard-4",
    "nvidia-tesla-a100": "a2-highgpu-1g",
    "nvidia-a100-80gb": "a2-ultragpu-1g",
    "nvidia-h100-80gb": "a3-highgpu-1g",
}
"""Accelerator, as Google Cloud names it → the smallest machine with one, for a worker."""


@dataclass(frozen=True, kw_only=True)
class DataflowOptions:
    """Workers of Dataflow."""

    gpu: str | None = option(
        "accelerator that each worker has one of, with --runner=DataflowRunner: sets machine, driver, disk, one "
        "process of two threads, and --device=cuda; what is given by an option of its own stays",
        default=None,
        choices=tuple(GPUS),
    )

    def __post_init__(self) -> None:
        check(self)
