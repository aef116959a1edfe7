"""Prepared data as its readers find it: the manifest of a folder that `pipelines.prepare` published, and its shards."""

import hashlib
from dataclasses import dataclass
from typing import Any

from seqcls_beam import storage
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.reading.footers import schema_of
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.shapes import checked
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import read_newest, settled


@dataclass(frozen=True)
class Prepared:
    """What `pipelines.prepare` published."""

    folder: str
    manifest: dict[str, Any]

    @property
    def problem(self) -> str:
        """`single_label`, `multi_label` or `regression`."""
        return str(self.manifest["problem"])

    @property
    def labels(self) -> tuple[str, ...]:
        """Names in the order of their numbers; none for a regression."""
        return tuple(self.manifest["labels"])

    @property
    def digest(self) -> str:
        """sha256 over the digests of all shards, in order: the same data, wherever it lies."""
        return hashlib.sha256("".join(part["sha256"] for part in self.manifest["parts"]).encode()).hexdigest()

    @property
    def pairs(self) -> bool:
        """Whether a row has two texts."""
        return bool(self.manifest["tokenizer"]["pairs"])

    @property
    def tells_sentences_apart(self) -> bool:
        """Whether the rows have token_type_ids."""
        first = storage.join(self.folder, self.manifest["parts"][0]["path"])
        return "token_type_ids" in schema_of(first).names

    def shards(self, split: str) -> list[dict[str, Any]]:
        """The files of a split, as the manifest names them."""
        return [part for part in self.manifest["parts"] if part["path"].startswith(f"data/{split}-")]

    def has(self, split: str) -> bool:
        """Whether the split has rows."""
        return any(part["rows"] for part in self.shards(split))


def open_prepared(folder: str) -> Prepared:
    """The manifest of prepared data. Raises `ValueError` where the folder holds none."""
    folder = storage.absolute(folder)
    try:
        found = read_newest(store_of(folder))
        if found is None:
            raise ValueError(
                f"--data={folder}: nothing is published there; is this a folder that pipelines.prepare wrote?"
            )
        if found.manifest["kind"] != "prepare":
            raise ValueError(f"--data={folder}: it holds no prepared data; name a folder that pipelines.prepare wrote")
        manifest = checked(settled(found).manifest, folder)
    except RunError as error:
        raise ValueError(f"--data={folder}: {error}") from error
    return Prepared(folder, manifest)


def check_tokenizer(prepared: Prepared, tokenizer: Checkpoint) -> None:
    """Raise `ValueError` where the shards were tokenised otherwise than the model's texts are."""
    was = prepared.manifest["tokenizer"]
    if "reads" not in was:
        raise ValueError(
            f"--data={prepared.folder} is of an earlier version, which did not say enough: prepare it again"
        )
    if was["reads"] != tokenizer.reads:
        raise ValueError(
            f"--data={prepared.folder} was tokenised for {was['name']}, and the tokenizer of {tokenizer.name} reads "
            f"texts otherwise: prepare the data with --model={tokenizer.name}"
        )
    if prepared.tells_sentences_apart != tokenizer.typed(prepared.pairs):
        raise ValueError(
            f"--data={prepared.folder} was tokenised for {was['name']}, and of it and {tokenizer.name} only one tells "
            f"the texts of a pair apart by token_type_ids: prepare the data with --model={tokenizer.name}"
        )
    if was["max_length"] > tokenizer.max_length:
        raise ValueError(
            f"--data={prepared.folder} has rows of up to {was['max_length']} tokens, and {tokenizer.name} reads "
            f"{tokenizer.max_length}: prepare the data with --max_length={tokenizer.max_length}"
        )
