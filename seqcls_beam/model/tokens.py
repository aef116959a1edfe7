"""Tokens: RECORD → TOKENS.

Texts are tokenised whole and without special tokens, in one call per batch; cutting them to the model's length, laying
windows and putting the special tokens round them is arithmetic on the flat ids. The tokenizers library's own
truncation is not used: it keeps what it cuts off, for a pair every combination of the two sides, and two long texts
then need more memory than a machine has.

This file knows neither torch nor Beam, and imports transformers when the first batch comes.
"""

import functools
import json
import os
import re
import time
from array import array
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint, CheckpointError, load_tokenizer
from seqcls_beam.schema import PAYLOAD, REJECT_VALUE, TOKENS, Mark

Ints = npt.NDArray[Any]
Sequences = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int8] | None]
"""N sequences of T tokens: flat ids [T], offsets [N + 1] and, where the checkpoint tells sentences apart, types [T]."""

_CHARS_PER_TOKEN = 8  # a text is first read this far per token that fits; English has 4 to 5
_BETWEEN_WORDS = re.compile("[A-Za-z0-9](?= [A-Za-z0-9])")


def tokenize(records: pa.RecordBatch, checkpoint: Checkpoint, options: ModelOptions) -> pa.RecordBatch:
    """RECORD → RECORD with TOKENS, row for row.

    `token_type_ids` is there when `records` has `text_pair` and the checkpoint tells sentences apart. A rejected row
    has no windows, and null for the rest; a row on which the tokenizer raises is rejected. Ids are those of
    AutoTokenizer with `truncation="longest_first"`, windows those of its `return_overflowing_tokens`. Raises
    `ValueError` for options that the checkpoint cannot meet and for a batch of more than 2^31 tokens,
    `CheckpointError` for a checkpoint that is not there or a tokenizer that cannot be used.
    """
    started = time.perf_counter()
    tokens = add_tokens(records, checkpoint, options)
    return Mark.of(records).spent("tokenize", time.perf_counter() - started).on(tokens)


def add_tokens(records: pa.RecordBatch, checkpoint: Checkpoint, options: ModelOptions) -> pa.RecordBatch:
    """What `tokenize` does, for a batch that carries no mark."""
    pairs = "text_pair" in records.schema.names
    windows = options.overflow == "window"
    length = _length(checkpoint, options, pairs)
    tokenizer = _tokenizer(checkpoint, options.threads)
    frame = tokenizer.pair if pairs else tokenizer.single
    room = length - frame.specials
    if room < 1 or (windows and options.stride >= room):
        raise ValueError(
            f"--max_length={length}: {room} tokens fit beside the {frame.specials} special ones"
            + f", and --stride={options.stride} must be less than that" * windows
        )
    good = np.flatnonzero(records["reject"].is_null().to_numpy(zero_copy_only=False))
    texts = [records[name].take(pa.array(good)) for name in ("text", "text_pair")[: 1 + pairs]]
    sides, failures = tokenizer.encode(texts, None if pairs or windows else room)
    if failures:
        records = reject(records, "tokenize", {int(good[i]): error for i, error in failures.items()})
        good = np.delete(good, list(failures))
    if windows:
        counts, spans = _windows(sides[0], room, options.stride, tokenizer.from_left)
        truncated = np.zeros(len(good), bool)
    else:
        counts, spans = np.ones(len(good), np.int64), _cut(sides, room, tokenizer.from_left)
        truncated = np.asarray(sum(side.lengths for side in sides) > room)
    ids, types, inner = frame.lay(sides, spans)
    outer = np.zeros(len(records) + 1, np.int64)
    outer[good + 1] = counts
    outer = outer.cumsum()
    columns = [_nested(outer, inner, ids), _nested(outer, inner, types)]
    rejected = np.ones(len(records), bool)
    rejected[good] = False
    flags = np.zeros(len(records), bool)
    flags[good] = truncated
    columns += [pa.array(np.diff(inner[outer]), pa.int32(), mask=rejected), pa.array(flags, mask=rejected)]
    for each, column in zip(TOKENS, columns, strict=True):
        if each.name != "token_type_ids" or (pairs and checkpoint.sentence_ids):
            records = records.append_column(each, column)
    return records


def check(checkpoint: Checkpoint, options: ModelOptions, pairs: bool) -> None:
    """Raise `ValueError` for options that the checkpoint cannot meet, by a look at one text or pair."""
    texts = {name: pa.array(["."]) for name in ("text", "text_pair")[: 1 + pairs]}
    add_tokens(pa.record_batch({**texts, "reject": pa.nulls(1, REJECT_VALUE)}), checkpoint, options)


def _length(checkpoint: Checkpoint, options: ModelOptions, pairs: bool) -> int:
    """The most tokens of a sequence, special ones included; raises `ValueError` where the checkpoint reads fewer."""
    if options.max_length is not None and options.max_length > checkpoint.max_length:
        raise ValueError(f"--max_length={options.max_length}: {checkpoint.name} reads at most {checkpoint.max_length}")
    if pairs and options.overflow == "window":
        raise ValueError("--overflow=window: windows are for single texts, and these are pairs")
    return options.max_length or checkpoint.max_length


class Encoded(NamedTuple):
    """Texts or pairs, each one sequence."""

    input_ids: pa.Array  # list<int32>, special tokens included
    token_type_ids: pa.Array | None  # list<int8>; where pairs are read and the checkpoint tells sentences apart
    lengths: Ints  # tokens that would have been there without a limit, int64 [rows]


def encode(texts: list[pa.Array], checkpoint: Checkpoint, length: int, threads: int) -> tuple[Encoded, dict[int, str]]:
    """One column of texts or two of pairs (string, no nulls) → sequences of at most `length` tokens; failures by row.

    Ids are those of AutoTokenizer with `truncation="longest_first"`. A row on which the tokenizer raises is left out
    of the sequences. Raises `ValueError` where `length` has no room for a token, `CheckpointError` as `tokenize`.
    """
    tokenizer = _tokenizer(checkpoint, threads)
    frame = tokenizer.single if len(texts) == 1 else tokenizer.pair
    if length <= frame.specials:
        raise ValueError(f"--max_length={length}: no token fits beside the {frame.specials} special ones")
    sides, failures = tokenizer.encode(texts, None)
    ids, types, offsets = frame.lay(sides, _cut(sides, length - frame.specials, tokenizer.from_left))
    ends = pa.array(offsets, pa.int32())
    return Encoded(
        pa.ListArray.from_arrays(ends, pa.array(ids)),
        pa.ListArray.from_arrays(ends, pa.array(types)) if len(texts) > 1 and checkpoint.sentence_ids else None,
        np.asarray(sum(side.lengths for side in sides) + frame.specials),
    ), {row: f"{type(error).__name__}: {error}" for row, error in failures.items()}


def reject(batch: pa.RecordBatch, stage: str, failures: dict[int, Exception]) -> pa.RecordBatch:
    """The same rows, those in `failures` (row → what it raised) rejected as `model_error`; they lose their text.

    `raw` is the row's PAYLOAD where it has one, else its text.
    """
    rows = pa.array(list(failures), pa.int64())
    raws = batch[PAYLOAD.name if PAYLOAD.name in batch.schema.names else "text"].take(rows).cast(PAYLOAD.type)
    values = [
        {"stage": stage, "reason": "model_error", "detail": f"{type(error).__name__}: {error}", "raw": raw}
        for error, raw in zip(failures.values(), raws.to_pylist(), strict=True)
    ]
    either = pa.concat_arrays([batch["reject"], pa.array(values, REJECT_VALUE)])
    source = np.arange(len(batch))
    source[list(failures)] = len(batch) + np.arange(len(failures))
    rejected = pa.array(source >= len(batch))
    for name, column in (
        ("reject", either.take(pa.array(source))),
        ("text", pc.if_else(rejected, pa.scalar(None, pa.string()), batch["text"])),
    ):
        at = batch.schema.get_field_index(name)
        batch = batch.set_column(at, batch.schema.field(at), column)
    return batch


class _Side(NamedTuple):
    """One text of every row: its ids are `flat[start : start + length]`."""

    flat: Ints
    starts: Ints
    lengths: Ints


Span = tuple[Ints, Ints]  # starts and lengths in a side's `flat`, one per sequence


class _Frame:
    """The order of special tokens and texts in a sequence, read off an encoded probe."""

    def __init__(self, probe: Any) -> None:
        self.pieces: list[tuple[int | None, int, int]] = []  # (side or None, id of a special token, type)
        for token, kind, side in zip(probe.ids, probe.type_ids, probe.sequence_ids, strict=True):
            # A text is one piece, however many tokens the probe's has.
            if side is None or self.pieces[-1:] != [(side, 0, kind)]:
                self.pieces.append((side, token if side is None else 0, kind))
        self.specials = sum(side is None for side, _, _ in self.pieces)

    def lay(self, sides: list[_Side], spans: list[Span]) -> tuple[Ints, Ints, Ints]:
        """Spans of the sides → (ids int32 [T], token types int8 [T], offsets int64 [sequences + 1])."""
        tokens = np.array([token for _, token, _ in self.pieces], np.int32)
        kinds = np.array([kind for _, _, kind in self.pieces], np.int8)
        # One array to take everything from: the piece p, where it is a special token, is its token p.
        flat = np.concatenate([tokens, *(side.flat for side in sides)])
        before = np.cumsum([len(tokens), *(len(side.flat) for side in sides)])
        starts = np.tile(np.arange(len(tokens)), (len(spans[0][0]), 1))
        lengths = np.ones_like(starts)
        for piece, (side, _, _) in enumerate(self.pieces):
            if side is not None:
                starts[:, piece], lengths[:, piece] = before[side] + spans[side][0], spans[side][1]
        ids = flat[_ranges(starts.ravel(), lengths.ravel())]
        types = np.repeat(np.tile(kinds, len(starts)), lengths.ravel()) if kinds.any() else np.zeros(len(ids), np.int8)
        return ids, types, np.concatenate([[0], np.cumsum(lengths.sum(1))])


class _Tokenizer(NamedTuple):
    backend: Any
    single: _Frame
    pair: _Frame
    from_left: bool  # a text that is too long loses its beginning, not its end: `truncation_side`
    by_words: bool  # see _reads_by_words

    def encode(self, texts: list[pa.Array], cut: int | None) -> tuple[list[_Side], dict[int, Exception]]:
        """Columns of texts → their ids, without the rows that raised, and what those raised.

        Of a text with more than `cut` tokens, only so many and one more are sure to be there: enough to cut it, and to
        tell that it was cut.
        """
        failures: dict[int, Exception] = {}
        encodings = [self._encode(column, cut, failures) for column in texts]
        sides = []
        for column in encodings:
            kept = [each for row, each in enumerate(column) if row not in failures] if failures else column
            lengths = np.fromiter(map(len, kept), np.int64, len(kept))
            flat = array("i")
            for each in kept:
                flat.fromlist(each.ids)
            sides.append(_Side(np.asarray(flat, np.int32), np.cumsum(lengths) - lengths, lengths))
        return sides, failures

    def _encode(self, column: pa.Array, cut: int | None, failures: dict[int, Exception]) -> list[Any]:
        texts = column.to_pylist()
        whole: dict[int, str] = {}
        # Tokenising is what costs: of a long text first the part that is likely to hold `cut` tokens and more …
        if cut is not None and self.by_words:
            for row in np.flatnonzero(pc.binary_length(column).to_numpy() > cut * _CHARS_PER_TOKEN).tolist():
                if found := _BETWEEN_WORDS.search(texts[row], cut * _CHARS_PER_TOKEN):
                    whole[row], texts[row] = texts[row], texts[row][: found.end()]
        encodings = self._encode_all(texts, list(range(len(texts))), failures)
        # … and all of it where it did not.
        again = [row for row in whole if cut is not None and len(encodings[row]) <= cut]
        for row, encoding in zip(again, self._encode_all([whole[row] for row in again], again, failures), strict=True):
            encodings[row] = encoding
        return encodings

    def _encode_all(self, texts: list[str], rows: list[int], failures: dict[int, Exception]) -> list[Any]:
        try:
            return list(self.backend.encode_batch_fast(texts, add_special_tokens=False))
        except Exception as error:
            if len(texts) == 1:
                failures[rows[0]] = error
                return [()]
        half = len(texts) // 2
        first = self._encode_all(texts[:half], rows[:half], failures)
        return first + self._encode_all(texts[half:], rows[half:], failures)


@functools.lru_cache(maxsize=4)
def _tokenizer(checkpoint: Checkpoint, threads: int) -> _Tokenizer:
    """Load the tokenizer once per process, an object that nobody else changes."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if threads == 1 else "true"
    if threads > 1:
        os.environ["RAYON_NUM_THREADS"] = str(threads)
    tokenizer = load_tokenizer(checkpoint.local(), checkpoint.name)
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = tokenizer.split_special_tokens
    single, pair = _Frame(backend.encode("a")), _Frame(backend.encode("a", "a"))
    if [each for each in single.pieces if each[0] is not None] != [(0, 0, 0)] or any(each[2] for each in single.pieces):
        raise CheckpointError(f"{checkpoint.name}: its tokenizer numbers the parts of a single text, unlike BERT's")
    from_left = tokenizer.truncation_side == "left"
    return _Tokenizer(backend, single, pair, from_left, not from_left and _reads_by_words(backend))


def _reads_by_words(backend: Any) -> bool:
    """Whether the tokens of a text that is cut before a space between two ASCII words begin those of the whole text.

    They do when no step looks across such a space: normalizers that work on characters, a pre-tokenizer that splits
    there, a model that sees one word at a time, and no added token with a space in it.
    """
    spec = json.loads(backend.to_str())

    def parts(step: dict[str, Any] | None) -> list[dict[str, Any]]:
        inner = (step or {}).get("normalizers") or (step or {}).get("pretokenizers")
        return [each for one in inner for each in parts(one)] if inner else [step] if step else []

    by_character = ("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "StripAccents")
    blanks = [{"Regex": " {2,}"}, {"Regex": r"\s{2,}|[\n\r\t]"}, *({"String": each} for each in ("``", "''", "\n"))]
    splitting = [
        each["type"] in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")
        or (each["type"] == "ByteLevel" and each["use_regex"])
        or (each["type"] == "Metaspace" and each["split"])
        for each in parts(spec["pre_tokenizer"])
    ]
    return (
        all(
            each["type"] in by_character
            or (each["type"] == "Strip" and not each["strip_left"])
            or (each["type"] == "Replace" and each["pattern"] in blanks)
            for each in parts(spec["normalizer"])
        )
        and any(splitting)
        and all(
            split or each["type"] in ("Punctuation", "Digits")
            for split, each in zip(splitting, parts(spec["pre_tokenizer"]), strict=True)
        )
        and not spec["model"].get("dropout")
        and not any(" " in each["content"] for each in spec["added_tokens"])
    )


def _cut(sides: list[_Side], room: int, from_left: bool) -> list[Span]:
    """One span per row and side, the longer side cut first: tokenizers' `longest_first` (utils/truncation.rs)."""
    if len(sides) == 1:
        kept = [np.minimum(sides[0].lengths, room)]
    else:
        a, b = sides[0].lengths, sides[1].lengths
        short = np.minimum(a, b)
        long = np.where(short > room, short, np.maximum(short, room - short))
        both = short + long > room
        short, long = np.where(both, room // 2, short), np.where(both, room - room // 2, long)
        kept = [np.minimum(a, np.where(a > b, long, short)), np.minimum(b, np.where(a > b, short, long))]
    return [
        (side.starts + (side.lengths - length) * from_left, length) for side, length in zip(sides, kept, strict=True)
    ]


def _windows(side: _Side, room: int, stride: int, from_left: bool) -> tuple[Ints, list[Span]]:
    """(windows per row, their spans): `room` tokens each, `stride` of them shared with the window before."""
    counts = 1 + np.maximum(0, -(-(side.lengths - room) // (room - stride)))
    row = np.repeat(np.arange(len(counts)), counts)
    begin = _ranges(np.zeros_like(counts), counts) * (room - stride)
    length = np.minimum(side.lengths[row] - begin, room)
    if from_left:
        begin = side.lengths[row] - begin - length
    return counts, [(side.starts[row] + begin, length)]


def _ranges(starts: Ints, lengths: Ints) -> Ints:
    """The numbers of all ranges [start, start + length), one after the other."""
    return np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())


def _nested(outer: Ints, inner: Ints, values: Ints) -> pa.Array:
    if inner[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"a batch has {inner[-1]} tokens, more than 2^31: lower --batch_rows")
    windows = pa.ListArray.from_arrays(pa.array(inner, pa.int32()), pa.array(values))
    return pa.ListArray.from_arrays(pa.array(outer, pa.int32()), windows)
