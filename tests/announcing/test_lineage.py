"""Events of OpenLineage of what is published, beside what is written here by hand, and of real outputs."""

import json
import os
import subprocess
import sys
import time
import uuid
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqcls_beam.announcing import lineage
from seqcls_beam.announcing.published import Announced, PlatformError
from tests.reports.outputs import labelling, rows

INPUTS = [{"path": f"gs://corpus/in/{i}.jsonl", "size": 11, "version": "1", "rows": 7, "bytes": 11} for i in range(3)]
COLUMNS = [
    {"name": "id", "type": "string"},
    {"name": "text", "type": "string"},
    {"name": "label", "type": "string"},
    {"name": "score", "type": "float"},
    {"name": "scores", "type": "list<element: float>"},
    {"name": "model", "type": "string"},
]
COUNTS = {"in": 21, "labeled": 20, "rejected": 1}
VARIABLES = ("URL", "API_KEY", "NAMESPACE", "PARENT_ID", "ROOT_PARENT_ID", "CONFIG", "DISABLED", "ENDPOINT")


@pytest.fixture(autouse=True)
def _bare(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(f"OPENLINEAGE_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def night(out, partition="run_date=2026-01-31", **more):
    facts = {"inputs": INPUTS, "columns": COLUMNS, "versions": {"seqcls_beam": "0.1.0", "apache-beam": "2.77.0"}}
    manifest = labelling(out, rows(20), partition, rejected=[("empty_text", b"")], **{**facts, **more})
    return Announced(output=str(out), partition=partition, version=1, manifest=manifest)


def said(file, announced):
    lineage.tell(str(file), announced)
    return [json.loads(line) for line in file.read_text().splitlines()]


def names(datasets):
    return [(each["namespace"], each["name"]) for each in datasets]


def bare(facet):
    return {key: value for key, value in facet.items() if not key.startswith("_")}


def test_a_night(tmp_path):
    out = tmp_path / "out"
    announced = night(out)
    start, complete = said(tmp_path / "events.jsonl", announced)
    assert [(each["eventType"], each["eventTime"]) for each in (start, complete)] == [
        ("START", "2026-11-20T02:00:00Z"),
        ("COMPLETE", "2026-11-20T02:10:00Z"),
    ]
    assert start["run"]["runId"] == complete["run"]["runId"]
    assert {key: start["job"][key] for key in ("namespace", "name")} == {
        "namespace": "seqcls_beam",
        "name": f"classify:{out}",
    }
    job = {name: bare(facet) for name, facet in complete["job"]["facets"].items()}
    assert job == {
        "jobType": {"processingType": "BATCH", "integration": "BEAM", "jobType": "JOB"},
        "sourceCode": {"language": "shell", "sourceCode": "python -m pipelines.classify --input=in.jsonl"},
    }
    run = {name: bare(facet) for name, facet in complete["run"]["facets"].items() if name != "tags"}
    assert run == {
        "nominalTime": {"nominalStartTime": "2026-01-31T00:00:00Z", "nominalEndTime": "2026-02-01T00:00:00Z"},
        "processing_engine": {"name": "Apache Beam", "version": "2.77.0", "openlineageAdapterVersion": "0.1.0"},
        "seqcls_beam_publication": {
            "runId": announced.manifest["run_id"],
            "kind": "classify",
            "partition": "run_date=2026-01-31",
            "version": 1,
            "rows": {"in": 21, "labeled": 20, "rejected": 1, "lost": 0},
            "rejectedByReason": {"empty_text": 1},
            "lostByReason": {},
            "modelDigests": ["d" * 64],
            "tokens": sum(len(text) for text, _, _ in rows(20)),
            "truncatedRows": 0,
        },
    }
    assert names(complete["inputs"]) == [("gs://corpus", "in"), ("seqcls_beam", "m")]
    assert bare(complete["inputs"][0]["inputFacets"]["inputStatistics"]) == {"fileCount": 3, "rowCount": 21, "size": 33}
    assert complete["inputs"][1]["facets"]["version"]["datasetVersion"] == "d" * 64
    labels, rejects = complete["outputs"]
    assert names([labels, rejects]) == [("file", str(out)), ("file", f"{out}/_rejects")]
    assert {each["facets"]["version"]["datasetVersion"] for each in (labels, rejects)} == {"run_date=2026-01-31/1"}
    for dataset, folder, count in ((labels, "labels", 20), (rejects, "_rejects", 1)):
        size = sum(file.stat().st_size for file in out.glob(f"{folder}/**/*.parquet"))
        found = bare(dataset["outputFacets"]["outputStatistics"])
        assert found == {"rowCount": count, "size": size, "fileCount": 1}
    assert [(each["name"], each["type"]) for each in labels["facets"]["schema"]["fields"]] == [
        (each["name"], each["type"]) for each in COLUMNS
    ]
    assert [each["name"] for each in rejects["facets"]["schema"]["fields"]] == [
        "source", "position", "stage", "reason", "detail", "raw",
    ]  # fmt: skip


def traced(event):
    """Column → (columns of the input, subtype)."""
    fields = event["outputs"][0]["facets"]["columnLineage"]["fields"]
    return {
        name: (
            {each["field"] for each in found["inputFields"]},
            found["inputFields"][0]["transformations"][0]["subtype"],
        )
        for name, found in fields.items()
    }


def test_labels_come_of_the_texts_and_other_columns_are_what_they_were(tmp_path):
    told = said(tmp_path / "e", night(tmp_path / "out", read={"text_column": "text", "text_pair_column": "other"}))[1]
    both = ({"text", "other"}, "TRANSFORMATION")
    assert traced(told) == {
        "label": both,
        "score": both,
        "scores": both,
        "id": ({"id"}, "IDENTITY"),
        "text": ({"text"}, "IDENTITY"),
    }


@pytest.mark.parametrize(
    ("keep", "origin"),
    [
        (["label:string"], "label"),
        (["input_label"], "input_label"),
        (None, None),
        (["*"], None),
        (["label", "*"], None),
    ],
)
def test_a_renamed_column_is_traced_where_the_options_say_what_it_was(tmp_path, keep, origin):
    columns = [*COLUMNS, {"name": "input_label", "type": "string"}]
    read = {"text_column": "text", "id_column": "id", "keep_columns": keep}
    found = traced(said(tmp_path / "e", night(tmp_path / "out", read=read, columns=columns))[1])
    assert found.get("input_label") == (({origin}, "IDENTITY") if origin else None)


def test_events_of_a_hundred_thousand_files_and_many_columns_stay_small(tmp_path):
    inputs = [{**INPUTS[0], "path": f"gs://b{i % 150:03}/{i}.jsonl"} for i in range(100_000)]
    columns = [*COLUMNS, *({"name": f"c{i}", "type": "int64"} for i in range(2_000))]
    announced = night(tmp_path / "out", inputs=inputs, columns=columns)
    complete = said(tmp_path / "e", announced)[1]
    assert len(json.dumps(complete)) < 500_000
    assert len(complete["inputs"]) == 101
    own = complete["run"]["facets"]["seqcls_beam_publication"]
    read = sum(each["inputFacets"]["inputStatistics"]["fileCount"] for each in complete["inputs"][:-1])
    assert own["inputFilesNotNamed"] == 100_000 - read > 0
    fields = complete["outputs"][0]["facets"]["columnLineage"]["fields"]
    assert {"label", "score", "scores"} <= fields.keys()
    assert len(fields) + own["columnsNotTraced"] == 2_000 + 5


def test_the_same_run_has_one_id_everywhere_and_another_place_another(tmp_path):
    code = (
        "from seqcls_beam.announcing.lineage_events import run_uuid as u;"
        "print(u('gs://b/out', '', 'r'), u('gs://b/out/', '', 'r'), u('gs://b/out', 'run_date=2026-01-01', 'r'),"
        "u('gs://b/out2', '', 'r'), u('gs://b/out', '', 's'))"
    )
    twice = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    first, same, *others = twice[0].stdout.split()
    assert twice[0].stdout == twice[1].stdout and first == same and len({first, *others}) == 4
    assert uuid.UUID(first).version == 5


def test_twice_is_once_in_a_file(tmp_path):
    file, announced = tmp_path / "events.jsonl", night(tmp_path / "out")
    once = said(file, announced)
    before = file.read_bytes()
    assert said(file, announced) == once and file.read_bytes() == before


def test_a_start_that_was_told_is_not_told_again(tmp_path):
    file, announced = tmp_path / "events.jsonl", night(tmp_path / "out")
    lineage.tell_start(
        str(file), output=announced.output, partition=announced.partition, run_id=announced.manifest["run_id"],
        kind="classify", command="python -m pipelines.classify", inputs=INPUTS[:1],
        model={"name": "org/m", "revision": "0" * 40, "digest": "d" * 64}, versions={"apache-beam": "2.77.0"},
    )  # fmt: skip
    first, complete = said(file, announced)
    assert (first["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert first["run"]["runId"] == complete["run"]["runId"]
    assert names(first["inputs"]) == [("gs://corpus", "in/0.jsonl"), ("https://huggingface.co", "org/m")]
    assert names(first["outputs"]) == [("file", str(tmp_path / "out"))]


def test_half_a_line_of_a_process_that_died_costs_no_event(tmp_path):
    file, announced = tmp_path / "events.jsonl", night(tmp_path / "out")
    lineage.tell(str(file), announced)
    whole = file.read_text().splitlines()
    file.write_text(whole[0] + "\n" + whole[1][:100])
    lineage.tell(str(file), announced)
    found = file.read_text().splitlines()
    assert [found[0], found[2]] == whole and found[1] == whole[1][:100]


def test_a_failure_has_its_sentence_and_no_secret(tmp_path):
    file = tmp_path / "events.jsonl"
    secret = "hunter2hunter2"
    sentence = "cannot read gs://me:" + secret + "@bucket/a " + "x" * 1950 + f" --api_key={secret} password={secret}"
    lineage.tell_fail(
        str(file), output="gs://b/out", partition="", run_id="r", kind="prepare", sentence=sentence,
        command=f"python -m pipelines.prepare --input=https://me:{secret}@host/a",
        inputs=[{"path": f"s3://me:{secret}@b/a", "size": 1}],
    )  # fmt: skip
    assert secret[:4] not in file.read_text()
    event = json.loads(file.read_text())
    facet = bare(event["run"]["facets"]["errorMessage"])
    assert event["eventType"] == "FAIL" and event["job"]["name"] == "prepare:gs://b/out"
    assert facet["programmingLanguage"] == "PYTHON" and "stackTrace" not in facet
    assert facet["message"].startswith("cannot read gs://") and len(facet["message"]) <= 2000


def test_a_window_of_a_stream(tmp_path):
    out = tmp_path / "out"
    (out / "_pieces").mkdir(parents=True)
    stream = {"format_version": 1, "window": 3600, "topic": "projects/p/topics/reviews"}
    (out / "_pieces/stream.json").write_text(json.dumps(stream))
    announced = night(
        out, "window=20261120T100000Z", inputs=[], started=None, versions=None, model=None, read=None, columns=None,
        window={"start": "2026-11-20T10:00:00Z", "end": "2026-11-20T11:00:00Z", "complete": True},
        messages={"distinct": 21}, models={"a" * 12: {}, "b" * 12: {}},
    )  # fmt: skip
    start, complete = said(tmp_path / "e", announced)
    assert start["eventTime"] == complete["eventTime"] == announced.manifest["finished"]
    assert complete["job"]["facets"]["jobType"]["processingType"] == "STREAMING"
    assert names(complete["inputs"]) == [("pubsub", "topic:p:reviews")]
    assert bare(complete["inputs"][0]["inputFacets"]["inputStatistics"]) == {"rowCount": 21}
    assert bare(complete["run"]["facets"]["nominalTime"]) == {
        "nominalStartTime": "2026-11-20T10:00:00Z",
        "nominalEndTime": "2026-11-20T11:00:00Z",
    }
    assert complete["run"]["facets"]["seqcls_beam_publication"]["modelDigests"] == ["a" * 12, "b" * 12]
    # Its manifest has no columns: a part has.
    part = pq.read_schema(next(out.glob("labels/**/*.parquet")))
    fields = complete["outputs"][0]["facets"]["schema"]["fields"]
    assert [(each["name"], each["type"]) for each in fields] == [(each.name, str(each.type)) for each in part]


def test_what_one_command_writes_the_next_one_reads(tmp_path):
    """prepare → finetune → classify: each output is an input of the next."""
    folder = tmp_path / "data"
    (folder / "data").mkdir(parents=True)
    pq.write_table(pa.table({"input_ids": [[1, 2]]}), folder / "data/train-00000.parquet")
    common = {"finished": "2026-01-01T00:00:00Z", "rejects": []}
    prepared = {
        **common, "kind": "prepare", "run_id": "1", "inputs": INPUTS, "rows": {"in": 21, "kept": 1},
        "parts": [{"path": "data/train-00000.parquet", "rows": 1, "bytes": 9}],
    }  # fmt: skip
    trained = {
        **common, "kind": "finetune", "run_id": "2", "versions": {"torch": "2.13.0", "transformers": "5.23.0"},
        "data": {"path": str(folder), "rows": {"train": 100, "test": 20}}, "seconds": 1.5,
        "base": {"name": "org/base", "revision": "0" * 40, "digest": "b" * 64},
        "parts": [{"path": "model.safetensors", "bytes": 5}],
    }  # fmt: skip
    model = {"name": str(tmp_path / "model"), "revision": None, "digest": "c" * 64}
    events = [
        said(tmp_path / f"{kind}.jsonl", Announced(output=str(out), partition="", version=1, manifest=manifest))[1]
        for kind, out, manifest in (
            ("prepare", folder, prepared),
            ("finetune", tmp_path / "model", trained),
            ("classify", tmp_path / "out", night(tmp_path / "out", model=model).manifest),
        )
    ]
    for before, after in pairwise(events):
        assert names(before["outputs"])[0] in names(after["inputs"])
    assert ("https://huggingface.co", "org/base") in names(events[1]["inputs"])
    assert bare(events[1]["inputs"][0]["inputFacets"]["inputStatistics"]) == {"rowCount": 120}
    assert events[1]["job"]["facets"]["jobType"]["integration"] == "TRANSFORMERS"
    assert bare(events[1]["outputs"][0]["outputFacets"]["outputStatistics"]) == {"size": 5, "fileCount": 1}
    assert [each["name"] for each in events[0]["outputs"][0]["facets"]["schema"]["fields"]] == ["input_ids"]


def test_the_environment_names_namespace_and_parent(tmp_path, monkeypatch):
    run, root = str(uuid.uuid4()), str(uuid.uuid4())
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "nightly")
    monkeypatch.setenv("OPENLINEAGE_PARENT_ID", f"http://airflow/dag.task/{run}")
    monkeypatch.setenv("OPENLINEAGE_ROOT_PARENT_ID", f"air/dag/{root}")
    start = said(tmp_path / "e", night(tmp_path / "out"))[0]
    parent = start["run"]["facets"]["parent"]
    assert start["job"]["namespace"] == "nightly"
    assert parent["run"]["runId"] == run
    assert (parent["job"]["namespace"], parent["job"]["name"]) == ("http://airflow", "dag.task")
    assert parent["root"]["run"]["runId"] == root and parent["root"]["job"]["name"] == "dag"


@pytest.mark.parametrize("said", ["dag.task", "ns/dag/no-uuid", "/x/"])
def test_a_parent_that_is_none_is_told_before_the_run(tmp_path, monkeypatch, said):
    monkeypatch.setenv("OPENLINEAGE_PARENT_ID", said)
    with pytest.raises(PlatformError, match=r"OPENLINEAGE_PARENT_ID=.*expected NAMESPACE/JOB/RUN"):
        lineage.ensure(str(tmp_path / "e"))


def test_a_manifest_that_no_command_wrote(tmp_path):
    announced = night(tmp_path / "out", columns=[{"nome": 1}])
    with pytest.raises(PlatformError, match="no command wrote"):
        lineage.tell(str(tmp_path / "e"), announced)


def test_a_manifest_with_much_in_it_makes_no_large_event(tmp_path):
    long, many = "x" * 3_000_000, {f"reason{i}": 1 for i in range(50_000)}
    announced = night(
        tmp_path / "out",
        inputs=[{**INPUTS[0], "path": f"gs://bucket/{long}"}],
        columns=[{"name": long, "type": long}, *COLUMNS],
        command=long,
        versions={"seqcls_beam": "0.1.0", "apache-beam": long},
        read={"text_column": long},
        model={"name": long, "digest": long, "revision": long},
        models={long: {}, **{f"{i}": {} for i in range(50_000)}},
        rows={**COUNTS, "rejected_by_reason": many, "lost_weight": long, **many},
    )
    began = time.monotonic()
    start, complete = said(tmp_path / "e", announced)
    assert time.monotonic() - began < 5 and len(json.dumps([start, complete])) < 400_000
    own = complete["run"]["facets"]["seqcls_beam_publication"]
    assert len(own["rejectedByReason"]) == 1000 and own["rows"]["in"] == 21


def test_parts_that_are_gone(tmp_path):
    announced = night(tmp_path / "out", columns=None)
    for part in (tmp_path / "out/labels").rglob("*.parquet"):
        part.unlink()
    with pytest.raises(PlatformError, match=r"part-00000-of-00001.* cannot be read"):
        lineage.tell(str(tmp_path / "e"), announced)


def test_a_part_that_is_a_pipe_is_not_waited_for(tmp_path):
    announced = night(tmp_path / "out", columns=None)
    for part in (tmp_path / "out/labels").rglob("*.parquet"):
        part.unlink()
        os.mkfifo(part)
    began = time.monotonic()
    with pytest.raises(PlatformError, match="is a pipe, a socket or a device"):
        lineage.tell(str(tmp_path / "e"), announced)
    assert time.monotonic() - began < 5


def test_nothing_is_told_of_a_version_that_took_all_away(tmp_path):
    manifest = {"kind": "nothing", "run_id": "", "parts": [], "rejects": []}
    lineage.tell(str(tmp_path / "e"), Announced(output=str(tmp_path), partition="", version=2, manifest=manifest))
    assert not (tmp_path / "e").exists()


def test_the_package_is_named_where_it_is_missing(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "openlineage" or ".lineage_" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openlineage", None)
    for name in ("lineage_events", "lineage_facets", "lineage_sending"):
        monkeypatch.delattr(sys.modules["seqcls_beam.announcing"], name, raising=False)
    with pytest.raises(PlatformError) as error:
        lineage.ensure(str(tmp_path / "e"))
    assert str(error.value) == (
        "--openlineage needs the package openlineage-python, which is not installed (pip install "
        "'seqcls_beam[openlineage]')"
    )
