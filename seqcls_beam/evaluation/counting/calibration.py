"""Calibration: of answers with a probability of 80 %, are 80 of 100 right?

Expected calibration error with 15 bins of equal width, and temperature scaling, as Guo et al. (On Calibration of
Modern Neural Networks, 2017) have them. What is judged is the answer's probability for `single_label`; for
`multi_label` the probability of every label of every row. The best temperature is found without a second pass: the
negative log-likelihood is summed for 41 temperatures, from 0.1 to 10, and a parabola through the three lowest gives
the minimum.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from seqcls_beam.evaluation.counting.outcomes import SMALLEST
from seqcls_beam.evaluation.counting.sums import Sums

Array = npt.NDArray[Any]

BINS = 15
TEMPERATURES = np.exp(np.linspace(np.log(0.1), np.log(10), 41))
_AS_IT_IS = 20  # of TEMPERATURES, the one that changes nothing
_ROWS = 4096  # at once


class Calibration:
    """Additive: decisions, right ones and confidence by temperature and bin; Brier's score and log-likelihoods."""

    def __init__(self) -> None:
        self.decisions = 0
        self.counts = np.zeros((len(TEMPERATURES), BINS), np.int64)
        self.right = np.zeros((len(TEMPERATURES), BINS), np.int64)
        self.confidence = Sums(len(TEMPERATURES), BINS)
        self.losses = Sums(len(TEMPERATURES))
        self.brier = Sums()

    def add(self, gold: Array, scores: Array) -> None:
        """Gold and probabilities float32 [rows, labels], as in `Outcomes`, of a classification."""
        for start in range(0, len(gold), _ROWS):
            some = slice(start, start + _ROWS)
            self._add(gold[some], scores[some].astype(np.float64))

    def _add(self, gold: Array, scores: Array) -> None:
        several = gold.ndim == 2
        self.decisions += gold.size
        truth = gold if several else gold[:, None] == np.arange(scores.shape[1])
        self.brier.add(((scores - truth) ** 2).sum() / (1 if several or scores.shape[1] > 2 else 2))
        answers = None if several else scores.argmax(axis=1)
        logs = np.log(np.maximum(scores, SMALLEST))
        others = np.log(np.maximum(1 - scores, SMALLEST)) if several else logs
        right = np.asarray(gold.ravel() > 0 if several else answers == gold)
        rows = np.arange(len(gold))
        confidences, losses = [], []
        for number, temperature in enumerate(TEMPERATURES):
            if several:
                odds = (logs - others) / temperature
                present = np.logaddexp(0, -odds)  # -ln p; of absence it is more by the log-odds
                sure = np.exp(-present).ravel()
                losses.append((present + np.where(gold > 0, 0, odds)).sum())
            else:
                scaled = logs / temperature
                scaled -= scaled.max(axis=1, keepdims=True)
                normal = np.log(np.exp(scaled).sum(axis=1))
                sure = np.exp(scaled[rows, answers] - normal)
                losses.append((normal - scaled[rows, gold]).sum())
            if number == _AS_IT_IS:
                sure = scores.ravel() if several else scores[rows, answers]
            where = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
            self.counts[number] += np.bincount(where, minlength=BINS)
            self.right[number] += np.bincount(where[right], minlength=BINS)
            confidences.append(np.bincount(where, sure, BINS))
        self.confidence.add(np.array(confidences))
        self.losses.add(np.array(losses))

    def merge(self, other: "Calibration") -> None:
        """Add what another has seen."""
        self.decisions += other.decisions
        self.counts += other.counts
        self.right += other.right
        self.confidence.merge(other.confidence)
        self.losses.merge(other.losses)
        self.brier.merge(other.brier)

    def measure(self) -> dict[str, Any]:
        """ECE, Brier's score, mean log loss, the reliability table, and the best temperature with what it would give.

        `ece_by_chance` is the ECE that so many rows give on the average where every probability means what it says.
        The table has a row for every bin: `from`, `to`, `rows`, mean `confidence`, `accuracy`; the last two are None
        where there are no rows. `temperature` is None where rows of one kind, all right, would drive it to an end.
        """
        losses = self.losses.values() / self.decisions
        confidence = self.confidence.values()
        best = int(losses.argmin())
        found: dict[str, Any] = {
            "ece": self._error(_AS_IT_IS, confidence),
            "ece_by_chance": self._by_chance(confidence[_AS_IT_IS]),
            "brier": float(self.brier.values() / self.decisions),
            "nll": float(losses[_AS_IT_IS]),
            "bins": [
                {
                    "from": number / BINS,
                    "to": (number + 1) / BINS,
                    "rows": count,
                    "confidence": float(confidence[_AS_IT_IS, number] / count) if count else None,
                    "accuracy": int(self.right[_AS_IT_IS, number]) / count if count else None,
                }
                for number, count in enumerate(self.counts[_AS_IT_IS].tolist())
            ],
            "temperature": None,
        }
        if 0 < best < len(TEMPERATURES) - 1:
            left, middle, right = losses[best - 1 : best + 2].tolist()
            curve = left - 2 * middle + right
            shift = (left - right) / (2 * curve) if curve > 0 else 0.0
            step = np.log(TEMPERATURES[1] / TEMPERATURES[0])
            found["temperature"] = {
                "value": float(TEMPERATURES[best] * np.exp(shift * step)),
                "nll": float(middle - (left - right) * shift / 4),
                "ece": self._error(best, confidence),
            }
        return found

    def _error(self, temperature: int, confidence: Array) -> float:
        return float(np.abs(confidence[temperature] - self.right[temperature]).sum() / self.decisions)

    def _by_chance(self, confidence: Array) -> float:
        """The mean distance of a binomial share from its expectation, by the normal distribution, bin by bin."""
        rows = self.counts[_AS_IT_IS]
        variance = confidence * np.maximum(1 - confidence / np.maximum(rows, 1), 0)
        return float(np.sqrt(2 / np.pi * variance).sum() / self.decisions)
