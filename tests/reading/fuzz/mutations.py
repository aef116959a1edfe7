"""Which bytes of a file are changed, and to what."""

import random
import struct
from collections.abc import Iterable, Iterator
from itertools import pairwise

import pyarrow.parquet as pq

CUT = -1
"""In place of a byte's new value: the file ends before it."""

Mutation = tuple[int, int]
"""Offset of a byte, and its new value or `CUT`."""


def mutated(data: bytes, mutation: Mutation) -> bytes:
    """The bytes of a file, changed."""
    at, value = mutation
    return data[:at] if value == CUT else data[:at] + bytes([value]) + data[at + 1 :]


def every(data: bytes, offsets: Iterable[int], chance: random.Random) -> Iterator[Mutation]:
    """Each of some bytes as 0, as 255, as one more, with two of its bits turned by chance, and a cut before it."""
    for at in offsets:
        old = data[at]
        bits = (old ^ 1 << bit for bit in chance.sample(range(8), 2))
        yield from ((at, value) for value in {0, 255, (old + 1) % 256, *bits} - {old})
        yield at, CUT


def some(data: bytes, offsets: list[int], count: int, chance: random.Random) -> list[Mutation]:
    """So many mutations, spread evenly over some bytes."""
    bounds = [part * len(offsets) // count for part in range(count + 1)]
    picked = [offsets[chance.randrange(begin, max(end, begin + 1))] for begin, end in pairwise(bounds)]
    return [chance.choice(list(every(data, [at], chance))) for at in picked]


def headers(path: str, data: bytes, whole: int) -> list[int]:
    """Offsets in a file: of all bytes where there are at most `whole`, else of its Parquet footer and page headers.

    Of a footer larger than that, some of both ends.
    """
    if len(data) <= whole:
        return list(range(len(data)))
    (length,) = struct.unpack("<i", data[-8:-4])
    begin = len(data) - 8 - length
    footer = list(range(begin, len(data)))
    if len(footer) > whole:
        footer = footer[: whole // 16] + footer[-whole // 16 :]
    group = pq.read_metadata(path).row_group(0)
    parts = [group.column(i) for i in range(2)]  # asked for an encrypted column, pyarrow ends the process
    starts = {at for part in parts for at in (part.dictionary_page_offset, part.data_page_offset) if at is not None}
    return sorted({*range(4), *footer, *(at + i for at in starts for i in range(48) if at + i < begin)})
