"""Label a corpus: text records in files → labelled Parquet, as one transaction.

python -m pipelines.classify                                          label the bundled sample
python -m pipelines.classify --text "I love this book"                a quick look, no files
python -m pipelines.classify --input 'reviews/*.jsonl.gz' --text_column=review --output=labels
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files as package_files
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.options.pipeline_options import PipelineOptions
from rich import filesize

import seqcls_beam
from pipelines import display
from pipelines.command import EPILOG, already_published, exit_code, finish, flags, say, threads_per_worker, versions
from pipelines.options import UsageError, name_runner, parse, parser
from seqcls_beam import storage
from seqcls_beam.config import ClassifyConfig, LookOptions, ModelOptions, ReadOptions, RunOptions
from seqcls_beam.model.checkpoints import Checkpoint, resolve
from seqcls_beam.model.predictions import first_sequences
from seqcls_beam.model.tokens import Sequences, add_tokens
from seqcls_beam.reading.records import Layout, plan_layout, read_unit
from seqcls_beam.reading.units import list_files, plan_units
from seqcls_beam.runs import commit
from seqcls_beam.runs.manifest import covered_inputs, partitions, short
from seqcls_beam.runs.run import Run, begin, identity
from seqcls_beam.schema import REJECT_VALUE
from seqcls_beam.transforms import Classify, ReadRecords, Tokenize, WriteLabeled

GROUPS = {"read": ReadOptions, "model": ModelOptions, "run": RunOptions, "look": LookOptions}

DEMO_OUTPUT = "demo-output"


@dataclass(frozen=True)
class Job:
    """All that is known of a run before it starts."""

    config: ClassifyConfig
    checkpoint: Checkpoint
    run: Run
    files: pa.RecordBatch
    layout: Layout
    first: Sequences | None = None  # of the corpus, where int8 needs them


def build(root: beam.Pipeline, job: Job, progress: str | None = None) -> None:
    """The pipeline: one fused stage from the files to the parts, then verify and commit."""
    (
        root
        | ReadRecords(job.config.read, job.run, job.layout)
        | Tokenize(job.checkpoint, job.config.model)
        | Classify(job.checkpoint, job.config.model, progress, job.first)
        | WriteLabeled(job.run, progress)
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return exit_code(_main, sys.argv[1:] if argv is None else list(argv))


def _main(argv: list[str]) -> int:
    try:
        made = parser("pipelines.classify", (__doc__ or "").strip(), EPILOG, GROUPS)
        given, _, beam_options = parse(made, argv, GROUPS)
        runner = name_runner(beam_options)
        model = ModelOptions(**given["model"])
        if given["look"]:
            if given["read"] or given["run"]:
                raise UsageError("--text is a quick look at texts of the command line: it takes no input and no output")
            return _look(model, LookOptions(**given["look"]))
        read, run = ReadOptions(**_demo(given, "input")), RunOptions(**_demo(given, "output"))
        job = prepare(ClassifyConfig(read=read, model=model, run=run))
    except (ValueError, FileNotFoundError) as error:
        return say(str(error), 2)
    except (OSError, ImportError) as error:
        return say(f"{type(error).__name__}: {error}", 1)
    if job is None:
        return say("nothing new to label: earlier runs under --output cover every input file", 0)
    if already_published(job.run, display.summary):
        return 0
    return _launch(job, runner, beam_options)


def prepare(config: ClassifyConfig) -> Job | None:
    """Find the model and the files, and name the run; None where `only_new` leaves no file.

    Finishes a publication that a crash interrupted. Raises `ValueError` or `FileNotFoundError` for a model or input
    that cannot be used.
    """
    checkpoint = resolve(config.model.model, config.model.revision)
    pairs = config.read.text_pair_column is not None
    probe = {"text": pa.array(["."]), **({"text_pair": pa.array(["."])} if pairs else {})}
    add_tokens(pa.record_batch({**probe, "reject": pa.nulls(1, REJECT_VALUE)}), checkpoint, config.model)
    top = storage.absolute(config.run.output)
    output = storage.join(top, f"run_date={config.run.run_date}") if config.run.run_date else top
    # A night that was decided but interrupted covers its files: finish it before asking what is new.
    for each in partitions(top) if config.run.only_new else [output]:
        commit.recover(each)
    files = list_files(config.read)
    inside = [path for path in files["path"].to_pylist() if path.startswith(f"{top}/")]
    if inside:
        raise ValueError(f"--input finds {inside[0]}, which lies in --output={top}: a run would read what a run wrote")
    if config.run.only_new:
        covered = covered_inputs(top, checkpoint.digest, leave_out=output if config.run.overwrite else None)
        new = [
            (storage.without_password(row["path"]), row["size"], row["version"]) not in covered
            for row in files.to_pylist()
        ]
        files = files.filter(pa.array(new, pa.bool_()))
        if not files.num_rows:
            return None
    layout = plan_layout(files, config.read)
    run_id = identity(
        files,
        model=checkpoint.digest,
        read={k: v for k, v in asdict(config.read).items() if k not in ("input", "batch_rows")},
        options={k: v for k, v in asdict(config.model).items() if k not in ("model", "revision", "threads")},
        layout=[[each.name, str(each.type)] for each in layout.keep],
        version=seqcls_beam.__version__,
    )
    run = Run(output, run_id, config.run.overwrite, config.run.max_rejected)
    return Job(config, checkpoint, run, files, layout)


def _launch(job: Job, runner: str, beam_options: PipelineOptions) -> int:
    display.log_to_stderr()
    job = _with_threads(job, beam_options)
    units = plan_units(job.files, job.config.read.unit_bytes)
    done = begin(job.run, units, _facts(job, runner, len(units)))
    size = pc.sum(job.files["size"]).as_py()
    say(
        f"run {short(job.run.run_id)}: {job.files.num_rows:,} file{'s'[: job.files.num_rows != 1]}, "
        f"{filesize.decimal(size)}, "
        f"{len(units):,} unit{'s'[: len(units) != 1]}" + (f", {done:,} of them done before" if done else ""),
        0,
    )

    def work() -> None:
        first = None
        if job.config.model.dtype == "int8":
            records = (batch for unit in units for batch in read_unit(unit, job.layout))
            first = first_sequences(records, job.checkpoint, job.config.model)
        with display.watching(size) as folder:
            pipeline = beam.Pipeline(options=beam_options)
            build(pipeline, replace(job, first=first), folder)
            pipeline.run().wait_until_finish()

    display.summary(job.run.output, finish(job.run, work))
    return 0


def _facts(job: Job, runner: str, units: int) -> dict[str, Any]:
    """What the manifest says beyond what the workers saw. No environment, no flags of the runner: they hold secrets."""
    return {
        "units": units,
        "started": time.time(),
        "command": " ".join(["python -m pipelines.classify", *flags(job.config)]),
        "runner": runner,
        "versions": versions("apache-beam", "torch", "transformers", "pyarrow"),
        "model": {
            "name": storage.without_password(job.checkpoint.name),
            "revision": job.checkpoint.revision,
            "digest": job.checkpoint.digest,
            "files": job.checkpoint.files,
            "problem": job.checkpoint.problem,
            "labels": job.checkpoint.labels,
        },
        "threshold": job.config.model.threshold if job.checkpoint.problem == "multi_label" else None,
        "columns": [{"name": each.name, "type": str(each.type)} for each in job.layout.keep],
    }


def _with_threads(job: Job, beam_options: PipelineOptions) -> Job:
    """The job with its share of the machine's cores, unless the user said how many threads each worker has."""
    threads = job.config.model.threads or threads_per_worker(beam_options)
    return replace(job, config=replace(job.config, model=replace(job.config.model, threads=threads)))


def _demo(given: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """The options that hold `name`; without --input and --output, those of the demo."""
    group = "read" if name == "input" else "run"
    if name in given[group]:
        return given[group]
    if "input" in given["read"] or "output" in given["run"]:
        raise UsageError(f"--{name} is missing (without both --input and --output the bundled sample is labelled)")
    sample = str(package_files("seqcls_beam") / "sample" / "reviews.jsonl")
    demo = {"input": (sample,), "id_column": "id"} if name == "input" else {"output": DEMO_OUTPUT, "overwrite": True}
    return {**demo, **given[group]}


def _look(options: ModelOptions, look: LookOptions) -> int:
    """Print the probability of every label for texts given on the command line."""
    from seqcls_beam.model.engine import Classifier
    from seqcls_beam.model.predictions import probabilities

    checkpoint = resolve(options.model, options.revision)
    pairs = list(look.text_pair) or None
    scores = probabilities(list(look.text), pairs, checkpoint, Classifier(checkpoint, options), options)
    shown = [" | ".join(both) for both in zip(look.text, pairs, strict=True)] if pairs else list(look.text)
    display.probabilities(shown, checkpoint.labels, scores)
    return 0


if __name__ == "__main__":
    sys.exit(main())
