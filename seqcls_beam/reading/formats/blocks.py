"""Blocks, rows as the format modules hand them over → the columns of RECORD.

Here, for all formats alike: what makes a text unfit, and how a rejected row looks. Knows no format.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.reading.formats.classes import Classes, strange
from seqcls_beam.reading.formats.columns import Layout, nulled, shown, taken, true_rows
from seqcls_beam.rows import leaves
from seqcls_beam.schema import REJECT_VALUE, record

MAX_RECORD_BYTES = 16 * 2**20  # a larger record is rejected
MAX_RAW_BYTES = 64 * 2**20  # of a rejected record with more bytes …
CLIPPED_BYTES = 2**20  # … only the first so many are kept
MAX_CELLS = 2**22  # of rows that are made at once, nulls among them: a row without values has as many as any


@dataclass(frozen=True)
class Block:
    """Rows of one file, in order."""

    positions: np.ndarray  # int64 [rows], as RECORD has them
    texts: list[pa.Array]  # string [rows], for each text column
    keep: list[pa.Array]  # [rows], for each kept column, of its type
    rejects: dict[int, tuple[str, str]]  # row → (reason, detail); whatever its columns hold is not looked at
    raw: Callable[[int], bytes]  # row → its bytes as read
    consumed: int  # input bytes of the piece read so far
    called: dict[str, Classes] = field(default_factory=dict)  # kept columns whose numbers the file may have names for


@dataclass(frozen=True)
class Fault:
    """A record, or what cannot be read of a file, of which no row can be made: one rejected row stands for it.

    A reason of `schema.LOSSES` says that rows are lost. How many is known (`lost`), or it is what the bytes that were
    not read are worth: `lost_bytes`, and where that is not said all of the piece behind `consumed`.
    """

    position: int
    reason: str
    detail: str
    raw: bytes
    consumed: int  # input bytes of the piece read so far
    lost: int | None = None
    lost_bytes: int | None = None
    missing: int | None = None  # decoded bytes behind the end of a file that ends early, where it says how many

    def block(self, layout: Layout) -> Block:
        """Fault → a block of one rejected row."""
        return Block(
            positions=np.array([self.position], np.int64),
            texts=[pa.nulls(1, pa.string()) for _ in layout.texts],
            keep=[pa.nulls(1, each.type) for each in layout.keep],
            rejects={0: (self.reason, self.detail)},
            raw=lambda _: self.raw,
            consumed=self.consumed,
        )


def rows_at_once(schema: pa.Schema) -> int:
    """How many rows of some columns may be made at once."""
    return max(1, MAX_CELLS // max(1, sum(leaves(each.type) for each in schema)))


def columns_schema(layout: Layout) -> pa.Schema:
    """RECORD without `source`."""
    full = record(layout.keep, layout.options.text_pair_column is not None)
    return pa.schema([each for each in full if each.name != "source"])


def to_columns(block: Block, layout: Layout) -> pa.RecordBatch:
    """Block → RECORD without `source`, row for row. Of several faults of a row the first that was found is told."""
    rows = len(block.positions)
    rejects = dict(block.rejects)
    for name, values in zip(layout.texts, block.texts, strict=True):
        for unfit, fault in _unfit(values, name):
            rejects = dict.fromkeys(unfit, fault) | rejects
    for kept, values in zip(layout.keep, block.keep, strict=True):
        rejects = strange(values, kept, block.called.get(kept.name), layout) | rejects
    texts, keep = block.texts, block.keep
    if rejects:
        texts, keep = [nulled(each, rejects) for each in texts], [nulled(each, rejects) for each in keep]
    return pa.RecordBatch.from_arrays(
        [
            pa.array(block.positions, pa.int64()),
            *texts,
            _struct(keep, layout.keep, rows),
            _reject_column(rejects, block.raw, rows),
        ],
        schema=columns_schema(layout),
    )


def _unfit(values: pa.Array, name: str) -> Iterator[tuple[list[int], tuple[str, str]]]:
    """Rows of a text column that no model can read, with (reason, detail)."""
    if values.null_count:
        yield true_rows(values.is_null()), ("missing_text", f"{shown(name)} is absent or null")
    lengths = pc.binary_length(values)
    longest = pc.max(lengths).as_py()
    if longest is None:
        return
    if longest > MAX_RECORD_BYTES:
        for row in true_rows(pc.greater(lengths, MAX_RECORD_BYTES)):
            size = lengths[row].as_py()
            yield [row], ("record_too_large", f"{shown(name)} has {size} bytes; at most {MAX_RECORD_BYTES}")
    if _holds_nul(values):
        yield true_rows(pc.match_substring(values, "\0")), ("nul_byte", f"{shown(name)} contains U+0000")
    yield true_rows(pc.equal(lengths, 0)), ("empty_text", f"{shown(name)} is empty")
    yield true_rows(pc.utf8_is_space(values)), ("empty_text", f"{shown(name)} is white space")


def _holds_nul(values: pa.Array) -> bool:
    """Whether any string has a zero byte: one look at the bytes of all, since almost none ever has."""
    _, offsets, data = values.buffers()
    if data is None:
        return False
    ends = np.frombuffer(offsets, np.int32)
    used = np.frombuffer(data, np.uint8)[ends[values.offset] : ends[values.offset + len(values)]]
    return bool(len(used)) and not used.min()


def _struct(children: list[pa.Array], schema: pa.Schema, rows: int) -> pa.Array:
    if not children:  # from_arrays cannot tell how long an array of nothing is
        return pa.StructArray.from_buffers(pa.struct([]), rows, [None])
    return pa.StructArray.from_arrays(children, fields=list(schema))


def clipped(size: int) -> str:
    """What the detail of a reject says where not all of its bytes are kept."""
    return f"; `raw` is the first {CLIPPED_BYTES} of its {size} bytes"


def _reject_column(rejects: dict[int, tuple[str, str]], raw: Callable[[int], bytes], rows: int) -> pa.Array:
    if not rejects:
        return pa.nulls(rows, REJECT_VALUE)
    bad = sorted(rejects)
    raws = [raw(row) for row in bad]
    details = [rejects[row][1] for row in bad]
    for place, each in enumerate(raws):
        if len(each) > MAX_RAW_BYTES:
            details[place] += clipped(len(each))
            raws[place] = each[:CLIPPED_BYTES]
    columns = [["read"] * len(bad), [rejects[row][0] for row in bad], _writable(details), raws]
    fields = list(REJECT_VALUE)
    made = [pa.array(values, field.type) for values, field in zip(columns, fields, strict=True)]
    index = np.zeros(rows, np.int64)
    good = np.ones(rows, bool)
    index[bad] = np.arange(len(bad))
    good[bad] = False
    return taken(pa.StructArray.from_arrays(made, fields=fields), pa.array(index, mask=good))


def _writable(details: list[str]) -> list[str]:
    """Sentences that may quote what is no character, that as escapes."""
    try:
        "".join(details).encode()
    except UnicodeEncodeError:
        return [each.encode("utf-8", "backslashreplace").decode() for each in details]
    return details
