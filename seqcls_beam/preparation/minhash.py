"""Near-duplicates: shingles, signatures, bands, candidates, and the exact similarity that decides.

A text is the set of the 5-byte windows of its duplicate key (`keys.duplicate_key`); a text of fewer bytes is a set of
one, itself. Two texts are near-duplicates where the Jaccard similarity of their sets is at least a threshold. MinHash
(Broder 1997) with banding (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, ch. 3) finds candidates: 20 bands
of 6 rows find a pair of similarity 0.8 with probability 0.998, and of 0.5 with 0.27. Every candidate is then compared
exactly, so what is reported is right, and only what is missed is a matter of chance.

Everything works on whole batches; nothing loops over texts. Capitals at the end of a name are its shape:

    T   texts; T1 is one more: `offsets_T1`, int64, tells where the shingles of each begin and those of the last end
    S   shingles of all texts, one text after the other, uint64
    H   120 hash functions, uint32, which are B · R: 20 bands of 6 rows
    E   entries, one for every band of every text
    G   groups of entries with the same hash
    P   pairs of texts
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.preparation.blocks import blocks, offsets_of

Array = npt.NDArray[Any]

WIDTH = 5  # bytes of a window
BANDS, ROWS = 20, 6
_CHUNK = 1 << 14  # shingles hashed at once: two arrays of 64 KiB stay in the cache over 120 functions
_BEFORE = 16  # entries before it that a text is compared with in one band; up to 17 equal ones that is all pairs
_PAIR_SHINGLES = 1 << 22  # shingles compared at once
# One sort of numbers that hold a shingle and, above it, whose it is; 43 bits of shingle leave 21 for that.
_TAG, _TAGS = np.uint64(43), 1 << 21
_SHINGLE = np.uint64((1 << 43) - 1)
# The odd multiplier of Fibonacci hashing: 2^64 over the golden ratio (Knuth, TAOCP 6.4).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _parameters() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    drawn = np.random.Generator(np.random.PCG64(20)).integers(0, 1 << 32, (2, BANDS * ROWS), np.uint64)
    return (drawn[0] | 1).astype(np.uint32), drawn[1].astype(np.uint32)


_MULTIPLIERS_H, _SUMMANDS_H = _parameters()


def shingles(keys: pa.Array) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Keys (string or binary, no nulls) → (shingles_S, offsets_T1).

    A shingle is 5 bytes, packed: 40 bits, so it stands for itself and no two are confused. A shorter text is one
    shingle of its bytes and its length. Windows that occur twice are there twice.
    """
    data, ends_T1 = _bytes(keys)
    lengths_T = np.diff(ends_T1)
    counts_T = np.maximum(lengths_T - WIDTH + 1, 1)
    offsets_T1 = offsets_of(counts_T)
    padded = np.concatenate([data, np.zeros(WIDTH, np.uint8)])
    windows = np.zeros(len(data) + 1, np.uint64)  # one from each byte on, over the ends of texts
    for i in range(WIDTH):
        windows <<= np.uint64(8)
        windows |= padded[i : i + len(windows)]
    starts_S = np.repeat(ends_T1[:-1] - offsets_T1[:-1], counts_T) + np.arange(offsets_T1[-1])
    shingles_S = windows[starts_S]
    short = np.flatnonzero(lengths_T < WIDTH)
    if len(short):
        # The window reaches into the next text: shift that out, and put the length above, where no window has a bit.
        own = shingles_S[offsets_T1[short]] >> (8 * (WIDTH - lengths_T[short])).astype(np.uint64)
        shingles_S[offsets_T1[short]] = own | ((lengths_T[short] + 1).astype(np.uint64) << np.uint64(40))
    return shingles_S, offsets_T1


def signatures(shingles_S: npt.NDArray[np.uint64], offsets_T1: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """Shingles, as `shingles` gives them → signatures_TH: for every text the minima of 120 hash functions.

    The functions are a multiplication and a sum modulo 2^32 (multiply-shift, Dietzfelbinger et al. 1997), of 32 well
    mixed bits of the shingle.
    """
    mixed_S = shingles_S * _GOLDEN
    mixed_S ^= mixed_S >> np.uint64(29)
    mixed_S *= np.uint64(0xBF58476D1CE4E5B9)  # a round of splitmix64 (Steele, Lea, Flood 2014)
    upper_S = (mixed_S >> np.uint64(32)).astype(np.uint32)
    found_HT = np.empty((BANDS * ROWS, len(offsets_T1) - 1), np.uint32)
    for low, high in blocks(offsets_T1, _CHUNK, _CHUNK):
        block = upper_S[offsets_T1[low] : offsets_T1[high]]
        starts = offsets_T1[low:high] - offsets_T1[low]
        hashed = np.empty_like(block)
        for h in range(BANDS * ROWS):
            np.multiply(block, _MULTIPLIERS_H[h], out=hashed)
            hashed += _SUMMANDS_H[h]
            np.minimum.reduceat(hashed, starts, out=found_HT[h, low:high])
    return found_HT.T


def bands(signatures_TH: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """Signatures → hashes_TB, uint64: equal where texts have the same band at the same place."""
    rows_TBR = signatures_TH.reshape(len(signatures_TH), BANDS, ROWS).astype(np.uint64)
    hashes_TB = np.broadcast_to(np.arange(1, BANDS + 1, dtype=np.uint64) * _GOLDEN, rows_TBR.shape[:2]).copy()
    for r in range(ROWS):
        hashes_TB ^= rows_TBR[:, :, r]
        hashes_TB *= _GOLDEN
        hashes_TB ^= hashes_TB >> np.uint64(32)
    return hashes_TB


def next_bands(hashes_TB: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Hashes of bands → beside_TB, uint64: for each band 16 bits of each of the four behind it.

    In the order of these numbers texts that share many bands stand together, as in an LSH forest (Bawa, Condie,
    Ganesan 2005).
    """
    beside_TB = np.zeros_like(hashes_TB)
    for step in range(1, 5):
        beside_TB <<= np.uint64(16)
        beside_TB |= np.roll(hashes_TB, -step, axis=1) >> np.uint64(48)
    return beside_TB


def candidates(
    hashes_E: Array, beside_E: Array, texts_E: Array, sizes_E: Array, threshold: float
) -> tuple[Array, Array, int]:
    """Entries → pairs of texts that are worth comparing.

    An entry is the hash of a band, the bands behind it as `next_bands` gives them, the number of its text, all uint64,
    and how many different shingles that has. Gives (first_P, second_P), uint64, first < second, each pair once; and how
    many entries share the fullest hash. Pairs that their sizes alone keep below the threshold are left out.

    Texts that share a hash are put in order twice, by size and by the bands behind, and each meets the 16 before it in
    either order and the first. So up to 17 are compared each with each, thousands of equal ones cost thousands of
    comparisons, not millions, and are connected; and in a large crowd, such as texts of one template, near ones
    stand together in one of twenty bands or another.
    """
    if not len(hashes_E):
        return texts_E, texts_E, 0
    pairs, fullest = [], 0
    for by_size in (True, False):
        order_E = np.lexsort((texts_E, sizes_E, sizes_E if by_size else beside_E, hashes_E))
        first_P, second_P, counts_G = _meetings(hashes_E[order_E], texts_E[order_E], sizes_E[order_E], threshold)
        pairs.append((first_P, second_P))
        fullest = int(counts_G.max())
        crowded_E = np.repeat(counts_G > _BEFORE + 1, counts_G)
        hashes_E, beside_E, texts_E, sizes_E = (
            each_E[order_E][crowded_E] for each_E in (hashes_E, beside_E, texts_E, sizes_E)
        )
        if not len(hashes_E):
            break
    first_P, second_P = (np.concatenate(each) for each in zip(*pairs, strict=True))
    return *unique_pairs(first_P, second_P), fullest


def _meetings(hashes_E: Array, texts_E: Array, sizes_E: Array, threshold: float) -> tuple[Array, Array, Array]:
    """Entries in order, those of one hash together → (first_P, second_P; counts_G, entries of each hash)."""
    begins_G = np.flatnonzero(np.concatenate([[True], hashes_E[1:] != hashes_E[:-1]]))
    counts_G = np.diff(np.append(begins_G, len(hashes_E)))
    shared = np.flatnonzero(np.repeat(counts_G > 1, counts_G))  # entries with others in their group …
    begin = np.repeat(begins_G, counts_G)[shared]  # … where that begins, and their place in it
    place = shared - begin
    early, late = [], []
    for back in range(1, min(_BEFORE, int(counts_G.max()) - 1) + 1):
        entries = shared[place >= back]
        early.append(entries - back)
        late.append(entries)
    far = place > _BEFORE
    early_P = np.concatenate([*early, begin[far]])
    late_P = np.concatenate([*late, shared[far]])
    less_P = np.minimum(sizes_E[early_P], sizes_E[late_P])
    more_P = np.maximum(sizes_E[early_P], sizes_E[late_P])
    near_P = (less_P >= threshold * more_P) & (texts_E[early_P] != texts_E[late_P])
    one, other = texts_E[early_P[near_P]], texts_E[late_P[near_P]]
    return np.minimum(one, other), np.maximum(one, other), counts_G


def unique_pairs(first_P: Array, second_P: Array) -> tuple[Array, Array]:
    """Pairs → the different ones, in order."""
    if not len(first_P):
        return first_P, second_P
    order_P = np.lexsort((second_P, first_P))
    first_P, second_P = first_P[order_P], second_P[order_P]
    new_P = np.concatenate([[True], (first_P[1:] != first_P[:-1]) | (second_P[1:] != second_P[:-1])])
    return first_P[new_P], second_P[new_P]


def as_sets(shingles_S: npt.NDArray[np.uint64], offsets_T1: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """Shingles, as `shingles` gives them → the same, those of each text in order and each once."""
    kept, sizes = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for low, high in blocks(offsets_T1, _PAIR_SHINGLES, _TAGS):
        owners = np.repeat(np.arange(high - low, dtype=np.uint64), np.diff(offsets_T1[low : high + 1]))
        tagged = np.sort((owners << _TAG) | shingles_S[offsets_T1[low] : offsets_T1[high]])
        tagged = tagged[np.concatenate([[True], tagged[1:] != tagged[:-1]])]
        sizes.append(np.bincount((tagged >> _TAG).astype(np.int64), minlength=high - low))
        kept.append(tagged & _SHINGLE)
    return np.concatenate(kept), offsets_of(np.concatenate(sizes))


def similarities(sets: tuple[Array, Array], others: tuple[Array, Array], one_P: Array, other_P: Array) -> Array:
    """Jaccard similarity of pairs, float64 [P]: text `one_P[i]` of `sets` with text `other_P[i]` of `others`.

    Both are what `as_sets` gives.
    """
    sizes_P, other_sizes_P = np.diff(sets[1])[one_P], np.diff(others[1])[other_P]
    shared_P = np.zeros(len(one_P), np.int64)
    for low, high in blocks(offsets_of(sizes_P + other_sizes_P), _PAIR_SHINGLES, _TAGS):
        tagged = np.concatenate([_tagged(*sets, one_P[low:high]), _tagged(*others, other_P[low:high])])
        tagged.sort()
        twice = tagged[1:][tagged[1:] == tagged[:-1]] >> _TAG
        shared_P[low:high] = np.bincount(twice.astype(np.int64), minlength=high - low)
    found_P: Array = shared_P / (sizes_P + other_sizes_P - shared_P)
    return found_P


def _tagged(shingles_S: Array, offsets_T1: Array, texts_P: Array) -> Array:
    """The shingles of a text for every pair, tagged with the place of the pair."""
    sizes_P = np.diff(offsets_T1)[texts_P]
    begins_P = np.cumsum(sizes_P) - sizes_P
    places = np.repeat(offsets_T1[texts_P] - begins_P, sizes_P) + np.arange(sizes_P.sum())
    tags = np.repeat(np.arange(len(texts_P), dtype=np.uint64), sizes_P)
    tagged: Array = (tags << _TAG) | shingles_S[places]
    return tagged


def _bytes(keys: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The bytes of all keys, and where those of each begin and the last end, [T1]."""
    large = keys.cast(pa.large_binary())
    _, offsets, data = large.buffers()
    ends_T1 = np.frombuffer(offsets, np.int64)[large.offset : large.offset + len(large) + 1]
    flat = np.frombuffer(data or b"", np.uint8)[ends_T1[0] : ends_T1[-1]]
    return flat, ends_T1 - ends_T1[0]
