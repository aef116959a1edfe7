"""What is known of texts when their splits are decided: all of them at once, or some whole islands (`islands`)."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.preparation.exchange import gather
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.near import EDGE
from seqcls_beam.preparation.texts import TEXT, numbers

Array = npt.NDArray[Any]


class Edges(NamedTuple):
    """Pairs of near-duplicates, each once, in order, by their places among the texts; `first` is the lower one."""

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    similarity: npt.NDArray[np.float64]


class Known(NamedTuple):
    """Texts and the edges between them."""

    texts: pa.RecordBatch  # TEXT, in the order of the numbers
    numbers: npt.NDArray[np.uint64]
    edges: Edges


def known(texts: pa.RecordBatch, number: npt.NDArray[np.uint64], rows: pa.RecordBatch) -> Known:
    """TEXT in any order, the numbers of these texts, and the EDGE rows between them → what is known."""
    if (number[1:] < number[:-1]).any():
        order = np.argsort(number)
        texts, number = texts.take(pa.array(order)), number[order]
    first, second = (np.searchsorted(number, rows[name].to_numpy()) for name in ("first", "second"))
    order = np.lexsort((second, first))
    return Known(texts, number, Edges(first[order], second[order], rows["similarity"].to_numpy()[order]))


def everything(job: Job) -> Known:
    """All texts and edges."""
    parts = [own_texts(job, partition) for partition in range(job.partitions)]
    number = np.concatenate([numbers(partition, np.arange(len(each))) for partition, each in enumerate(parts)])
    edges = pa.concat_batches([own_edges(job, partition) for partition in range(job.partitions)])
    return known(pa.concat_batches(parts), number, edges)


def own_texts(job: Job, partition: int) -> pa.RecordBatch:
    """TEXT of a partition."""
    return gather(job.exchange, job.own("exact", "texts", partition), TEXT)


def own_edges(job: Job, partition: int) -> pa.RecordBatch:
    """EDGE rows whose second text is in a partition."""
    return gather(job.exchange, job.own("compare", "edges", partition) if job.near != "off" else [], EDGE)
