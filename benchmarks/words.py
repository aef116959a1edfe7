"""Texts of any length and number, of the words of the bundled sample."""

from importlib.resources import files

import numpy as np
import numpy.typing as npt


def sample_words() -> list[str]:
    """The words of letters alone that stand in the sample, each once, sorted."""
    found = (files("seqcls_beam") / "sample" / "reviews.jsonl").read_bytes().decode(errors="ignore").split()
    return sorted({word for word in found if word.isalpha()})


def draw_texts(chance: np.random.Generator, lengths: npt.NDArray[np.int64]) -> list[str]:
    """A text of each number of words."""
    known = np.array(sample_words(), object)
    drawn = known[chance.integers(0, len(known), lengths.sum())].tolist()
    ends = np.cumsum(lengths)
    return [" ".join(drawn[a:b]) for a, b in zip((ends - lengths).tolist(), ends.tolist(), strict=True)]
