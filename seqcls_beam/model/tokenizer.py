"""The tokenizer of a checkpoint: texts → flat ids, and the frame of special tokens round a sequence."""

import functools
import os
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.model.checkpoints import Checkpoint, CheckpointError, load_tokenizer
from seqcls_beam.model.checkpoints.errors import panics_raised, told
from seqcls_beam.model.cutting import encode_bounded
from seqcls_beam.model.words import BETWEEN_WORDS, Encode, Ints, Words, flat, mark_of, ranges, read_by_words

Span = tuple[Ints, Ints]
"""Starts and lengths in a side's `flat`, one per sequence."""

_CHARS_PER_TOKEN = 8  # a text is first read this far per token that fits; English has 4 to 5
_PROBES = 2  # texts
_TRIED = 1_000  # entries of a vocabulary
_FIRST, _SECOND = -1, -2  # no tokens: they stand for the texts in a frame


class Side(NamedTuple):
    """One text of every row: its ids are `flat[start : start + length]`."""

    flat: Ints
    starts: Ints
    lengths: Ints


Piece = tuple[int | None, int, int]
"""(Which text, or None, the id of a special token, the type)."""


class Frame:
    """The order of special tokens and texts in a sequence."""

    def __init__(self, probe: list[Piece]) -> None:
        """`probe` has a piece for each token of a sequence."""
        self.pieces: list[Piece] = []
        for piece in probe:
            # A text is one piece, however many tokens the probe's has.
            if piece[0] is None or self.pieces[-1:] != [piece]:
                self.pieces.append(piece)
        self.specials = sum(side is None for side, _, _ in self.pieces)

    def lay(self, sides: list[Side], spans: list[Span]) -> tuple[Ints, Ints, Ints]:
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
        ids = flat[ranges(starts.ravel(), lengths.ravel())]
        types = np.repeat(np.tile(kinds, len(starts)), lengths.ravel()) if kinds.any() else np.zeros(len(ids), np.int8)
        return ids, types, np.concatenate([[0], np.cumsum(lengths.sum(1))])


class Tokenizer(NamedTuple):
    """What turns the texts of one checkpoint into tokens."""

    read: Encode
    single: Frame
    pair: Frame
    from_left: bool  # a text that is too long loses its beginning, not its end: `truncation_side`
    by_words: bool  # see read_by_words
    special_ids: list[int]
    size: int  # ids are below

    def encode(self, texts: list[pa.Array], cut: int | None) -> tuple[list[Side], dict[int, Exception]]:
        """Columns of texts → their ids, without the rows that raised, and what those raised.

        Of a text with more than `cut` tokens, only so many and one more are sure to be there: enough to cut it, and to
        tell that it was cut.
        """
        failures: dict[int, Exception] = {}
        sides = [self._encode(column, cut, failures) for column in texts]
        bad = list(failures)
        return [
            Side(flat, np.delete(starts, bad), np.delete(lengths, bad)) for flat, starts, lengths in sides
        ], failures

    def _encode(self, column: pa.Array, cut: int | None, failures: dict[int, Exception]) -> Side:
        texts = column.to_pylist()
        whole: dict[int, str] = {}
        # Tokenising is what costs: of a long text first the part that is likely to hold `cut` tokens and more …
        if cut is not None and self.by_words and not self.from_left:
            for row in np.flatnonzero(pc.binary_length(column).to_numpy() > cut * _CHARS_PER_TOKEN).tolist():
                if found := BETWEEN_WORDS.search(texts[row], cut * _CHARS_PER_TOKEN):
                    whole[row], texts[row] = texts[row], texts[row][: found.end()]
        flat, lengths = self._encode_all(texts, list(range(len(texts))), failures)
        starts = np.cumsum(lengths) - lengths
        # … and all of it where it did not.
        again = [row for row in whole if cut is not None and lengths[row] <= cut]
        more, lengths[again] = self._encode_all([whole[row] for row in again], again, failures)
        starts[again] = len(flat) + np.cumsum(lengths[again]) - lengths[again]
        return Side(np.concatenate([flat, more]), starts, lengths)

    def _encode_all(self, texts: list[str], rows: list[int], failures: dict[int, Exception]) -> tuple[Ints, Ints]:
        if not texts:  # on which some tokenizers in Python raise
            return np.empty(0, np.int32), np.empty(0, np.int64)
        try:
            with panics_raised():
                return encode_bounded(self.read, texts, self.by_words)
        except Exception as error:
            if len(texts) == 1:
                failures[rows[0]] = error
                return np.empty(0, np.int32), np.zeros(1, np.int64)
        half = len(texts) // 2
        first = self._encode_all(texts[:half], rows[:half], failures)
        second = self._encode_all(texts[half:], rows[half:], failures)
        return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])


class Backend(Protocol):
    """A tokenizer in Rust, or in Python."""

    def encode(self, texts: list[str]) -> tuple[Ints, Ints]:
        """As Encode has it."""

    def pieces(self, *texts: str) -> list[Piece]:
        """Of a text or a pair with the special tokens: a piece for each token."""


class InRust:
    """One of the tokenizers library."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = backend = tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = tokenizer.split_special_tokens

    def encode(self, texts: list[str]) -> tuple[Ints, Ints]:
        """As `Backend` has it."""
        return flat([each.ids for each in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)])

    def pieces(self, *texts: str) -> list[Piece]:
        """As `Backend` has it."""
        probe = self.tokenizer.encode(*texts)
        return [
            (side, 0 if side is not None else token, kind)
            for token, kind, side in zip(probe.ids, probe.type_ids, probe.sequence_ids, strict=True)
        ]


class InPython:
    """One of transformers' own: a text at a time, many times as slow."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def encode(self, texts: list[str]) -> tuple[Ints, Ints]:
        """As `Backend` has it."""
        return flat(self._tokenizer(texts, add_special_tokens=False, truncation=False, padding=False)["input_ids"])

    def pieces(self, *texts: str) -> list[Piece]:
        """As `Backend` has it; a text is a single token, whatever it is."""
        stand_ins = [[_FIRST], [_SECOND]][: len(texts)]
        ids = self._tokenizer.build_inputs_with_special_tokens(*stand_ins)
        kinds = self._tokenizer.create_token_type_ids_from_sequences(*stand_ins)
        sides = {_FIRST: 0, _SECOND: 1}
        return [
            (sides.get(token), 0 if token in sides else token, kind) for token, kind in zip(ids, kinds, strict=True)
        ]


@functools.lru_cache(maxsize=4)
def tokenizer_of(checkpoint: Checkpoint, threads: int) -> Tokenizer:
    """Load the tokenizer once per process, an object that nobody else changes. Raises `CheckpointError`."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if threads == 1 else "true"
    if threads > 1:
        os.environ["RAYON_NUM_THREADS"] = str(threads)
    tokenizer = load_tokenizer(checkpoint.local(), checkpoint.name)
    backend = InRust(tokenizer) if tokenizer.is_fast else InPython(tokenizer)
    try:
        with panics_raised():
            texts = _some_texts(backend, tokenizer)
            probes = [(Frame(backend.pieces(each)), Frame(backend.pieces(each, each))) for each in texts]
    except Exception as error:
        raise CheckpointError(f"{checkpoint.name}: its tokenizer fails on a text ({told(error)})") from error
    (single, pair), *others = probes
    sides = [[side for side, _, _ in frame.pieces if side is not None] for frame in (single, pair)]
    if (sides[0], sorted(sides[1])) != ([0], [0, 1]) or any(other.pieces != single.pieces for other, _ in others):
        raise CheckpointError(f"{checkpoint.name}: its tokenizer puts marks into a text, or repeats it, unlike BERT's")
    from_left = tokenizer.truncation_side == "left"
    by_words, read = False, backend.encode
    if isinstance(backend, InRust) and read_by_words(backend.tokenizer):
        by_words, mark = True, mark_of(backend.tokenizer, read)
        read = Words(read, mark).encode if mark else read
    return Tokenizer(read, single, pair, from_left, by_words, tokenizer.all_special_ids, len(tokenizer))


def _some_texts(backend: Backend, tokenizer: Any) -> list[str]:
    """Two texts of other tokens: any have some, but of a tokenizer that passes over what it does not know."""
    found: dict[tuple[int, ...], str] = {}
    for text in ("a", "b", *(each.lstrip("#▁Ġ") for each in list(tokenizer.get_vocab())[:_TRIED])):
        if len(found) < _PROBES and text and (ids := tuple(backend.encode([text])[0].tolist())):
            found.setdefault(ids, text)
    return list(found.values()) or ["a"]
