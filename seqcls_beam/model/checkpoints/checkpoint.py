"""The checkpoint: a name is resolved to one, and every process finds its folder."""

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seqcls_beam import storage
from seqcls_beam.cache import locked
from seqcls_beam.model.checkpoints.description import describe, describe_base, describe_tokenizer
from seqcls_beam.model.checkpoints.errors import CheckpointError
from seqcls_beam.model.checkpoints.fetching import Pick, fetched, from_hub
from seqcls_beam.model.checkpoints.files import (
    Indexed,
    check_folder,
    digest,
    digests,
    indexed_in,
    needed,
    tokenizer_files,
)
from seqcls_beam.model.checkpoints.latest import LATEST, version_in
from seqcls_beam.version import __version__

PACKAGED = {"sentiment": Path(__file__).parents[2] / "sentiment"}
"""Name → folder of the checkpoints that come with the package."""

_FOLLOWED = 3
"""Times that LATEST is read, where what it named is gone and it names something else."""

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


@dataclass(frozen=True)
class Checkpoint:
    """A sequence classifier, as the launcher found it.

    Small, picklable: it travels to the workers, where `local` raises `CheckpointError` for files that are not the same.
    `resolve_tokenizer` and `resolve_base` give one for a tokenizer alone, or for a model with any head: its `labels`
    may be empty, and its `problem` "".
    """

    name: str  # as the user gave it: "sentiment", a folder, a URI or a Hub id
    location: str  # the absolute folder, the URI or the Hub id; where LATEST was followed that of the version
    revision: str | None  # the resolved commit of a Hub id, None for all others
    digest: str  # sha256 over the sorted (file name, sha256 of its bytes) of `files`
    files: dict[str, str] = field(hash=False)  # file name → sha256
    model_type: str
    labels: tuple[str, ...]  # in id2label order
    problem: str  # "single_label", "multi_label" or "regression"
    max_length: int  # the checkpoint's own limit, in tokens with the special ones
    sentence_ids: bool  # the model tells the two sentences of a pair apart by token_type_ids
    numbered: bool  # its tokenizer gives a single text token_type_ids that are not all 0, which the model reads
    reads: str  # digest of what its tokenizer makes of texts, whatever files say so
    reading: str = ""  # which `problem` was taken, and why, where there was a choice: for people
    contested: bool = False  # something in the config says another `problem`
    program: str = __version__  # the version of this package that resolved it

    def typed(self, pairs: bool) -> bool:
        """Whether its sequences, of pairs or of single texts, come with token_type_ids."""
        return self.numbered or (pairs and self.sentence_ids)

    @property
    def remark(self) -> str:
        """A sentence on how its outputs are read where they could well be something else; "" where not.

        Of several outputs without a word on them nearly all are read right: `reading` alone says how.
        """
        if not self.reading or (self.problem == "single_label" and not self.contested):
            return ""
        return f"the outputs of {storage.without_password(self.name)} are read as {self.reading}"

    def local(self) -> Path:
        """The folder on this machine, fetched once into the cache if need be and verified once per process.

        Raises `CheckpointError` where it cannot be had, its files are not those of `digest`, or this process has
        another version of the package than the launcher.
        """
        return _local(self)


def resolve(model: str | Path, revision: str | None = None, problem_type: str | None = None) -> Checkpoint:
    """Name → Checkpoint: fetch, digest and validate, without loading weights.

    `model` is a key of PACKAGED, a folder, an fsspec URI or a Hub id; a folder or URI with a file LATEST means the
    folder in it that this names. `revision` is for Hub ids only. `problem_type` is what the outputs are, as
    transformers names it, where the config does not say it or is wrong.
    Raises `CheckpointError` with the first thing that is wrong.
    """
    return _resolve(model, revision, needed, functools.partial(describe, problem_type=problem_type))


def resolve_copy(model: str, problem_type: str | None = None) -> Checkpoint:
    """As `resolve`, of a folder or a URI whose files may change: what was looked at is kept in this machine's cache.

    So a later `local` gives these files, whatever became of theirs. Raises `CheckpointError`, also for a name that is
    neither folder nor URI.
    """
    if model in PACKAGED or _on_hub(model):
        raise CheckpointError(f"{model}: no folder here ({Path(model).absolute()}) and no URI")
    location = model if "://" in model else f"file://{Path(model).expanduser().absolute()}"
    described = functools.partial(describe, problem_type=problem_type)
    return replace(_resolve(location, None, needed, described), name=model)


def resolve_tokenizer(model: str | Path, revision: str | None = None) -> Checkpoint:
    """Name → the tokenizer of a checkpoint, whatever model stands beside it: no labels, and no weights are read.

    The digest is that of the tokenizer's files and the config. Raises `CheckpointError`.
    """
    return _resolve(model, revision, _of_tokenizer, describe_tokenizer)


def resolve_base(model: str | Path, revision: str | None = None) -> Checkpoint:
    """Name → a model to begin with, whatever its head is; `labels` are those of a classifier, else there are none.

    Raises `CheckpointError`.
    """
    return _resolve(model, revision, needed, describe_base)


def _of_tokenizer(names: Iterable[str], _: Indexed) -> list[str]:
    return tokenizer_files(names)


def _resolve(
    model: str | Path, revision: str | None, pick: Pick, description: Callable[[Path, str], dict[str, Any]]
) -> Checkpoint:
    if isinstance(model, Path):  # a folder, whatever it is called
        model = str(model.expanduser().absolute())
    if not model.strip():
        raise CheckpointError("--model= names nothing (an unset variable?); the working folder is .")
    if revision is not None and not _on_hub(model):
        raise CheckpointError(f"revision {revision!r} is for Hub ids, and {model!r} is none: leave it out")
    followed = "://" in model or not (model in PACKAGED or _on_hub(model))
    where = model if "://" in model else storage.named(str(Path(model).expanduser().absolute()))
    version = version_in(where) if followed else None
    for _ in range(_FOLLOWED):
        try:
            return _found(model, version, revision, pick, description, followed)
        except (CheckpointError, OSError) as error:
            if version is None:
                raise
            now = version_in(where)
            if now == version:
                passing = getattr(error, "passing", False)
                raise CheckpointError(f"{error} ({where}/{LATEST} names {version})", passing) from error
            version = now  # what it named may have been removed since
    raise CheckpointError(f"{model}: its {LATEST} names another version at every look, now {version}", passing=True)


def _found(
    model: str,
    version: str | None,
    revision: str | None,
    pick: Pick,
    description: Callable[[Path, str], dict[str, Any]],
    followed: bool,
) -> Checkpoint:
    """`version`: the folder in it that is meant; `followed`: where LATEST is looked for."""
    below = [] if version is None else [version]
    with contextlib.ExitStack() as stack:
        location = model
        if "://" in model:
            location = storage.join(model, *below) if below else model
            folder = stack.enter_context(fetched(location, pick))
        elif _on_hub(model):
            folder, revision = from_hub(model, revision, pick)
        else:
            folder = (PACKAGED.get(model) or Path(model).expanduser().absolute()).joinpath(*below)
            location = str(folder)
        try:
            check_folder(folder, model, version is not None or not followed)
            files = digests(folder, pick([each.name for each in folder.iterdir()], indexed_in(folder, model)))
            said = description(folder, model)
        except CheckpointError as error:
            if "://" not in model:
                raise
            # Nobody knows the folder that it was fetched into.
            where = storage.without_password(location).removeprefix("file://")
            raise CheckpointError(str(error).replace(str(folder), where), error.passing) from error
        found = Checkpoint(name=model, location=location, revision=revision, digest=digest(files), files=files, **said)
        if "://" in model:
            with locked(found.digest) as kept:  # where `local` will look for it
                if not kept.exists():
                    folder.rename(kept)
    return found


def _on_hub(model: str) -> bool:
    known = model in PACKAGED or "://" in model or Path(model).expanduser().exists()
    return not known and _HUB_ID.fullmatch(model) is not None


@functools.cache
def _local(checkpoint: Checkpoint) -> Path:
    if checkpoint.program != __version__:
        raise CheckpointError(
            f"the run was launched by seqcls_beam {checkpoint.program}, and this worker ({os.uname().nodename}) has "
            f"{__version__}: give both the same"
        )
    name, location, files = checkpoint.name, checkpoint.location, list(checkpoint.files)
    if "://" in location:
        with locked(checkpoint.digest) as folder:
            if folder.exists():
                return _verified(folder, checkpoint)
            with fetched(location, lambda *_: files) as new:
                return _verified(new, checkpoint).rename(folder)
    if checkpoint.revision is not None:
        return _verified(from_hub(location, checkpoint.revision, lambda *_: files, files)[0], checkpoint)
    folder = PACKAGED.get(name, Path(location))
    if not folder.is_dir():
        raise CheckpointError(
            f"{name}: the folder {folder} is not on this machine ({os.uname().nodename}); give the workers a folder "
            "they all see, or a URI"
        )
    return _verified(folder, checkpoint)


def _verified(folder: Path, checkpoint: Checkpoint) -> Path:
    found = digests(folder, (each for each in checkpoint.files if (folder / each).exists()))
    if digest(found) != checkpoint.digest:
        other = sorted(each for each, sha in checkpoint.files.items() if found.get(each) != sha)
        raise CheckpointError(
            f"{checkpoint.name}: in {folder} these files are not those the run was launched with: {', '.join(other)}; "
            "delete the folder if it is a cache, else launch again"
        )
    return folder
