"""Folders of models that are damaged, or none: each ends the command in one sentence that names it, and in its code."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import forked, tiny

pytestmark = pytest.mark.engine

Spoil = Callable[[Path], object]


def config(**changes: object) -> Spoil:
    return written("config.json", **changes)


def written(name: str, **changes: object) -> Spoil:
    """Fields of a JSON file that say something else."""

    def spoil(folder: Path) -> None:
        said = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
        (folder / name).write_text(json.dumps(said | changes))

    return spoil


def holds(name: str, data: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(data)


def cut(name: str, size: int) -> Spoil:
    return lambda folder: os.truncate(folder / name, size)


def index(said: object) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(json.dumps(said))

    return spoil


def instead(name: str) -> Spoil:
    """A folder where a file is due."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return spoil


DEEP = b"[" * 200_000


def deep_index(folder: Path) -> None:
    index({})(folder)
    (folder / "model.safetensors.index.json").write_bytes(DEEP)


def latest(data: bytes) -> Spoil:
    """A folder of versions, of which LATEST says the one that is meant."""

    def spoil(folder: Path) -> None:
        (folder / "config.json").unlink()
        (folder / "LATEST").write_bytes(data)

    return spoil


MISTAKES: list[tuple[str, Spoil, str]] = [
    ("no weight_map", index({}), "weight_map in model.safetensors.index.json does not say"),
    ("weight_map is a list", index({"weight_map": ["a"]}), "weight_map in model.safetensors.index.json does not say"),
    ("weight_map is null", index({"weight_map": None}), "weight_map in model.safetensors.index.json does not say"),
    ("weight_map names a number", index({"weight_map": {"a": 1}}), "weight_map in model.safetensors.index.json does"),
    ("weight_map leads out", index({"weight_map": {"a": "../a.safetensors"}}), "names '../a.safetensors': expected"),
    ("weight_map names what is not there", index({"weight_map": {"a": "b.safetensors"}}), "not there: b.safetensors"),
    ("the index is a list", index([]), "model.safetensors.index.json is not a JSON object"),
    (
        "the index is deep",
        lambda folder: (index({})(folder), holds("model.safetensors.index.json", DEEP)(folder)),
        "is not",
    ),
    ("architectures is a number", config(architectures=5), "architectures in config.json is 5: expected a list"),
    ("model_type is a list", config(model_type=["bert"]), "model_type in config.json is ['bert']: expected a string"),
    ("model_type is nobody's", config(model_type="mybert"), "model_type 'mybert' is unknown to transformers"),
    ("the config is empty", holds("config.json", b""), "config.json is not JSON"),
    ("the config is deep", holds("config.json", DEEP), "config.json is not JSON"),
    ("the config is null", holds("config.json", b"null"), "config.json is not a JSON object"),
    ("the config is not UTF-8", holds("config.json", b'{"a": "\xff"}'), "config.json is not JSON"),
    ("the config is a folder", instead("config.json"), "config.json in"),
    ("the tokenizer is a folder", instead("tokenizer.json"), "tokenizer.json in"),
    ("the weights are a folder", instead("model.safetensors"), "model.safetensors in"),
    ("the tokenizer is cut", cut("tokenizer.json", 1000), "its tokenizer does not load"),
    ("the tokenizer is empty", holds("tokenizer.json", b""), "its tokenizer does not load"),
    ("the tokenizer is deep", holds("tokenizer.json", DEEP), "its tokenizer does not load"),
    ("the tokenizer's config is deep", holds("tokenizer_config.json", DEEP), "tokenizer_config.json is not JSON"),
    ("the tokenizer's config is a list", holds("tokenizer_config.json", b"[]"), "tokenizer_config.json is not a JSON"),
    ("the weights are empty", holds("model.safetensors", b""), "model.safetensors cannot be read"),
    ("the weights are cut", cut("model.safetensors", 5000), "model.safetensors cannot be read"),
    ("the header is too long", holds("model.safetensors", b"\xff" * 64), "model.safetensors cannot be read"),
    ("the header is no JSON", holds("model.safetensors", (8).to_bytes(8, "little") + b"{" * 8), "cannot be read"),
    ("many layers", config(num_hidden_layers=2_000_000), "num_hidden_layers in config.json is 2000000, and"),
    ("an adapter", holds("adapter_config.json", b"{}"), "merge it into its base with peft"),
    ("other weights", config(transformers_weights="other.safetensors"), "transformers_weights in config.json names"),
    ("a kernel", config(attn_implementation="somebody/kernel"), "attn_implementation in config.json is"),
    ("LATEST is empty", latest(b""), "LATEST"),
    ("LATEST leads out", latest(b"../other\n"), "LATEST"),
    ("LATEST names nothing", latest(b"v9\n"), "v9"),
    ("LATEST is no text", latest(b"\xff\xfe"), "LATEST"),
    ("LATEST beside a config", holds("LATEST", b"v9\n"), "is a checkpoint itself, so that both may be meant"),
    ("LATEST is a folder", instead("LATEST"), "LATEST"),
]
COMMANDS = [
    "classify --input={m}/right.jsonl --model={f} --output={m}/out",
    "classify --text=film --model={f}",
    "evaluate --input={m}/right.jsonl --model={f}",
]
"""Each mistake is made with one of them."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="mistakes-"))
    (made / "right.jsonl").write_text('{"id": 1, "text": "a film", "label": "positive"}\n')
    tiny.checkpoint(made / "model")
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def warm(folder: Path) -> Iterator[forked.Warm]:
    with forked.quiet(folder) as made:
        yield made


@pytest.mark.parametrize(
    ("number", "name", "spoil", "said"),
    [(number, *each) for number, each in enumerate(MISTAKES)],
    ids=[name for name, _, _ in MISTAKES],
)
def test_a_model_that_is_none_is_told_in_one_sentence(warm, folder, number, name, spoil, said):
    spoilt = shutil.copytree(folder / "model", folder / f"model{number}")
    spoil(spoilt)
    words = COMMANDS[number % len(COMMANDS)].format(m=folder, f=spoilt).split()
    done = warm.run(words)
    assert done.code in (1, 2), done.err
    assert done.err.startswith("seqcls_beam: ") and done.err.count("\n") == 1 and len(done.err) < 1200, done.err
    assert said in done.err and str(spoilt) in done.err, done.err
    assert not done.out and not (folder / "out").exists()


def test_a_name_that_is_no_utf8_is_told_as_it_is(warm, folder):
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/model-\xff"))
    shutil.copytree(folder / "model", odd)
    done = warm.run(["classify", "--text=film", f"--model={odd}"])
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "model-%FF: does not load (SafetensorError: " in done.err, "the library reads no such path"
