"""A labelling before it starts: options → the model, the files and their layout, under which run id."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.config.classify import ClassifyConfig, ReadOptions
from seqcls_beam.model import predictions
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.model.tokens import Sequences, check
from seqcls_beam.reading.files import find
from seqcls_beam.reading.records import plan_layout, read_unit
from seqcls_beam.reading.remarks import remarks
from seqcls_beam.runs.accounting import limits
from seqcls_beam.runs.commit import recover
from seqcls_beam.runs.job import Job
from seqcls_beam.runs.publication import follow
from seqcls_beam.runs.run import Run, identity
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import known_inputs, partitions
from seqcls_beam.schema import PARTITION
from seqcls_beam.version import __version__


def plan(config: ClassifyConfig) -> Job | None:
    """Find the model and the files, and name the run; None where `only_new` leaves no file.

    Finishes a publication that a crash interrupted. Raises `ValueError` or `FileNotFoundError` for a model or input
    that cannot be used.
    """
    checkpoint = resolve(config.model.model, config.model.revision, config.model.problem_type)
    check(checkpoint, config.model, pairs=config.read.text_pair_column is not None)
    top = storage.absolute(config.run.output)
    partition = f"{PARTITION}={config.run.run_date}" if config.run.run_date else ""
    # Before the files are listed: what is published from here on is not followed but refused.
    run = follow(Run(top, "", config.run.overwrite, limits(config.run), partition=partition))
    listing, again = find(config.read), list[str]()
    files = listing.files
    inside = [path for path in files["path"].to_pylist() if storage.lies_in(path, top)]
    if inside:
        raise ValueError(f"--input finds {inside[0]}, which lies in --output={top}: a run would read what a run wrote")
    if config.run.only_new:
        store = store_of(top)
        # A night that was decided but interrupted covers its files: finish it before asking what is new.
        storage.each(partial(recover, store), partitions(store))
        left_out = partition if config.run.overwrite else None
        known = known_inputs(store, checkpoint.digest, how_read(config.read), left_out)
        keys = [(storage.without_password(row["path"]), row["size"], row["version"]) for row in files.to_pylist()]
        again = [key[0] for key in keys if not known.get(key, True)]
        files = files.filter(pa.array([not known.get(key, False) for key in keys], pa.bool_()))
        if not files.num_rows:
            return None
    layout = plan_layout(files, config.read)
    run_id = identity(
        files,
        model=checkpoint.digest,
        read={**how_read(config.read), "unit_bytes": config.read.unit_bytes},
        options={k: v for k, v in asdict(config.model).items() if k not in ("model", "revision", "threads")},
        layout=[[each.name, str(each.type)] for each in layout.keep],
        version=__version__,
    )
    said = (*filter(None, [checkpoint.remark]), *_again(again), *remarks(listing._replace(files=files), config.read))
    return Job(config, checkpoint, replace(run, run_id=run_id), files, layout, len(listing.skipped), said)


def _again(paths: list[str]) -> Iterator[str]:
    """What is said of files that an earlier run could not read whole, and that are read otherwise now."""
    if paths:
        yield (
            f"{len(paths):,} file{'s' * (len(paths) > 1)} of which an earlier run lost rows, such as {paths[0]}, "
            "are read otherwise now, and whole: rows of them that it labelled are labelled again"
        )


def how_read(options: ReadOptions) -> dict[str, Any]:
    """The options that say how a file is read, as JSON has them."""
    but = ("input", "exclude", "batch_rows", "unit_bytes")
    said = {name: value for name, value in asdict(options).items() if name not in but}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}


def first_sequences(job: Job, units: list[pa.RecordBatch]) -> Sequences | None:
    """The first sequences of the corpus, where int8 needs them."""
    if job.config.model.dtype != "int8":
        return None
    records = (batch for unit in units for batch in read_unit(unit, job.layout))
    return predictions.first_sequences(records, job.checkpoint, job.config.model)
