"""Which batches of which files hold the rows of a partition: a file that is written once, when a stage is complete.

Every task of the next stage reads its own few entries of it. The records of the tasks before know the same, the other
way round: to read those in each task would cost the square of the number of partitions.
"""

from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.preparation.exchange import Piece, opened

_PLACE = pa.schema([("name", pa.dictionary(pa.int32(), pa.string())), ("batch", pa.int32())])
"""A batch of a file. One record batch of these for each partition, in the order in which its rows come."""


def table(names: Sequence[str], partitions: Sequence[npt.NDArray[np.int32]], count: int) -> bytes:
    """The file for `count` partitions; `partitions` says of each file, in order, whose each of its batches is."""
    sizes = [len(each) for each in partitions]
    files = np.repeat(np.arange(len(names)), sizes)
    batches = np.concatenate([np.empty(0, np.int64), *(np.arange(size) for size in sizes)])
    owners = np.concatenate([np.empty(0, np.int32), *partitions])
    order = np.argsort(owners, kind="stable")
    ends = np.searchsorted(owners[order], np.arange(count + 1))
    known = pa.array(names, pa.string())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _PLACE) as writer:
        for low, high in pairwise(ends.tolist()):
            some = order[low:high]
            place = pa.DictionaryArray.from_arrays(pa.array(files[some], pa.int32()), known)
            places = [place, pa.array(batches[some], pa.int32())]
            writer.write_batch(pa.RecordBatch.from_arrays(places, schema=_PLACE))
    return sink.getvalue().to_pybytes()


def read(uri: str, partition: int) -> list[Piece]:
    """The pieces of a partition, by what `table` made: a piece a file."""
    with opened(uri) as reader:
        places = reader.get_batch(partition)
        rows = list(zip(places["name"].to_pylist(), places["batch"].to_pylist(), strict=True))
    return [Piece(name, [batch for _, batch in some]) for name, some in groupby(rows, key=lambda row: row[0])]
