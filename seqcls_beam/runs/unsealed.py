"""What a stream has labelled and nobody has sealed, as its readers find it: the rows that sealing would make."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.runs import distinct, pieces
from seqcls_beam.runs.store import Store
from seqcls_beam.schema import WINDOW


@dataclass(frozen=True)
class Waiting:
    """The pieces of a window, in memory."""

    window: str
    tables: list[pa.Table]


def look(store: Store) -> list[Waiting]:
    """The windows that have pieces, by time. Raises `Damaged`, and `RunError` where the folder is no stream's.

    A piece that is gone when it is to be read was sealed: who reads the versions after this finds its rows there.
    """
    found = pieces.listed(store)
    names = [(window, store.uri(name)) for window in found for name in found[window]]
    length = pieces.length(store) if names else 0
    tables: dict[str, list[pa.Table]] = {}
    for (window, _), table in zip(names, storage.each(partial(_read, length), names), strict=True):
        if table is not None and len(table):
            tables.setdefault(window, []).append(table)
    return [Waiting(window, tables[window]) for window in tables]


def fresh(waiting: Waiting, labels: list[str]) -> list[pa.Table]:
    """The labelled rows of a window that parts of labels at these URIs do not hold, a table for each set of columns.

    Rows of a table are sorted by (event time, id). Raises `FileNotFoundError` where a part is gone, and `Damaged`.
    """
    whole = [table.schema.serialize().to_pybytes() for table in waiting.tables]
    shapes = sorted(set(whole))
    rows = distinct.together(waiting.tables, [shapes.index(each) for each in whole])
    new = distinct.chosen(rows, distinct.held(labels, []))
    new = new[~rows.rejected[new]]
    made = []
    for number, shape in enumerate(shapes):
        same = [at for at, each in enumerate(whole) if each == shape]
        begins = np.zeros(len(whole), np.int64)
        begins[same] = np.cumsum([0, *(len(waiting.tables[at]) for at in same[:-1])])
        mine = new[rows.shapes[new] == number]
        table = pa.concat_tables([waiting.tables[at] for at in same])
        taken = table.take(pa.array(begins[rows.pieces[mine]] + rows.places[mine])).drop_columns(["reject"])
        value = waiting.window.removeprefix(f"{WINDOW}=")
        made.append(taken.append_column(WINDOW, pa.array([value] * len(taken), pa.string())))
    return made


def _read(length: int, piece: tuple[str, str]) -> pa.Table | None:
    window, uri = piece
    try:
        return distinct.opened(uri, window, length, whole=True)[1]
    except FileNotFoundError:
        return None
