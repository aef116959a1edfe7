"""The work of `pipelines.approve`: nights, one after the other, and what becomes of each."""

import datetime
from typing import Any

from pipelines import outcome, voice
from pipelines.announcing import placing_here
from pipelines.command import say
from pipelines.ending import planning
from pipelines.terminal import compare as terminal
from pipelines.usage import UsageError
from seqcls_beam import storage
from seqcls_beam.config.approve import ApproveOptions
from seqcls_beam.config.compare import DriftOptions
from seqcls_beam.config.dates import parse_dates
from seqcls_beam.evaluation.judging import (
    Evaluation,
    Judgement,
    before,
    evaluation,
    judge,
    labels,
    last_night,
    nights,
)
from seqcls_beam.evaluation.sample import Sample, sample
from seqcls_beam.runs.approval import NAME, Approval, approval, record, repeated
from seqcls_beam.runs.commit import carry_out
from seqcls_beam.runs.meant import labelling
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import Published, damage
from seqcls_beam.schema import PARTITION


def approve(options: ApproveOptions, limits: DriftOptions) -> int:
    """Judge what is to be judged; the exit code."""
    with planning():
        output = storage.absolute(options.output)
        if (file := voice.now.json) not in (None, "-") and storage.lies_in(storage.absolute(str(file)), output):
            raise UsageError(f"--json={file} lies in {options.output}, where only what is published stands")
        reference = None if options.reference is None else _sample(options.reference, labelling(options.reference))
        evaluations = [evaluation(folder) for folder in options.evaluation]
        known = approval(store_of(output))
        names = None
        if options.run_date is not None:
            names = {f"{PARTITION}={date}" for date in parse_dates("run_date", options.run_date)}
        asked = nights(options.output, known, names)
    found = []
    while asked:
        night, *asked = asked
        # Consumers that are told of a night look into its folder.
        carry_out(night.store, night.version, placing_here(options.output))
        own, beside, judged = _judged(night, known, reference, evaluations, options.max_rejected, limits)
        if not judged.open:
            known = record(night.store, night.version, judged.said)
        if not judged.open and not known.knows(night.version.partition, night.version.number):
            now = labels(night.store, night.version.partition)
            if now is not None and now.version.number <= night.version.number:
                raise RunError(
                    f"{NAME} in {storage.without_password(options.output)} names a later version of {own.name} than "
                    f"{night.version.number}, which is the newest: it is of another table; move it away"
                )
            say(f"{own.name} was replaced by another version while it was judged", 0)
            asked = [*filter(None, [now]), *asked]
            continue
        _tell(own, beside, judged)
        if judged.said and known.passed.get(night.version.partition) == night.version.number:
            say(f"{own.name} passed before, and stays approved", 0)
        found.append({**_told(night, judged), "passed": not judged.said, "recorded": not judged.open})
    outcome.add(format_version=1, kind="approve", nights=found)
    return _end(options.output, known, [each for each in found if each["why"]], judged=bool(found))


def _judged(
    night: Published,
    known: Approval,
    reference: Sample | None,
    evaluations: list[Evaluation],
    max_rejected: float,
    limits: DriftOptions,
) -> tuple[Sample, Sample | None, Judgement]:
    """(the night, what it was put beside, what was found)."""
    own = _sample(_name(night), night)
    if number := repeated(night.store, known, night.version):
        say(f"{own.name} passed before, as version {number}, and version {own.version} says the same", 0)
        beside, judged = None, Judgement([], None)
    else:
        last = None if reference is not None else before(known, night)
        beside = reference if last is None else _sample(_name(last), last)
        judged = judge(own, beside, evaluations, max_rejected, limits)
    if wrong := damage(night):
        judged.why.append(f"{wrong}: label the night again, with --run_date and the files that it was made of")
    return own, beside, judged


def _tell(night: Sample, reference: Sample | None, found: Judgement) -> None:
    """Say what was found of a night; where it did not pass, with the numbers that it was compared by."""
    rows = night.rows
    if not rows["in"] and not found.said:
        say(f"{night.name} passed: it has no rows", 0)
        return
    beside = f"beside {reference.name}" if reference else "with nothing before it to compare with"
    bad = (rows["rejected"] + rows["lost"]) / max(rows["in"], 1)
    verdict = "is not judged yet" if found.open else "did not pass" if found.why else "passed"
    say(f"{night.name} {verdict}: {rows['in']:,} rows, {bad:.2%} rejected or lost, {beside}", 0)
    if found.why and found.comparison is not None:
        terminal.compared(found.comparison)
    for why in found.said:
        say(why, 3)


def _sample(name: str, night: Published) -> Sample:
    return sample(storage.without_password(name), night)


def _name(night: Published) -> str:
    """What a night is called: its partition, or its version where there are none."""
    return night.version.partition or f"version {night.version.number}"


def _told(night: Published, found: Judgement) -> dict[str, Any]:
    return {
        "partition": night.version.partition,
        "version": night.version.number,
        "run_id": night.version.run_id,
        "rows": night.manifest["rows"],
        "why": found.said,
        "comparison": found.comparison,
    }


def _end(output: str, known: Approval, failed: list[dict[str, Any]], judged: bool) -> int:
    """Say up to where the output is approved; the exit code."""
    if known.last is None:
        said = "no night of it has passed"
    else:
        said = f"approved up to {known.last or f'version {known.passed[known.last]}'}"
    say(f"{'' if judged else 'nothing new to judge; '}{storage.without_password(output)}: {said}", 0)
    if known.last and _has_not_come(known.last):
        say(
            f"{known.last} has not come yet by this machine's clock, and no night before it will be the last one that "
            f"passed: docs/nights.md says how {NAME} is made anew",
            0,
        )
    newest = last_night(store_of(storage.absolute(output)))
    if newest is not None and not failed and known.refuses(newest.version.partition, newest.version.number):
        why = "; ".join(known.failed[newest.version.partition][1])
        return say(f"{_name(newest)} did not pass when it was judged: {why}", 3)
    return 3 if failed else 0


def _has_not_come(partition: str) -> bool:
    """Whether a night is of a day that has begun nowhere."""
    _, _, date = partition.partition("=")
    return date > str((datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=14)).date())
