"""How far figures may be off: closed forms by other hands, and simulated sets of which the truth is known."""

import json
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from benchmarks import intervals as simulation
from seqcls_beam.config.evaluate import GateOptions
from seqcls_beam.evaluation import gates, intervals, smoothing
from seqcls_beam.evaluation.counting.calibration import Calibration
from seqcls_beam.evaluation.counting.outcomes import Outcomes
from seqcls_beam.evaluation.counting.tally import Asked, Tally
from seqcls_beam.evaluation.metrics import measure
from seqcls_beam.reports.evaluate import document as page


def measured(problem: str, labels: int, outcomes: Outcomes, **asked) -> dict:
    tally = Tally(Asked(problem, tuple(f"l{i}" for i in range(labels)), **{"bootstrap": 200, **asked}))
    tally.add(outcomes)
    return measure(tally)


def answered(gold: list[int], said: list[int], labels: int = 2, **asked) -> dict:
    return measured("single_label", labels, Outcomes(np.array(gold), None, np.array(said)), **asked)


def wilson(right: int, rows: int) -> tuple[float, float]:
    found = stats.binomtest(right, rows).proportion_ci(0.95, method="wilson")
    return found.low, found.high


@pytest.mark.parametrize(("right", "missed", "wrong"), [(0, 5, 0), (5, 0, 0), (7, 3, 4), (200, 11, 60)])
def test_a_label_has_wilsons_interval_of_its_rows(right, missed, wrong):
    gold = [1] * (right + missed) + [0] * (wrong + 45)
    said = [1] * right + [0] * missed + [1] * wrong + [0] * 45
    found = answered(gold, said)
    one = found["classes"][1]
    low, high = wilson(right, right + missed + wrong)  # of the rows that are, or are called, positive
    assert one["ci"] == pytest.approx([2 * low / (1 + low), 2 * high / (1 + high)], abs=1e-6)
    assert one["recall_ci"] == pytest.approx(wilson(right, right + missed), abs=1e-6)
    if right + wrong >= intervals.LEAST:
        assert one["precision_ci"] == pytest.approx(wilson(right, right + wrong), abs=1e-6)
    else:
        assert one["precision_ci"] is None
    assert found["metrics"]["positive_f1"]["ci"] == one["ci"] and one["why"] is None


@pytest.mark.parametrize("said", [[1] * 5 + [0] * 45, [0] * 50])
def test_rows_that_are_all_right_or_all_wrong_promise_little(said):
    found = answered([1] * 5 + [0] * 45, said)["metrics"]
    for name in ("positive_f1", "macro_f1", "kappa", "mcc", "balanced_accuracy"):
        low, high = found[name]["ci"]
        assert low <= found[name]["value"] <= high and high - low > (0.25 if name == "positive_f1" else 0.05), name


def test_of_a_share_the_replicates_come_to_wilson():
    # Accuracy is a share of rows, so its effective rows must be the rows.
    draws = np.random.default_rng(0)
    for right in (60, 190):
        drawn = np.append(right / 200, draws.binomial(200, right / 200, 40_000) / 200)
        assert intervals.bounded(right / 200, drawn).ci == pytest.approx(wilson(right, 200), abs=2e-3)


def test_what_the_bootstrap_takes_away_is_given_back():
    # Replicates that lie 0.03 below what they are drawn from say that the value lies 0.03 below the truth.
    drawn = np.append(0.6, np.random.default_rng(1).normal(0.57, 0.02, 5000))
    low, high = intervals.bounded(0.6, drawn).ci or (0, 0)
    assert (low + high) / 2 == pytest.approx(0.63, abs=2e-3) and high - low == pytest.approx(4 * 0.02, rel=0.05)


def test_smoothed_rows_are_as_many_and_as_right_as_classes_are():
    gold, said, rows = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2]), np.array([6, 2, 5, 90])
    found = smoothing.cells(gold, said, rows, 4)
    assert np.bincount(found[0], found[2], 4) == pytest.approx([8, 5, 90, 0])
    # By hand: shares (6.5 / 9, 5.5 / 8, 90.5 / 91), their mean 0.8014, F1 of that 0.8897.
    share = np.mean([6.5 / 9, 5.5 / 8, 90.5 / 91])
    assert smoothing.pooled(np.array([6, 5, 90, 0]), np.array([6, 7, 90, 0]), np.array([8, 5, 90, 0])) == pytest.approx(
        2 * share / (1 + share)
    )
    right = found[2][(found[0] == found[1]) & (found[0] == 2)].sum()
    assert right == pytest.approx(90 * 90 / 91 + 90 / 91 * 2 * share / (1 + share))


def test_smoothed_labels_keep_what_rows_have_together():
    counts = np.array([[300, 50], [350, 60], [400, 80]])
    draws = np.random.default_rng(0)
    apart = draws.poisson(np.stack([counts[0], counts[1] - counts[0], counts[2] - counts[0]]), (4000, 3, 2))
    tables = np.stack([apart[:, 0], apart[:, 0] + apart[:, 1], apart[:, 0] + apart[:, 2]], axis=1)
    found = smoothing.labels(tables, counts, np.random.default_rng(1))
    assert found.shape == (4001, 3, 2)
    assert found[1:].mean(axis=0) == pytest.approx(found[0], rel=0.01)
    assert found[1:, 2].var(axis=0) == pytest.approx(counts[2], rel=0.1)
    assert (found[:, 0] <= np.minimum(found[:, 1], found[:, 2]) + 1e-9).all()


def told(found: dict, name: str) -> str:
    assert found["metrics"][name]["ci"] is None
    return found["metrics"][name]["why"]


def test_too_few_rows_of_a_class_have_no_interval_and_a_reason():
    found = answered([1] * 4 + [0] * 96, [1] * 4 + [0] * 96)
    assert told(found, "positive_f1") == "too few rows: 4 of this class"
    assert told(found, "macro_f1") == "too few rows: 4 of class 'l1'"
    assert found["metrics"]["accuracy"]["ci"] is not None and found["metrics"]["weighted_f1"]["ci"] is not None
    assert told(answered([0] * 50, [0] * 50), "macro_f1") == "1 of 2 labels have no gold row ('l1')"


def scored(present: int, absent: int, apart: float) -> dict:
    draws = np.random.default_rng(0)
    gold = np.repeat([1, 0], [present, absent])
    odds = draws.normal(size=len(gold)) + apart * gold
    scores = np.exp(-np.logaddexp(0, np.stack([odds, -odds], axis=1))).astype(np.float32)
    return measured("single_label", 2, Outcomes(gold, scores))


def test_ranking_has_an_interval_or_a_sentence():
    assert told(scored(4, 96, 2), "auc") == "too few rows: 4 of the rarer class"
    few = scored(5, 95, 2)
    assert few["metrics"]["auc"]["ci"] is not None  # though in most of 200 replicates of 1,000 rows one has no positive
    assert "too few rows: 5 of the positive class" in told(few, "average_precision")
    many = scored(100, 900, 2)["metrics"]
    assert many["auc"]["ci"] is not None and many["average_precision"]["ci"] is not None
    low, high = scored(5, 45, 50)["metrics"]["auc"]["ci"]  # every present row above every absent one
    assert low < 0.85 and high == 1


def test_regressions_of_few_rows_have_no_interval():
    gold = np.linspace(0, 3, 60, dtype=np.float32)
    said = gold + np.random.default_rng(0).normal(size=60).astype(np.float32)
    for name in ("mse", "mae", "r2", "pearson", "spearman"):
        assert told(measured("regression", 1, Outcomes(gold[:10], said[:10])), name) == "too few rows: 10"
        low, high = measured("regression", 1, Outcomes(gold, said))["metrics"][name]["ci"]
        assert low < measured("regression", 1, Outcomes(gold, said))["metrics"][name]["value"] < high
    exact = measured("regression", 1, Outcomes(gold, gold))
    assert "end of its scale" in told(exact, "mse") and "end of its scale" in told(exact, "pearson")


def test_no_replicates_no_intervals():
    found = answered([1] * 30 + [0] * 70, [1] * 50 + [0] * 50, bootstrap=0)
    for each in (*found["metrics"].values(), *found["classes"]):
        assert each["ci"] is None and each["why"] == intervals.NOT_ASKED
        assert each.get("recall_ci") is None
    assert not any("interval" in said for said in found["warnings"])


def test_every_figure_has_an_interval_or_a_reason():
    for found in (
        answered([0, 1, 2] * 3, [0, 1, 1] * 3, labels=3),
        answered([0], [0], labels=1),
        scored(3, 3, 1),
        measured("regression", 1, Outcomes(np.ones(3, np.float32), np.ones(3, np.float32))),
    ):
        for each in (*found["metrics"].values(), *found.get("classes", ())):
            assert (each["ci"] is None) != (each["why"] is None)
        json.dumps(found, allow_nan=False)


def test_what_rests_on_few_rows_is_said_once():
    shops = np.array(["a"] * 97 + ["b"] * 3)
    rows = Outcomes(np.array([1] * 4 + [0] * 96), None, np.array([1] * 4 + [0] * 96), slices={"shop": shops})
    found = measured("single_label", 2, rows, slices=("shop",))
    said = found["warnings"]
    assert "1 of 2 labels has fewer than 50 gold rows ('l1')" in said[0]
    assert "no interval of F1 of l1: too few rows: 4 of this class" in said
    assert "by shop: 1 of 2 groups has fewer than 50 rows, which is few to tell them apart" in said
    assert len(said) == len(set(said)) and max(Counter(said).values()) == 1
    assert found["slices"]["shop"][1]["ci"] == pytest.approx(wilson(3, 3), abs=1e-6)
    many = Outcomes(np.tile([0, 1], 100), None, np.tile([0, 1], 100))
    assert measured("single_label", 2, many)["warnings"] == []
    made = page({**report(found), "warnings": ["<b>few"]})
    assert made.count("&lt;b&gt;few") == 1


def report(found: dict) -> dict:
    return {
        "command": "", "versions": {}, "finished": "", "data": {"kind": "rows", "inputs": []}, "model": None,
        "problem": "single_label", "labels": ["l0", "l1"], "truncated_rows": 0, "gates": [], **found,
        "rows": {"in": 100, "scored": 100, "unlabelled": 0, "rejected": 0, "lost": 0, "unknown_labels": []},
    }  # fmt: skip


def test_calibration_says_what_chance_alone_would_give():
    draws = np.random.default_rng(0)
    errors = []
    for _ in range(200):  # every probability means what it says
        scores = draws.choice([0.55, 0.75, 0.95], 60)
        made = Calibration()
        made.add((draws.random(60) > scores).astype(int), np.stack([scores, 1 - scores], axis=1).astype(np.float32))
        errors.append((made.measure()["ece"], made.measure()["ece_by_chance"]))
    found, by_chance = np.mean(errors, axis=0)
    assert by_chance == pytest.approx(found, rel=0.1) and found > 0.05


def gate(value: float, ci: list[float] | None, why: str | None = None) -> dict:
    return gates.judged(GateOptions(min_accuracy=0.8), {"accuracy": {"value": value, "ci": ci, "why": why}})[0]


def test_a_gate_says_what_it_cannot_tell():
    assert "lies on both sides of it" in (gates.unsure(gate(0.85, [0.75, 0.9])) or "")
    assert gates.unsure(gate(0.85, [0.82, 0.9])) is None
    assert "no interval (too few rows: 3)" in (gates.unsure(gate(0.85, None, "too few rows: 3")) or "")
    assert gates.unsure(gate(0.85, None, intervals.NOT_ASKED)) is None
    assert gates.sentence(gate(0.7, None, "too few rows: 3")).endswith("cannot be told: too few rows: 3")
    assert gates.sentence(gate(0.7, None, intervals.UNMEASURED)) == "--min_accuracy=0.8: accuracy is 0.7000"


@pytest.mark.parametrize(
    ("sizes", "right"), [((95, 5), 0.97), ((980, 20), 0.9), ((5,) * 20, 0.7), ((40, 20, 10, 10), 1.0)]
)
def test_intervals_hold_the_truth(sizes, right):
    held = coverage(sizes, right, sets=60)
    for name, share in held.items():
        assert 0.87 <= share <= 1, name  # three standard errors below 0.95


def coverage(sizes: tuple[int, ...], right: float, sets: int) -> dict[str, float]:
    """How often sets of rows drawn with these shares, and errors spread evenly, have intervals that hold the truth."""
    size = len(sizes)
    gold = np.array(sizes) / sum(sizes)
    joint = gold[:, None] * (
        np.full((size, size), (1 - right) / (size - 1)) * (1 - np.eye(size)) + right * np.eye(size)
    )
    agreed, chance = np.trace(joint), (joint.sum(axis=0) * gold).sum()
    truth = {
        "accuracy": agreed,
        "macro_f1": np.mean(2 * np.diag(joint) / (joint.sum(axis=0) + gold)),
        "kappa": (agreed - chance) / (1 - chance),
    }
    held: dict[str, list[bool]] = {name: [] for name in truth}
    draws = np.random.default_rng(5)
    for number in range(sets):
        drawn = draws.choice(size * size, sum(sizes), p=joint.ravel())
        found = answered((drawn // size).tolist(), (drawn % size).tolist(), size, seed=number)["metrics"]
        for name, value in truth.items():
            if found[name]["ci"] is not None:
                held[name].append(found[name]["ci"][0] - 1e-9 <= value <= found[name]["ci"][1] + 1e-9)
    return {name: float(np.mean(each)) for name, each in held.items()}


@pytest.mark.slow
@pytest.mark.parametrize("part", ["classes", "ranked", "labels", "regressions"])
def test_intervals_hold_the_truth_in_all_settings(part):
    held: dict[str, list[float]] = {}
    for row in simulation.PARTS[part](True, 200):
        if row["sets"] - row["without"] >= 50:
            assert row["share"] >= 0.85, row  # the lowest of many settings
            held.setdefault(row["metric"], []).append(row["share"])
    assert {name: 0.9 <= np.mean(shares) <= 0.985 for name, shares in held.items()} == dict.fromkeys(held, True)
