"""Rows that have their answers, from `pipelines.classify` or anywhere else: `--labeled`. No model is run."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam import storage
from seqcls_beam.config.evaluate import EvaluateConfig
from seqcls_beam.evaluation.columns import check_answers, check_kinds, quoted, require
from seqcls_beam.evaluation.evidence import Sheet
from seqcls_beam.evaluation.gates import Kind
from seqcls_beam.evaluation.gold import names_of
from seqcls_beam.evaluation.job import Job, Seen, asked, by_names, gold, inputs, label_option, total_bytes
from seqcls_beam.evaluation.parquet import POSITION, SOURCE, Files, first_values, listed, read
from seqcls_beam.preparation import spellings
from seqcls_beam.preparation.forms import Form
from seqcls_beam.preparation.labels import refuse_many, vocabulary
from seqcls_beam.preparation.sampled import ROWS, check_files, check_flags, class_names, decided, read_by_number
from seqcls_beam.reading.footers import labels_of, schema_of
from seqcls_beam.reading.formats.pieces import SAMPLED
from seqcls_beam.reading.units import plan_units
from seqcls_beam.rows import is_list
from seqcls_beam.runs.accounting import lost
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.shapes import checked
from seqcls_beam.runs.table import published, settled
from seqcls_beam.schema import MODEL, PREDICTION, PREDICTION_MULTI_LABEL, TOKENS

_ANSWERS = {field.name for field in (*PREDICTION, *PREDICTION_MULTI_LABEL, *TOKENS[2:])}
"""Columns that `classify` writes behind the kept ones, as `schema.labeled` has them, and others may have as well."""

_FEW = 5  # labels


def plan(config: EvaluateConfig, threshold: float | None) -> Job:
    """Find the files and what their answers are; raises `ValueError` or `FileNotFoundError` for what cannot be used.

    `threshold` is what --threshold said, None where it was not given: then that of the run whose answers are there.
    """
    paths, manifests, runs = _opened(config)
    files = Files(tuple(paths), (), config.read.batch_rows, config.read.unit_bytes)
    units = listed(files)
    schema = schema_of(units["path"][0].as_py())
    flags: tuple[str, ...] = ()
    remarks: list[str] = []
    if config.gold.label_columns is None:
        columns: tuple[str, ...] = (_gold_column(config.gold.label_column, schema),)
    else:
        columns = config.gold.label_columns
        require(columns, schema.names, "label_columns")
        check_flags(schema, columns)
        _, remarks = read_by_number(units, columns, config.gold.labels)
        flags = tuple(each for each in columns if each not in decided(columns, config.gold.labels))
    slices = config.measure.slice_by or ()
    require(slices, schema.names, "slice_by")
    check_kinds(schema, config, *columns)
    seen = _seen(config, schema, columns[0], units)
    problem, known = _problem_and_labels(config, schema, _one_model(runs))
    check_answers(schema, problem)
    labels = _labels_in_rows(config, schema, problem, columns[0], seen, units) if known is None else known
    if known is None and (alike := spellings.told(spellings.alike(labels))):
        remarks.append(alike)
    if problem == "multi_label":
        if threshold is not None and "scores" not in schema.names:
            raise ValueError(f"--threshold={threshold:g} is for scores, and there are none: only the labels assigned")
        config, more = _with_threshold(config, threshold, manifests)
        remarks += more
    answers = [name for name in ("scores", "labels" if problem == "multi_label" else "label") if name in schema.names]
    if problem == "regression":
        answers = ["score"]
    # Where the user names the threshold, labels that were assigned from another are not what is asked for.
    checked = len(answers) == 2 and (problem == "single_label" or threshold is None)
    shown = _texts(config, schema)
    kinds = {"tokens": pa.types.is_integer, "truncated": pa.types.is_boolean}  # as `classify` has them
    others = [name for name, check in kinds.items() if name in schema.names and check(schema.field(name).type)]
    wanted = tuple(dict.fromkeys([*answers, *others, *columns, *slices, *shown.values()]))
    named = bool(runs) or labels_of(schema) is not None
    read_as = gold(config, problem, labels, seen, named)
    rejected: Counter[str] = Counter()
    for manifest in manifests:
        rejected.update(manifest["rows"]["rejected_by_reason"])
    return Job(
        config,
        Kind(problem, len(labels), problem == "regression" or "scores" in answers),
        Sheet(
            asked(config, problem, labels),
            read_as,
            ",".join(columns),
            (*shown.items(), ("source", SOURCE), ("position", POSITION)),
            kept=False,
            summing=problem == "single_label" and not runs,
            answers=tuple(answers if checked else answers[:1]),
            checked=checked,
        ),
        total_bytes(units),
        {"kind": "labeled", "runs": runs, "inputs": inputs(units)},
        files=replace(
            files,
            columns=wanted,
            labels=None if problem == "regression" else labels,
            named=named,
            classes=_classes(config, problem, seen, schema),
            flags=flags,
        ),
        rejected=dict(rejected),
        lost=lost([file for manifest in manifests for file in manifest["inputs"]]),
        truncations="truncated" in others,
        remarks=tuple(remarks),
    )


def _classes(
    config: EvaluateConfig, problem: str, seen: Seen, schema: pa.Schema
) -> tuple[tuple[str, tuple[str, ...] | None], ...]:
    """Columns of gold labels, and what every file must call the class numbers in them."""
    if config.gold.label_columns is not None or not by_names(config, problem):
        return ()
    return ((_gold_column(config.gold.label_column, schema), seen.classes),)


def _opened(config: EvaluateConfig) -> tuple[list[str], list[dict[str, Any]], list[dict[str, Any]]]:
    """(files with answers, the manifests of runs that made them, what is told of these runs)."""
    paths: list[str] = []
    manifests: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    for pattern in config.answers.labeled:
        folder = storage.absolute(pattern)
        found = _published(folder)
        if not found:
            paths.append(pattern)
        for manifest in found:
            if (kind := manifest["kind"]) != "classify":
                what = {
                    "prepare": "prepared data, which has no answers: give it as --data",
                    "finetune": "a model, which has no answers: give it as --model, with rows to answer",
                }.get(kind, f"the output of pipelines.{kind}")
                raise ValueError(f"--labeled={pattern}: it holds {what}")
            manifests.append(_checked(manifest, pattern))
            told = {"folder": storage.without_password(folder), "run_id": manifest.get("run_id")}
            runs += [{**told, "model": each.get("model")} for each in _makers(manifest)]
            paths += [storage.join(folder, part["path"]) for part in manifest["parts"] if part["rows"]]
    if not paths:
        raise ValueError(f"--labeled={config.answers.labeled[0]} holds no rows")
    return paths, manifests, runs


def _checked(manifest: dict[str, Any], pattern: str) -> dict[str, Any]:
    try:
        return checked(manifest, pattern)
    except RunError as error:
        raise ValueError(f"--labeled={error}") from error


def _published(folder: str) -> list[dict[str, Any]]:
    """The manifests of a folder's partitions; none where it is no output of a command, or a file.

    Raises `ValueError` for an output that is damaged.
    """
    try:
        return [] if folder.endswith(".parquet") else [settled(each).manifest for each in published(folder)]
    except NotADirectoryError:
        return []
    except RunError as error:
        raise ValueError(f"--labeled={folder}: {error}") from error


def _makers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """What says `model` and `threshold` of a run's rows: its manifest, or of a stream's window each of its models."""
    return list(manifest["models"].values()) or [{}] if "models" in manifest else [manifest]


def _one_model(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The model of runs; raises `ValueError` where their answers are not of one kind."""
    known = [run for run in runs if run["model"] is not None]
    for run in known[1:]:
        one, other = (each["model"] for each in (known[0], run))
        if one["problem"] != other["problem"] or (one["problem"] != "regression" and one["labels"] != other["labels"]):
            raise ValueError(
                f"--labeled names runs of different models: {known[0]['folder']} is {one['problem']} with the labels "
                f"{quoted(one['labels'])}, {run['folder']} {other['problem']} with {quoted(other['labels'])}; "
                "evaluate them one by one"
            )
    return known[0]["model"] if known else None


def _with_threshold(
    config: EvaluateConfig, given: float | None, manifests: list[dict[str, Any]]
) -> tuple[EvaluateConfig, list[str]]:
    """The threshold of several labels: what was given, else what the runs had; and what is to be told of it."""
    makers = [each for manifest in manifests for each in _makers(manifest)]
    were = sorted({each["threshold"] for each in makers if each.get("threshold") is not None})
    if given is not None:
        others = ", ".join(f"{each:g}" for each in were if each != given)
        told = f"; the answers were assigned from {others} on" if others else ""
        return config, [f"--threshold={given:g} decides which labels are assigned{told}"]
    if len(were) > 1:
        raise ValueError(
            f"--labeled names runs that assigned labels from {' and '.join(f'{each:g}' for each in were)} on: evaluate "
            "them one by one, or give the --threshold"
        )
    return replace(config, model=replace(config.model, threshold=were[0])) if were else config, []


def _texts(config: EvaluateConfig, schema: pa.Schema) -> dict[str, str]:
    """What is told of a row (id, text, text_pair) → its column, where there is one.

    Raises `ValueError` for a column that was asked for by name and is not there.
    """
    found = {}
    for told in ("id", "text", "text_pair"):
        option = f"{told}_column"
        name = getattr(config.read, option)
        if name is not None and (option, name) != ("text_column", "text"):  # the default names nothing
            require([name], schema.names, option)
        if name in schema.names:
            found[told] = name
    return found


def _gold_column(name: str, schema: pa.Schema) -> str:
    """The column of gold labels beside answers: `classify` renames one that is called as its own."""
    # A column `model` of other programs may be anything: what cars are shown, and so what is to be told apart.
    ours = _ANSWERS | ({MODEL.name} if labels_of(schema) is not None else set())
    if name in ours:
        if f"input_{name}" in schema.names:
            return f"input_{name}"
        others = [each for each in schema.names if each not in ours]
        raise ValueError(
            f"--label_column={name} is what the model said; name the column of the gold labels: {quoted(others)}"
            if others
            else f"--labeled has no columns but the answers ({quoted(schema.names)}): keep the gold labels with "
            "--keep_columns when classifying"
        )
    require([name], schema.names, "label_column")
    return name


def _problem_and_labels(
    config: EvaluateConfig, schema: pa.Schema, model: dict[str, Any] | None
) -> tuple[str, tuple[str, ...] | None]:
    """(problem, labels) of answers, as their model or the files tell; None for labels that they do not."""
    if model is not None:
        return str(model["problem"]), tuple(model["labels"])
    labels = labels_of(schema)
    if labels is None and config.gold.labels is not None:
        labels = names_of(config.gold.labels)
    if "labels" in schema.names and (is_list(schema.field("labels").type) or "label" not in schema.names):
        problem = "multi_label"
    elif "label" in schema.names and (labels is None or len(labels) > 1):
        problem = "single_label"
        if labels is None and "score" in schema.names and pa.types.is_floating(schema.field("label").type):
            raise ValueError(
                f"--labeled has 'label' ({schema.field('label').type}) and 'score': are the answers classes, or the "
                "numbers of a regression? For classes give --labels, for a regression --labels with one name"
            )
    elif "score" in schema.names:
        return "regression", labels or ("value",)
    else:
        raise ValueError(
            f"--labeled has no column of answers ('label', 'labels' or 'score'); the columns there are "
            f"{quoted(schema.names)}"
        )
    return problem, labels


def _seen(config: EvaluateConfig, schema: pa.Schema, column: str, units: pa.RecordBatch) -> Seen:
    """What the first rows, and the files themselves, say of the gold labels."""
    option = f"--{label_option(config)}"
    if config.gold.label_columns is not None:
        return Seen(option, pa.bool_(), ())
    every = pa.Table.from_batches([units])
    found = check_files(every, column)
    classes = class_names(every, found, column) if config.gold.labels is None else None
    samples = tuple(_first(each.uri, column) for each in found[:SAMPLED])
    return Seen(option, schema.field(column).type, samples, classes)


def _first(uri: str, column: str) -> pa.Array:
    """The first values of a column of a file that has some; none where they cannot be read."""
    try:
        return first_values(uri, column, ROWS)
    except (OSError, pa.ArrowException, RunError):
        return pa.nulls(0, pa.string())  # whoever reads the file says what is wrong with it


def _labels_in_rows(
    config: EvaluateConfig, schema: pa.Schema, problem: str, column: str, seen: Seen, units: pa.RecordBatch
) -> tuple[str, ...]:
    """The labels that the answers have, by a look through all rows.

    Raises `ValueError` where there are none, or no gold label is among them: then the two speak of different things.
    And where there are scores, since the rows do not tell their order.
    """
    if "scores" in schema.names:
        raise ValueError(
            "--labeled has scores, and nothing says which label each is for: give the labels in their order with "
            "--labels"
        )
    form = gold(config, problem, None, seen, named=False).form
    if form is None or form.places:
        raise ValueError(f"{seen.option} holds 0 or 1 for each label: name the labels in their order with --labels")
    said = "labels" if problem == "multi_label" else "label"
    names: dict[str, set[str]] = {said: set(), column: set()}
    files = Files((), tuple(names), config.read.batch_rows, config.read.unit_bytes)
    for batch in (batch for unit in plan_units(units, files.unit_bytes) for batch in read(unit, files)):
        for name, read_as in ((said, Form()), (column, form)):
            plain, _, _ = read_as.read(batch[name], problem)
            names[name] |= set(pc.unique(plain.flatten() if problem == "multi_label" else plain).to_pylist()) - {None}
            refuse_many(names[name], f"--labeled: {name!r}")
    answers, truths = names[said], names[column]
    if seen.classes is not None:
        numbers = {str(number): name for number, name in enumerate(seen.classes)}
        truths = {numbers.get(each, each) for each in truths}
    if not answers:
        raise ValueError(f"--labeled has no answers: nothing stands in {said!r}")
    if truths and answers.isdisjoint(truths):
        raise ValueError(
            f"--label_column={column} holds {quoted(sorted(truths), _FEW)}, and the answers are "
            f"{quoted(sorted(answers), _FEW)}: they have nothing in common; say with --labels what stands for "
            "what, as VALUE:NAME (a regression has 'score' and no 'label')"
        )
    return tuple(vocabulary(answers))
