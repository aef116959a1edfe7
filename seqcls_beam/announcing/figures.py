"""A manifest → the numbers that are watched: how many rows, how long, how fresh. Told once, for every platform.

    seqcls_beam_rows{output="/data/out", kind="classify", partition_key="run_date", outcome="labeled"} 1200

All are gauges, values of the newest version of an output. What a manifest lacks is no figure, and no zero; nor is what
is no finite number. Names have the unit at their end, as Prometheus wants it: seconds, bytes, or what is counted.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from seqcls_beam import storage
from seqcls_beam.announcing.published import Announced
from seqcls_beam.signs import shown

MOST = 100
"""Values of a label, such as names of classes: each is a series of its own, which a server keeps."""

REST = "(other)"
"""What the values beyond `MOST` are called, added up."""

_LONGEST = 200  # signs of a label's value
_REST = f"the {MOST} most frequent, all others added up as {REST}"

HELP = {
    "run_info": "The run that is published: its id, its partition, the package and the digests of what it used; "
    "always 1.",
    "published_version": "Number of the version that is published, from 1.",
    "published_timestamp_seconds": "When the run had done its work, seconds since 1970.",
    "run_date_timestamp_seconds": "The date of the partition, at 00:00 UTC, seconds since 1970.",
    "window_end_timestamp_seconds": "The moment behind the last of the window, seconds since 1970.",
    "newest_message_timestamp_seconds": "The latest event time of the messages, seconds since 1970.",
    "window_complete": "1 where the window was published once, when it was over.",
    "window_amendments": "How often messages that came late were added to the window.",
    "distinct_messages": "Messages of the window, each once.",
    "duplicate_messages": "Copies of messages of the window, which were left out.",
    "input_rows": "Rows of the input, those that were lost among them.",
    "rows": "Rows of the input by what became of them: labeled, kept, scored, unlabelled, removed, rejected, or lost "
    "(known, estimated, or at least).",
    "rejected_rows": f"Rejected rows by reason: {_REST}.",
    "removed_rows": f"Good rows that were left out by reason: {_REST}.",
    "lost_rows": f"Rows of files that could not be read by reason: {_REST}.",
    "truncated_rows": "Rows with a text longer than the model reads.",
    "label_rows": f"Rows with a label: {_REST}.",
    "reference_rows": "Rows of the files that must not be learned from.",
    "tokens": "Tokens that the model read.",
    "input_files": "Files of the input.",
    "input_bytes": "Bytes of the files of the input, as they lie there.",
    "skipped_files": "Files of the input that other nights had labelled.",
    "output_files": "Files that are published: parts, or rejects.",
    "output_bytes": "Bytes of the files that are published: parts, or rejects.",
    "stage_seconds": f"Time spent in a stage, over all workers: {_REST}.",
    "wall_seconds": "Time of the whole run.",
    "training_seconds": "Time of the training.",
    "training_steps": "Steps that the training made.",
    "best_step": "The step whose weights are published.",
    "split_rows": "Rows of a split.",
    "split_tokens": "Tokens of a split.",
    "split_truncated_rows": "Rows of a split that were cut.",
    "split_label_rows": f"Rows of a split with a label: {_REST}.",
    "score": "A metric of the model on a split.",
    "score_low": "Lower end of the 95 % interval of the metric.",
    "score_high": "Upper end of the 95 % interval of the metric.",
    "baseline_score": "The metric of always saying the most frequent label.",
    "scored_rows": "Rows that the metrics of a split rest on.",
    "gate_passed": "1 where a metric met the limit that was set for it, 0 where it did not.",
}
"""What there is to be told, without the `seqcls_beam_` in front, and what it means."""

_OUTCOMES = ("labeled", "kept", "scored", "unlabelled", "removed", "rejected", "lost")


@dataclass(frozen=True)
class Figure:
    """One number."""

    name: str  # seqcls_beam_…
    value: float
    labels: tuple[tuple[str, str], ...]  # of one name always the same ones, in one order; values may be empty

    @property
    def help(self) -> str:
        """What it means."""
        return HELP[self.name.removeprefix("seqcls_beam_")]

    @property
    def unit(self) -> str:
        """As UCUM has it; empty of what is counted."""
        return {"seconds": "s", "bytes": "By"}.get(self.name.rpartition("_")[2], "")


def figures(announced: Announced) -> list[Figure]:
    """What is told of a version, by name in the order of `HELP`. A manifest of any content gives some."""
    found = [*_of_run(announced), *_of_rows(announced.manifest), *_of_files(announced.manifest)]
    found += [*_of_time(announced.manifest), *_of_splits(announced.manifest), *_of_metrics(announced.manifest)]
    place = {f"seqcls_beam_{name}": at for at, name in enumerate(HELP)}
    common = tuple(common_labels(announced).items())
    told = [Figure(each.name, each.value, common + each.labels) for each in found]
    return sorted(told, key=lambda each: place[each.name])


def common_labels(announced: Announced) -> dict[str, str]:
    """The labels that every figure has: they tell the outputs of a machine from each other."""
    return {
        "output": _text(storage.without_password(announced.output)),
        "kind": _text(announced.manifest.get("kind")),
        "partition_key": _text(announced.partition.partition("=")[0] if "=" in announced.partition else ""),
    }


def moment(said: Any) -> float | None:
    """A time as manifests have it → seconds since 1970; None for what is none."""
    try:
        time = datetime.fromisoformat(said)
        return time.timestamp() if time.tzinfo else None
    except (TypeError, ValueError, OverflowError):
        return None


def _of_run(announced: Announced) -> Iterator[Figure]:
    manifest, key, date = announced.manifest, *announced.partition.partition("=")[::2]
    models = _mapping(manifest.get("models"))
    info = {
        "run_id": manifest.get("run_id"),
        "partition": announced.partition,
        "package_version": package_version(manifest),
        "model": _at(manifest, "model", "digest") or ",".join(sorted(map(str, models))[:MOST]),
        "base": _at(manifest, "base", "digest"),
        "tokenizer": _at(manifest, "tokenizer", "digest"),
    }
    yield from _one("run_info", 1, **{name: _text(value) for name, value in info.items()})
    yield from _one("published_version", announced.version)
    yield from _one("published_timestamp_seconds", moment(manifest.get("finished")))
    if key == "run_date":
        yield from _one("run_date_timestamp_seconds", _midnight(date))
    yield from _one("window_end_timestamp_seconds", moment(_at(manifest, "window", "end")))
    yield from _one("newest_message_timestamp_seconds", moment(_at(manifest, "messages", "last")))
    yield from _one("window_complete", _flag(_at(manifest, "window", "complete")))
    yield from _one("window_amendments", _at(manifest, "window", "amended"))
    yield from _one("distinct_messages", _at(manifest, "messages", "distinct"))
    yield from _one("duplicate_messages", _at(manifest, "messages", "duplicates"))


def package_version(manifest: Mapping[str, Any]) -> str:
    """The version of this package that made it; "" where that is not said."""
    return _text(_at(manifest, "versions", "seqcls_beam"))


def _of_rows(manifest: Mapping[str, Any]) -> Iterator[Figure]:
    rows = _mapping(manifest.get("rows"))
    yield from _one("input_rows", rows.get("in"))
    for outcome in _OUTCOMES:
        yield from _one("rows", rows.get(outcome), outcome=outcome)
    for what in ("rejected", "removed", "lost"):
        yield from _counts(f"{what}_rows", "reason", rows.get(f"{what}_by_reason"))
    yield from _one("truncated_rows", manifest.get("truncated_rows"))
    yield from _counts("label_rows", "label", manifest.get("label_counts"))
    yield from _one("reference_rows", rows.get("reference"))
    yield from _one("tokens", manifest.get("tokens"))


def _of_files(manifest: Mapping[str, Any]) -> Iterator[Figure]:
    inputs = manifest.get("inputs", _at(manifest, "data", "inputs"))
    if isinstance(inputs, list) and "window" not in manifest:  # a stream has no files
        yield from _one("input_files", len(inputs))
        yield from _one("input_bytes", _sum(inputs, "size"))
    yield from _one("skipped_files", manifest.get("skipped"))
    for what in ("parts", "rejects"):
        if isinstance(files := manifest.get(what), list):
            yield from _one("output_files", len(files), files=what)
            yield from _one("output_bytes", _sum(files, "bytes"), files=what)


def _of_time(manifest: Mapping[str, Any]) -> Iterator[Figure]:
    seconds = manifest.get("seconds")
    stages = {name: spent for name, spent in _mapping(seconds).items() if name != "wall"}
    yield from _counts("stage_seconds", "stage", stages)
    yield from _one("wall_seconds", _at(manifest, "seconds", "wall"))
    yield from _one("training_seconds", seconds)
    yield from _one("training_steps", manifest.get("steps"))
    yield from _one("best_step", _at(manifest, "best", "step"))


def _of_splits(manifest: Mapping[str, Any]) -> Iterator[Figure]:
    for split, told in _some(manifest.get("splits")):
        for name in ("rows", "tokens", "truncated_rows"):
            yield from _one(f"split_{name}", _at(told, name), split=split)
        yield from _counts("split_label_rows", "label", _at(told, "label_counts"), split=split)
    if "splits" not in manifest:
        for split, rows in _some(_at(manifest, "data", "rows")):
            yield from _one("split_rows", rows, split=split)


def _of_metrics(manifest: Mapping[str, Any]) -> Iterator[Figure]:
    for name, of in (("score", "scores"), ("baseline_score", "majority_baseline")):
        for split, metrics in _some(manifest.get(of)):
            for metric, value in _some(metrics):
                yield from _one(name, value, split=split, metric=metric)
    for split, rows in _some(manifest.get("scored_rows")):
        yield from _one("scored_rows", rows, split=split)
    split = _text(_at(manifest, "data", "split"))
    for metric, told in _some(manifest.get("metrics")):
        yield from _one("score", _at(told, "value"), split=split, metric=metric)
        interval = _at(told, "ci")
        if isinstance(interval, list) and len(interval) == 2:
            yield from _one("score_low", interval[0], split=split, metric=metric)
            yield from _one("score_high", interval[1], split=split, metric=metric)
    for metric, value in _some(manifest.get("baseline")):
        yield from _one("baseline_score", value, split=split, metric=metric)
    gates = manifest.get("gates")
    passed = {_text(_at(each, "gate")): _at(each, "passed") for each in gates} if isinstance(gates, list) else {}
    for gate, flag in _some(passed):
        yield from _one("gate_passed", _flag(flag), gate=gate)


def _one(name: str, value: Any, **labels: str) -> Iterator[Figure]:
    """One figure, or none where the value is no number."""
    if (number := _number(value)) is not None:
        yield Figure(f"seqcls_beam_{name}", number, tuple(labels.items()))


def _counts(name: str, label: str, counts: Any, **labels: str) -> Iterator[Figure]:
    """A figure for each of the greatest counts, and one for the sum of the rest."""
    found: dict[str, float] = {}
    for key, count in _mapping(counts).items():
        if (number := _number(count)) is not None:
            found[_text(key)] = found.get(_text(key), 0) + number
    # A name that is that of the rest goes last: there it is one of them.
    ranked = sorted(found, key=lambda each: (each == REST, -found[each], each))
    for key in ranked[:MOST]:
        yield from _one(name, found[key], **labels, **{label: key})
    if rest := ranked[MOST:]:
        yield from _one(name, sum(found[key] for key in rest), **labels, **{label: REST})


def _some(value: Any) -> list[tuple[str, Any]]:
    """The first entries of an object by name, for a label's values; those that look alike once."""
    return sorted({_text(key): each for key, each in _mapping(value).items()}.items())[:MOST]


def _text(value: Any) -> str:
    """A name as a label's value: every sign can be seen, and there are not too many; "" for what is no name."""
    said = shown(value, name=True) if isinstance(value, str) else ""
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _flag(value: Any) -> int | None:
    return int(value) if isinstance(value, bool) else None


def _sum(files: list[Any], key: str) -> float | None:
    """None where one of them does not say."""
    sizes = [_number(_at(file, key)) for file in files]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _midnight(date: str) -> float | None:
    try:
        return datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _at(value: Any, *names: str) -> Any:
    """What stands at names, one in the other; None where nothing does."""
    for name in names:
        value = _mapping(value).get(name)
    return value
