"""Text files: one row a line, one column. A blank line is a row, and rejected as one without text."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats.blocks import Block, Fault
from seqcls_beam.reading.formats.columns import Layout, nulled, shown
from seqcls_beam.reading.formats.lines import read_lines
from seqcls_beam.reading.formats.pieces import Piece, sampled

MANY, FEW = 20, 20  # files, lines


def columns(pieces: list[Piece], options: ReadOptions) -> pa.Schema | None:
    """The one column of every text file, under the name that is asked for."""
    return pa.schema([(options.text_column, pa.string())])


def read(file: Any, piece: Piece, layout: Layout) -> Iterator[Block | Fault]:
    """Piece of a text file → blocks."""
    if lacking := other_columns(layout):
        found = list(read_lines(file, piece, layout.options.encoding))
        rows = sum(len(lines) for lines in found if not isinstance(lines, Fault))
        yield Fault(piece.start, "missing_column", lacking, b"", 0, rows, piece.extent)
        yield from (each for each in found if isinstance(each, Fault))
        return
    for lines in read_lines(file, piece, layout.options.encoding):
        if isinstance(lines, Fault):
            yield lines
            continue
        values = lines.array()
        values = (nulled(values, lines.invalid) if lines.invalid else values).cast(pa.string())
        keep = [values for _ in layout.keep]
        yield Block(lines.positions, [values], keep, dict(lines.invalid), lines.raw, lines.consumed)


def other_columns(layout: Layout) -> str:
    """What is wrong where more columns are read than the one that text files have; "" where not."""
    others = [name for name in layout.names if name != layout.options.text_column]
    return f"a text file has no column {shown(others[0])}" if others else ""


def hint(pieces: list[Piece], options: ReadOptions) -> str | None:
    """Whole files → a sentence where their lines are rows and each file may well be meant as one; reads a few."""
    texts = [piece for piece in pieces if piece.format == "text"]
    if len(texts) < MANY:
        return None
    some = lines = 0
    for file, piece in sampled(texts):
        some += 1
        lines += sum(1 if isinstance(each, Fault) else len(each) for each in read_lines(file, piece, options.encoding))
    if lines >= FEW * some:
        return None
    return (
        f"each line of the {len(texts)} text files is a row, and the first files have {lines / some:.0f} lines each; "
        "if a file is one text, say --txt=files"
    )
