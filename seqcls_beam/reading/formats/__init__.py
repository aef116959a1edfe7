"""The file formats: bytes of a piece of a file → blocks of rows.

    columns           which columns are read and kept, and under which types
    blocks            Block → the columns of RECORD: text checks, rejects, kept columns
    inflate, pieces   open a piece, undo its compression
    lines             bytes → whole lines, and which lines belong to a byte range
    json_faults, json_types   what jsonl asks of Python's own JSON parser
    text, jsonl, delimited (csv and tsv), parquet   the formats

A format is a module with two functions: `columns(pieces, options)` looks at the first files and tells the columns they
have, None where no file shows any; `read(file, piece, layout)` yields the blocks and faults of an open piece, in order.
Nothing here knows units or the batches that travel; `seqcls_beam.reading.records` makes them of the blocks.
"""

FORMATS = {
    "text": (".txt",),
    "jsonl": (".jsonl", ".ndjson"),
    "csv": (".csv",),
    "tsv": (".tsv",),
    "parquet": (".parquet",),
}
"""Name of each format, and the extensions it goes by."""

COMPRESSIONS = {".gz": "gz", ".bz2": "bz2", ".xz": "xz", ".zst": "zst"}


def detect(path: str, input_format: str) -> tuple[str, str]:
    """Path → (format, compression), by the extension; raises `ValueError` naming a path that has none we know."""
    name = path.lower()
    suffix = next((each for each in COMPRESSIONS if name.endswith(each)), "")
    compression = COMPRESSIONS.get(suffix, "")
    stem = name.removesuffix(suffix)
    kinds = [kind for kind, suffixes in FORMATS.items() if stem.endswith(suffixes)]
    if input_format == "auto" and not kinds:
        known = " ".join(each for suffixes in FORMATS.values() for each in suffixes)
        raise ValueError(
            f"{path}: no format goes by this extension (known: {known}, each but .parquet also with "
            f"{' '.join(COMPRESSIONS)}); say which it is with --input_format"
        )
    kind = kinds[0] if input_format == "auto" else input_format
    if kind == "parquet" and compression:
        raise ValueError(f"{path}: a Parquet file cannot be read from the middle of a {suffix} stream; decompress it")
    return kind, compression


def splittable(format: str, compression: str) -> bool:
    """Whether a file can be cut: text and jsonl by bytes, parquet by row groups.

    A csv or tsv file cannot: whether a line end stands between quotes is known only to one who has read the
    file from its beginning.
    """
    return not compression and format in ("text", "jsonl", "parquet")
