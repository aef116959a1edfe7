"""Two labellings beside each other: what is compared, what is judged, and what cannot be."""

import math
from typing import Any

import orjson
import pytest

from seqcls_beam.config.compare import DriftOptions
from seqcls_beam.evaluation.comparison import compared, failures
from seqcls_beam.runs.run import RunError
from tests.evaluation.nights import EDGES, night, read

SIX = ["label_shift", "label_psi", "score_psi", "token_psi", "reject_rise", "truncation_rise"]


def beside(folder, first, second, **limits) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """(the comparison, the measures of its run by name)."""
    reference, other = read(folder, first=first, second=second)
    found = compared(reference, [other], DriftOptions(**limits))
    assert orjson.loads(orjson.dumps(found)) == found
    (run,) = found["runs"]
    return found, {each["measure"]: each for each in run["measures"]}


def verdicts(measures):
    return {name: each["verdict"] for name, each in measures.items()}


def test_two_nights_that_are_alike(tmp_path):
    found, measures = beside(tmp_path, night({"a": 5000, "b": 5100}), night({"b": 5000, "a": 5050}))
    assert list(measures) == SIX and {*verdicts(measures).values()} == {"within"} and found["passed"]
    assert measures["label_shift"]["value"] == pytest.approx(5050 / 10050 - 5000 / 10100)
    assert [each["label"] for each in found["runs"][0]["labels"]] == ["a", "b"]


def test_labels_that_moved(tmp_path):
    found, measures = beside(tmp_path, night({"a": 5000, "b": 5000, "c": 100}), night({"a": 6000, "b": 4000, "c": 100}))
    assert verdicts(measures) == {**dict.fromkeys(SIX, "within"), "label_shift": "beyond"}
    assert not found["passed"]
    shift = measures["label_shift"]
    assert (shift["value"], shift["of"], shift["limit"]) == (pytest.approx(1000 / 10100), "a", 0.05)
    (run,) = found["runs"]
    (why,) = failures(run)
    assert why.startswith("--max_label_shift=0.05: second: label_shift of a is 0.0990, and by chance it would be 0.0")
    assert [each["label"] for each in run["labels"]] == ["a", "b", "c"]
    assert beside(tmp_path, night({"a": 50, "b": 50}), night({"a": 60, "b": 40}))[0]["passed"], "as chance may have it"


def test_scores_and_lengths_that_moved(tmp_path):
    spread = {"from": 0.0, "to": 1.0, "counts": [600, 1400]}
    longer = {"edges": EDGES, "counts": [0, 0, 1000, 1000, 0]}
    first, second = night({"a": 2000}), night({"a": 2000}, score_histogram=spread, token_histogram=longer)
    _, measures = beside(tmp_path, first, second)
    assert verdicts(measures) == {**dict.fromkeys(SIX, "within"), "score_psi": "beyond", "token_psi": "beyond"}
    p, q = 0.5 / 2001, 600.5 / 2001  # half a row in each of two cells
    assert measures["score_psi"]["value"] == pytest.approx(
        (q - p) * math.log(q / p) + (p - q) * math.log((1 - q) / (1 - p))
    )


def test_rows_that_are_missing_or_cut(tmp_path):
    rows = {"in": 2100, "labeled": 2000, "rejected": 40, "lost": 60}
    second = night({"a": 2000}, rows=2000, truncated_rows=300) | {"rows": rows}
    found, measures = beside(tmp_path, night({"a": 2000}), second)
    assert verdicts(measures) == {**dict.fromkeys(SIX, "within"), "reject_rise": "beyond", "truncation_rise": "beyond"}
    assert measures["reject_rise"]["value"] == pytest.approx(100 / 2100)
    assert found["runs"][0]["rates"] == {"rejected": 40 / 2100, "lost": 60 / 2100, "truncated": 0.15}
    assert beside(tmp_path, second, night({"a": 2000}))[0]["passed"], "what fell is no rise"


def test_of_several_labels_a_row_each_stands_by_itself(tmp_path):
    first = night({"a": 1800, "b": 20, "c": 900}, rows=2000, problem="multi_label")
    second = night({"a": 1800, "b": 110, "c": 900}, rows=2000, problem="multi_label")
    _, measures = beside(tmp_path, first, second)
    index = measures["label_psi"]
    p, q = 20.5 / 2001, 110.5 / 2001
    assert index["value"] == pytest.approx((q - p) * math.log(q / p) + (p - q) * math.log((1 - q) / (1 - p)))
    assert (index["of"], index["expected"], measures["label_shift"]["of"]) == ("b", pytest.approx(0.001), "b")
    assert measures["label_shift"]["value"] == pytest.approx(0.045)


def test_of_a_regression_values_are_compared_and_no_labels(tmp_path):
    def numbers(*counts):
        made = night({"value": 2000}, problem="regression", value_histogram={"edges": [1.0, 2.0], "counts": [*counts]})
        return {key: each for key, each in made.items() if key != "score_histogram"}

    found, measures = beside(tmp_path, numbers(1000, 1000, 0), numbers(100, 1000, 900))
    assert list(measures) == SIX[2:] and measures["score_psi"]["verdict"] == "beyond"
    assert found["runs"][0]["labels"] == []
    _, measures = beside(tmp_path, numbers(1000, 1000, 0), night({"value": 2000}))
    assert {measures[name]["verdict"] for name in SIX[:3]} == {"refused"}


def test_other_labels_are_not_compared_and_do_not_pass(tmp_path):
    first, second = night({"b": 1000, "a": 1000}), night({"a": 1000, "c": 990, "b": 10})
    found, measures = beside(tmp_path, first, second)
    assert verdicts(measures) == {**dict.fromkeys(SIX, "within"), "label_shift": "refused", "label_psi": "refused"}
    assert not found["passed"] and found["runs"][0]["labels"] == []
    assert failures(found["runs"][0]) == [
        "--max_label_shift=0.05 and --max_label_psi=0.1: second: the labels of the reference are a, b, and those of "
        "this run c, a, b"
    ]
    found, measures = beside(tmp_path, first, second, max_label_shift=1, max_label_psi=math.inf)
    assert found["passed"] and measures["label_psi"]["limit"] is None, "limits that allow everything"
    assert not beside(tmp_path, first, second, max_label_shift=1)[0]["passed"]


def test_many_labels_are_told_by_those_that_differ(tmp_path):
    names = [f"l{number:02}" for number in range(40)]
    first, second = night(dict.fromkeys(names, 10)), night(dict.fromkeys([*names[:-1], "z"], 10))
    _, measures = beside(tmp_path, first, second)
    assert "are l39, l00," in measures["label_psi"]["why"] and "and 28 more" in measures["label_psi"]["why"]
    assert "those of this run z, l00," in measures["label_psi"]["why"]


def test_what_an_earlier_version_did_not_count_is_not_compared_and_said(tmp_path):
    first = night({"a": 2000})
    del first["token_histogram"]
    found, measures = beside(tmp_path, first, night({"a": 2000}))
    assert verdicts(measures) == {**dict.fromkeys(SIX, "within"), "token_psi": "missing"} and found["passed"]
    assert measures["token_psi"]["why"] == "first did not count them"
    partly = {"from": 0.0, "to": 1.0, "counts": [3, 4]}
    assert beside(tmp_path, night({"a": 2000}, score_histogram=partly), night({"a": 2000}))[1]["score_psi"][
        "verdict"
    ] == ("missing"), "a histogram that does not count each row"
    other = {"from": 0.0, "to": 1.0, "counts": [0, 0, 2000]}
    _, measures = beside(tmp_path, night({"a": 2000}, score_histogram=other), night({"a": 2000}))
    assert measures["score_psi"]["why"] == "the two runs counted them in other cells"


def test_a_night_without_rows_is_not_judged(tmp_path):
    found, measures = beside(tmp_path, night({"a": 2000, "b": 1}), night({"a": 0, "b": 0}))
    assert {*verdicts(measures).values()} == {"few"} and found["passed"]
    assert found["runs"][0]["rates"] == {"rejected": None, "lost": None, "truncated": None}


def test_the_models_of_a_stream_are_told(tmp_path):
    def window(models):
        made = night({"a": 1500, "b": 500}, models=models)
        return {key: each for key, each in made.items() if key not in ("model", "threshold", "engines")}

    def model(labels, threshold=None):
        engine = {"engine": "packed", "dtype": "int8", "device": "cpu"}
        problem = "single_label" if threshold is None else "multi_label"
        said = {"name": "s", "digest": "e" * 64, "problem": problem, "labels": labels}
        return {"model": said, "threshold": threshold, "engines": [engine, engine]}

    found, measures = beside(tmp_path, window({"e" * 12: model(["a", "b"])}), window({"f" * 12: {}}))
    assert {*verdicts(measures).values()} == {"within"}, "of one nobody left word"
    assert found["reference"]["models"] == [{"name": "s", "digest": "e" * 64, "threshold": None}]
    assert found["reference"]["engines"] == ["packed int8 cpu"]
    assert found["runs"][0]["models"] == [{"name": None, "digest": "f" * 12, "threshold": None}]
    two = window({"e" * 12: model(["a", "b"]), "f" * 12: model(["b", "c"])})
    assert beside(tmp_path, window({"e" * 12: model(["a", "b"])}), two)[1]["label_psi"]["verdict"] == "refused"


@pytest.mark.parametrize(
    "damage",
    [
        {"rows": {"in": 2000, "labeled": "2000", "rejected": 0}},
        {"rows": {"in": 2000, "labeled": 2000}},
        {"rows": {"in": 2000, "labeled": 2000, "rejected": -1}},
        {"label_counts": {"a": 2000.0}},
        {"label_counts": {"a": 2001}},
        {"truncated_rows": True},
        {"truncated_rows": 2001},
        {"token_histogram": {"edges": [1, 2], "counts": [2000]}},
        {"score_histogram": {"counts": "many"}},
    ],
)
def test_what_no_command_wrote_is_refused(tmp_path, damage):
    with pytest.raises(RunError, match=r"00000001\.json.*which no command wrote"):
        read(tmp_path, some={**night({"a": 2000}), **damage})


@pytest.mark.parametrize("odd", [{"models": {"x": 3}}, {"engines": [1]}, {"model": {"labels": 3, "name": []}}])
def test_what_is_only_told_may_be_anything(tmp_path, odd):
    (found,) = read(tmp_path, some={**night({"a": 2000}), **odd})
    assert found.counts == {"a": 2000}
