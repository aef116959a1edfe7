"""A night → why it is not for consumers: its rejects, its drift, and what its model is worth."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import orjson

from seqcls_beam import storage
from seqcls_beam.config.compare import DriftOptions
from seqcls_beam.config.dates import parse_date
from seqcls_beam.evaluation import gates
from seqcls_beam.evaluation.comparison import compared, failures
from seqcls_beam.evaluation.document import NAME
from seqcls_beam.evaluation.sample import Sample
from seqcls_beam.runs.approval import Approval, read_judged
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.shapes import checked
from seqcls_beam.runs.store import Store, store_of
from seqcls_beam.runs.table import Published, partitions, read_newest
from seqcls_beam.runs.versions import newest
from seqcls_beam.schema import PARTITION, WINDOW


@dataclass(frozen=True)
class Evaluation:
    """What `pipelines.evaluate` said of a model."""

    folder: str
    digest: str
    threshold: float | None  # of a model that may give several labels
    gates: list[dict[str, Any]]


@dataclass(frozen=True)
class Judgement:
    """What was found of a night."""

    why: list[str]  # why it does not pass, a sentence each
    comparison: dict[str, Any] | None  # as `comparison.compared`; None where there is nothing to compare with
    unmeasured: list[str] = field(default_factory=list)  # which of its models no evaluation is of

    @property
    def open(self) -> bool:
        """Whether nothing speaks against it, and not all was asked that is to be: it neither passes nor fails."""
        return bool(self.unmeasured and not self.why)

    @property
    def said(self) -> list[str]:
        """All that keeps it from passing; none: it passes."""
        return [*self.why, *self.unmeasured]


def evaluation(folder: str) -> Evaluation:
    """Read an evaluation. Raises `ValueError` for one that cannot decide anything, `RunError` while it is replaced."""
    shown = storage.without_password(folder)
    try:
        found = orjson.loads(storage.read(storage.join(storage.absolute(folder), NAME)))
    except FileNotFoundError:
        if newest(store_of(storage.absolute(folder)), ""):
            raise RunError(f"--evaluation={shown} has no {NAME} at this moment: it is replaced; start again") from None
        raise ValueError(f"--evaluation={shown} holds no {NAME}: name an output of pipelines.evaluate") from None
    except orjson.JSONDecodeError as error:
        raise ValueError(f"--evaluation={shown}: {NAME} is damaged ({error})") from error
    if not isinstance(found, dict) or found.get("kind") != "evaluate" or not _are_gates(found.get("gates")):
        raise ValueError(f"--evaluation={shown} is no output of pipelines.evaluate")
    model, threshold = found.get("model"), found.get("threshold")
    if model is None:
        raise ValueError(f"--evaluation={shown} is of rows that had their answers, and of no model: evaluate --input")
    if not isinstance(model, dict) or not isinstance(model.get("digest"), str):
        raise ValueError(f"--evaluation={shown} is no output of pipelines.evaluate")
    if not isinstance(threshold, int | float | None):
        raise ValueError(f"--evaluation={shown} is no output of pipelines.evaluate")
    if not found["gates"]:
        raise ValueError(f"--evaluation={shown} was made without a gate: evaluate with --min_f1=0.8, say")
    return Evaluation(shown, model["digest"], threshold, found["gates"])


def _are_gates(said: Any) -> bool:
    """Whether they are as `gates.judged` has them."""
    return isinstance(said, list) and all(
        isinstance(each, dict)
        and {"gate", "metric", "limit", "value", "ci"} <= each.keys()
        and isinstance(each.get("passed"), bool)
        for each in said
    )


def nights(output: str, known: Approval, asked: Collection[str] | None) -> list[Published]:
    """What is to be judged, by name: the newest versions of the partitions `asked`, or else of those not `known`.

    Only these are read, so that a night costs no more for those before it than the question what their newest version
    is. Raises `RunError` where there are no labels of files, or none of what was asked for.
    """
    store, shown = store_of(storage.absolute(output)), storage.without_password(output)
    names = partitions(store)
    if any(name.startswith(f"{WINDOW}=") for name in names):
        raise RunError(f"{shown} holds windows of a stream, which change as messages come: nothing is approved")
    names = [name for name in names if (_is_night(name) if asked is None else name in asked)]
    numbers = storage.each(lambda name: newest(store, name), names)
    told = {name: number for name, number in zip(names, numbers, strict=True) if number}
    new = [name for name, number in told.items() if asked is not None or not known.knows(name, number)]
    found = [each for each in storage.each(lambda name: labels(store, name), new) if each]
    if not found and len(new) == len(told):  # else what is there was judged
        last = last_night(store)
        if last is None:
            raise RunError(f"{shown} holds nothing that was published")
        if asked is not None:
            date = last.version.partition or "without a date"
            raise RunError(f"{shown} has no such night; the last one that is published is {date}")
    return found


def labels(store: Store, partition: str) -> Published | None:
    """The newest version of a partition; None where nothing is. Raises `RunError` where that holds no labels."""
    found = read_newest(store, partition)
    if found is None:
        return None
    where = storage.without_password(store.uri(found.version.name))
    if found.manifest["kind"] != "classify":
        raise RunError(f"{where} is of no labels, but of the output of pipelines.{found.manifest['kind']}")
    checked(found.manifest, where)
    return found


def last_night(store: Store) -> Published | None:
    """The newest version of the last partition in which anything is published."""
    names = filter(_is_night, reversed(partitions(store)))
    return next((each for name in names if (each := labels(store, name))), None)


def _is_night(partition: str) -> bool:
    """Whether a partition is one, or all of a table without any: a folder may also be somebody's copy."""
    key, _, date = partition.partition("=")
    try:
        return not partition or (key == PARTITION and bool(parse_date(key, date)))
    except ValueError:
        return False


def before(known: Approval, run: Published) -> Published | None:
    """The last version before this one that passed and has rows; its manifest alone, where it was replaced since.

    Of an earlier partition; of a table without any, an earlier version.
    """
    partition, number = run.version.partition, run.version.number
    for name in sorted(known.passed, reverse=True):
        if name < partition or (not partition and known.passed[name] < number):
            version, manifest = read_judged(run.store, name, known.passed[name])
            if manifest["kind"] != "classify":
                continue
            checked(manifest, storage.without_password(run.store.uri(version.name)))
            if manifest["rows"].get("labeled"):
                return Published(run.store, version, manifest)
    return None


def judge(
    night: Sample,
    reference: Sample | None,
    evaluations: list[Evaluation],
    max_rejected: float,
    limits: DriftOptions,
) -> Judgement:
    """Put a night to the gates. One without rows passes, and one of whose model no evaluation is stays open."""
    rows, bad = night.rows["in"], night.rows["rejected"] + night.rows["lost"]
    if rows != night.rows["labeled"] + bad:
        return Judgement([f"of {rows:,} rows {night.rows['labeled']:,} are labelled and {bad:,} are not"], None)
    if not rows:
        return Judgement([], None)
    why = []
    if bad > max_rejected * rows:
        why.append(f"--max_rejected={max_rejected:g}: {bad:,} of {rows:,} rows are rejected or lost ({bad / rows:.2%})")
    comparison = None
    if reference is not None:
        comparison = compared(reference, [night], limits)
        why += [each for run in comparison["runs"] for each in failures(run)]
    if evaluations and not (night.models and all(model["digest"] for model in night.models)):
        why.append("--evaluation: nobody wrote down which model labelled the night")
    unmeasured: list[str] = []
    for model in night.models if evaluations else ():
        if of_model := _of(model, evaluations):
            why += _failures(of_model)
        elif model["digest"]:
            unmeasured.append(_unmeasured(model, evaluations))
    return Judgement(why, comparison, unmeasured)


def _of(model: dict[str, Any], evaluations: list[Evaluation]) -> list[Evaluation]:
    """Those of a model, as it labels."""
    return [
        each for each in evaluations if each.digest == model["digest"] and each.threshold in (None, model["threshold"])
    ]


def _failures(evaluations: list[Evaluation]) -> list[str]:
    return [
        f"--evaluation={each.folder}: {gates.sentence(gate)}"
        for each in evaluations
        for gate in each.gates
        if not gate["passed"]
    ]


def _unmeasured(model: dict[str, Any], evaluations: list[Evaluation]) -> str:
    """Why no evaluation says anything of a model, and what would."""
    alike = [each for each in evaluations if each.digest == model["digest"]]
    if alike:
        return (
            f"--evaluation={alike[0].folder}: measured with --threshold={alike[0].threshold:g}, and the night is "
            f"labelled with {model['threshold']}: give an evaluation with that one"
        )
    others = ", ".join(f"{each.folder} ({each.digest[:12]})" for each in evaluations)
    return (
        f"--evaluation: the night is labelled by model {model['digest'][:12]}, and measured is {others}: give "
        "an evaluation of that model"
    )
