"""Where the rows of an evaluation come from: files to label, prepared shards, or rows that have their answers."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from seqcls_beam import storage
from seqcls_beam.config import EvaluateConfig, ReadOptions
from seqcls_beam.evaluation.evidence import Sheet
from seqcls_beam.evaluation.files import POSITION, SOURCE, Files, listed
from seqcls_beam.evaluation.gates import Kind
from seqcls_beam.evaluation.gold import Gold, countable, names_of, values_of
from seqcls_beam.evaluation.tally import Asked
from seqcls_beam.model.checkpoints import Checkpoint, resolve
from seqcls_beam.model.tokens import Sequences, add_tokens
from seqcls_beam.preparation.labels import canonical, refuse_many, vocabulary
from seqcls_beam.preparation.prepared import Prepared, check_tokenizer, open_prepared
from seqcls_beam.reading.footers import labels_of, schema_of
from seqcls_beam.reading.formats.columns import TYPES
from seqcls_beam.reading.records import Layout, plan_layout
from seqcls_beam.reading.units import list_files
from seqcls_beam.runs.manifest import read_manifest
from seqcls_beam.schema import PREDICTION, PREDICTION_MULTI_LABEL, REJECT_VALUE, TOKENS

_ANSWERS = {field.name for field in (*PREDICTION, *PREDICTION_MULTI_LABEL, *TOKENS[2:])}


@dataclass(frozen=True)
class Plan:
    """All that is known of an evaluation before it starts."""

    config: EvaluateConfig
    kind: Kind
    sheet: Sheet
    size: int  # bytes of the files
    data: dict[str, Any]  # what is told of them
    checkpoint: Checkpoint | None = None  # the model that is run
    layout: Layout | None = None  # of files that are read as records
    files: Files | None = None  # of Parquet that is read as it is
    first: Sequences | None = None  # of the corpus, where int8 needs them
    rejected: dict[str, int] = field(default_factory=dict)  # rows by reason that are not in the files any more
    truncations: bool = True  # whether it is known which texts were longer than the model reads
    remarks: tuple[str, ...] = ()  # sentences for the user


def plan(config: EvaluateConfig, threshold: float | None = None) -> Plan:
    """Find the rows and the model; raises `ValueError` or `FileNotFoundError` for what cannot be used.

    `threshold` is what --threshold said, None where it was not given: then that of the run whose answers are there.
    """
    if config.answers.data is not None:
        return _prepared(config, open_prepared(config.answers.data))
    return _labeled(config, threshold) if config.answers.labeled else _rows(config)


def _rows(config: EvaluateConfig) -> Plan:
    read, column = config.read, config.gold.label_column
    checkpoint = resolve(config.model.model, config.model.revision)
    pairs = read.text_pair_column is not None
    probe = {"text": pa.array(["."]), **({"text_pair": pa.array(["."])} if pairs else {})}
    add_tokens(pa.record_batch({**probe, "reject": pa.nulls(1, REJECT_VALUE)}), checkpoint, config.model)
    files = list_files(read)
    texts = {"text": read.text_column, **({"text_pair": read.text_pair_column} if pairs else {})}
    shown = {**({"id": read.id_column} if read.id_column is not None else {}), **texts}
    slices = config.measure.slice_by or ()
    names = dict.fromkeys([column, *slices, *filter(None, shown.values())])
    try:
        layout = plan_layout(files, replace(read, keep_columns=_requests(tuple(names), files, read)))
    except ValueError as error:
        raise ValueError(f"{error}; --label_column={column}, --slice_by={','.join(slices)}") from error
    _check_kinds(layout.keep, config, column)
    gold = Gold(
        checkpoint.problem,
        checkpoint.labels,
        _values(config, checkpoint.problem, checkpoint.labels),
        _separator(config, checkpoint.problem, layout.keep.field(column).type),
        numbered=countable(checkpoint.labels, config.gold.labels),
    )
    told = (*((name, f"keep.{value}") for name, value in shown.items()), ("source", "source"), ("position", "position"))
    return Plan(
        config,
        Kind(checkpoint.problem, len(checkpoint.labels)),
        Sheet(_asked(config, checkpoint.problem, checkpoint.labels), gold, column, told, kept=True),
        pc.sum(files["size"]).as_py() or 0,
        {"kind": "rows", "inputs": _inputs(files)},
        checkpoint,
        layout=layout,
    )


def _requests(names: tuple[str, ...], files: pa.RecordBatch, read: ReadOptions) -> tuple[str, ...]:
    """Names of columns → `keep_columns` that mean them, and not NAME:TYPE; raises `ValueError` for one that is none."""
    made = []
    for name in names:
        plain, _, kind = name.rpartition(":")
        if name != "*" and not (plain and kind in TYPES):
            made.append(name)
            continue
        there = plan_layout(files, replace(read, keep_columns=("*",))).keep
        if name not in there.names:
            raise ValueError(
                f"no column {name!r} in the first files; the columns there are {_quoted(there.names)}: give a name "
                "alone, without a type"
            )
        kinds = {each: known for known, each in TYPES.items()}
        made.append(f"{name}:{kinds.get(there.field(name).type, 'string')}")
    return tuple(made)


def _prepared(config: EvaluateConfig, prepared: Prepared) -> Plan:
    there = [name for name in ("test", "validation", "train") if prepared.has(name)]
    split = config.answers.split or next((name for name in there if name != "train"), None)
    if split not in there:
        raise ValueError(
            f"--split={split}: {prepared.folder} holds {', '.join(there)}"
            if split is not None
            else f"--data={prepared.folder} holds neither test nor validation rows; name the split with --split"
        )
    checkpoint = resolve(config.model.model, config.model.revision)
    check_tokenizer(prepared, checkpoint)
    if prepared.problem != checkpoint.problem:
        raise ValueError(
            f"--data={prepared.folder} is {prepared.problem} data, and {checkpoint.name} a {checkpoint.problem} model"
        )
    if checkpoint.problem != "regression" and prepared.labels != checkpoint.labels:
        raise ValueError(
            f"--data={prepared.folder} has the labels {_quoted(prepared.labels)}, and {checkpoint.name} "
            f"{_quoted(checkpoint.labels)}: prepare the data with --labels, in the model's order"
        )
    paths = tuple(storage.join(prepared.folder, part["path"]) for part in prepared.shards(split) if part["rows"])
    schema = schema_of(paths[0])
    slices = config.measure.slice_by or ()
    _require(slices, [name for name in schema.names if name not in ("input_ids", "token_type_ids")], "slice_by")
    _check_kinds(schema, config, "labels")
    there = [name for name in ("id", "text", "text_pair") if name in schema.names]
    shown = [*there, *(["input_ids"] if "text" not in there else [])]
    types = [name for name in ("token_type_ids",) if name in schema.names]
    columns = tuple(dict.fromkeys(["input_ids", *types, "labels", *there, *slices]))
    files = Files(paths, columns, config.read.batch_rows, config.read.unit_bytes)
    told = (*((name, f"keep.{name}") for name in shown), ("source", "source"), ("position", "position"))
    return Plan(
        config,
        Kind(checkpoint.problem, len(checkpoint.labels)),
        Sheet(
            _asked(config, checkpoint.problem, checkpoint.labels),
            Gold(checkpoint.problem, checkpoint.labels, numbers=True),
            "labels",
            told,
            kept=True,
        ),
        _size(listed(files)),
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
    )


def _labeled(config: EvaluateConfig, threshold: float | None) -> Plan:
    paths: list[str] = []
    manifests: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    for pattern in config.answers.labeled:
        folder = storage.absolute(pattern)
        manifest = _manifest(folder)
        if manifest is None:
            paths.append(pattern)
            continue
        if kind := manifest.get("kind"):
            what = {
                "prepare": "prepared data, which has no answers: give it as --data",
                "finetune": "a model, which has no answers: give it as --model, with rows to answer",
            }.get(kind, f"the output of pipelines.{kind}")
            raise ValueError(f"--labeled={pattern}: it holds {what}")
        manifests.append(manifest)
        run = {key: manifest.get(key) for key in ("run_id", "model")}
        runs.append({"folder": storage.without_password(folder), **run})
        paths += [storage.join(folder, part["path"]) for part in manifest["parts"] if part["rows"]]
    if not paths:
        raise ValueError(f"--labeled={config.answers.labeled[0]} holds no rows")
    files = Files(tuple(paths), (), config.read.batch_rows, config.read.unit_bytes)
    try:
        units = listed(files)
    except FileNotFoundError as error:
        raise FileNotFoundError(str(error).replace("--input=", "--labeled=")) from error
    schema = schema_of(units["path"][0].as_py())
    column = _gold_column(config.gold.label_column, schema)
    slices = config.measure.slice_by or ()
    _require(slices, schema.names, "slice_by")
    _check_kinds(schema, config, column)
    problem, known = _said(config, schema, _one_model(runs))
    _check_answers(schema, problem)
    labels = _found(config, schema, problem, column, units) if known is None else known
    remarks = []
    if problem == "multi_label":
        if threshold is not None and "scores" not in schema.names:
            raise ValueError(f"--threshold={threshold:g} is for scores, and there are none: only the labels assigned")
        config, said = _with_threshold(config, threshold, manifests)
        remarks += said
    answers = [name for name in ("scores", "labels" if problem == "multi_label" else "label") if name in schema.names]
    if problem == "regression":
        answers = ["score"]
    # Where the user names the threshold, labels that were assigned from another are not what is asked for.
    checked = len(answers) == 2 and (problem == "single_label" or threshold is None)
    # Texts are welcome where they are; what was asked for by name must be there.
    for option in ("id_column", "text_column", "text_pair_column"):
        name = getattr(config.read, option)
        if name is not None and (option, name) != ("text_column", "text"):
            _require([name], schema.names, option)
    shown = {"id": config.read.id_column, "text": config.read.text_column, "text_pair": config.read.text_pair_column}
    shown = {name: value for name, value in shown.items() if value in schema.names}
    kinds = {"tokens": pa.types.is_integer, "truncated": pa.types.is_boolean}  # as `classify` has them
    others = [name for name, check in kinds.items() if name in schema.names and check(schema.field(name).type)]
    columns = tuple(dict.fromkeys([*answers, *others, column, *slices, *filter(None, shown.values())]))
    told = (*((name, str(value)) for name, value in shown.items()), ("source", SOURCE), ("position", POSITION))
    named = labels_of(schema)
    gold = Gold(
        problem,
        labels,
        _values(config, problem, labels),
        _separator(config, problem, schema.field(column).type),
        numbered=(bool(runs) or named is not None) and countable(labels, config.gold.labels),
    )
    rejected: Counter[str] = Counter()
    for manifest in manifests:
        rejected.update(manifest["rows"]["rejected_by_reason"])
    return Plan(
        config,
        Kind(problem, len(labels), problem == "regression" or "scores" in answers),
        Sheet(
            _asked(config, problem, labels),
            gold,
            column,
            told,
            kept=False,
            summing=problem == "single_label" and not runs,
            answers=tuple(answers if checked else answers[:1]),
            checked=checked,
        ),
        _size(units),
        {"kind": "labeled", "runs": runs, "inputs": _inputs(units)},
        files=replace(
            files,
            columns=columns,
            labels=None if problem == "regression" else labels,
            named=bool(runs) or named is not None,
        ),
        rejected=dict(rejected),
        truncations="truncated" in others,
        remarks=tuple(remarks),
    )


def _manifest(folder: str) -> dict[str, Any] | None:
    """The manifest in a folder; None where it is none, or a file."""
    try:
        return None if folder.endswith(".parquet") else read_manifest(folder)
    except NotADirectoryError:
        return None


def _one_model(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The model of runs; raises `ValueError` where their answers are not of one kind."""
    known = [run for run in runs if run["model"] is not None]
    for run in known[1:]:
        one, other = (each["model"] for each in (known[0], run))
        if one["problem"] != other["problem"] or (one["problem"] != "regression" and one["labels"] != other["labels"]):
            raise ValueError(
                f"--labeled names runs of different models: {known[0]['folder']} is {one['problem']} with the labels "
                f"{_quoted(one['labels'])}, {run['folder']} {other['problem']} with {_quoted(other['labels'])}; "
                "evaluate them one by one"
            )
    return known[0]["model"] if known else None


def _with_threshold(
    config: EvaluateConfig, given: float | None, manifests: list[dict[str, Any]]
) -> tuple[EvaluateConfig, list[str]]:
    """The threshold of several labels: what was given, else what the runs had; and what is to be told of it."""
    were = sorted({manifest["threshold"] for manifest in manifests if manifest.get("threshold") is not None})
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


def _asked(config: EvaluateConfig, problem: str, labels: tuple[str, ...]) -> Asked:
    measure = config.measure
    if measure.positive_label is not None and (problem != "single_label" or len(labels) != 2):
        raise ValueError(f"--positive_label={measure.positive_label} is for one of two labels a row")
    if measure.positive_label is not None and measure.positive_label not in labels:
        raise ValueError(f"--positive_label={measure.positive_label}: the labels are {_quoted(labels)}")
    if measure.ordinal and problem != "single_label":
        raise ValueError(f"--ordinal is for one label a row, and this is a {problem} model")
    return Asked(
        problem,
        labels,
        config.model.threshold,
        measure.slice_by or (),
        measure.worst,
        measure.bootstrap,
        measure.seed,
    )


def _values(config: EvaluateConfig, problem: str, labels: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    if problem != "regression":
        return values_of(labels, config.gold.labels)
    if config.gold.labels not in (None, labels):
        raise ValueError("--labels is for classes, and this is a regression")
    return ()


def _separator(config: EvaluateConfig, problem: str, kind: pa.DataType) -> str | None:
    """The separator of gold labels; raises `ValueError` where the column does not fit the problem."""
    name, separator = config.gold.label_column, config.gold.label_separator
    lists = _is_list(kind)
    if problem == "multi_label":
        if not lists and separator is None:
            raise ValueError(
                f"--label_column={name} holds {kind}, and the model gives several labels a row: name a "
                "--label_separator, or a column of lists"
            )
    elif lists or separator is not None:
        raise ValueError(f"--label_column={name}: the model is a {problem} one, and has one answer a row")
    return None if lists else separator


def _gold_column(name: str, schema: pa.Schema) -> str:
    """The column of gold labels beside answers: `classify` renames one that is called as its own."""
    if name in _ANSWERS:
        if f"input_{name}" in schema.names:
            return f"input_{name}"
        others = [each for each in schema.names if each not in _ANSWERS]
        raise ValueError(
            f"--label_column={name} is what the model said; name the column of the gold labels: {_quoted(others)}"
            if others
            else f"--labeled has no columns but the answers ({_quoted(schema.names)}): keep the gold labels with "
            "--keep_columns when classifying"
        )
    _require([name], schema.names, "label_column")
    return name


def _said(
    config: EvaluateConfig, schema: pa.Schema, model: dict[str, Any] | None
) -> tuple[str, tuple[str, ...] | None]:
    """(problem, labels) of files with answers, as the manifest or the files tell; None for labels that they do not."""
    if model is not None:
        return str(model["problem"]), tuple(model["labels"])
    labels = labels_of(schema)
    if labels is None and config.gold.labels is not None:
        labels = names_of(config.gold.labels)
    if "labels" in schema.names and (_is_list(schema.field("labels").type) or "label" not in schema.names):
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
            f"{_quoted(schema.names)}"
        )
    return problem, labels


def _found(
    config: EvaluateConfig, schema: pa.Schema, problem: str, column: str, units: pa.RecordBatch
) -> tuple[str, ...]:
    """The labels that the answers have, by a look through all rows.

    Raises `ValueError` where there are none, or no gold label is among them: then the two speak of different things;
    and where there are scores, whose order the rows do not tell.
    """
    if "scores" in schema.names:
        raise ValueError(
            "--labeled has scores, and nothing says which label each is for: give the labels in their order with "
            "--labels"
        )
    said = "labels" if problem == "multi_label" else "label"
    names: dict[str, set[str]] = {said: set(), column: set()}
    fs = storage.connect(units["path"][0].as_py())[0]
    files = ds.dataset(
        [storage.connect(path)[1] for path in units["path"].to_pylist()], filesystem=fs, format="parquet"
    )
    for batch in files.to_batches(columns=[said, column]):
        for name, separator in ((said, None), (column, config.gold.label_separator)):
            plain, _ = canonical(batch[name], problem, separator)
            names[name] |= set(pc.unique(plain.flatten() if problem == "multi_label" else plain).to_pylist()) - {None}
            refuse_many(names[name], name)
    answers, gold = names[said], names[column]
    if not answers:
        raise ValueError(f"--labeled has no answers: nothing stands in {said!r}")
    if gold and answers.isdisjoint(gold):
        raise ValueError(
            f"--label_column={column} holds {_few(gold)}, and the answers are {_few(answers)}: they have nothing in "
            "common; say with --labels what stands for what, as VALUE:NAME (a regression has 'score' and no 'label')"
        )
    return tuple(vocabulary(answers))


def _few(names: set[str]) -> str:
    return _quoted(sorted(names)[:5]) + (" …" if len(names) > 5 else "")


def _check_kinds(schema: pa.Schema, config: EvaluateConfig, label_column: str) -> None:
    """Raise `ValueError` for columns of values that are no labels, or that cannot be told apart by their text."""
    for option, names in (("label_column", (label_column,)), ("slice_by", config.measure.slice_by or ())):
        for name in names:
            kind = schema.field(name).type
            if not (_is_label(kind) or (option == "label_column" and _is_list(kind))):
                raise ValueError(f"--{option}={name} holds {kind}: expected strings, numbers or booleans")


def _check_answers(schema: pa.Schema, problem: str) -> None:
    """Raise `ValueError` for answers of a type that they cannot have."""

    def holds(name: str, expected: str, *checks: Callable[[pa.DataType], bool]) -> None:
        if name not in schema.names:
            return
        kind = inner = schema.field(name).type
        for check in checks:
            if not check(inner):
                raise ValueError(f"--labeled has a column {name!r} of {kind}: expected {expected}")
            inner = inner.value_type if pa.types.is_nested(inner) else inner

    if problem == "regression":
        return holds("score", "numbers", _is_number)
    holds("scores", "lists of probabilities", _is_vector, pa.types.is_floating)
    if problem == "multi_label":
        return holds("labels", "lists of labels", _is_list, _is_label)
    return holds("label", "labels", _is_label)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _is_vector(kind: pa.DataType) -> bool:
    return _is_list(kind) or pa.types.is_fixed_size_list(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _is_label(kind: pa.DataType) -> bool:
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return not (pa.types.is_nested(kind) or binary)


def _require(names: tuple[str, ...] | list[str], there: list[str], option: str) -> None:
    missing = [name for name in names if name not in there]
    if missing:
        raise ValueError(f"--{option}={','.join(missing)}: no such column; those there are {_quoted(there)}")


def _quoted(names: Any) -> str:
    return ", ".join(map(repr, names))


def _inputs(files: pa.RecordBatch) -> list[dict[str, Any]]:
    rows = files.select(["path", "size", "version"]).to_pylist()
    return [{**row, "path": storage.without_password(row["path"])} for row in rows]


def _size(files: pa.RecordBatch) -> int:
    return pc.sum(files["size"]).as_py() or 0
