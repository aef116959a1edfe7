"""How often do 95 % intervals of an evaluation hold the truth, how wide are they, and how often is there none?

    python -m benchmarks.intervals [--sets=200] [--only=PART] [--out=FILE] [--table]

Rows are drawn from populations whose figures are known, and evaluated as the command does; beside it stand percentiles
of rows redrawn as they are (Efron's bootstrap), which is what most tools give. What the limits in
`evaluation/intervals.py` were chosen on, `developed`, has other populations and seeds than `validated`, which was
drawn afterwards and decided nothing. A row a setting; `share` is of the sets that have an interval.
"""

import argparse
import json
import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.hardware import RESULTS, save
from seqcls_beam.evaluation import counts
from seqcls_beam.evaluation.counting.outcomes import Outcomes
from seqcls_beam.evaluation.counting.tally import Asked, Tally
from seqcls_beam.evaluation.metrics import measure

Array = npt.NDArray[Any]
Draw = Callable[[np.random.Generator, int], Any]

REPLICATES = 200
_TRUTH = 200_000  # rows behind the true figures of rankings, labels and regressions

SIZES = {
    "2, 1 % of 500": (495, 5),
    "2, 2 % of 1,000": (980, 20),
    "2, 5 % of 200": (190, 10),
    "2, 20 % of 50": (40, 10),
    "2, 20 % of 5,000": (4000, 1000),
    "5 of 5": (5,) * 5,
    "5, from 200 to 10": (200, 100, 50, 20, 10),
    "20 of 20": (20,) * 20,
    "77 of 5": (5,) * 77,
    "77 of 20": (20,) * 77,
    "77 of 50": (50,) * 77,
}
QUALITY = {"poor": 0.6, "good": 0.9, "nearly perfect": 0.985}
RANKED = {"5 of 100": (5, 95), "20 of 200": (20, 180), "100 of 1,000": (100, 900)}


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--only", choices=[*PARTS])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", action="store_true", help="print the table of the docs from what was measured")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads((given.out or RESULTS / "intervals.json").read_text())))
        return
    began = time.time()
    found: dict[str, list[dict[str, Any]]] = {"developed": [], "validated": []}
    for name, part in PARTS.items():
        for family in found if given.only in (None, name) else ():
            found[family] += part(family == "validated", given.sets)
        save("intervals", {"sets": given.sets, "seconds": round(time.time() - began), **found}, given.out)


def table(found: dict[str, Any]) -> str:
    """A line a metric: how often intervals held the truth, over settings in which half of the sets or more have one."""
    lines = [
        "| | settings | held, mean (lowest) when developed | … when validated | none | Efron's, validated |",
        "|---|---|---|---|---|---|",
    ]
    for metric in dict.fromkeys(row["metric"] for row in found["validated"]):
        cells, none = [], 0.0
        for family in ("developed", "validated"):
            rows = [row for row in found[family] if row["metric"] == metric]
            none = sum(row["without"] for row in rows) / sum(row["sets"] for row in rows)
            cells.append(_held([row["share"] for row in rows if row["without"] <= row["sets"] / 2]))
        peer = [row["efron_share"] for row in rows if row["efron_share"] is not None]
        lines.append(f"| {metric} | {len(rows)} | {cells[0]} | {cells[1]} | {none:.0%} | {_held(peer)} |")
    return "\n".join(lines)


def _held(shares: list[float]) -> str:
    return f"{np.mean(shares):.3f} ({min(shares):.2f})" if shares else ""


def simulated(
    validated: bool,
    name: str,
    sets: int,
    truth: dict[str, float],
    draw: Draw,
    metrics: tuple[str, ...],
    labels: int,
    problem: str,
) -> list[dict[str, Any]]:
    """A row a metric: how often its interval holds `truth`, beside Efron's."""
    held: dict[str, list[bool]] = defaultdict(list)
    widths: dict[str, list[float]] = defaultdict(list)
    for number in range(sets):
        outcomes = draw(np.random.default_rng([zlib.crc32(name.encode()), int(validated), number]), number)
        tally = Tally(Asked(problem, tuple(f"l{each}" for each in range(labels)), bootstrap=REPLICATES))
        tally.add(outcomes)
        told = measure(tally)["metrics"]
        plain = efron(outcomes, problem, labels, number)
        for metric in metrics:
            intervals = {metric: told.get(metric, {"ci": None})["ci"], f"efron {metric}": plain.get(metric)}
            for key, interval in intervals.items():
                if interval is not None:
                    held[key].append(bool(interval[0] - 1e-9 <= truth[metric] <= interval[1] + 1e-9))
                    widths[key].append(interval[1] - interval[0])
    rows = []
    for metric in metrics:
        row: dict[str, Any] = {"setting": name, "metric": metric, "truth": round(truth[metric], 4), "sets": sets}
        for key, prefix in ((metric, ""), (f"efron {metric}", "efron_")):
            row[f"{prefix}without"] = sets - len(held[key])
            row[f"{prefix}share"] = round(float(np.mean(held[key])), 3) if held[key] else None
            row[f"{prefix}width"] = round(float(np.mean(widths[key])), 4) if held[key] else None
        rows.append(row)
        print(*(f"{value}" for value in row.values()), sep="  ", flush=True)
    return rows


def classes(validated: bool, sets: int) -> list[dict[str, Any]]:
    """One label a row: classes differ in how right they are and where their errors go."""
    rows = []
    for sizes, wanted in SIZES.items():
        for quality, share in QUALITY.items():
            name = f"{sizes}, {quality}"
            chance = np.random.default_rng([zlib.crc32(name.encode()), 1 + validated])
            gold = np.array(SIZES[sizes], np.float64)
            size = len(gold)
            right = chance.beta(share * 15, (1 - share) * 15, size) if validated else np.full(size, share)
            errors = chance.dirichlet(np.full(size, 0.4 if validated else 5.0), size)
            np.fill_diagonal(errors, 0)
            matrix = errors / errors.sum(axis=1, keepdims=True) * (1 - right)[:, None] + np.diag(right)
            joint = matrix * (gold / gold.sum())[:, None]
            truth = {key: float(each[0]) for key, each in counts.of_classes(*_margins(joint)).items()}
            truth["positive_f1"] = float(counts.f1(*_margins(joint))[0, -1])
            total, flat = sum(wanted), joint.ravel() / joint.sum()

            def draw(
                chance: np.random.Generator, _: int, total: int = total, flat: Array = flat, size: int = size
            ) -> Outcomes:
                drawn = chance.choice(size * size, total, p=flat)
                return Outcomes(drawn // size, None, drawn % size)

            metrics = ("accuracy", "macro_f1", "weighted_f1", "kappa", "mcc", *(["positive_f1"] if size == 2 else []))
            few = sets if size < 77 else max(sets // 2, 1)  # which take longest
            rows += simulated(validated, name, few, truth, draw, metrics, size, "single_label")
    return rows


def _margins(joint: Array) -> tuple[Array, Array, Array]:
    return np.diag(joint)[None], joint.sum(axis=0)[None], joint.sum(axis=1)[None]


def ranked(validated: bool, sets: int) -> list[dict[str, Any]]:
    """Scores of two labels: normal ones of equal spread; in the validation also wider ones, and ties."""
    rows = []
    for kind in ("wider", "tied") if validated else ("normal",):
        for sizes, (present, absent) in RANKED.items():
            for shift in (0.5, 1.5, 3.0):

                def draw(
                    chance: np.random.Generator,
                    _: int,
                    rows: int = present + absent,
                    share: float = present / (present + absent),
                    kind: str = kind,
                    shift: float = shift,
                ) -> Outcomes:
                    gold = (chance.random(rows) < share).astype(np.int64)
                    odds = chance.normal(size=rows)
                    odds = np.where(gold == 1, shift + odds * (1.8 if kind == "wider" else 1), odds)
                    odds = np.round(odds * 1.5) if kind == "tied" else odds
                    return Outcomes(gold, np.exp(-np.logaddexp(0, np.stack([odds, -odds], axis=1))).astype(np.float32))

                many = Tally(Asked("single_label", ("l0", "l1")))
                many.add(draw(np.random.default_rng(1), 0, rows=_TRUTH))
                truth = {key: each["value"] for key, each in measure(many)["metrics"].items()}
                name = f"{kind}, {sizes}, {shift:g} apart"
                rows += simulated(validated, name, sets, truth, draw, ("auc", "average_precision"), 2, "single_label")
    return rows


def labels(validated: bool, sets: int) -> list[dict[str, Any]]:
    """Several labels a row, which come together in some rows; in the validation of unlike frequency."""
    rows = []
    for size, count in ((5, 100), (5, 1000), (20, 400)):
        for strength in (1.0, 3.0):
            base = np.linspace(-2.5, 0.0, size) if validated else np.full(size, -1.5)

            def draw(
                chance: np.random.Generator, _: int, rows: int = count, base: Array = base, strength: float = strength
            ) -> Outcomes:
                latent = base + chance.normal(size=(rows, 1)) * 0.7 + chance.normal(size=(rows, len(base)))
                odds = strength * latent + chance.normal(size=latent.shape)
                return Outcomes((latent > 0).astype(np.float32), None, (odds > 0).astype(np.float32))

            many = draw(np.random.default_rng(1), 0, rows=_TRUTH // size)
            assert many.predicted is not None
            present, said = many.gold > 0, many.predicted > 0
            tables = [each.sum(axis=0, dtype=np.float64)[None] for each in (present & said, said, present)]
            truth = {key: float(each[0]) for key, each in counts.of_labels(*tables).items()}
            name = f"{size} labels, {count:,} rows, {'poor' if strength == 1 else 'good'}"
            rows += simulated(
                validated, name, sets, truth, draw, ("micro_f1", "macro_f1", "weighted_f1"), size, "multi_label"
            )
    return rows


def regressions(validated: bool, sets: int) -> list[dict[str, Any]]:
    """Numbers with normal errors; in the validation with Student's of 5 degrees of freedom."""
    rows = []
    for count in (20, 50, 500):
        for noise in (0.3, 1.5):

            def draw(chance: np.random.Generator, _: int, rows: int = count, noise: float = noise) -> Outcomes:
                gold = chance.normal(size=rows)
                errors = chance.standard_t(5, rows) * 0.77 if validated else chance.normal(size=rows)
                return Outcomes(gold.astype(np.float32), (gold + noise * errors).astype(np.float32))

            many = Tally(Asked("regression", ()))
            many.add(draw(np.random.default_rng(1), 0, rows=_TRUTH))
            truth = {key: each["value"] for key, each in measure(many)["metrics"].items()}
            metrics = ("mse", "mae", "r2", "pearson", "spearman")
            rows += simulated(validated, f"{count} rows, noise {noise:g}", sets, truth, draw, metrics, 0, "regression")
    return rows


def efron(outcomes: Outcomes, problem: str, size: int, seed: int) -> dict[str, Any]:
    """The percentiles of metrics of rows that are redrawn as they are; none where one replicate has no value."""
    chance = np.random.default_rng(seed)
    rows = len(outcomes)
    if problem == "single_label" and outcomes.scores is None:
        assert outcomes.predicted is not None
        codes, times = np.unique(outcomes.gold * size + outcomes.predicted, return_counts=True)
        drawn = chance.multinomial(rows, times / rows, REPLICATES).astype(np.float64)
        gold, said = (drawn @ np.eye(size)[each] for each in (codes // size, codes % size))
        right = (drawn * (codes // size == codes % size)) @ np.eye(size)[codes // size]
        found = counts.of_classes(right, said, gold, (gold + said).sum(axis=0) > 0)
        found["positive_f1"] = counts.f1(right, said, gold)[:, -1]
    elif problem == "multi_label":
        assert outcomes.predicted is not None
        drawn = chance.multinomial(rows, np.full(rows, 1 / rows), REPLICATES).astype(np.float64)
        gold, said = outcomes.gold > 0, outcomes.predicted > 0
        found = counts.of_labels(*(drawn @ each for each in (gold & said, said, gold)))
    elif problem == "regression":
        assert outcomes.scores is not None
        weights = chance.multinomial(rows, np.full(rows, 1 / rows), REPLICATES) / rows
        y, x = outcomes.gold.astype(np.float64), outcomes.scores.astype(np.float64)
        error = weights @ (y - x) ** 2
        across, down = (weights @ each**2 - (weights @ each) ** 2 for each in (y, x))
        both = weights @ (x * y) - (weights @ x) * (weights @ y)
        found = {"mse": error, "mae": weights @ np.abs(y - x), "r2": 1 - error / across}
        found["pearson"] = both / np.sqrt(across * down)
    else:
        assert outcomes.scores is not None
        cell = np.unique(np.log(outcomes.scores[:, 1] / outcomes.scores[:, 0]), return_inverse=True)[1]
        cells = np.bincount(outcomes.gold * (cell.max() + 1) + cell, minlength=2 * (cell.max() + 1))
        drawn = chance.multinomial(rows, cells / rows, REPLICATES).reshape(REPLICATES, 2, -1).astype(np.float64)
        absent, present = drawn.swapaxes(0, 1)
        if not absent.any(axis=1).all() or not present.any(axis=1).all():
            return {}  # in one of them nothing is to be ranked
        area = (present * (absent.cumsum(axis=1) - absent / 2)).sum(axis=1)
        above, said = (each[:, ::-1].cumsum(axis=1)[:, ::-1] for each in (present, present + absent))
        found = {
            "auc": area / (absent.sum(axis=1) * present.sum(axis=1)),
            "average_precision": (present * above / np.maximum(said, 1)).sum(axis=1) / present.sum(axis=1),
        }
    return {key: np.percentile(each, [2.5, 97.5]).tolist() for key, each in found.items()}


PARTS: dict[str, Callable[[bool, int], list[dict[str, Any]]]] = {
    "ranked": ranked,
    "labels": labels,
    "regressions": regressions,
    "classes": classes,
}

if __name__ == "__main__":
    main()
