"""Rounds of stars end at components, and it is seen when they have."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seqcls_beam.preparation import minhash, pieces
from seqcls_beam.preparation.stars import VALUE, contracted, large_star, of_digests, small_star, unfinished

EDGES = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)).filter(lambda edge: edge[0] != edge[1]), max_size=25)


def lowest(edges: list[tuple[int, int]]) -> dict[int, int]:
    """By walking from node to node."""
    found = {node: node for edge in edges for node in edge}
    for _ in found:
        for one, other in edges:
            found[one] = found[other] = min(found[one], found[other])
    return found


def both_ways(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return minhash.unique_pairs(np.concatenate([one, other]), np.concatenate([other, one]))


@given(EDGES)
def test_stars_end_at_the_lowest_node_of_each_component(edges):
    pairs = np.array(edges, np.uint64).reshape(-1, 2)
    node, neighbour = both_ways(pairs[:, 0], pairs[:, 1])
    for _ in range(12):
        if not unfinished(node, neighbour):
            break
        node, neighbour = both_ways(*small_star(*large_star(node, neighbour)))
    found = {int(one): int(other) for one, other in zip(node, neighbour, strict=True) if other < one}
    expected = lowest(edges)
    assert {node: found.get(node, node) for node in expected} == expected
    one, other = contracted(pairs[:, 0], pairs[:, 1])
    assert dict(zip(one.tolist(), other.tolist(), strict=True)) == {n: low for n, low in expected.items() if n != low}


@given(EDGES)
def test_what_is_no_star_is_unfinished(edges):
    pairs = np.array(edges, np.uint64).reshape(-1, 2)
    node, neighbour = both_ways(pairs[:, 0], pairs[:, 1])
    of_each = {n: set(neighbour[node == n].tolist()) for n in node.tolist()}
    expected = [n for n, others in of_each.items() if min(others) < n and len(others) > 1]
    assert unfinished(node, neighbour) == len(expected)


def test_values_are_above_all_texts():
    digests = np.array([0, 1, 2**63, 2**64 - 1], np.uint64)
    assert (of_digests(digests) >= VALUE).all() and len(set(of_digests(digests).tolist())) == 3


@given(st.lists(st.lists(st.integers(0, 4), max_size=6), min_size=1, max_size=4), st.integers(5, 7))
def test_pieces_are_those_of_a_partition_in_the_order_of_files(tmp_path_factory, files, count):
    uri = tmp_path_factory.mktemp("index") / "pieces.arrow"
    names = [f"file {number % 3}{number}" for number in range(len(files))]
    uri.write_bytes(pieces.table(names, [np.array(each, np.int32) for each in files], count))
    for partition in range(count):
        expected = [
            (name, [i for i, owner in enumerate(owners) if owner == partition])
            for name, owners in zip(names, files, strict=True)
        ]
        assert [tuple(each) for each in pieces.read(str(uri), partition)] == [each for each in expected if each[1]]
