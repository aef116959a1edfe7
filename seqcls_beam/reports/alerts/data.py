"""Alerts of prepared data: what a model would learn from it that is not so, and what a test would hide."""

from typing import Any

from seqcls_beam.preparation import findings, spellings
from seqcls_beam.reports.pages import Alert, brief, percent, rows_of, upper

TINY = (20, 5)
"""Training rows of a class to look at, and to act on: below five a split or a batch may have none."""

COPIES = 0.2
"""Of the rows that were read: removed as copies of others."""

SKEWED = 0.1
"""Differences between splits, as the manifest has them under `skew`."""

CLUSTER = (0.01, 100)
"""Of the kept rows, and rows: a cluster of near-duplicates that is larger than both is a template."""

_NAMED = 5


def leaks(manifest: dict[str, Any]) -> Alert | None:
    """Rows of one given split that stand in another."""
    found = manifest["leaks"]
    pairs = {pair: counts["rows"] for pair, counts in found["exact"].items() if counts["rows"]}
    near = {pair: count for pair, count in found["near"].items() if count}
    if not pairs and not near:
        return None
    told = [f"{pair} {count:,}" for pair, count in pairs.items()] + [
        f"{pair} {count:,} nearly" for pair, count in near.items()
    ]
    gone = sum(manifest["rows"]["removed_by_reason"].get(reason, 0) for reason in ("leak", "near_leak", "group_leak"))
    if gone:
        do = "What was measured on the splits as they came is too good: measure it again on these, which are honest: "
        do += f"{rows_of(gone)} {'was' if gone == 1 else 'were'} taken out."
    else:
        do = "No row was taken out for that, as --profile=benchmark has it: scores are too good by what is in both."
    return Alert("leaks", "act", f"The splits that were given share texts: {', '.join(told)}.", do)


def conflicts(manifest: dict[str, Any]) -> Alert | None:
    """Texts that came with several labels."""
    found = manifest["duplicates"]
    count = found["conflict_groups"]
    near = found.get("near_pairs_with_other_labels", 0)
    if not count and not near:
        return None
    told = [f"{rows_of(count, 'text')} came with several labels"] * bool(count)
    told += [f"{rows_of(near, 'pair')} of near-duplicates have different labels"] * bool(near)
    do = "Who labels should see some of them."
    if count:
        do += f" Of texts that are the same --conflicts={found['conflicts']} decided"
        do += "." if found["conflicts"] == "keep" else ": rows that went lie in _rejects/ as conflicting_labels."
    return Alert("conflicts", "look", f"{' and '.join(told)}.", do)


def tiny_classes(manifest: dict[str, Any]) -> Alert | None:
    """Classes with hardly a row to learn from."""
    counts = manifest["splits"].get("train", {}).get("label_counts", {})
    tiny = sorted((name for name, count in counts.items() if count < TINY[0]), key=lambda name: (counts[name], name))
    if not tiny:
        return None
    told = ", ".join(f"{brief(name)} {counts[name]:,}" for name in tiny[:_NAMED])
    told += f" and {len(tiny) - _NAMED} more" if len(tiny) > _NAMED else ""
    return Alert(
        "tiny_classes",
        "act" if counts[tiny[0]] < TINY[1] else "look",
        f"{len(tiny)} class{'es'[: 2 * (len(tiny) > 1)]} with fewer than {TINY[0]} training rows: {told}.",
        "Label more of them, join them with another class, or name the classes that count with --labels; "
        "--split=stratified gives each split its share.",
    )


def absent(manifest: dict[str, Any]) -> Alert | None:
    """Splits that have no row of some class."""
    said = findings.absent({name: each for name, each in manifest["splits"].items() if name != "train"})
    if not said:
        return None
    return Alert(
        "absent_classes",
        "look",
        upper(f"{said[:400]}."),
        "What is not in the test split is not measured: --split=stratified shares out every class.",
    )


def copies(manifest: dict[str, Any]) -> Alert | None:
    """Many rows are copies of others."""
    rows = manifest["rows"]
    by_reason = rows["removed_by_reason"]
    count = by_reason.get("duplicate", 0) + by_reason.get("near_duplicate", 0)
    if not rows["in"] or count / rows["in"] < COPIES:
        return None
    return Alert(
        "copies",
        "look",
        f"{percent(count, rows['in'])} of the rows ({count:,}) were copies of others, or nearly, and were removed.",
        "Look where they come from: an export that repeats itself, or a template that many people filled in.",
    )


def large_cluster(manifest: dict[str, Any]) -> Alert | None:
    """A cluster of near-duplicates that is larger than people write by chance."""
    size, kept = manifest["duplicates"].get("largest_cluster", 0), manifest["rows"]["kept"]
    if size < max(CLUSTER[1], CLUSTER[0] * kept):
        return None
    do = "They are in one split, as a whole. Where they are a template, --near_duplicates=drop keeps one of them."
    if manifest["duplicates"]["near_duplicates"] == "drop":
        do = "One of them was kept, as --near_duplicates=drop has it: look whether they are a template."
    return Alert("large_cluster", "look", f"{size:,} texts are near-duplicates of each other.", do)


def skewed(manifest: dict[str, Any]) -> Alert | None:
    """Splits that are not alike."""
    told = [
        f"{what} of {name} and train differ by {value:.2f}"
        for name, each in manifest["skew"].items()
        for what, value in each.items()
        if value > SKEWED
    ]
    if not told:
        return None
    return Alert(
        "skew",
        "look",
        upper(f"{', '.join(told)}."),
        "A score on one says less of the other. Where the splits were given, whoever made them did it; of few rows "
        "chance does, and --split=stratified evens them out.",
    )


def shares(manifest: dict[str, Any]) -> Alert | None:
    """Splits that have not the share that was asked for."""
    told = manifest.get("shares")
    said = findings.sentence(told) if told else None
    if not said:
        return None
    return Alert(
        "shares",
        "look",
        upper(f"{said[:500]}."),
        "A group, or a cluster, is never cut: rows of one are in one split.",
    )


def alike(manifest: dict[str, Any]) -> Alert | None:
    """Labels that are one, perhaps, in several spellings."""
    said = spellings.told(manifest.get("labels_alike", []))
    if not said:
        return None
    return Alert("labels_alike", "act", f"Labels {said}."[:500], "Name the labels that count with --labels.")
