"""A labelling before it starts: options → the model, the files and their layout, under which run id."""

from dataclasses import asdict

import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.config.classify import ClassifyConfig
from seqcls_beam.model import predictions
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.model.tokens import Sequences, check
from seqcls_beam.reading.records import plan_layout, read_unit
from seqcls_beam.reading.units import list_files
from seqcls_beam.runs import commit
from seqcls_beam.runs.job import Job
from seqcls_beam.runs.manifest import covered_inputs, partitions
from seqcls_beam.runs.run import Run, identity
from seqcls_beam.version import __version__


def plan(config: ClassifyConfig) -> Job | None:
    """Find the model and the files, and name the run; None where `only_new` leaves no file.

    Finishes a publication that a crash interrupted. Raises `ValueError` or `FileNotFoundError` for a model or input
    that cannot be used.
    """
    checkpoint = resolve(config.model.model, config.model.revision)
    check(checkpoint, config.model, pairs=config.read.text_pair_column is not None)
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
        version=__version__,
    )
    run = Run(output, run_id, config.run.overwrite, config.run.max_rejected)
    return Job(config, checkpoint, run, files, layout)


def first_sequences(job: Job, units: list[pa.RecordBatch]) -> Sequences | None:
    """The first sequences of the corpus, where int8 needs them."""
    if job.config.model.dtype != "int8":
        return None
    records = (batch for unit in units for batch in read_unit(unit, job.layout))
    return predictions.first_sequences(records, job.checkpoint, job.config.model)
