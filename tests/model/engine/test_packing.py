"""Which sequences run together, against plain Python on lists and tuples."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seqcls_beam.model.engine.packing import distinct, equal_runs, packs, take

# Few tokens and types, so that equal sequences are frequent; 256 and 65536 share bytes with 1 in other places.
TEXTS = st.lists(st.lists(st.tuples(st.sampled_from([0, 1, 256, 65536]), st.integers(0, 1)), max_size=4), max_size=24)
LENGTHS = st.lists(st.one_of(st.integers(1, 130), st.sampled_from([8, 128])), max_size=60)


def flat(texts):
    """Sequences of (id, type) → the two flat arrays and the offsets."""
    offsets = np.cumsum([0, *map(len, texts)])
    pairs = [pair for text in texts for pair in text]
    return np.array([i for i, _ in pairs], np.int32), np.array([t for _, t in pairs], np.int8), offsets


@given(texts=TEXTS, typed=st.booleans())
def test_equal_sequences_are_found_and_the_first_of_each_is_named_in_order(texts, typed):
    ids, types, offsets = flat(texts)
    keys = [tuple(text) if typed else tuple(i for i, _ in text) for text in texts]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    first, same_as = distinct(ids, offsets, types if typed else None)
    assert first.tolist() == [keys.index(key) for key in numbers]
    assert same_as.tolist() == [numbers[key] for key in keys]


def test_sequences_of_equal_ids_and_other_types_are_not_equal():
    ids, offsets = np.array([2, 7, 3] * 3, np.int32), np.array([0, 3, 6, 9])
    types = np.array([0, 0, 1, 0, 1, 1, 0, 0, 1], np.int8)
    first, same_as = distinct(ids, offsets, types)
    assert first.tolist() == [0, 1] and same_as.tolist() == [0, 1, 0]
    first, same_as = distinct(ids, offsets, None)
    assert first.tolist() == [0] and same_as.tolist() == [0, 0, 0]


def test_sequences_of_which_one_begins_like_the_other_are_not_equal():
    first, same_as = distinct(np.array([5, 5, 5, 5], np.int32), np.array([0, 1, 3, 4]), None)
    assert first.tolist() == [0, 1] and same_as.tolist() == [0, 1, 0]


def test_equal_sequences_are_found_in_a_read_only_slice_as_arrow_gives_it():
    values = np.array([9, 9, 4, 5, 4, 5], np.int32)
    values.flags.writeable = False
    first, same_as = distinct(values[2:], np.array([0, 2, 4]), None)
    assert first.tolist() == [0] and same_as.tolist() == [0, 0]


@given(texts=TEXTS.filter(len), data=st.data())
def test_the_tokens_of_any_rows_are_taken_in_the_order_asked_for(texts, data):
    ids, types, offsets = flat(texts)
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=12))
    where, ends = take(offsets, np.array(rows, np.int64))
    wanted = [texts[row] for row in rows]
    assert list(zip(ids[where].tolist(), types[where].tolist(), strict=True)) == list(itertools.chain(*wanted))
    assert ends.tolist() == [0, *itertools.accumulate(map(len, wanted))]


@given(lengths=LENGTHS, budget=st.integers(1, 400), data=st.data())
def test_packs_hold_every_row_once_the_longest_first_within_the_budget(lengths, budget, data):
    rows = data.draw(st.permutations(range(len(lengths))))[: data.draw(st.integers(0, len(lengths)))]
    found = [pack.tolist() for pack in packs(np.array(lengths, np.int64), np.array(rows, np.int64), budget)]
    # Sorted by Python, which keeps the order of equals.
    assert [row for pack in found for row in pack] == sorted(rows, key=lambda row: -lengths[row])
    for pack, after in itertools.zip_longest(found, found[1:]):
        tokens = sum(lengths[row] for row in pack)
        assert len(pack) == 1 or (pack and tokens <= budget)
        assert after is None or tokens + lengths[after[0]] > budget, "no pass is made for what had room in the last"


@given(lengths=st.lists(st.integers(1, 3), max_size=40))
def test_neighbours_of_equal_length_are_one_run(lengths):
    expected, start = [], 0
    for length, run in itertools.groupby(lengths):
        count = len(list(run))
        expected.append((start, count, length))
        start += count * length
    assert equal_runs(np.array(lengths, np.int64)) == expected


def test_no_pack_has_more_sequences_than_it_may():
    found = list(packs(np.ones(200, np.int64), np.arange(200), 1000, lambda longest: 70 * longest))
    assert [len(pack) for pack in found] == [70, 70, 60]
