"""How long units of work take so many workers."""

import heapq
from dataclasses import dataclass


@dataclass(frozen=True)
class Hours:
    """What a number of workers take."""

    workers: int
    hours: float  # until the last one is done

    @property
    def worker_hours(self) -> float:
        """Of all workers, each until the last one is done."""
        return self.workers * self.hours


def hours(runs: list[list[float]], workers: int) -> float:
    """Hours of units, of runs that follow each other → hours until all is done; a free worker takes the next unit."""
    return sum(_one(units, workers) for units in runs)


def _one(units: list[float], workers: int) -> float:
    free = [0.0] * max(1, min(workers, len(units)))
    for unit in units:
        heapq.heapreplace(free, free[0] + unit)
    return max(free)
