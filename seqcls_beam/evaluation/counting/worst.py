"""The rows on which a model is most wrong."""

from typing import Any

import numpy as np
import numpy.typing as npt

from seqcls_beam.evaluation.counting.outcomes import SMALLEST, Outcomes

Array = npt.NDArray[Any]


def losses(problem: str, gold: Array, scores: Array) -> Array:
    """Gold and scores, as in `Outcomes` → float64 [rows].

    -ln p of the gold label; the same summed over the decisions of all labels; or the absolute error.
    """
    if problem == "regression":
        return np.abs(gold.astype(np.float64) - scores.astype(np.float64).reshape(len(gold)))
    exact = scores.astype(np.float64)
    if problem == "single_label":
        return -np.log(np.maximum(exact[np.arange(len(gold)), gold], SMALLEST))
    said = np.where(gold > 0, exact, 1 - exact)
    return -np.log(np.maximum(said, SMALLEST)).sum(axis=1)


class Worst:
    """The `size` rows with the largest losses; of equal losses the first of the input. Additive."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: list[tuple[float, tuple[int, int], int, dict[str, Any]]] = []

    def add(self, problem: str, outcomes: Outcomes, chosen: Array) -> None:
        """The rows of a batch that has scores."""
        assert outcomes.scores is not None
        lost = losses(problem, outcomes.gold, outcomes.scores)
        for row in np.lexsort((np.arange(len(lost)), -lost))[: self._size].tolist():
            told = {
                "loss": float(lost[row]),
                "gold": outcomes.gold[row].tolist(),
                "predicted": chosen[row].tolist(),
                "scores": outcomes.scores[row].tolist(),
                **{name: column[row].as_py() for name, column in outcomes.shown.items()},
            }
            self._rows.append((-float(lost[row]), outcomes.batch, row, told))
        self._cut()

    def merge(self, other: "Worst") -> None:
        """Add what another has seen."""
        self._rows += other._rows
        self._cut()

    def rows(self) -> list[dict[str, Any]]:
        """loss, gold, predicted and scores as in `Outcomes`, and what else was shown; the worst first."""
        return [told for *_, told in self._rows]

    def _cut(self) -> None:
        self._rows.sort(key=_place)
        del self._rows[self._size :]


def _place(row: tuple[float, tuple[int, int], int, dict[str, Any]]) -> tuple[float, tuple[int, int], int]:
    return row[:3]
