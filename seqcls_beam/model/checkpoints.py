"""Checkpoints: from what the user named to a verified folder on this machine.

    name → resolve, once, where the run is launched → Checkpoint → .local(), in every process → folder

A checkpoint's identity is the digest of its files, not its name: a worker that fetches other bytes than the launcher
saw raises. This file reads files and JSON; it neither tokenises nor knows torch.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec

from seqcls_beam import storage

PACKAGED = {"sentiment": Path(__file__).parents[1] / "sentiment"}
"""Checkpoints that come with the package."""

_TOKENIZER = ("tokenizer.json", "vocab.txt", "vocab.json")  # one of these, or a sentencepiece *.model
_BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")
# Families that number positions from padding_idx + 1, so that a table of 514 holds 512 tokens
# (create_position_ids_from_input_ids in transformers/models/*/modeling_*.py, 5.23).
_OFFSET_POSITIONS = {
    *("camembert", "data2vec-text", "esm", "ibert", "longformer", "luke", "mpnet", "roberta"),
    *("roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
}
# What settings of tokenizers treat apart: case, accents, ligatures, scripts, special tokens, blanks of all kinds.
_PROBE = (
    "The  Quick caf\u00e9, na\u00efve STRASSE \u00df don't \u201cquote\u201d 3.14 #tag [MASK] <mask> "
    "a\u0301 \ufb01 \u0130 \u6771\u4eac \u043f\u0440\u0438 \U0001f642\t\n"
)
_NO_LIMIT = 1_000_000  # transformers writes 1e30 into tokenizer_config.json for "no limit"
_USUAL_LIMIT = 512  # for relative positions, where neither config nor tokenizer sets a limit


class CheckpointError(ValueError):
    """The checkpoint cannot be used: one sentence that says why, and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """A sequence classifier, as the launcher found it. Small, picklable: it travels to the workers."""

    name: str  # as the user gave it: "sentiment", a folder, a URI or a Hub id
    location: str  # the absolute folder, the URI or the Hub id
    revision: str | None  # the resolved commit of a Hub id
    digest: str  # sha256 over the sorted (file name, sha256 of its bytes) of `files`
    files: dict[str, str] = field(hash=False)  # file name → sha256
    model_type: str
    labels: tuple[str, ...]  # in id2label order
    problem: str  # "single_label", "multi_label" or "regression"
    max_length: int  # the checkpoint's own limit, in tokens with the special ones
    sentence_ids: bool  # the model tells the two sentences of a pair apart by token_type_ids
    reads: str  # digest of what its tokenizer makes of texts, whatever files say so

    def local(self) -> Path:
        """The folder on this machine, fetched once into the cache if need be and verified once per process."""
        return _local(self)


def resolve(model: str, revision: str | None = None) -> Checkpoint:
    """Name → Checkpoint: fetch, digest and validate, without loading weights.

    `model` is a key of PACKAGED, a folder, an fsspec URI or a Hub id; `revision` is for Hub ids only.
    Raises `CheckpointError` with the first thing that is wrong.
    """
    return _resolve(model, revision, needed, _describe)


def resolve_tokenizer(model: str, revision: str | None = None) -> Checkpoint:
    """Name → the tokenizer of a checkpoint, whatever model stands beside it: no labels, and no weights are read.

    The digest is that of the tokenizer's files and the config. Raises `CheckpointError`.
    """
    return _resolve(model, revision, tokenizer_files, _describe_tokenizer)


def resolve_base(model: str, revision: str | None = None) -> Checkpoint:
    """Name → a model to begin with, whatever its head is; `labels` are those of a classifier, else there are none.

    Raises `CheckpointError`.
    """
    return _resolve(model, revision, needed, _describe_base)


def _resolve(
    model: str,
    revision: str | None,
    pick: Callable[[Iterable[str]], list[str]],
    describe: Callable[[Path, str], dict[str, Any]],
) -> Checkpoint:
    if revision is not None and not _on_hub(model):
        raise CheckpointError(f"revision {revision!r} is for Hub ids, and {model!r} is none: leave it out")
    with contextlib.ExitStack() as stack:
        location = model
        if "://" in model:
            folder = stack.enter_context(_fetched(model, pick))
        elif _on_hub(model):
            folder, revision = _from_hub(model, revision, pick)
        else:
            folder = PACKAGED.get(model) or Path(model).expanduser().absolute()
            location = str(folder)
        _check_files(folder, model)
        files = _digests(folder, pick(each.name for each in folder.iterdir()))
        digest, described = _digest(files), describe(folder, model)
        if "://" in model:
            with storage.locked(digest) as kept:
                if not kept.exists():
                    folder.rename(kept)
    return Checkpoint(name=model, location=location, revision=revision, digest=digest, files=files, **described)


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


def load_tokenizer(folder: Path, name: str) -> Any:
    """The fast tokenizer of a folder, as AutoTokenizer makes it; raises `CheckpointError`."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise CheckpointError(f"{name}: its tokenizer does not load ({type(error).__name__}: {error})") from error
    if not getattr(tokenizer, "is_fast", False):
        raise CheckpointError(f"{name}: {type(tokenizer).__name__} has no fast version; save one as tokenizer.json")
    return tokenizer


def _on_hub(model: str) -> bool:
    known = model in PACKAGED or "://" in model or Path(model).expanduser().exists()
    return not known and _HUB_ID.fullmatch(model) is not None


def _check_files(folder: Path, name: str) -> None:
    """Raise `CheckpointError` for what can be seen without reading the weights' numbers."""
    if not folder.is_dir():
        raise CheckpointError(f"{name}: {folder} is {'not a folder' if folder.exists() else 'no folder here'}")
    there = {each.name for each in folder.iterdir()}
    if "config.json" not in there:
        raise CheckpointError(f"{name}: no config.json in {folder}; is this the folder that save_pretrained wrote?")
    if not any(each in _TOKENIZER or each.endswith(".model") for each in there):
        raise CheckpointError(f"{name}: no tokenizer in {folder}; save the one the model was trained with beside it")


def _check_weights(folder: Path, name: str) -> None:
    there = {each.name for each in folder.iterdir()}
    weights = [each for each in needed(there) if each.startswith(("model.", "model-", "pytorch_model"))]
    for index in (each for each in weights if each.endswith(".index.json")):
        missing = set(_json(folder / index, name).get("weight_map", {}).values()) - there
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


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{name}: {path.name} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{name}: {path.name} is not a JSON object")
    return value


def _describe(folder: Path, name: str) -> dict[str, Any]:
    """Config and tokenizer → the fields of Checkpoint that speak of the model."""
    _check_weights(folder, name)
    raw = _json(folder / "config.json", name)
    architectures = raw.get("architectures") or ["model of no named architecture"]
    if not str(architectures[0]).endswith("ForSequenceClassification"):
        raise CheckpointError(f"{name}: has no classification head, it is a {architectures[0]}; fine-tune it first")
    config = _config(folder, name)
    names = config.id2label
    if sorted(names) != list(range(len(names))) or not names:
        raise CheckpointError(f"{name}: id2label must number the labels from 0, and has {sorted(names)}")
    twice = [label for label, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise CheckpointError(f"{name}: two labels are called {twice[0]!r}; give each a name of its own in config.json")
    problem = config.problem_type or _PROBLEMS[2 if len(names) == 1 else 0]
    if problem not in _PROBLEMS:
        raise CheckpointError(f"{name}: problem_type {problem!r} is none of {', '.join(_PROBLEMS)}")
    if problem == "regression" and len(names) > 1:
        raise CheckpointError(f"{name}: a regression of {len(names)} values at once; only one value is supported")
    return {
        "model_type": config.model_type,
        "labels": tuple(str(names[i]) for i in range(len(names))),
        "problem": problem.removesuffix("_classification"),
        **_reading(folder, name, config),
    }


def _describe_tokenizer(folder: Path, name: str) -> dict[str, Any]:
    config = _config(folder, name)
    return {"model_type": config.model_type, "labels": (), "problem": "", **_reading(folder, name, config)}


def _describe_base(folder: Path, name: str) -> dict[str, Any]:
    _check_weights(folder, name)
    config = _config(folder, name)
    names = config.id2label if (config.architectures or [""])[0].endswith("ForSequenceClassification") else {}
    return {
        "model_type": config.model_type,
        "labels": tuple(str(names[i]) for i in sorted(names)),
        "problem": (config.problem_type or "").removesuffix("_classification"),
        **_reading(folder, name, config),
    }


def _config(folder: Path, name: str) -> Any:
    raw = _json(folder / "config.json", name)
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    family = raw.get("model_type")
    if family not in CONFIG_MAPPING_NAMES:
        why = "needs its own Python code, which is never run" if "auto_map" in raw else "is unknown to transformers"
        raise CheckpointError(f"{name}: model_type {family!r} {why}")
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise CheckpointError(f"{name}: config.json is not valid ({type(error).__name__}: {error})") from error
    return config


def _reading(folder: Path, name: str, config: Any) -> dict[str, Any]:
    """How texts are read."""
    tokenizer = load_tokenizer(folder, name)
    types = getattr(config, "type_vocab_size", None) or 0
    return {
        "max_length": _limit(config, tokenizer.model_max_length),
        "sentence_ids": types > 1 and "token_type_ids" in tokenizer.model_input_names,
        "reads": _fingerprint(tokenizer),
    }


def _fingerprint(tokenizer: Any) -> str:
    """Two tokenizers with one vocabulary that take the probes apart alike are one: their files may still differ in
    names, limits and order, and the same tokenizer.json is another tokenizer under other settings beside it."""
    made: list[Any] = []
    for texts in ((_PROBE,), ("Ä b", "c D")):
        try:
            made.append(tokenizer(*texts, truncation=False)["input_ids"])
        except Exception as error:  # one without an unknown token raises on words that it does not know
            made.append(str(error))
    said = json.dumps([sorted(tokenizer.get_vocab().items()), made])
    return hashlib.blake2b(said.encode(), digest_size=16).hexdigest()


def _limit(config: Any, tokenizer_limit: int) -> int:
    positions = getattr(config, "max_position_embeddings", None) or 0
    if config.model_type in _OFFSET_POSITIONS:
        positions -= (1 if config.pad_token_id is None else config.pad_token_id) + 1
    return min((each for each in (positions, tokenizer_limit) if 0 < each < _NO_LIMIT), default=_USUAL_LIMIT)


def _digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    digests = {}
    for name in sorted(names):
        with (folder / name).open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def _digest(files: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()


@functools.cache
def _local(checkpoint: Checkpoint) -> Path:
    name, location, files = checkpoint.name, checkpoint.location, list(checkpoint.files)
    if "://" in location:
        with storage.locked(checkpoint.digest) as folder:
            if folder.exists():
                return _verified(folder, checkpoint)
            with _fetched(location, lambda _: files) as fetched:
                return _verified(fetched, checkpoint).rename(folder)
    if checkpoint.revision is not None:
        return _verified(_from_hub(location, checkpoint.revision, lambda _: files, files)[0], checkpoint)
    folder = PACKAGED.get(name, Path(location))
    if not folder.is_dir():
        raise CheckpointError(
            f"{name}: the folder {folder} is not on this machine ({os.uname().nodename}); give the workers a folder "
            "they all see, or a URI"
        )
    return _verified(folder, checkpoint)


def _verified(folder: Path, checkpoint: Checkpoint) -> Path:
    found = _digests(folder, (each for each in checkpoint.files if (folder / each).exists()))
    if _digest(found) != checkpoint.digest:
        other = sorted(each for each, digest in checkpoint.files.items() if found.get(each) != digest)
        raise CheckpointError(
            f"{checkpoint.name}: in {folder} these files are not those the run was launched with: {', '.join(other)}; "
            "delete the folder if it is a cache, else launch again"
        )
    return folder


@contextlib.contextmanager
def _fetched(uri: str, pick: Callable[[Iterable[str]], list[str]]) -> Iterator[Path]:
    """The files of a URI in a new folder of the cache, to be renamed there; it is gone afterwards if it was not."""
    folder = Path(tempfile.mkdtemp(prefix="fetching-", dir=storage.cache()))
    try:
        try:
            files, root = fsspec.core.url_to_fs(uri)
            root = root.rstrip("/")
            for each in pick(each.rpartition("/")[2] for each in files.ls(root, detail=False)):
                files.get_file(f"{root}/{each}", str(folder / each))
        except Exception as error:
            raise CheckpointError(f"{uri}: cannot be fetched ({type(error).__name__}: {error})") from error
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _from_hub(
    model: str, revision: str | None, pick: Callable[[Iterable[str]], list[str]], names: list[str] | None = None
) -> tuple[Path, str]:
    """(Hub id, revision) → (folder in the Hub's own cache, commit); where the Hub is silent that cache will do."""
    from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    config = try_to_load_from_cache(model, "config.json", revision=revision)
    cached = Path(config).parent if isinstance(config, str) else None
    if cached and names and all((cached / each).exists() for each in names):
        return cached, cached.name
    try:
        if names is None:
            names = pick(each.rfilename for each in HfApi().model_info(model, revision=revision).siblings or ())
        folder = Path(snapshot_download(model, revision=revision, allow_patterns=names))
    except Exception as error:
        unknown = isinstance(error, RepositoryNotFoundError | RevisionNotFoundError)
        if cached is None or unknown or names is not None:
            why = "no such model or revision, or no access to it" if unknown else "no answer"
            raise CheckpointError(
                f"{model}: no such folder here ({Path(model).absolute()}), and from the Hugging Face Hub {why} "
                f"(revision {revision or 'main'}; {type(error).__name__}: {' '.join(str(error).split())})"
            ) from error
        folder = cached
    return folder, folder.name
