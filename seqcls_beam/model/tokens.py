"""Tokens: RECORD → TOKENS.

Texts are tokenised whole and without special tokens, in one call per batch; cutting them to the model's length, laying
windows and putting the special tokens round them is arithmetic on the flat ids. The tokenizers library's own
truncation is not used: it keeps what it cuts off, for a pair every combination of the two sides, and two long texts
then need more memory than a machine has.

This file knows neither torch nor Beam, and imports transformers when the first batch comes.
"""

import time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.model.tokenizer import Side, Span, tokenizer_of
from seqcls_beam.model.words import Ints, ranges
from seqcls_beam.schema import PAYLOAD, REJECT_VALUE, TOKENS, Mark

Sequences = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int8] | None]
"""N sequences of T tokens: flat ids [T], offsets [N + 1] and, where `Checkpoint.typed` says so, types [T]."""

_MADE_UP = (1, 3, 5, 13, 34, 61, 144, 3)
"""Tokens of made-up sequences, where the special ones leave room for fewer."""


def tokenize(records: pa.RecordBatch, checkpoint: Checkpoint, options: ModelOptions) -> pa.RecordBatch:
    """RECORD → RECORD with TOKENS, row for row.

    `token_type_ids` is there where `Checkpoint.typed` says so. A rejected row
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
    tokenizer = tokenizer_of(checkpoint, options.threads)
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
        if each.name != "token_type_ids" or checkpoint.typed(pairs):
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


def made_up(checkpoint: Checkpoint, threads: int, below: int, longest: int) -> list[Sequences]:
    """Sequences of 1 to 144 tokens in the form that the tokenizer gives texts, then some that it gives pairs of them.

    Their words are drawn from the ids under `below` that are no special tokens; every third has one of these too, as a
    text has that holds its name. None has more than `longest` tokens. Raises `CheckpointError` as `tokenize`.
    """
    tokenizer = tokenizer_of(checkpoint, threads)
    drawn, made = np.random.default_rng(0), []
    special = np.array([each for each in tokenizer.special_ids if each < below], np.int32)
    words = np.setdiff1d(np.arange(min(below, tokenizer.size), dtype=np.int32), special)
    for sides, frame in ((1, tokenizer.single), (2, tokenizer.pair)):
        room = longest - frame.specials
        if room < sides or not len(words):
            continue
        lengths = np.minimum(_MADE_UP, room // sides)[:: 2 * sides - 1]
        laid = []
        for _ in range(sides):
            starts = np.cumsum(lengths) - lengths
            flat = drawn.choice(words, lengths.sum())
            if len(special):
                flat[starts[::3] + lengths[::3] // 2] = drawn.choice(special, len(starts[::3]))
            laid.append(Side(flat, starts, lengths))
        ids, types, offsets = frame.lay(laid, [(side.starts, side.lengths) for side in laid])
        made.append((ids, offsets, types if checkpoint.typed(sides > 1) else None))
    return made


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
    tokenizer = tokenizer_of(checkpoint, threads)
    frame = tokenizer.single if len(texts) == 1 else tokenizer.pair
    if length <= frame.specials:
        raise ValueError(f"--max_length={length}: no token fits beside the {frame.specials} special ones")
    sides, failures = tokenizer.encode(texts, None)
    ids, types, offsets = frame.lay(sides, _cut(sides, length - frame.specials, tokenizer.from_left))
    ends = pa.array(offsets, pa.int32())
    return Encoded(
        pa.ListArray.from_arrays(ends, pa.array(ids)),
        pa.ListArray.from_arrays(ends, pa.array(types)) if checkpoint.typed(len(texts) > 1) else None,
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


def _cut(sides: list[Side], room: int, from_left: bool) -> list[Span]:
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


def _windows(side: Side, room: int, stride: int, from_left: bool) -> tuple[Ints, list[Span]]:
    """(windows per row, their spans): `room` tokens each, `stride` of them shared with the window before."""
    counts = 1 + np.maximum(0, -(-(side.lengths - room) // (room - stride)))
    row = np.repeat(np.arange(len(counts)), counts)
    begin = ranges(np.zeros_like(counts), counts) * (room - stride)
    length = np.minimum(side.lengths[row] - begin, room)
    if from_left:
        begin = side.lengths[row] - begin - length
    return counts, [(side.starts[row] + begin, length)]


def _nested(outer: Ints, inner: Ints, values: Ints) -> pa.Array:
    if inner[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"a batch has {inner[-1]} tokens, more than 2^31: lower --batch_rows")
    windows = pa.ListArray.from_arrays(pa.array(inner, pa.int32()), pa.array(values))
    return pa.ListArray.from_arrays(pa.array(outer, pa.int32()), windows)
