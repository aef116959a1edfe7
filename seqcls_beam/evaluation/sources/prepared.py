"""Rows of prepared shards, for a model to answer: `--data`."""

from seqcls_beam import storage
from seqcls_beam.config.evaluate import EvaluateConfig
from seqcls_beam.evaluation.columns import check_kinds, quoted, require
from seqcls_beam.evaluation.evidence import Sheet
from seqcls_beam.evaluation.gates import Kind
from seqcls_beam.evaluation.gold import Gold
from seqcls_beam.evaluation.job import Job, asked, total_bytes
from seqcls_beam.evaluation.parquet import Files, listed
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.preparation.prepared import Prepared, check_tokenizer, open_prepared
from seqcls_beam.reading.footers import schema_of


def found(config: EvaluateConfig, data: str) -> tuple[Prepared, str]:
    """Prepared data, and which split of them is meant; raises `ValueError` where there is none."""
    prepared = open_prepared(data)
    splits = [name for name in ("test", "validation", "train") if prepared.has(name)]
    split = config.answers.split or next((name for name in splits if name != "train"), None)
    if split is None:
        raise ValueError(
            f"--data={prepared.folder} holds neither test nor validation rows; name the split with --split"
        )
    if split not in splits:
        raise ValueError(f"--split={split}: {prepared.folder} holds {', '.join(splits)}")
    return prepared, split


def plan(config: EvaluateConfig, data: str) -> Job:
    """Find the shards of a folder and the model; raises `ValueError` for what cannot be used."""
    prepared, split = found(config, data)
    checkpoint = resolve(config.model.model, config.model.revision, config.model.problem_type)
    check_tokenizer(prepared, checkpoint)
    if prepared.problem != checkpoint.problem:
        raise ValueError(
            f"--data={prepared.folder} is {prepared.problem} data, and {checkpoint.name} a {checkpoint.problem} model"
        )
    if checkpoint.problem != "regression" and prepared.labels != checkpoint.labels:
        raise ValueError(
            f"--data={prepared.folder} has the labels {quoted(prepared.labels)}, and {checkpoint.name} "
            f"{quoted(checkpoint.labels)}: prepare the data with --labels, in the model's order"
        )
    paths = tuple(storage.join(prepared.folder, part["path"]) for part in prepared.shards(split) if part["rows"])
    schema = schema_of(paths[0])
    slices = config.measure.slice_by or ()
    require(slices, [name for name in schema.names if name not in ("input_ids", "token_type_ids")], "slice_by")
    check_kinds(schema, config, "labels")
    there = [name for name in ("id", "text", "text_pair") if name in schema.names]
    # Without the texts the ids, from which `document` makes them.
    shown = [*there, *(["input_ids"] if "text" not in there else [])]
    types = [name for name in ("token_type_ids",) if name in schema.names]
    columns = tuple(dict.fromkeys(["input_ids", *types, "labels", *there, *slices]))
    files = Files(paths, columns, config.read.batch_rows, config.read.unit_bytes)
    told = (*((name, f"keep.{name}") for name in shown), ("source", "source"), ("position", "position"))
    return Job(
        config,
        Kind(checkpoint.problem, len(checkpoint.labels)),
        Sheet(
            asked(config, checkpoint.problem, checkpoint.labels),
            Gold(checkpoint.problem, checkpoint.labels, of_shards=True),
            "labels",
            told,
            kept=True,
        ),
        total_bytes(listed(files, "data")),
        {
            "kind": "prepared",
            "folder": storage.without_password(prepared.folder),
            "run_id": prepared.manifest["run_id"],
            "split": split,
            "shards": len(paths),
        },
        checkpoint,
        files=files,
        truncations=False,
        remarks=(checkpoint.remark,) if checkpoint.remark else (),
    )
