"""`python -m pipelines.finetune`: the real loop, from labelled rows to a model that classifies."""

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from pipelines import classify, finetune
from seqcls_beam.runs.table import read_manifest
from tests import halt, prepared, tiny, training
from tests.corpora import labels as published
from tests.corpora import plain_scores, texts, write_jsonl
from tests.finetuning.attention import attend
from tests.reports.reading import parsed

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("own_cache")]

HERE = ["--threads=1", "--device=cpu"]  # also where there is a GPU
QUICK = ["--learning_rate=3e-3", "--epochs=4", "--batch_size=16", *HERE]
BRIEF = "--epochs=1"
GENTLY = ("--learning_rate=1e-4", BRIEF)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A tiny BERT that drops nothing out, so that the same batches give the same weights."""
    return tiny.checkpoint(
        tmp_path_factory.mktemp("base") / "bert",
        labels=("x", "y", "z"),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def learnable(rows=960, seed=0):
    """Texts whose label is the word that they hold."""
    chance = random.Random(seed)
    said = []
    for i, text in enumerate(texts(rows, seed, longest=12)):
        label = chance.choice(("bad", "good"))
        words = [word for word in text.split() if word not in ("good", "bad")]
        words.insert(chance.randint(0, len(words)), label)
        said.append({"id": f"r{i}", "text": f"{i % 7} " + " ".join(words), "label": label})
    return said


FLAGS = ["--duplicates=keep", "--near_duplicates=off", "--split=stratified"]


@pytest.fixture(scope="module")
def data(tmp_path_factory, base):
    """Prepared rows that can be learned."""
    return prepared.run(learnable(), tmp_path_factory.mktemp("data") / "prepared", f"--model={base}", *FLAGS)


@pytest.fixture(scope="module")
def model(tmp_path_factory, base, data):
    """A model fine-tuned on them."""
    out = tmp_path_factory.mktemp("model") / "model"
    assert run(data, base, out) == 0
    return out


@pytest.fixture(scope="module")
def brief(tmp_path_factory, base, data):
    """One trained for a quarter of the time, where nothing depends on how much it learned."""
    out = tmp_path_factory.mktemp("brief") / "model"
    assert run(data, base, out, BRIEF) == 0
    return out


@pytest.fixture(scope="module")
def gentle(tmp_path_factory, base, data):
    """One trained in small steps: what a sum in another order changes stays small."""
    out = tmp_path_factory.mktemp("gentle") / "model"
    assert run(data, base, out, *GENTLY) == 0
    return out


def run(data, base, out, *flags):
    """The command; its exit code."""
    return finetune.main([f"--data={data}", f"--model={base}", f"--output={out}", *QUICK, *flags])


def manifest(out):
    """What was published."""
    found = read_manifest(str(out))
    assert found is not None
    return found


def losses(out):
    """The learning curve: (step, loss)."""
    history = json.loads((out / "metrics.json").read_text())["history"]
    return [(each["step"], each["loss"]) for each in history if "loss" in each]


def weights(out):
    """The published weights as one vector."""
    return np.concatenate([each.ravel() for _, each in sorted(load_file(out / "model.safetensors").items())])


def test_a_model_is_published_that_classify_takes_and_that_has_learned(model, data, base, tmp_path):
    made = manifest(model)
    assert made["kind"] == "finetune" and made["labels"] == ["bad", "good"]
    assert made["scores"]["test"]["accuracy"] >= 0.75 > made["majority_baseline"]["test"]["accuracy"] + 0.2
    rows = learnable(40, seed=9)
    source = write_jsonl(tmp_path / "new.jsonl", rows)
    flags = [f"--input={source}", f"--model={model}", f"--output={tmp_path / 'labels'}", "--keep_columns=label"]
    assert classify.main(flags) == 0
    found = published(tmp_path / "labels")
    right = [a == b for a, b in zip(found["label"].to_pylist(), found["input_label"].to_pylist(), strict=True)]
    assert sum(right) >= 30
    expected = plain_scores(model, [row["text"] for row in rows])
    assert np.allclose(np.array(found["scores"].to_pylist()), expected, atol=1e-5)


def test_the_scores_are_those_of_plain_transformers(model, data):
    """The rows of the test split by their ids, through the published folder, without any of our code."""
    import torch
    from transformers import AutoModelForSequenceClassification

    loaded = AutoModelForSequenceClassification.from_pretrained(model).eval()
    rows = prepared.rows(data, "test")
    with torch.no_grad():
        logits = torch.cat([loaded(input_ids=torch.tensor([row["input_ids"]])).logits for row in rows])
    gold = torch.tensor([row["labels"] for row in rows])
    scores = manifest(model)["scores"]["test"]
    assert scores["accuracy"] == pytest.approx((logits.argmax(-1) == gold).float().mean().item())
    assert scores["loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, gold).item(), abs=1e-5)


def test_what_lies_beside_the_weights(model, data, base):
    made = manifest(model)
    names = {part["path"] for part in made["parts"]}
    assert names == {path.name for path in model.iterdir()} - {"_versions", "_report"}
    shown = parsed((model / "_report" / "report.html").read_text()).section("Scores").table()
    assert float(shown["accuracy"][0]) == pytest.approx(made["scores"]["validation"]["accuracy"], abs=5e-5)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (model / name).read_bytes() == (base / name).read_bytes()
    config = json.loads((model / "config.json").read_text())
    assert config["id2label"] == {"0": "bad", "1": "good"} and config["label2id"] == {"bad": 0, "good": 1}
    assert config["problem_type"] == "single_label_classification"
    assert (model / "curves.png").read_bytes().startswith(b"\x89PNG")
    card = (model / "README.md").read_text()
    assert made["data"]["digest"][:16] in card and f"{made['scores']['test']['accuracy']:.4f}" in card
    assert made["data"]["run_id"] == prepared.manifest(data)["run_id"]
    steps = [step for step, _ in losses(model)]
    assert steps == sorted(steps) and steps[-1] == made["steps"] == 4 * 48
    history = json.loads((model / "metrics.json").read_text())["history"]
    assert [each["step"] for each in history if "eval_accuracy" in each] == [48, 96, 144, 192]
    best = max((each for each in history if "eval_accuracy" in each), key=lambda each: each["eval_accuracy"])
    assert made["best"] == {"metric": "accuracy", "step": best["step"]}
    assert made["scores"]["validation"]["accuracy"] == best["eval_accuracy"]


def test_the_same_again_is_published_already_and_another_is_refused(model, data, base, capsys):
    before = {path.name: path.stat().st_mtime_ns for path in model.iterdir()}
    assert finetune.main(shlex.split(manifest(model)["command"])[3:]) == 0  # as the manifest has it
    assert "already published" in capsys.readouterr().err
    assert run(data, base, model, "--seed=1") == 1
    assert "holds another run" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in model.iterdir()} == before


def test_a_recipe_repeats_a_model_to_the_byte(brief, data, base, tmp_path):
    flags = [f"--data={data}", f"--model={base}", f"--recipe={brief / 'recipe.json'}", *HERE]
    assert finetune.main([*flags, f"--output={tmp_path / 'again'}"]) == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (brief / "model.safetensors").read_bytes()
    assert manifest(tmp_path / "again")["run_id"] == manifest(brief)["run_id"]
    recipe = json.loads((brief / "recipe.json").read_text())
    (tmp_path / "whole.json").write_text(json.dumps({**recipe, "epochs": 1, "best_metric": "accuracy"}))
    same = [*flags[:2], f"--recipe={tmp_path / 'whole.json'}", *HERE]  # other words for the same
    assert finetune.main([*same, f"--output={tmp_path / 'again'}"]) == 0
    assert finetune.main([*flags, f"--output={tmp_path / 'other'}", "--epochs=0.1"]) == 0  # a flag comes before it
    assert manifest(tmp_path / "other")["recipe"]["epochs"] == 0.1
    assert manifest(tmp_path / "other")["recipe"]["learning_rate"] == 3e-3


def test_overwrite_replaces_a_model(model, data, base, tmp_path):
    out = shutil.copytree(model, tmp_path / "model")
    assert run(data, base, out, "--seed=1", "--epochs=0.1", "--overwrite") == 0
    assert manifest(out)["recipe"]["seed"] == 1 and not (out / "_attempts").exists()
    assert not np.array_equal(weights(out), weights(model))
    assert plain_scores(out, ["a good film"]).shape == (1, 2)


def same(out, other):
    """Whether two models were trained alike: the curve, the scores of every split, each row counted once."""
    assert np.allclose(losses(out), losses(other), atol=2e-4)
    for split, scores in manifest(other)["scores"].items():
        assert manifest(out)["scores"][split] == pytest.approx(scores, abs=2e-4)
    return True


def test_accumulated_parts_take_the_same_steps(gentle, data, base, tmp_path):
    assert run(data, base, tmp_path / "parts", *GENTLY, "--gradient_accumulation=4") == 0
    assert same(tmp_path / "parts", gentle)


def torchrun(data, base, out, *flags, ranks=2):
    """Start the command as several processes."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={ranks}", "--standalone"]
    command += ["-m", "pipelines.finetune", f"--data={data}", f"--model={base}", f"--output={out}", *QUICK, *flags]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def as_ranks(data, base, out, logs, *flags):
    """Run the command to its end as two processes that meet as torchrun lets them, without its seconds of imports;
    what each said. The store where they meet is this process's: one of a rank's own would end with that rank."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    argv = [f"--data={data}", f"--model={base}", f"--output={out}", *QUICK, *flags]
    there = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    there |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    there |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    jobs = [
        halt.Process(
            halt.command, "finetune", argv, log=logs / f"rank{rank}", RANK=str(rank), LOCAL_RANK=str(rank), **there
        )
        for rank in range(2)
    ]
    assert [job.code() for job in jobs] == [0, 0], [job.said() for job in jobs]
    return [job.said() for job in jobs]


def test_two_processes_are_as_one(gentle, data, base, tmp_path):
    """The 96 rows of a split do not come out even: the second process has 32 of them, and accelerate adds others."""
    said = as_ranks(data, base, tmp_path / "two", tmp_path, *GENTLY)
    assert "48 steps in" in said[0] and said[1] == ""  # one of them speaks
    assert manifest(tmp_path / "two")["machine"]["processes"] == 2
    assert same(tmp_path / "two", gentle)
    said = as_ranks(data, base, tmp_path / "two", tmp_path, *GENTLY)
    assert "already published" in said[0] and said[1] == ""


def test_packed_training_is_refused_on_a_cpu(data, base, tmp_path, capsys):
    (tmp_path / "recipe.json").write_text('{"packed": true}')
    for flag in ("--packed", f"--recipe={tmp_path / 'recipe.json'}"):
        assert run(data, base, tmp_path / "model", flag, "--device=cpu") == 1
        assert capsys.readouterr().err.splitlines()[-1].startswith("seqcls_beam: --packed is for GPUs")
    assert not list((tmp_path / "model").rglob("_versions/*.json"))


def test_packed_training_comes_to_what_padded_training_does(gentle, data, base, tmp_path, monkeypatch):
    """The command as it is, but for the attention, of which there is none for CPUs that gives gradients."""
    from seqcls_beam.finetuning import training

    monkeypatch.setattr(training, "varlen", attend)
    monkeypatch.setattr(training, "check", lambda *_: None)
    out = tmp_path / "model"
    assert run(data, base, out, *GENTLY, "--packed", "--gradient_accumulation=2") == 0
    assert same(out, gentle)
    made = manifest(out)
    assert made["recipe"]["packed"] and not manifest(gentle)["recipe"]["packed"]
    assert made["machine"]["padding"] == 0 < manifest(gentle)["machine"]["padding"]
    assert made["machine"]["attention"] == "packed, without dropout of its probabilities"
    assert made["run_id"] != manifest(gentle)["run_id"]
    assert (out / "config.json").read_bytes() == (gentle / "config.json").read_bytes()
    before, after = (load_file(each / "model.safetensors") for each in (gentle, out))
    assert {name: each.shape for name, each in before.items()} == {name: each.shape for name, each in after.items()}


LONG = ("--epochs=4", "--eval_steps=10", "--learning_rate=1e-4")


def wait_for(runs, come, what):
    """Wait until a process that `runs` has left something."""
    for _ in range(1200):
        if come():
            return
        assert runs(), "it ended before"
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come")


def test_a_process_that_is_killed_ends_the_job_and_the_next_start_goes_on(data, base, tmp_path):
    out = tmp_path / "model"
    with torchrun(data, base, out, *LONG) as job:
        wait_for(lambda: job.poll() is None, lambda: training.steps(out), "a checkpoint")
        ranks = subprocess.run(["pgrep", "-P", str(job.pid)], capture_output=True, text=True, check=True)
        os.kill(int(ranks.stdout.split()[-1]), signal.SIGKILL)
        said = job.communicate(timeout=100)[0]
    assert job.returncode == 1 and "SIGKILL" in said.upper()
    assert not list(out.rglob("_versions/*.json"))
    done = max(training.steps(out))
    said = as_ranks(data, base, out, tmp_path, *LONG)
    steps = [step for step, _ in losses(out)]
    assert len(steps) == len(set(steps)) and done > 0 and manifest(out)["steps"] == 192
    assert f"going on from step {done}" in said[0]


def killed_at(step, argv):
    """Run the command until it kills itself after a step."""
    from seqcls_beam.finetuning.trainer import Watch

    def seen(self, arguments, state, control, **rest):
        if state.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return on_step_end(self, arguments, state, control, **rest)

    on_step_end = Watch.on_step_end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watch, "on_step_end", seen)
        return finetune.main(argv)


def test_a_training_that_was_killed_comes_to_the_same_weights(data, base, tmp_path):
    dropping = tiny.checkpoint(tmp_path / "base")  # its chance must go on where it was
    shutil.copyfile(base / "tokenizer.json", dropping / "tokenizer.json")
    flags = (BRIEF, "--eval_steps=10", "--learning_rate=1e-4")
    assert run(data, dropping, tmp_path / "whole", *flags) == 0
    out = tmp_path / "killed"
    argv = [f"--data={data}", f"--model={dropping}", f"--output={out}", *QUICK, *flags]
    assert halt.Process(killed_at, 25, argv, log=tmp_path / "log").code() == -signal.SIGKILL
    assert not list(out.rglob("_versions/*.json"))
    assert run(data, dropping, out, *flags) == 0
    assert manifest(out)["resumed_at"] == 20
    assert losses(out) == losses(tmp_path / "whole")
    assert np.array_equal(weights(out), weights(tmp_path / "whole"))
    assert not (out / "_attempts").exists()


def test_several_labels_a_row(base, tmp_path):
    rows = [
        {"text": row["text"], "label": [row["label"], "any"] if i % 3 else []} for i, row in enumerate(learnable(480))
    ]
    rows = [{**row, "label": row["label"] if row["label"] else ["none"]} for row in rows]
    data = prepared.run(rows, tmp_path / "prepared", f"--model={base}", *FLAGS)
    assert run(data, base, tmp_path / "model") == 0
    made = manifest(tmp_path / "model")
    assert made["labels"] == ["any", "bad", "good", "none"] and made["best"]["metric"] == "map"
    assert made["scores"]["test"]["map"] > 0.5
    assert json.loads((tmp_path / "model" / "config.json").read_text())["problem_type"] == "multi_label_classification"
    assert classify.main([f"--model={tmp_path / 'model'}", "--text", "a good film"]) == 0


def test_validation_rows_that_cannot_judge_are_said_at_once(base, tmp_path, capsys):
    train = write_jsonl(tmp_path / "a.jsonl", [{**row, "label": [row["label"]]} for row in learnable(60)])
    empty = write_jsonl(tmp_path / "b.jsonl", [{**row, "label": []} for row in learnable(20, seed=3)])
    files = [f"--input_train={train}", f"--input_validation={empty}"]
    data = prepared.run(None, tmp_path / "prepared", *files, f"--model={base}", "--near_duplicates=off")
    assert run(data, base, tmp_path / "model") == 1
    assert "--best_metric=map cannot be computed on the validation rows" in capsys.readouterr().err
    assert run(data, base, tmp_path / "model", "--best_metric=loss", "--epochs=1") == 0


def test_a_number_a_row(base, tmp_path):
    rows = [{"text": row["text"], "label": 1.5 if row["label"] == "good" else -1.5} for row in learnable(480)]
    flags = (f"--model={base}", "--problem=regression", "--duplicates=keep", "--near_duplicates=off")
    data = prepared.run(rows, tmp_path / "prepared", *flags)
    assert run(data, base, tmp_path / "model", "--epochs=30") == 0
    scores = manifest(tmp_path / "model")["scores"]["test"]
    assert scores["pearson"] > 0.8 and scores["mse"] < 1.0 < np.var([1.5, -1.5])  # one run in many came to 0.89


def test_no_number_is_left_out(base, tmp_path):
    """-100, which labels of classes are masked by, is a target like others."""
    rows = [{"text": text, "label": (-100.0, -90.0)[i % 2]} for i, text in enumerate(texts(200))]
    flags = (f"--model={base}", "--problem=regression", "--duplicates=keep", "--near_duplicates=off")
    data = prepared.run(rows, tmp_path / "prepared", *flags)
    assert run(data, base, tmp_path / "model", "--learning_rate=0", "--epochs=1") == 0
    # The answers begin around 0: squares between 8,100 and 10,000, and some more.
    assert all(8000 < loss < 10500 for _, loss in losses(tmp_path / "model"))


def test_models_that_read_pairs_otherwise_are_told_apart(base, tmp_path, capsys):
    rows = [{"a": text, "b": text, "label": ("x", "y")[i % 2]} for i, text in enumerate(texts(60))]
    other = tiny.checkpoint(tmp_path / "distilbert", "distilbert")
    for path in base.glob("tokenizer*"):
        shutil.copyfile(path, other / path.name)
    flags = ("--text_column=a", "--text_pair_column=b", "--duplicates=keep", "--near_duplicates=off")
    for name, one, another in (("a", base, other), ("b", other, base)):
        data = prepared.run(rows, tmp_path / name, f"--model={one}", *flags)
        assert run(data, another, tmp_path / "model") == 2
        assert "only one tells the texts of a pair apart" in capsys.readouterr().err
        assert run(data, one, tmp_path / f"model-{name}", "--epochs=0.1") == 0


def test_pairs(base, tmp_path):
    """Whether the second text holds the word of the first: the token types must reach the model."""
    chance = random.Random(0)
    rows = []
    for text in texts(800, longest=5):
        words = chance.choices(("good", "bad"), k=2)
        rows.append({"a": f"{text} {words[0]}", "b": f"{words[1]} {text}", "label": words[1]})
    flags = ("--text_column=a", "--text_pair_column=b", f"--model={base}", *FLAGS, "--conflicts=keep")
    data = prepared.run(rows, tmp_path / "prepared", *flags)
    assert run(data, base, tmp_path / "model", "--epochs=6") == 0
    assert manifest(tmp_path / "model")["scores"]["test"]["accuracy"] > 0.7


def test_a_head_for_the_same_labels_is_kept_and_another_is_not(model, data, base, tmp_path):
    assert run(data, model, tmp_path / "more", "--epochs=0.1", "--learning_rate=0") == 0
    assert manifest(tmp_path / "more")["base"]["head"] == "kept"
    assert np.array_equal(weights(tmp_path / "more"), weights(model))
    config = json.loads((model / "config.json").read_text())
    other = shutil.copytree(model, tmp_path / "other")
    config["id2label"], config["label2id"] = {"0": "no", "1": "yes"}, {"no": 0, "yes": 1}
    (other / "config.json").write_text(json.dumps(config))
    assert run(data, other, tmp_path / "fresh", "--epochs=0.1", "--learning_rate=0") == 0
    assert manifest(tmp_path / "fresh")["base"]["head"] == "new"
    before, after = (load_file(each / "model.safetensors") for each in (model, tmp_path / "fresh"))
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed and all(name.startswith("classifier") for name in changed)


def test_weights_of_half_the_bytes_are_those_that_are_scored(data, base, tmp_path, brief):
    assert run(data, base, tmp_path / "half", BRIEF, "--stored_dtype=float16") == 0
    stored = load_file(tmp_path / "half" / "model.safetensors")
    assert {str(each.dtype) for each in stored.values()} == {"float16"}
    full = weights(brief)
    assert np.array_equal(weights(tmp_path / "half"), full.astype(np.float16))
    loss = manifest(tmp_path / "half")["scores"]["test"]["loss"]
    assert loss != manifest(brief)["scores"]["test"]["loss"]
    assert loss == pytest.approx(manifest(brief)["scores"]["test"]["loss"], abs=1e-3)


def test_class_weights_change_what_is_learned(base, tmp_path):
    rows = [row for i, row in enumerate(learnable(400)) if row["label"] == "bad" or i % 6 == 0]
    data = prepared.run(rows, tmp_path / "prepared", f"--model={base}", *FLAGS)
    for name in ("none", "inverse_frequency", "effective_number"):
        flags = ("--epochs=0.1", "--learning_rate=1e-5")
        assert run(data, base, tmp_path / name, f"--class_weights={name}", *flags) == 0
    first = {name: losses(tmp_path / name)[0][1] for name in ("none", "inverse_frequency", "effective_number")}
    assert len(set(first.values())) == 3


def test_training_ends_early_when_nothing_gets_better(data, base, tmp_path):
    flags = ("--learning_rate=0", "--early_stopping=2", "--epochs=30", "--eval_steps=4", "--best_metric=loss")
    assert run(data, base, tmp_path / "model", *flags) == 0
    made = manifest(tmp_path / "model")
    assert made["steps"] == 3 * 4 and made["best"] == {"metric": "loss", "step": 4}


def test_a_loss_that_is_no_number_ends_the_training(data, base, tmp_path, capsys):
    assert run(data, base, tmp_path / "model", "--learning_rate=1e30", "--max_grad_norm=0", "--warmup=0") == 1
    said = capsys.readouterr().err
    assert "the loss is nan at step" in said and "lower --learning_rate" in said
    assert not list((tmp_path / "model").rglob("_versions/*.json"))


def test_data_without_validation_rows(base, tmp_path):
    flags = (f"--model={base}", *FLAGS, "--validation_fraction=0", "--test_fraction=0")
    data = prepared.run(learnable(60), tmp_path / "prepared", *flags)
    assert run(data, base, tmp_path / "model", "--epochs=1") == 0
    assert manifest(tmp_path / "model")["scores"] == {}
    assert "so there are no scores" in (tmp_path / "model" / "README.md").read_text()
    assert run(data, base, tmp_path / "other", "--early_stopping=1") == 2


def test_test_rows_without_labels_have_no_scores(base, tmp_path):
    train = write_jsonl(tmp_path / "train.jsonl", learnable(120))
    test = write_jsonl(tmp_path / "test.jsonl", [{"text": row["text"]} for row in learnable(30, seed=5)])
    flags = [f"--input_train={train}", f"--input_test={test}", f"--model={base}", "--validation_fraction=0.2", *FLAGS]
    data = prepared.run(None, tmp_path / "prepared", *flags)
    assert {row["labels"] for row in prepared.rows(data, "test")} == {-1}
    assert run(data, base, tmp_path / "model", "--epochs=1") == 0
    assert set(manifest(tmp_path / "model")["scores"]) == {"validation"}


def test_a_checkpoint_that_was_cut_short_is_passed_over(brief, data, base, tmp_path):
    out = tmp_path / "model"
    half, gone = (out / "_attempts" / f"{manifest(brief)['run_id']}-v1" / f"checkpoint-{step}" for step in (24, 36))
    for each in (half, gone):
        each.mkdir(parents=True)
        for name in ("optimizer.pt", "scheduler.pt"):
            (each / name).write_bytes(b"")
    (half / "model.safetensors").write_bytes(b"")
    (half / "trainer_state.json").write_text('{"epoch": 2.0, ')
    (gone / "trainer_state.json").write_text("{}")  # and its weights are gone
    assert run(data, base, out, BRIEF) == 0
    assert np.array_equal(weights(out), weights(brief))


UNEVEN = ("--epochs=0.25", "--eval_steps=8", "--schedule=constant")
"""The last step is none of those with an evaluation."""


@pytest.mark.parametrize("flags", [("--epochs=0.2",), UNEVEN])
def test_what_fails_after_the_training_does_not_cost_the_training(flags, data, base, tmp_path, monkeypatch, capsys):
    assert run(data, base, tmp_path / "whole", *flags) == 0

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("seqcls_beam.finetuning.receipt.card", full)
        assert run(data, base, tmp_path / "model", *flags) == 1
    assert "No space left on device" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr("seqcls_beam.finetuning.training.train", full)
        assert run(data, base, tmp_path / "model", *flags) == 0
    assert np.array_equal(weights(tmp_path / "model"), weights(tmp_path / "whole"))
    assert losses(tmp_path / "model") == losses(tmp_path / "whole")


@pytest.mark.parametrize(
    "flags", [UNEVEN, ("--early_stopping=1", "--eval_steps=4"), ("--epochs=0.2", "--dtype=bfloat16")]
)
def test_a_start_after_the_last_step_takes_no_step(flags, data, base, tmp_path, monkeypatch):
    """Killed while the final scores were made, and the folder moved before the next start."""
    assert run(data, base, tmp_path / "whole", *flags) == 0
    with monkeypatch.context() as patch:
        patch.setattr("seqcls_beam.finetuning.training.weights.save", lambda *_: 1 / 0)
        assert run(data, base, tmp_path / "model", *flags) == 1
    moved = (tmp_path / "model").rename(tmp_path / "moved")
    assert run(data, base, moved, *flags) == 0
    for name in ("steps", "best", "scores"):
        assert manifest(moved)[name] == manifest(tmp_path / "whole")[name]
    assert np.array_equal(weights(moved), weights(tmp_path / "whole"))


def test_how_often_nothing_got_better_outlives_a_kill(data, base, tmp_path, monkeypatch):
    from seqcls_beam.finetuning.trainer import Watch

    def killed(self, arguments, state, control, **rest):
        assert state.global_step < 9
        return on_step_end(self, arguments, state, control, **rest)

    flags = ("--learning_rate=0", "--early_stopping=2", "--epochs=30", "--eval_steps=4", "--best_metric=loss")
    on_step_end = Watch.on_step_end
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "on_step_end", killed)
        assert run(data, base, tmp_path / "model", *flags) == 1
    assert run(data, base, tmp_path / "model", *flags) == 0
    assert manifest(tmp_path / "model")["steps"] == 3 * 4


def test_a_base_may_answer_with_more_than_logits(data, base, tmp_path):
    talkative = shutil.copytree(base, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (talkative / "config.json").write_text(json.dumps({**config, "output_hidden_states": True}))
    assert run(data, talkative, tmp_path / "model", "--epochs=0.1") == 0


def test_two_starts_of_one_run_do_not_meet(data, base, tmp_path, monkeypatch, capsys):
    from seqcls_beam.finetuning import training

    def meanwhile(job, tell, train=training.train):
        assert run(data, base, tmp_path / "model", BRIEF) == 1
        assert "another process is training this very run" in capsys.readouterr().err
        return train(job, tell)

    monkeypatch.setattr(training, "train", meanwhile)
    assert run(data, base, tmp_path / "model", BRIEF) == 0
    assert manifest(tmp_path / "model")["steps"] == 48


def test_the_loss_that_is_told_is_the_plain_one(data, base, tmp_path):
    for name, flags in (("plain", ()), ("smooth", ("--label_smoothing=0.5",))):
        assert run(data, base, tmp_path / name, "--learning_rate=0", "--epochs=0.1", *flags) == 0
    plain, smooth = (manifest(tmp_path / name)["scores"] for name in ("plain", "smooth"))
    assert plain == smooth


def test_scores_are_those_of_float32_whatever_it_trained_in(data, base, tmp_path):
    flags = ("--dtype=bfloat16", "--epochs=0.1", "--learning_rate=0")
    assert run(data, base, tmp_path / "half", *flags) == 0
    assert run(data, base, tmp_path / "full", *flags[1:]) == 0
    half, full = (manifest(tmp_path / name) for name in ("half", "full"))
    assert half["machine"]["computed_in"] == "bfloat16" and half["scores"] == full["scores"]


def test_a_cache_without_room_is_said(data, base, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEQCLS_BEAM_CACHE", str(tmp_path / "cache"))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        assert run(data, base, tmp_path / "model") == 1
    assert "SEQCLS_BEAM_CACHE names another folder" in capsys.readouterr().err
    assert run(data, base, tmp_path / "model", "--epochs=0.1") == 0
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEQCLS_BEAM_CACHE", str(tmp_path / "file"))
    assert run(data, base, tmp_path / "other") == 1


def test_the_card_of_data_without_validation_rows_claims_no_choice(base, tmp_path):
    flags = (f"--model={base}", *FLAGS, "--validation_fraction=0", "--test_fraction=0.2")
    data = prepared.run(learnable(60), tmp_path / "prepared", *flags)
    assert run(data, base, tmp_path / "model", "--epochs=1") == 0
    card = (tmp_path / "model" / "README.md").read_text()
    assert "the weights after the last of 3 steps" in card and "the best by" not in card
    assert run(data, base, tmp_path / "other", "--best_metric=accuracy") == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model=BASE", "--output=OUT"], "--data is missing"),
        (["--data=DATA", "--output=OUT"], "--model is missing"),
        (["--data=DATA", "--model=BASE"], "--output is missing"),
        (["--data=nowhere", "--model=BASE", "--output=OUT"], "is this a folder that pipelines.prepare wrote"),
        (["--data=MODEL", "--model=BASE", "--output=OUT"], "holds no prepared data"),
        (["--data=DATA", "--model=nowhere/at/all", "--output=OUT"], "nowhere/at/all"),
        (["--data=DATA", "--model=sentiment", "--output=OUT"], "prepare the data with --model=sentiment"),
        (["--data=DATA", "--model=BASE", "--output=DATA"], "holds the data: name another folder"),
        (["--data=DATA", "--model=BASE", "--output=OUT", "--epochs=0"], "--epochs=0.0: expected at least 0.001"),
        (["--data=DATA", "--model=BASE", "--output=OUT", "--epochs=inf"], "--epochs=inf: expected at most"),
        (["--data=DATA", "--model=BASE", "--output=OUT", "--best_metric=map"], "the data is single_label, of which"),
        (["--data=DATA", "--model=BASE", "--output=OUT", "--runner=DirectRunner"], "unknown flag --runner"),
        (["--data=DATA", "--model=BASE", "--output=OUT", "--recipe=RECIPE"], "'lr' is none of epochs, batch_size"),
        (["--data=DATA", "--model=BASE", "--output=OUT", "--recipe=nowhere.json"], "nowhere.json"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(flags, said, data, base, model, tmp_path, capsys):
    (tmp_path / "recipe.json").write_text('{"lr": 1}')
    names = {"DATA": data, "BASE": base, "OUT": tmp_path / "out", "MODEL": model, "RECIPE": tmp_path / "recipe.json"}
    for name, path in names.items():
        flags = [flag.replace(f"={name}", f"={path}") for flag in flags]
    assert finetune.main(flags) == 2
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_call_is_looked_at_and_nothing_is_trained(data, base, tmp_path, capsys):
    out = tmp_path / "model"
    assert run(data, base, out, "--only_check") == 0
    assert "the options, the data and the base go together" in capsys.readouterr().err
    assert run(tmp_path, base, out, "--only_check") == 2
    assert "nothing is published there" in capsys.readouterr().err
    assert not out.exists()


def test_a_recipe_holds_numbers_and_nothing_else(data, base, tmp_path, capsys):
    recipe = tmp_path / "recipe.json"
    recipe.write_text('{"epochs": 0.1, "dropout": 0, "learning_rate": 0.003}')
    flags = [f"--data={data}", f"--model={base}", f"--output={tmp_path / 'out'}", f"--recipe={recipe}"]
    assert finetune.main(flags) == 0
    for wrong in ('{"epochs": "3"}', '{"batch_size": 1.5}', '{"seed": true}', '{"packed": 1}'):
        recipe.write_text(wrong)
        assert finetune.main(flags) == 2
        assert "expected" in capsys.readouterr().err
    for wrong in ("[]", '{"epochs": '):
        recipe.write_text(wrong)
        assert finetune.main(flags) == 2


def test_dropout_is_that_of_the_base_or_what_is_asked_for(data, tmp_path, base):
    dropping = tiny.checkpoint(tmp_path / "base", "distilbert")
    shutil.copyfile(base / "tokenizer.json", dropping / "tokenizer.json")
    assert run(data, dropping, tmp_path / "own", "--epochs=0.1") == 0
    assert run(data, dropping, tmp_path / "none", "--epochs=0.1", "--dropout=0") == 0
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("own", "none")]
    names = ("dropout", "attention_dropout", "seq_classif_dropout")
    assert [configs[0][name] for name in names] == [0.1, 0.1, 0.2]
    assert [configs[1][name] for name in names] == [0, 0, 0]


def test_a_batch_too_small_for_its_parts(data, base, tmp_path, capsys):
    assert run(data, base, tmp_path / "out", "--batch_size=2", "--gradient_accumulation=4") == 1
    assert "cannot be cut for 1 processes of 4 parts each" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("family", "longest"),
    [
        *((family, 32) for family in ("roberta", "modernbert")),
        ("deberta-v2", 512),
        ("bert", 512),
        *(pytest.param(family, 32, marks=pytest.mark.slow) for family in tiny.FAMILIES + tiny.MORE_FAMILIES),
    ],
)
def test_every_family_trains_at_any_length(family, longest, tmp_path, monkeypatch):
    base = tiny.checkpoint(tmp_path / "base", family, max_position_embeddings=520)
    settings = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": longest}))
    rows = [{**row, "text": row["text"] + " so" * (longest // 2 * (i % 9 == 0))} for i, row in enumerate(learnable(40))]
    data = prepared.run(rows, tmp_path / "prepared", f"--model={base}", *FLAGS)
    assert run(data, base, tmp_path / "model", "--epochs=0.5") == 0
    used = manifest(tmp_path / "model")["machine"]["attention"]
    assert longest == 32 or used == ("sdpa" if family == "bert" else "eager")
    expected = plain_scores(tmp_path / "model", ["a good film"])
    assert expected.shape == (1, 2) and np.isfinite(expected).all()


@pytest.mark.gpu
def test_a_gpu_draws_the_curve_of_a_cpu(data, base, tmp_path):
    for device in ("cpu", "cuda"):
        assert run(data, base, tmp_path / device, *GENTLY, f"--device={device}", "--dtype=float32") == 0
        assert manifest(tmp_path / device)["machine"]["computed_in"] == "float32"
    on_cpu, on_gpu = (np.array(losses(tmp_path / device)) for device in ("cpu", "cuda"))
    assert np.abs(on_gpu - on_cpu).max() < 2e-4  # bfloat16 is 2e-3 away
    assert run(data, base, tmp_path / "half", "--device=cuda") == 0
    assert manifest(tmp_path / "half")["machine"]["computed_in"] in ("bfloat16", "float32")
    assert manifest(tmp_path / "half")["scores"]["test"]["accuracy"] > 0.75


@pytest.mark.gpu
def test_packed_training_on_a_gpu(data, base, tmp_path):
    for name, flags in (("padded", ()), ("packed", ("--packed",))):
        assert run(data, base, tmp_path / name, "--device=cuda", "--dtype=bfloat16", *flags) == 0
    padded, packed = (manifest(tmp_path / name) for name in ("padded", "packed"))
    assert packed["machine"]["padding"] == 0 < padded["machine"]["padding"]
    assert packed["machine"]["attention"].startswith("packed") and packed["machine"]["computed_in"] == "bfloat16"
    assert packed["scores"]["test"]["accuracy"] > 0.75
    assert np.isfinite(plain_scores(tmp_path / "packed", ["a good film"])).all()
