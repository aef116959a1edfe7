"""A fine-tuning as a transaction: one process at a time works on it, and what comes of it is published as a whole."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from seqcls_beam import storage
from seqcls_beam.cache import cache
from seqcls_beam.finetuning.job import LOG, Job
from seqcls_beam.runs.publication import publish_files
from seqcls_beam.runs.run import RunError, open_attempt


@contextmanager
def alone(job: Job) -> Iterator[None]:
    """Hold a lock of this machine, or raise `RunError`: two starts of one run would take each other's checkpoints."""
    with (cache() / f"finetune-{job.digest}.lock").open("w") as lock:
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
        open_attempt(job.run)
        job.work.mkdir(parents=True, exist_ok=True)
        job.relocate_best()
        (job.work / LOG).touch()  # it is published whatever became of it
    except OSError as error:
        raise RunError(f"--output={job.run.output} cannot be written: {error}") from error


def publish(job: Job, folder: Path, manifest: dict[str, Any]) -> None:
    """Publish the files of a folder that the manifest names, and remove what was needed to get there."""
    # Under a name of this publication alone: a late process must not find the files of a later one there.
    aside = f"{job.run.work}/model-{storage.token()}"
    fs, path = storage.connect(storage.join(job.run.output, aside))
    if storage.is_local(job.run.output):
        os.makedirs(path)
    for part in manifest["parts"]:
        # Copied, not linked: another machine that trains the same run would write into what is published.
        fs.put_file(str(folder / part["path"]), storage.join(path, part["path"]))
    storage.sync(path)
    # A folder without a config is no model: it goes first and comes last.
    names = sorted((part["path"] for part in manifest["parts"]), key="config.json".__eq__)
    publish_files(job.run, manifest, [(f"{aside}/{name}", name) for name in names])
    clear(job)


def clear(job: Job) -> None:
    """Remove the checkpoints and the files beside them; what cannot be removed changes nothing that is published."""
    with suppress(OSError):
        if job.work.is_dir():
            storage.remove(str(job.work))
