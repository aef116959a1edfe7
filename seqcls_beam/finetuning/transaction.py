"""A fine-tuning as a transaction: one process at a time works on it, and what comes of it is published as a whole."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqcls_beam import storage
from seqcls_beam.finetuning.job import Job
from seqcls_beam.runs import commit
from seqcls_beam.runs.run import RunError


@contextmanager
def alone(job: Job) -> Iterator[None]:
    """Hold a lock of this machine, or raise `RunError`: two starts of one run would take each other's checkpoints."""
    with (storage.cache() / f"finetune-{job.digest}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"another process is training this very run into {job.run.output}") from None
        yield


def begin(job: Job) -> None:
    """Make the folders that the training writes into, and ready what an earlier start left there.

    Raises `RunError` where they cannot be written.
    """
    try:
        storage.ensure_writable(job.run.attempt)
        job.work.mkdir(parents=True, exist_ok=True)
        job.relocate_best()
    except OSError as error:
        raise RunError(f"--output={job.run.output} cannot be written: {error}") from error


def publish(job: Job, folder: Path, manifest: dict[str, Any]) -> None:
    """Publish the files of a folder that the manifest names, and remove what was needed to get there."""
    aside = storage.join(job.run.attempt, "model")
    # On a local disk the attempt is `job.work`, and the files are there already.
    if not storage.is_local(aside):
        fs, path = storage.connect(aside)
        for part in manifest["parts"]:
            fs.put_file(str(folder / part["path"]), storage.join(path, part["path"]))
    moves = [
        {
            "from": storage.join("_attempts", job.run.run_id, "model", part["path"]),
            "to": part["path"],
            "bytes": part["bytes"],
        }
        for part in manifest["parts"]
    ]
    commit.publish_parts(job.run, manifest, moves)
    clear(job)


def clear(job: Job) -> None:
    """Remove the checkpoints and the files beside them."""
    if job.work.is_dir():
        storage.remove(str(job.work))
