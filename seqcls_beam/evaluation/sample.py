"""The manifest of a labelling → what is counted in it, checked: a file is input like any other."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from seqcls_beam.runs.histograms import EDGES, cells, is_histogram
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.table import Published

_ENGINE = ("engine", "dtype", "device")


@dataclass(frozen=True)
class Histogram:
    """Rows by cell; two with the same `cells` can be compared."""

    cells: dict[str, Any]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """What one run labelled."""

    name: str  # as the person called it
    partition: str
    version: int
    run_id: str
    rows: dict[str, int]  # in, labeled, rejected, lost
    truncated: int  # of the labelled
    problem: str | None  # single_label, multi_label or regression; None where the manifest does not say
    labels: frozenset[str] | None  # that rows could have; None where the manifest does not say
    counts: dict[str, int]  # labelled rows by label
    histograms: dict[str, Histogram]  # by a key of `histograms.EDGES`; those that count each labelled row
    models: list[dict[str, Any]]  # {name, digest, threshold} of each
    engines: list[str]  # such as "packed float32 cpu"


def sample(name: str, run: Published) -> Sample:
    """What a version says of its rows. Raises `RunError` where it says what no command wrote."""
    manifest, uri = run.manifest, run.store.uri(run.version.name)
    rows = {key: _count(manifest["rows"].get(key), f"rows.{key}", uri) for key in ("in", "labeled", "rejected")}
    rows["lost"] = _count(manifest["rows"].get("lost", 0), "rows.lost", uri)
    truncated = _count(manifest["truncated_rows"], "truncated_rows", uri)
    counts = {label: _count(each, f"label_counts.{label}", uri) for label, each in manifest["label_counts"].items()}
    if max(truncated, *counts.values(), 0) > rows["labeled"]:
        raise RunError(f"{uri}: more rows have a label, or are cut, than were labelled, which no command wrote")
    makers = _makers(manifest)
    problems = {each["problem"] for each in makers} - {None}
    named = [each["labels"] for each in makers]
    known = bool(named) and all(named)
    return Sample(
        name,
        run.version.partition,
        run.version.number,
        run.version.run_id,
        rows,
        truncated,
        problem=problems.pop() if len(problems) == 1 else "regression" if "value_histogram" in manifest else None,
        labels=frozenset(label for labels in named for label in labels) if known else None,
        counts=counts,
        histograms=dict(_histograms(manifest, rows["labeled"], uri)),
        models=[{key: each[key] for key in ("name", "digest", "threshold")} for each in makers],
        engines=_engines(manifest),
    )


def _count(value: Any, key: str, uri: str) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise RunError(f"{uri}: {key} is {value!r:.80}, which no command wrote; name another run")
    return value


def _histograms(manifest: dict[str, Any], labeled: int, uri: str) -> Iterator[tuple[str, Histogram]]:
    for name in EDGES:
        found = manifest.get(name)
        if found is None:
            continue
        if not is_histogram(found):
            raise RunError(f"{uri}: {name} is {found!r:.80}, which no command wrote; name another run")
        if sum(found["counts"]) == labeled:
            yield name, Histogram(cells(found), tuple(found["counts"]))


def _makers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The models that labelled, each {name, digest, problem, labels, threshold}; None for what nobody said."""
    engines = _objects(manifest.get("engines"))
    if "models" in manifest:  # of a stream: any number of them, by the value of the column
        said = [(key, each if isinstance(each, dict) else {}) for key, each in manifest["models"].items()]
        return [_maker({"digest": key, **_object(each.get("model"))}, each.get("threshold")) for key, each in said]
    if "model" in manifest:
        return [_maker(manifest["model"], manifest.get("threshold"))]
    return [
        _maker({**each, "name": each.get("model"), "digest": each.get("checkpoint")}, each.get("threshold"))
        for each in engines[:1]
    ]


def _maker(model: dict[str, Any], threshold: Any) -> dict[str, Any]:
    labels = model.get("labels")
    texts = {key: each if isinstance(each := model.get(key), str) else None for key in ("name", "digest", "problem")}
    named = isinstance(labels, list) and all(isinstance(each, str) for each in labels)
    return {
        **texts,
        "labels": labels if named else None,
        "threshold": threshold if isinstance(threshold, int | float) else None,
    }


def _engines(manifest: dict[str, Any]) -> list[str]:
    """What ran the models, in words, each once."""
    of_models = [
        each for model in _object(manifest.get("models")).values() for each in _objects(_object(model).get("engines"))
    ]
    found = [*_objects(manifest.get("engines")), *of_models]
    return list(dict.fromkeys(" ".join(str(each[key]) for key in _ENGINE if key in each) for each in found))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
