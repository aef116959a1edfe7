"""The precision that labels: which one --dtype=fastest takes, and what --dtype=bfloat16 would give a long run."""

import gc
import logging
from contextlib import suppress
from dataclasses import replace
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import voice
from pipelines.command import say
from pipelines.engines import works_here
from pipelines.usage import UsageError
from pipelines.workers import threads_per_worker
from seqcls_beam.config.classify import ClassifyConfig
from seqcls_beam.importing import IMPORTING
from seqcls_beam.reading.units import plan_units
from seqcls_beam.runs.job import Job
from seqcls_beam.runs.plan import first_sequences, in_precision
from seqcls_beam.runs.publication import unpublishable
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.settled import settled

_LONG = 120.0
"""Seconds of the model at work in all workers, from which on a run pays for what it takes to time another precision."""


def refuse_elsewhere(config: ClassifyConfig, runner: str, beam_options: PipelineOptions) -> None:
    """Raise `UsageError` where --dtype=fastest would time this machine, and others label."""
    if config.model.dtype == "fastest" and not works_here(runner, beam_options):
        raise UsageError(
            f"--dtype=fastest is timed on this machine, and with --runner={runner} others label, whose processors may "
            "be of another kind: name a precision"
        )


def in_one_precision(job: Job, beam_options: PipelineOptions) -> Job:
    """The job in the precision that --dtype=fastest takes, which is said; as it is where one was named.

    A run that was started before keeps the one that was found then. Raises `RunError` for one that could not be
    published, and as the engine's `Classifier` does.
    """
    if job.config.model.dtype != "fastest":
        return job
    if before := settled(job):
        say(f"--dtype=fastest: {before.config.model.dtype}, in which this run was started first", 0)
        return before
    if reason := unpublishable(job.run):
        raise RunError(reason)
    found = _found(job, job.config.model.threads or threads_per_worker(beam_options))
    say(_told(found), 0)
    return in_precision(job, found["dtype"], found)


def _found(job: Job, threads: int) -> dict[str, Any]:
    first = first_sequences(job, plan_units(job.files, job.config.read.unit_bytes, job.config.read.encoding))
    assert first is not None
    with IMPORTING:
        from seqcls_beam.model.engine.fastest import fastest
    found = fastest(job.checkpoint, replace(job.config.model, threads=threads), first)
    gc.collect()  # a model's modules know each other, and the run loads its own
    return found


def _told(found: dict[str, Any]) -> str:
    """What was found, as a sentence."""
    if "reason" in found:
        return f"--dtype=fastest: float32, since {found['reason']}"
    others = [each for each in found["tried"] if each["dtype"] not in ("float32", found["dtype"])]
    taken = [each for each in found["tried"] if each["dtype"] == found["dtype"] != "float32"]
    said = ", ".join([found["dtype"], *(_figures(each) for each in taken)])
    more = "".join(f"; {each['dtype']}: {each['refused'] if 'refused' in each else _figures(each)}" for each in others)
    return f"--dtype=fastest: {said}{more} (beside float32, {found['sequences']:,} of the first texts)"


def _figures(each: dict[str, Any]) -> str:
    return f"{each['times']:.1f} times as fast, {each['label_agreement']:.2%} of the labels, mean |Δp| " + (
        f"{each['mean_delta']:.2g}"
    )


def advise(job: Job, manifest: dict[str, Any], runner: str, beam_options: PipelineOptions) -> None:
    """Say what --dtype=bfloat16 would give, after a run that took long, on this machine's processor, in float32.

    Timed once it is over: nothing waits for it, and workers are gone that would share the processor.
    """
    long = manifest["seconds"].get("classify", 0.0) >= _LONG
    here = works_here(runner, beam_options) and any(each.get("device") == "cpu" for each in manifest["engines"])
    if job.config.model.dtype != "auto" or not (long and here) or voice.now.least > logging.INFO:
        return
    with suppress(Exception):  # what is published is published
        with IMPORTING:
            from seqcls_beam.model.engine.fastest import bfloat16
        found = bfloat16(job.checkpoint, job.config.model)
        if found is not None:
            what = "value by {:.2g} of 1 + |x|" if job.checkpoint.problem == "regression" else "probability by {:.2g}"
            say(
                f"--dtype=bfloat16 would be {found[0]:.1f} times as fast on this processor; it moves a "
                f"{what.format(found[1])} at most (self-test)",
                0,
            )
