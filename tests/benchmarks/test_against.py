"""What a change is proved by is right: the same answers are called so and no others, and ratios are by the round."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import against


def answers(scores, ids=(0, 1), labels=("a", "b")):
    """A labelling of two rows by two labels."""
    return pa.table({"id": ids, "label": labels, "scores": pa.array(scores, pa.list_(pa.float32()))})


WHOLE = [[0.75, 0.25], [0.25, 0.75]]


def test_the_same_bits_are_told_from_the_next_ones():
    assert against.compared(answers(WHOLE), answers(WHOLE)) == {
        "rows": 2,
        "label_agreement": 1.0,
        "max_probability_difference": 0.0,
        "same_bits": True,
    }
    nearest = float(np.nextafter(np.float32(0.75), np.float32(1)))
    found = against.compared(answers(WHOLE), answers([WHOLE[0], [0.25, nearest]], labels=("a", "a")))
    assert not found["same_bits"] and found["label_agreement"] == 0.5
    assert found["max_probability_difference"] == 2.0**-24  # the step of float32 from 1/2 to 1


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (answers(WHOLE, ids=(1, 0)), "another order"),
        (answers(WHOLE)[:1], "2 before and 1 now"),
        (answers([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]]), "4 scores before and 6 now"),
    ],
)
def test_what_cannot_be_compared_is_no_agreement(other, said):
    with pytest.raises(ValueError, match=said):
        against.compared(answers(WHOLE), other)


def test_a_ratio_is_of_runs_of_one_round():
    before = [dict.fromkeys(against.STAGES, each) for each in (1.0, 10.0, 2.0)]
    after = [dict.fromkeys(against.STAGES, each) for each in (3.0, 10.0, 1.0)]
    found = against.ratios(before, after)
    assert set(found) == set(against.STAGES)
    assert all(each == {"median": 1.0, "least": 0.5, "greatest": 3.0} for each in found.values())
    nothing = [{**each, "read": 0.0} for each in before]
    assert list(against.ratios(nothing, after)) == ["tokenize", "classify", "write", "wall"]


def test_the_texts_are_the_same_each_time_and_of_many_lengths(tmp_path):
    for name in ("one", "other"):
        against.write_corpus(tmp_path / name, 500)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    words = [len(text.split()) for text in pq.read_table(tmp_path / "one")["text"].to_pylist()]
    assert len(words) == 500 and min(words) < 6 and max(words) > 150
