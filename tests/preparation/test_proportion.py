"""What is done to a text takes a time that grows as the text does, whatever stands in it; and gives what it gave."""

import html
import itertools
import random
import re
import time
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqcls_beam.preparation import keys
from seqcls_beam.preparation.clean import STEPS, clean
from seqcls_beam.preparation.labels import vocabulary

PIECES = [
    "<!--", "-->", "<b>", "<p ", "<script>", "</", "<", ">", "&", "&amp;", "&#1", '"', "'", "http://", "@", " ", "\n",
    "\x1b[", "0", "e\u0301", "\u0316\u0301", "\u0f73", "\uff9e\u0301", "Ã¤", "â€™", "Ã", "\xa0", "â", "\x81", "ï»¿",
    "\u200b",
]  # fmt: skip
MARKS = st.text(st.sampled_from("aé\u0301\u0316\u0344\u0f73\u0f71\u034f\u0903\uff9eﬁ한"), max_size=60)


def seconds(step, text):
    """Time of the processor, the least of several."""
    taken = []
    for _ in range(2):
        began = time.process_time()
        step(text)
        taken.append(time.process_time() - began)
    return min(taken)


def suspicious(step, repeated):
    """Whether four times as much takes far more than four times as long; measured where it is enough to be measured."""
    size = 8_000 // len(repeated)
    few, many = (seconds(step, repeated * count) for count in (size, 4 * size))
    return many > 0.02 and many > 8 * few


@pytest.mark.parametrize("name", [*STEPS, "key"])
def test_time_grows_as_the_text_does(name):
    def step(text):
        texts = pa.array([text])
        return keys.duplicate_key(texts, keys.STEPS) if name == "key" else STEPS[name](texts)

    step("é <b>")  # what is imported at first
    pairs = ["".join(each) for each in itertools.permutations(PIECES, 2)]
    tried = [*PIECES, "<!--<b>", "<b><!--", *random.Random(5).sample(pairs, 12)]
    found = [each for each in tried if suspicious(step, each)]
    # What is alone on a busy machine, a step that is not linear is again, and of a longer text more so.
    assert [each for each in found if suspicious(step, each) and suspicious(step, each * 4)] == []


@pytest.mark.parametrize("text", ["<!--<b>" * 40_000, "<b><!--" * 40_000, "e" + "\u0301\u0316" * 60_000])
def test_what_took_minutes_is_done_at_once(text):
    began = time.process_time()
    cleaned, _ = clean(pa.array([text]), tuple(STEPS))
    keys.duplicate_key(cleaned, keys.STEPS)
    assert time.process_time() - began < 5


@given(st.lists(st.sampled_from(["<!--", "-->", "->", "<b>", "</b >", "<b", "<p>", ">", "-", "x", "\n"]), max_size=14))
def test_tags_and_comments_go_from_left_to_right(parts):
    text = "".join(parts)
    parted = re.sub("(?i)</?p(?:\\s[^<>]*)?/?>", " ", text)
    expected = re.sub("(?is)</?b(?:\\s[^<>]*)?/?>|<!--.*?-->", "", parted)
    assert STEPS["html"](pa.array(["<i>", text]))[1].as_py() == expected


def test_an_entity_of_many_digits_is_no_character():
    far = "&amp; &#" + "1" * 5000 + "; &#" + "0" * 5000 + "65; &#" + "0" * 5000 + ";"
    assert STEPS["html"](pa.array([far]))[0].as_py() == "& \ufffd A \ufffd"
    for text in ("&amp; &#0; &#65", "&#1114112;", "&#x" + "f" * 5000 + "; &lt;"):
        assert STEPS["html"](pa.array([text]))[0].as_py() == html.unescape(text)


@given(MARKS, st.sampled_from(["NFC", "NFKC"]))
def test_a_text_has_its_normal_form_however_many_marks_it_has(text, form):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "_FEW", 0)
        assert keys.normal(form, text) == unicodedata.normalize(form, text)


def test_the_key_of_many_marks_is_that_of_the_standard_library():
    for text in ("é" + "\u0301\u0316\u0344\u0f73" * 50 + "x", "ｶ" + "\u0301\uff9e" * 40, "a\u0316" * 40):
        expected = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
        assert keys.duplicate_key(pa.array([text]), ("nfkc", "casefold", "whitespace"))[0].as_py() == expected


def test_names_of_thousands_of_digits_are_put_in_order():
    assert vocabulary({"1" * 5000, "2", "10"}) == ["2", "10", "1" * 5000]
