"""What was staged for a job makes the bytes that a run on this machine makes, from the same files."""

import hashlib
import json
import re

import fsspec
import pytest

from seqcls_beam.runs.table import read_manifest
from tests.corpora import part_digests, texts, write_jsonl
from tests.dataflow.cloud import BUCKET, plain, spawned
from tests.halt import Process, command
from tests.prepared import digests, labelled, sentences

pytestmark = [pytest.mark.dataflow, pytest.mark.engine]


def whole(name, cloud, *argv):
    """A command as people call it, on the double, by Beam's own pace; what it said."""
    with spawned(name, *argv, *cloud.flags()) as process:
        said = plain(process.communicate(timeout=200)[0])
    assert process.returncode == 0 and "Traceback" not in said, said
    return said


def on_this_machine(name, folder, *argv):
    assert Process(command, name, [*argv], log=folder / "local.log").code() == 0


def remote(uri, *folders):
    """Every file below folders of an output, by what is in it."""
    files = fsspec.filesystem("gs")
    root = uri.removeprefix("gs://")
    found = [path for folder in folders for path in files.find(f"{root}/{folder}")]
    return {path.removeprefix(f"{root}/"): hashlib.sha256(files.cat(path)).hexdigest() for path in found}


def counted(cloud, name):
    """The sum of a counter over the steps of the newest job."""
    double = cloud.double
    at = {"job_id": double.newest().proto.id, "project_id": "test-project", "location": "us-central1"}
    found = [each for each in double.metrics(b"", at).metrics if each.name.name == name]
    return sum(each.scalar for each in found if "tentative" not in each.name.context)


def nameless(files):
    """Without the eight digits of the run, which differ where its inputs are called otherwise."""
    return {re.sub(r"-v1-[0-9a-f]{8}", "", name): digest for name, digest in files.items()}


def test_classify(cloud, checkpoint, tmp_path):
    lines = [json.dumps({"id": i, "text": text}) for i, text in enumerate(texts(120))]
    lines[17] = "{"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text("\n".join(lines))
    files = fsspec.filesystem("gs")
    files.put(str(tmp_path / "in"), f"{BUCKET}/replay/", recursive=True)
    files.put(str(checkpoint), f"{BUCKET}/replay/model", recursive=True)
    flags = ["--threads=1", "--id_column=id", "--unit_bytes=3000"]
    there = f"gs://{BUCKET}/replay"
    argv = [f"--input={there}/in/*.jsonl", f"--output={there}/out", f"--model={there}/model", *flags]
    said = whole("classify", cloud, *argv)
    on_this_machine(
        "classify",
        tmp_path,
        f"--input={tmp_path}/in/*.jsonl",
        f"--output={tmp_path}/out",
        f"--model={checkpoint}",
        *flags,
    )
    made = remote(f"{there}/out", "labels", "_rejects")
    wanted = part_digests(tmp_path / "out")
    assert len(wanted) == 6  # five parts, and one of rejects
    assert nameless({k: v for k, v in made.items() if k.startswith("labels/")}) == nameless(
        {k: v for k, v in wanted.items() if k.startswith("labels/")}
    )
    assert nameless(made).keys() == nameless(wanted).keys()
    manifest = read_manifest(f"{there}/out")
    assert manifest is not None and manifest["runner"] == "DataflowRunner"
    assert counted(cloud, "rows-labeled") == manifest["rows"]["labeled"] == 119
    assert counted(cloud, "rows-rejected") == manifest["rows"]["rejected"] == 1
    assert f"gs://{BUCKET}/replay/out/labels (5 parts)" in said


def test_prepare(cloud, tmp_path):
    rows = labelled([*sentences(60), *sentences(8)])  # eight of them twice
    write_jsonl(tmp_path / "rows.jsonl", rows)
    fsspec.filesystem("gs").put(str(tmp_path / "rows.jsonl"), f"{BUCKET}/prepare/rows.jsonl")
    there = f"gs://{BUCKET}/prepare"
    flags = ["--num_shards=3", "--unit_bytes=2000"]
    whole("prepare", cloud, f"--input={there}/rows.jsonl", f"--output={there}/out", *flags)
    on_this_machine("prepare", tmp_path, f"--input={tmp_path}/rows.jsonl", f"--output={tmp_path}/out", *flags)
    made = remote(f"{there}/out", "data")
    assert {name.removeprefix("data/"): digest for name, digest in made.items()} == digests(tmp_path / "out")
    assert len(made) >= 3


def test_evaluate(cloud, checkpoint, tmp_path):
    """Counted there, and put together here: the same figures as of a run on this machine."""
    rows = [{"text": text, "label": ("negative", "positive")[i % 2]} for i, text in enumerate(texts(60))]
    write_jsonl(tmp_path / "gold.jsonl", rows)
    files = fsspec.filesystem("gs")
    files.put(str(tmp_path / "gold.jsonl"), f"{BUCKET}/gold/gold.jsonl")
    files.put(str(checkpoint), f"{BUCKET}/gold/model", recursive=True)
    there = f"gs://{BUCKET}/gold"
    flags = ["--threads=1", "--label_column=label"]
    argv = [f"--input={there}/gold.jsonl", f"--model={there}/model", f"--output={there}/out", *flags]
    end = cloud.run("evaluate", *argv, *cloud.flags())
    assert end.code == 0 and "Traceback" not in end.said, end.said
    here = [f"--input={tmp_path}/gold.jsonl", f"--model={checkpoint}", f"--output={tmp_path}/out", *flags]
    on_this_machine("evaluate", tmp_path, *here)
    made = json.loads(files.cat(f"{BUCKET}/gold/out/evaluation.json"))
    wanted = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert made["metrics"] == wanted["metrics"] and made["rows"] == wanted["rows"]
    assert files.find(f"{BUCKET}/gold/out/_attempts") == []
