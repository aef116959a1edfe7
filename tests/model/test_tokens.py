"""Token ids are AutoTokenizer's own, for every family, length and window, and one bad text harms no other."""

import functools
import itertools
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from seqcls_beam.config import ModelOptions
from seqcls_beam.model import tokens as module
from seqcls_beam.model.checkpoints import Checkpoint, CheckpointError, resolve
from seqcls_beam.model.tokenizer import Frame, Side, tokenizer_of
from seqcls_beam.model.tokens import tokenize
from seqcls_beam.schema import TOKENS, Mark
from tests import tiny

TEXTS = [
    *tiny.CORPUS,
    "",
    " ",
    "\n\t  tabs,\nlines   and  runs of spaces ",
    "a",
    "it's [MASK] and <mask>, [SEP] and </s>, even <pad>",
    "unknown glyphs ☃ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 é é \u200b x\u0301",
    "lazy " * 300,
    "Supercalifragilistic" * 60,
]


@functools.cache
def plain(checkpoint):
    return AutoTokenizer.from_pretrained(checkpoint.local())


def own(checkpoint, texts, pairs=None, **how):
    """What the plain tokenizer says, as lists of ids per sequence."""
    return plain(checkpoint)(texts, pairs, truncation="longest_first", **how)


def windows(batch):
    return batch["input_ids"].to_pylist()


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("length", [4, 5, 16, 17, None])
def test_single_texts_have_the_ids_of_autotokenizer(family, length):
    checkpoint = tiny.resolved(family)
    batch = tokenize(tiny.records(TEXTS), checkpoint, ModelOptions(max_length=length))
    cut = own(checkpoint, TEXTS, max_length=length or checkpoint.max_length)["input_ids"]
    whole = plain(checkpoint)(TEXTS, verbose=False)["input_ids"]
    assert windows(batch) == [[ids] for ids in cut]
    assert batch["tokens"].to_pylist() == [len(ids) for ids in cut]
    assert batch["truncated"].to_pylist() == [len(a) < len(b) for a, b in zip(cut, whole, strict=True)]
    assert batch.schema.names == [*tiny.records(TEXTS).schema.names, "input_ids", "tokens", "truncated"]


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("length", [5, 8, 16, 17, None])
def test_pairs_have_the_ids_and_types_of_autotokenizer(family, length):
    checkpoint = tiny.resolved(family)
    texts = [text for text in TEXTS for _ in TEXTS]
    pairs = TEXTS * len(TEXTS)
    batch = tokenize(tiny.records(texts, pairs), checkpoint, ModelOptions(max_length=length))
    short = [(a[:80], b[:80]) for a, b in zip(texts, pairs, strict=True)]  # its memory grows with the product
    expected = own(checkpoint, *map(list, zip(*short, strict=True)), max_length=length or checkpoint.max_length)
    same = [i for i, (a, b) in enumerate(short) if (a, b) == (texts[i], pairs[i])]
    assert len(same) > 80
    assert [windows(batch)[i] for i in same] == [[expected["input_ids"][i]] for i in same]
    assert ("token_type_ids" in batch.schema.names) == checkpoint.sentence_ids
    if checkpoint.sentence_ids:
        types = batch["token_type_ids"].to_pylist()
        assert [types[i] for i in same] == [[expected["token_type_ids"][i]] for i in same]
        assert batch.schema.field("token_type_ids").equals(TOKENS[1])


def test_the_families_that_tell_sentences_apart():
    assert {each for each in tiny.FAMILIES if tiny.resolved(each).sentence_ids} == {"bert", "electra"}


@settings(max_examples=60)
@given(a=st.integers(0, 40), b=st.integers(0, 40), length=st.integers(5, 50), side=st.sampled_from(["right", "left"]))
def test_the_longer_side_of_a_pair_is_cut_first(a, b, length, side):
    checkpoint = sided(side)
    texts, pairs = [" ".join("abcdefgh"[i % 8] for i in range(n)) for n in (a, b)]
    batch = tokenize(tiny.records([texts], [pairs]), checkpoint, ModelOptions(max_length=length))
    assert windows(batch) == [own(checkpoint, [texts], [pairs], max_length=length)["input_ids"]]
    assert batch["truncated"].to_pylist() == [a + b + 3 > length]


SIDED: dict[str, Checkpoint] = {}


def sided(side):
    """A checkpoint whose tokenizer cuts off that side."""
    if side not in SIDED:
        folder = tiny.resolved().local().parent / f"{tiny.resolved().local().name}-{side}"
        shutil.copytree(tiny.resolved().local(), folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, truncation_side=side)
        tokenizer.save_pretrained(folder)
        SIDED[side] = resolve(str(folder))
    return SIDED[side]


@pytest.fixture(scope="module", autouse=True)
def no_folders_left():
    yield
    for each in SIDED.values():
        shutil.rmtree(each.location)


@settings(max_examples=60)
@given(
    words=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    length=st.integers(4, 20),
    share=st.floats(0, 0.999),
    side=st.sampled_from(["right", "left"]),
)
def test_windows_are_those_of_autotokenizer(words, length, share, side):
    checkpoint, stride = sided(side), int(share * (length - 2))
    texts = [" ".join("abcdefgh"[i % 8] for i in range(n)) for n in words]
    options = ModelOptions(max_length=length, overflow="window", stride=stride)
    batch = tokenize(tiny.records(texts), checkpoint, options)
    expected = own(checkpoint, texts, max_length=length, stride=stride, return_overflowing_tokens=True)
    rows: list[list[list[int]]] = [[] for _ in texts]
    for row, ids in zip(expected["overflow_to_sample_mapping"], expected["input_ids"], strict=True):
        rows[row].append(ids)
    assert windows(batch) == rows
    assert batch["tokens"].to_pylist() == [sum(map(len, row)) for row in rows]
    assert not any(batch["truncated"].to_pylist())


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_windows_of_every_family(family):
    checkpoint = tiny.resolved(family)
    options = ModelOptions(max_length=16, overflow="window", stride=5)
    batch = tokenize(tiny.records(TEXTS), checkpoint, options)
    expected = own(checkpoint, TEXTS, max_length=16, stride=5, return_overflowing_tokens=True)["input_ids"]
    assert [ids for row in windows(batch) for ids in row] == expected


def test_rejected_rows_have_no_tokens_and_the_mark_is_kept():
    batch = tokenize(tiny.records(TEXTS, rejected=[0, 3]), tiny.resolved(), ModelOptions())
    assert batch.num_rows == len(TEXTS)
    for row in (0, 3):
        assert batch["input_ids"][row].as_py() == []
        assert batch["tokens"][row].as_py() is batch["truncated"][row].as_py() is None
    good = tokenize(tiny.records(TEXTS), tiny.resolved(), ModelOptions())
    assert batch["input_ids"].to_pylist()[1] == good["input_ids"].to_pylist()[1]
    assert (Mark.of(batch).unit, Mark.of(batch).units) == (3, 7)
    assert Mark.of(batch).seconds["tokenize"] > 0
    for field in TOKENS:
        if field.name != "token_type_ids":
            assert batch.schema.field(field.name).equals(field)


@pytest.mark.parametrize("rejected", [[], [0, 1]])
def test_a_batch_with_nothing_to_tokenise(rejected):
    for options in (ModelOptions(), ModelOptions(overflow="window")):
        batch = tokenize(tiny.records(["a", "b"][: len(rejected)], rejected=rejected), tiny.resolved(), options)
        assert windows(batch) == [[] for _ in rejected]


def test_a_slice_of_a_batch_is_tokenised_as_itself():
    records = tiny.records(TEXTS, rejected=[2, 5])
    whole = tokenize(records, tiny.resolved(), ModelOptions())
    part = tokenize(records.slice(1, 6), tiny.resolved(), ModelOptions())
    assert part.to_pylist() == whole.to_pylist()[1:7]


def test_a_text_on_which_the_tokenizer_raises_is_rejected_alone(tmp_path):
    folder = tiny.checkpoint(tmp_path / "no-unknown")
    spec = json.loads((folder / "tokenizer.json").read_text())
    spec["model"]["unk_token"] = "[NONE]"  # not in the vocabulary: WordPiece raises where it would need it
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    settings_file = folder / "tokenizer_config.json"
    settings_file.write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 128}))
    checkpoint = resolve(str(folder))
    texts = ["a good dog", "an unknown ☃", "a lazy fox", "☂"]
    batch = tokenize(tiny.records(texts), checkpoint, ModelOptions())
    assert [len(row) for row in windows(batch)] == [1, 0, 1, 0]
    assert windows(batch)[2] == windows(tokenize(tiny.records([texts[2]]), checkpoint, ModelOptions()))[0]
    assert batch["text"].to_pylist() == [texts[0], None, texts[2], None]
    assert batch["tokens"].to_pylist()[1] is None
    reject = batch["reject"].to_pylist()[1]
    assert (reject["stage"], reject["reason"], reject["raw"]) == ("tokenize", "model_error", texts[1].encode())
    assert "UNK" in reject["detail"] or "[NONE]" in reject["detail"]
    assert batch["reject"].to_pylist()[2] is None
    batch.validate(full=True)


def test_options_the_checkpoint_cannot_meet():
    checkpoint = tiny.resolved()
    cases = {
        "--max_length=129: .* reads at most 128": (None, ModelOptions(max_length=129)),
        "windows are for single texts": (["b"], ModelOptions(overflow="window")),
        "14 tokens fit beside the 2 special ones, and --stride=14 must be less": (
            None,
            ModelOptions(max_length=16, overflow="window", stride=14),
        ),
    }
    for message, (pairs, options) in cases.items():
        with pytest.raises(ValueError, match=message):
            tokenize(tiny.records(["a"], pairs), checkpoint, options)


def test_a_single_text_whose_parts_are_numbered_has_the_types_of_autotokenizer(tmp_path):
    folder = tiny.checkpoint(tmp_path / "xlnet-like", type_vocab_size=3)
    spec = json.loads((folder / "tokenizer.json").read_text())
    spec["post_processor"]["single"][-1]["SpecialToken"]["type_id"] = 2
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["input_ids", "token_type_ids"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    checkpoint = resolve(str(folder))
    assert checkpoint.numbered
    found = tokenize(tiny.records(["a film", "a reader"]), checkpoint, ModelOptions())["token_type_ids"].to_pylist()
    assert [each[0] for each in found] == plain(checkpoint)(["a film", "a reader"])["token_type_ids"]
    assert not tiny.resolved("bert").numbered


def test_a_tokenizer_that_repeats_a_text_is_refused(tmp_path):
    folder = tiny.checkpoint(tmp_path / "twice")
    spec = json.loads((folder / "tokenizer.json").read_text())
    spec["post_processor"]["single"] += [spec["post_processor"]["single"][1]]
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    with pytest.raises(CheckpointError, match="puts marks into a text, or repeats it"):
        tokenize(tiny.records(["a"]), resolve(str(folder)), ModelOptions())


PIECES = st.sampled_from([("special", 0), ("special", 1), ("a", 0), ("a", 1), ("b", 0), ("b", 1)])
SPANS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), min_size=5, max_size=5)


@settings(max_examples=100)
@given(st.lists(PIECES, min_size=1, max_size=7), SPANS, SPANS, st.integers(0, 5))
def test_pieces_are_laid_one_after_the_other(pieces, first, second, rows):
    sides = [Side(np.arange(base, base + 30, dtype=np.int32), *np.zeros((2, rows), int)) for base in (100, 200)]
    frame = Frame([])
    frame.pieces = [({"a": 0, "b": 1}.get(name), 7 + i, kind) for i, (name, kind) in enumerate(pieces)]
    expected: list[list[tuple[int, int]]] = []
    for row in range(rows):
        expected.append([])
        for side, token, kind in frame.pieces:
            at, length = (first, second)[side or 0][row]
            said = [token] if side is None else [100 * (side + 1) + at + i for i in range(length)]
            expected[-1] += [(each, kind) for each in said]
    spans = [np.array(each[:rows], np.int64).reshape(-1, 2) for each in (first, second)]
    ids, types, offsets = frame.lay(sides, [(span[:, 0], span[:, 1]) for span in spans])
    assert [str(each.dtype) for each in (ids, types, offsets)] == ["int32", "int8", "int64"]
    assert list(zip(ids.tolist(), types.tolist(), strict=True)) == [each for row in expected for each in row]
    assert offsets.tolist() == [0, *itertools.accumulate(map(len, expected))]


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_long_texts_are_read_as_far_as_needed_and_give_the_same_ids(family, monkeypatch):
    checkpoint, options = tiny.resolved(family), ModelOptions(max_length=16)
    assert tokenizer_of(checkpoint, 0).by_words
    texts = [
        "The lazy dog, " * 200,
        "A" + "wordwithoutanyspace" * 40 + " tail",
        "é " * 300 + "plain words at last " * 50,
        "wonderful " * 20 + "\u0301 <mask> [MASK]  two  spaces\n\nlines " * 40,
        " " * 500 + "late words come here",
        "b" * 126 + " c" * 3,
    ]
    records = tiny.records(texts)
    quick = tokenize(records, checkpoint, options)
    slow = tokenizer_of(checkpoint, 0)._replace(by_words=False)
    monkeypatch.setattr(module, "tokenizer_of", lambda *_: slow)
    assert windows(quick) == windows(tokenize(records, checkpoint, options))
    assert quick["truncated"].to_pylist() == tokenize(records, checkpoint, options)["truncated"].to_pylist()


@settings(max_examples=150)
@given(
    family=st.sampled_from(["bert", "roberta", "albert", "deberta-v2", "xlm-roberta"]),
    text=st.lists(
        st.sampled_from(
            [
                "word",
                "a",
                "B2",
                " ",
                "  ",
                "\n",
                ".",
                "'s",
                "é",
                "e\u0301",
                "東",
                "🙂",
                "<mask>",
                "[MASK]",
                "\u00a0",
                "-",
                "\u0301",
                " x y ",
            ]
        ),
        max_size=200,
    ).map("".join),
)
def test_no_text_shows_that_it_was_read_in_part(family, text):
    checkpoint = tiny.resolved(family)
    batch = tokenize(tiny.records([text]), checkpoint, ModelOptions(max_length=5))
    assert windows(batch) == [[own(checkpoint, text, max_length=5)["input_ids"]]]
    whole = plain(checkpoint)(text, verbose=False)["input_ids"]
    assert batch["truncated"].to_pylist() == [len(whole) > 5]


def test_two_long_texts_in_a_pair_need_no_more_than_their_own_memory():
    started = time.perf_counter()
    long = "the lazy dog " * 20_000
    batch = tokenize(tiny.records([long], [long]), tiny.resolved(), ModelOptions())
    assert batch["tokens"].to_pylist() == [128]
    assert time.perf_counter() - started < 20


def test_one_thread_means_one_thread():
    script = (
        "import os, sys; from seqcls_beam import config; from seqcls_beam.model import checkpoints, tokens\n"
        "assert not {'torch', 'transformers', 'apache_beam'} & set(sys.modules), 'imported too early'\n"
        "from tests import tiny\n"
        "for threads, expected in ((1, ('false', None)), (2, ('true', '2'))):\n"
        "    options = config.ModelOptions(threads=threads)\n"
        "    tokens.tokenize(tiny.records(['a']), tiny.resolved(), options)\n"
        "    found = os.environ['TOKENIZERS_PARALLELISM'], os.environ.get('RAYON_NUM_THREADS')\n"
        "    assert found == expected, found\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAYON_NUM_THREADS"}
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)


def test_the_batch_is_cut_nowhere_that_shows():
    records = tiny.records(TEXTS)
    whole = tokenize(records, tiny.resolved(), ModelOptions()).to_pylist()
    alone = [tokenize(records.slice(i, 1), tiny.resolved(), ModelOptions()).to_pylist()[0] for i in range(len(TEXTS))]
    assert alone == whole
