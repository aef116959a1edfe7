import bz2
import gzip
import lzma
import zlib
from typing import Any

import pytest
import zstandard

from seqcls_beam.reading.formats import inflate, pieces
from tests.reading.reader import brief, files, rows, stored

PACK: dict[str, Any] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}
LINES = [f"line {i} {i * 7919 % 1000003:x}" for i in range(3000)]
DATA = "".join(line + "\n" for line in LINES).encode()
EXPECTED = [(DATA.index(f"line {i} ".encode()), line) for i, line in enumerate(LINES)]

every = pytest.mark.parametrize("kind", PACK)


@every
def test_whole_files(kind):
    assert brief(stored(PACK[kind](DATA), f"whole.txt.{kind}")) == EXPECTED


@every
def test_several_members(kind):
    packed = PACK[kind](DATA[:100]) + PACK[kind](DATA[100:101]) + PACK[kind](b"") + PACK[kind](DATA[101:])
    assert brief(stored(packed, f"members.txt.{kind}")) == EXPECTED


@every
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_every_line_before_a_cut_is_read(kind, share):
    packed = PACK[kind](DATA)
    packed = packed[: int(len(packed) * share)]
    *good, (position, reason, raw) = brief(stored(packed, f"cut.txt.{kind}"))
    assert good == EXPECTED[: len(good)]
    assert reason == "truncated_file"
    assert DATA[position:].startswith(raw)
    assert b"\n" not in raw
    # The same bytes as the standard decoder, fed byte by byte, can make of them.
    decoder: Any = {
        "gz": lambda: zlib.decompressobj(31),
        "bz2": bz2.BZ2Decompressor,
        "xz": lzma.LZMADecompressor,
        "zst": lambda: zstandard.ZstdDecompressor().decompressobj(),
    }[kind]()
    decoded = b"".join(decoder.decompress(packed[i : i + 1]) for i in range(len(packed)))
    assert position + len(raw) == len(decoded)


@every
def test_damage_keeps_what_came_before(kind, monkeypatch):
    monkeypatch.setattr(inflate, "FED", dict.fromkeys(PACK, 512))
    packed = bytearray(PACK[kind](DATA[:20000]) + PACK[kind](DATA[20000:]))
    middle = len(PACK[kind](DATA[:20000])) + 1500
    packed[middle : middle + 600] = b"\xff" * 600
    *good, (position, reason, raw) = brief(stored(bytes(packed), f"damaged.txt.{kind}"))
    assert reason == "corrupt_file"
    assert good == EXPECTED[: len(good)]
    assert sum(len(line) + 1 for line in LINES[: len(good)]) == position
    assert position + len(raw) >= 20000


@every
def test_garbage_behind_the_end(kind):
    *good, (position, reason, _) = brief(stored(PACK[kind](DATA) + b"not compressed at all", f"tail.txt.{kind}"))
    assert (good, position, reason) == (EXPECTED, len(DATA), "corrupt_file")


@pytest.mark.parametrize("kind", ["gz", "xz"])
def test_padding_with_zeros_is_no_damage(kind):
    assert brief(stored(PACK[kind](DATA) + b"\0" * 512, f"padded.txt.{kind}")) == EXPECTED


@every
def test_something_else_under_the_name(kind):
    assert brief(stored(b"plain text and no more\n", f"plain.txt.{kind}")) == [(0, "corrupt_file", b"")]


@every
def test_a_bomb_is_decoded_in_bounded_chunks(kind, monkeypatch):
    monkeypatch.setattr(pieces, "CHUNK", 2**20)
    uri = stored(PACK[kind](b"\n" * (64 * 2**20)), f"bomb.txt.{kind}")
    piece = pieces.Piece(**files(uri).to_pylist()[0])
    with piece.open() as file:
        sizes = [len(chunk) for chunk, _ in pieces.decoded(file, piece)]
    assert sum(sizes) == 64 * 2**20
    if kind != "zst":  # its decoder takes no limit
        assert max(sizes) <= 2 * 2**20


@every
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_csv_cut_within_a_quoted_record(kind, share):
    data = b'id,text\n1,good\n2,"two\nlines'
    packed = PACK[kind](data)
    if share < 1:
        packed = PACK[kind](data + b'"\n' + DATA)
        packed = packed[: len(packed) // 2]
    found = rows(stored(packed, f"cut.csv.{kind}"), id_column="id")
    assert all(row["source"].endswith(kind) for row in found)
    if share == 1:
        assert [row["text"] for row in found] == ["good", None, None]
        assert [row["reject"]["reason"] for row in found[1:]] == ["unbalanced_quote", "ragged_row"]
    else:
        assert found[-1]["reject"]["reason"] == "truncated_file"
