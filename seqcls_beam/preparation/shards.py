"""Last stage: rows that stay, in the order of their keys → shards of equally many rows."""

import json
import math
from contextlib import ExitStack
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.preparation import labels, splits
from seqcls_beam.preparation.assign import PLACED, pieces_of
from seqcls_beam.preparation.examples import load_examples
from seqcls_beam.preparation.exchange import gather
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.keys import first_of_keys, hexadecimal
from seqcls_beam.preparation.rejects import Rejects
from seqcls_beam.preparation.texts import ROWS
from seqcls_beam.runs import progress
from seqcls_beam.runs.parts import Digesting, fresh_name
from seqcls_beam.runs.run import RunError, part_damage

ROW_GROUP_ROWS = 4096
LONGEST = 8192  # lengths above it count as this one in the table of lengths


def shard(job: Job, names: list[str]) -> pa.Schema:
    """SHARD: what a training job reads, with the metadata that tells `datasets` the names of the labels."""
    kind = {"multi_label": pa.list_(pa.float32()), "regression": pa.float32()}.get(job.problem, pa.int64())
    schema = pa.schema(
        [
            ("input_ids", pa.list_(pa.int32())),  # special tokens included, cut to the length, not padded
            *([("token_type_ids", pa.list_(pa.int8()))] if job.tokenizer.typed(job.pairs) else []),
            ("labels", kind),  # class number, -1 for none; 0 or 1 for every class; or the number to predict
            ("length", pa.int32()),  # of input_ids
            ("id", pa.string()),  # from the id column, else the digest of the row's key
            *([("cluster", pa.string())] if job.near != "off" else []),  # rows that are near-duplicates share it
            *([("text", pa.string())] if job.config.shards.keep_text else []),
            *([("text_pair", pa.string())] if job.config.shards.keep_text and job.pairs else []),
        ]
    )
    features = {field.name: _feature(field.type) for field in schema}
    if job.problem == "single_label":
        features["labels"] = {"names": names, "_type": "ClassLabel"}
    metadata = {
        "huggingface": json.dumps({"info": {"features": features}}),
        "seqcls_beam.problem": job.problem,
        "seqcls_beam.labels": json.dumps(names, ensure_ascii=False),
    }
    return schema.with_metadata(metadata)


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    return {"dtype": {"float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}


def bounds(rows: int, shards: int) -> npt.NDArray[np.int64]:
    """Where each shard begins and the last ends, int64 [shards + 1]: the first `rows % shards` have a row more.

    So do ranks that take every n-th shard differ by one row at most, where n divides the number of shards.
    """
    number = np.arange(shards + 1)
    return number * (rows // shards) + np.minimum(number, rows % shards)


def write_shard(number: int, job: Job) -> dict[str, Any]:
    """Shard `number` of every split, and the rejects of some partitions; a record with the facts of each."""
    assigned = job.index("assign")[0]
    counts = np.array(assigned["counts"], np.int64).reshape(-1, len(splits.NAMES))
    ends = np.concatenate([np.zeros((1, len(splits.NAMES)), np.int64), np.cumsum(counts, axis=0)])
    shards = job.config.shards.num_shards
    limits = [bounds(int(total), shards)[number : number + 2] for total in ends[-1]]
    with ExitStack() as open_:
        writers = {
            split: open_.enter_context(_Writer(job, split, number, assigned["names"]))
            for split in range(len(splits.NAMES))
            if ends[-1][split]
        }
        rejects = open_.enter_context(Rejects(job, "assign", number))
        for partition in range(job.partitions):
            wanted = [
                (
                    int(max(low - ends[partition][split], 0)),
                    int(min(high, ends[partition + 1][split]) - ends[partition][split]),
                )
                for split, (low, high) in enumerate(limits)
            ]
            files_rejects = partition * shards // job.partitions == number
            if files_rejects or any(low < high for low, high in wanted):
                _write_partition(job, partition, wanted, writers, rejects if files_rejects else None)
                progress.report(job.run.progress)  # where shards are few, each may take hours
        return {
            "shards": {splits.NAMES[split]: writer.close() for split, writer in writers.items()},
            "rejects": rejects.close(),
        }


def _write_partition(
    job: Job,
    partition: int,
    wanted: list[tuple[int, int]],
    writers: dict[int, "_Writer"],
    rejects: Rejects | None,
) -> None:
    places, rows = gather(job.exchange, job.own("exact", "rows", partition), ROWS), load_examples(job, partition)
    if not len(places):
        return
    placed = gather(job.exchange, pieces_of(job, partition), PLACED)
    text = places["text"].to_numpy()
    row = places["row"].to_numpy()
    split = placed["split"].to_numpy()[text]
    number = _numbers(rows["order"].to_numpy()[row], rows["chance"].to_numpy()[row])
    for each, (low, high) in enumerate(wanted):
        if low < high:
            chosen = np.flatnonzero(split == each)[low:high]
            for start in range(0, len(chosen), ROW_GROUP_ROWS):  # labels of many classes are wide
                some = chosen[start : start + ROW_GROUP_ROWS]
                clusters = placed["cluster"].take(pa.array(text[some]))
                writers[each].write(rows.take(pa.array(row[some])), number[some], clusters)
    if rejects is not None:
        reason = placed["reason"].take(pa.array(text))
        gone = np.flatnonzero((split == splits.NONE) & pc.not_equal(reason, "").to_numpy(zero_copy_only=False))
        details = placed["detail"].take(pa.array(text[gone]))
        rejects.add(rows.take(pa.array(row[gone])), reason.take(pa.array(gone)), details)


class _Writer:
    """One shard being written: its bytes depend on its rows alone."""

    def __init__(self, job: Job, split: int, number: int, names: list[str]) -> None:
        self._job, self._names = job, names
        name = f"{splits.NAMES[split]}-{number:05d}-of-{job.config.shards.num_shards:05d}"
        self._published = f"data/{name}.parquet"
        self._uri = storage.join(job.run.attempt, "data", fresh_name(name))
        self._schema = shard(job, names)
        self._opened = storage.creating(self._uri)
        self._sink = Digesting(self._opened.__enter__())
        self._parquet = pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"),
            self._schema,
            compression="zstd",
            use_dictionary=["input_ids.list.element", "cluster"],
            write_page_index=True,
        )
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._tokens = self._truncated = self._lost = self._longest = 0
        self._whole = np.zeros(LONGEST + 1, np.int64)
        self._labels = np.zeros(len(names), np.int64)
        self._sum = self._squares = 0.0

    def write(self, rows: pa.RecordBatch, number: np.ndarray, cluster: pa.Array) -> None:
        """Add EXAMPLE rows; `number` counts the rows of one key from 0, `cluster` is as in PLACED."""
        lengths = pc.list_value_length(rows["input_ids"])
        made = {
            **{name: rows[name] for name in rows.schema.names},
            "labels": labels.numbered(rows["label"], self._names, self._job.problem),
            "length": lengths,
            "id": _identify(rows, number),
            "cluster": cluster,
        }
        batch = pa.RecordBatch.from_arrays([made[name] for name in self._schema.names], schema=self._schema)
        self._count(made, lengths.to_numpy())
        self._waiting.append(batch)
        while sum(map(len, self._waiting)) >= ROW_GROUP_ROWS:
            joined = pa.Table.from_batches(self._waiting, self._schema)
            self._parquet.write_table(joined.slice(0, ROW_GROUP_ROWS), ROW_GROUP_ROWS)
            self._waiting = joined.slice(ROW_GROUP_ROWS).to_batches()

    def close(self) -> dict[str, Any]:
        """Finish the file and read it back; what the manifest says of it."""
        rest = pa.Table.from_batches(self._waiting, self._schema)
        if rest.num_rows or not self._rows:
            self._parquet.write_table(rest, ROW_GROUP_ROWS)
        self._parquet.close()
        self._opened.__exit__(None, None, None)
        part = {"rows": self._rows, "bytes": self._sink.bytes, "sha256": self._sink.digest.hexdigest()}
        wrong = part_damage(self._uri, part)
        if wrong:
            raise RunError(f"{self._uri} {wrong}, just after it was written; nothing was published")
        return {
            "name": self._uri.rsplit("/", 1)[-1],
            "path": self._published,
            **part,
            "tokens": self._tokens,
            "truncated_rows": self._truncated,
            "truncated_tokens": self._lost,
            "longest": self._longest,
            "lengths": {str(i): int(self._whole[i]) for i in np.flatnonzero(self._whole)},
            "label_counts": self._labels.tolist(),
            "sum": self._sum,
            "squares": self._squares,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is not None and self._parquet.is_open:
            self._sink.muted = True  # or the Parquet writer would try to end the file
            self._parquet.close()
            self._opened.__exit__(kind, error, trace)

    def _count(self, made: dict[str, pa.Array], lengths: np.ndarray) -> None:
        whole = made["whole"].to_numpy()
        self._rows += len(whole)
        self._tokens += int(lengths.sum())
        self._truncated += int((whole > lengths).sum())
        self._lost += int((whole - lengths).sum())
        self._longest = max(self._longest, int(whole.max(initial=0)))
        self._whole += np.bincount(np.minimum(whole, LONGEST), minlength=LONGEST + 1)
        if self._job.problem == "regression":
            values = made["labels"].to_numpy().astype(np.float64)
            self._sum += math.fsum(values)
            self._squares += math.fsum(values**2)
        elif self._job.problem == "multi_label":
            self._labels += made["labels"].flatten().to_numpy().reshape(-1, len(self._names)).sum(0).astype(np.int64)
        else:
            numbers = made["labels"].to_numpy()
            self._labels += np.bincount(numbers[numbers >= 0], minlength=len(self._names))


def _numbers(order: np.ndarray, chance: np.ndarray) -> npt.NDArray[np.int64]:
    """The number of each row among those of its key, which stand together."""
    first = first_of_keys(order, chance)
    begin = np.flatnonzero(first)
    return np.arange(len(order)) - begin[np.cumsum(first) - 1]


def _identify(rows: pa.RecordBatch, number: np.ndarray) -> pa.Array:
    if not rows["id"].null_count:
        return rows["id"]
    digests = hexadecimal(rows["order"].to_numpy(), rows["chance"].to_numpy())
    named = [f"{digest}-{i}" if i else digest for digest, i in zip(digests, number.tolist(), strict=True)]
    return pc.coalesce(rows["id"], pa.array(named, pa.string()))
