"""The one file that `--plan` writes: what it may not be."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace

from pipelines.as_json import ensure_json
from pipelines.planning.documents import named
from pipelines.usage import UsageError
from seqcls_beam import storage
from seqcls_beam.config.classify import ClassifyConfig
from seqcls_beam.config.plan import PlanOptions
from seqcls_beam.runs.due import due, find_dated

_OTHER_NAMES = (("gcs://", "gs://"), ("s3a://", "s3://"))
"""Of the same stores."""


def ensure_apart(config: ClassifyConfig, options: PlanOptions) -> None:
    """See that --plan_json can be written, and is nothing that the plan reads or the run writes.

    Nothing is read for it: the input is listed, and only where there is such a file. Raises `UsageError` for a file
    that is something else's or has no folder, and `RunError` for one that cannot be written.
    """
    if options.plan_json in (None, "-"):
        return
    given = str(options.plan_json)
    option, uri = named("plan_json", given), _plain(given)
    output = _plain(config.run.output)
    if uri == output or storage.lies_in(uri, output) or storage.lies_in(output, uri):
        raise UsageError(f"{option} and --output={config.run.output} lie in each other: name a file elsewhere")
    model = config.model.model
    if ("://" in model or os.path.isdir(os.path.expanduser(model))) and storage.lies_in(uri, _plain(model)):
        raise UsageError(f"{option} lies in {named('model', model)}: name a file elsewhere")
    for flag in ("plan_speed", "prices"):
        file = getattr(options, flag)
        if file and _same(uri, file):
            raise UsageError(f"{option} is what {named(flag, file)} reads: name another file")
    if storage.is_local(uri):
        folder = os.path.dirname(storage.local_path(uri))
        if not os.path.isdir(folder):
            raise UsageError(f"{option} cannot be written: there is no folder {storage.named(folder)}")
    if storage.exists(uri):
        for path in _inputs(config):
            if _same(uri, path):
                raise UsageError(f"{option} is a file that --input finds: name another file")
    ensure_json(given, "plan_json")


def _inputs(config: ClassifyConfig) -> Iterator[str]:
    """The files of all nights. What has no listing has no plan, and is refused where it is planned."""
    if "-" in config.read.input:
        yield "/dev/stdin"  # the file that somebody redirected
    nights = due(config.run) if config.run.only_new else []
    for run in [replace(config.run, run_date=str(night)) for night in nights] or [config.run]:
        try:
            found = find_dated(config.read, run)
        except (ValueError, OSError):
            continue
        yield from found.files["path"].to_pylist()


def _same(uri: str, other: str) -> bool:
    """Whether two names are those of one file, whatever links lead there."""
    itself = storage.itself(uri)
    return uri == _plain(other) or bool(itself and itself == storage.itself(_plain(other)))


def _plain(file: str) -> str:
    """The one of several absolute names that a file of a store has."""
    uri = storage.absolute(file)
    for name, usual in _OTHER_NAMES:
        uri = re.sub(f"^{name}", usual, uri)
    return uri
