"""Flags of Beam's job server for Flink that Beam's Python does not list: who reads flags imports them."""

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions


class FlinkJobOptions(PipelineOptions):
    """Options that Beam's job server for Flink takes, and Beam's Python does not list."""

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        section = parser.add_argument_group("Flink")
        section.add_argument("--checkpointing_interval", type=int, help="milliseconds between two checkpoints")
        section.add_argument("--number_of_execution_retries", type=int, help="times that a job is started again")
        section.add_argument("--execution_retry_delay", type=int, help="milliseconds before it is")
        section.add_argument("--max_bundle_size", type=int, help="elements that a bundle has at most")
        section.add_argument(
            "--finish_bundle_before_checkpointing",
            action="store_true",
            default=None,
            help="no bundle spans two of them",
        )
