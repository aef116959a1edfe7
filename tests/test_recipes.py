"""What docs/recipes.md shows is what there is, and so are the figures of other pages."""

import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import quality
from benchmarks.engine import table
from pipelines import classify, evaluate, finetune, prepare
from pipelines.classify import GROUPS
from pipelines.options import parse, parser
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.classify import RunOptions
from tests import tiny
from tests.corpora import texts, write_jsonl
from tests.keys import undocumented
from tests.prepared import sentences

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "recipes.md").read_text()


def recipes(command, text):
    """The calls of a command in a page's shell blocks, each on one line."""
    return [
        each.replace("\\\n", " ")
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for each in re.findall(rf"^python -m pipelines\.{command} (?:.*\\\n)*.*$", block, re.MULTILINE)
    ]


MAKING = PAGE[PAGE.index("## Fine-tune and evaluate") : PAGE.index("## On Dataflow")]
STREAM = PAGE[PAGE.index("## Label a stream") : PAGE.index("## Prepare fine-tuning data")]
FILES = PAGE.replace(MAKING, "").replace(STREAM, "")
RECIPES, PREPARING = recipes("classify", FILES), recipes("prepare", FILES)


def test_the_figures_of_the_preparation_are_the_measured_ones():
    shown = (ROOT / "docs" / "prepare.md").read_text()
    measured = json.loads((ROOT / "benchmarks" / "results" / "prepare.json").read_text())
    for name in ("imdb", "million"):
        each = measured[name]
        assert f"{each['seqcls_beam']['seconds']:.1f} s, {each['seqcls_beam']['peak_mb']:,} MB" in shown
        assert f"`datasets` {each['datasets']['seconds']:.1f} s, {each['datasets']['peak_mb']:,} MB" in shown
        assert f"{each['ratio']:.2f} of the time" in shown
    assert f"{measured['signatures']['seqcls_beam']:.1f} µs" in shown
    assert f"{measured['near']['seqcls_beam']['documents_a_second']:,}" in shown


def test_the_figures_of_the_fine_tuning_are_the_measured_ones():
    shown = (ROOT / "docs" / "finetune.md").read_text()
    measured = json.loads((ROOT / "benchmarks" / "results" / "finetune.json").read_text())
    batch, training = measured["batch"], measured["training"]
    assert (
        f"| {batch['seqcls_beam']:.0f} µs |" in shown and f"DataCollatorWithPadding {batch['datasets']:.0f} µs" in shown
    )
    assert f"| {batch['ratio']:.1f} × ({batch['ratio_to_the_collator_alone']:.1f} × the collator alone) |" in shown
    assert f"| {training['seqcls_beam']:.1f} s |" in shown and f"{training['ratio']:.2f} × |" in shown
    assert f"leave {measured['padding']['seqcls_beam']:.1%} of the positions" in shown


def test_the_table_of_the_quality_is_the_measured_one():
    measured = json.loads((ROOT / "benchmarks" / "results" / "quality.json").read_text())
    assert quality.table(measured["recipes"]) in (ROOT / "docs" / "quality.md").read_text()


def test_the_table_of_the_engine_is_the_measured_one():
    shown = (ROOT / "docs" / "engine.md").read_text()
    for name in ("epyc", "xeon"):
        measured = json.loads((ROOT / "benchmarks" / "results" / f"engine-cpu-{name}.json").read_text())
        assert table(measured).strip() in shown


def test_there_are_recipes():
    assert len(RECIPES) >= 9 and len(PREPARING) >= 7


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_has_flags_that_exist_and_values_in_range(recipe):
    given, _ = parse(parser("p", "", "", GROUPS), shlex.split(recipe, comments=True)[3:], GROUPS)
    ModelOptions(**given["model"])
    if "text" not in given["look"]:
        ReadOptions(**given["read"])
        RunOptions(**given["run"])


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the files that the recipes speak of."""
    folder = tmp_path_factory.mktemp("recipes")
    some = texts(12)
    for name in ("reviews", "articles", "inbox"):
        (folder / name).mkdir()
    rows = [{"id": i, "review": text, "stars": 3} for i, text in enumerate(some)]
    write_jsonl(folder / "plain.jsonl", rows)
    (folder / "reviews" / "a.jsonl.gz").write_bytes(gzip.compress((folder / "plain.jsonl").read_bytes()))
    (folder / "articles" / "a.txt").write_text("\n".join(some) + "\n")
    write_jsonl(folder / "inbox" / "a.jsonl", [{"text": text} for text in some])
    # Plain praise and blame: int8 is judged by whether the labels stay, and among few rows none may be nearly tied.
    things = "film book soup room plot acting".split()  # noqa: SIM905
    plain = [f"the {each} was {how}" for each in things for how in ("wonderful, I loved it", "terrible, I hated it")]
    pq.write_table(pa.table({"text": plain}), folder / "corpus.parquet")
    (folder / "pairs.tsv").write_text('#1 String\t#2 String\n"a film\tthe book\n')
    (folder / "emotions.tsv").write_text("a good film\t3,4\tx1\n")
    (folder / "umsatz.csv").write_bytes("id;text\n1;ein schöner Film\n".encode("latin-1"))
    (folder / "archive" / "lang=en").mkdir(parents=True)
    write_jsonl(folder / "archive" / "lang=en" / "a.jsonl", [{"text": text} for text in some])
    (folder / "archive" / "notes.docx").write_bytes(b"no data")
    write_jsonl(folder / "corpus.jsonl", [{"text": text} for text in some])
    tiny.checkpoint(folder / "my-checkpoint")
    tiny.checkpoint(folder / "my-pairs")
    return folder


ELSEWHERE = ("gs://", "--flink_master")  # a bucket, a cluster: other tests run what takes one


@pytest.mark.engine
@pytest.mark.parametrize("recipe", [each for each in RECIPES if not any(word in each for word in ELSEWHERE)])
def test_a_recipe_runs_as_it_stands(recipe, workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    shutil.rmtree("labelled", ignore_errors=True)
    words = shlex.split(recipe, comments=True)
    if "|" in words:
        _, name, _, *words = words
        monkeypatch.setattr(sys, "stdin", open(name))  # noqa: SIM115 - read by the command
    # As many as there may be; two of them do what four do.
    words = ["--direct_num_workers=2" if each.startswith("--direct_num_workers=") else each for each in words]
    if "--relabel" in words:
        shutil.rmtree("nightly", ignore_errors=True)
        night = ["--input=inbox/*.jsonl", "--output=nightly", "--run_date=2026-11-19", "--only_new"]
        assert classify.main([*night, "--model=my-checkpoint"]) == 0
    assert classify.main(words[3:]) == 0
    shown = capsys.readouterr().out
    assert (
        re.search(r"I love this book +0\.0\d\d +(1\.0|0\.9)\d\d", shown)
        if "--text " in recipe
        else "0 rejected" in shown
    )
    for output in re.findall(r"--output=(\w+)", recipe):
        assert undocumented(output) == []


@pytest.fixture(scope="module")
def labelled_files(tmp_path_factory):
    """A folder with the labelled files that the recipes speak of."""
    folder = tmp_path_factory.mktemp("preparing")
    some = sentences(300)
    stars = [{"review": text, "stars": i % 5 + 1, "author": f"a{i % 70}"} for i, text in enumerate(some)]
    write_jsonl(folder / "stars.jsonl", stars)
    write_jsonl(folder / "benchmark.jsonl", [{"review": text} for text in some[:2]])
    for name, part in (("train", some[:200]), ("test", some[200:])):
        lines = [f"{text}\t{i % 2}" for i, text in enumerate(part)]
        (folder / f"{name}.tsv").write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    (folder / "emotions.tsv").write_text("".join(f"{text}\t{i % 3},7\tx{i}\n" for i, text in enumerate(some)))
    pairs = [f"{i % 2}\t{one}\t{other}" for i, (one, other) in enumerate(zip(some[:150], some[150:], strict=True))]
    (folder / "pairs.tsv").write_text("\n".join(["Quality\t#1 String\t#2 String", *pairs]) + "\n")
    tiny.checkpoint(folder / "my-pairs")
    return folder


@pytest.mark.engine
@pytest.mark.parametrize("recipe", PREPARING)
def test_a_recipe_for_preparing_runs_as_it_stands(recipe, labelled_files, monkeypatch, capsys):
    monkeypatch.chdir(labelled_files)
    shutil.rmtree("prepared", ignore_errors=True)
    assert prepare.main(shlex.split(recipe, comments=True)[3:]) == 0
    assert "0 rejected" in capsys.readouterr().out
    assert undocumented("prepared") == []


@pytest.mark.engine
def test_the_way_from_labelled_rows_to_labels_runs_as_it_stands(labelled_files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEQCLS_BEAM_CACHE", str(tmp_path / "cache"))
    shutil.copy(labelled_files / "stars.jsonl", "stars.jsonl")
    tiny.checkpoint(tmp_path / "base")
    (block,) = re.findall(r"```sh\n(.*?)```", MAKING, re.DOTALL)
    lines = [each for each in block.replace("\\\n", " ").splitlines() if each and not each.startswith("#")]
    assert len(lines) == 8
    mains = {"prepare": prepare.main, "finetune": finetune.main, "evaluate": evaluate.main, "classify": classify.main}
    for line in lines:
        words = shlex.split(line)
        if words[0] == "torchrun":
            command = [sys.executable, "-m", "torch.distributed.run", *words[1:]]
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=200)
            assert done.returncode == 0, done.stderr
            continue
        code = mains[words[2].removeprefix("pipelines.")](words[3:])
        said = capsys.readouterr().err
        # A model of random weights and random words is not good enough, and the gate says so.
        assert code == (3 if "--min_accuracy" in line else 0), said
        assert "--min_accuracy" not in line or "accuracy" in said
    for name in ("model/curves.png", "model-2/model.safetensors", "model-3/README.md", "evaluation/report.html"):
        assert Path(name).stat().st_size > 0
    for output in ("prepared", "model", "model-2", "model-3", "evaluation", "labelled"):
        assert undocumented(output) == []
