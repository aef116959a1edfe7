"""What fine-tuning says of itself: nothing that it does not know, and nothing left out that a reader must know."""

import json

import numpy as np
import pytest
import torch

from pipelines import finetune
from seqcls_beam.config.finetune import TrainOptions
from seqcls_beam.finetuning.trainer import remedy
from tests import prepared, tiny
from tests.corpora import texts, write_jsonl
from tests.prepared import manifest

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("own_cache")]

HERE = ["--threads=1", "--device=cpu", "--batch_size=16"]
GIVEN = ("--near_duplicates=off", "--duplicates=keep", "--conflicts=keep")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A tiny BERT."""
    return tiny.checkpoint(tmp_path_factory.mktemp("base") / "bert")


def rows(count, seed, label):
    """Texts, each with what `label` gives for its number."""
    return [{"text": f"{seed} {i} {text}", **label(i)} for i, text in enumerate(texts(count, seed, longest=10))]


@pytest.fixture(scope="module")
def data(tmp_path_factory, base):
    """Rows of which four in five are "no"; half of the test rows have no label, and no row has "none"."""
    folder = tmp_path_factory.mktemp("data")
    made = {
        "train": rows(64, 1, lambda i: {"label": "yes" if i % 5 == 0 else "no"}),
        "validation": rows(20, 2, lambda i: {"label": "yes" if i % 5 == 0 else "no"}),
        "test": rows(20, 3, lambda i: {"label": "yes" if i % 4 == 0 else "no"} if i % 2 == 0 else {}),
    }
    files = [f"--input_{name}={write_jsonl(folder / f'{name}.jsonl', each)}" for name, each in made.items()]
    return prepared.run(None, folder / "out", *files, "--labels=no,yes,none", f"--model={base}", *GIVEN)


def test_a_training_says_why_it_ended_what_it_scored_and_what_it_weighed(data, base, tmp_path, capsys):
    card = (data / "README.md").read_text()
    assert "train has no row of 'none'; validation has no row of 'none'; test has no row of 'none'" in card
    assert manifest(data)["skew"]["test"]["labels"] < 0.35  # of the ten rows that have labels five are "yes"
    flags = ["--learning_rate=0", "--early_stopping=2", "--epochs=30", "--class_weights=inverse_frequency"]
    capsys.readouterr()
    assert finetune.main([f"--data={data}", f"--model={base}", f"--output={tmp_path}", *HERE, *flags]) == 0
    shown = capsys.readouterr()
    assert "80.0% of the validation rows have one label, and --best_metric=auto is accuracy: macro_f1" in shown.err
    out = " ".join(shown.out.split())
    assert "12 steps of 120, ended by --early_stopping=2 in" in out
    assert "10 of 20 test rows, which are in no score" in out
    made = manifest(tmp_path)
    assert (made["steps"], made["steps_planned"]) == (12, 120)
    assert made["scored_rows"] == {"validation": 20, "test": 10}
    counts = np.array([51, 13])
    expected = dict(zip(("no", "yes", "none"), [*(64 / (2 * counts)), 1], strict=True))
    assert made["label_weights"] == pytest.approx(expected)
    card = (tmp_path / "README.md").read_text()
    assert "Of 12 steps of 120, ended by --early_stopping=2, these are the weights of step 4, the best" in card
    assert "test, 10 of 20 rows, which have a label" in card and "yes 2.462" in card
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    some = [row for row in prepared.rows(data, "test") if row["labels"] >= 0]
    with torch.no_grad():
        answers = torch.cat([model(input_ids=torch.tensor([row["input_ids"]])).logits for row in some])
    loss = torch.nn.functional.cross_entropy(answers, torch.tensor([row["labels"] for row in some]))
    assert made["scores"]["test"]["loss"] == pytest.approx(loss.item(), abs=1e-5)
    flags = ["--learning_rate=0", "--epochs=0.5", "--best_metric=macro_f1"]
    assert finetune.main([f"--data={data}", f"--model={base}", f"--output={tmp_path / 'other'}", *HERE, *flags]) == 0
    assert "--best_metric=auto" not in capsys.readouterr().err


def test_rare_labels_of_several_are_weighed_where_that_is_asked_for(data, base, tmp_path, capsys):
    source = rows(80, 1, lambda i: {"label": ["often", *["rare"] * (i % 10 == 0)] if i % 4 else ["rare"]})
    many = prepared.run(source, tmp_path / "data", f"--model={base}", *GIVEN, "--test_fraction=0")
    asked = [f"--data={many}", f"--model={base}", *HERE, "--learning_rate=0", "--epochs=0.1"]
    assert finetune.main([*asked, f"--output={tmp_path / 'a'}", "--pos_weight=balanced", "--max_pos_weight=1.5"]) == 0
    made = manifest(tmp_path / "a")
    train = np.array([row["labels"] for row in prepared.rows(many, "train")])
    balanced = (1 - train).sum(0) / train.sum(0)
    assert balanced.min() < 1.5 < balanced.max()
    expected = dict(zip(("often", "rare"), np.minimum(balanced, 1.5).tolist(), strict=True))
    assert made["label_weights"] == pytest.approx(expected)
    assert made["recipe"]["pos_weight"] == "balanced" and made["recipe"]["max_pos_weight"] == 1.5
    assert json.loads((tmp_path / "a" / "recipe.json").read_text())["pos_weight"] == "balanced"
    card = (tmp_path / "a" / "README.md").read_text()
    assert "rare 1.5" in card and "Every text gets a label" not in card
    for folder, flag, said in (
        (
            data,
            "--pos_weight=balanced",
            "is for rows of several labels each, and these are single_label: --class_weights",
        ),
        (
            many,
            "--class_weights=inverse_frequency",
            "of one label each, and these are multi_label: --pos_weight=balanced",
        ),
    ):
        capsys.readouterr()
        wrong = [f"--data={folder}", f"--model={base}", f"--output={tmp_path / 'b'}", flag]
        assert finetune.main(wrong) == 2
        shown = capsys.readouterr().err
        assert flag in shown and said in shown and shown.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "computed", "stored", "said"),
    [
        ({}, torch.float32, "float32", "lower --learning_rate"),
        ({}, torch.bfloat16, "float32", "lower --learning_rate, or give --dtype=float32"),
        ({}, torch.float32, "float16", "lower --learning_rate, or give --stored_dtype=float32"),
        (
            {"max_grad_norm": 0},
            torch.float32,
            "float32",
            "lower --learning_rate, or clip gradients with --max_grad_norm=1",
        ),
        ({"learning_rate": 0}, torch.float32, "float32", "look at the base, whose own answers they are"),
    ],
)
def test_no_remedy_is_named_that_is_in_use(options, computed, stored, said):
    assert remedy(TrainOptions(**options), computed, stored) == said
