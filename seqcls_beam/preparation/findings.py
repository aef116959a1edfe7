"""What is said of texts once their splits are known: why each that goes does, what near-duplicates and leaks are among
those given, and whether splits have the shares that were asked for.

All arrays are over the texts of all partitions: `given` is the split each came with, `rows` how many rows it has.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.preparation import splits
from seqcls_beam.preparation.clusters import Edges, Ties, digests_of
from seqcls_beam.preparation.examples import load_examples
from seqcls_beam.preparation.exchange import gather, read_partition
from seqcls_beam.preparation.grouping import value_of
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.keys import digests, duplicate_key
from seqcls_beam.preparation.texts import ROWS
from seqcls_beam.reading.records import InputChanged, read_unit
from seqcls_beam.reading.units import load_plan
from seqcls_beam.schema import Mark

Array = npt.NDArray[Any]


def details(texts: pa.RecordBatch, edges: Edges, reason: Array, there: Array) -> pa.Array:
    """Of texts that go, the nearest text that stays or is a reference."""
    one, other = np.concatenate([edges.first, edges.second]), np.concatenate([edges.second, edges.first])
    similarity = np.concatenate([edges.similarity, edges.similarity])
    told = (reason[one] != "") & there[other]
    one, other, similarity = one[told], other[told], similarity[told]
    order = np.lexsort((other, -similarity, one))
    best = order[np.diff(one[order], prepend=-1) != 0]
    found = np.full(len(reason), None, object)
    found[reason != ""] = "through others of its cluster or group"
    names = digests_of(texts, other[best])
    for text, name, near in zip(one[best].tolist(), names, similarity[best].tolist(), strict=True):
        found[text] = f"similarity {near:.3f} with {name}"
    return pa.array(found, pa.string())


def cluster_sizes(linked: Array, reference: Array) -> dict[str, int]:
    """How many clusters have several texts, references aside, how many texts are in those, and in the largest."""
    members = np.bincount(linked[~reference], minlength=len(linked))
    several = members[members > 1]
    return {
        "clusters": len(several),
        "clustered_texts": int(several.sum()),
        "largest_cluster": int(several.max(initial=0)),
    }


def near_duplicates(edges: Edges, given: Array, label: Array, problem: str) -> dict[str, Any]:
    """Pairs of near-duplicates, references aside; `label` is a number for each label, -1 for none."""
    first, second, similarity = edges
    real = (given[first] != splits.REFERENCE) & (given[second] != splits.REFERENCE)
    torn = real & (label[first] != label[second]) & (label[first] >= 0) & (label[second] >= 0)
    return {
        "pairs": int(real.sum()),
        "pairs_with_other_labels": 0 if problem == "regression" else int(torn.sum()),
        "lowest_similarity": float(similarity[real].min()) if real.any() else None,
    }


def near_leaks(edges: Edges, given: Array, rows: Array) -> dict[str, int]:
    """By pair of splits: rows of the higher one with a near-duplicate in the lower one; of a reference rows near it."""
    first, second, _ = edges
    report = {}
    for high, low in splits.PAIRS:
        counted, against = (low, high) if high == splits.REFERENCE else (high, low)
        there = [
            one[(given[one] == counted) & (given[other] == against)]
            for one, other in ((first, second), (second, first))
        ]
        hit = np.unique(np.concatenate(there))
        if len(hit):
            report[splits.pair_name(high, low)] = int(rows[hit].sum())
    return report


def sentence_leaks(sentences: Array, owner: Array, given: Array, rows: Array) -> dict[str, int]:
    """By pair of splits: sentences of the higher one's rows that stand in the lower one's.

    `owner` is the text that each of `sentences` stands in.
    """
    report = {}
    for high, low in splits.PAIRS:
        lower = np.unique(sentences[given[owner] == low])
        upper = given[owner] == high
        count = int((np.isin(sentences[upper], lower) * rows[owner[upper]]).sum())
        if count:
            report[splits.pair_name(high, low)] = count
    return report


FAR, FAR_POINTS = 0.2, 0.01
"""A share is far from what was asked where it differs by more than both: of what was asked, and of all rows."""

_SHOWN = 80  # characters of a text or value


def shares(
    texts: pa.RecordBatch, bases: Array, found: Array, drawn: Array, group: Array, ties: Ties, job: Job
) -> dict[str, Any] | None:
    """What was asked of the splits of those texts that are `drawn`, what they got, and the largest group among them.

    None where nothing was drawn. What is in the group is looked up only where a share is far from what was asked.
    """
    validation, test = job.fractions
    rows = np.where(drawn, texts["rows"].to_numpy().astype(np.int64), 0)
    total = int(rows.sum())
    if not total or not validation + test:
        return None
    sizes = np.bincount(group, rows).astype(np.int64)
    largest = int(sizes.argmax())
    members = drawn & (group == largest)
    told: dict[str, Any] = {
        "rows": total,
        "asked": dict(zip(splits.NAMES, (round(1 - validation - test, 12), validation, test), strict=True)),
        "got": {name: int(rows[found == split].sum()) for split, name in enumerate(splits.NAMES)},
        "split": job.config.splits.split,
        "groups": int((sizes > 0).sum()),
        # Kish's effective sample size: so many equal groups would miss the shares as far.
        "effective_groups": round(total**2 / float((sizes.astype(np.float64) ** 2).sum()), 1),
        "largest_group": {
            "rows": int(sizes[largest]),
            "texts": int(members.sum()),
            "split": splits.NAMES[found[largest]],
            "values": len(np.unique(ties.of_values(members)[1])),
        },
    }
    if far(told):
        told["largest_group"] |= {
            "value": _largest_value(bases, members, ties, job),
            "joined_by": _joint(bases, members, ties, job),
        }
    return told


def far(told: dict[str, Any]) -> list[str]:
    """The splits whose shares are far from what was asked, of what `shares` found."""
    shares_ = {name: rows / told["rows"] for name, rows in told["got"].items()}
    return [name for name, asked in told["asked"].items() if abs(shares_[name] - asked) > max(FAR * asked, FAR_POINTS)]


def sentence(told: dict[str, Any]) -> str | None:
    """Which shares are far from what was asked, and why, of what `shares` found; None where none is."""
    said = ", ".join(
        f"{name} has {told['got'][name]:,} of {told['rows']:,} rows, {told['got'][name] / told['rows']:.1%} where "
        f"{told['asked'][name]:.1%} were asked"
        for name in far(told)
    )
    if not said:
        return None
    if told["effective_groups"] < told["rows"] / 2:
        return f"{said}: no group is cut, and {_largest(told['largest_group'])}"
    if told["split"] == "hash":
        return f"{said}: each row is drawn by chance (--split=stratified meets shares as far as rows can)"
    return f"{said}: of a class with too few rows for a share all are in train"


def _largest(group: dict[str, Any]) -> str:
    value, joint, others = group["value"], group["joined_by"], group["values"] - 1
    said = f"the largest, in {group['split']}, has {group['rows']:,} rows"
    if value:
        said += f", {value['column']} {value['value']!r}"
        said += f" in {value['texts']:,} of its {group['texts']:,} texts" if value["texts"] < group["texts"] else ""
        said += f" beside {others:,} other value{'s'[: others > 1]}" if others else ""
    if joint is None:
        return said
    what = {"text": "one text", "near-duplicates": "near-duplicates of one text", "sentence": "one sentence"}
    whom = "texts" if joint["by"] == "sentence" or not group["values"] else "values"
    return f"{said}; {what[joint['by']]} in {joint['joins']:,} {whom}: {joint['text']!r}"


def _largest_value(bases: Array, members: Array, ties: Ties, job: Job) -> dict[str, Any] | None:
    """The value of `--group_by` that most texts of a group have: {"column": …, "value": …, "texts": …}."""
    text, tie = np.unique(np.stack(ties.of_values(members)), axis=1)
    if not len(tie):
        return None
    counts = np.bincount(tie)
    most = int(counts.argmax())
    rows, places, partition = _rows_of(int(text[tie == most].min()), bases, job)
    digest = int(ties.digests[most])
    row = next(each for each in places if digest in rows["groups"][each].as_py())
    kept, columns = _read_again(rows, row, partition, job), job.config.splits.group_by or ()
    named = kept and value_of([kept.field(name) for name in columns], digest, job.config.splits.seed)
    if not named:
        return None
    return {"column": columns[named[0]], "value": _short(named[1]), "texts": int(counts[most])}


def _joint(bases: Array, members: Array, ties: Ties, job: Job) -> dict[str, Any] | None:
    """What joins most of a group: {"by": "text", "near-duplicates" or "sentence", "text": …, "joins": …}.

    So many values of `--group_by`; texts for a sentence, and where there are no values.
    """
    text, tie = np.unique(np.stack(ties.of_values(members)), axis=1)
    owner, _ = np.unique(np.stack([ties.cluster[text], tie]), axis=1)
    by_cluster = np.bincount(owner, minlength=1)
    said = members[ties.text] & (ties.tie >= ties.values)
    _, spoken = np.unique(np.stack([ties.text[said], ties.tie[said]]), axis=1)
    by_sentence = np.bincount(spoken, minlength=1)
    if by_sentence.max() > max(by_cluster.max(), 1):
        most = int(by_sentence.argmax())
        rows, places, _ = _rows_of(int(ties.text[said & (ties.tie == most)].min()), bases, job)
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
    elif not len(ties.digests) and members.sum() > 1:
        by, one, joins = "near-duplicates", int(np.flatnonzero(members)[0]), int(members.sum())
    else:
        return None
    rows, places, _ = _rows_of(one, bases, job)
    told = " / ".join(rows[name][places[0]].as_py() for name in job.text_columns)
    return {"by": by, "text": _short(told), "joins": joins}


def _rows_of(text: int, bases: Array, job: Job) -> tuple[pa.RecordBatch, list[int], int]:
    """(EXAMPLE of the partition a text is in; the places of its rows there; the partition)."""
    partition = int(np.searchsorted(bases, text, side="right")) - 1
    stay = gather(job.exchange, [job.index("exact")[partition]["rows"]], 0, ROWS)
    places = stay["row"].to_numpy()[stay["text"].to_numpy() == text - bases[partition]]
    return load_examples(job, partition), places.tolist(), partition


def _read_again(rows: pa.RecordBatch, row: int, partition: int, job: Job) -> pa.StructArray | None:
    """The columns that were kept of a row of EXAMPLE, from the input; None where that is not there any more.

    The exchange has only the digests of values.
    """
    spills = [record["spill"] for record in job.index("read")]
    sizes = [sum(map(len, read_partition(job.exchange, [spill], partition))) for spill in spills]
    number = int(np.searchsorted(np.cumsum(sizes), row, side="right"))
    source, position = rows["source"][row].as_py(), rows["position"][row].as_py()
    try:
        for unit in load_plan(job.run.plan, job.units):
            for batch in read_unit(unit, job.source(number).layout) if Mark.of(unit).unit == number else ():
                for place in np.flatnonzero(batch["position"].to_numpy() == position).tolist():
                    if storage.without_password(batch["source"][place].as_py()) == source:
                        return pa.concat_arrays([batch["keep"].slice(place, 1)])
    except (OSError, InputChanged):
        pass
    return None


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
