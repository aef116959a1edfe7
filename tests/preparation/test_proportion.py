"""What is done to a text takes a time that grows as the text does, whatever stands in it; and gives what it gave."""

import html
import re
import time
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
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


LENGTH = 16_000  # signs of the shorter text: enough that a step of a square is far from a line


def seconds(step, texts):
    """Time of the processor, the least of several."""
    taken = []
    for _ in range(2):
        began = time.process_time()
        step(texts)
        taken.append(time.process_time() - began)
    return min(taken)


def growth(step, repeated):
    """How much longer a text takes that is twice as long; what is over in a moment is measured many times over."""
    few, many = (pa.array([repeated * (size // len(repeated))]) for size in (LENGTH, 2 * LENGTH))
    return seconds(step, many) / max(seconds(step, few), 0.002)


def is_linear(step, repeated):
    """Asked again before it is denied: others on the machine may disturb a measurement, and do not disturb them all."""
    return any(growth(step, repeated) <= 2.5 for _ in range(5))


STEPS_AND_KEY = {
    **STEPS,
    "key": lambda texts: keys.duplicate_key(texts, keys.STEPS),
}


@pytest.mark.parametrize("name", STEPS_AND_KEY)
@settings(max_examples=8)
@example(["<!--", "<b>"])
@example(["<b>", "<!--"])
@example(["<"])
@example(["&"])
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4))
def test_a_text_that_is_twice_as_long_takes_twice_the_time(name, parts):
    assert is_linear(STEPS_AND_KEY[name], "".join(parts))


def test_a_step_that_takes_the_square_is_found_out():
    def naive(texts):
        """Comments as one would first write it: from every beginning on to the end, where there is no end."""
        return [re.sub("(?s)<!--.*?-->", "", text) for text in texts.to_pylist()]

    assert not is_linear(naive, "<!--" + "<b>" * 20)


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
