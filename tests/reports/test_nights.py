"""Nights beside each other, and each night's page."""

from datetime import date, timedelta
from pathlib import Path

from seqcls_beam.reports import writing
from seqcls_beam.runs import approval, cleaning
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import open_labels
from seqcls_beam.runs.versions import read_version
from tests.reports.outputs import labelling, rows
from tests.reports.reading import Element, parsed


def nights(out: Path, counts: list[int]) -> list[str]:
    """A night of each count, from 2026-11-01 on; their partitions."""
    names = [f"run_date={date(2026, 11, 1) + timedelta(place)}" for place in range(len(counts))]
    for name, count in zip(names, counts, strict=True):
        if count >= 0:
            labelling(out, rows(count), name)
    return names


def read(path: Path) -> Element:
    return parsed(path.read_text())


def remarks(table: Element) -> dict[str, str]:
    """What is said beneath dates."""
    heads = [(each, each.all("small")) for each in table.all("tbody")[0].all("th")]
    return {each.text.split()[0]: said[0].text for each, said in heads if said}


def test_a_night_has_a_page_and_stands_in_the_index(tmp_path):
    names = nights(tmp_path, [500, 510, 120])
    for name in names:
        writing.write(str(tmp_path), name)
    found = read(tmp_path / "_report" / names[2] / "report.html")
    assert found.alerts()["quiet"] == "act" and found.headline()["rows in"] == "120"
    assert [each.attributes["href"] for each in found.all("a")] == ["../index.html"]
    index = read(tmp_path / "_report" / "index.html")
    assert index.headline()["nights"] == "3" and index.headline()["rows"] == "1,130"
    assert index.alerts() == {"quiet": "look"}
    table = index.section("Nights")
    assert {name: cells[0] for name, cells in table.table().items()} == {
        "2026-11-03": "120", "2026-11-02": "510", "2026-11-01": "500"
    }  # fmt: skip
    assert remarks(table) == {"2026-11-03": "quiet"}
    for link in index.all("a"):
        assert (tmp_path / "_report" / link.attributes["href"]).is_file()
    dots = [each.all("title")[0].text for each in index.section("Over time").all("figure")[0].all("circle")]
    assert dots == ["2026-11-01: 500", "2026-11-02: 510", "2026-11-03: 120"]


def test_a_gap_and_a_night_that_did_not_pass_are_told(tmp_path):
    names = nights(tmp_path, [300, -1, 300, 300])
    store = store_of(str(tmp_path))
    approval.record(store, read_version(store, names[2], 1)[0], ["--max_rejected=0.01: too many"])
    writing.write(str(tmp_path), names[2])
    assert read(tmp_path / "_report" / names[2] / "report.html").alerts()["refused"] == "act"
    index = read(tmp_path / "_report" / "index.html")
    assert index.alerts() == {"refused": "act", "gap": "look"}
    assert "2026-11-02" in index.text and "too many" in index.text
    assert remarks(index.section("Nights")) == {"2026-11-03": "not passed"}


def test_a_label_far_from_the_night_before_is_told_and_chance_is_not(tmp_path):
    for day, (count, positive) in enumerate([(1000, 0.4), (1000, 0.42), (1000, 0.5), (40, 0.4), (0, 0)], 1):
        labelling(tmp_path, rows(count, positive), f"run_date=2026-11-{day:02}")
    writing.write(str(tmp_path))
    index = read(tmp_path / "_report" / "index.html")
    (moved,) = [each for each in index.all("li") if each.attributes.get("data-kind") == "moved"]
    assert "night before: 2026-11-03. " in moved.text
    assert "On 2026-11-03 positive went from 42.0 % to 50.0 %: " in moved.text
    assert remarks(index.section("Nights"))["2026-11-03"] == "labels moved"


def test_the_page_by_default_is_of_the_last_night(tmp_path):
    names = nights(tmp_path, [10, 20])
    assert writing.write(str(tmp_path)) == f"{tmp_path}/_report/{names[1]}/report.html"


def test_pages_are_in_nobody_elses_way(tmp_path):
    for name in nights(tmp_path, [30, 40]):
        writing.write(str(tmp_path), name)
    assert open_labels(str(tmp_path)).count_rows() == 70
    assert cleaning.look(str(tmp_path)) == []


def test_windows_of_a_stream_are_a_page_a_day(tmp_path):
    hours = [("20261120T100000Z", 40, 0.5), ("20261120T110000Z", 60, 0.5), ("20261121T100000Z", 90, 0.5)]
    for hour, count, share in hours:
        model = {
            "model": {"name": "m", "digest": "d" * 64, "problem": "single_label", "labels": ["negative", "positive"]}
        }
        labelling(tmp_path, rows(count, share), f"window={hour}", models={"d" * 12: model}, inputs=[])
    for day in ("2026-11-20", "2026-11-21"):
        writing.write(str(tmp_path), f"day={day}")
    found = read(tmp_path / "_report" / "day=2026-11-20" / "report.html")
    assert found.headline()["rows in"] == "100" and "2 windows" in found.text
    assert found.section("Labels").table() == {"negative": ["50", "50.0 %"], "positive": ["50", "50.0 %"]}
    assert "unsure below" in found.section("Scores").text
    index = read(tmp_path / "_report" / "index.html")
    assert {name: cells[0] for name, cells in index.section("Days").table().items()} == {
        "2026-11-20": "100",
        "2026-11-21": "90",
    }
    assert writing.write(str(tmp_path)) == f"{tmp_path}/_report/day=2026-11-21/report.html"


def test_days_of_sealed_windows_have_pages_and_no_others(tmp_path):
    for hour in ("20261120T100000Z", "20261121T100000Z", "20261121T110000Z", "20261122T100000Z"):
        labelling(tmp_path, rows(20), f"window={hour}", models={}, inputs=[])
    place = writing.write_days(str(tmp_path), {"window=20261121T110000Z", "window=20261122T100000Z"})
    assert place == f"{tmp_path}/_report/index.html"
    assert sorted(each.name for each in (tmp_path / "_report").iterdir()) == [
        "day=2026-11-21",
        "day=2026-11-22",
        "index.html",
    ]
    links = [each.attributes["href"] for each in read(Path(place)).all("a")]
    assert links == ["day=2026-11-22/report.html", "day=2026-11-21/report.html"]
