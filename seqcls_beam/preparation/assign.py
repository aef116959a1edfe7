"""The stage "assign": texts and edges → the split of every text, and its place in the output.

One task does it, which takes some 360 bytes a text, for 10 million texts 4 GB; or, from a size that the plan knows, all
of them: each decides on some islands ("decide"), sends what it found to where the texts lie ("settle"), and one task
adds up what was counted. The bytes are the same.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.preparation import findings, islands, labels, quotas, shares, spellings, splits
from seqcls_beam.preparation.decide import Decision, decide
from seqcls_beam.preparation.exchange import Piece, SpillWriter, gather
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.known import Known, everything
from seqcls_beam.preparation.texts import flat, partitions_of, rows_of
from seqcls_beam.runs.run import RunError

Array = npt.NDArray[Any]

PLACED = pa.schema(
    [
        ("split", pa.int8()),  # of splits.NAMES, or NONE where its rows go or it is a reference
        ("reason", pa.string()),  # why they go, "" where they do not
        ("detail", pa.string()),
        # The digest of the first text of its cluster of near-duplicates; null where it is in none.
        ("cluster", pa.string()),
    ]
)
"""One row per row of TEXT, by partition."""

SENT = pa.schema([("row", pa.int32()), ("rows", pa.int32()), *PLACED])
"""PLACED on its way to the partition of its text: which row of TEXT it is, and how many rows have that text."""

ID = pa.schema([("digest", pa.uint64())])
"""One row per row that stays and has an id."""

SENTENCE = pa.schema([("digest", pa.uint64()), ("split", pa.int8()), ("rows", pa.int64())])
"""A sentence of pairs: in how many rows of a given split it stands."""


def assign(_: int, job: Job) -> dict[str, Any]:
    """TEXT of all partitions and EDGE → PLACED; the record says how many rows of each split each partition has."""
    return _added_up(job) if job.shared else _at_once(job)


def _at_once(job: Job) -> dict[str, Any]:
    known = everything(job)
    decision = decide(known, job, quotas.alone(job))
    where = partitions_of(known.numbers)
    with SpillWriter(job.exchange, "placed", PLACED, job.memory) as spill:
        spill.write(_placed(decision), where)
        written = spill.close()
    rows = known.texts["rows"].to_numpy()
    sentences = _sentences(known)
    return {
        "placed": written,
        "counts": _counts(decision.split, rows, where, job.partitions),
        **_told(
            job,
            [findings.of_known(known, decision.linked, job.problem)],
            [shares.of_known(known, decision)],
            lambda _: (known, decision),
            _repeated(_ids(known, decision)["digest"].to_numpy()),
            [_leaks(sentences)],
        ),
    }


def decide_some(task: int, job: Job) -> dict[str, Any]:
    """The stage "decide": the islands of a task → SENT, ID and SENTENCE, and what is counted of them."""
    known = islands.owned(task, job)
    decision = decide(known, job, quotas.drawn(task, job, known.numbers))
    row = [pa.array(rows_of(known.numbers), pa.int32()), known.texts["rows"]]
    ids, sentences = _ids(known, decision), _sentences(known)
    with (
        SpillWriter(job.exchange, f"sent-{task:05d}", SENT, job.memory) as sent,
        SpillWriter(job.exchange, f"ids-{task:05d}", ID, job.memory) as id_,
        SpillWriter(job.exchange, f"said-{task:05d}", SENTENCE, job.memory) as said,
    ):
        sent.write(
            pa.RecordBatch.from_arrays([*row, *_placed(decision).columns], schema=SENT), partitions_of(known.numbers)
        )
        id_.write(ids, job.partition(ids["digest"].to_numpy()))
        said.write(sentences, job.partition(sentences["digest"].to_numpy()))
        return {
            "sent": sent.close(),
            "ids": id_.close(),
            "sentences": said.close(),
            "findings": findings.of_known(known, decision.linked, job.problem),
            "shares": shares.of_known(known, decision),
        }


def settle(partition: int, job: Job) -> dict[str, Any]:
    """The stage "settle": SENT, ID and SENTENCE of a partition → PLACED, and what is counted of them."""
    rows, ids, sentences = (
        gather(job.exchange, job.pieces("decide", what, partition), schema)
        for what, schema in (("sent", SENT), ("ids", ID), ("sentences", SENTENCE))
    )
    rows = rows.take(pa.array(np.argsort(rows["row"].to_numpy())))
    due = job.record("exact", partition)["texts"]["rows"]
    if not np.array_equal(rows["row"].to_numpy(), np.arange(due)):
        raise RunError(f"{due} texts lie in partition {partition}, and {len(rows)} came back; a fault of the program")
    placed = pa.RecordBatch.from_arrays(rows.columns[-len(PLACED) :], schema=PLACED)
    with SpillWriter(job.exchange, f"placed-{partition:05d}", PLACED, job.memory) as spill:
        spill.write_own(placed)
        split, size = rows["split"].to_numpy(), rows["rows"].to_numpy()
        return {
            "placed": spill.close(),
            "counts": _counts(split, size, np.zeros(len(rows), np.int64), 1)[0],
            "repeated": _repeated(ids["digest"].to_numpy()),
            "sentences": _leaks(sentences),
        }


def _added_up(job: Job) -> dict[str, Any]:
    decided, settled = job.index("decide"), job.index("settle")

    def again(task: int) -> tuple[Known, Decision]:
        known = islands.owned(task, job)
        return known, decide(known, job, quotas.drawn(task, job, known.numbers))

    return {
        "counts": [record["counts"] for record in settled],
        **_told(
            job,
            [record["findings"] for record in decided],
            [record["shares"] for record in decided],
            again,
            sum(record["repeated"] for record in settled),
            [record["sentences"] for record in settled],
        ),
    }


def _told(
    job: Job,
    found: list[dict[str, Any]],
    shared: list[dict[str, Any]],
    again: shares.Again,
    repeated: int,
    sentences: list[dict[str, int]],
) -> dict[str, Any]:
    """What the record says, from what was counted of some texts and of the others. Raises `RunError` for equal ids."""
    if repeated:
        raise RunError(
            f"--id_column: {repeated:,} ids are those of several rows that stay; an id must name one row (leave the "
            "option out, and rows are named by their content)"
        )
    return {
        "names": vocabulary(job),
        **findings.added(found),
        "sentences": findings.added_leaks(sentences),
        "shares": shares.told(shared, job, again),
    }


def pieces_of(job: Job, partition: int) -> list[Piece]:
    """Where PLACED of a partition lies: as it was made, which an earlier start may have done the other way."""
    at_once = "placed" in job.index("assign")[0]
    return job.pieces("assign", "placed", partition) if at_once else job.own("settle", "placed", partition)


def _placed(decision: Decision) -> pa.RecordBatch:
    split, reason = pa.array(decision.split, pa.int8()), pa.array(decision.reason, pa.string())
    return pa.RecordBatch.from_arrays([split, reason, decision.detail, decision.cluster], schema=PLACED)


def _counts(split: Array, rows: Array, where: Array, partitions: int) -> list[list[int]]:
    """Rows of each split, by partition."""
    counts = np.zeros((partitions, len(splits.NAMES)), np.int64)
    stays = split != splits.NONE
    np.add.at(counts, (where[stays], split[stays]), rows[stays])
    found: list[list[int]] = counts.tolist()
    return found


def _ids(known: Known, decision: Decision) -> pa.RecordBatch:
    """ID of texts."""
    ids, owner = flat(known.texts["ids"])
    return pa.RecordBatch.from_arrays([pa.array(ids[decision.stays[owner]])], schema=ID)


def _repeated(ids: Array) -> int:
    """How many ids are there more than once."""
    return int((np.unique(ids, return_counts=True)[1] > 1).sum())


def _sentences(known: Known) -> pa.RecordBatch:
    """SENTENCE of texts, each once for a split."""
    sentences, owner = flat(known.texts["sentences"])
    given, rows = (known.texts[name].to_numpy().astype(np.int64)[owner] for name in ("split", "rows"))
    order = np.lexsort((given, sentences))
    first = (np.diff(sentences[order], prepend=np.uint64(0)) != 0) | (np.diff(given[order], prepend=-9) != 0)
    which = np.cumsum(first) - 1
    heads = order[first]
    columns = [sentences[heads], given[heads].astype(np.int8), np.bincount(which, rows[order]).astype(np.int64)]
    return pa.RecordBatch.from_arrays([pa.array(each) for each in columns], schema=SENTENCE)


def _leaks(sentences: pa.RecordBatch) -> dict[str, int]:
    digest, split, rows = (sentences[name].to_numpy() for name in SENTENCE.names)
    return findings.sentence_leaks(digest, split, rows)


def vocabulary(job: Job) -> list[str]:
    """The labels, in order; raises `RunError` where there are none, or what was found could be something else."""
    if job.names:
        return list(job.names.values())
    found = job.found()
    labels.refuse_many(found, f"--label_column={job.label_columns[0]}", labels.NUMBER)
    if job.problem == "multi_label" and not found:
        raise RunError(
            f"no row has a label in {job.label_columns[0]!r}: every list there that could be read is empty; nothing "
            "was published. Is it another column (--label_column)? To learn that none applies, name the --labels"
        )
    spellings.refuse_spellings(found, job.label_columns[0])
    if job.problem == "multi_label" or job.config.labels.problem == "auto":
        why = labels.doubt(found, f"--label_column={job.label_columns[0]}", job.problem == "multi_label")
        if why is not None:
            raise RunError(f"nothing was published: {why}")
    return labels.vocabulary(set(spellings.one_spelling(found).values()))
