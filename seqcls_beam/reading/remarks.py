"""What is worth saying of an input before it is read."""

import csv
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading import folders
from seqcls_beam.reading.files import Listing
from seqcls_beam.reading.formats.blocks import Fault
from seqcls_beam.reading.formats.columns import shown
from seqcls_beam.reading.formats.encodings import of, wide
from seqcls_beam.reading.formats.inflate import Damaged
from seqcls_beam.reading.formats.lines import read_lines
from seqcls_beam.reading.formats.pieces import SAMPLE, Piece, decoded, sampled
from seqcls_beam.reading.formats.text import hint
from seqcls_beam.reading.records import plan_layout

_NAMED = 3
_LOOK = 2**12  # bytes of a file that show in what it is encoded
_OPEN = 20  # lines that a record which a sample cuts through may have before the cut


def remarks(listing: Listing, options: ReadOptions) -> tuple[str, ...]:
    """A sentence each: what was skipped and excluded, what `--exclude` did not find, what could be read otherwise.

    Raises `ValueError` for tsv files whose fields are quoted, unless `options` say what a quote is.
    """
    said = []
    if listing.skipped:
        said.append(f"{len(listing.skipped):,} skipped, known to be no data: {_some(listing.skipped)}")
    if listing.repeated:
        said.append(f"{len(listing.repeated):,} skipped, read under another name: {_some(listing.repeated)}")
    if listing.excluded:
        said.append(f"{_files(listing.excluded)} left out by --exclude")
    if listing.unused:
        said.append(f"--exclude={_some(listing.unused)} leaves out nothing")
    said += _twice(listing, options)
    pieces = [Piece(**row) for row in listing.files.slice(0, 1000).to_pylist()]
    if any(piece.name == "-" and not piece.size for piece in pieces):
        said.append("the standard input was empty")
    return (*said, *filter(None, [_wide(pieces, options), _quotes(pieces, options), hint(pieces, options)]))


def _wide(pieces: list[Piece], options: ReadOptions) -> str | None:
    """Whole files → a sentence where one seems to be in UTF-16 or UTF-32, and is read as something else."""
    if of(options.encoding).unit.itemsize > 1:
        return None
    for file, piece in sampled([piece for piece in pieces if piece.format != "parquet"]):
        with suppress(Damaged):
            for chunk, _ in decoded(file, piece):
                if name := wide(chunk[:_LOOK]):
                    return f"{piece.name} seems to be in {name.upper()}: if it is, say --encoding={name}"
                break
    return None


def _twice(listing: Listing, options: ReadOptions) -> Iterator[str]:
    """Columns that the first files have, and their folders, too."""
    if not folders.names(listing.files, options):
        return
    with suppress(ValueError):  # who plans the run raises it, if it matters there
        layout = plan_layout(listing.files, options)
        for name in layout.both:
            kept = "keep_columns" in options.naming and name in layout.folders
            taken = f"the folders'; --keep_columns={name} takes the files'" if kept else "what stands in the files"
            yield f"the first files have a column {shown(name)}, and folders are called {name}=…: taken is {taken}"


def _quotes(pieces: list[Piece], options: ReadOptions) -> str | None:
    """Whole files → a sentence where fields of the tsv files among them stand in quotes, which are read as text.

    Raises `ValueError` where nothing speaks for text.
    """
    if options.quote is not None:
        return None
    for file, piece in sampled([piece for piece in pieces if piece.format == "tsv"]):
        cut = piece.size > SAMPLE or piece.compression != ""
        found = [each for each in read_lines(file, piece, options.encoding) if not isinstance(each, Fault)]
        lines = [each.line(line).decode(errors="replace") for each in found for line in range(len(each))]
        lines = lines[:-1] if cut else lines
        if not any('"' in line for line in lines):
            continue
        sign = "\t" if options.delimiter in (None, "\\t") else options.delimiter
        plain = [line.split(sign) for line in lines if line]
        width = len(options.column_names or plain[0])
        quoted = list(_records(lines, sign, cut))
        fits = len(quoted) > 1 and all(record is not None and len(record) == width for record in quoted)
        wrapped = [each for each in chain(*plain) if len(each) > 1 and each[0] == each[-1] == '"']
        doubled = [each for each in wrapped if '""' in each[1:-1] and '"' not in each[1:-1].replace('""', "")]
        ragged = [sign.join(each) for each in plain if len(each) != width and any('"' in field for field in each)]
        if fits and (doubled or ragged):
            raise ValueError(
                f"{piece.name}: fields stand in quotes, as in {shown((doubled or ragged)[0])}: if the quotes quote "
                "them, as pandas and csv write it, say --quote='\"'; if they are text, --quote=''"
            )
        if doubled or (fits and wrapped):
            return (
                f"fields of {piece.name} stand in quotes, as {shown((doubled or wrapped)[0])}, which are read as text: "
                "if they quote the fields, say --quote='\"'; if not, --quote='' says so"
            )
    return None


def _records(lines: list[str], sign: str, cut: bool) -> Iterator[list[str] | None]:
    """Lines → the fields of their records where quotes quote; None for what is not so written."""
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=sign, quotechar='"', strict=True)
    past = 0
    try:
        for record in reader:
            past = reader.line_num
            if record:
                yield record
    except csv.Error:
        if not cut or past < len(lines) - _OPEN or reader.line_num < len(lines):
            yield None


def _files(count: int) -> str:
    return f"{count:,} file{'s'[: count != 1]}"


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMED
    return ", ".join(map(shown, names[:_NAMED])) + (f" and {more:,} more" if more > 0 else "")
