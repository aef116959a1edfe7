"""Places on this machine that a run names, and workers on others that may not see them: asked before it begins."""

import glob
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

import apache_beam as beam

from pipelines.command import say
from pipelines.engines import machines
from pipelines.failures import explained
from pipelines.running import Engine, run_pipeline
from pipelines.workers import workers
from seqcls_beam import storage
from seqcls_beam.model.checkpoints import PACKAGED, Checkpoint
from seqcls_beam.runs.run import RunError
from seqcls_beam.transforms.sight import See


def ensure_seen(engine: Engine, output: str | None, **places: Iterable[str | None]) -> None:
    """Raise `RunError` where workers on other machines do not see the places, by flag, or what is put in the output.

    That takes a job of its own, for which an engine may need half a minute: only where something is on this machine's
    disk and a worker is not.
    """
    elsewhere = [each for each in machines(engine.options) if not each.is_here]
    if not elsewhere:
        return
    named = [(f"--{flag}={uri}", uri) for flag, uris in places.items() for uri in filter(None, uris)]
    if any(uri == "-" or storage.STANDARD_INPUT in uri for _, uri in named):
        raise RunError("workers on other machines do not read the standard input of this one: give files")
    found = [(said, _there(uri)) for said, uri in named if storage.is_local(uri)]
    sign = None
    if output is not None and storage.is_local(output):
        sign = storage.join(storage.absolute(output), "_attempts", f".seen-{storage.token()}")
        storage.put(sign, b"")
        found.append((f"--output={output}", sign))
    try:
        if found:
            say(f"whether workers on {', '.join(each.host for each in elsewhere)} see this machine's files is tried", 0)
            build = partial(_build, See(tuple(found), workers(engine.options)))
            run_pipeline(engine.options, build, None, None, engine.step_timeout)
    except Exception as error:
        raise explained(error) from error
    finally:
        if sign is not None:
            with suppress(OSError):
                storage.remove_file(sign)
            storage.remove_if_empty(sign.rpartition("/")[0])


def folder_of(checkpoint: Checkpoint | None) -> str | None:
    """The folder on this machine that a checkpoint is in; None of one that each worker has, or fetches."""
    if checkpoint is None or checkpoint.name in PACKAGED:
        return None
    place = checkpoint.location  # else a URI, or an id of the Hub
    return place if os.path.isabs(place) or ("://" in place and storage.is_local(place)) else None


def _build(see: See, root: beam.Pipeline) -> None:
    _ = root | see


def _there(uri: str) -> str:
    """What of a pattern has a name: the folder above the first part that is one."""
    path = os.path.abspath(storage.local_path(uri))
    while glob.has_magic(path) and not os.path.exists(path):
        path = os.path.dirname(path)
    return path
