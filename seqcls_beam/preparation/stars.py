"""Connected components by many workers: alternating stars (Kiveris et al., "Connected Components in MapReduce and
Beyond", SoCC 2014).

Each round has two stages. A large star joins a node's larger neighbours to its smallest neighbour, a small star the
smaller ones and the node itself. When nothing changes any more every component is a star around its lowest node. The
rounds needed grow with the logarithm of a component's size; for clusters of near-duplicates three or four do.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.preparation import minhash
from seqcls_beam.preparation.exchange import SpillWriter, gather
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.texts import partitions_of

Array = npt.NDArray[Any]

LINK = pa.schema([("node", pa.uint64()), ("neighbour", pa.uint64())])


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


def link(partition: int, job: Job, stage: str) -> dict[str, Any]:
    """A task of the stage "large N" or "small N": the edges of the nodes of a partition → those of the next stage."""
    kind, number = stage.split()
    if kind == "large":
        before, star = "compare" if number == "1" else f"small {int(number) - 1}", large_star
    else:
        before, star = f"large {number}", small_star
    node, neighbour = star(*read_links(job, before, partition))
    with SpillWriter(job.exchange, f"{kind}-{number}-{partition:05d}", LINK, job.memory) as spill:
        write_links(spill, node, neighbour)  # from the larger: what a small star reads
        if kind == "small":
            write_links(spill, neighbour, node)
        return {"links": spill.close()}


def read_links(job: Job, stage: str, partition: int) -> tuple[Array, Array]:
    """The edges that a stage wrote for the nodes of a partition, each once."""
    spills = [record["links"] for record in job.index(stage)]
    rows = gather(job.exchange, spills, partition, LINK)
    return minhash.unique_pairs(rows["node"].to_numpy(), rows["neighbour"].to_numpy())


def write_links(spill: SpillWriter, node: Array, neighbour: Array) -> None:
    """Add edges, by the partition of their node."""
    batch = pa.RecordBatch.from_arrays([pa.array(node), pa.array(neighbour)], schema=LINK)
    spill.write(batch, partitions_of(node))
