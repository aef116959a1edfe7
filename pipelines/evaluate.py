"""Evaluate a classifier: gold labels beside a model's answers → metrics, with a report.

python -m pipelines.evaluate --input=reviews.jsonl --text_column=review --label_column=stars --model=my-checkpoint
python -m pipelines.evaluate --data=prepared --split=test --model=my-checkpoint --output=evaluation
python -m pipelines.evaluate --labeled=labels --label_column=stars --min_accuracy=0.9
"""

import sys
import tempfile
import time
from argparse import SUPPRESS
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import apache_beam as beam
import orjson
from apache_beam.options.pipeline_options import PipelineOptions
from rich import filesize

from pipelines import display, evaluated
from pipelines.command import EPILOG, exit_code, explained, flags, say, threads_per_worker, versions
from pipelines.options import UsageError, name_runner, parse, parser
from pipelines.sources import Plan, plan
from seqcls_beam import storage
from seqcls_beam.config import (
    AnswerOptions,
    EvaluateConfig,
    GateOptions,
    GoldOptions,
    MeasureOptions,
    ModelOptions,
    ReadOptions,
    ReportOptions,
    option_fields,
)
from seqcls_beam.evaluation import files, gates
from seqcls_beam.evaluation.evidence import Evidence
from seqcls_beam.evaluation.extras import wanted
from seqcls_beam.evaluation.gold import NAMES, NUMBERS, countable, pairs_of
from seqcls_beam.evaluation.metrics import measure
from seqcls_beam.model.checkpoints import Checkpoint, load_tokenizer
from seqcls_beam.model.predictions import first_sequences
from seqcls_beam.reading.records import read_unit
from seqcls_beam.reading.units import list_files, plan_units
from seqcls_beam.runs.manifest import iso
from seqcls_beam.runs.run import RunError
from seqcls_beam.transforms import Classify, ReadRecords, Tokenize
from seqcls_beam.transforms.evaluate import ReadParquet, SaveEvidence, Score, ShardTokens, load

GROUPS: dict[str, type] = {
    "read": ReadOptions,
    "answers": AnswerOptions,
    "gold": GoldOptions,
    "model": ModelOptions,
    "measure": MeasureOptions,
    "gates": GateOptions,
    "report": ReportOptions,
}
NAME, REPORT = "evaluation.json", "report.html"
FORMAT_VERSION = 1
UNIT_BYTES = 4 * 2**20  # test sets are small: many units, so that several workers have some
_EXIT_CODES = """\
exit codes: 0 evaluated, every gate passed; 1 failed, or a gate did not pass; 2 wrong usage
"""
_LOCAL = "FnApiRunner"
_SHOWN_CHARACTERS = 500
_MANY_UNLABELLED = 0.05  # of the rows: a gate is then told of


def build(root: beam.Pipeline, planned: Plan, uri: str, progress: str | None = None) -> None:
    """The pipeline: rows are read, labelled if need be, and counted, in one stage; then counts are added up."""
    config = planned.config
    rows: Any
    if planned.files is not None:
        rows = root | ReadParquet(planned.files)
    else:
        rows = root | ReadRecords(config.read, layout=planned.layout)
    if planned.checkpoint is not None:
        tokens = rows | (Tokenize(planned.checkpoint, config.model) if planned.layout is not None else ShardTokens())
        rows = tokens | Classify(planned.checkpoint, config.model, progress, planned.first)
    rows | Score(planned.sheet, progress) | SaveEvidence(uri)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return exit_code(_main, sys.argv[1:] if argv is None else list(argv))


def _main(argv: list[str]) -> int:
    try:
        epilog = EPILOG[: EPILOG.index("exit codes")] + _EXIT_CODES
        made = parser(
            "pipelines.evaluate", (__doc__ or "").strip(), epilog, GROUPS, keep_columns=SUPPRESS, unit_bytes=UNIT_BYTES
        )
        given, _, beam_options = parse(made, argv, GROUPS)
        runner = name_runner(beam_options)
        config = configured(given)
        if runner != _LOCAL and config.report.output is None:
            raise UsageError(f"--output is missing: with --runner={runner} workers need a folder that all of them see")
        for package in ("sklearn", "scipy", *(["matplotlib"] if config.report.output is not None else [])):
            wanted(package)
        planned = plan(config, given["model"].get("threshold"))
        gates.check(config.gates, planned.kind)
    except (ValueError, FileNotFoundError) as error:
        return say(str(error), 2)
    except ImportError as error:
        return say(str(error), 1)
    except OSError as error:
        return say(f"{type(error).__name__}: {error}", 1)
    try:
        return _launch(planned, runner, beam_options)
    except KeyboardInterrupt:
        return say("interrupted: nothing was written", 130)


def configured(given: dict[str, dict[str, Any]]) -> EvaluateConfig:
    """Flags by group → options; raises `UsageError` or `ValueError`."""
    answers = AnswerOptions(**given["answers"])
    sources = {"input": given["read"].get("input"), "data": answers.data, "labeled": answers.labeled}
    named = [name for name, value in sources.items() if value]
    if len(named) != 1:
        said = f"--{' and --'.join(named)} are given" if named else "nothing to evaluate"
        raise UsageError(
            f"{said}: give one of --input (rows to run a model on), --data (prepared shards, likewise) and --labeled "
            "(rows with answers)"
        )
    for group, names in _TAKEN[named[0]].items():
        for name in given[group]:
            if name not in names:
                raise UsageError(f"--{name} does nothing with --{named[0]}: leave it out")
    return EvaluateConfig(
        read=ReadOptions(**{"input": (), "unit_bytes": UNIT_BYTES, **given["read"]}),
        answers=answers,
        gold=GoldOptions(**given["gold"]),
        model=ModelOptions(**given["model"]),
        measure=MeasureOptions(**given["measure"]),
        gates=GateOptions(**given["gates"]),
        report=ReportOptions(**given["report"]),
    )


_TAKEN: dict[str, dict[str, tuple[str, ...]]] = {
    "input": {},
    "data": {
        "read": ("batch_rows", "unit_bytes"),
        "gold": (),
        "model": ("model", "revision", "threshold", "device", "dtype", "threads", "batch_tokens", "compile"),
    },
    "labeled": {
        "read": ("text_column", "text_pair_column", "id_column", "batch_rows", "unit_bytes"),
        "model": ("threshold",),
    },
}
"""The options of a group that say something of a source, by source; where a group is not named, all do."""


def _command(config: EvaluateConfig) -> str:
    """The command line, with the options that say something of its source."""
    source = "data" if config.answers.data is not None else "labeled" if config.answers.labeled else "input"
    idle = {
        each.name
        for group, names in _TAKEN[source].items()
        for each in option_fields(GROUPS[group])
        if each.name not in names
    }
    told = (flag for flag in flags(config) if flag.removeprefix("--").split("=")[0].split()[0] not in idle)
    return " ".join(["python -m pipelines.evaluate", *told])


def _launch(planned: Plan, runner: str, beam_options: PipelineOptions) -> int:
    display.log_to_stderr()
    config = planned.config
    output = None if config.report.output is None else storage.absolute(config.report.output)
    if output is not None:
        _refuse_taken(output, config.report.overwrite)
    started = time.time()
    say(f"evaluating {_named(planned)}: {filesize.decimal(planned.size)}", 0)
    for remark in planned.remarks:
        say(remark, 0)
    evidence = _run(planned, runner, beam_options, output)
    evidence.account.reject(planned.rejected)
    _refuse_mixed(evidence)
    _refuse_counted(evidence, planned)
    _refuse_rejected(evidence, config)
    _refuse_unlabelled(evidence, config)
    found = _assembled(planned, evidence, runner, started)
    if output is not None:
        _write(output, found)
    evaluated.summary(found, output)
    failed = [gate for gate in found["gates"] if not gate["passed"]]
    for gate in failed:
        say(gates.sentence(gate), 1)
    return 1 if failed else 0


def _refuse_taken(output: str, overwrite: bool) -> None:
    """Raise `RunError` where an evaluation cannot be written to a folder."""
    try:
        if storage.size(storage.join(output, NAME)) is not None and not overwrite:
            raise RunError(f"{output} holds an evaluation already; give --overwrite to replace it")
        storage.ensure_writable(output)
    except OSError as error:
        raise RunError(f"--output={output} cannot be written: {error}") from error


def _write(output: str, found: dict[str, Any]) -> None:
    """Both files, made before either is written. Where evaluation.json is, the report beside it is of the same rows."""
    from seqcls_beam.evaluation.report import page

    report, numbers = page(found).encode(), orjson.dumps(found, option=orjson.OPT_INDENT_2)
    try:
        storage.remove(storage.join(output, NAME))
        storage.put(storage.join(output, REPORT), report)
        storage.put(storage.join(output, NAME), numbers)
    except OSError as error:
        raise RunError(f"--output={output} cannot be written: {error}") from error


def _run(planned: Plan, runner: str, beam_options: PipelineOptions, output: str | None) -> Evidence:
    """Run the pipeline; what it counted. Raises `RunError` with the one sentence behind a failure."""
    threads = planned.config.model.threads or threads_per_worker(beam_options)
    planned = replace(planned, config=replace(planned.config, model=replace(planned.config.model, threads=threads)))
    with ExitStack() as stack:
        # Workers elsewhere see the output, those of this machine a folder of its own.
        if runner == _LOCAL or output is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="seqcls_beam-"))
        else:
            folder = storage.join(output, f"_evidence-{time.time_ns():x}")
            stack.callback(storage.remove, folder)
        uri = storage.join(folder, "evidence")
        try:
            planned = replace(planned, first=_first(planned))
            with display.watching(planned.size, "labelled" if planned.checkpoint is not None else "scored") as watched:
                pipeline = beam.Pipeline(options=beam_options)
                build(pipeline, planned, uri, watched)
                pipeline.run().wait_until_finish()
        except Exception as error:
            raise explained(error) from error
        return load(uri)


def _first(planned: Plan) -> Any:
    """Sequences of the corpus, where int8 needs them."""
    if planned.checkpoint is None or planned.config.model.dtype != "int8":
        return None
    if planned.files is not None:
        return files.first_sequences(planned.files)
    assert planned.layout is not None
    units = plan_units(list_files(planned.config.read), planned.config.read.unit_bytes)
    records = (batch for unit in units for batch in read_unit(unit, planned.layout))
    return first_sequences(records, planned.checkpoint, planned.config.model)


def _refuse_mixed(evidence: Evidence) -> None:
    """Raise `RunError` where some gold labels are names of labels, and others their numbers."""
    account = evidence.account
    if account.ways[NAMES] and account.ways[NUMBERS]:
        name, count = (account.examples[way][1] for way in (NAMES, NUMBERS))
        raise RunError(
            f"the gold labels are a mix: {account.ways[NAMES]:,} rows hold a label's name, such as {name!r}, and "
            f"{account.ways[NUMBERS]:,} what would be its number, such as {count!r}; say with --labels what stands for "
            "what"
        )


def _refuse_counted(evidence: Evidence, planned: Plan) -> None:
    """Raise `RunError` where gold labels are numbers, and names with digits leave open from where they count."""
    labels = evidence.tally.asked.labels
    if planned.kind.problem == "regression" or planned.config.gold.labels is not None or countable(labels, None):
        return
    places = {str(number) for number in range(len(labels))}
    if not places.isdisjoint(name.removesuffix(".0") for name in evidence.account.unknown):
        raise RunError(
            f"the gold labels hold {', '.join(map(repr, evidence.account.unknown))}, and the model's labels are "
            f"{_quoted(labels)}: whether their numbers count from 0 cannot be told; say with --labels what stands for "
            "what, as VALUE:NAME"
        )


def _refuse_unlabelled(evidence: Evidence, config: EvaluateConfig) -> None:
    """Raise `RunError` where too many rows have no gold label; warn where a gate stands on what is left of them."""
    account = evidence.account
    told = f"{account.unlabelled:,} of {account.rows:,} rows have no gold label"
    if account.unlabelled > config.report.max_unlabelled * account.rows:
        raise RunError(f"{told}, more than --max_unlabelled={config.report.max_unlabelled:g} allows")
    if account.unlabelled > _MANY_UNLABELLED * account.rows and gates.given(config.gates):
        say(f"warning: {told}, and the gates see only the others (see --max_unlabelled)", 0)


def _refuse_rejected(evidence: Evidence, config: EvaluateConfig) -> None:
    """Raise `RunError` where too many rows cannot be scored, or none."""
    account = evidence.account
    rejected = sum(account.rejected.values())
    reasons = ", ".join(f"{name} {count:,}" for name, count in account.rejected.most_common())
    names = ", ".join(map(repr, account.unknown))
    if names and evidence.tally.asked.problem == "regression":
        reasons += f"; the column has what is no finite number: {names}"
    elif names:
        reasons += f"; the unknown labels begin with {names}, and "
        if config.gold.labels is not None:
            reasons += f"--labels has {_quoted(tuple(value for value, _ in pairs_of(config.gold.labels)))}"
        else:
            reasons += (
                f"the model's are {_quoted(evidence.tally.asked.labels)} (see --labels{_truths(account.unknown)})"
            )
    if rejected > config.report.max_rejected * account.rows:
        raise RunError(
            f"{rejected:,} of {account.rows:,} rows were rejected, more than --max_rejected="
            f"{config.report.max_rejected:g} allows ({reasons})"
        )
    if not account.rows:
        raise RunError("no row could be scored: there are no rows")
    if not account.scored:
        raise RunError(
            f"no row could be scored: of {account.rows:,} rows {account.unlabelled:,} have no gold label, and "
            f"{rejected:,} were rejected" + (f" ({reasons})" if rejected else "")
        )


def _truths(unknown: Iterable[str]) -> str:
    """What to write for booleans."""
    found = [name for name in unknown if name.casefold() in ("true", "false")]
    return f", such as {found[0]}:NAME" if found else ""


def _quoted(labels: tuple[str, ...]) -> str:
    return ", ".join(map(repr, labels[:20])) + (" …" if len(labels) > 20 else "")


def _assembled(planned: Plan, evidence: Evidence, runner: str, started: float) -> dict[str, Any]:
    """What evaluation.json says. No environment, no flags of the runner: they hold secrets."""
    config, account, checkpoint = planned.config, evidence.account, planned.checkpoint
    began = time.time()
    found = measure(evidence.tally, config.measure.positive_label, config.measure.ordinal)
    del found["rows"]
    if checkpoint is not None:
        _decode(found["worst"], checkpoint)
    finished = time.time()
    return {
        "format_version": FORMAT_VERSION,
        "kind": "evaluate",
        "command": _command(config),
        "versions": versions(*_PACKAGES, *(("torch", "transformers") if checkpoint is not None else ())),
        "runner": runner,
        "started": iso(started),
        "finished": iso(finished),
        "data": planned.data,
        "model": None
        if checkpoint is None
        else {
            "name": storage.without_password(checkpoint.name),
            "revision": checkpoint.revision,
            "digest": checkpoint.digest,
            "files": checkpoint.files,
        },
        "problem": planned.kind.problem,
        "labels": list(evidence.tally.asked.labels),
        "gold": {
            "column": planned.sheet.label_column,
            "read_as": NUMBERS if account.ways[NUMBERS] else planned.sheet.gold.way,
        },
        "threshold": config.model.threshold if planned.kind.problem == "multi_label" and planned.kind.scores else None,
        "bootstrap": {"replicates": config.measure.bootstrap, "seed": config.measure.seed},
        "engines": [account.engines[key] for key in sorted(account.engines)],
        "rows": {
            "in": account.rows,
            "scored": account.scored,
            "unlabelled": account.unlabelled,
            "rejected": sum(account.rejected.values()),
            "rejected_by_reason": dict(sorted(account.rejected.items(), key=_most_first)),
            "unknown_labels": list(account.unknown),
        },
        "tokens": account.tokens,
        "truncated_rows": account.truncated if planned.truncations else None,
        **found,
        "gates": gates.judged(config.gates, found["metrics"]),
        "seconds": {
            **{stage: round(spent, 3) for stage, spent in sorted(account.seconds.items())},
            "measure": round(finished - began, 3),
            "wall": round(finished - started, 3),
        },
    }


_PACKAGES = ("apache-beam", "numpy", "pyarrow", "scikit-learn", "scipy")


def _most_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _decode(worst: list[dict[str, Any]], checkpoint: Checkpoint) -> None:
    """The texts of rows of which only token ids are known."""
    if not any("input_ids" in row for row in worst):
        return
    tokenizer = load_tokenizer(checkpoint.local(), checkpoint.name)
    for row in worst:
        text = tokenizer.decode(row.pop("input_ids"), skip_special_tokens=True)
        row["text"] = text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _named(planned: Plan) -> str:
    model = "" if planned.checkpoint is None else f"{storage.without_password(planned.checkpoint.name)} on "
    if planned.data["kind"] == "prepared":
        return f"{model}the {planned.data['split']} split of {planned.data['folder']}"
    count = len(planned.data["inputs"])
    return f"{model}{count:,} file{'s'[: count != 1]}"


if __name__ == "__main__":
    sys.exit(main())
