"""What happens to one text: cleaning, the duplicate key, labels."""

import hashlib
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqcls_beam.preparation import labels
from seqcls_beam.preparation.clean import STEPS, clean
from seqcls_beam.preparation.keys import digests, duplicate_key, is_ascii, pair_up

DEFAULT = ("nfkc", "casefold", "whitespace")


@pytest.mark.parametrize(
    ("text", "cleaned", "by"),
    [
        ("a plain text, with “quotes” & Capitals…", "a plain text, with “quotes” & Capitals…", set()),
        ("schÃ¶n", "schön", {"encoding"}),
        ("donâ€™t", "don’t", {"encoding"}),
        ("one.<br /><br />Two", "one. Two", {"html", "whitespace"}),
        ("a <b>bold</b> <A HREF='x'>link</A>", "a bold link", {"html"}),
        ("I <3 you, a < b > c and x<y", "I <3 you, a < b > c and x<y", set()),
        ("fish &amp; chips &#39;n&#x27; peas &nbsp;", "fish & chips 'n' peas", {"html", "whitespace"}),
        ("AT&T; R&D", "AT&T; R&D", set()),
        ("\x1b[31mred\x1b[0m and\x00 bell\x07", "red and bell", {"control"}),
        ("zero\u200bwidth \u202eright", "zerowidth right", {"control"}),
        ("नमस\u200dते 👩\u200d👧", "नमस\u200dते 👩\u200d👧", set()),
        (" two  blanks\tand\u3000a\u00a0line\r\nend ", "two blanks and a line end", {"whitespace"}),
    ],
)
def test_a_step_repairs_what_it_is_for_and_leaves_style(text, cleaned, by):
    for texts in (pa.array([text]), pa.array(["before", None, text, "é"])[2:]):
        found, changed = clean(texts, tuple(STEPS))
        assert found[0].as_py() == cleaned
        assert {step for step, count in changed.items() if count} == by
    assert clean(pa.array([text]), ())[0].to_pylist() == [text]


def test_nulls_and_nothing_stay():
    assert clean(pa.array([None, "a  b"], pa.string()), tuple(STEPS))[0].to_pylist() == [None, "a b"]
    assert clean(pa.array([], pa.string()), tuple(STEPS))[0].to_pylist() == []


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=8))
def test_the_key_of_many_texts_is_that_of_each_by_the_standard_library(texts):
    found = duplicate_key(pa.array(texts, pa.string()), DEFAULT).to_pylist()
    assert found == [" ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in texts]


@given(st.text(st.characters(max_codepoint=127, exclude_characters="\0")))
def test_a_text_has_one_key_whether_or_not_it_is_ascii(text):
    alone, beside = (
        duplicate_key(pa.array([each]), (*DEFAULT, "punctuation"))[0].as_py() for each in (text, f"{text} é")
    )
    assert beside == f"{alone} é".strip()


def test_punctuation_is_forgotten_only_on_request():
    texts = pa.array(["A good film.", "a good film", "«a» good—film!", "$5 a + b"])
    assert duplicate_key(texts, DEFAULT).to_pylist() == ["a good film.", "a good film", "«a» good—film!", "$5 a + b"]
    punctuation = duplicate_key(texts, (*DEFAULT, "punctuation")).to_pylist()
    assert punctuation == ["a good film", "a good film", "a good film", "5 a b"]


def test_digests_are_the_halves_of_a_keyed_blake2b():
    found = digests(pa.array(["a", "é"])[1:], seed=7)
    expected = hashlib.blake2b("é".encode(), digest_size=16, key=(7).to_bytes(8, "big")).digest()
    assert [int(each).to_bytes(8, "big") for each in found[0]] == [expected[:8], expected[8:]]
    assert (digests(pa.array(["é"]), seed=8) != found).all()
    assert digests(pa.array([], pa.string()), 0).shape == (0, 2)


def test_the_two_sides_of_a_pair_are_not_confused():
    one = pair_up(pa.array(["a b", "a"]), pa.array(["c", "b c"]))
    assert one[0] != one[1]
    assert is_ascii(pa.array(["a", "é", ""])).to_pylist() == [True, False, True]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array(["pos", " neg ", "", None]), ["pos", "neg", None, None]),
        (pa.array([0, 1, None]), ["0", "1", None]),
        (pa.array([1.0, 2.5, float("nan"), None]), ["1", "2.5", None, None]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ["b", "a", "b"]),
    ],
)
def test_a_label_is_what_stands_there_as_a_string(values, expected):
    found, missing = labels.canonical(values, "single_label")
    assert found.to_pylist() == expected
    assert missing.to_pylist() == [each is None for each in expected]


def test_a_number_to_predict():
    found, missing = labels.canonical(pa.array(["1.5", "x", "", "inf", "-2"]), "regression")
    assert found.to_pylist() == [1.5, None, None, None, -2.0]
    assert missing.to_pylist() == [False, True, True, True, False]


def test_names_stand_in_the_order_of_numbers_where_all_are():
    assert labels.vocabulary({"10", "9", "-1"}) == ["-1", "9", "10"]
    assert labels.vocabulary({"10", "9", "b"}) == ["10", "9", "b"]


def test_pinned_labels():
    assert labels.pinned(("0:bad", "good")) == (["bad", "good"], {"0": "bad", "good": "good"})
    with pytest.raises(ValueError, match="the name 'a' is there twice"):
        labels.pinned(("0:a", "1:a"))
    with pytest.raises(ValueError, match="the value '0' is there twice"):
        labels.pinned(("0:a", "0:b"))


def test_labels_are_numbered_as_a_trainer_wants_them():
    single = labels.numbered(pa.array(["b", "a", None]), ["a", "b"], "single_label")
    assert single.to_pylist() == [1, 0, -1] and single.type == pa.int64()
    several = labels.numbered(pa.array([["a", "c"], []], pa.list_(pa.string())), ["a", "b", "c"], "multi_label")
    assert several.to_pylist() == [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]] and several.type == pa.list_(pa.float32())
