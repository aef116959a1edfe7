"""What a stream writes and what sealing makes of it, for tests that cut, halt and kill."""

import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from seqcls_beam import open_labels, storage
from seqcls_beam.runs import pieces, sealing
from tests.messages import Message, predictions

S = 10**6
LENGTH = 300
FIRST, SECOND = "window=19700101T000000Z", "window=19700101T000500Z"


def prepared(output: Path | str) -> str:
    """A folder that a stream may append to."""
    pieces.prepare(str(output), LENGTH)
    return str(output)


def append(output: Path | str, *messages: Message, **how: Any) -> None:
    """A batch of messages, labelled."""
    pieces.append(str(output), predictions(messages, **how), LENGTH)


def seal(output: Path | str, until: int | None = None) -> dict[str, sealing.Sealed]:
    """Seal, and tell of every window."""
    return {each.window: each for each in sealing.seal(str(output), until)}


def sealed(output: str) -> int:
    """The same as an exit code, for a process."""
    return int(any(each.fault is not None for each in seal(output).values()))


def appended(output: str, batches: list[list[Message]], seed: int) -> int:
    """Append batches one after the other, at odd moments, for a process."""
    chance = random.Random(seed)
    for batch in batches:
        append(output, *batch)
        time.sleep(chance.random() / 50)
    return 0


def ids(output: Path | str, live: bool = False) -> list[str]:
    """The ids of all labelled rows."""
    return sorted(open_labels(str(output), live).to_table(columns=["message_id"])["message_id"].to_pylist())


def rejected(output: Path | str) -> list[str]:
    """The ids of all rows that were rejected and sealed, read off the files."""
    return sorted(
        each
        for path in Path(output, "_rejects").rglob("*.parquet")
        for each in pq.read_table(path)["message_id"].to_pylist()
    )


def content(output: Path | str, folders: Iterable[str] = ("labels", "_rejects")) -> dict[str, bytes]:
    """The bytes of all parts, by name."""
    fs, root = storage.connect(storage.absolute(str(output)))
    names = [name for folder in folders for name in fs.find(f"{root}/{folder}")]
    return {name.removeprefix(root).lstrip("/"): fs.cat_file(name) for name in names}


def left(output: Path | str) -> list[str]:
    """What is there beside parts and versions."""
    found = {name for name in content(output, [""]) if not name.startswith(("labels/", "_rejects/", "_versions/"))}
    return sorted(found - {"_pieces/stream.json"})
