"""A fine-tuning before it starts: options → the data and the base, checked to fit, under which run id."""

import os
from importlib.util import find_spec

import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.config.finetune import METRICS, TWO_LABELS, FinetuneConfig, TrainOptions, best_metric
from seqcls_beam.config.option import option_fields
from seqcls_beam.finetuning.job import Job
from seqcls_beam.finetuning.torchrun import processes
from seqcls_beam.model.checkpoints import resolve_base
from seqcls_beam.preparation.prepared import Prepared, check_tokenizer, open_prepared
from seqcls_beam.runs.publication import follow
from seqcls_beam.runs.run import Run, identity
from seqcls_beam.schema import UNIT
from seqcls_beam.version import __version__

_NOT_IN_RUN_ID = ("gradient_accumulation", "best_metric")
"""Options: the first does not change what is trained; the second enters the run id as what "auto" came to."""


def plan(config: FinetuneConfig) -> Job:
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
        raise ValueError(
            f"--class_weights={weights} is for rows of one label each, and these are {prepared.problem}"
            + (": --pos_weight=balanced weighs those" if prepared.problem == "multi_label" else ": leave it out")
        )
    if config.train.pos_weight != "none" and prepared.problem != "multi_label":
        raise ValueError(
            f"--pos_weight={config.train.pos_weight} is for rows of several labels each, and these are "
            f"{prepared.problem}"
            + (": --class_weights weighs those" if prepared.problem == "single_label" else ": leave it out")
        )
    if config.train.early_stopping and not prepared.has("validation"):
        raise ValueError(f"--early_stopping={config.train.early_stopping}: the data has no validation rows to judge by")
    if config.train.label_smoothing and prepared.problem != "single_label":
        raise ValueError(f"--label_smoothing is for rows of one label each, and these are {prepared.problem}")
    if prepared.problem == "single_label" and len(prepared.labels) < 2:
        raise ValueError(f"--data={prepared.folder} has one label, {prepared.labels[0]!r}: there is nothing to learn")
    output = storage.absolute(config.output.output)
    if output == prepared.folder:
        raise ValueError(f"--output={output} holds the data: name another folder")
    here, everywhere = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), processes()[1]
    if here < everywhere and not storage.is_local(output):
        raise ValueError(
            f"--output={output}: processes on several machines go on from checkpoints on a disk that all of them see; "
            "name a folder there"
        )
    no_files = pa.RecordBatch.from_arrays([pa.nulls(0, each.type) for each in UNIT], schema=UNIT)
    run_id = identity(
        no_files,
        command="finetune",
        data=prepared.digest,
        base=base.digest,
        train={
            each.name: getattr(config.train, each.name)
            for each in option_fields(TrainOptions)
            if each.name not in _NOT_IN_RUN_ID
        },
        best_metric=best_metric(config.train, prepared.problem),
        version=__version__,
    )
    names = ("config.json", "model.safetensors", "README.md")
    run = Run(output, run_id, config.output.overwrite, publishes=names, kind="finetune")
    return Job(config, prepared, base, follow(run) if processes()[0] == 0 else run)


def _check_metric(options: TrainOptions, prepared: Prepared) -> None:
    asked = options.best_metric
    if asked == "auto":
        return
    if not prepared.has("validation"):
        raise ValueError(f"--best_metric={asked}: the data has no validation rows to judge by")
    fit = [name for name in METRICS[prepared.problem] if name not in TWO_LABELS or len(prepared.labels) == 2]
    if asked not in fit:
        raise ValueError(f"--best_metric={asked}: the data is {prepared.problem}, of which there are {', '.join(fit)}")


def _require(*packages: str) -> None:
    missing = [each for each in packages if find_spec(each) is None]
    if missing:
        raise ValueError(f"fine-tuning needs {', '.join(missing)}: pip install 'seqcls_beam[train]'")
