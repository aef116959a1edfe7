"""Every family of sequence classifiers that transformers has gives the answers of its own pipeline, or is refused.

`python -m tests.model.test_families --write` tries all of them, or those that are named behind it, and writes
their rows of the table in docs/models.md.
"""

import copy
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import transformers

from seqcls_beam import label
from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import CheckpointError, resolve
from seqcls_beam.model.engine import Classifier
from seqcls_beam.model.engine.errors import EngineError
from seqcls_beam.model.predictions import probabilities
from tests import families, tiny

DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"
HEAD = "| family | runs | put back |\n| --- | --- | --- |\n"
ELSEWHERE = {"layoutlmv2": "not tried: needs the package detectron2, which PyPI does not have"}
DEAF = ("mra",)  # its attention is a CUDA kernel, and nothing where there is none: all texts get one answer
TEXTS = [  # from short to long, one of them again between others, one with names of special tokens
    "a",
    "the fox",
    "What a film!",
    "the fox",
    "the lazy dog </s> [SEP] <pad> [PAD] <unk> of <|endoftext|>",
    *tiny.CORPUS,
    " ".join(tiny.CORPUS[1:3]),
    "lazy " * 60,
    " ".join(tiny.CORPUS * 3),
]
OPTIONS = ModelOptions(device="cpu", threads=1, batch_tokens=256)


class Found(NamedTuple):
    """What became of a family here; answers are float32 [texts, labels], NaN of a text that is rejected."""

    runs: str  # how, or "refused: " and why
    put_back: bool = False
    answers: tuple[Any, ...] = ()  # a text at a time, the short ones first; the long ones first; all at once

    @property
    def row(self) -> str:
        return f"{self.runs} | {'after each pass' if self.put_back else ''}"


def ours(folder: Path) -> Found:
    """Raises what is no refusal, and for one that is no sentence."""
    try:
        checkpoint = resolve(folder)
        classifier = Classifier(checkpoint, OPTIONS)
    except (CheckpointError, EngineError) as error:
        said = str(error)
        assert "\n" not in said and len(said) < 700, said
        why = said.removeprefix(f"{folder}: ").removeprefix("the plain model cannot be used on made-up texts: ")
        return Found(f"refused: {re.sub(', which differ by .*', '', why)}")

    def read(texts: list[str]) -> Any:
        try:
            return probabilities(texts, None, checkpoint, classifier, OPTIONS)
        except ValueError as error:
            assert len(texts) == 1 and "the model fails on text" in str(error)
            return np.full((1, len(families.LABELS)), np.nan, np.float32)

    short_first = np.concatenate([read([text]) for text in TEXTS])
    long_first = np.concatenate([read([text]) for text in reversed(TEXTS)])[::-1]
    together = np.full_like(short_first, np.nan)
    sound = ~np.isnan(short_first[:, 0])
    together[sound] = read([text for text, good in zip(TEXTS, sound, strict=True) if good])
    return Found(classifier.facts["engine"], "put_back" in classifier.facts, (short_first, long_first, together))


def plain(folder: Path) -> Any:
    """What transformers' pipeline gives, a text at a time, each to a model that has read none: float32 [texts, labels].

    NaN where it raises, whatever it raises.
    """
    torch.set_num_threads(OPTIONS.threads or 1)  # tiny products on more wait for each other
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    words = transformers.AutoTokenizer.from_pretrained(folder)
    found = np.full((len(TEXTS), len(families.LABELS)), np.nan, np.float32)
    for row, text in enumerate(TEXTS):
        pipe = transformers.pipeline(
            "text-classification", model=copy.deepcopy(model), tokenizer=words, top_k=None, device="cpu"
        )
        try:
            (scores,) = pipe([text], truncation=True, batch_size=1)
        except Exception:
            continue
        by_label = {each["label"]: each["score"] for each in scores}
        found[row] = [by_label[name] for name in families.LABELS]
    return found


def tried(family: str, folder: Path) -> Found:
    """Ours, that holds to the pipeline's answers; a refusal, where the pipeline fails or gives what follows from more
    than the text as a classifier is given it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of families, on their own defaults
        expected, found = plain(families.checkpoint(folder, family)), ours(folder)
        if not found.answers:
            again = plain(folder)
            more = "its tokenizer gives the model" in found.runs
            assert np.isnan(expected).all() or np.nanmax(np.abs(again - expected)) > 1e-3 or more, found.runs
            return found
    for each in found.answers:
        np.testing.assert_allclose(each, expected, rtol=0, atol=1e-5)
    short_first, long_first, _ = found.answers
    assert np.array_equal(short_first, long_first, equal_nan=True)
    assert np.array_equal(short_first[1], short_first[3]), "one text, one answer"
    assert family in DEAF or np.ptp(expected[1:], axis=0).max() > 0.005, "it tells texts apart"
    return found


def rows() -> dict[str, str]:
    """Those of the document, by family."""
    table = DOCUMENT.read_text().split(HEAD)[1].split("\n\n")[0]
    return dict(re.findall(r"^\| ([\w.-]+) \| (.*) \|$", table, re.MULTILINE))


def test_the_table_has_every_family():
    assert list(rows()) == families.families()


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("family", families.families())
def test_a_family_gives_what_its_pipeline_gives(family, tmp_path):
    if family in ELSEWHERE:
        with pytest.raises(ImportError, match="detectron2"):
            families.checkpoint(tmp_path, family)
    else:
        assert tried(family, tmp_path).row.strip() == rows()[family].strip()


@pytest.mark.engine
@pytest.mark.parametrize(
    "family",
    ["gpt2", "bart", "t5", "xlnet", "funnel", "big_bird", "fnet", "perceiver", "xlm", "jamba"],
)
def test_one_of_each_kind_gives_what_its_pipeline_gives(family, tmp_path):
    assert tried(family, tmp_path).row.strip() == rows()[family].strip()


@pytest.mark.engine
def test_a_model_that_draws_lots_is_refused(tmp_path):
    folder = families.checkpoint(tmp_path, "reformer")
    with pytest.raises(CheckpointError, match=r"it gives a text two answers, which differ by 0\.\d+ in a probability"):
        Classifier(resolve(folder), OPTIONS)


@pytest.mark.engine
def test_a_text_that_is_too_short_for_a_model_is_rejected_and_all_others_are_labelled(tmp_path):
    folder = families.checkpoint(tmp_path, "canine")
    expected = plain(folder)
    assert np.isnan(expected[:, 0]).tolist() == [True] + [False] * (len(TEXTS) - 1)
    short, *others = label(TEXTS, folder, device="cpu", threads=1).to_pylist()
    assert short["label"] is None and "max_pool1d" in short["reject"]["detail"]
    assert np.abs([each["scores"] for each in others] - expected[1:]).max() < 1e-5


@pytest.mark.parametrize(
    ("family", "what"),
    [("roc_bert", "input_shape_ids and input_pronunciation_ids"), ("tapas", "token_type_ids")],
)
def test_a_tokenizer_that_gives_more_than_ids_is_refused_in_a_sentence(family, what, tmp_path):
    folder = families.checkpoint(tmp_path, family)
    with pytest.raises(CheckpointError) as refused:
        resolve(folder)
    assert str(refused.value) == (
        f"{folder}: its tokenizer gives the model {what} of a form that is not read here: take a checkpoint that reads "
        "texts alone"
    )


def write(those: list[str]) -> None:
    """Try families, and write their rows of the table."""
    transformers.utils.logging.disable_progress_bar()
    known = rows()
    for family in those:
        with tempfile.TemporaryDirectory() as folder:
            row = f"{ELSEWHERE[family]} |" if family in ELSEWHERE else tried(family, Path(folder)).row.strip()
        print(family, row, flush=True)
        known[family] = row
    before, table = DOCUMENT.read_text().split(HEAD)
    after = table.partition("\n\n")[2] if table.startswith("| ") else table.lstrip("\n")
    lines = [f"| {family} | {known[family]} |\n" for family in families.families() if family in known]
    DOCUMENT.write_text(f"{before}{HEAD}{''.join(lines)}\n{after}")


if __name__ == "__main__":
    if sys.argv[1:2] != ["--write"]:
        sys.exit("usage: python -m tests.model.test_families --write [FAMILY …]")
    write(sys.argv[2:] or families.families())
