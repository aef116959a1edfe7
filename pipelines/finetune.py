"""Fine-tune a sequence classifier on prepared data, and publish a checkpoint that `pipelines.classify` takes.

python -m pipelines.finetune --data=prepared --model=base --output=model
torchrun --standalone --nproc_per_node=2 -m pipelines.finetune --data=prepared --model=base --output=model
"""

import fcntl
import os
import sys
import time
from argparse import SUPPRESS
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_type_hints

import orjson
import pyarrow as pa

import seqcls_beam
from pipelines import finetuned
from pipelines.command import already_published, exit_code, flags, versions
from pipelines.command import say as say_aloud
from pipelines.options import UsageError, parse_alone, parser
from seqcls_beam import storage
from seqcls_beam.config import (
    FinetuneConfig,
    MachineOptions,
    OutputOptions,
    RecipeOptions,
    TrainDataOptions,
    TrainOptions,
    option_fields,
)
from seqcls_beam.config.finetune import METRICS, TWO_LABELS, best_metric
from seqcls_beam.finetuning.job import Job, processes, step_of
from seqcls_beam.model.checkpoints import CheckpointError, resolve_base
from seqcls_beam.preparation.prepared import Prepared, check_tokenizer, open_prepared
from seqcls_beam.runs import commit
from seqcls_beam.runs.manifest import read_manifest, short
from seqcls_beam.runs.run import Run, RunError, identity
from seqcls_beam.schema import UNIT

GROUPS: dict[str, type] = {
    "data": TrainDataOptions,
    "train": TrainOptions,
    "machine": MachineOptions,
    "recipe": RecipeOptions,
    "output": OutputOptions,
}

EPILOG = """\
several processes, one a GPU (or more than one on a CPU), train the same model on the same batches:
  torchrun --standalone --nproc_per_node=N -m pipelines.finetune ...

a training that was killed goes on from its last evaluation when the same command is run again

exit codes: 0 published (or already published), 1 failed and nothing published, 2 wrong usage
"""


_NO_FLAG = "max_rejected"  # of the options of an output
_OF_THE_MACHINE = ("gradient_accumulation", "best_metric")
"""Options whose value does not change what is trained, or that is resolved first."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return exit_code(_main, sys.argv[1:] if argv is None else list(argv))


def say(message: str, code: int) -> int:
    """One sentence to the user, by the first process alone; the exit code."""
    return say_aloud(message, code) if processes()[0] == 0 else code


def _main(argv: list[str]) -> int:
    try:
        made = parser("pipelines.finetune", (__doc__ or "").strip(), EPILOG, GROUPS, **{_NO_FLAG: SUPPRESS})
        job = prepare(configured(parse_alone(made, argv, GROUPS)))
    except (ValueError, FileNotFoundError) as error:
        return say(str(error), 2)
    except (OSError, ImportError) as error:
        return say(f"{type(error).__name__}: {error}", 1)
    try:
        return _follow(job) if processes()[0] > 0 else _lead(job)
    except (RunError, CheckpointError) as error:
        return say(str(error), 1)
    except OSError as error:
        return say(f"{error}; nothing was published", 1)
    except RuntimeError as error:
        if "PytorchStreamWriter" in str(error) or "inline_container" in str(error):  # torch's words for a full disk
            return say(f"a checkpoint cannot be written into {job.work}: is the disk full? Nothing was published", 1)
        raise


def configured(given: dict[str, dict[str, Any]]) -> FinetuneConfig:
    """Flags by group → options, a recipe's where there is no flag; raises `UsageError` or `ValueError`."""
    for group, name, what in (
        ("data", "data", "the folder that pipelines.prepare published"),
        ("data", "model", "the model to begin with"),
        ("output", "output", "the folder to publish into"),
    ):
        if name not in given[group]:
            raise UsageError(f"--{name} is missing: name {what}")
    recipe = RecipeOptions(**given["recipe"]).recipe
    return FinetuneConfig(
        data=TrainDataOptions(**given["data"]),
        train=TrainOptions(**{**(_read_recipe(recipe) if recipe else {}), **given["train"]}),
        machine=MachineOptions(**given["machine"]),
        output=OutputOptions(**given["output"]),
    )


def prepare(config: FinetuneConfig) -> Job:
    """Find the data and the base, check that they fit, and name the run.

    Finishes a publication that a crash interrupted. Raises `ValueError` or `FileNotFoundError` for what cannot be used.
    """
    _require("accelerate", "matplotlib", "sklearn")
    prepared = open_prepared(config.data.data)
    base = resolve_base(config.data.model, config.data.revision)
    check_tokenizer(prepared, base)
    if not prepared.has("train"):
        raise ValueError(f"--data={prepared.folder} has no training rows")
    _check_metric(config.train, prepared)
    weights = config.train.class_weights
    if weights != "none" and "class_weights" not in prepared.manifest:
        raise ValueError(f"--class_weights={weights} is for rows of one label each, and these are {prepared.problem}")
    if config.train.early_stopping and not prepared.has("validation"):
        raise ValueError(f"--early_stopping={config.train.early_stopping}: the data has no validation rows to judge by")
    if config.train.label_smoothing and prepared.problem != "single_label":
        raise ValueError(f"--label_smoothing is for rows of one label each, and these are {prepared.problem}")
    if prepared.problem != "regression" and len(prepared.labels) < 2:
        raise ValueError(f"--data={prepared.folder} has one label, {prepared.labels[0]!r}: there is nothing to learn")
    output = storage.absolute(config.output.output)
    if output == prepared.folder:
        raise ValueError(f"--output={output} holds the data: name another folder")
    local, all_ = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), processes()[1]
    if local < all_ and not storage.is_local(output):
        raise ValueError(
            f"--output={output}: processes on several machines go on from checkpoints on a disk that all of them see; "
            "name a folder there"
        )
    if processes()[0] == 0:
        commit.recover(output)
    nothing = pa.RecordBatch.from_arrays([pa.nulls(0, each.type) for each in UNIT], schema=UNIT)
    run_id = identity(
        nothing,
        command="finetune",
        data=prepared.digest,
        base=base.digest,
        train={name: getattr(config.train, name) for name in _names(TrainOptions) if name not in _OF_THE_MACHINE},
        best_metric=best_metric(config.train, prepared.problem),
        version=seqcls_beam.__version__,
    )
    names = ("config.json", "model.safetensors", "README.md")
    return Job(config, prepared, base, Run(output, run_id, config.output.overwrite, publishes=names))


def _lead(job: Job) -> int:
    """Train as the first process, which decides, speaks and publishes."""
    with _alone(job):
        published = already_published(job.run, finetuned.summary)
        trained = None if published else job.trained()
        if not published:
            _begin(job)
        _decide("train" if not published and trained is None else "end")
        if published:
            _clear(job)
            return 0
        started = time.time()
        if trained is None:
            from seqcls_beam.finetuning.training import train

            with finetuned.watching(job) as tell:
                trained = train(job, tell)
        from seqcls_beam.finetuning import receipt

        facts = {
            "started": started,
            "command": " ".join(["python -m pipelines.finetune", *flags(job.config, _NO_FLAG)]),
            "versions": versions("torch", "transformers", "accelerate", "tokenizers", "pyarrow", "numpy"),
        }
        manifest = receipt.write(job, trained, facts, job.work / "model")
        _publish(job, job.work / "model", manifest)
        finetuned.summary(job.run.output, read_manifest(job.run.output) or manifest)
    return 0


def _follow(job: Job) -> int:
    """Train as another process, if the first one says so."""
    if _decide(None) == "train":
        from seqcls_beam.finetuning.training import train

        train(job, lambda _: None)
    return 0


def _decide(word: str | None) -> str:
    """What the first process says, to all; None on the others, which wait for it."""
    if processes()[1] == 1:
        return str(word)
    from seqcls_beam.finetuning.agreement import agree

    return agree(word)


@contextmanager
def _alone(job: Job) -> Iterator[None]:
    """Hold a lock of this machine, or raise `RunError`: two starts of one run would take each other's checkpoints."""
    with (storage.cache() / f"finetune-{job.digest}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"another process is training this very run into {job.run.output}") from None
        yield


def _begin(job: Job) -> None:
    try:
        storage.ensure_writable(job.run.attempt)
        job.work.mkdir(parents=True, exist_ok=True)
        job.find_best()
    except OSError as error:
        raise RunError(f"--output={job.run.output} cannot be written: {error}") from error
    rows, ranks, last = job.prepared.manifest["splits"]["train"]["rows"], processes()[1], job.last_checkpoint()
    say(
        f"run {short(job.run.run_id)}: {rows:,} rows, {ranks} process{'es'[: 2 * (ranks != 1)]}"
        + (f", going on from step {step_of(last):,}" if last else ""),
        0,
    )


def _publish(job: Job, folder: Path, manifest: dict[str, Any]) -> None:
    aside = storage.join(job.run.attempt, "model")
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
    _clear(job)


def _clear(job: Job) -> None:
    if job.work.is_dir():
        storage.remove(str(job.work))


def _read_recipe(path: str) -> dict[str, Any]:
    try:
        found = orjson.loads(storage.read(path))
    except orjson.JSONDecodeError as error:
        raise ValueError(f"--recipe={path} is not JSON: {error}") from error
    kinds = get_type_hints(TrainOptions)
    if not isinstance(found, dict) or set(found) - set(kinds):
        unknown = sorted(set(found) - set(kinds)) if isinstance(found, dict) else [type(found).__name__]
        raise ValueError(f"--recipe={path}: {unknown[0]!r} is none of {', '.join(_names(TrainOptions))}")
    for name, value in found.items():
        kind = kinds[name] | int if kinds[name] in (float, float | None) else kinds[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"--recipe={path}: {name} is {value!r}: expected {getattr(kind, '__name__', kind)}")
        if kind != kinds[name] and value is not None:
            found[name] = float(value)  # or 1 and 1.0 were two runs
    return found


def _check_metric(options: TrainOptions, prepared: Prepared) -> None:
    asked = options.best_metric
    if asked == "auto":
        return
    if not prepared.has("validation"):
        raise ValueError(f"--best_metric={asked}: the data has no validation rows to judge by")
    fit = [name for name in METRICS[prepared.problem] if name not in TWO_LABELS or len(prepared.labels) == 2]
    if asked not in fit:
        raise ValueError(f"--best_metric={asked}: the data is {prepared.problem}, of which there are {', '.join(fit)}")


def _names(group: type) -> list[str]:
    return [each.name for each in option_fields(group)]


def _require(*packages: str) -> None:
    from importlib.util import find_spec

    missing = [each for each in packages if find_spec(each) is None]
    if missing:
        raise ValueError(f"fine-tuning needs {', '.join(missing)}: pip install 'seqcls_beam[train]'")


if __name__ == "__main__":
    sys.exit(main())
