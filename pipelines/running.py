"""A pipeline from its graph to its end, on any runner."""

from collections.abc import Callable

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipelines import submitted
from pipelines.dataflow import is_dataflow


def run_pipeline(
    beam_options: PipelineOptions, build: Callable[[beam.Pipeline], None], name: str | None, counter: str
) -> None:
    """Build it, run it, and wait for its end.

    `name` is what a job is called on Dataflow: the same for the same run, so that a second start finds the first one,
    or None where only this process makes something of it; `counter` is the counter of rows that news of it shows.
    Raises what the runner raises, and as `submitted.run`.
    """
    if is_dataflow(beam_options.view_as(StandardOptions).runner or ""):
        submitted.run(beam_options, build, name, counter)
        return
    pipeline = beam.Pipeline(options=beam_options)
    build(pipeline)
    pipeline.run().wait_until_finish()
