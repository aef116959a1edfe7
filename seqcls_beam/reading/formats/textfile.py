"""Text files as one row each: the whole file, at position 0. An empty one is a row, rejected as one without text."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats import blocks
from seqcls_beam.reading.formats.blocks import Block, Fault
from seqcls_beam.reading.formats.columns import Layout
from seqcls_beam.reading.formats.encodings import Undecided, of
from seqcls_beam.reading.formats.inflate import Damaged
from seqcls_beam.reading.formats.lines import OpenRecord
from seqcls_beam.reading.formats.pieces import HEAD, Piece, decoded
from seqcls_beam.reading.formats.signatures import no_text
from seqcls_beam.reading.formats.text import other_columns


def columns(pieces: list[Piece], options: ReadOptions) -> pa.Schema | None:
    """The one column of every text file, under the name that is asked for."""
    return pa.schema([(options.text_column, pa.string())])


def read(file: Any, piece: Piece, layout: Layout) -> Iterator[Block | Fault]:
    """Whole text file → a block of one row, or a fault."""
    if lacking := other_columns(layout):
        yield Fault(0, "missing_column", lacking, b"", 0, 1, piece.size)
        return
    record = OpenRecord(0)
    try:
        for chunk, _ in decoded(file, piece):
            record.add(chunk)
    except Damaged as damage:
        yield replace(record.fault(damage.reason, damage.detail, 0), lost=1)
        return
    if record.size > blocks.MAX_RECORD_BYTES:
        yield record.too_large(piece.size)
        return
    try:
        yield _block(b"".join(record.parts), piece, layout)
    except Undecided as error:
        yield replace(record.fault("unreadable_file", str(error), 0), lost=1)


def _block(raw: bytes, piece: Piece, layout: Layout) -> Block:
    encoding = of(layout.options.encoding)
    if said := no_text(raw[:HEAD], piece.compression):
        raise Undecided(said)
    rejects = {}
    text = None
    try:
        text = encoding.text(raw)
    except UnicodeError as error:
        rejects[0] = encoding.reason, f"the file is not {encoding.name}: {error}"
    values = pa.array([text], pa.string())
    keep = [values for _ in layout.keep]
    return Block(np.zeros(1, np.int64), [values], keep, rejects, lambda _: raw, piece.size)
