"""gs:// as input, as model and as output, against a storage server on loopback."""

import gc
import gzip
import hashlib
import json
import time

import fsspec
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipelines import classify, finetune, prepare
from seqcls_beam import storage
from seqcls_beam.runs.table import open_labels, read_manifest
from seqcls_beam.storage.arrow import arrow_files
from tests import gcs, tiny
from tests.corpora import part_digests, texts, write_jsonl
from tests.prepared import labelled, sentences
from tests.test_storage import let_one_of_many_create, remove_only_what_was_seen

pytestmark = pytest.mark.engine

PAGE = "_report/report.html"
"""What a person is told of a run."""


@pytest.fixture(scope="module")
def bucket():
    with gcs.bucket("corpus") as uri:
        yield uri


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


def test_the_files_of_a_dataset_end_without_a_word(bucket, caplog):
    for i in range(3):
        with storage.creating(f"{bucket}/table/{i}.parquet") as file:
            pq.write_table(pa.table({"id": range(i * 10_000, (i + 1) * 10_000)}), file, row_group_size=1_000)
    fs, path = storage.connect(f"{bucket}/table/0.parquet")
    files = [path.replace("0.", f"{i}.") for i in range(3)]
    rows = ds.dataset(files, filesystem=arrow_files(fs), format="parquet")
    assert rows.count_rows() == 30_000 and rows.to_table()["id"].to_pylist() == list(range(30_000))
    assert next(iter(rows.to_batches(batch_size=100))).num_rows == 100  # and the others are left
    for _ in range(3):
        gc.collect()  # takes a file that has been read, and whatever still waits for its bytes
        time.sleep(0.1)
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


def test_one_of_many_creates(bucket):
    let_one_of_many_create(f"{bucket}/race/intent")


def test_only_the_generation_that_was_seen_is_removed(bucket):
    remove_only_what_was_seen(f"{bucket}/generations/of a file")


def test_a_file_whose_writing_fails_does_not_appear(bucket):
    with pytest.raises(RuntimeError, match="half"), storage.creating(f"{bucket}/half/part.parquet") as file:
        file.write(b"x" * 6_000_000)  # more than one block is on its way by now
        raise RuntimeError("half")
    assert storage.size(f"{bucket}/half/part.parquet") is None


def test_from_gs_to_gs_the_bytes_are_those_of_a_local_run(bucket, model, tmp_path, capsys):
    lines = [json.dumps({"id": i, "text": text}) for i, text in enumerate(texts(120))]
    lines[17] = "{"
    fs = fsspec.filesystem("gs")
    (tmp_path / "in").mkdir()
    for name, data in (
        ("a.jsonl", "\n".join(lines[:80]).encode()),
        ("b.jsonl.gz", gzip.compress("\n".join(lines[80:]).encode(), mtime=0)),
    ):
        fs.pipe_file(f"corpus/in/{name}", data)
        (tmp_path / "in" / name).write_bytes(data)
    fs.put(str(model), "corpus/model", recursive=True)
    flags = ["--threads=1", "--id_column=id", "--unit_bytes=3000"]
    remote = [*flags, f"--model={bucket}/model", f"--input={bucket}/in/*", f"--output={bucket}/out"]
    assert classify.main(remote) == 0
    local = [*flags, f"--model={model}", f"--input={tmp_path}/in/*", f"--output={tmp_path}/out"]
    assert classify.main(local) == 0

    there = read_manifest(f"{bucket}/out")
    here = read_manifest(str(tmp_path / "out"))
    assert there is not None and here is not None
    assert there["model"]["digest"] == here["model"]["digest"]
    assert [part["sha256"] for part in there["parts"]] == [part["sha256"] for part in here["parts"]]
    assert [each["path"] for each in there["inputs"]] == [f"{bucket}/in/a.jsonl", f"{bucket}/in/b.jsonl.gz"]
    assert open_labels(f"{bucket}/out").to_table()["id"].to_pylist() == [i for i in range(120) if i != 17]
    names = {name.removeprefix("corpus/out/") for name in fs.find("corpus/out", refresh=True)} - {PAGE}
    assert names == {"_versions/00000001.json", *(p["path"] for p in [*there["parts"], *there["rejects"]])}
    with fs.open(f"corpus/out/{there['rejects'][0]['path']}") as file:
        rejected = pq.read_table(file).to_pylist()
    assert (rejected[0]["raw"], rejected[0]["source"]) == (b"{", f"{bucket}/in/a.jsonl")
    assert len(part_digests(tmp_path / "out")) == len(there["parts"]) + 1

    assert classify.main(remote) == 0
    assert "already published" in capsys.readouterr().err
    assert classify.main([*remote, "--max_length=16"]) == 1
    assert classify.main([*remote, "--max_length=16", "--overwrite"]) == 0
    left = {name.removeprefix("corpus/out/") for name in fs.find("corpus/out", refresh=True)} - {PAGE}
    now = read_manifest(f"{bucket}/out")
    assert now is not None
    versions = {"_versions/00000001.json", "_versions/00000002.json"}
    assert left == versions | {p["path"] for p in [*now["parts"], *now["rejects"]]}
    assert now["run_id"] != there["run_id"]


def test_a_preparation_in_a_bucket_is_that_of_a_disk(bucket, model, tmp_path, capsys):
    source = write_jsonl(tmp_path / "in.jsonl", labelled(sentences(120, 30) + sentences(20, 30)))
    fs = fsspec.filesystem("gs")
    fs.put(str(source), "corpus/labelled/in.jsonl")
    fs.put(str(model), "corpus/tokenizer", recursive=True)
    flags = ["--num_shards=2", "--unit_bytes=20000", "--partition_bytes=131072"]
    remote = [f"--input={bucket}/labelled/*", f"--model={bucket}/tokenizer", f"--output={bucket}/prepared"]
    assert prepare.main([*flags, *remote]) == 0
    assert prepare.main([*flags, f"--input={source}", f"--model={model}", f"--output={tmp_path}/out"]) == 0
    there, here = read_manifest(f"{bucket}/prepared"), read_manifest(str(tmp_path / "out"))
    assert there is not None and here is not None
    assert there["parts"] == here["parts"] and there["rows"] == here["rows"]
    assert there["tokenizer"]["digest"] == here["tokenizer"]["digest"]
    for part in there["parts"]:
        assert fs.cat_file(f"corpus/prepared/{part['path']}") == (tmp_path / "out" / part["path"]).read_bytes()
    assert fs.exists("corpus/prepared/README.md") and not fs.find("corpus/prepared/_attempts")
    assert prepare.main([*flags, *remote]) == 0
    assert "already published" in capsys.readouterr().err
    assert prepare.main([*flags, *remote, "--seed=1", "--near_duplicates=off", "--overwrite"]) == 0
    replaced = read_manifest(f"{bucket}/prepared")
    assert replaced is not None and replaced["run_id"] != there["run_id"]
    left = {name.removeprefix("corpus/prepared/") for name in fs.find("corpus/prepared", refresh=True)} - {PAGE}
    versions = {"_versions/00000001.json", "_versions/00000002.json"}
    assert left == versions | {p["path"] for p in [*replaced["parts"], *replaced["rejects"], replaced["card"]]}
    for part in replaced["parts"]:
        data = fs.cat_file(f"corpus/prepared/{part['path']}")
        assert hashlib.sha256(data).hexdigest() == part["sha256"], "the names are used again"


def test_a_model_trained_from_a_bucket_into_a_bucket_is_that_of_a_disk(bucket, model, tmp_path, monkeypatch):
    monkeypatch.setenv("SEQCLS_BEAM_CACHE", str(tmp_path / "cache"))
    fs = fsspec.filesystem("gs")
    fs.put(str(model), "corpus/base", recursive=True)
    source = write_jsonl(tmp_path / "in.jsonl", labelled(sentences(80, 12)))
    data = [f"--input={source}", "--num_shards=2", "--split=stratified"]
    assert prepare.main([*data, f"--model={bucket}/base", f"--output={bucket}/data"]) == 0
    assert prepare.main([*data, f"--model={model}", f"--output={tmp_path}/data"]) == 0
    how = ["--epochs=1", "--threads=1"]
    remote = [*how, f"--data={bucket}/data", f"--model={bucket}/base", f"--output={bucket}/tuned"]
    assert finetune.main(remote) == 0
    assert finetune.main([*how, f"--data={tmp_path}/data", f"--model={model}", f"--output={tmp_path}/tuned"]) == 0
    assert fs.cat_file("corpus/tuned/model.safetensors") == (tmp_path / "tuned" / "model.safetensors").read_bytes()
    made = read_manifest(f"{bucket}/tuned")
    assert made is not None
    names = {name.removeprefix("corpus/tuned/") for name in fs.find("corpus/tuned", refresh=True)} - {PAGE}
    assert names == {"_versions/00000001.json", *(part["path"] for part in made["parts"])}
    assert not [each for each in (tmp_path / "cache").glob("finetune-*") if each.is_dir()]
    assert finetune.main(remote) == 0  # published already
    assert classify.main([f"--model={bucket}/tuned", "--text", "a text"]) == 0
