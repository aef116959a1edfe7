"""Edges → which nodes belong together: connected components, or those around one leader."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def components(nodes: int, first: Array, second: Array) -> npt.NDArray[np.int64]:
    """Edges between nodes 0 to `nodes` - 1 → the lowest node of each node's component, int64 [nodes].

    scipy's compiled search, on one worker: 16 bytes an edge and 8 a node. Only nodes with edges take part in it.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    lowest = np.arange(nodes)
    there, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    if len(there):
        edges = places[: len(first)], places[len(first) :]
        graph = coo_array((np.ones(len(first), np.int8), edges), shape=(len(there), len(there)))
        count, found = connected_components(graph, directed=False)
        least = np.full(count, len(there))
        np.minimum.at(least, found, np.arange(len(there)))
        lowest[there] = there[least[found]]
    return lowest


def leaders(nodes: int, first: Array, second: Array, rank: Array) -> npt.NDArray[np.int64]:
    """Edges → the leader of each node, int64 [nodes]: node by node in the order of `rank`, lowest first.

    A node that no leader has taken leads, and takes its neighbours that are free. So each is a neighbour of its leader,
    and no chain joins what is far apart.
    """
    leader = np.full(nodes, -1)
    both = np.concatenate([first, second]), np.concatenate([second, first])
    order = np.lexsort((rank[both[1]], both[0]))
    start, end = both[0][order], both[1][order]
    there, begins = np.unique(start, return_index=True)
    ends = np.append(begins[1:], len(start))
    for i in np.argsort(rank[there], kind="stable").tolist():
        node = there[i]
        if leader[node] < 0:
            taken = end[begins[i] : ends[i]]
            leader[taken[leader[taken] < 0]] = node
            leader[node] = node
    alone = leader < 0
    leader[alone] = np.flatnonzero(alone)
    return leader
