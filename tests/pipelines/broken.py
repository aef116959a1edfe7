"""Files and folders that are wrong, each in one way: what people, disks and strangers give a command."""

import base64
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as encryption

VERSIONS = {
    "empty": "",
    "cut": '{"format_version": 2, "run_id": "r", "par',
    "list": "[]",
    "object": "{}",
    "null": "null",
    "number": "7",
    "partless": '{"format_version": 2, "kind": "classify", "run_id": "r", "commit": {"partition": "", "version": 1}}',
    "modelless": '{"format_version": 2, "kind": "classify", "run_id": "r", "parts": [], "rejects": [], "model": null, '
    '"commit": {"partition": "", "version": 1}}',
    "nested": "[" * 200_000,
}
"""Documents that are no version, and no other of this project's."""


class _Keys(encryption.KmsClient):
    def __init__(self, _: object) -> None:
        super().__init__()

    def wrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64encode(key)

    def unwrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64decode(key)


def _encrypted(path: Path, table: pa.Table, column: str, plain: bool) -> None:
    wanted = encryption.EncryptionConfiguration(footer_key="f", column_keys={"c": [column]}, plaintext_footer=plain)
    how = encryption.CryptoFactory(_Keys).file_encryption_properties(encryption.KmsConnectionConfig(), wanted)
    with pq.ParquetWriter(path, table.schema, encryption_properties=how) as writer:
        writer.write_table(table)


def material(folder: Path) -> Path:
    """Write all of it, and what is right beside it; return the folder."""
    folder.mkdir()
    table = pa.table({"id": list(range(10)), "text": [f"good film {i}" for i in range(10)]})
    pq.write_table(table, folder / "right.parquet")
    _encrypted(folder / "column.parquet", table, "text", plain=True)
    _encrypted(folder / "other.parquet", table, "id", plain=True)
    _encrypted(folder / "whole.parquet", table, "text", plain=False)
    right = (folder / "right.parquet").read_bytes()
    (folder / "name.parquet").write_bytes(right.replace(b"text", b"te\xfft"))
    (folder / "cut.parquet").write_bytes(right[:-20])
    (folder / "zeros.parquet").write_bytes(right[:4] + bytes(len(right) - 12) + right[-8:])
    (folder / "empty.parquet").write_bytes(b"")
    (folder / "latin.csv").write_bytes("texté,label\na,b\n".encode("latin-1"))
    (folder / "right.csv").write_text("text,label\ngood,pos\nbad,neg\n")
    rows = [{"id": i, "text": f"a film {i}", "label": ("negative", "positive")[i % 2]} for i in range(40)]
    (folder / "right.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "deep.jsonl").write_text(('{"text":"x","d":' + "[" * 400 + "]" * 400 + "}\n") * 3)
    for name, text in VERSIONS.items():
        for file in ("_versions/00000001.json", "_APPROVED.json", "_pieces/stream.json", "prices.json"):
            path = folder / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    (folder / "stray" / "_versions" / "00000001.json").mkdir(parents=True)
    return folder
