"""Whether workers see what the launcher sees."""

import socket
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from seqcls_beam import storage
from seqcls_beam.runs.run import RunError


@dataclass
class See(beam.PTransform[PBegin, PCollection[int]]):
    """Files and folders, by the flags that name them → so many workers look for them; yields a number for each.

    In the worker raises `RunError` for what is not there.
    """

    places: tuple[tuple[str, str], ...]  # (what the user said, a file or a folder)
    workers: int

    def expand(self, root: PBegin) -> PCollection[int]:
        """Spread, look."""
        numbers = root | "Numbers" >> beam.Create(list(range(self.workers)))
        return numbers | "Spread" >> beam.Reshuffle() | "Look" >> beam.Map(look, self.places)


def look(number: int, places: tuple[tuple[str, str], ...]) -> int:
    """The number, where all of them are there."""
    missing = [said for said, uri in places if not storage.exists(uri)]
    if missing:
        raise RunError(
            f"{' and '.join(missing)}: on this machine, and the worker on {socket.gethostname()} does not see it: give "
            "a bucket, or a folder that all machines mount under that name"
        )
    return number
