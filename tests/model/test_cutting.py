"""Long texts, tokenised in parts, beside what the tokenizer makes of them at once."""

import itertools
import random

import pytest

from seqcls_beam.config import ModelOptions
from seqcls_beam.model import cutting
from seqcls_beam.model.cutting import encode_bounded
from seqcls_beam.model.tokens import tokenize
from seqcls_beam.model.words import flat, read_by_words
from tests import tiny

PARTS = [
    "fox",
    "Reader ",
    "a",
    " ",
    "  ",
    "\n",
    "\t ",
    "9",
    ".",
    "don't",
    "é",
    "e\u0301",
    "東京",
    "🙂",
    " [SEP] ",
    "\u00a0",
    "\x00x",
]


@pytest.mark.engine
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_ids_are_those_of_the_text_at_once(family, monkeypatch):
    backend = tiny.tokenizer(family).backend_tokenizer
    chance = random.Random(family)
    texts = ["".join(chance.choices(PARTS, k=chance.randrange(300))) for _ in range(60)]
    texts += ["", "fox " * 200, "foxes" * 100, " fox reader" * 90]
    expected = [each.ids for each in backend.encode_batch(texts, add_special_tokens=False)]
    for at_once in (8, 50, 2**20):
        monkeypatch.setattr(cutting, "AT_ONCE", at_once)
        ids, lengths = encode_bounded(
            lambda some: flat([each.ids for each in backend.encode_batch_fast(some, add_special_tokens=False)]),
            texts,
            read_by_words(backend),
        )
        assert ids.tolist() == list(itertools.chain.from_iterable(expected))
        assert lengths.tolist() == list(map(len, expected))


def test_no_more_is_given_to_the_tokenizer_at_a_time():
    given = []

    def encode(texts):
        given.append(sum(map(len, texts)))
        return flat([[7] for _ in texts])

    texts = ["word " * 10, *["word " * 300_000] * 2, "x" * 2_000_000, "y"]
    encode_bounded(encode, texts, by_words=True)
    assert sum(given) == sum(map(len, texts))
    assert sorted(given)[-1] == 2_000_000, "it has no place where it could be cut"


def test_a_text_that_is_too_long_to_be_read_at_once_is_rejected_alone():
    batch = tiny.records(["a film", "東" * 2_200_000, "a reader"])
    rejects = tokenize(batch, tiny.resolved(), ModelOptions())["reject"].to_pylist()
    assert rejects[0] is rejects[2] is None
    assert (
        rejects[1]["detail"]
        == "ValueError: 2,200,000 characters without a place to cut: at most 2,097,152 are read at once"
    )
