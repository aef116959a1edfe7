"""A batch with answers and gold labels → what is counted of it: a tally and an account."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam import storage
from seqcls_beam.evaluation.account import Account
from seqcls_beam.evaluation.counting.outcomes import Outcomes
from seqcls_beam.evaluation.counting.tally import Asked, Tally
from seqcls_beam.evaluation.gold import Gold, countable
from seqcls_beam.evaluation.parquet import POSITION, SOURCE
from seqcls_beam.runs.run import RunError
from seqcls_beam.schema import LOSSES, Mark

Array = npt.NDArray[Any]

NO_VALUE = "(none)"
"""The slice of rows without a value in the column."""

SHOWN_CHARACTERS = 500
"""Of a text that is shown."""

_ROUNDED = 1e-3  # how far from 1 the probabilities of a row may sum up


@dataclass(frozen=True)
class Sheet:
    """How batches are read. Small, picklable: it travels to the workers."""

    asked: Asked
    gold: Gold
    label_column: str
    shown: tuple[tuple[str, str], ...]  # what is told of the worst rows → its column; nothing more is known of them
    kept: bool  # the columns are those of `keep` (PREDICTION), or stand beside the answers
    summing: bool = False  # the probabilities of a row must sum up to 1: they come from elsewhere
    answers: tuple[str, ...] = ()  # the columns that must hold something, of files that have their answers
    checked: bool = False  # labels that stand beside probabilities must be those that the probabilities say


class Evidence:
    """A tally and an account, both additive."""

    def __init__(self, sheet: Sheet) -> None:
        self.tally = Tally(sheet.asked)
        self.account = Account()

    def add(self, batch: pa.RecordBatch, sheet: Sheet) -> None:
        """Count a marked batch: PREDICTION, or rows of files that have columns of that name."""
        mark = Mark.of(batch)
        place = (mark.unit, mark.sequence)
        names = batch.schema.names
        columns = dict(zip(names, batch.columns, strict=True))
        if sheet.kept:
            fields = [field.name for field in batch.schema.field("keep").type]
            columns |= {f"keep.{name}": column for name, column in zip(fields, batch["keep"].flatten(), strict=True)}
        prefix = "keep." if sheet.kept else ""
        good, lost = self._answered(batch, sheet)
        read = sheet.gold.read(sheet.gold.column(columns, sheet.label_column, prefix))
        for way, found in read.ways.items():
            self.account.read(way, len(found), (*place, int(found[0])), read.first[way])
        self.account.reach(read.span)
        known = good & ~read.missing
        unknown = {row: value for row, value in read.unknown.items() if known[row]}
        scored = known.copy()
        scored[list(unknown)] = False
        self.account.rows += len(batch) - lost
        # Of shards and labelled parts, which must be whole, nothing can be lost.
        self.account.pieces += [piece for piece in mark.inputs if "losses" in piece]
        self.account.unlabelled += int((good & read.missing).sum())
        self.account.scored += int(scored.sum())
        if unknown:
            self.account.rejected["unknown_label"] += len(unknown)
            first = {value: (*place, row) for row, value in sorted(unknown.items(), reverse=True)}
            self.account.name_unknown(first)
        self.account.ran(mark.engine)
        self.account.seconds.update(mark.seconds)
        for name in ("tokens", "truncated"):
            if name in names:
                setattr(self.account, name, getattr(self.account, name) + (pc.sum(batch[name]).as_py() or 0))
        rows = pa.array(np.flatnonzero(scored))
        if len(rows):
            taken = {name: column.take(rows) for name, column in columns.items() if name != "keep"}
            self.tally.add(_outcomes(taken, read.gold[scored], sheet, prefix, place))

    def merge(self, other: "Evidence") -> None:
        """Add what another has counted; it must not be used afterwards."""
        self.tally.merge(other.tally)
        self.account.merge(other.account)

    def _answered(self, batch: pa.RecordBatch, sheet: Sheet) -> tuple[Array, int]:
        """(which rows have an answer, how many stand for what was lost); the others are counted as rejected."""
        lost = 0
        if "reject" in batch.schema.names:
            for each in pc.value_counts(pc.struct_field(batch["reject"].drop_null(), "reason")).to_pylist():
                if each["values"] in LOSSES:  # weighed by what they cost, in `pieces`
                    lost += each["counts"]
                else:
                    self.account.rejected[each["values"]] += each["counts"]
            return np.asarray(batch["reject"].is_null().to_numpy(zero_copy_only=False)), lost
        good = np.ones(len(batch), bool)
        for name in sheet.answers:
            column = batch[name]
            good &= column.is_valid().to_numpy(zero_copy_only=False)
            if pa.types.is_string(column.type):  # a label; one that is empty is none
                empty = pc.equal(pc.utf8_trim_whitespace(pc.fill_null(column, "")), "")
                good &= ~empty.to_numpy(zero_copy_only=False)
        if not good.all():
            self.account.rejected["missing_answer"] += int((~good).sum())
        return good, lost


def _outcomes(columns: dict[str, pa.Array], gold: Array, sheet: Sheet, prefix: str, place: tuple[int, int]) -> Outcomes:
    """Outcomes of rows that all have an answer and a gold label."""
    scores = _scores(columns, sheet)
    if scores is not None and sheet.checked:
        _check_agreement(scores, columns, sheet)
    tokens = columns.get("tokens")
    return Outcomes(
        gold,
        scores,
        predicted=None if scores is not None else _answers(columns, sheet),
        tokens=None if tokens is None else pc.fill_null(tokens, 0).to_numpy().astype(np.int32),
        slices={name: _values(columns[prefix + name]) for name in sheet.asked.slices},
        shown={name: _shown(columns[column]) for name, column in sheet.shown},
        batch=place,
    )


def _scores(columns: dict[str, pa.Array], sheet: Sheet) -> Array | None:
    """float32 [rows, labels], or [rows] for a regression."""
    asked = sheet.asked
    if asked.problem == "regression":
        numbers = columns["score"].cast(pa.float32()).to_numpy(zero_copy_only=False)
        if not np.isfinite(numbers).all():
            raise RunError("the column 'score' has values that are no finite numbers")
        return np.asarray(numbers)
    if "scores" not in columns:
        return None
    lists = columns["scores"]
    lengths = pc.unique(pc.list_value_length(lists)).to_pylist()
    if lengths != [len(asked.labels)]:
        raise RunError(f"the column 'scores' has rows of {lengths[0]} values, and there are {len(asked.labels)} labels")
    scores = lists.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False).reshape(-1, len(asked.labels))
    if not ((scores >= 0) & (scores <= 1)).all():
        raise RunError("the column 'scores' has values that are no probabilities: they must be from 0 to 1")
    if sheet.summing and np.abs(scores.sum(axis=1, dtype=np.float64) - 1).max() > _ROUNDED:
        raise RunError("the column 'scores' has rows that do not sum up to 1, as the probabilities of labels must")
    return np.asarray(scores)


def _answers(columns: dict[str, pa.Array], sheet: Sheet) -> Array:
    """The column `label` or `labels` → numbers, as `Outcomes.predicted`; raises `RunError` for what is no label.

    Beside scores, which say what is meant, an answer may also be its label's number.
    """
    asked = sheet.asked
    names = tuple((name, name) for name in asked.labels)
    or_numbers = sheet.checked and countable(asked.labels, None)
    answers = Gold(asked.problem, asked.labels, names, or_numbers=or_numbers)
    read = answers.read(columns["labels" if asked.problem == "multi_label" else "label"])
    for value in read.unknown.values():
        raise RunError(f"an answer is {value!r}, which is none of the labels {', '.join(map(repr, asked.labels))}")
    return read.gold


def _check_agreement(scores: Array, columns: dict[str, pa.Array], sheet: Sheet) -> None:
    """Raise `RunError` where a label beside scores is not what they say; of equal scores it may be either."""
    asked = sheet.asked
    said = _answers(columns, sheet)
    if asked.problem == "single_label":
        wrong = scores[np.arange(len(said)), said] < scores.max(axis=1)
    else:
        edge = scores == np.float32(asked.threshold)
        wrong = (((scores.astype(np.float64) >= asked.threshold) != (said > 0)) & ~edge).any(axis=1)
    if not wrong.any():
        return
    row = int(np.flatnonzero(wrong)[0])
    told = ", ".join(f"{name} {score:.4g}" for name, score in list(zip(asked.labels, scores[row], strict=True))[:5])
    where = f"{storage.without_password(str(columns[SOURCE][row]))}, row {columns[POSITION][row]}"
    if asked.problem == "single_label":
        raise RunError(
            f"the scores contradict the column 'label': it says {asked.labels[said[row]]!r} where they say {told} "
            f"({where}): are the labels in the order of the scores (see --labels)?"
        )
    names = [name for name, there in zip(asked.labels, said[row], strict=True) if there > 0]
    raise RunError(
        f"the scores contradict the column 'labels': it says {', '.join(map(repr, names)) or 'none'} where they say "
        f"{told}, and the threshold is {asked.threshold:g} ({where}): are the labels in the order of the scores (see "
        "--labels), and is that the threshold they were assigned with (see --threshold)?"
    )


def _values(column: pa.Array) -> Array:
    return np.asarray(pc.fill_null(_as_text(column), NO_VALUE).to_numpy(zero_copy_only=False))


def _shown(column: pa.Array) -> pa.Array:
    """What JSON can hold: numbers and booleans as they are, texts cut, names of files without passwords."""
    if pa.types.is_dictionary(column.type):
        names = [storage.without_password(name) for name in column.dictionary.to_pylist()]
        return pa.array(names, pa.string()).take(column.indices)
    kind = column.type
    if pa.types.is_floating(kind):
        return column.cast(pa.float64())
    ids = pa.types.is_list(kind) and pa.types.is_integer(kind.value_type)  # of tokens, which are decoded later
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or ids:
        return column
    texts = _as_text(column)
    long = pc.greater(pc.utf8_length(texts), SHOWN_CHARACTERS)
    cut = pc.binary_join_element_wise(pc.utf8_slice_codeunits(texts, 0, SHOWN_CHARACTERS - 1), "…", "")
    return pc.if_else(long, cut, texts)


def _as_text(column: pa.Array) -> pa.Array:
    """Values of any type as strings."""
    try:
        return column.cast(pa.string())
    except pa.ArrowException:  # bytes that are no UTF-8, and types that Arrow cannot write
        return pa.array([None if each is None else str(each) for each in column.to_pylist()], pa.string())
