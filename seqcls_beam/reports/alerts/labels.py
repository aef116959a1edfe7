"""Alerts of a labelling: how sure it is, how its labels are spread, and what changed since the one before."""

from statistics import median
from typing import Any

from seqcls_beam.reports.pages import Alert, brief, percent, rows_of
from seqcls_beam.runs.run import short

UNSURE_BELOW = 0.6
"""A probability of the most probable label below which a row is unsure: an edge between cells of the histogram."""

UNSURE = (0.1, 0.25)
"""Shares of unsure rows to look at, and to act on."""

ONE_LABEL = 0.95
"""The share of a single label from which on a labelling says little."""

FEW = 100
"""Rows below which shares say nothing."""

QUIET = 0.5
"""Of the median of the nights before: a night with fewer rows is a quiet one."""


def unsure_rows(manifest: dict[str, Any]) -> int | None:
    """Rows whose most probable label is less probable than `UNSURE_BELOW`; None where that says nothing.

    So it is where nobody counted, and of more than ten labels, of which none need be as probable.
    """
    histogram, model = manifest.get("score_histogram"), manifest.get("model") or {}
    if not histogram or histogram.get("to") != 1.0 or model.get("problem") != "single_label":
        return None
    if len(model.get("labels") or ()) > 10:
        return None
    counts = histogram["counts"]
    return sum(counts[: round(UNSURE_BELOW * len(counts))])


def unsure(manifest: dict[str, Any]) -> Alert | None:
    """Many rows about which the model does not know."""
    count, rows = unsure_rows(manifest), manifest["rows"]["labeled"]
    if not count or rows < FEW or count / rows < UNSURE[0]:
        return None
    return Alert(
        "unsure",
        "act" if count / rows >= UNSURE[1] else "look",
        f"Of {percent(count, rows)} of the rows ({count:,}) the model is unsure: no label is as probable as "
        f"{UNSURE_BELOW:g}.",
        "Read the least sure texts below. Where they are of another kind than the model learned, label some by hand, "
        "measure it with pipelines.evaluate, and fine-tune it with them.",
    )


def one_label(manifest: dict[str, Any]) -> Alert | None:
    """Nearly all rows have one label."""
    rows, counts = manifest["rows"]["labeled"], manifest["label_counts"]
    if rows < FEW or len((manifest.get("model") or {}).get("labels") or counts) < 2 or not counts:
        return None
    name = max(counts, key=lambda each: (counts[each], each))
    if counts[name] / rows < ONE_LABEL:
        return None
    return Alert(
        "one_label",
        "look",
        f"{percent(counts[name], rows)} of the rows have the label {brief(name)}.",
        "Where that is not what the texts say, the model may be the wrong one for them, or the text column the wrong "
        "one.",
    )


def absent_labels(manifest: dict[str, Any]) -> Alert | None:
    """Labels of the model that no row has."""
    rows, counts = manifest["rows"]["labeled"], manifest["label_counts"]
    labels = (manifest.get("model") or {}).get("labels") or []
    gone = [name for name in labels if not counts.get(name)]
    if rows < FEW or not gone or len(labels) < 2:
        return None
    told = ", ".join(map(brief, gone[:5])) + (f" and {len(gone) - 5} more" if len(gone) > 5 else "")
    return Alert(
        "absent_labels",
        "know",
        f"No row has {'the label' if len(gone) == 1 else 'any of the labels'} {told}.",
        "Nothing to do where that is what you expect.",
    )


def no_rows(manifest: dict[str, Any]) -> Alert | None:
    """Nothing was labelled."""
    count = manifest["rows"]
    if count["labeled"]:
        return None
    do = "All were rejected or lost: the reasons say what is wrong with the input, or with how it is read."
    if not count["in"] and not count.get("lost"):
        do = "Look whether what writes the input did so; --min_rows fails a run that reads fewer rows than it must."
    return Alert("nothing", "act", "No row was labelled.", do)


def quiet(rows: int, before: list[int]) -> Alert | None:
    """A night with far fewer rows than those before it."""
    usual = median(before) if before else 0
    if len(before) < 2 or rows >= QUIET * usual or not rows:
        return None
    return Alert(
        "quiet",
        "act",
        f"A quiet night: {rows_of(rows)}, where the {len(before)} nights before had {usual:,.0f} in the middle.",
        "Look whether all of the input was there when the run began; files that come late are taken by the next night "
        "with --only_new --catch_up.",
    )


_MEASURES = {
    "label_shift": "the share of a label",
    "label_psi": "the labels",
    "score_psi": "the scores",
    "token_psi": "the lengths of texts",
    "reject_rise": "the share of rejected and lost rows",
    "truncation_rise": "the share of cut texts",
}


def drifted(run: dict[str, Any], reference: str) -> Alert | None:
    """What lies further from the run before than chance and the limits of `pipelines.compare` allow."""
    beyond = [each for each in run["measures"] if each["verdict"] == "beyond"]
    if not beyond:
        return None
    moved = run["labels"][0] if run["labels"] else None
    told = list(dict.fromkeys(_MEASURES[each["measure"]] for each in beyond))
    said = " and ".join(filter(None, [", ".join(told[:-1]), told[-1]]))
    shares = ""
    if moved is not None and any(each["measure"].startswith("label") for each in beyond):
        shares = f": {brief(moved['label'])} went from {percent(moved['reference'], 1)} to {percent(moved['run'], 1)}"
    return Alert(
        "drift",
        "act",
        f"Far from {reference} {'are' if len(told) > 1 or told[0].startswith('the l') else 'is'} {said}{shares}.",
        "Either the texts changed or what reads them did: see the table of what moved, and pipelines.compare for any "
        "two runs.",
    )


def incomparable(run: dict[str, Any], reference: str) -> Alert | None:
    """Labels that are not those of the run before."""
    refused = [each for each in run["measures"] if each["verdict"] == "refused"]
    if not refused:
        return None
    return Alert(
        "incomparable",
        "look",
        f"This run cannot be compared with {reference}: {refused[0]['why']}.",
        "Who reads both must not add them up; --relabel labels earlier partitions with the model of today.",
    )


def other_model(manifest: dict[str, Any], before: dict[str, Any], reference: str) -> Alert | None:
    """A model that is not that of the run before."""
    now, then = ((each.get("model") or {}).get("digest") for each in (manifest, before))
    if not now or not then or now == then:
        return None
    return Alert(
        "other_model",
        "know",
        f"Another model labelled {reference}: {short_digest(then)} there, {short_digest(now)} here.",
        "What moved since may be the model's doing; pipelines.compare and --relabel tell and mend.",
    )


def refused(why: list[str]) -> Alert | None:
    """A night that `pipelines.approve` did not let pass."""
    if not why:
        return None
    return Alert(
        "refused",
        "act",
        f"pipelines.approve did not pass this: {'; '.join(why[:3])}"[:500] + ".",
        "Consumers who read approved rows do not see it: mend the cause and label again, or approve it by name.",
    )


def short_digest(digest: str) -> str:
    """The first digits of a model's digest, as rows have it; of what is none, a digest of it."""
    return digest[:12] if len(digest) == 64 else short(digest)
