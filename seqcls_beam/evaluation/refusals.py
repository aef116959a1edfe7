"""Evidence that must not become a number: gold labels that can be read two ways, too few rows that count."""

import shlex
from collections.abc import Iterable
from typing import Any

from seqcls_beam.config.evaluate import EvaluateConfig
from seqcls_beam.evaluation import gates
from seqcls_beam.evaluation.columns import quoted
from seqcls_beam.evaluation.evidence import Evidence
from seqcls_beam.evaluation.gold import NAMES, NUMBERS, countable, pairs_of
from seqcls_beam.evaluation.job import Job
from seqcls_beam.preparation.labels import whole_name
from seqcls_beam.runs import accounting
from seqcls_beam.runs.run import RunError

_MANY_UNLABELLED = 0.05  # share of the rows, above which whoever gave a gate is warned
_MANY = 20  # labels


def refuse(evidence: Evidence, job: Job) -> None:
    """Raise `RunError`, with what to do, where the evidence cannot be trusted to say how good the answers are."""
    account = evidence.account
    accounting.refuse_unread(accounting.limits(job.config.report), account.files, account.rows, _end(job))
    _refuse_mixed(evidence)
    _refuse_counting(evidence)
    _refuse_numbers(evidence, job)
    _refuse_rejected(evidence, job)
    _refuse_unlabelled(evidence, job.config)


def lost_of(job: Job, evidence: Evidence) -> dict[str, Any]:
    """Rows that could not be read, now or when they were labelled; as `runs.accounting.lost`."""
    return job.lost or accounting.lost(evidence.account.files)


def doubt(evidence: Evidence, config: EvaluateConfig) -> str | None:
    """A sentence for the user where gates are given, and many rows have no gold label; None where all is well."""
    account = evidence.account
    if account.unlabelled > _MANY_UNLABELLED * account.rows and gates.given(config.gates):
        return f"{_unlabelled(evidence)}, and the gates see only the others (see --max_unlabelled)"
    return None


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


def _refuse_counting(evidence: Evidence) -> None:
    """Raise `RunError` where gold labels were read as numbers from 0, and what is there may as well count from 1."""
    labels, account = evidence.tally.asked.labels, evidence.account
    if not account.ways[NUMBERS] or account.span is None:
        return
    low, high = account.span
    if low == 0 and high < len(labels):
        return
    signs = f", are -1 and 1 two sides ({_counted(labels, -1, 2)})" if low < 0 and len(labels) == 2 else ""
    found = f"the number {low}" if low == high else f"numbers from {low} to {high}"
    raise RunError(
        f"the gold labels hold {found}, and the model has {len(labels):,} labels: do they count from 0 "
        f"({_counted(labels)}; others are rejected){signs} or from 1 ({_counted(labels, 1)})? Nothing that is there "
        "tells; --labels decides"
    )


def _counted(labels: tuple[str, ...], first: int = 0, step: int = 1) -> str:
    """`--labels` for numbers of labels in their order."""
    pairs = [f"{first + step * place}:{name}" for place, name in enumerate(labels[:_MANY])]
    return f"--labels={shlex.quote(','.join(pairs))}{',…' if len(labels) > _MANY else ''}"


def _refuse_numbers(evidence: Evidence, job: Job) -> None:
    """Raise `RunError` where unknown gold labels may be numbers from 0 of labels whose names have digits.

    0 to 4 beside "1 star" to "5 stars" may be meant so, or be another scale altogether.
    """
    labels = evidence.tally.asked.labels
    if job.kind.problem == "regression" or job.config.gold.labels is not None or countable(labels, None):
        return
    places = {str(number) for number in range(len(labels))}
    if not places.isdisjoint(whole_name(name) for name in evidence.account.unknown):
        raise RunError(
            f"the gold labels hold {', '.join(map(repr, evidence.account.unknown))}, and the model's labels are "
            f"{quoted(labels, _MANY)}: whether their numbers count from 0 cannot be told; say with "
            f"--labels what stands for what, such as {_counted(labels)} or {_counted(labels, 1)}"
        )


def _refuse_rejected(evidence: Evidence, job: Job) -> None:
    """Raise `RunError` where too many rows cannot be scored, or none."""
    account, config = evidence.account, job.config
    rejected = dict(account.rejected.most_common())
    names, more = ", ".join(map(repr, account.unknown)), ""
    if names and evidence.tally.asked.problem == "regression":
        more = f"; the column has what is no finite number: {names}"
    elif names:
        more = f"; the unknown labels begin with {names}, and "
        if config.gold.labels is not None:
            more += f"--labels has {quoted((value for value, _ in pairs_of(config.gold.labels)), _MANY)}"
        else:
            told = quoted(evidence.tally.asked.labels, _MANY)
            more += f"the model's are {told} (see --labels{_truths(account.unknown)})"
        if config.gold.label_columns is not None:
            more += "; of --label_columns 0 and 1, or false and true, are read"
    # Answers and shards are there as they were read once: no option of this command reads them otherwise.
    end = _end(job) + (accounting.cure(rejected) if job.layout is not None else "")
    accounting.refuse_share(accounting.limits(config.report), account.rows, rejected, lost_of(job, evidence), more, end)
    if not account.rows:
        raise RunError("no row could be scored: there are no rows")
    if not account.scored:
        raise RunError(
            f"no row could be scored: of {account.rows:,} rows {account.unlabelled:,} have no gold label, and "
            f"{sum(rejected.values()):,} were rejected" + (f" ({', '.join(rejected)}{more})" if rejected else "")
        )


def _end(job: Job) -> str:
    return "" if job.config.report.output is None else "; nothing was published"


def _refuse_unlabelled(evidence: Evidence, config: EvaluateConfig) -> None:
    """Raise `RunError` where too many rows have no gold label."""
    account = evidence.account
    if account.unlabelled > config.report.max_unlabelled * account.rows:
        raise RunError(f"{_unlabelled(evidence)}, more than --max_unlabelled={config.report.max_unlabelled:g} allows")


def _unlabelled(evidence: Evidence) -> str:
    return f"{evidence.account.unlabelled:,} of {evidence.account.rows:,} rows have no gold label"


def _truths(unknown: Iterable[str]) -> str:
    """How to go on after `--labels` where the unknown labels are booleans."""
    found = [name for name in unknown if name.casefold() in ("true", "false")]
    return f", such as {found[0]}:NAME" if found else ""
