"""Evaluating, as PTransforms: rows with answers and gold labels → one tally. What is counted is in `evaluation/`.

    records = pipeline | ReadRecords(options)
    predictions = records | Tokenize(checkpoint) | Classify(checkpoint)
    predictions | Score(sheet) | SaveEvidence(uri)

Rows are counted where they were classified: what travels between workers is a tally for each bundle, never rows.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PBegin, PCollection

from seqcls_beam import storage
from seqcls_beam.evaluation.evidence import Evidence, Sheet
from seqcls_beam.evaluation.packing import pack, unpack
from seqcls_beam.evaluation.parquet import Files, as_tokens, planned, read
from seqcls_beam.runs import progress
from seqcls_beam.schema import Mark
from seqcls_beam.transforms.classify import Batches, in_hand


@dataclass
class ReadParquet(beam.PTransform[PBegin, Batches]):
    """Parquet files → batches of some of their columns, each with its place; see `evaluation.parquet.read`.

    `progress` is a folder that workers see, for `runs.progress`.
    """

    files: Files
    progress: str | None = None

    def expand(self, root: PBegin) -> Batches:
        """Plan, spread, read."""
        return (
            root
            | "Files" >> beam.Create([self.files])
            | "PlanUnits" >> beam.FlatMap(planned)
            | "SpreadUnits" >> beam.Reshuffle()
            | "ReadUnit" >> beam.FlatMap(read_told, self.files, folder=self.progress)
        )


def read_told(unit: pa.RecordBatch, files: Files, folder: str | None) -> Iterator[pa.RecordBatch]:
    """UNIT → batches, as they are `in_hand`."""
    yield from in_hand(unit, read(unit, files), folder)


@dataclass
class ShardTokens(beam.PTransform[Batches, Batches]):
    """Batches of prepared shards → TOKENS, row for row."""

    def expand(self, rows: Batches) -> Batches:
        """One step."""
        return rows | beam.Map(as_tokens)


@dataclass
class Score(beam.PTransform[Batches, PCollection[Evidence]]):
    """Batches with answers and gold labels → the evidence of all of them, one element.

    `progress` is a folder that workers see, for `runs.progress`.
    """

    sheet: Sheet
    progress: str | None = None

    def expand(self, answers: Batches) -> PCollection[Evidence]:
        """Combine, bundle by bundle, then all."""
        return answers | beam.CombineGlobally(Count(self.sheet, self.progress))


@beam.typehints.with_input_types(pa.RecordBatch)
@beam.typehints.with_output_types(Evidence)
class Count(beam.CombineFn):
    """Batches → `Evidence`, which does not depend on how they were spread."""

    def __init__(self, sheet: Sheet, progress: str | None = None) -> None:
        super().__init__()
        self._sheet = sheet
        self._progress = progress

    def create_accumulator(self) -> Evidence:
        """No rows."""
        return Evidence(self._sheet)

    def add_input(self, evidence: Evidence, batch: pa.RecordBatch) -> Evidence:
        """Count a batch."""
        before = sum(evidence.account.rejected.values())
        evidence.add(batch, self._sheet)
        if self._progress:
            rejected = sum(evidence.account.rejected.values()) - before
            progress.report(self._progress, rows=len(batch), rejected=rejected, bytes=Mark.of(batch).bytes)
        return evidence

    def merge_accumulators(self, parts: Iterable[Evidence]) -> Evidence:
        """Add up."""
        whole = self.create_accumulator()
        for part in parts:
            whole.merge(part)
        return whole

    def extract_output(self, evidence: Evidence) -> Evidence:
        """As it is."""
        return evidence


@dataclass
class SaveEvidence(beam.PTransform[PCollection[Evidence], PCollection[str]]):
    """The evidence → a file that the launcher reads; yields its URI."""

    uri: str

    def expand(self, evidence: PCollection[Evidence]) -> PCollection[str]:
        """One step."""
        return evidence | beam.Map(save, self.uri)


def save(evidence: Evidence, uri: str) -> str:
    """Write evidence; its URI."""
    storage.put(uri, pack(evidence))
    return uri


def load(uri: str) -> Evidence:
    """Read what `save` wrote in the same run. Raises `RunError` where it is damaged."""
    return unpack(storage.read(uri))
