"""Long texts, tokenised in parts, beside what the tokenizer makes of them at once."""

import random
from types import SimpleNamespace

import pytest

from seqcls_beam.model import cutting
from seqcls_beam.model.cutting import encode_bounded
from seqcls_beam.model.tokens import _reads_by_words
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
        found = encode_bounded(backend, texts, _reads_by_words(backend))
        assert [each.ids.tolist() for each in found] == expected
        assert [len(each) for each in found] == list(map(len, expected))


def test_no_more_is_given_to_the_tokenizer_at_a_time():
    given = []

    class Backend:
        def encode_batch_fast(self, texts, add_special_tokens):
            given.append(sum(map(len, texts)))
            return [SimpleNamespace(ids=[7]) for _ in texts]

    texts = ["word " * 10, *["word " * 300_000] * 2, "x" * 3_000_000, "y"]
    encode_bounded(Backend(), texts, by_words=True)
    assert sum(given) == sum(map(len, texts))
    assert sorted(given)[-1] == 3_000_000, "it has no place where it could be cut"
    assert sorted(given)[-2] <= cutting.AT_ONCE
