"""A labelling before it starts: options → the model, the files and their layout, under which run id."""

from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.config.classify import PRECISIONS, ClassifyConfig, ReadOptions
from seqcls_beam.model import predictions
from seqcls_beam.model.checkpoints import Checkpoint, resolve
from seqcls_beam.model.tokens import Sequences, check
from seqcls_beam.reading.files import Listing
from seqcls_beam.reading.records import InputChanged, Layout, plan_layout, read_unit
from seqcls_beam.reading.remarks import remarks
from seqcls_beam.reading.units import plan_units, withheld
from seqcls_beam.runs import claims
from seqcls_beam.runs.accounting import limits
from seqcls_beam.runs.columns import Shape, fit, shape
from seqcls_beam.runs.covered import Key, Names, key_of
from seqcls_beam.runs.due import find_dated
from seqcls_beam.runs.job import Job
from seqcls_beam.runs.nights import new_files
from seqcls_beam.runs.publication import beside, current, follow
from seqcls_beam.runs.run import Placed, Run, RunError, identity
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import partitions, shapes
from seqcls_beam.schema import PARTITION
from seqcls_beam.version import __version__


def look(config: ClassifyConfig, others: Container[Key] = ()) -> Job:
    """What `plan` would find, for who only asks: nothing is finished, claimed or written but a model that is fetched.

    Files among `others` are taken by another night. Raises as `plan`.
    """
    checkpoint = _model(config)
    run = beside(_run(config, f"{PARTITION}={config.run.run_date}" if config.run.run_date else ""))
    listing = _listing(config)
    if not config.run.only_new:
        return _job(config, checkpoint, run, listing)
    left = pa.array([key_of(row) not in others for row in listing.files.to_pylist()], pa.bool_())
    night = new_files(run, listing.files.filter(left), how_read(config.read), claim=False)
    return _job(config, checkpoint, night.run, listing._replace(files=night.files), night.there, night.said)


def plan(config: ClassifyConfig, settle: Callable[[Job], Job] = lambda job: job, placed: Placed | None = None) -> Job:
    """Find the model and the files, and name the run; `only_new` may leave no file.

    `settle` decides what is left open of a job that has any, and `placed` is told of versions that others left half
    published and that are finished here. Raises `ValueError` or `FileNotFoundError` for a model or input that cannot be
    used, `RunError` for rows that cannot stand in one table with those that are there, and what `settle` raises.
    """
    checkpoint = _model(config)
    # Before the files are listed: what is published from here on is not followed but refused.
    run = follow(_run(config, f"{PARTITION}={config.run.run_date}" if config.run.run_date else "", placed))
    listing = _listing(config)
    if not config.run.only_new:
        return settle(_job(config, checkpoint, run, listing))
    night = new_files(run, listing.files, how_read(config.read))
    said = night.said if listing.files.num_rows else (f"--input finds no file of {config.run.run_date}", *night.said)
    try:
        job = _job(config, checkpoint, night.run, listing._replace(files=night.files), night.there, said)
        return settle(job) if job.files.num_rows else job
    except BaseException:
        if night.claimed:
            claims.give_up(night.run)
        raise


def plan_again(
    config: ClassifyConfig, following: Callable[[Run], Run] = follow, placed: Placed | None = None
) -> Iterator[tuple[str, Job | str]]:
    """For `relabel`: partitions that another model labelled → the run that replaces each, or why none does.

    A partition is made again of the files that it was made of, all of them. Who only asks gives `beside` as
    `following`. `placed` and what it raises are as for `plan`.
    """
    checkpoint = _model(config)
    store = store_of(storage.absolute(config.run.output))
    listing = _listing(config)
    rows = {key_of(row): at for at, row in enumerate(listing.files.to_pylist())}
    there = shapes(store)
    for partition in partitions(store):
        run = following(replace(_run(config, partition, placed), overwrite=True))
        before = current(run)
        if before is None or before.manifest.get("model", {}).get("digest") in (checkpoint.digest, None):
            continue
        made_of = [key_of(each) for each in before.manifest["inputs"]]
        places = _places(rows, made_of)
        gone = [key[0] for key in made_of if key not in places]
        then, now = before.manifest.get("read") or {}, how_read(config.read)
        if other := [name for name in now if then.get(name) != now[name]]:
            yield (
                partition,
                f"it was read with other options ({', '.join(f'--{name}' for name in other)}): give the same",
            )
        elif gone:
            lacking = f"of the {len(made_of):,} files that it was made of {len(gone):,}, such as {gone[0]},"
            yield partition, f"{lacking} changed since or are not among --input"
        elif made_of:
            files = listing.files.take(pa.array([places[key] for key in made_of], pa.int64()))
            try:
                yield partition, _job(config, checkpoint, run, listing._replace(files=files), there)
            except (RunError, InputChanged, ValueError) as error:
                yield partition, str(error)


def _places(rows: dict[Key, int], made_of: list[Key]) -> dict[Key, int]:
    """Where files stand in a listing that may have them under other names than those they were read by."""
    if all(key in rows for key in made_of):
        return rows
    names = Names(made_of)
    return {names.of(key): at for key, at in rows.items()}


def _model(config: ClassifyConfig) -> Checkpoint:
    checkpoint = resolve(config.model.model, config.model.revision, config.model.problem_type)
    check(checkpoint, config.model, pairs=config.read.text_pair_column is not None)
    return checkpoint


def _run(config: ClassifyConfig, partition: str, placed: Placed | None = None) -> Run:
    output = storage.absolute(config.run.output)
    return Run(output, "", config.run.overwrite, limits(config.run), partition=partition, placed=placed)


def _listing(config: ClassifyConfig) -> Listing:
    top, listing = storage.absolute(config.run.output), find_dated(config.read, config.run)
    inside = [path for path in listing.files["path"].to_pylist() if storage.lies_in(path, top)]
    if inside:
        raise ValueError(f"--input finds {inside[0]}, which lies in --output={top}: a run would read what a run wrote")
    return listing


def _job(
    config: ClassifyConfig,
    checkpoint: Checkpoint,
    run: Run,
    listing: Listing,
    there: dict[str, Shape] | None = None,
    more: tuple[str, ...] = (),
) -> Job:
    """The run of all files of a listing; `there` is what partitions look like, where somebody has looked."""
    files, dtype = listing.files, config.model.dtype

    def names(layout: Layout) -> set[str]:
        among = PRECISIONS if dtype == "fastest" else (dtype,)
        return {_named(config, checkpoint, files, layout, each) for each in among}

    layout = plan_layout(files, config.read) if files.num_rows else Layout(config.read, pa.schema([]))
    said: tuple[str, ...] = (*filter(None, [checkpoint.remark]), *more)
    if files.num_rows:
        layout, told = _of_table(run, checkpoint.problem, files, layout, there, names)
        said = (*said, *told, *remarks(listing, config.read))
    name = _named(config, checkpoint, files, layout, dtype)
    run = replace(run, run_id=name, secret=withheld(files["path"].to_pylist()))
    return Job(config, checkpoint, run, files, layout, len(listing.skipped), said)


def in_precision(job: Job, dtype: str, found: dict[str, Any] | None = None) -> Job:
    """The same job as if --dtype had named a precision; `found` is why, where --dtype=fastest asked."""
    run = replace(job.run, run_id=_named(job.config, job.checkpoint, job.files, job.layout, dtype))
    config = replace(job.config, model=replace(job.config.model, dtype=dtype))
    return replace(job, config=config, run=run, fastest=found)


def _named(config: ClassifyConfig, checkpoint: Checkpoint, files: pa.RecordBatch, layout: Layout, dtype: str) -> str:
    """The id of a run in a precision."""
    options = {k: v for k, v in asdict(config.model).items() if k not in ("model", "revision", "threads")}
    return identity(
        files,
        model=checkpoint.digest,
        read={**how_read(config.read), "unit_bytes": config.read.unit_bytes},
        options={**options, "dtype": dtype},
        layout=[[each.name, str(each.type)] for each in layout.keep],
        version=__version__,
    )


def _of_table(
    run: Run,
    problem: str,
    files: pa.RecordBatch,
    layout: Layout,
    there: dict[str, Shape] | None,
    names: Callable[[Layout], set[str]],
) -> tuple[Layout, tuple[str, ...]]:
    """The layout whose columns go with those of the table, and what is told of them. Raises `RunError` for none."""

    def first() -> pa.RecordBatch:
        unit = plan_units(files, layout.options.unit_bytes, layout.options.encoding)[0]
        return next(read_unit(unit, layout))

    now = current(run)
    own = shape(run.partition, now.manifest) if now else None
    if now and own:
        # Where this very run is published, others may have widened the table since.
        with suppress(RunError):
            fitted = fit(run.output, layout, problem, [own], first)
            if now.version.run_id in names(fitted.layout):
                return fitted.layout, ()
    there = there if there is not None else shapes(store_of(run.output))
    others = [each for partition, each in there.items() if partition != run.partition]
    fitted = fit(run.output, layout, problem, others, first)
    return fitted.layout, fitted.said


def how_read(options: ReadOptions) -> dict[str, Any]:
    """The options that say how a file is read, as JSON has them."""
    but = ("input", "exclude", "batch_rows", "unit_bytes")
    said = {name: value for name, value in asdict(options).items() if name not in but}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}


def first_sequences(job: Job, units: list[pa.RecordBatch]) -> Sequences | None:
    """The first sequences of the corpus, where int8 needs them, be it for a try."""
    if job.config.model.dtype not in ("int8", "fastest"):
        return None
    records = (batch for unit in units for batch in read_unit(unit, job.layout))
    return predictions.first_sequences(records, job.checkpoint, job.config.model)
