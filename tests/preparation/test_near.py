"""Near-duplicates: what is found is right, and what is there is found."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqcls_beam.preparation import minhash
from seqcls_beam.preparation.components import components, leaders
from seqcls_beam.preparation.stars import large_star, small_star

KEYS = st.lists(st.text(st.sampled_from("abé "), max_size=12), min_size=1, max_size=12)


def windows(key):
    """The definition: the set of 5-byte windows; a shorter text is one element of its own."""
    raw = key.encode()
    return {raw[i : i + 5] for i in range(len(raw) - 4)} if len(raw) >= 5 else {("short", raw)}


def jaccard(one, other):
    return len(windows(one) & windows(other)) / len(windows(one) | windows(other))


def sets(keys):
    return minhash.as_sets(*minhash.shingles(pa.array(keys, pa.string())))


@given(KEYS)
def test_similarity_is_that_of_sets_of_windows(keys):
    one, other = np.triu_indices(len(keys))
    found = minhash.similarities(sets(keys), sets(keys), one, other)
    assert np.allclose(found, [jaccard(keys[i], keys[j]) for i, j in zip(one, other, strict=True)], atol=1e-15)


@given(KEYS, st.integers(0, 5), st.integers(1, 40))
def test_a_text_is_the_same_set_in_any_batch_and_block(keys, skipped, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minhash, "_CHUNK", block)
        patch.setattr(minhash, "_PAIR_SHINGLES", block)
        array = pa.array(["x" * skipped, *keys], pa.string())[1:]
        values, offsets = minhash.shingles(array)
        signed = minhash.signatures(values, offsets)
        flat, ends = minhash.as_sets(values, offsets)
    for i, key in enumerate(keys):
        alone = minhash.shingles(pa.array([key]))
        assert np.array_equal(signed[i], minhash.signatures(*alone)[0])
        assert np.array_equal(flat[ends[i] : ends[i + 1]], np.unique(alone[0]))
        assert ends[i + 1] - ends[i] == len(windows(key))


def test_a_signature_estimates_similarity():
    chance = random.Random(0)
    pairs = [mutated(chance, words, chance.randint(1, 6)) for words in (40,) * 400]
    expected = np.array([jaccard(*pair) for pair in pairs])
    signed = [minhash.signatures(*minhash.shingles(pa.array([pair[i] for pair in pairs]))) for i in (0, 1)]
    found = (signed[0] == signed[1]).mean(axis=1)
    assert abs((found - expected).mean()) < 0.01
    assert np.abs(found - expected).mean() < 0.05, "sqrt(J (1 - J) / 120) is 0.04 at most"


def mutated(chance, words, changes):
    """A text of random words, and the same with some of them replaced."""

    def word():
        return "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9)))

    one = [word() for _ in range(words)]
    other = list(one)
    for _ in range(changes):
        other[chance.randrange(words)] = word()
    return " ".join(one), " ".join(other)


def found_pairs(keys, threshold=0.8):
    """All stages on one machine: bands, candidates, exact comparison."""
    values, offsets = minhash.shingles(pa.array(keys))
    hashes = minhash.bands(minhash.signatures(values, offsets))
    flat = minhash.as_sets(values, offsets)
    numbers = np.repeat(np.arange(len(keys), dtype=np.uint64), minhash.BANDS)
    sizes = np.repeat(np.diff(flat[1]), minhash.BANDS)
    beside = minhash.next_bands(hashes)
    first, second, _ = minhash.candidates(hashes.reshape(-1), beside.reshape(-1), numbers, sizes, threshold)
    one, other = first.astype(np.int64), second.astype(np.int64)
    near = minhash.similarities(flat, flat, one, other) >= threshold
    return set(zip(one[near].tolist(), other[near].tolist(), strict=True))


@pytest.mark.parametrize("words", [(3, 6), (8, 60)], ids=["3-to-6-words", "8-to-60-words"])
def test_planted_near_duplicates_are_found_and_nothing_else(words):
    chance = random.Random(1)
    keys: list[str] = []
    planted = set()
    while len(keys) < 10_000:
        one, other = mutated(chance, chance.randint(*words), 1)
        if chance.random() < 0.5:  # a character instead of a word: what short texts differ in
            at = chance.randrange(len(one))
            other = one[:at] + chance.choice("abcdefgh") + one[at + 1 :]
        if one != other and jaccard(one, other) >= 0.85:
            planted.add((len(keys), len(keys) + 1))
        keys += [one, other]
    found = found_pairs(keys)
    assert len(planted) > 200
    assert len(planted & found) / len(planted) >= 0.99
    assert all(jaccard(keys[i], keys[j]) >= 0.8 for i, j in found)


def test_near_duplicates_are_found_among_many_of_one_template():
    chance = random.Random(5)
    words = [mutated(chance, 1, 0)[0] for _ in range(5_000)]
    template = " ".join(chance.choices(words, k=44))
    keys = [f"{template} {' '.join(chance.choices(words, k=6))}" for _ in range(1_500)]
    for key in keys[:300]:
        parts = key.split()
        for _ in range(2):
            parts[chance.randrange(44)] = chance.choice(words)
        keys.append(" ".join(parts))
    planted = {(i, 1_500 + i) for i in range(300) if jaccard(keys[i], keys[1_500 + i]) >= 0.85}
    crowd = np.mean([jaccard(keys[i], keys[i + 1]) for i in range(300)])
    assert len(planted) > 250 and 0.75 < crowd < 0.84, "many share every other band with a planted text"
    assert len(planted & found_pairs(keys, 0.84)) / len(planted) >= 0.99


def test_thousands_of_equal_sets_cost_thousands_of_comparisons_and_are_connected():
    keys = ["ab" * count for count in range(10, 5_010)]  # two windows each, and 5,000 different texts
    found = found_pairs(keys)
    assert len(found) < 40 * len(keys)
    first, second = np.array(sorted(found)).T
    assert len(set(components(len(keys), first, second))) == 1


def test_pairs_whose_sizes_keep_them_apart_are_not_compared():
    hashes = np.array([7, 7, 7, 7], np.uint64)
    texts, sizes = np.arange(4, dtype=np.uint64), np.array([10, 8, 7, 20])
    first, second, fullest = minhash.candidates(hashes, hashes, texts, sizes, 0.8)
    assert (first.tolist(), second.tolist(), fullest) == ([0, 1], [1, 2], 4)
    nothing = minhash.candidates(hashes[:0], hashes[:0], texts[:0], sizes[:0], 0.8)
    assert [len(each) for each in nothing[:2]] == [0, 0]


@given(st.integers(1, 30), st.data())
def test_components_are_those_of_a_search(nodes, data):
    edge = st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1))
    edges = data.draw(st.lists(edge, max_size=40))
    found = components(nodes, *np.array(edges, np.int64).reshape(-1, 2).T)
    expected = list(range(nodes))
    for _ in range(nodes):
        for one, other in edges:
            expected[one] = expected[other] = min(expected[one], expected[other])
    assert found.tolist() == expected


@given(st.integers(1, 60), st.data())
def test_alternating_stars_end_in_the_same_components(nodes, data):
    edge = st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1))
    first, second = np.array(data.draw(st.lists(edge, max_size=80)), np.uint64).reshape(-1, 2).T
    node, neighbour = np.concatenate([first, second]), np.concatenate([second, first])
    for _ in range(12):
        node, neighbour = small_star(*large_star(node, neighbour))
        node, neighbour = np.concatenate([node, neighbour]), np.concatenate([neighbour, node])
    lowest = np.arange(nodes)
    lower = neighbour < node
    lowest[node[lower].astype(int)] = neighbour[lower]
    assert np.array_equal(lowest, components(nodes, first.astype(int), second.astype(int)))


@given(st.integers(1, 20), st.data())
def test_a_leader_is_near_to_all_it_leads_and_is_led_by_none(nodes, data):
    edge = st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1)).filter(lambda e: e[0] != e[1])
    edges = data.draw(st.lists(edge, max_size=40)) if nodes > 1 else []
    first, second = np.array(edges, np.int64).reshape(-1, 2).T
    found = leaders(nodes, first, second, np.arange(nodes))
    there = {frozenset(each) for each in edges}
    for node, leader in enumerate(found.tolist()):
        assert found[leader] == leader
        assert node == leader or {node, leader} in there
    heads = [node for node in range(nodes) if found[node] == node]
    assert all({one, other} not in there for one in heads for other in heads), "a free neighbour was left out"


def test_a_chain_is_one_component_and_has_two_leaders():
    first, second = np.array([0, 1]), np.array([1, 2])
    assert components(3, first, second).tolist() == [0, 0, 0]
    assert leaders(3, first, second, np.arange(3)).tolist() == [0, 0, 2]
    assert leaders(3, first, second, np.array([1, 0, 2])).tolist() == [1, 1, 1]
