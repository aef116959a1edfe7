import bz2
import gzip
import lzma
import random
import zlib
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from seqcls_beam.reading.formats import inflate, pieces
from seqcls_beam.schema import Mark
from tests.reading.reader import batches, brief, files, rows, stored

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
@pytest.mark.parametrize("kept", [0, 2**25])
def test_whole_files(kind, kept, monkeypatch):
    monkeypatch.setattr(pieces, "KEPT", kept)
    assert brief(stored(PACK[kind](DATA), f"whole.txt.{kind}")) == EXPECTED


@every
def test_several_members(kind):
    packed = PACK[kind](DATA[:100]) + PACK[kind](DATA[100:101]) + PACK[kind](b"") + PACK[kind](DATA[101:])
    assert brief(stored(packed, f"members.txt.{kind}")) == EXPECTED


@every
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("kept", [0, 2**25])
def test_every_line_before_a_cut_is_read(kind, share, kept, monkeypatch):
    monkeypatch.setattr(pieces, "KEPT", kept)
    monkeypatch.setattr(pieces, "CHUNK", 5000)
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


NUMBERS = random.Random(1)
ALIKE = b"".join(b"%0100x\n" % NUMBERS.getrandbits(400) for _ in range(10_000))  # rows of one size


def cost(packed: bytes, kind: str) -> tuple[int, list[tuple[Any, ...]]]:
    """Rows read of a file, and what is lost: reason, rows, how they are known."""
    (piece,) = Mark.of(batches(stored(packed, f"cost.txt.{kind}"))[-1]).inputs
    return piece["rows"], [(each["reason"], each["rows"], each["weight"]) for each in piece["losses"]]


@pytest.mark.parametrize("kept", [0, 2**25])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_frame_that_says_its_size_says_what_is_missing(share, kept, monkeypatch):
    monkeypatch.setattr(pieces, "KEPT", kept)
    packed = PACK["zst"](ALIKE)
    read, losses = cost(packed[: int(len(packed) * share)], "zst")
    assert 0 < read < 10_000
    assert losses == [("truncated_file", 10_000 - read, "estimated")]


@every
def test_what_says_no_size_hides_what_is_missing(kind):
    packed = bz2.compress(ALIKE, 1) if kind == "bz2" else PACK[kind](ALIKE)  # of which a block is 100 kB
    if kind == "zst":
        stream = zstandard.ZstdCompressor().compressobj()
        packed = stream.compress(ALIKE) + stream.flush()
    read, losses = cost(packed[: len(packed) * 2 // 3], kind)
    assert read and losses == [("truncated_file", None, "at_least")]
    # Another member that is whole says that there may be more of them behind the cut.
    read, losses = cost(PACK[kind](ALIKE) + PACK[kind](ALIKE)[:400_000], kind)
    assert read >= 10_000 and losses == [("truncated_file", None, "at_least")]


def test_a_size_that_nobody_can_have_is_not_believed():
    packed = bytearray(PACK["zst"](ALIKE))
    assert zstandard.frame_content_size(bytes(packed)) == len(ALIKE)
    # Its header has a size of four bytes and no window; here a window of 2 MiB and a size of eight (RFC 8878, 3.1.1.1).
    assert packed[4] & 0b11100000 == 0b10100000
    wide = (
        packed[:4] + bytes([packed[4] & 0b00011111 | 0b11000000, 11 << 3]) + (2**63).to_bytes(8, "little") + packed[9:]
    )
    assert zstandard.frame_content_size(bytes(wide)) == 2**63
    read, losses = cost(bytes(wide[:500_000]), "zst")
    assert read and losses == [("truncated_file", None, "at_least")]


@every
@pytest.mark.parametrize("fed", [1, 512, 2**16])
@pytest.mark.parametrize("kept", [0, 2**25])
def test_of_a_damaged_member_nothing_is_believed(kind, fed, kept, monkeypatch):
    monkeypatch.setattr(inflate, "FED", fed)
    monkeypatch.setattr(pieces, "KEPT", kept)
    monkeypatch.setattr(pieces, "CHUNK", 5000)
    packed = bytearray(PACK[kind](DATA[:20000]) + PACK[kind](DATA[20000:]))
    middle = len(PACK[kind](DATA[:20000])) + 1500
    packed[middle : middle + 600] = b"\xff" * 600
    *good, (position, reason, raw) = brief(stored(bytes(packed), f"damaged.txt.{kind}"))
    assert reason == "corrupt_file"
    assert good == EXPECTED[: len(good)]
    assert (position, raw) == (DATA.rindex(b"\n", 0, 20000) + 1, DATA[position:20000])


@every
def test_a_changed_bit_changes_no_row(kind):
    """Bits all over a small file of two members: rows are those that were written, or the file is told of."""
    halves = "".join(f"{line}\n" for line in LINES[:9]).encode(), "".join(f"{line}\n" for line in LINES[9:20]).encode()
    first, second = map(PACK[kind], halves)
    for bit in range(0, len(first + second) * 8, 17):
        flipped = bytearray(first + second)
        flipped[bit // 8] ^= 1 << bit % 8
        *good, last = brief(stored(bytes(flipped), f"bit.txt.{kind}"))
        if len(last) == 2:
            good.append(last)  # a bit that says nothing, such as one of the time in a header of gz
            assert len(good) == 20
        assert good == EXPECTED[: len(good)]
        assert len(good) >= (9 if bit // 8 >= len(first) else 0)


def test_a_gz_whose_end_is_hidden_by_a_changed_bit_is_no_cut_one():
    data = "".join(f"{line}\n" for line in LINES[:50]).encode()
    packed = gzip.compress(data, mtime=0)
    hidden = 0
    for bit in range(80, len(packed) * 8):
        flipped = bytearray(packed)
        flipped[bit // 8] ^= 1 << bit % 8
        decoder = zlib.decompressobj(31)
        try:
            decoded = decoder.decompress(bytes(flipped))
        except zlib.error:
            continue
        if not decoder.eof and not data.startswith(decoded):
            hidden += 1
            assert brief(stored(bytes(flipped), "hidden.txt.gz")) == [(0, "corrupt_file", b"")]
    assert hidden


@every
def test_garbage_behind_the_end(kind):
    *good, (position, reason, _) = brief(stored(PACK[kind](DATA) + b"not compressed at all", f"tail.txt.{kind}"))
    assert (good, position, reason) == (EXPECTED, len(DATA), "corrupt_file")


@every
def test_padding_with_zeros_is_no_damage(kind):
    padded = PACK[kind](DATA[:100]) + b"\0" * 512 + PACK[kind](DATA[100:]) + b"\0" * 1000
    assert brief(stored(padded, f"padded.txt.{kind}")) == EXPECTED


@every
def test_something_else_under_the_name(kind):
    assert brief(stored(b"plain text and no more\n", f"plain.txt.{kind}")) == [(0, "corrupt_file", b"")]


@every
def test_a_bomb_is_decoded_in_bounded_chunks(kind, monkeypatch):
    monkeypatch.setattr(pieces, "CHUNK", 2**20)
    data = b"\n" * (64 * 2**20)
    packed = zstandard.ZstdCompressor(level=19).compress(data) if kind == "zst" else PACK[kind](data)
    uri = stored(packed, f"bomb.txt.{kind}")
    piece = pieces.Piece(**files(uri).to_pylist()[0])
    with piece.open() as file:
        sizes = [len(chunk) for chunk, _ in pieces.decoded(file, piece)]
    assert sum(sizes) == 64 * 2**20
    assert max(sizes) <= 2 * 2**20


@settings(max_examples=30)
@given(
    st.lists(st.one_of(st.binary(max_size=60), st.integers(1, 10**6).map(lambda n: b"ab" * n)), max_size=4),
    st.sampled_from([1, 2, 7, 1000, 2**16]),
    st.booleans(),
    st.sampled_from([1, 19]),
    st.binary(max_size=20),
)
def test_frames_of_zst_are_fed_block_by_block(parts, fed, checksum, level, skipped):
    """Against the library's own reading of all at once; a skippable frame stands between."""
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=checksum)
    frames = [compressor.compress(part) for part in parts]
    # Also frames that say nothing of their size, of many small blocks.
    stream = zstandard.ZstdCompressor(level=level).compressobj()
    blocks = [stream.compress(b"some") + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for _ in range(20)]
    frames.append(b"".join(blocks) + stream.flush())
    packed = ((0x184D2A53).to_bytes(4, "little") + len(skipped).to_bytes(4, "little") + skipped).join([*frames, b""])
    with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
        expected = reader.read()
    inflater = inflate.Inflater("zst")
    some = [packed[at : at + fed] for at in range(0, len(packed), fed)]
    chunks = list(inflater.chunks(some))
    assert b"".join(chunks) == expected == b"".join(parts) + b"some" * 20
    assert max(map(len, chunks)) <= inflate.LIMIT
    assert inflater.whole == (len(expected), len(packed))


@pytest.mark.parametrize("kind", ["xz", "zst"])
def test_a_window_beyond_bounds_is_refused(kind):
    if kind == "xz":
        packed = lzma.compress(b"text\n", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 2**29}])
    else:
        parameters = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
        packed = zstandard.ZstdCompressor(compression_params=parameters).compressobj().compress(b"text\n" * 2**20)
    (row,) = rows(stored(packed, f"window.txt.{kind}"))
    assert row["reject"]["reason"] == "corrupt_file"
    assert "memory" in row["reject"]["detail"].lower()


def test_a_file_that_is_cut_while_it_is_read(tmp_path):
    path = tmp_path / "cut.txt.gz"
    path.write_bytes(gzip.compress(DATA))
    piece = pieces.Piece(**files(path).to_pylist()[0])
    with piece.open() as file:
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(pieces.InputChanged, match=r"cut\.txt\.gz had .* and has 1000 bytes"):
            list(pieces.decoded(file, piece))


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
