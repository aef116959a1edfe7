"""Some rows of a labelling: the least and the most sure of each label, and rejects, from a few parts of it.

What is read is bounded, however large the run is: some row groups of some parts, spread evenly over the run, and of
each its first rows, 32,768 in all. The same version gives the same rows.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.runs.table import Published

PIECES = 32
"""Row groups that are looked into."""

_ROWS = 32 * 1024  # of all together
_BATCH_BYTES = 2 * 2**20  # of texts that are in memory at a time
_BYTES = 256 * 2**20  # of texts of all together
_LABELS = 12
_SHOWN = 3  # rows of each end of a label
_REJECTS = 12
_REJECTED_PARTS = 8
_CHARACTERS = 500  # that are kept of a text
CELLS = 20
"""Of a label's scores, of one width between 0 and 1."""


@dataclass
class Label:
    """What was seen of one label: how many rows, their scores in cells, and those at both ends."""

    rows: int = 0
    cells: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(CELLS, np.int64))
    least: list[dict[str, Any]] = field(default_factory=list)
    most: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Sample:
    """What was seen."""

    rows: int = 0  # that were looked at
    labels: dict[str, Label] = field(default_factory=dict)
    rejects: list[dict[str, Any]] = field(default_factory=list)


def sample(runs: list[Published], texts: bool) -> Sample:
    """Look into versions; without `texts` at scores and ids alone. Parts that are gone are passed over."""
    found = Sample()
    text, name = text_and_id(runs[0].manifest)
    wanted = ["label", "labels", "score", "scores", *([text] if texts else []), *([name] if name else [])]
    for at, batch in _batches([uri for run in runs for uri in run.uris("parts")], PIECES, wanted, text):
        names = batch.schema.names
        found.rows += batch.num_rows
        _add(found, at, batch, text if texts and text in names else None, name if name in names else None)
    found.labels = dict(sorted(found.labels.items(), key=lambda item: (-item[1].rows, item[0])))
    if texts:
        found.rejects = rejects([uri for run in runs for uri in run.uris("rejects")])
    return found


def text_and_id(manifest: dict[str, Any]) -> tuple[str, str | None]:
    """The columns of the texts and of the ids, which a table may lack; None where texts are their own ids."""
    read = manifest.get("read") or {"text_column": "text", "id_column": "message_id"}
    text, name = read["text_column"], read["id_column"]
    return text, None if name == text else name


def _batches(uris: list[str], pieces: int, columns: list[str], text: str) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(place in the run, rows) of some row groups of some files, as far as these have the columns."""
    few = [uris[place * len(uris) // min(pieces, len(uris))] for place in range(min(pieces, len(uris)))]
    for number, uri in enumerate(few):
        try:
            fs, path = storage.connect(uri)
            with fs.open(path, "rb") as opened:
                file = pq.ParquetFile(opened, pre_buffer=False, buffer_size=2**16)
                groups = file.num_row_groups
                share = min(max(pieces // len(few), 1), groups)
                part = 1 / (len(few) * max(share, 1))
                for place in range(share):
                    group = place * groups // share if share > 1 else number % groups
                    yield from _head(file, group, columns, text, part, (number << 32) + (group << 16))
        except (OSError, pa.ArrowException):  # replaced meanwhile, or damaged: readers of the table are told so
            continue


def _head(
    file: pq.ParquetFile, group: int, columns: list[str], text: str, part: float, at: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The first rows of a row group, so many that they are a `part` of all, as many at a time as go into memory."""
    most, bound = max(int(_ROWS * part), 1), _BYTES * part
    told = file.metadata.row_group(group)
    names = {told.column(place).path_in_schema: told.column(place) for place in range(told.num_columns)}
    size = names[text].total_uncompressed_size if text in names else 0
    rows = max(min(_BATCH_BYTES * max(told.num_rows, 1) // max(size, 1), most), 1)
    columns = [name for name in columns if name in file.schema_arrow.names]
    seen = weight = 0
    for batch in file.iter_batches(rows, [group], columns=columns):
        yield at + seen, batch.slice(0, most - seen)
        seen, weight = seen + batch.num_rows, weight + batch.nbytes
        if seen >= most or weight >= bound:
            return


def _add(found: Sample, at: int, batch: pa.RecordBatch, text: str | None, name: str | None) -> None:
    """Count rows by label, and keep those at both ends."""
    for label, places, scores in _answers(batch):
        if label not in found.labels and len(found.labels) >= _LABELS:
            continue
        of = found.labels.setdefault(label, Label())
        of.rows += len(places)
        of.cells += np.histogram(scores, CELLS, (0.0, 1.0))[0]
        if text is None and name is None:
            continue
        order = np.lexsort((places, scores))
        for kept, ends in ((of.least, order[:_SHOWN]), (of.most, order[::-1][:_SHOWN])):
            kept += [_row(batch, int(places[end]), float(scores[end]), at, text, name) for end in ends.tolist()]
        of.least = heapq.nsmallest(_SHOWN, of.least, key=lambda row: (row["score"], row["at"]))
        of.most = heapq.nsmallest(_SHOWN, of.most, key=lambda row: (-row["score"], row["at"]))


def _answers(batch: pa.RecordBatch) -> Iterator[tuple[str, npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    """(label, places of its rows, their probability of it) of a batch; of a regression what it predicts."""
    names = batch.schema.names
    labels = orjson.loads((batch.schema.metadata or {}).get(b"seqcls_beam.labels", b"[]"))
    if "labels" in names and "scores" in names:
        scores = np.asarray(batch["scores"].flatten().to_numpy(zero_copy_only=False), np.float64)
        if len(scores) != batch.num_rows * len(labels):
            return
        scores = scores.reshape(batch.num_rows, len(labels))
        parents = np.repeat(np.arange(batch.num_rows), batch["labels"].value_lengths().fill_null(0).to_numpy())
        values = batch["labels"].flatten()
        for place, label in enumerate(labels):
            rows = parents[_places(values, label)]
            if len(rows):
                yield label, rows, scores[rows, place]
    elif "score" in names and "label" in names:
        scores = np.asarray(batch["score"].to_numpy(zero_copy_only=False), np.float64)
        for label in sorted(batch["label"].drop_null().unique().to_pylist()):
            places = _places(batch["label"], label)
            yield label, places, scores[places]


def _places(values: pa.Array, label: str) -> npt.NDArray[np.int64]:
    """Where a label stands; numpy would take `a` and `a\\x00` for the same."""
    return np.flatnonzero(pc.equal(values, pa.scalar(label)).fill_null(False).to_numpy(zero_copy_only=False))


def _row(
    batch: pa.RecordBatch, place: int, score: float, at: int, text: str | None, name: str | None
) -> dict[str, Any]:
    value = "" if text is None else str(batch[text][place].as_py())
    return {
        "score": score,
        "at": at + place,
        "text": value[:_CHARACTERS] + ("…" if len(value) > _CHARACTERS else ""),
        "id": None if name is None else str(batch[name][place].as_py()),
    }


def rejects(uris: list[str]) -> list[dict[str, Any]]:
    """Some rejected rows, at first one of each reason."""
    columns = ["source", "position", "reason", "detail", "raw"]
    seen: dict[str, list[dict[str, Any]]] = {}
    for at, batch in _batches(uris, _REJECTED_PARTS, columns, "raw"):
        for place, reason in enumerate(batch["reason"].to_pylist()):
            rows = seen.setdefault(reason, [])
            if len(rows) < _SHOWN and len(seen) <= _REJECTS:
                raw = batch["raw"][place].as_py() or b""
                rows.append(
                    {
                        "at": at + place,
                        "reason": reason,
                        "source": batch["source"][place].as_py(),
                        "position": batch["position"][place].as_py(),
                        "detail": batch["detail"][place].as_py(),
                        "raw": raw[:_CHARACTERS].decode("utf-8", "backslashreplace"),
                    }
                )
    turns = [rows[turn] for turn in range(_SHOWN) for rows in seen.values() if turn < len(rows)]
    return sorted(turns[:_REJECTS], key=lambda row: row["at"])
