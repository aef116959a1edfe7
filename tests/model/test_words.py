"""Texts that are tokenised word by word, each word once, beside what the tokenizer makes of them as they are."""

import functools
import json
import random
import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from seqcls_beam.config import ModelOptions
from seqcls_beam.model import words as module
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.model.tokens import tokenize
from seqcls_beam.model.words import Words, flat, mark_of, parted, read_by_words
from tests import tiny

PARTS = [
    *("fox", "Reader", "a", "B2", "9", "lazy", "foxes", "unread"),
    *(" ", " ", " ", " fox", " reader,", " x y ", "  ", "\n", "\t ", "\r\n"),
    *(".", "'s", "don't", "-", "``", "''", "#", "▁", "Ġ"),
    *("é", "e\u0301", "\u0301", "東", "🙂", "\u00a0", "\u3000", "\u200b", "\u00a8", "\ufdfa", "\x01", "\x00x"),
    *("<mask>", " [SEP] ", "[MASK]", "<s>", "  two  spaces "),
]
TEXTS = st.lists(st.lists(st.sampled_from(PARTS), max_size=30).map("".join), min_size=1, max_size=8)


@functools.cache
def backend(family):
    return tiny.tokenizer(family).backend_tokenizer


def plainly(tokenizer, texts):
    return [each.ids for each in tokenizer.encode_batch(texts, add_special_tokens=False)]


def encoder(tokenizer):
    return lambda texts: flat([each.ids for each in tokenizer.encode_batch_fast(texts, add_special_tokens=False)])


def by_words(tokenizer):
    mark = mark_of(tokenizer, encoder(tokenizer))
    assert mark
    return Words(encoder(tokenizer), mark)


def listed(ids, lengths):
    ends = lengths.cumsum()
    return [ids[end - length : end].tolist() for end, length in zip(ends, lengths, strict=True)]


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """By words, whatever it costs, and some words together."""
    monkeypatch.setattr(module, "_NEW", 1)
    monkeypatch.setattr(module, "_TOGETHER", 3)


@settings(max_examples=200)
@given(TEXTS, st.integers(0, 3), st.integers(0, 3))
def test_words_are_the_text_cut_before_single_spaces(texts, left, right):
    column = pa.array(["x y"] * left + texts + [" z "] * right).slice(left, len(texts))
    words, firsts = parted(column)
    words.validate(full=True)
    for text, first, end in zip(texts, firsts[:-1], firsts[1:], strict=True):
        expected = re.split(r"(?<=[!-~])(?= [!-~]| \Z)", text) if text else []
        assert words.to_pylist()[first:end] == expected
    assert firsts[-1] == len(words)


@settings(max_examples=300)
@given(st.sampled_from([*tiny.FAMILIES, *tiny.MORE_FAMILIES]), st.lists(TEXTS, min_size=1, max_size=3))
def test_ids_are_those_of_the_texts_as_they_are(family, batches):
    tokenizer = backend(family)
    assert read_by_words(tokenizer)
    words = by_words(tokenizer)
    for texts in [*batches, *batches]:
        assert listed(*words.encode(texts)) == plainly(tokenizer, texts)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_corpus_that_has_the_mark_is_read_right_and_long_after_words_were_forgotten(family, monkeypatch):
    monkeypatch.setattr(module, "_KNOWN", 20)
    tokenizer, chance = backend(family), random.Random(family)
    mark = mark_of(tokenizer, encoder(tokenizer))
    assert mark and mark[0] == " " and len(plainly(tokenizer, [mark])[0]) == 1
    some = [*" ".join(tiny.CORPUS).split(), mark[1:], f"{mark[1:]}s", f"x{mark[1:]},", mark * 3, "y" * 50]
    words = Words(encoder(tokenizer), mark)
    for _ in range(20):
        texts = [" ".join(chance.choices(some, k=chance.randrange(9))) for _ in range(9)]
        assert listed(*words.encode(texts)) == plainly(tokenizer, texts)
        assert len(words._known) < 20 + 81 and not any("y" * 50 in word for word in words._known)


def test_a_tokenizer_is_given_each_word_once_and_texts_of_new_words_as_they_are(monkeypatch):
    monkeypatch.setattr(module, "_NEW", 0.5)
    tokenizer, given_ = backend("bert"), []
    plain = encoder(tokenizer)

    def encode(texts):
        given_.extend(texts)
        return plain(texts)

    words = Words(encode, " fox")
    given_.clear()
    words.encode(["a quick reader", "the lazy dog"])
    assert given_ == ["a quick reader", "the lazy dog"]
    given_.clear()
    words.encode(["the lazy dog", "the lazy dog", "the lazy lazy dog"])
    assert given_ == [" lazy fox dog fox", "the"]
    given_.clear()
    words.encode(["the dog", "the lazy reader"])
    assert given_ == [" reader fox"]


def changed(family, change):
    """The family's tokenizer, with its description changed."""
    spec = json.loads(backend(family).to_str())
    change(spec)
    return Tokenizer.from_str(json.dumps(spec))


def added(content, **how):
    token = {"id": 5000, "content": content, "special": False, "normalized": True, "single_word": False}
    return lambda spec: spec["added_tokens"].append({**token, "lstrip": False, "rstrip": False, **how})


@pytest.mark.parametrize("content", ["the dog", " dog", "fox ", " ", "the\u00a0dog", "the\u3000fox", "the\u200bdog"])
def test_added_tokens_that_could_hold_a_space_between_words(content):
    assert not read_by_words(changed("bert", added(content)))


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2"])
@pytest.mark.parametrize("how", [{}, {"lstrip": True}, {"single_word": True}, {"special": True, "normalized": False}])
@pytest.mark.parametrize("content", ["<fox>", "dog", "   ", "  "])
def test_added_tokens_that_keep_off(family, how, content):
    tokenizer = changed(family, added(content, **how))
    # Its normalizer makes one space of several, in such a token too.
    one = family == "deberta-v2" and content.isspace() and "normalized" not in how
    assert read_by_words(tokenizer) == (not one)
    if one:
        return
    chance = random.Random(0)
    some = [content, "a", "lazy", " ", "  ", "   ", "x ", " <fox> dog", "."]
    texts = ["".join(chance.choices(some, k=12)) for _ in range(200)]
    words = by_words(tokenizer)
    assert listed(*words.encode(texts)) == plainly(tokenizer, texts)


def test_an_added_token_that_takes_the_space_behind_it():
    tokenizer = changed("roberta", added("fox", rstrip=True))
    parts, whole = plainly(tokenizer, ["fox", " dog"]), plainly(tokenizer, ["fox dog"])[0]
    assert parts[0] + parts[1] != whole and not read_by_words(tokenizer)


@pytest.mark.parametrize(
    "steps",
    [
        [{"type": "Replace", "pattern": {"String": "a b"}, "content": "c"}],
        [{"type": "Prepend", "prepend": "▁"}],
        [{"type": "Replace", "pattern": {"String": "``"}, "content": "a "}],
        [{"type": "Strip", "strip_left": True, "strip_right": False}],
        [{"type": "Replace", "pattern": {"Regex": "."}, "content": " "}],
        [{"type": "NFC"}, {"type": "Lowercase"}, {"type": "Prepend", "prepend": "_"}],
    ],
)
def test_normalizers_that_look_across_a_space(steps):
    def change(spec):
        spec["normalizer"] = {"type": "Sequence", "normalizers": steps}

    assert not read_by_words(changed("deberta-v2", change))


def test_pre_tokenizers_and_models_that_look_across_a_space():
    for change in (
        lambda spec: spec.update(pre_tokenizer=None),
        lambda spec: spec["pre_tokenizer"].update(use_regex=False),
        lambda spec: spec["model"].update(dropout=0.1),
    ):
        assert not read_by_words(changed("roberta", change))


def test_a_word_on_which_the_tokenizer_raises_rejects_its_text_alone(tmp_path):
    folder = tiny.checkpoint(tmp_path / "no-unknown")
    spec = json.loads((folder / "tokenizer.json").read_text())
    spec["model"]["unk_token"] = "[NONE]"  # not in the vocabulary: WordPiece raises where it would need it
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 128}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    checkpoint, texts = resolve(str(folder)), ["the lazy dog", "the lazy ☃", "the dog", "a ☂ dog"]
    batch = tokenize(tiny.records(texts), checkpoint, ModelOptions())
    assert [each is None for each in batch["reject"].to_pylist()] == [True, False, True, False]
    good = AutoTokenizer.from_pretrained(folder)([texts[0], texts[2]])["input_ids"]
    assert [batch["input_ids"][row].as_py() for row in (0, 2)] == [[ids] for ids in good]
