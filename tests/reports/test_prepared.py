"""What is said of prepared data, from manifests made by hand; tests/pipelines/test_prepare.py looks at real ones."""

from typing import Any

import pytest

from seqcls_beam.reports import prepare, rendering
from seqcls_beam.reports.pages import Page
from seqcls_beam.reports.sample import Sample
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import Published
from seqcls_beam.runs.versions import Version
from tests.reports.outputs import HOSTILE
from tests.reports.reading import Element, parsed


def split(counts: dict[str, int], cut: int = 0) -> dict[str, Any]:
    rows = sum(counts.values())
    length = {"mean": 20.0, "min": 1, "p50": 18, "p90": 40, "p95": 50, "p99": 60, "max": 70}
    return {"rows": rows, "tokens": 20 * rows, "truncated_rows": cut, "length": length, "label_counts": counts}


def manifest(**more: Any) -> dict[str, Any]:
    """A preparation of a thousand rows with nothing to act on."""
    splits = {"train": split({"a": 400, "b": 400}), "test": split({"a": 100, "b": 100})}
    return {
        "kind": "prepare",
        "finished": "2026-11-20T02:00:00Z",
        "problem": "single_label",
        "label_form": "names",
        "labels": ["a", "b"],
        "labels_alike": [],
        "tokenizer": {"name": "/models/t", "max_length": 128},
        "rows": {
            "in": 1000, "kept": 1000, "rejected": 0, "rejected_by_reason": {}, "removed": 0, "removed_by_reason": {},
            "lost": 0, "lost_weight": "counted", "lost_by_reason": {},
        },
        "cleaned": {"html": 3, "control": 0},
        "splits": splits,
        "skew": {"test": {"labels": 0.0, "lengths": 0.01}},
        "duplicates": {"conflict_groups": 0, "duplicate_rows": 0, "conflicts": "majority", "near_duplicates": "group",
                       "largest_cluster": 5},
        "leaks": {"exact": {}, "near": {}},
        "seconds": {"wall": 3.0},
        "inputs": [],
        "parts": [],
        **more,
    }  # fmt: skip


def of_data(told: dict[str, Any]) -> Page:
    """The page of a manifest, without rejects."""
    version = Version("", 1, "r", "_attempts/publish-1", "_attempts/w")
    return prepare.page(Published(store_of("/nowhere"), version, told), "data", Sample())


def page(told: dict[str, Any]) -> Element:
    return parsed(rendering.html(of_data(told)))


def test_where_the_rows_went_adds_up():
    rows = {**manifest()["rows"], "in": 1300, "removed": 250, "removed_by_reason": {"duplicate": 150, "leak": 100},
            "rejected": 50, "rejected_by_reason": {"empty_text": 50}}  # fmt: skip
    found = page(manifest(rows=rows))
    counts = {
        name: int(cells[0].replace(",", "")) for name, cells in found.section("Where the rows went").table().items()
    }
    assert counts == {"empty_text": 50, "duplicate": 150, "leak": 100, "kept": 1000} and sum(counts.values()) == 1300
    assert found.headline() | {"time": ""} == {
        "rows in": "1,300", "kept": "1,000", "removed": "250", "rejected": "50", "cut texts": "0", "time": ""
    }  # fmt: skip
    assert found.section("Classes by split").table() == {
        "a": ["400 (50.0 %)", "100 (50.0 %)"],
        "b": ["400 (50.0 %)", "100 (50.0 %)"],
    }
    assert "html 3" in found.text


@pytest.mark.parametrize(
    ("more", "kinds"),
    [
        ({}, {}),
        ({"leaks": {"exact": {"test in train": {"rows": 1}}, "near": {}}}, {"leaks": "act"}),
        ({"leaks": {"exact": {}, "near": {"test in train": 2}}}, {"leaks": "act"}),
        ({"duplicates": {**manifest()["duplicates"], "conflict_groups": 1}}, {"conflicts": "look"}),
        ({"duplicates": {**manifest()["duplicates"], "largest_cluster": 99}}, {}),
        ({"duplicates": {**manifest()["duplicates"], "largest_cluster": 100}}, {"large_cluster": "look"}),
        ({"splits": {"train": split({"a": 900, "b": 20})}}, {}),
        ({"splits": {"train": split({"a": 900, "b": 19})}}, {"tiny_classes": "look"}),
        ({"splits": {"train": split({"a": 900, "b": 4})}}, {"tiny_classes": "act"}),
        (
            {"splits": {"train": split({"a": 450, "b": 450}), "test": split({"a": 100, "b": 0})}},
            {"absent_classes": "look"},
        ),
        ({"splits": {"train": split({"a": 450, "b": 450}, cut=10)}}, {"truncated": "look"}),
        ({"skew": {"test": {"labels": 0.11}}}, {"skew": "look"}),
        ({"labels_alike": [["A", "a"]]}, {"labels_alike": "act"}),
        (
            {"rows": {**manifest()["rows"], "in": 1250, "removed": 250, "removed_by_reason": {"near_duplicate": 250}}},
            {"copies": "look"},
        ),
    ],
)
def test_what_a_person_should_act_on(more, kinds):
    assert page(manifest(**more)).alerts() == kinds


@pytest.mark.parametrize(
    ("more", "said", "not_said"),
    [
        (
            {
                "leaks": {"exact": {"test in train": {"rows": 3}}, "near": {}},
                "rows": {
                    **manifest()["rows"],
                    "in": 1003,
                    "removed": 3,
                    "removed_by_reason": {"leak": 2, "near_leak": 1},
                },
            },
            "3 rows were taken out",
            "benchmark",
        ),
        ({"leaks": {"exact": {"test in train": {"rows": 3}}, "near": {}}}, "No row was taken out", "honest"),
        (
            {"duplicates": {**manifest()["duplicates"], "conflict_groups": 1}},
            "--conflicts=majority decided: rows",
            "near",
        ),
        (
            {"duplicates": {**manifest()["duplicates"], "conflict_groups": 1, "conflicts": "keep"}},
            "--conflicts=keep decided.",
            "_rejects",
        ),
        ({"duplicates": {**manifest()["duplicates"], "near_pairs_with_other_labels": 1}}, "Who labels", "_rejects"),
        (
            {"duplicates": {**manifest()["duplicates"], "largest_cluster": 100, "near_duplicates": "drop"}},
            "One of them was kept",
            "in one split",
        ),
    ],
)
def test_an_alert_says_what_was_done_about_it(more, said, not_said):
    (alert,) = of_data(manifest(**more)).alerts
    assert said in alert.do and not_said not in alert.do


def test_names_of_classes_act_on_nothing():
    found = page(manifest(labels=[HOSTILE, "b"], splits={"train": split({HOSTILE: 3, "b": 900})}, label_form=HOSTILE))
    assert found.alerts() == {"tiny_classes": "act"} and not found.all("script")
