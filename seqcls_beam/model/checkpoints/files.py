"""The files of a checkpoint: which of a folder are read, whether they can be, and their digests."""

import hashlib
import json
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seqcls_beam.model.checkpoints.errors import CheckpointError

_TOKENIZER = ("tokenizer.json", "vocab.txt", "vocab.json")  # one of these, or a sentencepiece *.model
_HEADS = tuple(
    f"{layer}.weight" for layer in ("classifier", "classifier.out_proj", "classification_head.out_proj", "score")
)
"""What models call the weights [outputs, ...] of their last layer."""
_BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")


def needed(names: Iterable[str]) -> list[str]:
    """Of the file names in a folder those that are read, sorted: config, tokenizer and one form of the weights."""
    there = set(names)
    wanted = set(tokenizer_files(there))
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        index = f"{stem}.{suffix}.index.json"
        if f"{stem}.{suffix}" in there:
            return sorted(wanted | {f"{stem}.{suffix}"})
        if index in there:
            shard = re.compile(rf"{stem}-\d+-of-\d+\.{suffix}")
            return sorted(wanted | {index} | {each for each in there if shard.fullmatch(each)})
    return sorted(wanted)


def tokenizer_files(names: Iterable[str]) -> list[str]:
    """Of the file names in a folder those of the config and the tokenizer, sorted."""
    return sorted(each for each in names if each in ("config.json", *_TOKENIZER, *_BESIDE) or each.endswith(".model"))


def check_folder(folder: Path, name: str, pointed: bool = True) -> None:
    """Raise `CheckpointError` where there is no folder, no config or no tokenizer, or one of them is no file.

    `pointed`: a LATEST led there, or could not have.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{name}: {folder} is {'not a folder' if folder.exists() else 'no folder here'}")
    there = {each.name for each in folder.iterdir()}
    if "config.json" not in there:
        lacks = "no config.json" if pointed else "no config.json and no LATEST"
        raise CheckpointError(f"{name}: {lacks} in {folder}; is this the folder that save_pretrained wrote?")
    if not any(each in _TOKENIZER or each.endswith(".model") for each in there):
        raise CheckpointError(f"{name}: no tokenizer in {folder}; save the one the model was trained with beside it")
    for each in needed(there):
        if not (folder / each).is_file() and (folder / each).exists():  # a pipe would be waited for
            raise CheckpointError(f"{name}: {each} in {folder} is no file")


def check_weights(folder: Path, name: str) -> None:
    """Raise `CheckpointError` for weights that are missing or broken, without reading their numbers."""
    there = {each.name for each in folder.iterdir()}
    weights = [each for each in needed(there) if each.startswith(("model.", "model-", "pytorch_model"))]
    for index in (each for each in weights if each.endswith(".index.json")):
        weight_map = read_json(folder / index, name).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(each, str) for each in weight_map.values()):
            raise CheckpointError(f"{name}: weight_map in {index} does not say in which file each of the weights is")
        missing = set(weight_map.values()) - there
        if missing:
            raise CheckpointError(f"{name}: {index} names weights that are not there: {', '.join(sorted(missing))}")
    if not weights:
        raise CheckpointError(f"{name}: no weights in {folder} (neither model*.safetensors nor pytorch_model*.bin)")
    for each in weights:
        _check_readable(folder / each, name)


def _check_readable(weights: Path, name: str) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        if weights.suffix == ".safetensors":
            with safe_open(weights, framework="numpy"):
                return
        with weights.open("rb") as file:  # torch.save writes zip files, and pickles before torch 1.6
            zipped = file.read(2) == b"PK"
        if zipped and not zipfile.is_zipfile(weights):
            raise SafetensorError("the zip file ends early")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{name}: {weights.name} cannot be read ({error}); it has {weights.stat().st_size} bytes: "
            "a broken download, or a Git LFS pointer?"
        ) from error


def outputs_of(folder: Path) -> int | None:
    """How many outputs a classifier has by the shape of its weights; None where they do not show it."""
    from safetensors import safe_open

    for weights in folder.glob("model*.safetensors"):
        with safe_open(weights, framework="numpy") as file:
            for head in set(_HEADS).intersection(file.keys()):
                return int(file.get_slice(head).get_shape()[0])
    return None


def read_json(path: Path, name: str) -> dict[str, Any]:
    """The object in a JSON file; raises `CheckpointError` where it is none."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{name}: {path.name} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{name}: {path.name} is not a JSON object")
    return value


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """File name → sha256 of its bytes, in the order of the names."""
    found = {}
    for name in sorted(names):
        with (folder / name).open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def digest(files: dict[str, str]) -> str:
    """One digest of what `digests` gives, whatever its order."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()
