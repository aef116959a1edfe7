"""deploy/finetune.sh with the real commands: versions of a model in a row, one of them bad, one told to end."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipelines import classify
from seqcls_beam import open_labels
from seqcls_beam.runs.table import read_manifest
from tests import gcs, prepared, tiny, training
from tests.corpora import texts, write_jsonl
from tests.deploy.scripted import FINETUNE, REAL

pytestmark = [pytest.mark.nights, pytest.mark.timeout(500), pytest.mark.usefixtures("own_cache")]
QUICK = ("--learning_rate=3e-3", "--epochs=4", "--batch_size=16", "--threads=1", "--device=cpu")


def learnable(rows: int, seed: int) -> list[dict[str, str]]:
    """Texts whose label is the word that they hold."""
    chance = random.Random(seed)
    said = []
    for number, text in enumerate(texts(rows, seed, longest=12)):
        label = chance.choice(("bad", "good"))
        words = [word for word in text.split() if word not in ("good", "bad")]
        words.insert(chance.randint(0, len(words)), label)
        said.append({"id": f"r{number}", "text": f"{number % 7} " + " ".join(words), "label": label})
    return said


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a base, data that were prepared for it, gold rows, and the same with their labels turned round."""
    folder = tmp_path_factory.mktemp("made")
    base = tiny.checkpoint(folder / "base", labels=("x", "y", "z"))
    how = ["--duplicates=keep", "--near_duplicates=off", "--split=stratified"]
    prepared.run(learnable(960, seed=0), folder / "prepared", f"--model={base}", *how)
    gold = learnable(60, seed=9)
    write_jsonl(folder / "gold.jsonl", gold)
    turned = {"bad": "good", "good": "bad"}
    write_jsonl(folder / "turned.jsonl", [{**row, "label": turned[row["label"]]} for row in gold])
    return folder


def words(made: Path, version: str, models: str, *train: str, gold: tuple[str, ...], processes: int = 2) -> list[str]:
    data = [f"--data={made / 'prepared'}", f"--model={made / 'base'}", *QUICK]
    rules = ["--min_accuracy=0.75", "--bootstrap=0"]
    return [
        version,
        f"--models={models}",
        f"--processes={processes}",
        "--train",
        *data,
        *train,
        "--gold",
        *rules,
        *gold,
    ]


def started(said: list[str], where: Path, **environ: str) -> subprocess.Popen[str]:
    cache = os.environ["SEQCLS_BEAM_CACHE"]
    return subprocess.Popen(
        [str(FINETUNE), *said],
        cwd=where,
        env={**REAL, "SEQCLS_BEAM_CACHE": cache, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(said: list[str], where: Path, **environ: str) -> tuple[int, str]:
    with started(said, where, **environ) as process:
        told = process.communicate(timeout=200)[0]
    return process.returncode, told


def test_versions_in_a_row(made, tmp_path):
    """The first passes, on the test split; the second does not, on gold rows; then it does, on others."""
    (tmp_path / "all models").mkdir()
    models, latest = tmp_path / "all models" / "reviews", tmp_path / "all models" / "reviews" / "LATEST"
    code, said = ended(words(made, "v1", "all models/reviews", gold=()), tmp_path)
    assert code == 0, said
    assert latest.read_text() == "v1\n" and f"promoted: LATEST in {models} names v1" in said
    manifest = read_manifest(str(models / "v1"))
    assert manifest is not None and manifest["machine"]["processes"] == 2
    evaluation = json.loads((tmp_path / "all models" / "reviews-gold" / "v1" / "evaluation.json").read_text())
    assert evaluation["data"]["kind"] == "prepared" and evaluation["data"]["split"] == "test"
    assert evaluation["metrics"]["accuracy"]["value"] == manifest["scores"]["test"]["accuracy"]

    # Whoever names the folder has the version that passed.
    rows = learnable(40, seed=3)
    source = write_jsonl(tmp_path / "new.jsonl", rows)
    flags = [f"--input={source}", f"--model={models}", f"--output={tmp_path / 'labels'}", "--keep_columns=label"]
    assert classify.main([*flags, "--threads=1"]) == 0
    found = open_labels(str(tmp_path / "labels")).to_table()
    assert set(found["model"].to_pylist()) == {evaluation["model"]["digest"][:12]}
    right = [a == b for a, b in zip(found["label"].to_pylist(), found["input_label"].to_pylist(), strict=True)]
    assert sum(right) >= 30

    second = words(
        made, "v2", "all models/reviews", "--seed=1", gold=(f"--input={made / 'turned.jsonl'}",), processes=1
    )
    code, said = ended(second, tmp_path)
    assert code == 3, said
    assert "--min_accuracy=0.75: accuracy is 0." in said and latest.read_text() == "v1\n"
    assert (models / "v2" / "config.json").exists()
    second[-1] = f"--input={made / 'gold.jsonl'}"
    code, said = ended(second, tmp_path)
    assert code == 0, said
    assert said.count("already published") == 1 and latest.read_text() == "v2\n"


def test_what_is_wrong_is_said_before_the_training(made, tmp_path):
    """torchrun itself would end with 1, which a scheduler takes for worth another try."""
    for train, gold, told in (
        ((f"--data={tmp_path}",), (), "nothing is published there"),
        ((), ("--min_accurracy=0.9",), "unknown flag --min_accurracy=0.9"),
        ((), ("--input=none.jsonl",), "matches no file"),
    ):
        code, said = ended(words(made, "v1", "models", *train, gold=gold), tmp_path)
        assert code == 2 and told in said, said
        assert "torch.distributed" not in said and not (tmp_path / "models").exists()


def until(process: subprocess.Popen[str], folder: Path) -> None:
    """Wait for a checkpoint of a training."""
    for _ in range(2400):
        if training.steps(folder):
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    raise AssertionError("no checkpoint came")


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_a_training_that_is_told_to_end_goes_on_when_it_is_started_again(made, tmp_path, place):
    """In a bucket too, where its checkpoints lie in the cache."""
    long = ("--epochs=12", "--eval_steps=20", "--learning_rate=1e-3")
    if place == "disk":
        told_to_end(words(made, "v1", "models", *long, gold=()), tmp_path, tmp_path / "models")
        assert (tmp_path / "models" / "LATEST").read_text() == "v1\n"
        return
    with gcs.server("models") as url:
        said = words(made, "v1", "gs://models/reviews", *long, gold=())
        told_to_end(said, tmp_path, Path(os.environ["SEQCLS_BEAM_CACHE"]), STORAGE_EMULATOR_HOST=url)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", url)
            source = write_jsonl(tmp_path / "new.jsonl", learnable(8, seed=3))
            flags = [f"--input={source}", "--model=gs://models/reviews", f"--output={tmp_path / 'labels'}"]
            assert classify.main([*flags, "--threads=1"]) == 0


def told_to_end(said: list[str], where: Path, work: Path, **environ: str) -> None:
    with started(said, where, **environ) as process:
        until(process, work)
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=60)[0]
    assert process.returncode == 143, told
    assert "SIGTERM is passed on" in told and "pipelines.evaluate ended with code 0" in told
    assert told.count("finetune: pipelines.evaluate\n") == 1, "it only looked"
    code, told = ended(said, where, **environ)
    assert code == 0, told
    assert "going on from step" in told and "promoted: LATEST in" in told
