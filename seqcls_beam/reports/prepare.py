"""The manifest of prepared data and some of its rejects → what its page says."""

from typing import Any

from seqcls_beam.preparation.splits import NAMES
from seqcls_beam.reports import looks
from seqcls_beam.reports.alerts import data, rows
from seqcls_beam.reports.making import made
from seqcls_beam.reports.pages import (
    Bar,
    Figure,
    Page,
    Section,
    base_name,
    percent,
    rows_of,
    seconds_of,
    sections,
    sorted_alerts,
)
from seqcls_beam.reports.sample import Sample
from seqcls_beam.runs.accounting import PREFIX
from seqcls_beam.runs.table import Published
from seqcls_beam.schema import REASONS

MOST = 40
"""Classes of a table; the manifest has all."""

_LONGER = (
    "Where what stands behind the cut matters, prepare with a larger --max_length, if the model reads as much, or cut "
    "texts yourself before."
)


def page(run: Published, title: str, look: Sample) -> Page:
    """What the page of prepared data says. Raises `RunError` for a manifest that no command wrote."""
    manifest = run.manifest
    splits = manifest["splits"]
    cut, kept = sum(each["truncated_rows"] for each in splits.values()), manifest["rows"]["kept"]
    alerts = [
        rows.lost(manifest),
        data.leaks(manifest),
        data.alike(manifest),
        rows.rejected(manifest),
        data.tiny_classes(manifest),
        data.conflicts(manifest),
        rows.truncated(cut, kept, manifest["tokenizer"]["max_length"], _LONGER, "kept texts"),
        data.copies(manifest),
        data.large_cluster(manifest),
        data.absent(manifest),
        data.skewed(manifest),
        data.shares(manifest),
        rows.files_without_rows(manifest),
    ]
    return Page(
        "Fine-tuning data",
        title,
        _subtitle(manifest),
        _headline(manifest, cut),
        sorted_alerts(alerts),
        sections(
            [
                _lost_by_step(manifest),
                _alike(manifest),
                _classes(manifest),
                _leaks(manifest),
                _lengths(manifest),
                looks.samples(look),
            ]
        ),
        made(manifest, f"version {run.version.number}"),
    )


def _subtitle(manifest: dict[str, Any]) -> str:
    files = manifest["inputs"]
    what = base_name(files[0]["path"]) if files else "no file"
    what += f" and {rows_of(len(files) - 1, 'more file')}" if len(files) > 1 else ""
    when = manifest["finished"].replace("T", " ").replace("Z", " UTC")
    return (
        f"{what}, {manifest['problem'].replace('_', ' ')}, labels read as {manifest['label_form']}, tokenised for "
        f"{base_name(manifest['tokenizer']['name'])}, {when}."
    )


def _headline(manifest: dict[str, Any], cut: int) -> tuple[Figure, ...]:
    count, splits = manifest["rows"], manifest["splits"]
    told = ", ".join(f"{splits[name]['rows']:,} {name}" for name in NAMES if name in splits)
    found = [
        Figure("rows in", f"{count['in']:,}"),
        Figure("kept", f"{count['kept']:,}", told),
        Figure("removed", f"{count['removed']:,}", f"{percent(count['removed'], count['in'])}, copies and leaks"),
        Figure("rejected", f"{count['rejected']:,}", percent(count["rejected"], count["in"])),
    ]
    if count.get("lost"):
        lost = f"{PREFIX[count['lost_weight']]}{count['lost']:,}"
        found.append(Figure("lost", lost, percent(count["lost"], count["in"])))
    found.append(Figure("cut texts", f"{cut:,}", percent(cut, count["kept"])))
    if manifest["seconds"].get("wall"):
        found.append(Figure("time", seconds_of(manifest["seconds"]["wall"])))
    return tuple(found)


def _lost_by_step(manifest: dict[str, Any]) -> Section:
    """What became of every row that was read."""
    count = manifest["rows"]
    there = max(count["in"], 1)

    def bar(name: str, rows_: int, tone: str = "", note: str = "") -> Bar:
        return Bar(name, rows_ / there, (f"{rows_:,}", percent(rows_, count["in"])), note, tone)

    reasons = {**count["lost_by_reason"], **count["rejected_by_reason"], **count["removed_by_reason"]}
    bars = [bar(name, each, "warm", REASONS.get(name, "")) for name, each in reasons.items()]
    body = {
        "head": "rows that were",
        "heads": ("rows", "share"),
        "rows": [*bars, bar("kept", count["kept"])],
        "more": 0,
    }
    cleaned = ", ".join(f"{step} {each:,}" for step, each in manifest["cleaned"].items() if each)
    return Section("bars", "Where the rows went", body, f"Mended on the way: {cleaned}." if cleaned else "", width=2)


def _classes(manifest: dict[str, Any]) -> Section | None:
    """Rows by class and split, the most frequent first."""
    splits = manifest["splits"]
    if manifest["problem"] == "regression":
        heads = [{"name": name, "text": False} for name in ("split", "rows", "mean", "standard deviation")]
        body = [
            [name, f"{each['rows']:,}", f"{each['target']['mean']:.4g}", f"{each['target']['standard_deviation']:.4g}"]
            for name, each in splits.items()
        ]
        return Section("table", "Targets by split", {"heads": heads, "rows": body, "more": 0})
    counts = {name: each["label_counts"] for name, each in splits.items()}
    first: dict[str, int] = next(iter(counts.values()), {})
    names = sorted(manifest["labels"], key=lambda name: (-first.get(name, 0), name))
    rows_ = {name: max(each["rows"] - each.get("unlabelled_rows", 0), 1) for name, each in splits.items()}
    bars = [
        Bar(
            name,
            first.get(name, 0) / next(iter(rows_.values()), 1),
            tuple(f"{each[name]:,} ({percent(each[name], rows_[split])})" for split, each in counts.items()),
        )
        for name in names[:MOST]
    ]
    bare = {name: each["unlabelled_rows"] for name, each in splits.items() if each.get("unlabelled_rows")}
    note = f"Without a label: {', '.join(f'{name} {count:,}' for name, count in bare.items())}." if bare else ""
    body_ = {"head": "class", "heads": tuple(counts), "rows": bars, "more": max(len(names) - MOST, 0)}
    return Section("bars", "Classes by split", body_, note, width=2)


def _lengths(manifest: dict[str, Any]) -> Section:
    """Tokens of texts before they were cut."""
    keys = ("mean", "p50", "p90", "p95", "p99", "max")
    heads = [{"name": name, "text": False} for name in ("split", *keys, "cut")]
    body = [
        [name, *(f"{each['length'].get(key, 0):,.4g}" for key in keys), percent(each["truncated_rows"], each["rows"])]
        for name, each in manifest["splits"].items()
    ]
    enough, most = manifest.get("suggested_max_length"), manifest["tokenizer"]["max_length"]
    note = f"Tokens before the cut at {most:,}."
    if enough and enough < most and enough >= manifest["splits"]["train"]["length"].get("p99", 0):
        note += f" --max_length={enough} reads 99 % of the training texts whole."
    return Section("table", "Lengths", {"heads": heads, "rows": body, "more": 0}, note, width=2)


def _alike(manifest: dict[str, Any]) -> Section:
    """Copies, near-duplicates and conflicts."""
    found = manifest["duplicates"]
    told = [
        ("rows that repeat a text", found["duplicate_rows"]),
        ("texts with several labels", found["conflict_groups"]),
        ("clusters of near-duplicates", found.get("clusters")),
        ("texts in them", found.get("clustered_texts")),
        ("texts in the largest", found.get("largest_cluster")),
        ("pairs with different labels", found.get("near_pairs_with_other_labels")),
    ]
    body = [[name, f"{count:,}"] for name, count in told if count is not None]
    heads = [{"name": "what", "text": False}, {"name": "count", "text": False}]
    how = f"Near-duplicates: {found['near_duplicates']}, conflicts: {found['conflicts']}."
    return Section("table", "Copies and conflicts", {"heads": heads, "rows": body, "more": 0}, how)


def _leaks(manifest: dict[str, Any]) -> Section | None:
    """Rows of one split whose text is in another, of splits that were given."""
    found = manifest["leaks"]
    near, sentences = found["near"], found.get("sentences", {})
    pairs = list(dict.fromkeys([*found["exact"], *near, *sentences]))
    if not pairs:
        return None
    body = [
        [
            pair,
            f"{found['exact'].get(pair, {}).get('rows', 0):,}",
            f"{near.get(pair, 0):,}",
            f"{sentences.get(pair, 0):,}",
        ]
        for pair in pairs
    ]
    heads = [{"name": name, "text": False} for name in ("pair", "same text", "nearly", "a sentence")]
    note = f"Rows of the first whose text is in the second; {rows_of(len(pairs), 'pair')} of splits."
    return Section("table", "Leaks", {"heads": heads, "rows": body, "more": 0}, note)
