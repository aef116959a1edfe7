"""Valid files to be damaged, each beside the rows that it holds, as they were before they were written."""

import base64
import bz2
import datetime
import decimal
import gzip
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import zstandard

WORDS = ["a", "film", "that", "is", "good", "bad", "slow", "fine", "Ärger", "映画", "long", "short"]


@dataclass(frozen=True)
class Base:
    """A valid file."""

    name: str
    path: str
    rows: str  # an Arrow file of its rows: `text`, and the columns that are kept
    options: dict[str, Any] = field(default_factory=dict)  # how it is read
    checked: bool = True  # a checksum stands over its data
    readable: bool = True  # False: what is asked for can be read by none, as of an encrypted column


def texts(rows: int, distinct: int = 10**9) -> list[str]:
    return [f"{WORDS[i % 7]} {WORDS[i % 5 + 4]} {i % distinct}" for i in range(rows)]


def many_types(rows: int) -> dict[str, pa.Array]:
    """Columns of the types that people keep, each with nulls."""
    day = datetime.datetime(2024, 2, 29, 12, 30)

    def column(make: Callable[[int], Any], type: pa.DataType) -> pa.Array:
        return pa.array([None if i % 5 == 3 else make(i) for i in range(rows)], type)

    nested = pa.struct([("name", pa.string()), ("sizes", pa.list_(pa.int32()))])
    return {
        "nested": column(lambda i: {"name": f"n{i}", "sizes": list(range(i % 3))}, nested),
        "tags": column(lambda i: [f"t{k}" for k in range(i % 3)], pa.list_(pa.string())),
        "pairs": column(lambda i: [(f"k{i}", i)], pa.map_(pa.string(), pa.int64())),
        "price": column(lambda i: decimal.Decimal(i) / 4, pa.decimal128(10, 2)),
        "seen": column(lambda i: day + datetime.timedelta(hours=i), pa.timestamp("us", "UTC")),
        "day": column(lambda i: day.date(), pa.date32()),
        "kind": column(lambda i: WORDS[i % 3], pa.string()).dictionary_encode(),
        "blob": column(lambda i: bytes([i % 256]) * 3, pa.binary()),
        "four": column(lambda i: b"abcd", pa.binary(4)),
        "half": column(lambda i: i / 2, pa.float32()),
        "yes": column(lambda i: i % 2 == 0, pa.bool_()),
        "tiny": column(lambda i: i - 2, pa.int8()),
        "big": column(lambda i: 2**63 + i, pa.uint64()),
    }


def parquet(folder: Path) -> list[Base]:
    """Parquet files whose text column is laid out in every way that writers know, without and with damage noticed."""
    narrow = pa.table({"text": texts(40), "n": pa.array(range(40), pa.int64())})
    few = pa.table({"text": texts(60, 4), "n": pa.array(range(60), pa.int32())})
    long = pa.table({"text": texts(400), "n": pa.array(range(400), pa.int64())})
    typed = pa.table({"text": texts(12), **many_types(12)})
    wide = pa.table({"text": texts(3), **{f"c{i}": pa.array([i, None, 3], pa.int16()) for i in range(999)}})
    threes = pa.array([None if i % 5 == 3 else [i, None, i / 2] for i in range(12)], pa.list_(pa.float32(), 3))
    fixed = pa.table(
        {"text": texts(12), "threes": threes, "views": pa.array(threes.to_pylist(), pa.list_view(pa.float32()))}
    )
    plain: dict[str, Any] = {"use_dictionary": False, "compression": "none"}
    made = [
        write(folder, "plain", narrow, **plain),
        write(folder, "plain_checked", narrow, **plain, write_page_checksum=True),
        write(folder, "dictionary", few, compression="none"),
        write(folder, "dictionary_checked", few, compression="snappy", write_page_checksum=True),
        write(folder, "groups", narrow, compression="snappy", row_group_size=15),
        write(folder, "pages", long, compression="zstd", data_page_size=512, write_batch_size=32, use_dictionary=False),
        write(folder, "pages_two", few, compression="zstd", data_page_version="2.0", write_page_checksum=True),
        write(folder, "bare", narrow, compression="zstd", write_statistics=False, store_schema=False),
        write(folder, "indexed", narrow, compression="snappy", write_page_index=True),
        write(
            folder, "delta", narrow, **plain, column_encoding={"text": "DELTA_BYTE_ARRAY", "n": "DELTA_BINARY_PACKED"}
        ),
        write(folder, "typed", typed, compression="none", write_page_checksum=True),
        write(folder, "fixed", fixed, compression="snappy"),
        write(folder, "empty", narrow.slice(0, 0), compression="none"),
        without_groups(folder, "no_groups", narrow.schema),
        write(folder, "wide", wide, compression="snappy", write_page_checksum=True),
    ]
    sealed = encryption()
    secret = narrow.append_column("secret", pa.array([f"s{i}" for i in range(40)]))
    open_ = {"keep_columns": ("text", "n")}
    path = folder / "sealed.parquet"
    pq.write_table(secret, path, compression="none", encryption_properties=sealed)
    return [
        *made,
        Base("sealed_left_out", str(path), hold(folder, "sealed_left_out", narrow), open_, checked=False),
        Base("sealed_asked_for", str(path), hold(folder, "sealed_asked_for", secret), checked=False, readable=False),
    ]


PARQUETS = 17
"""Files that `parquet` makes."""


def write(folder: Path, name: str, table: pa.Table, **how: Any) -> Base:
    """A table → a Parquet file."""
    path = folder / f"{name}.parquet"
    pq.write_table(table, path, **how)
    return Base(name, str(path), hold(folder, name, table), checked=bool(how.get("write_page_checksum")))


def without_groups(folder: Path, name: str, schema: pa.Schema) -> Base:
    """A Parquet file without a row group."""
    path = folder / f"{name}.parquet"
    pq.ParquetWriter(path, schema).close()
    return Base(name, str(path), hold(folder, name, schema.empty_table()), checked=False)


def hold(folder: Path, name: str, table: pa.Table) -> str:
    """Keep rows for the comparison, dictionaries decoded."""
    path = folder / f"{name}.arrow"
    decoded = [c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in table.columns]
    table = pa.table(decoded, names=table.column_names)
    with pa.ipc.new_file(path, table.schema) as sink:
        sink.write_table(table)
    return str(path)


def encryption() -> Any:
    """Properties that encrypt one column and leave the footer in plain sight."""

    class InMemory(pe.KmsClient):
        def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
            return base64.b64encode(key_bytes)

        def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
            return base64.b64decode(wrapped_key)

    config = pe.EncryptionConfiguration(footer_key="f", column_keys={"c": ["secret"]}, plaintext_footer=True)
    factory = pe.CryptoFactory(lambda _: InMemory())
    return factory.file_encryption_properties(pe.KmsConnectionConfig(), config)


def zst(data: bytes, checksum: bool) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=checksum, level=3).compress(data)


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: zst(data, checksum=True),
}


def compressed(folder: Path) -> list[Base]:
    """Compressed files of lines, in one member and in several."""
    made = []
    lines = texts(48)
    data = "".join(f"{line}\n" for line in lines).encode()
    cut = data.index(b"\n", len(data) // 3) - 5  # within a line
    rows = hold(folder, "lines", pa.table({"text": lines}))
    for kind, pack in PACK.items():
        bodies = {"one": pack(data), "two": pack(data[:cut]) + pack(data[cut:])}
        if kind == "zst":
            bodies["unchecked"] = zst(data[:cut], False) + zst(data[cut:], False)
        for name, body in bodies.items():
            path = folder / f"{name}.txt.{kind}"
            path.write_bytes(body)
            made.append(Base(path.name, str(path), rows, checked=name != "unchecked"))
    return made


def long(folder: Path) -> list[Base]:
    """Compressed files whose first rows are decoded long before the checksum at the end is reached."""
    lines = texts(60_000)
    data = "".join(f"{line}\n" for line in lines).encode()
    rows = hold(folder, "long", pa.table({"text": lines}))
    made = []
    for kind, pack in PACK.items():
        path = folder / f"long.txt.{kind}"
        path.write_bytes(pack(data))
        made.append(Base(path.name, str(path), rows))
    return made


def huge(folder: Path, size: int, kinds: list[str]) -> list[Base]:
    """Small files that hold very much: a value that every row of a dictionary is, lines and zeros that pack well."""
    path = folder / "huge.parquet"
    values = pa.array(["x" * 2**20], pa.string())
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), values)
    table = pa.table({"text": column, "twin": column, "n": pa.array(range(20_000))})
    pq.write_table(table, path, compression="zstd", row_group_size=20_000)
    made = [path]
    for name, chunk in {"lines": b"a\n" * 2**19, "zeros": bytes(2**20)}.items():
        for kind in kinds:
            path, packer = folder / f"{name}.txt.{kind}", PACKERS[kind]()
            with open(path, "wb") as file:
                file.writelines(packer.compress(chunk) for _ in range(size // 2**20))
                file.write(packer.flush())
            made.append(path)
    return [Base(path.name, str(path), "") for path in made]


PACKERS: dict[str, Callable[[], Any]] = {
    "gz": lambda: zlib.compressobj(wbits=31),
    "bz2": bz2.BZ2Compressor,
    "xz": lambda: lzma.LZMACompressor(preset=0),
    "zst": lambda: zstandard.ZstdCompressor().compressobj(),
}
