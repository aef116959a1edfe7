"""Prepared shards → flat arrays, mapped into memory.

Parquet must be decoded, so each split is decoded once per machine, row group by row group, into plain `.npy` files in
the cache: the token ids of all rows one after the other, and where each row begins. All processes on the machine map
the same files, and none holds more than the rows in hand. Arrow's own file format would cut the ids into record
batches, each with offsets of its own.
"""

import hashlib
import io
import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.cache import locked
from seqcls_beam.preparation.prepared import Prepared
from seqcls_beam.runs.run import RunError

Array = npt.NDArray[Any]

SPLITS = ("train", "validation", "test")
_CACHED = "rows1"  # what the files in the cache look like; another layout needs another name


@dataclass(frozen=True)
class Split:
    """The rows of a split, as flat arrays that are mapped, not read."""

    ids: Array  # int32 [T], special tokens included
    offsets: Array  # int64 [N + 1]: row i is ids[offsets[i] : offsets[i + 1]]
    types: Array | None  # int8 [T], where the model tells sentences apart
    labels: Array  # int64 [N] class numbers, float32 [N, classes] of 0 and 1, or float32 [N]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> Array:
        """Tokens of each row, int64 [N]."""
        return np.diff(self.offsets)


def load_split(prepared: Prepared, split: str) -> Split:
    """Decode a split into the cache of this machine, unless it is there, and map it.

    Raises `RunError` for shards that are damaged, or whose labels are not those of the manifest.
    """
    digests = "".join(part["sha256"] for part in prepared.shards(split))
    name = f"{_CACHED}-{hashlib.sha256(digests.encode()).hexdigest()[:32]}"
    try:
        with locked(name) as folder:
            if not folder.exists():
                aside = folder.with_suffix(".aside")  # what a killed process left there is overwritten
                shutil.rmtree(aside, ignore_errors=True)
                aside.mkdir()
                _decode(prepared, split, aside)
                aside.rename(folder)
    except OSError as error:
        raise RunError(
            f"the {split} rows of {prepared.folder} cannot be decoded into the cache ({error}); SEQCLS_BEAM_CACHE "
            "names another folder for it"
        ) from error
    found = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
    made = Split(found["ids"], found["offsets"], found.get("types"), found["labels"])
    _check_labels(prepared, split, made)
    return made


def _decode(prepared: Prepared, split: str, folder: Path) -> None:
    rows = sum(part["rows"] for part in prepared.shards(split))
    tokens = int(prepared.manifest["splits"][split]["tokens"])
    made: dict[str, Array] = {}
    row = token = 0
    for batch in _batches(prepared, split):
        ids = batch["input_ids"]
        columns = {"ids": _flat(ids), "labels": _labels(batch["labels"])}
        if "token_type_ids" in batch.schema.names:
            columns["types"] = _flat(batch["token_type_ids"])
        lengths = np.diff(ids.offsets.to_numpy())
        for name, values in {**columns, "offsets": lengths.astype(np.int64)}.items():
            if name not in made:
                size = {"labels": rows, "offsets": rows + 1}.get(name, tokens)
                path = folder / f"{name}.npy"
                made[name] = np.lib.format.open_memmap(path, "w+", values.dtype, (size, *values.shape[1:]))
                with path.open("r+b") as file:  # a disk that is full must say so now, not kill who writes to the map
                    os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        for name, values in columns.items():
            start = row if name == "labels" else token
            made[name][start : start + len(values)] = values
        made["offsets"][row + 1 : row + 1 + len(lengths)] = token + np.cumsum(lengths)
        row, token = row + len(lengths), token + int(lengths.sum())
    if (row, token) != (rows, tokens):
        raise RunError(
            f"{prepared.folder}: the {split} shards hold {row:,} rows of {token:,} tokens, and the manifest speaks of "
            f"{rows:,} of {tokens:,}"
        )
    for values in made.values():
        values.flush()  # type: ignore[attr-defined]


def _batches(prepared: Prepared, split: str) -> Iterator[pa.RecordBatch]:
    """The row groups of a split in order; the next shard is fetched while one is decoded."""
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(prepared.shards(split))
        coming: Future[bytes] | None = pool.submit(_fetch, prepared, waiting.popleft())
        while coming is not None:
            data = coming.result()
            coming = pool.submit(_fetch, prepared, waiting.popleft()) if waiting else None
            file = pq.ParquetFile(io.BytesIO(data))
            names = [name for name in ("input_ids", "token_type_ids", "labels") if name in file.schema_arrow.names]
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group, columns=names).combine_chunks().to_batches()


def _fetch(prepared: Prepared, part: dict[str, Any]) -> bytes:
    uri = storage.join(prepared.folder, part["path"])
    try:
        data = storage.read(uri)
    except FileNotFoundError:
        raise RunError(f"{uri} is gone; the manifest names it: prepare the data again") from None
    if hashlib.sha256(data).hexdigest() != part["sha256"]:
        raise RunError(f"{uri} does not have the bytes that its manifest speaks of: prepare the data again")
    return data


def _flat(lists: pa.ListArray) -> Array:
    return np.asarray(lists.flatten().to_numpy(zero_copy_only=False))


def _labels(values: pa.Array) -> Array:
    if not pa.types.is_list(values.type):
        return np.asarray(values.to_numpy(zero_copy_only=False))
    return _flat(values).reshape(len(values), -1)


def _check_labels(prepared: Prepared, split: str, rows: Split) -> None:
    classes, labels = len(prepared.labels), rows.labels
    wrong = None
    if not len(rows):
        return
    if prepared.problem == "single_label":
        if split != "test" and labels.min() < 0:
            wrong = f"{int((labels < 0).sum()):,} rows have no label"
        elif labels.max() >= classes:
            wrong = f"a row has the class {labels.max()}, and there are {classes} labels"
    elif prepared.problem == "multi_label" and labels.shape[1:] != (classes,):
        wrong = f"a row has {labels.shape[1]} labels, and there are {classes}"
    if wrong:
        raise RunError(f"{prepared.folder}: {wrong}, in the {split} split: prepare the data again")
