"""Files of some kilobytes that are gigabytes when they are decoded, and the like of it in plain files.

Each is written below a folder; `scale` is how many times a thousandth of its full size it has.
"""

import bz2
import gzip
import lzma
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

MIB = 2**20
WORDS = ("word and " * MIB)[:MIB]


def packed(path: Path, parts: Iterator[bytes]) -> Path:
    """Bytes, written by the compressor that the name of the file means."""
    if path.suffix == ".zst":
        with path.open("wb") as file, zstandard.ZstdCompressor(19).stream_writer(file) as out:
            _write(out, parts)
        return path
    opened: Any = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(path.suffix, open)
    with opened(path, "wb") as out:
        _write(out, parts)
    return path


def _write(out: Any, parts: Iterator[bytes]) -> None:
    for part in parts:
        out.write(part)


def alike(value: str, rows: int) -> pa.DictionaryArray:
    """A value, so many times."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value]))


def dictionary(path: Path, rows: int, **columns: Any) -> Path:
    """Parquet whose columns are a value each, a list of values, or `alike`."""
    table = pa.table({name: alike(of, rows) if isinstance(of, str) else of for name, of in columns.items()})
    pq.write_table(table, path, compression="zstd", store_schema=False, row_group_size=2**26)
    return path


def of_text(folder: Path, scale: int) -> Path:
    return dictionary(folder / "text.parquet", 20 * scale, text=WORDS, label=["a", "b"] * 10 * scale)


def of_kept(folder: Path, scale: int) -> Path:
    rows = 20 * scale
    texts = [f"good {row}" for row in range(rows)]
    return dictionary(folder / "kept.parquet", rows, text=texts, kept=WORDS, label=["a", "b"] * 10 * scale)


def of_gold(folder: Path, scale: int) -> Path:
    """Rows with answers, of which the text and the id are a megabyte each."""
    answers = ["a", "b"] * 10 * scale
    columns = {"label": answers, "gold": answers, "text": WORDS, "id": WORDS[1:]}
    return dictionary(folder / "gold.parquet", 20 * scale, **columns)


def of_short_lines(folder: Path, scale: int) -> Path:
    return packed(folder / "short.txt.zst", repeat(b"a\n" * (MIB // 2), scale * 512 // 1000))


def of_zeros(folder: Path, scale: int, suffix: str = "zst") -> Path:
    return packed(folder / f"zeros.txt.{suffix}", repeat(bytes(MIB), scale))


def of_quote(folder: Path, scale: int) -> Path:
    """A field of csv whose quote nothing closes."""
    return packed(folder / "quote.csv.zst", iter([b'text,label\ngood,a\n"', *repeat(b"a" * MIB, scale)]))


def of_quoted_lines(folder: Path, scale: int) -> Path:
    """The same, with ends of lines in it."""
    return packed(folder / "quoted.csv.zst", iter([b'text,label\ngood,a\n"', *repeat(b"a,b\n" * (MIB // 4), scale)]))


def of_object(folder: Path, scale: int) -> Path:
    """A JSON line that nothing ends."""
    return packed(folder / "object.jsonl.zst", iter([b'{"text":"good"}\n{"text":"', *repeat(b"a" * MIB, scale)]))


def of_line(folder: Path, scale: int) -> Path:
    """A plain line."""
    path = folder / "line.txt"
    with path.open("wb") as file:
        file.truncate(scale * MIB)
    return path


def of_bundle(folder: Path, scale: int) -> Path:
    """Many small files."""
    (folder / "bundle").mkdir()
    for number in range(max(2, scale // 16)):
        packed(folder / "bundle" / f"{number}.txt.zst", repeat(b"word and\n" * (MIB // 9), 16))
    return folder / "bundle"


def of_long_texts(folder: Path, scale: int) -> Path:
    line = f'{{"text":"{WORDS[:1000_000]}","label":"a"}}\n'.encode()
    return packed(folder / "long.jsonl.zst", repeat(line, 20 * scale))


def of_keys(folder: Path, scale: int) -> Path:
    """A JSON line with a key of its own for every value."""
    path = folder / "keys.jsonl"
    path.write_text('{"text":"good",' + ",".join(f'"k{key:x}":{key % 10}' for key in range(1000 * scale)) + "}\n")
    return path
