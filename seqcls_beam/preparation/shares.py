"""Whether splits have the shares that were asked for, and where not, which group is the cause.

What is counted of some texts can be added up; what is in the largest group is looked up only where a share is far.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.preparation import findings, splits
from seqcls_beam.preparation.clusters import Ties
from seqcls_beam.preparation.decide import Decision
from seqcls_beam.preparation.examples import load_examples
from seqcls_beam.preparation.exchange import Piece, gather, read
from seqcls_beam.preparation.grouping import value_of
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.keys import digests, duplicate_key
from seqcls_beam.preparation.known import Known
from seqcls_beam.preparation.texts import ROWS, partitions_of, rows_of
from seqcls_beam.reading.records import InputChanged, read_unit
from seqcls_beam.reading.units import load_plan
from seqcls_beam.schema import Mark

Array = npt.NDArray[Any]

Again = Callable[[int], tuple[Known, Decision]]
"""The number of some of the texts → those texts, and what was decided."""

_SHOWN = 80  # characters of a text or value


def of_known(known: Known, decision: Decision) -> dict[str, Any]:
    """What is counted of those texts whose splits were drawn."""
    rows = np.where(decision.drawn, known.texts["rows"].to_numpy().astype(np.int64), 0)
    sizes = np.bincount(decision.group, rows, minlength=1).astype(np.int64)
    largest = int(sizes.argmax())
    members = decision.drawn & (decision.group == largest)
    several, times = np.unique(sizes, return_counts=True)
    return {
        "rows": int(rows.sum()),
        "got": [int(rows[decision.split == split].sum()) for split in range(len(splits.NAMES))],
        "groups": int((sizes > 0).sum()),
        # As text: JSON's integers end at 64 bits.
        "squares": str(sum(size**2 * count for size, count in zip(several.tolist(), times.tolist(), strict=True))),
        "tied": len(decision.ties.digests) > 0,
        "largest": {
            "rows": int(sizes[largest]),
            "texts": int(members.sum()),
            "split": splits.NAMES[decision.split[largest]],
            "values": len(np.unique(decision.ties.of_values(members)[1])),
            "number": int(known.numbers[largest]),
        }
        if rows.any()
        else None,
    }


def told(parts: list[dict[str, Any]], job: Job, again: Again) -> dict[str, Any] | None:
    """What was asked of the splits of those texts that were drawn, what they got, and the largest group among them.

    None where nothing was drawn. `parts` is what `of_known` counted; `again` gives the texts of one of them.
    """
    validation, test = job.fractions
    total = sum(each["rows"] for each in parts)
    if not total or not validation + test:
        return None
    some = [(number, each["largest"]) for number, each in enumerate(parts) if each["largest"]]
    place, largest = min(some, key=lambda each: (-each[1]["rows"], each[1]["number"]))
    found: dict[str, Any] = {
        "rows": total,
        "asked": dict(zip(splits.NAMES, (round(1 - validation - test, 12), validation, test), strict=True)),
        "got": {name: sum(each["got"][split] for each in parts) for split, name in enumerate(splits.NAMES)},
        "split": job.config.splits.split,
        "groups": sum(each["groups"] for each in parts),
        # Kish's effective sample size: so many equal groups would miss the shares as far.
        "effective_groups": round(total**2 / sum(int(each["squares"]) for each in parts), 1),
        "largest_group": {name: largest[name] for name in ("rows", "texts", "split", "values")},
    }
    if findings.far(found):
        known, decision = again(place)
        members = decision.drawn & (decision.group == np.searchsorted(known.numbers, np.uint64(largest["number"])))
        tied = any(each["tied"] for each in parts)
        found["largest_group"] |= {
            "value": _largest_value(known, members, decision.ties, job),
            "joined_by": _joint(known, members, decision.ties, tied, job),
        }
    return found


def _largest_value(known: Known, members: Array, ties: Ties, job: Job) -> dict[str, Any] | None:
    """The value of `--group_by` that most texts of a group have: {"column": …, "value": …, "texts": …}."""
    text, tie = np.unique(np.stack(ties.of_values(members)), axis=1)
    if not len(tie):
        return None
    counts = np.bincount(tie)
    most = int(counts.argmax())
    rows, places, partition = _rows_of(int(known.numbers[text[tie == most].min()]), job)
    digest = int(ties.digests[most])
    row = next(each for each in places if digest in rows["groups"][each].as_py())
    kept, columns = _read_again(rows, row, partition, job), job.config.splits.group_by or ()
    named = kept and value_of([kept.field(name) for name in columns], digest, job.config.splits.seed)
    if not named:
        return None
    return {"column": columns[named[0]], "value": _short(named[1]), "texts": int(counts[most])}


def _joint(known: Known, members: Array, ties: Ties, tied: bool, job: Job) -> dict[str, Any] | None:
    """What joins most of a group: {"by": "text", "near-duplicates" or "sentence", "text": …, "joins": …}.

    So many values of `--group_by`; texts for a sentence, and where there are no values: `tied` says whether any text
    of the data has a value or sentence.
    """
    text, tie = np.unique(np.stack(ties.of_values(members)), axis=1)
    owner, _ = np.unique(np.stack([ties.cluster[text], tie]), axis=1)
    by_cluster = np.bincount(owner, minlength=1)
    said = members[ties.text] & (ties.tie >= ties.values)
    _, spoken = np.unique(np.stack([ties.text[said], ties.tie[said]]), axis=1)
    by_sentence = np.bincount(spoken, minlength=1)
    if by_sentence.max() > max(by_cluster.max(), 1):
        most = int(by_sentence.argmax())
        rows, places, _ = _rows_of(int(known.numbers[ties.text[said & (ties.tie == most)].min()]), job)
        for name in job.text_columns:
            key = duplicate_key(rows[name].take(pa.array(places[:1])), job.key_steps)
            if digests(key, job.config.splits.seed)[0, 0] == ties.digests[most]:
                return {
                    "by": "sentence",
                    "text": _short(rows[name][places[0]].as_py()),
                    "joins": int(by_sentence[most]),
                }
    if by_cluster.max() > 1:
        cluster, joins = int(by_cluster.argmax()), int(by_cluster.max())
        own = np.bincount(text[ties.cluster[text] == cluster])
        by, one = "text" if own.max() == joins else "near-duplicates", int(own.argmax())
    elif not tied and members.sum() > 1:
        by, one, joins = "near-duplicates", int(np.flatnonzero(members)[0]), int(members.sum())
    else:
        return None
    rows, places, _ = _rows_of(int(known.numbers[one]), job)
    told = " / ".join(rows[name][places[0]].as_py() for name in job.text_columns)
    return {"by": by, "text": _short(told), "joins": joins}


def _rows_of(number: int, job: Job) -> tuple[pa.RecordBatch, list[int], int]:
    """(EXAMPLE of the partition a text is in; the places of its rows there; the partition)."""
    one = np.array([number], np.uint64)
    partition, text = int(partitions_of(one)[0]), int(rows_of(one)[0])
    stay = gather(job.exchange, job.own("exact", "rows", partition), ROWS)
    return load_examples(job, partition), stay["row"].to_numpy()[stay["text"].to_numpy() == text].tolist(), partition


def _unit_of(row: int, partition: int, job: Job) -> int:
    """The unit that a row of EXAMPLE was read in, by its place in the partition."""
    end = 0
    for unit in range(job.units):
        spill = job.record("read", unit)["spill"]
        batches = [i for i, owner in enumerate(spill["partitions"]) if owner == partition]
        end += sum(map(len, read(job.exchange, [Piece(spill["name"], batches)] if batches else [])))
        if row < end:
            return unit
    raise IndexError(f"row {row} of partition {partition}")


def _read_again(rows: pa.RecordBatch, row: int, partition: int, job: Job) -> pa.StructArray | None:
    """The columns that were kept of a row of EXAMPLE, from the input; None where that is not there any more.

    The exchange has only the digests of values.
    """
    number = _unit_of(row, partition, job)
    source, position = rows["source"][row].as_py(), rows["position"][row].as_py()
    try:
        for unit in load_plan(job.run.plan, job.units, job.run.secret):
            for batch in read_unit(unit, job.source(number).layout) if Mark.of(unit).unit == number else ():
                for place in np.flatnonzero(batch["position"].to_numpy() == position).tolist():
                    if storage.without_password(batch["source"][place].as_py()) == source:
                        return pa.concat_arrays([batch["keep"].slice(place, 1)])
    except (OSError, InputChanged):
        pass
    return None


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
