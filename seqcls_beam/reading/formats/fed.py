"""Lines as Python's csv reader is fed with them."""

import io
from collections.abc import Iterator
from itertools import chain

from seqcls_beam.reading.formats.lines import MAX_LINES, Lines


class Fed:
    """Lines, of which the reader may begin at any; of a million no more are made at once than two windows."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._made: dict[int, list[str]] = {}

    def lines(self, at: int) -> Iterator[str]:
        """The lines from one on, with their ends."""
        low = at - at % MAX_LINES
        first = self._from(low, at - low)
        behind = range(low + MAX_LINES, len(self._lines), MAX_LINES)
        return chain(first, chain.from_iterable(map(self._from, behind))) if behind else first

    def _from(self, low: int, skipped: int = 0) -> Iterator[str]:
        if low not in self._made:
            while len(self._made) > 1:
                del self._made[next(iter(self._made))]
            starts, past = self._lines.starts, low + MAX_LINES
            data = memoryview(self._lines.data)[starts[low] : starts[past] if past < len(starts) else None]
            self._made[low] = list(io.StringIO(str(data, "utf-8", "replace"), newline=""))
        made = self._made[low]
        return map(made.__getitem__, range(skipped, len(made)))
