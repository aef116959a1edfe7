"""Connected components by many workers: alternating stars (Kiveris et al., "Connected Components in MapReduce and
Beyond", SoCC 2014).

Each round has two stages. A large star joins a node's larger neighbours to its smallest neighbour, a small star the
smaller ones and the node itself. When nothing changes any more every component is a star around its lowest node, and
the stages that are left have no tasks. The rounds needed grow with the logarithm of a component's size: a chain of 100
texts takes 6, one of 10,000 takes 11. What is not joined by then one task joins.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.preparation import minhash
from seqcls_beam.preparation.components import components
from seqcls_beam.preparation.exchange import SpillWriter, gather
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.texts import partitions_of

Array = npt.NDArray[Any]

LINK = pa.schema([("node", pa.uint64()), ("neighbour", pa.uint64())])
"""An edge. A node is a text, by its number, or what texts have in common, from VALUE on."""

VALUE = np.uint64(1 << 63)


def large_star(node: Array, neighbour: Array) -> tuple[Array, Array]:
    """Edges in both directions → edges from each larger neighbour of a node to the lowest of node and neighbours."""
    lowest = _lowest(node, neighbour)
    larger = neighbour > node
    return minhash.unique_pairs(neighbour[larger], lowest[larger])


def small_star(node: Array, neighbour: Array) -> tuple[Array, Array]:
    """Edges from a node to lower ones → edges from those, and from the node, to the lowest of them."""
    lowest = _lowest(node, neighbour)
    node, neighbour = np.concatenate([neighbour, node]), np.concatenate([lowest, lowest])
    return minhash.unique_pairs(node[node != neighbour], neighbour[node != neighbour])


def _lowest(node: Array, neighbour: Array) -> Array:
    """For each edge the lowest of its node and all neighbours of that."""
    there, place = np.unique(node, return_inverse=True)
    found = there.copy()
    np.minimum.at(found, place, neighbour)
    lowest: Array = found[place]
    return lowest


def unfinished(node: Array, neighbour: Array) -> int:
    """Edges in both directions → how many nodes have a lower neighbour and others beside it.

    Where no node of any partition is such a one, every component is a star around its lowest node.
    """
    there, place, count = np.unique(node, return_inverse=True, return_counts=True)
    lower = np.zeros(len(there), bool)
    lower[place[neighbour < node]] = True
    return int((lower & (count > 1)).sum())


def home(nodes: npt.NDArray[np.uint64], job: Job) -> npt.NDArray[np.int64]:
    """The partition of nodes: a text's own one; that of a value by its digest."""
    return np.where(nodes >= VALUE, job.partition(nodes << np.uint64(1)), partitions_of(nodes))


def of_digests(digests: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The nodes of values and sentences, above those of all texts. Two digests may have one node: that joins more."""
    return VALUE | (digests >> np.uint64(1))


def stages(job: Job) -> dict[str, int]:
    """The stages of all rounds, and how many tasks each has; the last one joins what they left."""
    names = [f"{kind} {number + 1}" for number in range(job.rounds) for kind in ("large", "small")]
    return {**dict.fromkeys(names, job.partitions), "rest": 1}


def finished(job: Job, stage: str) -> str | None:
    """The stage whose edges were stars already, of those before `stage`; None where that was not seen.

    Each round begins by looking: where all that "large 3" read were stars, "small 2" was the last that had to be done.
    """
    kind, _, number = stage.partition(" ")
    rounds = {"large": int(number or 0) - 1, "small": int(number or 0)}.get(kind, job.rounds)
    for each in range(1, rounds + 1):
        try:
            count = job.index(left(f"large {each}"))[0]
        except FileNotFoundError:
            return None
        if not count:
            return _before(f"large {each}")
    return None


def left(stage: str) -> str:
    """What the index of a stage calls the number of nodes that it found unfinished."""
    return f"{stage} left"


def _before(stage: str) -> str:
    kind, _, number = stage.partition(" ")
    if kind == "small":
        return f"large {number}"
    return "ties" if number == "1" else f"small {int(number) - 1}"


def link(partition: int, job: Job, stage: str) -> dict[str, Any]:
    """A task of the stage "large N" or "small N": the edges of the nodes of a partition → those of the next stage."""
    kind, number = stage.split()
    node, neighbour = read_links(job, _before(stage), partition)
    count = unfinished(node, neighbour) if kind == "large" else 0
    node, neighbour = (large_star if kind == "large" else small_star)(node, neighbour)
    with SpillWriter(job.exchange, f"{kind}-{number}-{partition:05d}", LINK, job.memory) as spill:
        write_links(spill, node, neighbour, job)  # from the larger: what a small star reads
        if kind == "small":
            write_links(spill, neighbour, node, job)
        return {"links": spill.close(), "unfinished": count}


def link_rest(_: int, job: Job) -> dict[str, Any]:
    """The task of the stage "rest": all edges that the rounds left → stars. It holds some 150 bytes an edge."""
    edges = [read_links(job, f"small {job.rounds}", partition) for partition in range(job.partitions)]
    upward = [neighbour < node for node, neighbour in edges]  # the other direction says the same
    node, neighbour = (
        np.concatenate([each[way][some] for each, some in zip(edges, upward, strict=True)]) for way in (0, 1)
    )
    node, neighbour = contracted(node, neighbour)
    with SpillWriter(job.exchange, "rest", LINK, job.memory) as spill:
        write_links(spill, node, neighbour, job)
        write_links(spill, neighbour, node, job)
        return {"links": spill.close()}


def contracted(first: Array, second: Array) -> tuple[Array, Array]:
    """Edges → those from every node to the lowest of its component, as far as these edges tell."""
    there, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    lowest = components(len(there), places[: len(first)], places[len(first) :])
    others = np.flatnonzero(lowest != np.arange(len(there)))
    return there[others], there[lowest[others]]


def read_links(job: Job, stage: str, partition: int) -> tuple[Array, Array]:
    """The edges that a stage wrote for the nodes of a partition, each once."""
    rows = gather(job.exchange, job.pieces(stage, "links", partition), LINK)
    return minhash.unique_pairs(rows["node"].to_numpy(), rows["neighbour"].to_numpy())


def write_links(spill: SpillWriter, node: Array, neighbour: Array, job: Job) -> None:
    """Add edges, by the partition of their node."""
    batch = pa.RecordBatch.from_arrays([pa.array(node), pa.array(neighbour)], schema=LINK)
    spill.write(batch, home(node, job))
