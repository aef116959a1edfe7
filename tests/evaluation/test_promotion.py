"""`pipelines.evaluate --promote`: what passes every gate is named in LATEST, and nothing else moves it."""

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from pipelines import evaluate, evaluating
from seqcls_beam import storage
from seqcls_beam.evaluation import promotion
from seqcls_beam.model.checkpoints import resolve, resolve_base
from seqcls_beam.runs.run import RunError
from tests import gcs, prepared, tiny
from tests.corpora import plain_scores, texts, write_jsonl

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("own_cache")]
LABELS = ("negative", "positive")
TEXTS = texts(24, seed=5)


@pytest.fixture
def models(tmp_path):
    """Two versions of a model: v1 says what the gold rows say, and v2 always the opposite."""
    first = tiny.checkpoint(tmp_path / "models" / "v1")
    second = tmp_path / "models" / "v2"
    shutil.copytree(first, second)
    weights = load_file(second / "model.safetensors")
    turned = {name: -each if name.startswith("classifier.") else each for name, each in weights.items()}
    save_file(turned, second / "model.safetensors", {"format": "pt"})
    gold = plain_scores(first, TEXTS).argmax(axis=1)
    rows = [{"text": text, "label": LABELS[label]} for text, label in zip(TEXTS, gold, strict=True)]
    write_jsonl(tmp_path / "gold.jsonl", rows)
    return tmp_path / "models"


def run(models: Path, version: str, *flags: str, gate: str = "--min_accuracy=0.9") -> int:
    base = models.parent
    given = [f"--input={base / 'gold.jsonl'}", f"--model={models / version}", f"--output={base / 'out' / version}"]
    return evaluate.main([*given, "--threads=1", "--promote", *([gate] if gate else []), *flags])


def latest(models: Path) -> str | None:
    path = models / "LATEST"
    return path.read_text() if path.exists() else None


def test_what_passes_is_named_and_what_does_not_is_not(models, capsys):
    assert run(models, "v2") == 3
    assert latest(models) is None and "accuracy is 0.0000" in capsys.readouterr().err
    assert run(models, "v1") == 0
    assert latest(models) == "v1\n" and resolve(str(models)).location == str(models / "v1")
    assert f"promoted: LATEST in {models} names v1, and before nothing" in capsys.readouterr().err
    assert json.loads((models.parent / "out" / "v1" / "evaluation.json").read_text())["gates"][0]["passed"]
    assert run(models, "v2", "--overwrite") == 3
    assert latest(models) == "v1\n"
    assert run(models, "v2", "--overwrite", gate="--min_accuracy=0") == 0
    assert latest(models) == "v2\n"
    assert "names v2, and before v1" in capsys.readouterr().err


def test_an_evaluation_that_is_published_already_promotes_too(models, capsys):
    """So a start that was killed in between is carried to its end by the next."""
    assert run(models, "v1") == 0
    (models / "LATEST").unlink()
    written = (models.parent / "out" / "v1" / "evaluation.json").stat().st_mtime_ns
    assert run(models, "v1") == 0
    assert latest(models) == "v1\n" and "already published" in capsys.readouterr().err
    assert run(models, "v1") == 0
    assert f"LATEST in {models} names v1 already" in capsys.readouterr().err
    assert (models.parent / "out" / "v1" / "evaluation.json").stat().st_mtime_ns == written


def test_without_the_option_nothing_is_promoted(models):
    words = [f"--input={models.parent / 'gold.jsonl'}", f"--model={models / 'v1'}", "--min_accuracy=0.9"]
    assert evaluate.main([*words, "--threads=1", f"--output={models.parent / 'out'}"]) == 0
    assert latest(models) is None


def test_of_two_at_once_the_first_one_that_passes_counts(models, monkeypatch, capsys):
    """v2 is started later and passes earlier. Whoever then wants v1 all the same starts its evaluation again."""
    work = evaluating._run

    def overtaken(*given):
        monkeypatch.setattr(evaluating, "_run", work)
        assert run(models, "v2", gate="--min_accuracy=0") == 0
        return work(*given)

    monkeypatch.setattr(evaluating, "_run", overtaken)
    assert run(models, "v1") == 3
    assert latest(models) == "v2\n"
    assert "not promoted: LATEST" in (said := capsys.readouterr().err) and "was not there when this began" in said
    assert run(models, "v1") == 0
    assert latest(models) == "v1\n"


def together(wishes: list[promotion.Promotion]) -> list[str]:
    """All carried out at once; the versions that say they were promoted."""
    start, passed = threading.Barrier(len(wishes)), []

    def carry_out(wish: promotion.Promotion) -> None:
        start.wait()
        if promotion.carry_out(wish)[0]:
            passed.append(wish.version)

    threads = [threading.Thread(target=carry_out, args=(each,)) for each in wishes]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    return passed


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_one_of_many_at_the_same_moment_is_named(models, place):
    for number in range(3, 7):
        shutil.copytree(models / "v1", models / f"v{number}")
    if place == "disk":
        race(str(models))
    else:
        with gcs.bucket("models") as uri:
            fs, path = storage.connect(f"{uri}/reviews")
            fs.put(f"{models}/", f"{path}/", recursive=True)
            race(f"{uri}/reviews")


def race(where: str) -> None:
    """Twice: where there is no LATEST, and where there is one."""
    before = None
    for _ in range(2):
        wishes = [promotion.intended(resolve(f"{where}/v{number}")) for number in range(1, 7)]
        assert {each.before for each in wishes} == {before}
        (named,) = together([each for each in wishes if each.version != before])
        assert storage.read(f"{where}/LATEST") == f"{named}\n".encode()
        assert resolve(where).location == f"{where}/{named}"
        before = named


def test_only_the_files_that_were_evaluated_are_promoted(models, monkeypatch, capsys):
    work = evaluating._run

    def replaced(*given):
        found = work(*given)
        shutil.copyfile(models / "v2" / "model.safetensors", models / "v1" / "model.safetensors")
        return found

    monkeypatch.setattr(evaluating, "_run", replaced)
    assert run(models, "v1") == 1
    assert latest(models) is None
    assert "are not those that were evaluated" in capsys.readouterr().err


def test_a_version_that_is_gone_is_not_promoted(models):
    wish = promotion.intended(resolve(str(models / "v1")))
    shutil.rmtree(models / "v1")
    with pytest.raises(RunError, match="LATEST was not touched"):
        promotion.carry_out(wish)
    assert latest(models) is None


@pytest.mark.parametrize(
    ("model", "flags", "said"),
    [
        ("models/v1", ["--output=out"], "--promote needs a gate, such as --min_accuracy=0.9"),
        ("models/v1", ["--min_f1=0.1"], "--promote needs --output"),
        ("models", ["--min_f1=0.1", "--output=out"], "--promote: the LATEST of models names"),
        ("sentiment", ["--min_f1=0.1", "--output=out"], "--promote: sentiment is no folder beside others"),
        ("models/v1/inner", ["--min_f1=0.1", "--output=out"], "is a checkpoint itself"),
    ],
)
def test_what_cannot_be_promoted_is_said_before_anything_runs(models, monkeypatch, capsys, model, flags, said):
    shutil.copytree(models / "v1", models / "v1" / "inner")
    (models / "LATEST").write_text("v2\n")
    monkeypatch.chdir(models.parent)
    assert evaluate.main(["--input=gold.jsonl", f"--model={model}", "--promote", *flags]) == 2
    assert said in capsys.readouterr().err
    assert latest(models) == "v2\n" and not Path("out").exists()


@pytest.mark.parametrize(("said", "why"), [(b"", "expected one line"), (b"../v2\n", "expected"), (b"v2 \n", "a blank")])
def test_a_latest_that_says_nothing_is_to_be_mended_first(models, capsys, said, why):
    (models / "LATEST").write_bytes(said)
    assert run(models, "v1") == 1
    told = capsys.readouterr().err
    assert why in told and "remove LATEST, or write the name of a folder into it" in told and "Traceback" not in told
    assert (models / "LATEST").read_bytes() == said and not (models.parent / "out").exists()


def test_a_model_of_the_hub_and_answers_without_a_model_are_not_promoted(models, capsys):
    from_hub = replace(resolve(str(models / "v1")), name="team/model", location="team/model", revision="0" * 40)
    with pytest.raises(ValueError, match="team/model is no folder beside others"):
        promotion.intended(from_hub)
    assert evaluate.main(["--labeled=x", "--promote", "--min_f1=0.1", "--output=out"]) == 2
    assert "--promote does nothing with --labeled" in capsys.readouterr().err


def test_a_folder_that_takes_no_latest_is_said_before_anything_runs(models, monkeypatch, capsys):
    def refuse(uri: str) -> None:
        raise PermissionError(13, "Permission denied", uri)

    monkeypatch.setattr(storage, "ensure_puts", refuse)  # root may write anywhere
    assert run(models, "v1") == 1
    assert "Permission denied" in capsys.readouterr().err and not (models.parent / "out").exists()


def test_the_digest_is_that_of_the_same_files_as_a_base(models):
    """Which `carry_out` relies on."""
    assert resolve_base(str(models / "v1")).digest == resolve(str(models / "v1")).digest


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--input=gold.jsonl", "--min_f1=0.1"], 0, "the options are right, and the rows are there"),
        (["--input=none.jsonl", "--min_f1=0.1"], 2, "matches no file"),
        (["--input=gold.jsonl", "--min_f1=2"], 2, "expected at most 1"),
        (["--input=gold.jsonl"], 2, "--promote needs a gate"),
        (["--data=prepared", "--min_f1=0.1"], 0, "the options are right"),
        (["--data=prepared", "--min_pearson=0.1"], 2, "--min_pearson=0.1 is for regression models"),
        (["--data=prepared", "--min_f1=0.1", "--split=validation"], 2, "--split=validation: "),
    ],
)
def test_a_call_is_looked_at_before_there_is_a_model(models, monkeypatch, capsys, flags, code, said):
    monkeypatch.chdir(models.parent)
    if "--data=prepared" in flags:
        how = ["--profile=benchmark", "--test_fraction=0.2", "--validation_fraction=0", f"--model={models / 'v1'}"]
        prepared.run(models.parent / "gold.jsonl", models.parent / "prepared", *how)
    capsys.readouterr()
    words = ["--model=models/v9", "--output=out", "--promote", "--only_check"]
    assert evaluate.main([*words, *flags]) == code
    assert said in capsys.readouterr().err and not Path("out").exists()
