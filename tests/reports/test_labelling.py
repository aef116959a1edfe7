"""The page of a labelling: its numbers are the manifest's, its alerts follow the thresholds, and no text acts."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqcls_beam.reports import writing
from seqcls_beam.runs.run import RunError
from tests.reports.outputs import HOSTILE, labelling, rows
from tests.reports.reading import Element, parsed


def page(out: Path, which: str = "", texts: bool = True) -> Element:
    return parsed(Path(writing.write(str(out), which, texts)).read_text())


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_the_numbers_of_a_page_are_those_of_the_rows(tmp_path):
    made = rows(1500, positive=0.3)
    labelling(tmp_path, made, rejected=[("empty_text", b" ")] * 7 + [("invalid_json", b"{")] * 20, truncated_rows=31)
    found = page(tmp_path)
    head = found.headline()
    assert {name: head[name] for name in ("rows in", "labelled", "rejected", "cut texts")} == {
        "rows in": "1,527", "labelled": "1,500", "rejected": "27", "cut texts": "31"
    }  # fmt: skip
    positive = sum(label == "positive" for _, label, _ in made)
    assert found.section("Labels").table() == {
        "negative": [f"{1500 - positive:,}", "70.0 %"],
        "positive": [f"{positive}", "30.0 %"],
    }
    assert found.section("Rejected rows").table() == {"invalid_json": ["20"], "empty_text": ["7"]}
    # Heights of bars are told: what was drawn adds up to all rows.
    for title in ("Scores", "Lengths"):
        bars = found.section(title).all("rect")
        assert sum(number(bar.text.rpartition(": ")[2]) for bar in bars) == 1500
    below = sum(score < 0.6 for *_, score in made)
    shown = [number(bar.text.rpartition(": ")[2]) for bar in found.section("Scores").all("rect")
             if float(bar.text.partition("–")[0]) < 0.595]  # fmt: skip
    assert sum(shown) == below


def test_the_rows_of_a_page_are_the_least_and_the_most_sure(tmp_path):
    made = rows(900)
    labelling(tmp_path, made, parts=5)
    texts = page(tmp_path).section("Least and most sure texts")
    assert "All 900 rows were looked at." in texts.text
    for group in texts.all("div", "texts"):
        label = group.all("h3")[0].text
        scores = sorted(score for _, own, score in made if own == label)
        shown = [float(each.text) for each in group.all("span", "score")]
        assert shown == pytest.approx([*scores[:3], *scores[-1:-4:-1]], abs=5e-4)
        known = {text: (own, score) for text, own, score in made}
        for text, score in zip(group.all("span", "text"), shown, strict=True):
            assert known[text.text][0] == label and known[text.text][1] == pytest.approx(score, abs=5e-4)


def test_without_texts_there_is_none_however_it_is_asked(tmp_path):
    labelling(tmp_path / "kept", rows(300), rejected=[("empty_text", b"SECRET")] * 3)
    labelling(tmp_path / "back", rows(300), rejected=[("empty_text", b"SECRET")] * 3, report_texts=0)
    for out, texts in ((tmp_path / "kept", False), (tmp_path / "back", True)):
        found = page(out, texts=texts)
        assert "SECRET" not in found.text and "text 7" not in found.text
        assert found.section("Scores per label").table()["negative"][0] == "180"
        ids = found.section("Least and most sure texts")
        assert [each.text for each in ids.all("span", "place")][-3:] == ["r96", "r95", "r94"]
        assert ids.all("span", "text") == []
    assert "SECRET" in page(tmp_path / "kept").text


def test_a_table_without_texts_shows_ids_and_says_how_it_gets_texts(tmp_path):
    labelling(tmp_path, rows(300), read={"text_column": "review", "id_column": "id"})
    shown = page(tmp_path).section("Least and most sure texts")
    assert "--keep_columns=review" in shown.text and "text 7" not in shown.text
    assert len(shown.all("span", "place")) == 12


def test_where_all_was_rejected_the_reasons_say_why(tmp_path):
    labelling(tmp_path, [], "window=20261120T100000Z", rejected=[("invalid_json", b"{")] * 3, models={}, inputs=[])
    (part,) = tmp_path.glob("_rejects/*/*.parquet")
    table = pq.read_table(part)
    moment = pa.array([1_795_046_400_000_000] * 3)
    table = table.set_column(0, "source", pa.array(["pubsub"] * 3)).set_column(1, "position", moment)
    pq.write_table(table, part)
    found = page(tmp_path)
    assert found.alerts() == {"nothing": "act", "rejected": "act"}
    assert "the reasons say what is wrong" in found.text and "--min_rows" not in found.text
    assert "pubsub at 2026-11-19 00:00:00 UTC" in found.section("Rejected rows").text


def test_nothing_from_outside_acts_or_is_a_tag(tmp_path):
    names = [HOSTILE, "b" * 4000]
    made = [(HOSTILE, names[place % 2], 0.7) for place in range(400)]
    labelling(
        tmp_path / HOSTILE[:8].replace("/", "_"), made, labels=names, rejected=[(HOSTILE, HOSTILE.encode())] * 400,
        command=f"python -m pipelines.classify --input=s3://user:topsecret@host/{HOSTILE}",
        inputs=[{"path": f"/d/{HOSTILE}", "size": 3, "version": "1", "rows": 0}],
    )  # fmt: skip
    place = Path(writing.write(str(tmp_path / HOSTILE[:8])))
    text = place.read_text()
    found = parsed(text)
    assert not found.all("script") and not found.all("img") and not found.all("iframe")
    assert not [each for each in text if each in "\u202e\x1b\0"] and "\\u202e" in text
    assert "topsecret" not in text and "user:secret" not in text
    assert "{{ 7*7 }}" in found.text and "b" * 700 not in text
    for tag in ("a", "link"):
        for each in found.all(tag):
            assert not each.attributes["href"].startswith(("http", "//", "javascript"))


def test_labels_that_differ_in_an_end_that_nobody_sees_are_two(tmp_path):
    names = ["a", "a\x00"]
    labelling(tmp_path, [(f"text {place}", names[place % 3 == 0], 0.9) for place in range(300)], labels=names)
    shown = page(tmp_path).section("Scores per label").table()
    assert {name: cells[0] for name, cells in shown.items()} == {"a": "200", r"a\x00": "100"}


def test_marks_over_a_letter_stay_in_their_line(tmp_path):
    marked, thai = "e" + "\u0301" * 300, "\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48"
    labelling(tmp_path, [(marked, thai, 0.9), (thai, marked, 0.8)] * 9, labels=[thai, marked])
    written = Path(writing.write(str(tmp_path))).read_text()
    assert "e" + "\u0301" * 5 + "…" in written and "\u0301" * 6 not in written and thai in written


def test_a_text_of_many_lines_takes_few(tmp_path):
    labelling(tmp_path, [("one\n\n\n \ntwo\n" + "\n".join("abcdefghijklmnop"), "negative", 0.9)])
    (shown, *_) = page(tmp_path).section("Least and most sure texts").all("span", "text")
    assert str(shown.children[0]).split("\n") == ["one", "two", *"abcdef", "…"]


def test_a_page_asks_for_nothing_and_is_the_same_each_time(tmp_path):
    labelling(tmp_path, rows(200))
    first = Path(writing.write(str(tmp_path))).read_bytes()
    assert Path(writing.write(str(tmp_path))).read_bytes() == first
    found = parsed(first.decode())
    (policy,) = [each for each in found.all("meta") if "http-equiv" in each.attributes]
    assert policy.attributes["content"].startswith("default-src 'none'")
    assert not [name for each in found.all("meta") for name in each.attributes if name.startswith("on")]


@pytest.mark.parametrize(
    ("bad", "more", "kinds"),
    [
        (0, {}, {}),
        (9, {}, {"rejected": "know"}),
        (11, {}, {"rejected": "look"}),
        (60, {}, {"rejected": "act"}),
        (0, {"truncated_rows": 9}, {}),
        (0, {"truncated_rows": 10}, {"truncated": "look"}),
        (0, {"truncated_rows": 100}, {"truncated": "act"}),
        (0, {"inputs": [{"path": "/d/a.csv", "size": 9, "version": "1", "rows": 0}]}, {"no_rows": "look"}),
    ],
)
def test_what_a_person_should_act_on_comes_first(tmp_path, bad, more, kinds):
    labelling(
        tmp_path,
        rows(1000 - (0 if "truncated_rows" in more else bad), sure=4.0),
        rejected=[("empty_text", b"")] * bad,
        **more,
    )
    assert page(tmp_path).alerts() == kinds


def test_many_unsure_rows_one_label_and_labels_without_rows_are_told(tmp_path):
    labelling(
        tmp_path / "unsure",
        [("t", "ab"[place % 2], 0.55 if place < 26 else 0.9) for place in range(100)],
        labels=["a", "b"],
    )
    assert page(tmp_path / "unsure").alerts() == {"unsure": "act"}
    labelling(tmp_path / "one", [("t", "a", 0.9)] * 200, labels=["a", "b", "c"])
    assert page(tmp_path / "one").alerts() == {"one_label": "look", "absent_labels": "know"}
    labelling(tmp_path / "none", [])
    assert page(tmp_path / "none").alerts() == {"nothing": "act", "no_rows": "look"}


def test_lost_rows_are_told_with_their_files(tmp_path):
    made = labelling(tmp_path / "whole", rows(100, sure=4.0))
    lost = {**made["rows"], "in": 150, "lost": 50, "lost_weight": "estimated", "lost_by_reason": {"truncated_file": 50}}
    loss = {"reason": "truncated_file", "detail": "cut", "rows": 50, "bytes": 9, "weight": "estimated"}
    file = {"path": "/d/cut.gz", "size": 99, "version": "1", "rows": 100, "rows_lost": 50, "losses": [loss]}
    labelling(tmp_path / "cut", rows(100, sure=4.0), rows=lost, inputs=[file])
    found = page(tmp_path / "cut")
    assert list(found.alerts()) == ["lost"]
    assert "About 50 rows of 150 could not be read (truncated_file), in /d/cut.gz." in found.text
    assert found.headline()["lost"] == "about 50"


def test_another_version_is_measured_against_the_one_before(tmp_path):
    labelling(tmp_path, rows(2000, positive=0.4))
    labelling(tmp_path, rows(2000, positive=0.6), number=2)
    found = page(tmp_path)
    assert found.alerts()["drift"] == "act"
    assert found.section("Labels").table()["positive"] == ["1,200", "60.0 %", "40.0 %"]
    verdict, value, *_ = found.section("What moved").table()["label shift of positive"]
    assert (float(value), verdict) == (0.2, "beyond")


def test_a_folder_without_anything_and_a_damaged_manifest_are_refused(tmp_path):
    with pytest.raises(RunError, match="holds nothing that a command published"):
        writing.write(str(tmp_path))
    labelling(tmp_path, rows(10), label_counts={"a": "many"})
    with pytest.raises(RunError, match="no command wrote"):
        writing.write(str(tmp_path))
    assert not (tmp_path / "_report").exists()


def test_parts_that_are_gone_cost_their_texts_alone(tmp_path):
    labelling(tmp_path, rows(400), parts=4)
    for path in sorted((tmp_path / "labels").glob("*.parquet"))[1:3]:
        path.unlink()
    (tmp_path / "labels").joinpath(sorted((tmp_path / "labels").iterdir())[0].name).write_bytes(b"PAR1 no more")
    assert "100 of 400 rows were looked at" in page(tmp_path).text


def test_a_large_part_is_read_in_part(tmp_path):
    labelling(tmp_path, rows(40_000))
    (part,) = (tmp_path / "labels").iterdir()
    table = pq.read_table(part)
    pq.write_table(table, part, row_group_size=1000)
    labelled = page(tmp_path).section("Least and most sure texts").text
    assert "32,000 of 40,000 rows were looked at, spread over the run." in labelled


def test_a_run_of_ten_thousand_parts_has_a_page_in_seconds(tmp_path):
    made = labelling(tmp_path, rows(20_000), parts=100)
    (names,) = [[part["path"] for part in made["parts"]]]
    many = [f"labels/part-{place:05d}-of-10000-v1-{made['run_id'][:8]}.parquet" for place in range(10_000)]
    for place, name in enumerate(many):
        (tmp_path / name).hardlink_to(tmp_path / names[place % 100])
    version = tmp_path / "_versions" / "00000001.json"
    told = json.loads(version.read_text())
    told["parts"] = [{**made["parts"][place % 100], "path": name} for place, name in enumerate(many)]
    told["inputs"] = [{"path": f"/d/{place:05d}", "size": 9, "version": "1", "rows": 2} for place in range(10_000)]
    version.write_text(json.dumps(told))
    code = (
        "import re, resource, sys; from pathlib import Path; from pipelines import report\n"
        "code, used = report.main(sys.argv[1:]), resource.getrusage(resource.RUSAGE_SELF)\n"
        # Not `ru_maxrss`, which a process has from the one that started it.
        "peak = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]\n"
        "print(code, used.ru_utime + used.ru_stime, peak)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    status, seconds, peak = done.stdout.splitlines()[-1].split()
    assert status == "0" and float(seconds) < 10 and int(peak) < 500_000, done  # kB
    written = tmp_path / "_report" / "report.html"
    assert written.stat().st_size < 1_000_000 and "10,000 files" in written.read_text()
