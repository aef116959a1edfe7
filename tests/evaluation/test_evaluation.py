"""Metrics from tallies, against scikit-learn and scipy on the rows themselves."""

import json
import pickle
import random
import re
import tracemalloc
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize_scalar
from sklearn import metrics as sk

from seqcls_beam.evaluation import metrics, ranking
from seqcls_beam.evaluation.counting import histograms
from seqcls_beam.evaluation.counting.calibration import Calibration
from seqcls_beam.evaluation.counting.decisions import Decisions
from seqcls_beam.evaluation.counting.outcomes import Outcomes
from seqcls_beam.evaluation.counting.sampling import Sample
from seqcls_beam.evaluation.counting.sums import Sums
from seqcls_beam.evaluation.counting.tally import MOST_VALUES, Asked, Tally
from seqcls_beam.evaluation.gold import Gold, countable, values_of
from seqcls_beam.evaluation.headline import headline
from seqcls_beam.evaluation.metrics import measure
from seqcls_beam.reports.evaluate import document as page
from seqcls_beam.runs.run import RunError
from tests.reports.reading import parsed

SHOPS = np.array(["a", "b", "c"])


def rows(problem: str, size: int, labels: int = 2, seed: int = 0) -> Any:
    """Outcomes of a model that is right more often than not."""
    draws = np.random.default_rng(seed)
    extras: dict[str, Any] = {
        "tokens": draws.integers(2, 300, size).astype(np.int32),
        "slices": {"shop": SHOPS[draws.integers(0, 3, size)]},
        "shown": {"id": pa.array([f"r{seed}-{i}" for i in range(size)])},
    }
    if problem == "regression":
        gold = draws.normal(3, 2, size).astype(np.float32)
        return Outcomes(gold, (gold + draws.normal(0, 1, size)).astype(np.float32), **extras)
    if problem == "multi_label":
        gold = (draws.random((size, labels)) < 0.2).astype(np.float32)
        logits = 3 * gold - 2 + draws.normal(0, 1.5, (size, labels))
        return Outcomes(gold, (1 / (1 + np.exp(-logits))).astype(np.float32), **extras)
    number = draws.integers(0, labels, size)
    logits = 1.5 * np.eye(labels)[number] + draws.normal(0, 1, (size, labels))
    powers = np.exp(logits)
    return Outcomes(number, (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), **extras)


def tallied(problem: str, labels: int, *parts: Outcomes, **asked) -> Tally:
    names = tuple(f"l{i}" for i in range(labels))
    tally = Tally(Asked(problem, names, slices=("shop",), worst=5, **asked))
    for number, part in enumerate(parts):
        part.batch = (0, number)
        tally.add(part)
    return tally


def values(found: dict) -> dict[str, float]:
    return {name: each["value"] for name, each in found["metrics"].items()}


@pytest.mark.parametrize("labels", [2, 3, 7])
def test_single_label_metrics_are_scikit_learns(labels):
    data = rows("single_label", 3000, labels)
    found = measure(tallied("single_label", labels, data), ordinal=True)
    gold, said = data.gold, data.scores.argmax(axis=1)
    told = values(found)
    expected = {
        "accuracy": sk.accuracy_score(gold, said),
        "balanced_accuracy": sk.balanced_accuracy_score(gold, said),
        "macro_f1": sk.f1_score(gold, said, average="macro"),
        "macro_precision": sk.precision_score(gold, said, average="macro"),
        "macro_recall": sk.recall_score(gold, said, average="macro"),
        "weighted_f1": sk.f1_score(gold, said, average="weighted"),
        "kappa": sk.cohen_kappa_score(gold, said),
        "mcc": sk.matthews_corrcoef(gold, said),
        "quadratic_kappa": sk.cohen_kappa_score(gold, said, weights="quadratic"),
        "mae_steps": sk.mean_absolute_error(gold, said),
        "within_one": np.mean(np.abs(gold - said) <= 1),
        "brier": sk.brier_score_loss(gold, data.scores if labels > 2 else data.scores[:, 1]),
        "nll": sk.log_loss(gold, data.scores),
    }
    assert {name: told[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    each = sk.precision_recall_fscore_support(gold, said)
    for at, name in enumerate(("precision", "recall", "f1", "support")):
        assert [row[name] for row in found["classes"]] == pytest.approx(each[at].tolist())
    matrix = np.zeros((labels, labels), int)
    matrix[found["confusion"]["gold"], found["confusion"]["predicted"]] = found["confusion"]["rows"]
    assert (matrix == sk.confusion_matrix(gold, said)).all()
    assert found["baseline"]["accuracy"] == np.bincount(gold).max() / len(gold)
    most = np.full(len(gold), np.bincount(gold).argmax())
    assert found["baseline"]["macro_f1"] == pytest.approx(sk.f1_score(gold, most, average="macro", zero_division=0))


def test_of_two_labels_either_may_be_the_positive_one():
    data = rows("single_label", 2000)
    for number, name in enumerate(("l0", "l1")):
        told = values(measure(tallied("single_label", 2, data), positive=name))
        truth, score = data.gold == number, data.scores[:, number]
        assert told["positive_f1"] == pytest.approx(sk.f1_score(truth, data.scores.argmax(axis=1) == number))
        assert told["auc"] == pytest.approx(sk.roc_auc_score(truth, score), abs=1e-4)
        assert told["average_precision"] == pytest.approx(sk.average_precision_score(truth, score), abs=1e-4)


@pytest.mark.parametrize("spread", [0.05, 1, 5, 30])
@pytest.mark.parametrize("size", [50, 5000, 100_000])
def test_ranking_from_histograms_is_that_of_the_sorted_rows(spread, size):
    draws = np.random.default_rng(3)
    gold = draws.integers(0, 2, size)
    logits = spread * (draws.normal(0, 1, size) + gold - 0.5)
    scores = np.exp(-np.logaddexp(0, np.stack([logits, -logits], axis=1))).astype(np.float32)
    histogram = tallied("single_label", 2, Outcomes(gold, scores, slices={"shop": np.full(size, "a")})).odds[0]
    # Where float32 rounds 1 - p to 1, the other label's probability still tells.
    assert ranking.auc(histogram) == pytest.approx(sk.roc_auc_score(gold, logits), abs=1e-4)
    assert ranking.average_precision(histogram) == pytest.approx(sk.average_precision_score(gold, logits), abs=1e-4)


def two(logits: np.ndarray) -> np.ndarray:
    """Log-odds → float32 probabilities of two labels."""
    return np.exp(-np.logaddexp(0, np.stack([logits, -logits], axis=1))).astype(np.float32)


@pytest.mark.parametrize(("centre", "spread"), [(0, 1e-4), (-7, 1e-3), (0, 2)])
def test_ranking_is_exact_where_scores_are_all_alike(centre, spread):
    draws = np.random.default_rng(3)
    gold = draws.integers(0, 2, 6000)
    scores = two(centre + spread * (draws.normal(size=6000) + gold))
    found = measure(
        tallied(
            "single_label",
            2,
            *(Outcomes(gold[i::3], scores[i::3], slices={"shop": np.full(2000, "a")}) for i in range(3)),
        )
    )
    odds_of = np.log(scores[:, 1].astype(float)) - np.log(scores[:, 0].astype(float))
    assert found["ranked"] == "exact"
    assert values(found)["auc"] == pytest.approx(sk.roc_auc_score(gold, odds_of), abs=1e-12)
    assert values(found)["average_precision"] == pytest.approx(sk.average_precision_score(gold, odds_of), abs=1e-12)


def test_average_precision_of_rare_labels_of_many_is_exact():
    draws = np.random.default_rng(5)
    gold = (draws.random((1500, 150)) < 0.01).astype(np.float32)
    scores = (1 / (1 + np.exp(7 - 2.5 * gold - draws.normal(size=gold.shape)))).astype(np.float32)
    parts = [Outcomes(gold[i::2], scores[i::2], slices={"shop": np.full(750, "a")}) for i in range(2)]
    found = measure(tallied("multi_label", 150, *parts))
    expected = sk.average_precision_score(gold, scores, average=None)
    assert [row["average_precision"] for row in found["classes"]] == pytest.approx(expected.tolist(), abs=1e-12)
    assert values(found)["map"] == pytest.approx(expected.mean(), abs=1e-12)
    micro = sk.average_precision_score(gold, scores, average="micro")
    assert values(found)["micro_average_precision"] == pytest.approx(micro, abs=1e-12)


def test_more_decisions_than_are_kept_are_those_of_the_histogram():
    data = rows("single_label", 3000)
    whole = tallied("single_label", 2)
    whole.decisions = Decisions(1, most=2500)
    for order in ([0, 1, 2], [2, 0, 1]):
        merged = tallied("single_label", 2)
        merged.decisions = Decisions(1, most=2500)
        for i in order:
            part = tallied("single_label", 2)
            part.decisions = Decisions(1, most=2500)
            part.add(Outcomes(data.gold[i::3], data.scores[i::3], slices={"shop": data.slices["shop"][i::3]}))
            assert part.decisions.exact
            merged.merge(part)
        assert len(pickle.dumps(merged.decisions)) < 1000
        found = measure(merged)
        assert found["ranked"] == "histogram"
        assert values(found)["auc"] == pytest.approx(sk.roc_auc_score(data.gold, data.scores[:, 1]), abs=1e-4)


@pytest.mark.parametrize("most", [0, 1 << 22])
@pytest.mark.parametrize(("size", "rare", "shift"), [(20_000, 0.01, 7), (20_000, 0.001, 12), (3000, 0.5, 0.5)])
def test_intervals_of_ranking_hold_what_they_are_of(most, size, rare, shift):
    for seed in range(3):
        draws = np.random.default_rng(seed)
        gold = (draws.random(size) < rare).astype(int)
        logits = draws.normal(-5, 1.5, size) + shift * gold
        tally = tallied("single_label", 2, bootstrap=150, seed=seed)
        tally.decisions = Decisions(1, most=most)
        tally.add(Outcomes(gold, two(logits), slices={"shop": np.full(size, "a")}))
        found = measure(tally)["metrics"]
        drawn = []
        for _ in range(40):
            some = draws.integers(0, size, size)
            drawn.append(sk.average_precision_score(gold[some], logits[some]))
        for name in ("auc", "average_precision"):
            low, high = found[name]["ci"]
            assert 0 <= low <= found[name]["value"] <= high <= 1
        low, high = found["average_precision"]["ci"]
        if (
            np.ptp(drawn) > 0.02
        ):  # of rows that are all right nothing differs in what is drawn of them, and much is open
            assert 0.5 < (high - low) / np.ptp(drawn) < 1.8
        else:
            assert 0.02 < high - low < 0.3


def test_cells_of_the_confusion_matrix_are_not_all_drawn_at_once(monkeypatch):
    draws = np.random.default_rng(0)
    gold, said = draws.integers(0, 200, (2, 20_000))
    tally = tallied("single_label", 200, bootstrap=300)
    tally.add(Outcomes(gold, None, said, slices={"shop": np.full(20_000, "a")}))
    expected = measure(tally)["metrics"]
    monkeypatch.setattr(metrics, "_AT_ONCE", 1 << 16)
    tracemalloc.start()
    assert measure(tally)["metrics"] == expected
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(tally.pairs) * 300 * 8 > 30e6 and peak < 20e6


@pytest.mark.parametrize(("right", "size"), [(30, 30), (29, 30), (500, 1000), (0, 7)])
def test_shares_of_rows_have_wilsons_interval(right, size):
    gold = np.zeros(size, np.int64)
    said = (np.arange(size) >= right).astype(np.int64)
    expected = stats.binomtest(right, size).proportion_ci(0.95, method="wilson")
    one = measure(
        tallied("single_label", 3, Outcomes(gold, None, said * 2, slices={"shop": np.full(size, "a")}), bootstrap=9),
        ordinal=True,
    )
    rows_of = np.stack([gold, 1 - gold], axis=1).astype(np.float32)
    other = np.stack([said, 1 - said], axis=1).astype(np.float32)
    several = measure(
        tallied("multi_label", 2, Outcomes(rows_of, None, other, slices={"shop": np.full(size, "a")}), bootstrap=9)
    )
    for found, name in ((one, "accuracy"), (one, "within_one"), (several, "subset_accuracy")):
        assert found["metrics"][name]["value"] == right / size
        assert found["metrics"][name]["ci"] == pytest.approx([expected.low, expected.high], abs=1e-6)


def test_multi_label_metrics_are_scikit_learns():
    data = rows("multi_label", 2500, 6)
    found = measure(tallied("multi_label", 6, data, threshold=0.4))
    gold, said = data.gold.astype(int), (data.scores >= 0.4).astype(int)
    expected = {
        **{f"{average}_f1": sk.f1_score(gold, said, average=average) for average in ("micro", "macro", "weighted")},
        "micro_precision": sk.precision_score(gold, said, average="micro"),
        "macro_recall": sk.recall_score(gold, said, average="macro"),
        "subset_accuracy": sk.accuracy_score(gold, said),
        "brier": np.mean((data.scores - gold) ** 2),
        "nll": np.mean([sk.log_loss(gold[:, i], data.scores[:, i]) for i in range(6)]),
    }
    told = values(found)
    assert {name: told[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    precisions = sk.average_precision_score(gold, data.scores, average=None)
    assert [row["average_precision"] for row in found["classes"]] == pytest.approx(precisions.tolist(), abs=2e-4)
    assert told["map"] == pytest.approx(precisions.mean(), abs=1e-4)
    micro = sk.average_precision_score(gold, data.scores, average="micro")
    assert told["micro_average_precision"] == pytest.approx(micro, abs=1e-4)
    for name, average in (("micro_f1", "micro"), ("macro_f1", "macro")):
        best = found["tuned"][name]
        there = sk.f1_score(gold, data.scores.astype(np.float64) >= best["threshold"], average=average)
        assert best["value"] == pytest.approx(there, abs=1e-9)
        tried = [sk.f1_score(gold, data.scores >= each, average=average) for each in np.linspace(0.05, 0.95, 40)]
        assert best["value"] >= max(tried) - 1e-9


@pytest.mark.parametrize("offset", [0, 1000])
def test_regression_metrics_are_scikit_learns(offset):
    data = rows("regression", 4000)
    data.gold, data.scores = data.gold + np.float32(offset), data.scores + np.float32(offset)
    gold, said = data.gold.astype(np.float64), data.scores.astype(np.float64)
    parts = [
        Outcomes(data.gold[i::3], data.scores[i::3], slices={"shop": np.full(len(data.gold[i::3]), "a")})
        for i in range(3)
    ]
    told = values(measure(tallied("regression", 1, *parts)))
    expected = {
        "mse": sk.mean_squared_error(gold, said),
        "rmse": sk.root_mean_squared_error(gold, said),
        "mae": sk.mean_absolute_error(gold, said),
        "r2": sk.r2_score(gold, said),
        "pearson": stats.pearsonr(gold, said).statistic,
        "spearman": stats.spearmanr(gold, said).statistic,
    }
    assert told == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("offset", "spread"), [(1e5, 0.1), (1e6, 0.5), (-2e6, 0.5)])
def test_a_spread_that_is_small_beside_the_mean_is_not_rounded_off(offset, spread):
    draws = np.random.default_rng(1)
    gold = (offset + draws.normal(0, spread, 20_000)).astype(np.float32)
    said = (gold + draws.normal(0, spread, 20_000)).astype(np.float32)
    shops = SHOPS[draws.integers(0, 3, 20_000)]

    def found(less: float) -> dict:
        some = [
            Outcomes(gold[at] - np.float32(less), said[at] - np.float32(less), slices={"shop": shops[at]})
            for at in (slice(i, i + 3000) for i in range(0, 20_000, 3000))
        ]
        return measure(tallied("regression", 1, *some, bootstrap=50))

    exact = gold.astype(np.float64), said.astype(np.float64)
    made = found(0)
    told = values(made)
    assert told["r2"] == pytest.approx(sk.r2_score(*exact), abs=1e-9)
    assert told["pearson"] == pytest.approx(stats.pearsonr(*exact).statistic, abs=1e-9)
    for group in made["slices"]["shop"]:
        there = shops == group["value"]
        expected = stats.pearsonr(exact[0][there], exact[1][there]).statistic
        assert group["pearson"] == pytest.approx(expected, abs=1e-9)
    # The difference of two float32 that are near is a float32, so these are the same rows about 0.
    for name in ("r2", "pearson", "mse"):
        assert made["metrics"][name]["ci"] == pytest.approx(found(offset)["metrics"][name]["ci"], abs=1e-9)


def test_a_sample_keeps_the_same_rows_however_they_come():
    data = np.random.default_rng(0).normal(size=(5000, 2)).astype(np.float32)

    def sampled(order: list[int], joined: bool) -> np.ndarray:
        whole = Sample(2, size=700)
        for batch in order:
            part = Sample(2, size=700) if joined else whole
            part.add(data[batch * 500 : (batch + 1) * 500], 1, (0, batch))
            if joined:
                whole.merge(part)
        assert whole.seen == 5000
        return whole.values()

    expected = sampled(list(range(10)), joined=False)
    assert len(expected) == 700
    assert (sampled([3, 1, 9, 0, 2, 8, 4, 7, 5, 6], joined=True) == expected).all()


@settings(max_examples=15)
@given(st.sampled_from(["single_label", "multi_label", "regression"]), st.randoms(), st.integers(1, 6))
def test_tallies_merge_in_any_order(problem, chance: random.Random, parts):
    labels = 1 if problem == "regression" else 3
    batches = [rows(problem, chance.randint(1, 40), labels, seed=i) for i in range(parts)]
    whole = tallied(problem, labels, *batches, bootstrap=20)
    tallies = [tallied(problem, labels, bootstrap=20) for _ in range(chance.randint(1, parts))]
    for number, batch in enumerate(chance.sample(batches, parts)):
        tallies[number % len(tallies)].add(batch)
    chance.shuffle(tallies)
    merged = pickle.loads(pickle.dumps(tallies[0]))
    for other in tallies[1:]:
        merged.merge(other)
    assert json.dumps(measure(merged)) == json.dumps(measure(whole))


def test_sums_do_not_depend_on_their_order():
    parts = np.random.default_rng(0).normal(size=(200, 3)) * 10.0 ** np.random.default_rng(1).integers(
        -20, 20, (200, 1)
    )
    one, other = Sums(3), Sums(3)
    for part in parts:
        one.add(part)
    for part in parts[::-1]:
        more = Sums(3)
        more.add(part)
        other.merge(more)
    assert (one.values() == other.values()).all()
    assert one.values() == pytest.approx(parts.sum(axis=0))


def test_calibration_error_by_hand():
    scores = np.array([[0.95, 0.05], [0.96, 0.04], [0.3, 0.7], [0.28, 0.72], [0.55, 0.45]], np.float32)
    made = Calibration()
    made.add(np.array([0, 1, 1, 1, 1]), scores)
    found = made.measure()
    # Bins (14/15, 1]: 2 rows, 1 right, mean 0.955; (10/15, 11/15]: 2 right, mean 0.71; (8/15, 9/15]: 0 right, 0.55.
    assert found["ece"] == pytest.approx((2 * abs(0.955 - 0.5) + 2 * abs(0.71 - 1) + 0.55) / 5, abs=1e-6)
    there = {number: each for number, each in enumerate(found["bins"]) if each["rows"]}
    assert {number: each["rows"] for number, each in there.items()} == {8: 1, 10: 2, 14: 2}
    assert there[10]["confidence"] == pytest.approx(0.71) and there[10]["accuracy"] == 1


@pytest.mark.parametrize("problem", ["single_label", "multi_label"])
def test_the_best_temperature_is_the_optimisers(problem):
    data = rows(problem, 4000, 4)
    scores = data.scores.astype(np.float64)
    sharper = scores**2.5
    if problem == "single_label":
        sharper /= sharper.sum(axis=1, keepdims=True)
    else:
        sharper /= sharper + (1 - scores) ** 2.5
    made = Calibration()
    made.add(data.gold, sharper.astype(np.float32))
    best = made.measure()["temperature"]

    def loss(temperature: float) -> float:
        powers = sharper ** (1 / temperature)
        if problem == "single_label":
            return sk.log_loss(data.gold, powers / powers.sum(axis=1, keepdims=True))
        there = powers / (powers + (1 - sharper) ** (1 / temperature))
        return float(-np.log(np.where(data.gold > 0, there, 1 - there)).mean())

    optimum = minimize_scalar(loss, bounds=(0.1, 10), method="bounded")
    assert best["value"] == pytest.approx(optimum.x, rel=2e-3)
    assert best["nll"] == pytest.approx(optimum.fun, abs=5e-5)
    assert best["ece"] < made.measure()["ece"]


@pytest.mark.engine  # seconds each
def test_intervals_are_those_of_drawing_rows_anew():
    data = rows("single_label", 400, 3)
    said = data.scores.argmax(axis=1)
    draws = np.random.default_rng(9)
    drawn = []
    for _ in range(1500):
        some = draws.integers(0, 400, 400)
        drawn.append(sk.f1_score(data.gold[some], said[some], average="macro"))
    expected = np.percentile(drawn, [2.5, 97.5])
    found = measure(tallied("single_label", 3, data, bootstrap=1500))
    assert found["metrics"]["macro_f1"]["ci"] == pytest.approx(expected.tolist(), abs=0.008)
    again = measure(tallied("single_label", 3, data, bootstrap=1500))
    assert again["metrics"] == found["metrics"]
    other = measure(tallied("single_label", 3, data, bootstrap=1500, seed=1))
    assert other["metrics"]["macro_f1"]["ci"] != found["metrics"]["macro_f1"]["ci"]
    assert measure(tallied("single_label", 3, data))["metrics"]["macro_f1"]["ci"] is None


@pytest.mark.engine  # seconds each
@pytest.mark.parametrize("problem", ["multi_label", "regression", "auc"])
def test_intervals_of_other_problems_are_those_of_drawing_rows_anew(problem):
    data = rows("single_label" if problem == "auc" else problem, 500, 2 if problem == "auc" else 4)
    labels = {"multi_label": 4, "regression": 1, "auc": 2}[problem]

    def value(some: np.ndarray) -> float:
        gold, scores = data.gold[some], data.scores[some]
        if problem == "multi_label":
            return sk.f1_score(gold > 0, scores >= 0.5, average="micro")
        return (
            float(np.corrcoef(gold, scores)[0, 1]) if problem == "regression" else sk.roc_auc_score(gold, scores[:, 1])
        )

    draws = np.random.default_rng(9)
    expected = np.percentile([value(draws.integers(0, 500, 500)) for _ in range(600)], [2.5, 97.5])
    found = measure(tallied("single_label" if problem == "auc" else problem, labels, data, bootstrap=1000))
    name = {"multi_label": "micro_f1", "regression": "pearson", "auc": "auc"}[problem]
    told = found["metrics"][name]
    assert told["ci"] == pytest.approx(expected.tolist(), abs=0.25 * (expected[1] - expected[0]))
    assert told["ci"][0] < told["value"] < told["ci"][1]


def test_slices_and_lengths_are_the_metrics_of_their_rows():
    data = rows("single_label", 1200, 3)
    found = measure(tallied("single_label", 3, data))
    said = data.scores.argmax(axis=1)
    assert sum(group["rows"] for group in found["slices"]["shop"]) == 1200
    for group in found["slices"]["shop"]:
        some = data.slices["shop"] == group["value"]
        assert group["rows"] == some.sum()
        assert group["accuracy"] == pytest.approx(np.mean(said[some] == data.gold[some]))
        assert group["macro_f1"] == pytest.approx(sk.f1_score(data.gold[some], said[some], average="macro"))
    assert [group["value"] for group in found["lengths"]] == ["1-16", "17-32", "33-64", "65-128", "129-256", "257+"]
    some = (data.tokens > 16) & (data.tokens <= 32)
    assert found["lengths"][1]["accuracy"] == pytest.approx(np.mean(said[some] == data.gold[some]))


def test_a_slice_of_one_class_is_judged_by_that_class():
    outcomes = Outcomes(np.array([0, 0, 1, 1]), np.eye(2, dtype=np.float32)[[0, 0, 1, 0]])
    outcomes.slices = {"shop": np.array(["a", "a", "b", "b"])}
    first, second = measure(tallied("single_label", 2, outcomes))["slices"]["shop"]
    assert first["macro_f1"] == 1
    assert second["macro_f1"] == pytest.approx(sk.f1_score([1, 1], [1, 0], average="macro", zero_division=0))


def test_a_column_of_too_many_values_is_not_sliced_by():
    half = MOST_VALUES // 2 + 1
    parts = [rows("single_label", half, seed=i) for i in range(2)]
    for number, part in enumerate(parts):
        part.slices = {"shop": np.array([f"v{number}-{i}" for i in range(half)])}
    one = measure(tallied("single_label", 2, parts[0]))
    assert len(one["slices"]["shop"]) == half and one["unsliced"] == []
    for order in (parts, parts[::-1]):
        merged = tallied("single_label", 2, order[0])
        merged.merge(tallied("single_label", 2, order[1]))
        merged.merge(tallied("single_label", 2, order[1]))
        for tally in (merged, tallied("single_label", 2, *order, order[0])):
            found = measure(tally)
            assert found["slices"] == {} and found["unsliced"] == ["shop"] and found["rows"] == 3 * half


@pytest.mark.parametrize("problem", ["single_label", "multi_label", "regression"])
def test_the_worst_rows_are_those_with_the_largest_loss(problem):
    labels = 1 if problem == "regression" else 3
    parts = [rows(problem, 300, labels, seed=i) for i in range(3)]
    found = measure(tallied(problem, labels, *parts))["worst"]
    expected = []
    for part in parts:
        for i in range(300):
            gold, scores = part.gold[i], part.scores[i].astype(np.float64)
            if problem == "regression":
                loss = abs(float(gold) - float(scores))
            elif problem == "single_label":
                loss = -np.log(scores[gold])
            else:
                loss = -np.log(np.where(gold > 0, scores, 1 - scores)).sum()
            expected.append((loss, part.shown["id"][i].as_py()))
    expected.sort(reverse=True)
    assert [row["id"] for row in found] == [name for _, name in expected[:5]]
    assert [row["loss"] for row in found] == pytest.approx([loss for loss, _ in expected[:5]], rel=1e-5)


def test_equally_bad_rows_come_in_the_order_of_the_input():
    outcomes = rows("single_label", 50)
    outcomes.gold = np.zeros(50, np.int64)
    outcomes.scores = np.tile(np.array([[0.25, 0.75]], np.float32), (50, 1))
    first, second = tallied("single_label", 2), tallied("single_label", 2)
    later = Outcomes(outcomes.gold, outcomes.scores, slices=outcomes.slices, shown=outcomes.shown, batch=(0, 1))
    first.add(later)
    second.add(outcomes)
    first.merge(second)
    assert [row["id"] for row in measure(first)["worst"]] == [f"r0-{i}" for i in range(5)]


def test_rows_of_one_class_leave_out_what_is_undefined():
    outcomes = rows("single_label", 40)
    outcomes.gold = np.ones(40, np.int64)
    found = measure(tallied("single_label", 2, outcomes, bootstrap=100))
    assert "auc" not in found["metrics"]
    assert "roc" not in found["curves"]
    assert found["baseline"]["accuracy"] == 1
    json.dumps(found, allow_nan=False)
    sure = Outcomes(
        np.ones(9, np.int64), np.tile(np.array([[0, 1]], np.float32), (9, 1)), slices={"shop": np.full(9, "a")}
    )
    found = measure(tallied("single_label", 2, sure, bootstrap=100))
    assert values(found)["accuracy"] == 1 and found["calibration"]["temperature"] is None
    json.dumps(found, allow_nan=False)
    flat = Outcomes(np.ones(5, np.float32), np.ones(5, np.float32), slices={"shop": np.full(5, "a")})
    found = measure(tallied("regression", 1, flat, bootstrap=100))
    assert values(found) == {"mse": 0, "rmse": 0, "mae": 0}
    json.dumps(found, allow_nan=False)


def test_labels_without_scores_have_no_score_metrics():
    data = rows("single_label", 100, 3)
    data.predicted, data.scores = data.scores.argmax(axis=1), None
    found = measure(tallied("single_label", 3, data))
    assert found["metrics"]["accuracy"]["value"] == np.mean(data.predicted == data.gold)
    assert not {"ece", "nll", "brier", "auc"} & set(found["metrics"])
    assert "calibration" not in found and found["worst"] == []


@pytest.mark.parametrize("problem", ["single_label", "multi_label", "regression"])
def test_the_headline_of_a_training_says_the_same(problem):
    labels = {"single_label": 2, "multi_label": 5, "regression": 1}[problem]
    data = rows(problem, 3000, labels)
    told = values(measure(tallied(problem, labels, data)))
    short = headline(problem, tuple(f"l{i}" for i in range(labels)), data.gold, data.scores)
    assert (
        set(short)
        == {
            "single_label": {"accuracy", "macro_f1", "weighted_f1", "positive_f1", "auc"},
            "multi_label": {"micro_f1", "macro_f1", "map"},
            "regression": {"mse", "pearson", "spearman"},
        }[problem]
    )
    assert {name: told[name] for name in short} == pytest.approx(short, abs=1e-4)


def test_a_headline_of_few_rows_is_free_of_nan():
    assert headline("single_label", ("a", "b"), np.zeros(3, int), np.full((3, 2), 0.5)) == {
        "accuracy": 1, "macro_f1": 1, "weighted_f1": 1, "positive_f1": 0,
    }  # fmt: skip
    assert headline("regression", ("x",), np.ones(3), np.ones((3, 1))) == {"mse": 0}
    assert headline("multi_label", ("a", "b"), np.zeros((2, 2)), np.full((2, 2), 0.1)) == {"micro_f1": 0, "macro_f1": 0}
    assert headline("single_label", ("a", "b"), np.zeros(0, int), np.zeros((0, 2))) == {}


def test_cells_rise_and_their_edges_are_probabilities():
    share = np.linspace(0.0001, 0.9999, 5001)
    for count in (histograms.cells(2), histograms.cells(2000)):
        cells = histograms.cell(histograms.log_odds(share, 1 - share), count)
        assert (np.diff(cells) >= 0).all()
        edges = histograms.edges(count)
        assert (edges[cells] <= share + 1e-12).all() and (share < edges[cells + 1] + 1e-12).all()
    assert histograms.cell(np.array([-np.inf, np.inf]), 100).tolist() == [0, 99]


def test_gold_labels_are_names_numbers_or_what_was_said():
    names = ("negative", "positive")
    plain = Gold("single_label", names, values_of(names, None), or_numbers=countable(names, None))
    read = plain.read(pa.array(["positive", "0", None, "1", "", "great", " negative ", "1.0", "0.50"]))
    assert read.gold[[0, 1, 3, 6, 7]].tolist() == [1, 0, 1, 0, 1]
    assert read.missing.tolist() == [False, False, True, False, True, False, False, False, False]
    assert read.unknown == {5: "great", 8: "0.50"}
    assert {way: found.tolist() for way, found in read.ways.items()} == {"names": [0, 6], "numbers from 0": [1, 3, 7]}
    assert read.first == {"names": "positive", "numbers from 0": "0"}
    mapped = Gold("single_label", names, values_of(names, ("bad:negative", "good:positive")))
    assert mapped.read(pa.array(["good", "bad", "negative"])).unknown == {2: "negative"}
    assert mapped.way == "mapped" and plain.way == "names"
    with pytest.raises(ValueError, match=r"--labels names 'nice', and the model's labels are 'negative', 'positive'"):
        values_of(names, ("nice", "positive"))


def test_names_with_digits_are_never_read_as_numbers():
    for names in (("1", "2", "3"), ("1 star", "2 stars", "3 stars"), ("LABEL_0", "LABEL_1", "LABEL_2")):
        gold = Gold("single_label", names, values_of(names, None), or_numbers=countable(names, None))
        read = gold.read(pa.array([names[0], "0", names[2]]))
        assert read.unknown == {1: "0"} and read.gold[[0, 2]].tolist() == [0, 2]
    stars = Gold("single_label", ("2", "1"), values_of(("2", "1"), None))
    assert stars.read(pa.array([1.0, 2.0])).gold.tolist() == [1, 0]
    assert stars.read(pa.array(["1.0", "2.0"])).gold.tolist() == [1, 0]


def test_several_values_may_mean_one_label():
    names = ("negative", "positive")
    values = values_of(names, ("1:negative", "2:negative", "4:positive", "5:positive"))
    read = Gold("single_label", names, values).read(pa.array([1, 2, 3, 4, 5]))
    assert read.gold[[0, 1, 3, 4]].tolist() == [0, 0, 1, 1] and read.unknown == {2: "3"}
    with pytest.raises(ValueError, match="the value '1' is there twice"):
        values_of(names, ("1:negative", "1:positive"))


def test_gold_numbers_that_are_none_are_unknown():
    gold = Gold("regression", ("stars",))
    read = gold.read(pa.array(["1.5", "n/a", None, "", "4,5", " ", "1e39", "-2"]))
    assert read.missing.tolist() == [False, False, True, True, False, True, False, False]
    assert read.unknown == {1: "n/a", 4: "4,5", 6: "1e39"}
    assert read.gold[[0, 7]].tolist() == [1.5, -2]
    floats = gold.read(pa.array([1.0, float("nan"), float("inf"), None]))
    assert floats.missing.tolist() == [False, True, False, True] and floats.unknown == {2: "inf"}


def test_several_gold_labels_a_row():
    names = ("a", "b", "c")
    gold = Gold("multi_label", names, values_of(names, None), separator=",", or_numbers=True)
    read = gold.read(pa.array(["a,c", "b", None, "2,0", "a,z,y"]))
    assert read.gold[[0, 1, 3]].tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert read.missing.tolist() == [False, False, True, False, False]
    assert read.unknown == {4: "y"}
    assert read.ways["numbers from 0"].tolist() == [3] and read.ways["names"].tolist() == [0, 1, 4]
    lists = Gold("multi_label", names, values_of(names, None))
    assert lists.read(pa.array([[], ["b"], None])).gold.tolist()[:2] == [[0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("problem", "column", "said"),
    [
        ("single_label", pa.array([0, 3]), "class number 3, and the model has 3 labels, 0 to 2"),
        ("single_label", pa.array([0, -2]), "class number -2"),
        ("multi_label", pa.array([[0.0, 1.0]]), "must hold 3 numbers a row, each 0 or 1"),
        ("multi_label", pa.array([[0.0, 1.0, 2.0]]), "must hold 3 numbers a row, each 0 or 1"),
        ("regression", pa.array([1.0, float("nan")]), "no finite numbers"),
    ],
)
def test_numbers_of_shards_are_those_of_the_labels(problem, column, said):
    gold = Gold(problem, ("a", "b", "c"), of_shards=True)
    with pytest.raises(RunError, match=said):
        gold.read(column)
    if problem == "multi_label":
        assert gold.read(pa.array([[0.0, 1.0, 0.0], None])).missing.tolist() == [False, True]


def evaluation(problem: str, labels: tuple[str, ...], slice_value: str = "a") -> dict:
    """What evaluation.json says, of made-up rows."""
    data = rows(problem, 200, len(labels))
    data.shown["text"] = pa.array(["<script>alert(1)</script> & $x$ [bold]"] * 200)
    data.slices = {"shop": np.where(np.arange(200) < 100, slice_value, "b")}
    tally = Tally(Asked(problem, labels, slices=("shop",), worst=3, bootstrap=50))
    tally.add(data)
    found = measure(tally)
    del found["rows"]
    return {
        "command": "python -m pipelines.evaluate --model='<b>'", "versions": {"numpy": "2"}, "finished": "2026-11-20",
        "data": {"kind": "rows", "inputs": [{"path": "/tmp/<i>.jsonl", "size": 1}]},
        "model": {"name": "<model>", "digest": "0" * 64}, "problem": problem, "labels": list(labels),
        "rows": {"in": 201, "scored": 200, "unlabelled": 0, "rejected": 1, "rejected_by_reason": {"unknown_label": 1},
                 "lost": 0, "lost_weight": "counted", "lost_by_reason": {},
                 "unknown_labels": ["<u>"]},
        "truncated_rows": 0, **found,
        "gates": [{"gate": "min_f1", "metric": "macro_f1", "limit": 0.99, "value": 0.5, "ci": None, "passed": False}],
    }  # fmt: skip


@pytest.mark.engine  # seconds each
@pytest.mark.parametrize(
    ("problem", "labels"),
    [
        ("single_label", ("<b>$\\frac", "</svg>&\"'")),
        ("single_label", tuple(f"label {i} 東京 🙂" for i in range(31))),
        ("multi_label", ("<x>", "$y$", "z" * 200)),
        ("regression", ("<stars>",)),
    ],
)
def test_a_report_is_one_safe_page_and_the_same_each_time(problem, labels):
    found = evaluation(problem, labels, "<img src=x onerror=alert(1)>")
    made = page(found)
    assert made == page(json.loads(json.dumps(found)))
    assert not re.search(r"<script|<b>|<i>|<u>|<img|<model>|<stars>|<x>", made)
    assert "&lt;script&gt;alert(1)" in made and "&lt;img src=x" in made and "&lt;model&gt;" in made
    assert made.count("<svg") == made.count("</svg>") >= {"single_label": 2, "multi_label": 2, "regression": 0}[problem]
    assert not re.search(r"https?:|//", re.sub(r"<(title|style)>.*?</\1>", "", made, flags=re.DOTALL))
    shown = parsed(made)
    assert not shown.all("script") and "gate" in shown.alerts()
