"""The file formats: bytes of a piece of a file → blocks of rows.

    columns           which columns are read and kept, and under which types
    blocks            Block → the columns of RECORD: text checks, rejects, kept columns
    classes           what class numbers are called, file by file
    fitting           an Arrow column from elsewhere, brought under its type
    inflate, pieces   open a piece, undo its compression
    witness           what was read of a file, to be asked for once more
    lines             bytes → whole lines, and which lines belong to a byte range
    fed               lines as the reader of csv is fed with them
    encodings         what bytes are as text
    signatures        first bytes of what is no text
    json_text, json_faults, json_types   JSON lines that the fast parser does not take; the types of columns
    json_shapes       JSON that is no JSON lines, and what makes lines of it
    text, textfile, jsonl, delimited (csv and tsv), parquet   the formats

A format is a module with two functions: `columns(pieces, options)` looks at the first files and tells the columns they
have, None where no file shows any; `read(file, piece, layout)` yields the blocks and faults of an open piece, in order.
Nothing here knows units or the batches that travel; `seqcls_beam.reading.records` makes them of the blocks.
"""

import re
from urllib.parse import urlsplit

from seqcls_beam.reading.formats.encodings import cuttable

FORMATS = {
    "text": (".txt",),
    "textfile": (),  # a .txt file that is one row
    "jsonl": (".jsonl", ".ndjson"),
    "csv": (".csv",),
    "tsv": (".tsv",),
    "parquet": (".parquet", ".parq", ".pq"),
}
"""Name of each format, and the extensions it goes by."""

COMPRESSIONS = {".gz": "gz", ".bz2": "bz2", ".xz": "xz", ".zst": "zst"}

_UNPACK = "is an archive: unpack it, and name the files that were in it"
_DECOMPRESS = "is compressed in a way that is not read: decompress it, or compress it with gzip or zstd"
_SHEET = "is a spreadsheet: save each sheet as CSV"
_DOCUMENT = "is a document: take the text out of it, a row of .jsonl or .csv each"
_WITH_PYARROW = 'is not read: write it as Parquet, python -c "import pyarrow.{0} as i, pyarrow.parquet as o; {1}"'
_FOREIGN = {
    (".json", ".geojson"): (
        "may be one array, or have an object in each line: of an array make lines with jq -c '.[]' a.json > a.jsonl; "
        "where each line is an object, say --input_format=jsonl"
    ),
    (".avro",): "is an Avro file: write it as Parquet or as JSON lines",
    (".orc",): _WITH_PYARROW.format("orc", "o.write_table(i.read_table('a.orc'), 'a.parquet')"),
    (".feather", ".arrow"): _WITH_PYARROW.format("feather", "o.write_table(i.read_table('a.arrow'), 'a.parquet')"),
    (".xlsx", ".xls", ".ods"): _SHEET,
    (".pdf", ".doc", ".docx", ".odt", ".rtf", ".html", ".htm", ".xml"): _DOCUMENT,
    (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar"): _UNPACK,
    (".lz4", ".br", ".sz", ".snappy", ".lzma", ".z"): _DECOMPRESS,
}
"""Other extensions that people have, and what to do with such a file."""

_NO_DATA = re.compile(
    r"[_.].*|.*(~|\.md|\.md5|\.sha1|\.sha256|\.sha512|\.crc|\.asc|\.sig|_\$folder\$)"
    r"|thumbs\.db|desktop\.ini|icon\r",
    re.DOTALL,
)
_ABOUT_DATA = ("readme", "license", "licence", "copying", "checksum", "md5sum", "sha1sum", "sha256sum", "sha512sum")


def detect(path: str, input_format: str, txt: str = "lines") -> tuple[str, str]:
    """Path → (format, compression), by the extension; raises `ValueError` naming a path that has none we know.

    `input_format` and `txt` are the options: the format of all files or "auto", and what a row of text is.
    """
    name = (urlsplit(path).path if path.startswith(("http://", "https://")) else path).casefold()
    suffix = next((each for each in COMPRESSIONS if name.endswith(each)), "")
    compression = COMPRESSIONS.get(suffix, "")
    stem = name.removesuffix(suffix)
    kinds = [kind for kind, suffixes in FORMATS.items() if stem.endswith(suffixes)]
    if not kinds:
        _refuse_foreign(path, stem, input_format)
    kind = kinds[0] if input_format == "auto" else input_format
    if kind == "parquet" and compression:
        raise ValueError(f"{path}: a Parquet file cannot be read from the middle of a {suffix} stream; decompress it")
    return "textfile" if kind == "text" and txt == "files" else kind, compression


def _refuse_foreign(path: str, stem: str, input_format: str) -> None:
    """Raise `ValueError` for an extension that is none of ours, unless `input_format` says what can be there."""
    hint = next((hint for suffixes, hint in _FOREIGN.items() if stem.endswith(suffixes)), None)
    if hint == _UNPACK:
        raise ValueError(f"{path} {hint}")
    if input_format != "auto":
        return
    if hint:
        cure = "" if "--input_format" in hint else "; or say with --input_format what else it is"
        raise ValueError(f"{path} {hint}{cure}")
    known = " ".join(each for suffixes in FORMATS.values() for each in suffixes)
    raise ValueError(
        f"{path}: no format goes by this extension (known: {known}, each but those of Parquet also with "
        f"{' '.join(COMPRESSIONS)}); say which it is with --input_format"
    )


def no_data(name: str) -> bool:
    """Whether a file of that name, or a folder, is known to hold no records: hidden, a README, checksums …"""
    name = name.casefold()
    if not name.startswith(_ABOUT_DATA):
        return _NO_DATA.fullmatch(name) is not None
    # readme_reviews.csv is data, and so is checksums.jsonl; readme.txt is not.
    stem, *extensions = name.split(".")
    named = any(f".{each}" in suffixes for each in extensions for suffixes in FORMATS.values())
    return not named or (extensions == ["txt"] and stem.removesuffix("s") in _ABOUT_DATA)


def splittable(format: str, compression: str, encoding: str = "utf-8") -> bool:
    """Whether a file can be cut: text and jsonl by bytes, where lines are found from the middle; parquet by row groups.

    A csv or tsv file cannot: whether a line end stands between quotes is known only to one who has read the
    file from its beginning.
    """
    return not compression and (format == "parquet" or (format in ("text", "jsonl") and cuttable(encoding)))
