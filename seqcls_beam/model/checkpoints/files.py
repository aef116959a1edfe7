"""The files of a checkpoint: which of a folder are read, whether they can be, and their digests."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from seqcls_beam.model.checkpoints.errors import CheckpointError

Indexed = Callable[[str], list[str]]
"""The name of an index in the folder → the files of weights that it names; raises `CheckpointError`."""

_VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "vocab-src.json",
)
"""One of these, or a model of sentencepiece."""
_SENTENCEPIECE = (".model", ".spm")
_WITHOUT_VOCABULARY = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer")  # they read bytes or characters
_BESIDE = (
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt", "bpe.codes"),
    *("byte_maps.json", "dict.txt", "emoji.json", "entity_vocab.json", "normalizer.json", "prophetnet.tokenizer"),
    *("target_vocab.json", "vocab-tgt.json", "word_pronunciation.json", "word_shape.json"),
)
"""What else tokenizers of transformers 5.23 read (VOCAB_FILES_NAMES in its models/*/tokenization_*.py)."""
_FORMS = (("model", "safetensors"), ("pytorch_model", "bin"))  # in transformers' order
_WEIGHTS = (".safetensors", ".bin")
_INDEX = ".index.json"


def needed(names: Iterable[str], indexed: Indexed) -> list[str]:
    """Of the file names in a folder those that are read, sorted: config, tokenizer and one form of the weights.

    `indexed` is asked where the weights are in several files, which may have any names; raises as it does.
    """
    there = set(names)
    return sorted({*tokenizer_files(there), *(each for each in _weights(there, indexed) if each in there)})


def tokenizer_files(names: Iterable[str]) -> list[str]:
    """Of the file names in a folder those of the config and the tokenizer, sorted."""
    read = ("config.json", *_VOCABULARIES, *_BESIDE)
    return sorted(each for each in names if each in read or each.endswith(_SENTENCEPIECE))


def weight_files(names: Iterable[str]) -> list[str]:
    """Of the names that `needed` gives those of weights."""
    return [each for each in names if each.endswith(_WEIGHTS)]


def _weights(there: set[str], indexed: Indexed) -> list[str]:
    """The files of the weights in the form that transformers takes, there or not; with their index, if there is one."""
    for stem, suffix in _FORMS:
        whole = f"{stem}.{suffix}"
        if whole in there:
            return [whole]
        if (index := whole + _INDEX) in there:
            return [index, *indexed(index)]
    return []


def named_in(said: bytes, index: str, name: str) -> list[str]:
    """What an index of weights holds → the files that it names, sorted.

    Raises `CheckpointError`, which calls the checkpoint `name`, where it names none, or one that is not beside it.
    """
    placed = _object(said, index, name).get("weight_map")
    files = set(placed.values()) if isinstance(placed, dict) and all(map(_is_name, placed.values())) else None
    if not files:
        raise CheckpointError(f"{name}: weight_map in {index} does not say in which file each of the weights is")
    for each in sorted(files):
        if "/" in each or not each.endswith(_WEIGHTS):
            raise CheckpointError(
                f"{name}: weight_map in {index} names {each!r:.200}: expected files beside it that end with "
                f"{' or '.join(_WEIGHTS)}"
            )
    return sorted(files)


def _is_name(said: Any) -> bool:
    return isinstance(said, str)


def indexed_in(folder: Path, name: str) -> Indexed:
    """What `needed` asks, of a folder of this machine."""
    return lambda index: named_in((folder / index).read_bytes(), index, name)


def check_folder(folder: Path, name: str, pointed: bool = True) -> None:
    """Raise `CheckpointError` where there is no folder, no config or no tokenizer, or something in it is no file.

    `pointed`: a LATEST led there, or could not have.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{name}: {folder} is {'not a folder' if folder.exists() else 'no folder here'}")
    there = {each.name: each for each in folder.iterdir()}
    for each, path in there.items():
        special = path.exists() and not path.is_file() and not path.is_dir()
        if special or (path.is_dir() and (each in tokenizer_files(there) or each.endswith((*_WEIGHTS, _INDEX)))):
            raise CheckpointError(f"{name}: {each} in {folder} is no file")  # a pipe would be waited for
    if "adapter_config.json" in there:
        raise CheckpointError(
            f"{name}: {folder} holds an adapter (adapter_config.json), which changes a model as it is loaded: merge it "
            "into its base with peft (merge_and_unload, then save_pretrained), and give the folder that this makes"
        )
    if "config.json" not in there:
        lacks = "no config.json" if pointed else "no config.json and no LATEST"
        raise CheckpointError(f"{name}: {lacks} in {folder}; is this the folder that save_pretrained wrote?")
    if not any(each in _VOCABULARIES or each.endswith(_SENTENCEPIECE) for each in there):
        said = read_json(folder / "tokenizer_config.json", name) if "tokenizer_config.json" in there else {}
        if said.get("tokenizer_class") not in _WITHOUT_VOCABULARY:
            raise CheckpointError(
                f"{name}: no tokenizer in {folder}; save the one the model was trained with beside it"
            )


def check_weights(folder: Path, name: str) -> list[Path]:
    """The files of the weights; raises `CheckpointError` where some are missing or broken, reading no numbers."""
    there = {each.name for each in folder.iterdir()}
    wanted = _weights(there, indexed_in(folder, name))
    missing = [each for each in wanted if each not in there]
    if missing:
        raise CheckpointError(f"{name}: {wanted[0]} names weights that are not there: {', '.join(missing)}")
    if not wanted:
        raise CheckpointError(f"{name}: no weights in {folder} (neither model*.safetensors nor pytorch_model*.bin)")
    found = [folder / each for each in weight_files(wanted)]
    for path in found:
        _check_readable(path, name)
    return found


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


def read_json(path: Path, name: str) -> dict[str, Any]:
    """The object in a JSON file; raises `CheckpointError` where it is none."""
    return _object(path.read_bytes(), path.name, name)


def _object(said: bytes, file: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(said)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{name}: {file} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{name}: {file} is not a JSON object")
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
