"""Classifying as PTransforms.

    batches = pipeline | ReadRecords(ReadOptions(input=("reviews/*.jsonl.gz",)))
    batches | Tokenize(checkpoint) | Classify(checkpoint) | WriteLabeled(Run("gs://bucket/labels", "2026-11-20"))

All four run fused, without a shuffle: a batch goes from the file to the part in one process. Steps of your own may
stand between them as long as they are row for row and keep the batch's schema metadata.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import apache_beam as beam
import orjson
import pyarrow as pa
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import AsIter, AsList, PBegin, PCollection

from seqcls_beam import storage
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.importing import IMPORTING
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.model.tokens import Sequences
from seqcls_beam.reading.files import list_files
from seqcls_beam.reading.records import Layout, plan_layout, read_unit, read_unit_again
from seqcls_beam.reading.standard_input import taken
from seqcls_beam.reading.units import plan_units
from seqcls_beam.runs import progress
from seqcls_beam.runs.parts import UnitWriter
from seqcls_beam.runs.publication import follow, publish, unpublishable
from seqcls_beam.runs.run import Run, RunError, pending_units, recorded_units, save_record, verified_record
from seqcls_beam.runs.versions import version_name
from seqcls_beam.schema import Mark
from seqcls_beam.transforms.overlap import Gather, Gathered, TokenizeAhead

Batches = PCollection[pa.RecordBatch]


@dataclass
class ReadRecords(beam.PTransform[PBegin, Batches]):
    """Files → RECORD batches, in input order within a unit.

    The files are listed once, when the workers start, or not at all where a `run` brings its saved plan; then its
    finished units are left out, and a unit of which a file has changed is read once more, from its first batch, which
    `WriteLabeled` knows of. The layout (names and types of the kept columns) is found when the pipeline is built, from
    the first files. Raises `FileNotFoundError` or `ValueError` then, and in the worker `InputChanged` where a file is
    not as it was listed, or does not stay so while it is read. `progress` is a folder that workers see, for
    `runs.progress`.
    """

    options: ReadOptions
    run: Run | None = None
    layout: Layout | None = None
    progress: str | None = None

    def expand(self, root: PBegin) -> Batches:
        """Plan, spread, read."""
        options = taken(self.options)  # the standard input is the launcher's
        layout = self.layout or plan_layout(list_files(options), options)
        if self.run:
            planned = root | "Run" >> beam.Create([self.run]) | "PlanUnits" >> beam.FlatMap(pending_units)
        else:
            planned = root | "Options" >> beam.Create([options]) | "PlanUnits" >> beam.FlatMap(planned_units)
        # Only what writes the units of a run can take back what it has of one.
        read = beam.FlatMap(read_told, layout, again=self.run is not None, folder=self.progress)
        return planned | "SpreadUnits" >> beam.Reshuffle() | "ReadUnit" >> read


@dataclass
class Tokenize(beam.PTransform[Batches, Batches]):
    """RECORD batches → TOKENS batches, row for row.

    Texts are cut, or read in windows, as `options` say (lengths in tokens, the special ones included). A text on which
    the tokenizer raises is rejected. Where the worker has a GPU for the model, batches are tokenised while that
    computes those before them, some megabytes ahead. In the worker raises `ValueError` for options that the checkpoint
    cannot meet, and `CheckpointError` where files of it are not those it was resolved from.

    `watched`, of streams: newer models at the checkpoint's name, a folder or a URI, take its place between two batches
    (`model.watching`). Classify must be told the same.
    """

    checkpoint: Checkpoint
    options: ModelOptions = field(default_factory=ModelOptions)
    watched: bool = False

    def expand(self, records: Batches) -> Batches:
        """One step."""
        ahead = beam.ParDo(TokenizeAhead(self.checkpoint, self.options, self.watched))
        return records | "Ahead" >> ahead.with_output_types(pa.RecordBatch)


@dataclass
class Classify(beam.PTransform[Batches, Batches]):
    """TOKENS batches → PREDICTION batches, row for row, by one model per process.

    Scores are float32, one for each label in the checkpoint's order. A row on which the model raises is rejected. In
    the worker raises `EngineError` where the device or the precision of `options` cannot be had, `CheckpointError`
    where the weights do not load, and `RuntimeError` where more than 16 rows a batch fail: then it is the model.

    `progress` is a folder that workers see, for `runs.progress`. `first`, which int8 needs, are sequences of the
    corpus: `model.predictions.first_sequences`. `watched` as for Tokenize.
    """

    checkpoint: Checkpoint
    options: ModelOptions = field(default_factory=ModelOptions)
    progress: str | None = None
    first: Sequences | None = None
    watched: bool = False

    def expand(self, tokens: Batches) -> Batches:
        """Gather, then RunInference, whose output type Beam cannot tell."""
        # Here and not above: Beam's inference package imports torch wherever it is installed.
        with IMPORTING:
            from apache_beam.ml.inference.base import RunInference

            from seqcls_beam.transforms.handler import ClassifierHandler

        handler = ClassifierHandler(self.checkpoint, self.options, self.progress, self.first, watched=self.watched)
        gather = beam.ParDo(Gather(self.options)).with_output_types(Gathered)
        infer = RunInference(handler.with_no_batching()).with_output_types(pa.RecordBatch)
        return tokens | "Gather" >> gather | "RunInference" >> infer


@dataclass
class WriteLabeled(beam.PTransform[Batches, PCollection[str]]):
    """PREDICTION batches → a published run; yields the URI of its version.

    Parts are written aside, read back and checked, and published together when all units are done. Raises `RunError`
    in the worker, with nothing published, where that cannot be, and when the pipeline is built where the folder holds
    what is not to be replaced; building it carries out a publication that a dead process left there. `progress` is a
    folder that workers see, for `runs.progress`.
    """

    run: Run
    progress: str | None = None

    def expand(self, predictions: Batches) -> PCollection[str]:
        """Write, wait for all, verify, commit."""
        root = predictions.pipeline
        run = self.run if self.run.follows is not None else follow(self.run)
        if reason := unpublishable(run):
            raise RunError(reason)
        written = predictions | "WriteParts" >> beam.ParDo(_WriteParts(run, self.progress))
        records = (
            root
            | "Run" >> beam.Create([run])
            # The side input is the barrier: it is ready when every unit of this start is written. Units that an
            # earlier start finished are found by their records.
            | "ListRecords" >> beam.FlatMap(recorded_units, AsIter(written))
            | "SpreadRecords" >> beam.Reshuffle()
            | "VerifyParts" >> beam.Map(verified_json, run, self.progress)
        )
        return root | "RunToCommit" >> beam.Create([run]) | "CommitRun" >> beam.Map(commit, AsList(records))


class _WriteParts(beam.DoFn):
    """PREDICTION batches → the number of each unit that is finished."""

    def __init__(self, run: Run, progress: str | None) -> None:
        self._run = run
        self._progress = progress
        self._writer: UnitWriter | None = None
        self._unit = 0  # that it writes
        self._labeled, self._rejected, self._tokens, self._truncated, self._units = (
            Metrics.counter("seqcls_beam.WriteLabeled", name)
            for name in ("rows-labeled", "rows-rejected", "tokens", "rows-truncated", "units")
        )

    def process(self, batch: pa.RecordBatch) -> Iterator[int]:
        """Write a batch; with the unit's last one, its record."""
        mark = Mark.of(batch)
        if self._writer is not None and mark.sequence == 0 and mark.unit == self._unit:
            self._writer.abandon(RuntimeError("the unit is read once more"))
            self._writer = None
        if self._writer is None:
            self._writer, self._unit = UnitWriter(self._run.attempt, batch), mark.unit
        record = self._writer.write(batch)
        self._measure(batch, mark)
        if record:
            self._writer = None
            save_record(self._run, record)
            self._units.inc()
            yield mark.unit

    def finish_bundle(self) -> None:
        """A unit lies within one bundle, or it could be written twice by halves."""
        if self._writer is not None:
            raise RuntimeError(
                "a bundle ended in the middle of a unit: the runner put a shuffle between ReadRecords and WriteLabeled"
            )

    def teardown(self) -> None:
        """A step before this one failed: leave no open file."""
        if self._writer is not None:
            self._writer.abandon(RuntimeError("the bundle failed"))
            self._writer = None

    def _measure(self, batch: pa.RecordBatch, mark: Mark) -> None:
        rejected = batch.num_rows - batch["reject"].null_count
        self._labeled.inc(batch.num_rows - rejected)
        self._rejected.inc(rejected)
        self._tokens.inc(pa.compute.sum(batch["tokens"]).as_py() or 0)
        self._truncated.inc(pa.compute.sum(batch["truncated"]).as_py() or 0)
        if self._progress:
            progress.report(self._progress, rows=batch.num_rows, rejected=rejected, bytes=mark.bytes)


def planned_units(options: ReadOptions) -> Iterator[pa.RecordBatch]:
    """List the files and cut them into units, on a worker."""
    yield from plan_units(list_files(options), options.unit_bytes, options.encoding)


def read_told(unit: pa.RecordBatch, layout: Layout, again: bool, folder: str | None) -> Iterator[pa.RecordBatch]:
    """UNIT → RECORD batches, as they are `in_hand`."""
    yield from in_hand(unit, (read_unit_again if again else read_unit)(unit, layout), folder)


def in_hand(unit: pa.RecordBatch, batches: Iterator[pa.RecordBatch], folder: str | None) -> Iterator[pa.RecordBatch]:
    """The batches of a unit, with word of it: the steps behind are through with a batch when the next is asked for."""
    with progress.working(folder, f"unit {Mark.of(unit).unit}", storage.without_password(unit["path"][0].as_py())):
        yield from batches


def verified_json(unit: int, run: Run, folder: str | None) -> str:
    """The record of a unit whose parts were read back."""
    with progress.working(folder, f"the check of unit {unit}"):
        return orjson.dumps(verified_record(run, unit)).decode()


def commit(run: Run, records: list[str]) -> str:
    """Publish; the URI of the version."""
    number = publish(run, [orjson.loads(record) for record in records])
    return storage.join(run.output, version_name(run.partition, number))
