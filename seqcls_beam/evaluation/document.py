"""A finished evaluation as evaluation.json has it, and its two files."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import orjson
import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.evaluation import gates
from seqcls_beam.evaluation.evidence import SHOWN_CHARACTERS, Evidence
from seqcls_beam.evaluation.gold import NUMBERS
from seqcls_beam.evaluation.job import Job
from seqcls_beam.evaluation.metrics import measure
from seqcls_beam.evaluation.refusals import lost_of
from seqcls_beam.model.checkpoints import Checkpoint, load_tokenizer
from seqcls_beam.runs.manifest import ENGINE, KEYS, LOST, iso
from seqcls_beam.runs.publication import follow, publish_files
from seqcls_beam.runs.run import Run, RunError, identity, open_attempt
from seqcls_beam.runs.versions import FORMAT_VERSION as VERSION_FORMAT
from seqcls_beam.schema import UNIT
from seqcls_beam.version import __version__

_NOT_IN_IT = ("run_id", "parts", "rejects", "platforms.PLATFORM", "commit")
"""What of the keys stands in the version beside it."""

DOCUMENT = {
    **{key: told for key, told in KEYS.items() if key.split("[")[0] not in _NOT_IN_IT},
    "data": (
        "object",
        "what was evaluated: kind is rows, prepared or labeled; the folder and split, or the files",
    ),
    "model": ("object or null", "the checkpoint, as in the manifest of classify; null of labels that were there"),
    "problem": ("string", "single_label, multi_label or regression"),
    "labels[]": ("string", "the labels, in the order that numbers below mean"),
    "gold.column": ("string", "the column with gold labels"),
    "gold.read_as": ("string", "how it was read, in words"),
    "threshold": ("number or null", "probability from which one of several labels is assigned"),
    "bootstrap.replicates": ("integer", "samples that intervals are made of"),
    "bootstrap.seed": ("integer", "what they are drawn from"),
    **ENGINE,
    "rows.in": ("integer", "rows of the input: scored + unlabelled + rejected + lost"),
    "rows.scored": ("integer", "rows that are measured"),
    "rows.unlabelled": ("integer", "rows without a gold label"),
    "rows.rejected": ("integer", "rows that could not be used"),
    "rows.rejected_by_reason.REASON": ("integer", "the same by [reason](reasons.md)"),
    **LOST,
    "rows.unknown_labels[]": ("string", "gold labels that are none of the model's, some of them"),
    "tokens": ("integer or null", "tokens that the model read"),
    "truncated_rows": ("integer or null", "rows that were cut, where that is known"),
    "metrics.METRIC.value": ("number", "a metric over all rows"),
    "metrics.METRIC.ci[]": ("number", "its 95 % interval: low, high"),
    "metrics.METRIC.ci": ("null", "there is no interval"),
    "metrics.METRIC.why": ("string or null", "why there is none"),
    "ranked": ("string or null", "what AUC and average precision rest on: exact, or histogram where rows are many"),
    "classes[].label": ("string", "a label"),
    "classes[].METRIC": ("number or null", "its precision, recall, f1, average_precision"),
    "classes[].ci": ("list or null", "95 % interval of f1"),
    "classes[].why": ("string or null", "why there is none"),
    "classes[].precision_ci": ("list or null", "of precision"),
    "classes[].recall_ci": ("list or null", "of recall"),
    "classes[].support": ("integer", "gold rows"),
    "classes[].predicted": ("integer", "answers"),
    "positive": ("string", "of two labels the one that F1, AUC and average precision speak of"),
    "confusion": ("object", "pairs that occur: lists gold, predicted (places in labels) and rows"),
    "curves": ("object", "points of roc [false, true positive rate] and of precision_recall [recall, precision]"),
    "baseline.METRIC": ("number", "what always saying the most frequent label gets"),
    "calibration": (
        "object or null",
        "how far probabilities are chances: ece, brier, nll, bins, temperature …",
    ),
    "tuned": ("object", "of several labels: the one threshold with the best micro, and macro F1"),
    "spearman_rows": ("integer", "rows that the rank correlation rests on, where those are a sample"),
    "slices.COLUMN[]": ("object", "rows of one value of a column of --slice_by: value, rows, two metrics, ci"),
    "unsliced[]": ("string", "columns that have too many values for that"),
    "lengths[]": ("object", "the same by length in tokens"),
    "worst[]": ("object", "the worst errors: loss, id, source, position, gold, predicted, probability, text"),
    "warnings[]": ("string", "what of all this rests on too few rows"),
    "gates[]": ("object", "each limit: gate, metric, limit, value, ci, passed"),
    "seconds.STAGE": ("number", "time spent in a stage, over all workers; wall: of the whole run"),
}
"""What evaluation.json has: (type, meaning)."""

NAME, REPORT = "evaluation.json", "report.html"
FORMAT_VERSION = 1


def assemble(job: Job, evidence: Evidence, facts: dict[str, Any]) -> dict[str, Any]:
    """Measure, and say of what: the content of evaluation.json.

    `facts` are the launcher's: command, versions, runner, when it started (seconds since 1970).
    """
    config, account, checkpoint = job.config, evidence.account, job.checkpoint
    began = time.time()
    found = measure(evidence.tally, config.measure.positive_label, config.measure.ordinal)
    del found["rows"]
    if checkpoint is not None:
        _decode(found["worst"], checkpoint)
    finished = time.time()
    files = account.files
    missing = lost_of(job, evidence)
    return {
        "format_version": FORMAT_VERSION,
        "kind": "evaluate",
        "command": facts["command"],
        "versions": facts["versions"],
        "runner": facts["runner"],
        "started": iso(facts["started"]),
        "finished": iso(finished),
        "data": {**job.data, **({"inputs": files} if files else {})},
        "model": None
        if checkpoint is None
        else {
            "name": storage.without_password(checkpoint.name),
            "revision": checkpoint.revision,
            "digest": checkpoint.digest,
            "files": checkpoint.files,
            "reading": checkpoint.reading,
        },
        "problem": job.kind.problem,
        "labels": list(evidence.tally.asked.labels),
        "gold": {
            "column": job.sheet.label_column,
            "read_as": NUMBERS if account.ways[NUMBERS] else job.sheet.gold.way,
        },
        "threshold": config.model.threshold if job.kind.problem == "multi_label" and job.kind.scores else None,
        "bootstrap": {"replicates": config.measure.bootstrap, "seed": config.measure.seed},
        "engines": [account.engines[key] for key in sorted(account.engines)],
        "rows": {
            "in": account.rows + missing["lost"],
            "scored": account.scored,
            "unlabelled": account.unlabelled,
            "rejected": sum(account.rejected.values()),
            "rejected_by_reason": dict(sorted(account.rejected.items(), key=_most_first)),
            **missing,
            "unknown_labels": list(account.unknown),
        },
        "tokens": account.tokens,
        "truncated_rows": account.truncated if job.truncations else None,
        **found,
        "gates": gates.judged(config.gates, found["metrics"]),
        "seconds": {
            **{stage: round(spent, 3) for stage, spent in sorted(account.seconds.items())},
            "measure": round(finished - began, 3),
            "wall": round(finished - facts["started"], 3),
        },
    }


def _most_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _decode(worst: list[dict[str, Any]], checkpoint: Checkpoint) -> None:
    """Put texts in the place of token ids, where these are all that is known of rows."""
    if not any("input_ids" in row for row in worst):
        return
    tokenizer = load_tokenizer(checkpoint.local(), checkpoint.name)
    for row in worst:
        text = tokenizer.decode(row.pop("input_ids"), skip_special_tokens=True)
        row["text"] = text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def run_of(job: Job, output: str) -> Run:
    """The evaluation as a run into a folder. Raises `RunError` where nobody can say what is there.

    The same rows, model and options are the same run. When it ran and how long it took stand in both files and are not
    of its identity: those of the first time stay.
    """
    options = asdict(job.config)
    of_place = {"read": ("input", "exclude"), "model": ("model", "revision", "threads")}
    told = {
        group: {name: value for name, value in options[group].items() if name not in of_place.get(group, ())}
        for group in ("read", "gold", "model", "measure", "gates")
    }
    run_id = identity(
        pa.RecordBatch.from_pylist(job.data.get("inputs", []), UNIT),
        command="evaluate",
        data={name: said for name, said in job.data.items() if name != "inputs"},
        model=None if job.checkpoint is None else job.checkpoint.digest,
        **({} if job.config.report.report_texts else {"report_texts": 0}),
        options=told,
        version=__version__,
    )
    try:
        return follow(Run(output, run_id, job.config.report.overwrite, publishes=(NAME, REPORT), kind="evaluate"))
    except OSError as error:
        raise RunError(f"--output={output} cannot be written: {error}") from error


def begin(run: Run) -> None:
    """See that the run can be written. Raises `RunError` where it cannot."""
    open_attempt(run)
    _leave(run)  # rows are counted first, and that may fail


def published(run: Run) -> dict[str, Any]:
    """The content of the evaluation.json that is published. Raises `RunError` where it is none."""
    uri = storage.join(run.output, NAME)
    try:
        found: dict[str, Any] = orjson.loads(storage.read(uri))
    except orjson.JSONDecodeError as error:
        raise RunError(f"{uri} is damaged ({error}); give --overwrite to make it again") from error
    return found


def write(
    run: Run, found: dict[str, Any], page: Callable[[dict[str, Any]], str], platforms: Mapping[str, str] | None = None
) -> None:
    """Publish both files. Where evaluation.json is, the report beside it is of the same rows, as `page` tells them.

    `platforms` are told of it, and where. Raises `RunError` where they cannot be written.
    """
    # Both are made before either is written: a page that cannot be made must not take the old one away.
    made = {REPORT: page(found).encode(), NAME: orjson.dumps(found, option=orjson.OPT_INDENT_2)}
    parts = [
        {"path": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in made.items()
    ]
    told = {key: found[key] for key in ("started", "finished", "command", "versions")}
    told |= {"platforms": dict(platforms)} if platforms else {}
    manifest = {"format_version": VERSION_FORMAT, "kind": "evaluate", **told, "parts": parts, "rejects": []}
    own = f"{run.work}/{storage.token()}"  # another process may write this same evaluation, with other times in it
    try:
        try:
            for name, data in made.items():
                storage.put(storage.join(run.output, own, name), data)
        except OSError:
            storage.remove(storage.join(run.output, own))
            _leave(run)
            raise
        publish_files(run, manifest, [(f"{own}/{name}", name) for name in made])
    except OSError as error:
        raise RunError(f"--output={run.output} cannot be written: {error}") from error


def _leave(run: Run) -> None:
    """Remove the folder of the attempt where nothing is in it."""
    for folder in (run.attempt, storage.join(run.output, "_attempts")):
        storage.remove_if_empty(folder)
