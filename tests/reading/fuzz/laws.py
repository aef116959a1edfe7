"""What must hold of a damaged file, whatever the damage; a verdict says in which of the allowed ways it did.

    whole    every row is what was written
    lost     rows are missing, every one of them accounted for, and the others are what was written
    changed  rows differ from what was written, and the plain decoder of the format reads the same

Anything else raises, a broken law as `Fault`.
"""

import bz2
import lzma
import re
import zlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.files import list_files
from seqcls_beam.reading.records import Layout, plan_layout, read_unit
from seqcls_beam.reading.units import plan_units
from seqcls_beam.schema import LOSSES, Mark
from tests.reading.fuzz.corpus import Base

Stage = Callable[[str], None]  # told what is done next, for the case that it ends the process


class Fault(Exception):
    """A law is broken."""


def holds(law: bool, sentence: str) -> None:
    if not law:
        raise Fault(sentence)


class Rows:
    """What the reader made of one file."""

    def __init__(self, path: str, batches: list[pa.RecordBatch]) -> None:
        for batch in batches:
            batch.validate(full=True)
        table = pa.Table.from_batches([batch.replace_schema_metadata(None) for batch in batches])
        table = table.filter(pa.array([source == path for source in table["source"].to_pylist()], pa.bool_()))
        self.good = table.filter(table["reject"].is_null())
        self.reasons = [row["reason"] for row in table["reject"].to_pylist() if row is not None]
        self.losses = [reason for reason in self.reasons if reason in LOSSES]
        inputs = [piece for batch in batches for piece in Mark.of(batch).inputs if piece["path"] == path]
        costs = [loss for piece in inputs for loss in piece["losses"]]
        self.rows = sum(piece["rows"] for piece in inputs)
        self.lost = sum(cost["rows"] or 0 for cost in costs)
        self.lost_bytes = sum(cost["bytes"] for cost in costs)
        size, positions = inputs[0]["size"], table["position"].to_pylist()
        holds(self.rows == len(table) - len(self.losses), f"{len(table)} rows were read, {self.rows} are accounted for")
        holds(positions == sorted(positions), "rows are out of order")
        holds([cost["reason"] for cost in costs] == self.losses, f"{self.losses} are told as {costs}")
        # What a cut has taken away is in no file, and nobody can weigh it.
        light = [c for c in costs if c["rows"] is None and not c["bytes"] and c["reason"] != "truncated_file" and size]
        holds(not light, f"weighs nothing: {light}")
        holds(self.lost_bytes <= size, f"{self.lost_bytes} bytes of {size} are lost")

    def columns(self) -> pa.Table:
        """The good rows as they were in the file."""
        kept = self.good["keep"].combine_chunks()
        parts = {field.name: kept.field(i) for i, field in enumerate(kept.type)}
        return pa.table({**parts, "text": self.good["text"]})

    def strangers(self, there: pa.Table, begin: int = 0) -> list[int]:
        """Positions of good rows that differ from those rows, of which the first stands at `begin`."""
        mine, at = self.columns(), self.good["position"].to_pylist()
        types = {field.name: field.type for field in there.schema}
        names = [field.name for field in mine.schema if types.get(field.name) == field.type]
        within = [i for i, position in enumerate(at) if begin <= position < begin + len(there)]
        mine = mine.select(names).take(pa.array(within, pa.int64()))
        there = there.select(names).take(pa.array([at[i] - begin for i in within], pa.int64()))
        if mine.equals(there):
            return []
        return [at[i] for k, i in enumerate(within) if not mine.slice(k, 1).equals(there.slice(k, 1))]


def planned(path: Path, unit_bytes: int, like: str | None = None, **how: Any) -> tuple[Layout, list[pa.RecordBatch]]:
    """A file → its units, and the layout that it has, or that another one has."""
    options = ReadOptions(input=(like or str(path), str(path)), **how)
    files = list_files(options)
    return plan_layout(files.slice(0, 1), options), plan_units(files.slice(len(files) - 1), unit_bytes)


def read(layout: Layout, units: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Units → all that the reader makes of them."""
    return [batch for unit in units for batch in read_unit(unit, layout)]


def written(base: Base) -> pa.Table:
    """The rows of a file as they were before it was damaged."""
    with pa.ipc.open_file(base.rows) as file:
        return file.read_all()


def parquet(base: Base, path: Path, stage: Stage) -> str:
    """Rows and losses are as many as the footer says; good rows are those that were written, or that pyarrow reads."""
    stage("as one of several")
    layout, units = planned(path, 2**30, base.path, **base.options)
    verdict = _parquet(base, path, Rows(str(path), read(layout, units)), stage)
    stage("alone")
    try:
        layout, units = planned(path, 1, batch_rows=25, **base.options)  # a piece for each row group
    except ValueError as error:
        if type(error) is not ValueError:  # pyarrow's own and those of decoding are no sentence for people
            raise
        return verdict
    _parquet(base, path, Rows(str(path), read(layout, units)), stage)
    return verdict


def _parquet(base: Base, path: Path, found: Rows, stage: Stage) -> str:
    stage(f"pyarrow, after {found.losses}")
    try:
        footer = pq.read_metadata(path)
        groups = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        footer, groups = None, []
    if footer is None or "unreadable_file" in found.losses:
        holds(found.losses == ["unreadable_file"], f"there is no footer, and {found.losses}")
        size = path.stat().st_size
        holds(
            (found.rows, found.lost_bytes) == (0, size),
            f"{found.lost_bytes} bytes of {size} are lost",
        )
        return "lost"
    there, accounted = sum(groups), found.rows + found.lost
    holds(
        accounted in (there, footer.num_rows),
        f"{there} rows are there, read {found.rows}, lost {found.lost}",
    )
    holds(there == footer.num_rows or bool(found.losses), f"{footer.num_rows} rows or {there}, and nothing is said")
    holds(base.readable or not found.rows, "an encrypted column was read")
    before = written(base)
    strange = {*found.strangers(before), *(p for p in found.good["position"].to_pylist() if p >= len(before))}
    if strange:
        _seen_by_pyarrow(base, path, groups, found, strange)
        return "changed"
    return "lost" if found.losses else "whole"


def _seen_by_pyarrow(base: Base, path: Path, groups: list[int], found: Rows, strange: set[int]) -> None:
    """Strange rows are those that pyarrow reads; where it fails and nothing guards the bytes, they may be any."""
    names = found.columns().column_names
    begin = 0
    for group, rows in enumerate(groups):
        here = sorted(position for position in strange if begin <= position < begin + rows)
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                plain = file.read_row_group(group, columns=names, use_threads=False)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            holds(not base.checked or not here, f"rows {here} are wrong, and their page is damaged: {error}")
        else:
            columns = [c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in plain.columns]
            differ = found.strangers(pa.table(columns, names=plain.column_names), begin)
            holds(not differ, f"rows {differ} are not what pyarrow reads")
        begin += rows


def compressed(base: Base, path: Path, stage: Stage) -> str:
    """Rows are the lines of what decodes in full; of other files they are the first that were written."""
    stage("lines")
    layout, units = planned(path, 2**30)
    found = Rows(str(path), read(layout, units))
    lines = written(base)["text"].to_pylist()
    ends = [0]
    for line in lines:
        ends.append(ends[-1] + len(line.encode()) + 1)
    damaged = path.read_bytes()
    data = _unpacked(damaged, path.suffix[1:])
    if data is None:
        holds(len(found.losses) == 1, f"the data is damaged, and what is lost is {found.losses}")
        if not base.checked or _unguarded(damaged):
            return "lost"
        lines, ends = lines[: found.rows], ends[: found.rows + 1]
    else:
        holds(not found.losses, f"all of it decodes, and {found.losses}")
        if data != "".join(f"{line}\n" for line in lines).encode():
            return "changed"
    holds(found.good["text"].to_pylist() == lines, "the rows are not the lines that were packed")
    holds(found.good["position"].to_pylist() == ends[:-1], "the rows stand elsewhere than the lines that were packed")
    return "lost" if found.losses else "whole"


def _unguarded(data: bytes) -> bool:
    """Whether a frame of zst says that it has no checksum: the byte that says so is guarded by none."""
    frames = [data[at.start() :] for at in re.finditer(re.escape(zstandard.FRAME_HEADER), data)]
    try:
        return not all(zstandard.get_frame_parameters(frame).has_checksum for frame in frames)
    except zstandard.ZstdError:
        return False  # nothing can be decoded behind such a header


def bounded(base: Base, path: Path, stage: Stage) -> str:
    """The first batches of a file come in the memory that the process has; what they hold is told elsewhere."""
    stage("first batches")
    layout, units = planned(path, 2**30)
    for batch in islice(read_unit(units[0], layout), 8):
        assert batch.nbytes < 2**28
    return "whole"


_NEW: dict[str, Callable[[], Any]] = {
    "gz": lambda: zlib.decompressobj(wbits=31),
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ),
    "zst": lambda: zstandard.ZstdDecompressor().decompressobj(),
}


def _unpacked(data: bytes, kind: str) -> bytes | None:
    """What is in a compressed file; None where any of it cannot be decoded or does not fit its checksum."""
    parts: list[bytes] = []
    while data or not parts:
        if parts and kind in ("gz", "xz") and not data.strip(b"\0"):
            break  # padding
        decoder = _NEW[kind]()
        try:
            parts.append(decoder.decompress(data))
        except (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, EOFError, ValueError):
            return None
        if not decoder.eof:
            return None
        data = decoder.unused_data
    return b"".join(parts)
