"""Figures of each kind of manifest, counted by hand, or by another route out of what a command published."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import seqcls_beam
from pipelines import classify, evaluate
from seqcls_beam.announcing import platforms
from seqcls_beam.announcing.figures import HELP, MOST, REST, common_labels, figures
from seqcls_beam.announcing.published import Announced
from tests import prepared
from tests.announcing.tables import newest_of
from tests.announcing.told import NIGHT, values, version
from tests.messages import MODEL as MODEL_OF_MESSAGES
from tests.messages import Message
from tests.runs import streams

SAMPLE = Path(seqcls_beam.__file__).parent / "sample" / "reviews.jsonl"
MODEL = Path(seqcls_beam.__file__).parent / "sentiment" / "_versions" / "00000001.json"
TEXTS = prepared.sentences(120)


def at(*when: int) -> float:
    return datetime(*when, tzinfo=UTC).timestamp()  # type: ignore[arg-type,misc]


def test_a_night_of_a_labelling():
    assert values(version(number=4)) == {
        "run_info": 1,
        "published_version": 4,
        "published_timestamp_seconds": at(2026, 2, 1, 1, 2, 3),
        "run_date_timestamp_seconds": at(2026, 1, 31),
        "input_rows": 100,
        "rows{outcome=labeled}": 90,
        "rows{outcome=rejected}": 7,
        "rows{outcome=lost}": 3,
        "rejected_rows{reason=invalid_json}": 4,
        "rejected_rows{reason=empty_text}": 3,
        "lost_rows{reason=truncated_file}": 3,
        "truncated_rows": 2,
        "label_rows{label=negative}": 50,
        "label_rows{label=positive}": 40,
        "tokens": 4321,
        "input_files": 2,
        "input_bytes": 1024,
        "skipped_files": 3,
        "output_files{files=parts}": 1,
        "output_files{files=rejects}": 1,
        "output_bytes{files=parts}": 5000,
        "output_bytes{files=rejects}": 300,
        "stage_seconds{stage=classify}": 12.5,
        "stage_seconds{stage=read}": 0.25,
        "wall_seconds": 123,
    }
    info = next(dict(each.labels) for each in figures(version()) if each.name == "seqcls_beam_run_info")
    assert info == {
        "output": "/data/out",
        "kind": "classify",
        "partition_key": "run_date",
        "run_id": "0123456789abcdef0123456789abcdef",
        "partition": "run_date=2026-01-31",
        "package_version": "0.1.0",
        "model": "ab" * 32,
        "base": "",
        "tokenizer": "",
    }


def test_a_window_of_a_stream():
    manifest = {
        "kind": "classify",
        "run_id": "r",
        "finished": "2026-11-20T11:00:05Z",
        "window": {"start": "2026-11-20T10:00:00Z", "end": "2026-11-20T11:00:00Z", "complete": True},
        "messages": {"distinct": 12, "duplicates": 5, "first": "x", "last": "2026-11-20T10:59:59.500000Z"},
        "models": {"bbb": {}, "aaa": {}},
        "rows": {"in": 12, "labeled": 11, "rejected": 1, "rejected_by_reason": {"empty_text": 1}, "lost": 0},
        "seconds": {},
        "inputs": [],
        "parts": [],
        "rejects": [],
    }
    announced = version(manifest, partition="window=20261120T100000Z")
    found = values(announced)
    assert found["window_end_timestamp_seconds"] == at(2026, 11, 20, 11)
    assert found["newest_message_timestamp_seconds"] == at(2026, 11, 20, 10, 59, 59) + 0.5
    assert (found["distinct_messages"], found["duplicate_messages"], found["window_complete"]) == (12, 5, 1)
    assert found["rows{outcome=lost}"] == 0
    absent = {"input_files", "input_bytes", "wall_seconds", "tokens", "window_amendments", "run_date_timestamp_seconds"}
    assert not absent & found.keys()
    assert dict(figures(announced)[0].labels)["model"] == "aaa,bbb"
    assert common_labels(announced)["partition_key"] == "window"


def test_a_window_that_was_sealed(tmp_path):
    out = streams.prepared(tmp_path / "out")
    streams.append(out, Message("a", 0, text="aa"), Message("b", 5, rejected=True), Message("c", 299 * streams.S))
    streams.append(out, Message("c", 299 * streams.S))
    streams.seal(out)
    announced = newest_of(tmp_path / "out", streams.FIRST)
    found = values(announced)
    assert (found["rows{outcome=labeled}"], found["rows{outcome=rejected}"], found["input_rows"]) == (2, 1, 3)
    assert (found["distinct_messages"], found["duplicate_messages"], found["window_complete"]) == (3, 1, 1)
    assert (found["newest_message_timestamp_seconds"], found["window_end_timestamp_seconds"]) == (299, 300)
    assert found["published_timestamp_seconds"] > 1.7e9 and "input_files" not in found
    assert dict(figures(announced)[0].labels)["model"] == MODEL_OF_MESSAGES[:12]


def test_the_bundled_model():
    manifest = json.loads(MODEL.read_text())
    found = values(Announced(output="m", partition="", version=1, manifest=manifest))
    assert found["training_seconds"] == manifest["seconds"] and found["training_steps"] == manifest["steps"]
    assert found["best_step"] == manifest["best"]["step"]
    assert found["split_rows{split=train}"] == 119_970  # of SST-2, without duplicates
    for split, scores in manifest["scores"].items():
        assert {name: found[f"score{{split={split},metric={name}}}"] for name in scores} == scores
    assert found["output_bytes{files=parts}"] == sum(each["bytes"] for each in manifest["parts"])
    assert not {name for name in found if name.startswith(("rows", "label_rows", "stage", "wall", "input"))}


@pytest.mark.engine
def test_prepared_data_and_an_evaluation(tmp_path):
    rows = [{**row, "label": ("negative", "positive")[i % 2]} for i, row in enumerate(prepared.labelled(TEXTS))]
    out = prepared.run(rows, tmp_path / "data")
    found = values(newest_of(out))
    assert found["input_rows"] == sum(value for name, value in found.items() if name.startswith("rows{"))
    assert found["input_bytes"] == (tmp_path / "data.jsonl").stat().st_size
    for split in ("train", "validation", "test"):
        made = prepared.rows(out, split)
        assert found[f"split_rows{{split={split}}}"] == len(made) > 0
        assert found[f"split_tokens{{split={split}}}"] == sum(len(row["input_ids"]) for row in made)
        for label, count in Counter(row["label"] for row in made).items():
            assert found[f"split_label_rows{{split={split},label={label}}}"] == count
    assert evaluate.main([f"--data={out}", "--split=test", f"--output={tmp_path / 'found'}", "--min_accuracy=0"]) == 0
    told = platforms.newest_of(str(tmp_path / "found"), "")
    assert told is not None
    found, said = values(told), json.loads((tmp_path / "found" / "evaluation.json").read_text())
    assert found["rows{outcome=scored}"] == len(prepared.rows(out, "test"))
    assert found["score{split=test,metric=accuracy}"] == said["metrics"]["accuracy"]["value"]
    low, high = (found[f"score_{end}{{split=test,metric=accuracy}}"] for end in ("low", "high"))
    assert [low, high] == said["metrics"]["accuracy"]["ci"]
    assert found["gate_passed{gate=min_accuracy}"] == 1
    assert dict(figures(told)[0].labels)["model"] == said["model"]["digest"]


@pytest.mark.engine
def test_a_labelling_as_its_files_have_it(tmp_path):
    assert classify.main([f"--input={SAMPLE}", f"--output={tmp_path}", "--run_date=2026-01-31"]) == 0
    found = values(newest_of(tmp_path, "run_date=2026-01-31"))
    labels, rejects = tmp_path / "labels" / "run_date=2026-01-31", tmp_path / "_rejects" / "run_date=2026-01-31"
    table, bad = pq.read_table(labels), pq.read_table(rejects)
    assert found["rows{outcome=labeled}"] == len(table)
    assert found["tokens"] == sum(table["tokens"].to_pylist())
    for name, counted in (
        ("label_rows{label=", Counter(table["label"].to_pylist())),
        ("rejected_rows{reason=", Counter(bad["reason"].to_pylist())),
    ):
        assert {key: value for key, value in found.items() if key.startswith(name)} == {
            f"{name}{key}}}": count for key, count in counted.items()
        }
    assert found["output_bytes{files=parts}"] == sum(each.stat().st_size for each in labels.iterdir())
    assert found["input_files"] == 1 and found["input_rows"] == len(SAMPLE.read_bytes().splitlines())


def test_many_labels_are_few_series_and_lose_no_row():
    counts = {f"label {i:03d}": i + 1 for i in range(250)}
    found = values(version(label_counts=counts))
    told = {name: value for name, value in found.items() if name.startswith("label_rows")}
    assert len(told) == MOST + 1 and sum(told.values()) == sum(counts.values())
    assert told["label_rows{label=label 249}"] == 250 and told[f"label_rows{{label={REST}}}"] == sum(range(1, 151))
    assert "label_rows{label=label 149}" not in told


@pytest.mark.parametrize("size", [MOST - 1, MOST, MOST + 1, 300])
def test_a_label_with_the_name_of_the_rest(size):
    counts = {REST: 10**6, **{f"{i}": 1 for i in range(size)}}
    told = {name: value for name, value in values(version(label_counts=counts)).items() if name.startswith("label_")}
    assert sum(told.values()) == 10**6 + size and len(told) == min(size, MOST) + 1
    assert told[f"label_rows{{label={REST}}}"] == 10**6 + max(0, size - MOST)


def test_labels_that_are_shown_alike_are_one():
    told = values(version(label_counts={"a\x1b": 1, "a\\x1b": 2, "b" * 900: 4, "b" * 901: 8, "\ud800": 16, "": 32}))
    found = {name.partition("=")[2][:-1]: value for name, value in told.items() if name.startswith("label_rows")}
    assert found == {"a\\x1b": 3, "b" * 199 + "…": 12, "\\ud800": 16, "": 32}


def test_passwords_are_not_told():
    announced = version(output="s3://me:secret@store/out?token=secret")
    assert "secret" not in repr(figures(announced))


def test_what_is_no_number_is_no_figure():
    odd = {"in": float("nan"), "labeled": float("inf"), "rejected": "7", "lost": True, "kept": 10**400, "scored": None}
    found = values(
        version(rows=odd, tokens=[], truncated_rows=-1, inputs=[{"size": 1}, {}], parts=[{"bytes": 1e308}] * 9)
    )
    assert not {name for name in found if name.startswith("rows")} and found["truncated_rows"] == -1
    assert not {"input_rows", "tokens", "input_bytes", "output_bytes{files=parts}"} & found.keys()
    assert (found["input_files"], found["output_files{files=parts}"]) == (2, 9)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
KEYS = [*NIGHT, "window", "messages", "models", "splits", "scores", "metrics", "gates", "data", "baseline", "best"]
OF_OBJECTS = st.dictionaries(st.sampled_from(["in", "end", "last", "digest", "test", "rows", "passed", "gate"]), JSON)


@given(st.dictionaries(st.sampled_from(KEYS), JSON | OF_OBJECTS | st.lists(OF_OBJECTS, max_size=2)), st.text())
def test_a_manifest_of_any_content_gives_figures(manifest, partition):
    announced = Announced(output="/out", partition=partition, version=1, manifest=manifest)
    assert values(announced)["published_version"] == 1  # and no figure twice
    for each in figures(announced):
        assert len({name for name, _ in each.labels}) == len(each.labels) and each.value - each.value == 0
        assert all(value.encode() and "\n" not in value and "\x1b" not in value for _, value in each.labels if value)


def test_each_has_a_name_that_prometheus_has_no_other_meaning_for_and_a_sentence():
    for name, said in HELP.items():
        assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_created"))
        assert said[0] == said[0].upper() and said.endswith(".") and "\n" not in said
    units = {each.name: each.unit for each in figures(version())}
    assert units["seqcls_beam_wall_seconds"] == "s" and units["seqcls_beam_input_bytes"] == "By"
    assert units["seqcls_beam_rows"] == ""
