"""s3:// as input, as model and as output, against a storage server on loopback."""

import datetime
import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from pipelines import classify, clean, evaluate, finetune, prepare
from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.files import list_files
from seqcls_beam.reading.formats.pieces import InputChanged
from seqcls_beam.reading.records import plan_layout, read_unit
from seqcls_beam.reading.units import plan_units
from seqcls_beam.runs.table import open_labels, read_manifest
from tests import s3, tiny
from tests.corpora import texts, write_jsonl
from tests.prepared import labelled, sentences
from tests.test_storage import let_one_of_many_create, remove_only_what_was_seen

pytestmark = pytest.mark.engine

PAGE = "_report/report.html"
"""What a person is told of a run."""


@pytest.fixture(scope="module")
def bucket():
    with s3.bucket("corpus") as uri:
        yield uri


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


def test_one_of_many_creates(bucket):
    let_one_of_many_create(f"{bucket}/race/intent")


def test_only_the_version_that_was_seen_is_removed(bucket):
    remove_only_what_was_seen(f"{bucket}/versions/of a file")


def test_a_file_of_the_same_bytes_is_another_one_in_a_versioned_bucket(bucket):
    fs = fsspec.filesystem("s3")
    fs.mkdir("versioned")
    fs.make_bucket_versioned("versioned")
    storage.put("s3://versioned/a", b"same")
    first = storage.version_of("s3://versioned/a")
    storage.put("s3://versioned/a", b"same")
    second = storage.version_of("s3://versioned/a")
    assert first and second and first != second
    storage.remove_version("s3://versioned/a", first)
    assert storage.read("s3://versioned/a") == b"same"
    storage.remove_version("s3://versioned/a", second)
    assert not storage.exists("s3://versioned/a")
    assert storage.put_if_absent("s3://versioned/a", b"new") and storage.read("s3://versioned/a") == b"new"


def test_what_another_process_writes_is_seen_at_once(bucket):
    """No listing, and nothing that is known of a file, is kept."""
    folder = f"{bucket}/seen"
    storage.put(f"{folder}/a", b"1")
    assert storage.names(folder) == ["a"] and storage.size(f"{folder}/a") == 1
    put = (
        "import sys; from seqcls_beam import storage; storage.put(sys.argv[1], b'22'); storage.remove_file(sys.argv[2])"
    )
    for new, old in (("b", "a"), ("a", "b")):
        command = [sys.executable, "-c", put, f"{folder}/{new}", f"{folder}/{old}"]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[1])
        assert storage.names(folder) == [new] and storage.files(folder) == [f"{folder}/{new}"]
        assert storage.exists(f"{folder}/{new}") and not storage.exists(f"{folder}/{old}")
        assert storage.read(f"{folder}/{new}") == b"22" and storage.size(f"{folder}/{new}") == 2


def test_a_store_that_takes_no_notice_of_conditions_is_no_output(bucket, monkeypatch):
    storage.ensure_writable(f"{bucket}/probed")
    assert storage.names(f"{bucket}/probed") == []
    fs = storage.connect(bucket)[0]
    real = fs.asked.call_s3
    monkeypatch.setattr(fs.asked, "call_s3", lambda method, IfNoneMatch="", **more: real(method, **more))
    with pytest.raises(OSError, match=r"would let both win: it writes over a file"):
        storage.ensure_writable(f"{bucket}/probed")
    assert storage.names(f"{bucket}/probed") == []


def test_a_file_that_is_replaced_while_it_is_read_is_told_of(bucket):
    uri = f"{bucket}/replaced"
    storage.put(uri, b"1" * 100)
    fs, path = storage.connect(uri)
    with fs.open(path, "rb", cache_type="none") as file:
        assert file.read(10) == b"1" * 10
        storage.put(uri, b"2" * 100)
        with pytest.raises(storage.Replaced, match=re.escape(uri)):
            file.read(10)


def test_a_file_whose_writing_fails_does_not_appear(bucket):
    with pytest.raises(RuntimeError, match="half"), storage.creating(f"{bucket}/half/part.parquet") as file:
        file.write(b"x" * 60_000_000)  # more than one block is on its way by now
        raise RuntimeError("half")
    assert storage.size(f"{bucket}/half/part.parquet") is None
    with storage.creating(f"{bucket}/half/whole") as file:
        file.write(b"x" * 60_000_000)
    assert storage.size(f"{bucket}/half/whole") == 60_000_000
    storage.remove(f"{bucket}/half")


def test_from_s3_to_s3_the_bytes_are_those_of_a_local_run(bucket, model, tmp_path, capsys):
    lines = [json.dumps({"id": i, "text": text}) for i, text in enumerate(texts(120))]
    lines[17] = "{"
    fs = fsspec.filesystem("s3")
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

    there, here = read_manifest(f"{bucket}/out"), read_manifest(str(tmp_path / "out"))
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

    assert classify.main(remote) == 0
    assert "already published" in capsys.readouterr().err
    assert classify.main([*remote, "--max_length=16"]) == 1
    assert classify.main([*remote, "--max_length=16", "--overwrite"]) == 0
    left = {name.removeprefix("corpus/out/") for name in fs.find("corpus/out", refresh=True)} - {PAGE}
    now = read_manifest(f"{bucket}/out")
    assert now is not None and now["run_id"] != there["run_id"]
    versions = {"_versions/00000001.json", "_versions/00000002.json"}
    assert left == versions | {p["path"] for p in [*now["parts"], *now["rejects"]]}
    capsys.readouterr()
    assert clean.main([f"{bucket}/out"]) == 0


def test_nights_take_what_is_new(bucket, model):
    fs = fsspec.filesystem("s3")
    out = f"{bucket}/nights"
    night = [f"--model={model}", "--threads=1", f"--input={bucket}/days/*.txt", f"--output={out}", "--only_new"]
    rows = 0
    for day, names in (("01", ("a", "b")), ("02", ("c",)), ("03", ())):
        for name in names:
            fs.pipe_file(f"corpus/days/{name}.txt", f"a text of {name}\nand another\n".encode())
        assert classify.main([*night, f"--run_date=2026-11-{day}"]) == 0
        rows += 2 * len(names)
        assert open_labels(out).count_rows() == rows
    # The bytes of a file that is written once more are a file's that is known.
    fs.pipe_file("corpus/days/a.txt", b"a text of a\nand another\n")
    assert classify.main([*night, "--run_date=2026-11-04"]) == 0
    assert open_labels(out).count_rows() == rows
    fs.pipe_file("corpus/days/a.txt", b"now it is another\n")
    assert classify.main([*night, "--run_date=2026-11-05"]) == 0
    assert open_labels(out).count_rows() == rows + 1


def test_a_killed_run_goes_on_with_what_it_has(bucket, model, capsys):
    for i in range(4):
        storage.put(f"{bucket}/resumed/in/{i}.txt", b"one text\n" * 50)
    out = f"{bucket}/resumed/out"
    files = [f"--model={model}", f"--input={bucket}/resumed/in/*", f"--output={out}"]
    command = [*files, "--threads=1", "--unit_bytes=400"]
    killed = (
        "import os, sys\nfrom seqcls_beam.runs import commit\nfrom pipelines import classify\n"
        "commit.publish = lambda *a, **k: os.kill(os.getpid(), 9)\nclassify.main(sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", killed, *command], cwd=Path(__file__).parents[1], capture_output=True)
    assert done.returncode == -9 and read_manifest(out) is None
    (attempt,) = storage.names(f"{out}/_attempts")
    made = [json.loads(storage.read(uri)) for uri in storage.files(f"{out}/_attempts/{attempt}/records")]
    assert len(made) == 8  # a file of 450 bytes is two units
    last = storage.files(f"{out}/_attempts/{attempt}/records")[-1]
    storage.remove_file(last)  # as if it had been killed before
    assert classify.main(command) == 0
    assert "8 units, 7 of them done before" in capsys.readouterr().err
    there = read_manifest(out)
    assert there is not None and open_labels(out).count_rows() == 200
    assert {part["sha256"] for part in there["parts"]} >= {record["labels"]["sha256"] for record in made[:-1]}


def test_a_file_that_is_replaced_while_a_run_reads_it_has_changed(bucket):
    """S3 gives nothing of the later one to who has opened the earlier one."""
    uri = f"{bucket}/changing.jsonl"
    storage.put(uri, b'{"text": "one"}\n' * 300_000)
    options = ReadOptions(input=(uri,))
    files = list_files(options)
    (unit,) = plan_units(files, 2**26)
    batches = read_unit(unit, plan_layout(files, options))
    assert next(batches)["text"][0].as_py() == "one"
    storage.put(uri, b'{"text": "two"}\n' * 300_000)
    with pytest.raises(InputChanged, match=rf"{uri} had 4800000 bytes .* and has others, from the middle of it on now"):
        assert {text for batch in batches for text in batch["text"].to_pylist()} == {"one"}


def test_what_is_left_of_a_dead_run_is_cleaned_away(bucket, capsys):
    out = f"{bucket}/out"
    old = datetime.datetime(2020, 1, 1).isoformat()
    storage.put(f"{out}/_attempts/0123456789abcdef-v9/labels/00000-x.parquet", old.encode())
    assert clean.main([out]) == 0
    said = capsys.readouterr()
    assert "0123456789abcdef-v9" in said.out + said.err


def test_a_preparation_a_model_and_an_evaluation_in_a_bucket_are_those_of_a_disk(bucket, model, tmp_path, monkeypatch):
    monkeypatch.setenv("SEQCLS_BEAM_CACHE", str(tmp_path / "cache"))
    source = write_jsonl(tmp_path / "in.jsonl", labelled(sentences(80, 12)))
    fs = fsspec.filesystem("s3")
    fs.put(str(source), "corpus/labelled/in.jsonl")
    fs.put(str(model), "corpus/base", recursive=True)
    how, shards = ["--epochs=1", "--threads=1"], ["--num_shards=2", "--split=stratified"]
    gold = ["--threads=1", "--label_column=label"]
    for name, given, root, base in (
        ("there", f"{bucket}/labelled/*", bucket, f"{bucket}/base"),
        ("here", str(source), str(tmp_path), str(model)),
    ):
        assert prepare.main([f"--input={given}", *shards, f"--model={base}", f"--output={root}/data"]) == 0, name
        assert finetune.main([*how, f"--data={root}/data", f"--model={base}", f"--output={root}/tuned"]) == 0, name
        asked = [*gold, f"--input={given}", f"--model={root}/tuned", f"--output={root}/gold"]
        assert evaluate.main(asked) == 0, name
    for name in ("data", "tuned"):
        there, here = read_manifest(f"{bucket}/{name}"), read_manifest(f"{tmp_path}/{name}")
        assert there is not None and here is not None
        kept = [part for part in there["parts"] if part["path"].endswith((".parquet", ".safetensors"))]
        assert kept
        for part in kept:
            assert fs.cat_file(f"corpus/{name}/{part['path']}") == (tmp_path / name / part["path"]).read_bytes()
    there, here = (json.loads(storage.read(f"{root}/gold/evaluation.json")) for root in (bucket, str(tmp_path)))
    assert there["metrics"] == here["metrics"]
    assert finetune.main([*how, f"--data={bucket}/data", f"--model={bucket}/base", f"--output={bucket}/tuned"]) == 0
