"""The checkpoint that comes with the package."""

import hashlib
from importlib.resources import files
from pathlib import Path

import pytest

from pipelines import classify
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.runs.table import read_manifest
from tests.corpora import labels

FOLDER = Path(str(files("seqcls_beam") / "sentiment"))


def test_it_is_small_and_says_what_it_is():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) < 20_000_000
    assert resolve("sentiment").labels == ("negative", "positive")
    card = (FOLDER / "README.md").read_text()
    for part in ("accuracy", "Training", "Limits", "SST-2"):
        assert part in card


def test_its_manifest_names_its_files_data_and_scores():
    manifest = read_manifest(str(FOLDER))
    assert manifest is not None
    assert [str(path.relative_to(FOLDER)) for path in FOLDER.glob("*/*")] == ["_versions/00000001.json"]
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.iterdir() if path.is_file()}
    assert {part["path"]: part["sha256"] for part in manifest["parts"]} == there
    card = (FOLDER / "README.md").read_text()
    assert manifest["data"]["digest"][:16] in card and manifest["scores"]["validation"]["accuracy"] >= 0.88
    for scores in manifest["scores"].values():
        assert f"{scores['accuracy']:.4f}" in card


@pytest.mark.engine
def test_no_arguments_label_the_sample_and_a_second_time_find_it_done(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert classify.main([]) == 0
    shown = capsys.readouterr().out
    for part in ("197 in, 191 labelled, 6 rejected", "invalid_json 1", "demo-output/labels (1 part)", "\nr000  "):
        assert part in shown
    assert classify.main(["--runner=DirectRunner"]) == 0
    assert "already published" in capsys.readouterr().err


@pytest.mark.engine
@pytest.mark.shared
def test_its_accuracy_on_sst2_is_what_the_card_says(tmp_path, shared):
    for name, rows, least in (("dev.tsv", 872, 0.88), ("test-labeled.tsv", 1821, 0.89)):
        out = tmp_path / name
        flags = [f"--input={shared}/sst2/{name}", "--text_column=sentence", "--keep_columns=label:int64"]
        assert classify.main([*flags, f"--output={out}"]) == 0
        table = labels(out)
        gold = [("negative", "positive")[label] for label in table["input_label"].to_pylist()]
        right = sum(a == b for a, b in zip(gold, table["label"].to_pylist(), strict=True))
        assert len(gold) == rows
        assert right / rows >= least
