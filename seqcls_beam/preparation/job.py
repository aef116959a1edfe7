"""A preparation as its tasks know it: options, where files lie, and what earlier stages wrote.

attempt/records/NNNNN.json            a unit that was read
attempt/records/<stage>/NNNNN.json    a task of a later stage that is done
attempt/index/<stage>.json            all records of a stage, once it is complete
attempt/index/labels.json             the labels in the data
attempt/index/<stage>-<what>.arrow    which pieces of what its tasks wrote are whose
attempt/exchange/                     rows between stages
attempt/data/, attempt/rejects/       what will be published
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.config.prepare import LabelOptions, PrepareConfig
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.preparation import clean, pieces, splits
from seqcls_beam.preparation.exchange import Piece
from seqcls_beam.preparation.forms import Form
from seqcls_beam.preparation.keys import STEPS as KEY_STEPS
from seqcls_beam.preparation.labels import pinned
from seqcls_beam.reading.records import Layout
from seqcls_beam.runs.run import Run


@dataclass(frozen=True)
class Source:
    """Units that were named together."""

    first: int  # the number of the first unit
    split: int  # of splits.NAMES, or NONE, or REFERENCE
    layout: Layout


@dataclass(frozen=True)
class Job:
    """All that is known of a preparation before it starts. Small, picklable: it travels to the workers."""

    config: PrepareConfig
    tokenizer: Checkpoint
    run: Run
    sources: tuple[Source, ...]
    units: int
    partitions: int
    problem: str  # "single_label", "multi_label" or "regression"
    form: Form  # of the labels
    labels: tuple[str, ...] | None  # as --labels: what was asked for, or else what files or the form call them
    max_length: int
    threads: int = 0
    remarks: tuple[str, ...] = ()  # sentences to tell before it starts
    shared: bool = False  # whether all tasks, and not one, say which split texts come into
    rounds: int = 8  # of stars, before one task joins what is left
    most_pieces: int = 2**20  # that a stage may leave for the next one; above it files are joined first
    read_before: dict[str, list[Any]] = field(
        default_factory=dict, compare=False, repr=False
    )  # of the index, by this task

    def source(self, unit: int) -> Source:
        """Where a unit comes from."""
        return [each for each in self.sources if each.first <= unit][-1]

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns that hold labels."""
        return label_columns(self.config.labels)

    @property
    def names(self) -> dict[str, str]:
        """What may stand in the data for a label → the label's name, in the order of the labels; empty for anything."""
        return pinned(self.labels)[1] if self.labels is not None else {name: name for name in self.form.columns}

    @property
    def given(self) -> bool:
        """Whether rows may come with their split."""
        named = any(each.split in (splits.TRAIN, splits.VALIDATION, splits.TEST) for each in self.sources)
        return named or self.config.splits.split_column is not None

    @property
    def fractions(self) -> tuple[float, float]:
        """Shares of validation and of test rows that are still to be taken."""
        usual = 0.0 if self.given else 0.1
        asked = self.config.splits.validation_fraction, self.config.splits.test_fraction
        return usual if asked[0] is None else asked[0], usual if asked[1] is None else asked[1]

    @property
    def stratified(self) -> bool:
        """Whether splits are drawn class by class."""
        return self.config.splits.split == "stratified" and self.problem != "regression"

    @property
    def pairs(self) -> bool:
        """Whether a row is two texts."""
        return self.config.read.text_pair_column is not None

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns of EXAMPLE that hold a row's texts."""
        return ("text", "text_pair") if self.pairs else ("text",)

    @property
    def cleaning(self) -> tuple[str, ...]:
        """The steps of cleaning."""
        usual = () if self._benchmark else tuple(clean.STEPS)
        return usual if self.config.clean.clean is None else self.config.clean.clean

    @property
    def key_steps(self) -> tuple[str, ...]:
        """What the duplicate key forgets."""
        asked = self.config.clean.duplicate_key
        return KEY_STEPS[:3] if asked is None else asked

    @property
    def duplicates(self) -> str:
        """What becomes of rows of one text and one label."""
        return self.config.clean.duplicates or ("keep" if self._benchmark else "drop")

    @property
    def conflicts(self) -> str:
        """What becomes of rows of one text and several labels."""
        return self.config.labels.conflicts or ("keep" if self._benchmark else "majority")

    @property
    def near(self) -> str:
        """What becomes of near-duplicates."""
        return self.config.clean.near_duplicates or ("off" if self._benchmark else "group")

    @property
    def joins(self) -> bool:
        """Whether texts may be joined to others."""
        options = self.config.splits
        return self.near != "off" or bool(options.group_by) or options.group_sentences

    @property
    def removes_leaks(self) -> bool:
        """Whether a row goes whose text stands in a higher split; else that is only reported."""
        return not self._benchmark

    @property
    def _benchmark(self) -> bool:
        return self.config.clean.profile == "benchmark"

    @property
    def exchange(self) -> str:
        """Where rows between stages lie."""
        return storage.join(self.run.attempt, "exchange")

    @property
    def memory(self) -> int:
        """Bytes of rows that a writer may hold back."""
        return min(self.config.shards.partition_bytes // 4, 64 * 2**20)

    def partition(self, order: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """The partition of a row, by the first half of its key's digest: partitions are in the order of rows."""
        scaled = (order >> np.uint64(32)) * np.uint64(self.partitions)
        return (scaled >> np.uint64(32)).astype(np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "read_before": {}}

    def anew(self) -> Self:
        """This job as a task begins with it: the index may have been written again since it was last read."""
        return replace(self, read_before={})

    def index(self, stage: str) -> list[Any]:
        """The records of a complete stage, in the order of its tasks; read once."""
        if stage not in self.read_before:
            self.read_before[stage] = orjson.loads(storage.read(self.index_uri(stage)))
        return self.read_before[stage]

    def index_uri(self, stage: str, end: str = ".json") -> str:
        """Where `index` reads."""
        return storage.join(self.run.attempt, "index", f"{stage.replace(' ', '-')}{end}")

    def found(self) -> set[str]:
        """The labels in the data, as they are spelled there."""
        return set(self.index("labels"))

    def record(self, stage: str, task: int) -> dict[str, Any]:
        """The record of one task of a complete stage."""
        found: dict[str, Any] = orjson.loads(storage.read(self.run.record(task, folder(stage))))
        return found

    def tasks(self, stage: str) -> int:
        """How many tasks a stage has that writes for partitions."""
        return {"read": self.units, "rest": 1, "assign": 1}.get(stage, self.partitions)

    def folds(self, stage: str) -> int:
        """How many tasks join the files that a stage wrote for partitions; 0 where its pieces are not too many."""
        tasks = self.tasks(stage)
        some = max(self.most_pieces // self.partitions, math.isqrt(tasks))
        return some if tasks * self.partitions > self.most_pieces and 2 * some <= tasks else 0

    def pieces(self, stage: str, what: str, partition: int) -> list[Piece]:
        """What the tasks of a complete stage wrote as `what` for a partition, in the order of the tasks."""
        last = f"fold {stage}" if self.folds(stage) else stage
        return pieces.read(self.index_uri(last, f"-{what}.arrow"), partition)

    def own(self, stage: str, what: str, task: int) -> list[Piece]:
        """What a task of a complete stage wrote as `what`, in a file that is no shuffle."""
        return [Piece(self.record(stage, task)[what]["name"])]


def folder(stage: str) -> str:
    """What the records of a stage lie in, below those of the first one."""
    return "" if stage == "read" else stage.replace(" ", "-")


def label_columns(options: LabelOptions) -> tuple[str, ...]:
    """The columns that hold labels: one, or one for each label."""
    return options.label_columns or (options.label_column,)


def label_type(problem: str) -> pa.DataType:
    """How labels travel before they are numbered."""
    return {"multi_label": pa.list_(pa.string()), "regression": pa.float64()}.get(problem, pa.string())
