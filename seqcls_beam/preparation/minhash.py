"""Near-duplicates: shingles, signatures, bands, candidates, and the exact similarity that decides.

A text is the set of the 5-byte windows of its duplicate key (`keys.duplicate_key`); a text of fewer bytes is a set of
one, itself. Two texts are near-duplicates where the Jaccard similarity of their sets is at least a threshold. MinHash
(Broder 1997) with banding (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, ch. 3) finds candidates: 20 bands
of 6 rows find a pair of similarity 0.8 with probability 0.998, and of 0.5 with 0.27. Every candidate is then compared
exactly, so what is reported is right, and only what is missed is a matter of chance.

Everything works on whole batches; nothing loops over texts.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Array = npt.NDArray[Any]

BANDS, ROWS = 20, 6
_WIDTH = 5
_CHUNK = 1 << 14  # shingles hashed at once: two arrays of 64 KiB stay in the cache over 120 functions
_WINDOW = 16  # members before it that a text is compared with in one band; up to 17 equal ones that is all pairs
_PAIR_SHINGLES = 1 << 22  # shingles compared at once
# The odd multiplier of Fibonacci hashing: 2^64 over the golden ratio (Knuth, TAOCP 6.4).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _parameters() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    drawn = np.random.Generator(np.random.PCG64(20)).integers(0, 1 << 32, (2, BANDS * ROWS), np.uint64)
    return (drawn[0] | 1).astype(np.uint32), drawn[1].astype(np.uint32)


_MULTIPLIERS, _SUMMANDS = _parameters()


def shingles(keys: pa.Array) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Keys (string or binary, no nulls) → (shingles uint64, all texts one after the other; offsets int64 [texts + 1]).

    A shingle is 5 bytes, packed: 40 bits, so it stands for itself and no two are confused. A shorter text is one
    shingle of its bytes and its length. Windows that occur twice are there twice.
    """
    data, ends = _bytes(keys)
    lengths = np.diff(ends)
    counts = np.maximum(lengths - _WIDTH + 1, 1)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    padded = np.concatenate([data, np.zeros(_WIDTH, np.uint8)])
    windows = np.zeros(len(data) + 1, np.uint64)
    for i in range(_WIDTH):
        windows <<= np.uint64(8)
        windows |= padded[i : i + len(windows)]
    # Where each shingle begins: the text's first byte and those behind it.
    starts = np.repeat(ends[:-1] - offsets[:-1], counts) + np.arange(offsets[-1])
    found = windows[starts]
    short = np.flatnonzero(lengths < _WIDTH)
    if len(short):
        # The window reaches into the next text: shift that out, and put the length above, where no window has a bit.
        own = found[offsets[short]] >> (8 * (_WIDTH - lengths[short])).astype(np.uint64)
        found[offsets[short]] = own | ((lengths[short] + 1).astype(np.uint64) << np.uint64(40))
    return found, offsets


def signatures(values: npt.NDArray[np.uint64], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """Shingles of texts, as `shingles` gives them → the minima of 120 hash functions, uint32 [texts, 120].

    The functions are a multiplication and a sum modulo 2^32 (multiply-shift, Dietzfelbinger et al. 1997), of 32 well
    mixed bits of the shingle.
    """
    mixed = values * _GOLDEN
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)  # a round of splitmix64 (Steele, Lea, Flood 2014)
    hashed = (mixed >> np.uint64(32)).astype(np.uint32)
    found = np.empty((BANDS * ROWS, len(offsets) - 1), np.uint32)
    for low, high in _blocks(offsets, _CHUNK):
        block = hashed[offsets[low] : offsets[high]]
        starts = offsets[low:high] - offsets[low]
        made = np.empty_like(block)
        for i in range(BANDS * ROWS):
            np.multiply(block, _MULTIPLIERS[i], out=made)
            made += _SUMMANDS[i]
            np.minimum.reduceat(made, starts, out=found[i, low:high])
    return found.T


def bands(signature: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """Signatures [texts, 120] → a hash of each band, uint64 [texts, 20]; equal bands have equal hashes."""
    rows = signature.reshape(len(signature), BANDS, ROWS).astype(np.uint64)
    found = np.broadcast_to(np.arange(1, BANDS + 1, dtype=np.uint64) * _GOLDEN, rows.shape[:2]).copy()
    for i in range(ROWS):
        found ^= rows[:, :, i]
        found *= _GOLDEN
        found ^= found >> np.uint64(32)
    return found


def next_bands(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Hashes of bands [texts, 20] → for each band 16 bits of each of the four behind it, uint64 [texts, 20].

    In the order of these numbers texts that share many bands stand together, as in an LSH forest (Bawa, Condie,
    Ganesan 2005).
    """
    found = np.zeros_like(hashes)
    for step in range(1, 5):
        found <<= np.uint64(16)
        found |= np.roll(hashes, -step, axis=1) >> np.uint64(48)
    return found


def candidates(hashes: Array, beside: Array, texts: Array, sizes: Array, threshold: float) -> tuple[Array, Array, int]:
    """Bands → pairs of texts that are worth comparing.

    For each band its hash, the bands behind it as `next_bands` gives them, uint64 [n], its text, uint64, and the number
    of different shingles of that. Gives (first, second), uint64, first < second, each pair once; and how many texts
    share the fullest hash. Pairs that their sizes alone keep below the threshold are left out.

    Texts that share a hash are put in order twice, by size and by the bands behind, and each meets the 16 before it in
    either order and the first. So up to 17 are compared each with each, thousands of equal ones cost thousands of
    comparisons, not millions, and are connected; and in a large crowd, such as texts of one template, near ones
    stand together in one of twenty bands or another.
    """
    if not len(hashes):
        return texts, texts, 0
    pairs, fullest = [], 0
    for by_size in (True, False):
        order = np.lexsort((texts, sizes, sizes if by_size else beside, hashes))
        first, second, counts = _meetings(hashes[order], texts[order], sizes[order], threshold)
        pairs.append((first, second))
        fullest = int(counts.max())
        crowded = np.repeat(counts > _WINDOW + 1, counts)
        hashes, beside, texts, sizes = (each[order][crowded] for each in (hashes, beside, texts, sizes))
        if not len(hashes):
            break
    joined = [np.concatenate(each) for each in zip(*pairs, strict=True)]
    return *unique_pairs(joined[0], joined[1]), fullest


def _meetings(hashes: Array, texts: Array, sizes: Array, threshold: float) -> tuple[Array, Array, Array]:
    """Bands in order → (first, second, texts of each different hash)."""
    begins = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
    counts = np.diff(np.append(begins, len(hashes)))
    several = np.flatnonzero(np.repeat(counts > 1, counts))
    begin = np.repeat(begins, counts)[several]
    place = several - begin
    one, other = [], []
    for back in range(1, min(_WINDOW, int(counts.max()) - 1) + 1):
        late = several[place >= back]
        one.append(late - back)
        other.append(late)
    far = place > _WINDOW
    early = np.concatenate([*one, begin[far]])
    late = np.concatenate([*other, several[far]])
    less, more = np.minimum(sizes[early], sizes[late]), np.maximum(sizes[early], sizes[late])
    near = (less >= threshold * more) & (texts[early] != texts[late])
    a, b = texts[early[near]], texts[late[near]]
    return np.minimum(a, b), np.maximum(a, b), counts


def unique_pairs(first: Array, second: Array) -> tuple[Array, Array]:
    """Pairs → the different ones, in order."""
    if not len(first):
        return first, second
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    new = np.concatenate([[True], (first[1:] != first[:-1]) | (second[1:] != second[:-1])])
    return first[new], second[new]


def as_sets(values: npt.NDArray[np.uint64], offsets: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """Shingles of texts → the different ones of each, sorted, and their offsets."""
    kept, sizes = [], []
    for low, high in _blocks(offsets, _PAIR_SHINGLES):
        block = values[offsets[low] : offsets[high]]
        counts = np.diff(offsets[low : high + 1])
        # One sort of numbers that hold text and shingle; 43 bits of shingle leave 21 for the text.
        for start in range(0, high - low, 1 << 21):
            end = min(start + (1 << 21), high - low)
            part = slice(int(offsets[low + start] - offsets[low]), int(offsets[low + end] - offsets[low]))
            owner = np.repeat(np.arange(end - start, dtype=np.uint64), counts[start:end])
            tagged = np.sort((owner << np.uint64(43)) | block[part])
            tagged = tagged[np.concatenate([[True], tagged[1:] != tagged[:-1]])] if len(tagged) else tagged
            sizes.append(np.bincount((tagged >> np.uint64(43)).astype(np.int64), minlength=end - start))
            kept.append(tagged & np.uint64((1 << 43) - 1))
    empty = np.empty(0, np.uint64)
    ends = np.concatenate([[0], np.cumsum(np.concatenate([*sizes, np.empty(0, np.int64)]))]).astype(np.int64)
    return np.concatenate([*kept, empty]), ends


def similarities(sets: tuple[Array, Array], others: tuple[Array, Array], one: Array, other: Array) -> Array:
    """Jaccard similarity of pairs, float64 [pairs]: text `one[i]` of `sets` with text `other[i]` of `others`.

    Both are what `as_sets` gives.
    """
    (values, ends), (other_values, other_ends) = sets, others
    sizes, other_sizes = np.diff(ends)[one], np.diff(other_ends)[other]
    shared = np.zeros(len(one), np.int64)
    totals = np.concatenate([[0], np.cumsum(sizes + other_sizes)])
    for low, high in _blocks(totals, _PAIR_SHINGLES):
        for start in range(low, high, 1 << 21):
            part = slice(start, min(start + (1 << 21), high))
            tagged = np.concatenate([_tagged(values, ends, one[part]), _tagged(other_values, other_ends, other[part])])
            tagged.sort()
            twice = tagged[1:][tagged[1:] == tagged[:-1]] >> np.uint64(43)
            shared[part] = np.bincount(twice.astype(np.int64), minlength=part.stop - part.start)
    found: Array = shared / (sizes + other_sizes - shared)
    return found


def _tagged(values: Array, ends: Array, rows: Array) -> Array:
    """The shingles of `rows`, each with the row's place above it."""
    sizes = np.diff(ends)[rows]
    begin = np.cumsum(sizes) - sizes
    places = np.repeat(ends[rows] - begin, sizes) + np.arange(sizes.sum())
    tagged: Array = (np.repeat(np.arange(len(rows), dtype=np.uint64), sizes) << np.uint64(43)) | values[places]
    return tagged


def _blocks(offsets: Array, size: int) -> Iterator[tuple[int, int]]:
    """Runs of texts of at most `size` values, or of one text: [first, past the last)."""
    low, texts = 0, len(offsets) - 1
    while low < texts:
        high = max(low + 1, int(np.searchsorted(offsets, offsets[low] + size, side="right")) - 1)
        yield low, high
        low = high


def _bytes(keys: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The bytes of all keys, and their offsets."""
    large = keys.cast(pa.large_binary())
    _, offsets, data = large.buffers()
    ends = np.frombuffer(offsets, np.int64)[large.offset : large.offset + len(large) + 1]
    flat = np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]]
    return flat, ends - ends[0]
