"""Text files: one row a line, one column. A blank line is a row, and rejected as one without text."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats.blocks import Block, Fault
from seqcls_beam.reading.formats.columns import Layout, invalid_rows, nulled, valid_utf8
from seqcls_beam.reading.formats.lines import read_lines
from seqcls_beam.reading.formats.pieces import Piece


def columns(pieces: list[Piece], options: ReadOptions) -> pa.Schema | None:
    """The one column of every text file, under the name that is asked for."""
    return pa.schema([(options.text_column, pa.string())])


def read(file: Any, piece: Piece, layout: Layout) -> Iterator[Block | Fault]:
    """Piece of a text file → blocks."""
    for lines in read_lines(file, piece):
        if isinstance(lines, Fault):
            yield lines
            continue
        values = lines.array()
        bad = [] if valid_utf8(values) else invalid_rows(values.to_pylist())
        values = (nulled(values, bad) if bad else values).cast(pa.string())
        rejects = {row: ("invalid_utf8", "the line is not UTF-8") for row in bad}
        yield Block(
            lines.starts + lines.offset, [values], [values for _ in layout.keep], rejects, lines.raw, lines.consumed
        )
