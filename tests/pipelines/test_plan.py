"""`pipelines.classify --plan`: what it says, by other routes, and that it writes nothing."""

import json
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipelines.planning import measure
from seqcls_beam import storage
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.table import read_manifest
from tests import s3, tiny
from tests.corpora import texts, write_jsonl
from tests.plans import label, listing, plain_tokens, plan, speed

DATAFLOW = "--runner=DataflowRunner"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def briefly(monkeypatch):
    monkeypatch.setattr(measure, "SECONDS", 0.05)


@pytest.fixture(scope="module")
def bucket():
    """Which workers elsewhere would see, too."""
    with s3.bucket("planned") as uri:
        yield uri


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """3,000 rows, long ones and short ones by turns of 100."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = [text for block in range(30) for text in texts(100, seed=block, longest=10 + 30 * (block % 3))]
    write_jsonl(folder / "corpus.jsonl", [{"id": i, "text": text} for i, text in enumerate(rows)])
    return folder


def read_texts(source: Path) -> list[str]:
    return [json.loads(line)["text"] for line in source.read_text().splitlines()]


@pytest.mark.engine
def test_all_of_a_small_input_is_counted(tmp_path, model, corpus):
    rows = read_texts(corpus / "corpus.jsonl")[:500]
    write_jsonl(tmp_path / "small.jsonl", [{"text": row} for row in rows])
    found = plan(tmp_path, model, tmp_path / "small.jsonl", tmp_path / "out")
    assert found["rows"] == {"value": 500, "spread": 0.0}
    assert found["tokens"] == {"value": sum(plain_tokens(model, rows)), "spread": 0.0}
    assert found["sample"]["whole"]
    assert found["speed"]["tokens_per_second"] > 0
    (alone,) = found["hours"]
    seconds = found["tokens"]["value"] / found["speed"]["tokens_per_second"]
    assert alone["hours"] == pytest.approx(seconds / 3600) == alone["worker_hours"]
    assert not (tmp_path / "out").exists()


@pytest.mark.engine
def test_a_sample_says_how_far_it_may_be_off(tmp_path, model, corpus):
    """The seeds are fixed: what holds here once holds always."""
    rows = read_texts(corpus / "corpus.jsonl")
    found = plan(tmp_path, model, corpus / "corpus.jsonl", tmp_path / "out", "--unit_bytes=10000", "--plan_rows=480")
    size = (corpus / "corpus.jsonl").stat().st_size
    assert found["runs"][0]["units"] == -(-size // 10_000) > 16
    assert found["sample"]["units"] == 16
    assert found["sample"]["rows"] <= 480
    for name, truth in (("rows", 3000), ("tokens", sum(plain_tokens(model, rows)))):
        value, spread = found[name]["value"], found[name]["spread"]
        assert 0 < spread < 0.3 * truth
        assert abs(value - truth) <= spread, name


@pytest.mark.engine
def test_rejected_rows_are_rows_without_tokens(tmp_path, model):
    rows: list[dict[str, Any]] = [{"text": "good"}, {"text": ""}, {"text": "good film"}, {"text": None}]
    write_jsonl(tmp_path / "mixed.jsonl", rows)
    found = plan(tmp_path, model, tmp_path / "mixed.jsonl", tmp_path / "out")
    assert (found["rows"]["value"], found["sample"]["rejected"]) == (4, 2)
    assert found["tokens"]["value"] == sum(plain_tokens(model, ["good", "good film"]))


@pytest.mark.engine
def test_nothing_is_written(tmp_path, model, corpus, monkeypatch, capsys):
    """Beside a night that is published, one that was interrupted in publishing, and one that a dead process claimed."""
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    rows = [{"text": text} for text in texts(60)]
    write_jsonl(inbox / "a.jsonl", rows[:30])
    assert label(model, inbox, out, "--run_date=2026-11-20", "--only_new") == 0
    version = json.loads(next((out / "_versions" / "run_date=2026-11-20").iterdir()).read_text())
    (out / version["commit"]["stage"] / "old").mkdir(parents=True)  # as who dies in the middle leaves it
    write_jsonl(inbox / "b.jsonl", rows[30:])
    with monkeypatch.context() as patch:
        patch.setattr("seqcls_beam.transforms.classify.publish", _die)
        assert label(model, inbox, out, "--run_date=2026-11-21", "--only_new") == 1
    write_jsonl(inbox / "c.jsonl", rows[:10])
    age(out, 3600)
    before = listing(out, inbox)
    flags = ["--only_new", "--plan"]
    for date, said in (("2026-11-20", "nothing new"), ("2026-11-21", "every unit is done"), ("2026-11-22", "2 files")):
        capsys.readouterr()
        assert label(model, inbox, out, f"--run_date={date}", *flags) == 0
        told = capsys.readouterr()
        assert said in told.out + told.err
        assert listing(out, inbox) == before
    assert label(model, inbox, out, "--plan") == 1  # the folder has partitions: so would a run be refused
    assert listing(out, inbox) == before


def age(folder: Path, seconds: float) -> None:
    """Let all that a folder has be older, so that nobody who worked there is taken for living."""
    for path in [folder, *folder.rglob("*")]:
        about = path.stat()
        os.utime(path, (about.st_atime - seconds, about.st_mtime - seconds))
    for path in (folder / "_claims").iterdir():
        said = json.loads(path.read_bytes() or b"{}")
        for each in said.get("claims", []):
            each["since"] -= seconds
        path.write_bytes(orjson.dumps(said))


def _die(*_: Any) -> int:
    raise RunError("the disk is gone")


@pytest.mark.engine
def test_a_killed_run_goes_on_where_it_stopped(tmp_path, model, corpus, monkeypatch, capsys):
    out, flags = tmp_path / "out", ["--unit_bytes=40000"]
    with monkeypatch.context() as patch:
        patch.setattr("seqcls_beam.transforms.classify.publish", _die)
        assert label(model, corpus / "corpus.jsonl", out, *flags) == 1
    records = sorted(next((out / "_attempts").iterdir()).glob("records/*.json"))
    for record in records[1:3]:
        record.unlink()
    before = listing(out)
    capsys.readouterr()
    found = plan(tmp_path, model, corpus / "corpus.jsonl", out, *flags)
    assert (found["runs"][0]["units"], found["runs"][0]["units_left"]) == (len(records), 2)
    assert f"{len(records) - 2} of them done before: it goes on with 2" in capsys.readouterr().out.replace("\n", " ")
    assert found["rows"]["value"] == pytest.approx(3000 * 80_000 / (corpus / "corpus.jsonl").stat().st_size, rel=0.2)
    assert listing(out) == before
    assert label(model, corpus / "corpus.jsonl", out, *flags) == 0
    capsys.readouterr()
    assert label(model, corpus / "corpus.jsonl", out, *flags, "--plan") == 0
    assert "already published" in capsys.readouterr().err


@pytest.mark.engine
def test_nights_that_are_caught_up_share_the_new_files(tmp_path, model):
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    write_jsonl(inbox / "a.jsonl", [{"text": text} for text in texts(30)])
    assert label(model, inbox, out, "--run_date=2026-11-20", "--only_new") == 0
    for name in "bc":
        write_jsonl(inbox / f"{name}.jsonl", [{"text": text} for text in texts(20)])
    found = plan(tmp_path, model, inbox, out, "--run_date=2026-11-22", "--only_new", "--catch_up=1")
    assert [(each["partition"], each["files"]) for each in found["runs"]] == [("run_date=2026-11-21", 2)]


@pytest.mark.engine
def test_what_another_model_labelled_is_what_relabel_takes(tmp_path, model, corpus):
    out, other = tmp_path / "out", tiny.checkpoint(tmp_path / "other", initializer_range=0.2)
    write_jsonl(tmp_path / "small.jsonl", [{"text": text} for text in texts(30)])
    assert label(model, tmp_path / "small.jsonl", out) == 0
    before = listing(out)
    found = plan(tmp_path, other, tmp_path / "small.jsonl", out, "--relabel")
    assert found["rows"]["value"] == 30
    assert label(model, tmp_path / "small.jsonl", out, "--relabel", "--plan") == 0
    assert listing(out) == before
    assert (read_manifest(str(out)) or {})["rows"]["labeled"] == 30


@pytest.mark.engine
def test_the_speed_and_the_price_of_another_machine(tmp_path, model, bucket, capsys):
    """1,000 tokens/s at 2 an hour, by hand."""
    rows = [f"{word} film" for word in ["good", "bad", "dull", "odd"] * 25]
    write_jsonl(tmp_path / "even.jsonl", [{"text": row} for row in rows])
    tokens = sum(plain_tokens(model, rows))
    storage.put(f"{bucket}/even/even.jsonl", (tmp_path / "even.jsonl").read_bytes())
    (tmp_path / "l4.json").write_text(json.dumps(speed()))
    table = {
        "date": "2026-01-31",
        "source": "a letter",
        "currency": "EUR",
        "batch": {"vcpu_hour": 0.25, "memory_gb_hour": 0.01, "disk_gb_hour": 0.0001},
        "gpus": {"nvidia-l4": 0.83},
        "machines": {"g2-standard-4": {"vcpus": 4, "memory_gb": 16}},
    }
    (tmp_path / "prices.json").write_text(json.dumps(table))
    quarter = -(-(tmp_path / "even.jsonl").stat().st_size // 4)
    flags = [
        f"--plan_speed={tmp_path}/l4.json",
        f"--prices={tmp_path}/prices.json",
        f"--unit_bytes={quarter}",
        DATAFLOW,
    ]
    found = plan(tmp_path, model, f"{bucket}/even", f"{bucket}/out", "--gpu=nvidia-l4", *flags)
    assert found["price"]["hour"] == pytest.approx(4 * 0.25 + 16 * 0.01 + 100 * 0.0001 + 0.83)
    one, four = found["hours"]
    assert (one["workers"], four["workers"]) == (1, 4)
    assert one["hours"] == pytest.approx(tokens / 1000 / 3600)
    assert four["hours"] == pytest.approx(one["hours"] / 4, rel=0.05)
    assert one["price"] == pytest.approx(2 * one["hours"])
    assert four["price"] == pytest.approx(2 * 4 * four["hours"])
    shown = capsys.readouterr().out
    assert "EUR" in shown and "prices of 2026-01-31" in shown
    found = plan(tmp_path, model, f"{bucket}/even", f"{bucket}/out", "--gpu=nvidia-tesla-t4", *flags)
    assert found["hours"] == []
    assert "the file is of NVIDIA L4, and the worker has nvidia-tesla-t4" in found["not_measured"]
    assert "fill in machines.n1-standard-4" in found["price"]["unknown"]
    found = plan(tmp_path, model, f"{bucket}/even", f"{bucket}/out", "--gpu=nvidia-l4", "--max_num_workers=1", *flags)
    assert [each["workers"] for each in found["hours"]] == [1]
    asked = "--dataflow_service_options=worker_accelerator=install-nvidia-driver;count:2;type:nvidia-l4"
    for option in (asked, asked.replace("dataflow_service_options=worker_", "resource_hint=")):
        found = plan(
            tmp_path,
            model,
            f"{bucket}/even",
            f"{bucket}/out",
            option,
            "--machine_type=g2-standard-4",
            "--disk_size_gb=100",
            *flags,
        )
        assert (found["worker"]["gpu"], found["worker"]["gpus"]) == ("nvidia-l4", 2)
        assert found["price"]["hour"] == pytest.approx(4 * 0.25 + 16 * 0.01 + 100 * 0.0001 + 2 * 0.83)


@pytest.mark.engine
def test_this_machine_stands_for_no_other(tmp_path, model, corpus, bucket, capsys):
    storage.put(f"{bucket}/corpus/corpus.jsonl", (corpus / "corpus.jsonl").read_bytes())
    flags = [DATAFLOW, "--machine_type=n1-standard-4"]
    found = plan(tmp_path, model, f"{bucket}/corpus", f"{bucket}/out", *flags)
    assert found["speed"] is None and found["hours"] == []
    assert found["here"]["device"] == "cpu"
    assert found["price"]["hour"] == pytest.approx(4 * 0.056 + 15 * 0.003557 + 25 * 0.000054)
    shown = " ".join(capsys.readouterr().out.split())
    assert "this machine, which is not the worker" in shown and "hours and price: not measured" in shown
    (tmp_path / "here.json").write_text((tmp_path / "plan.json").read_text())
    found = plan(tmp_path, model, f"{bucket}/corpus", f"{bucket}/out", *flags, f"--plan_speed={tmp_path}/here.json")
    assert found["hours"][0]["price"] > 0


@pytest.mark.engine
def test_json_on_the_standard_output_is_alone_there(model, corpus, tmp_path, capsys):
    assert label(model, corpus / "corpus.jsonl", tmp_path / "out", "--plan", "--plan_json=-") == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["kind"] == "plan"
    assert "nothing was written" in told.err


@pytest.mark.engine
@pytest.mark.shared
def test_real_texts_are_within_the_stated_spread(tmp_path, model, shared):
    source = shared / "sst2" / "train_full.tsv"
    rows = [line.split("\t")[0] for line in source.read_text().splitlines()[1:]]
    lines = write_jsonl(tmp_path / "sst2.jsonl", [{"text": row} for row in rows])  # which is cut, as a tsv file is not
    found = plan(tmp_path, model, lines, tmp_path / "out", "--unit_bytes=50000", "--plan_rows=1600")
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(model)(rows, truncation=True)["input_ids"]
    for name, truth in (("rows", len(rows)), ("tokens", sum(map(len, ids)))):
        assert abs(found[name]["value"] - truth) <= found[name]["spread"] < 0.2 * truth, name
