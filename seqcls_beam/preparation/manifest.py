"""The records of all stages → the manifest, and where every file goes; and what is refused after all."""

import time
import unicodedata
from collections import Counter
from typing import Any

from seqcls_beam import storage
from seqcls_beam.preparation import findings, spellings, splits, statistics
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.labels import for_nothing, whole_name
from seqcls_beam.runs import accounting
from seqcls_beam.runs.accounting import by_file
from seqcls_beam.runs.manifest import FILE, KEYS, LOST, iso
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.versions import FORMAT_VERSION
from seqcls_beam.schema import LOSSES

REMOVED = ("duplicate", "conflicting_labels", "leak", "near_leak", "group_leak", "near_duplicate", "contaminated")
"""Reasons of rows that are good, and yet not learned from; all others count as rejected."""

MANIFEST = {
    **KEYS,
    "unicode": ("string", "version of Unicode by which texts were cleaned"),
    "tokenizer.name": ("string", "the checkpoint whose tokenizer it is"),
    "tokenizer.revision": ("string or null", "the commit of a Hub id"),
    "tokenizer.digest": ("string", "digest of its files"),
    "tokenizer.files.FILE": ("string", "sha256 of each of them"),
    "tokenizer.reads": ("string", "digest of how it reads: the same for tokenizers that give the same tokens"),
    "tokenizer.max_length": ("integer", "tokens that texts were cut to"),
    "tokenizer.pairs": ("boolean", "rows are pairs of texts"),
    "problem": ("string", "single_label, multi_label or regression"),
    "label_form": ("string", "how the label column was read, in words"),
    "labels[]": ("string", "label names; a label in the shards is its place here"),
    "labels_alike[][]": ("string", "labels that look like spellings of one"),
    "rows.in": ("integer", "rows of the input: kept + removed + rejected + lost"),
    "rows.kept": ("integer", "rows in the shards"),
    "rows.rejected": ("integer", "rows that could not be used"),
    "rows.rejected_by_reason.REASON": ("integer", "the same by [reason](reasons.md)"),
    "rows.removed": ("integer", "good rows that were left out: copies, leaks, conflicts"),
    "rows.removed_by_reason.REASON": ("integer", "the same by reason"),
    **LOST,
    "rows.reference": ("integer", "rows of the files of --decontaminate"),
    "rows.reference_rejected.REASON": ("integer", "those of them that could not be used"),
    "cleaned.STEP": ("integer", "rows that a step of cleaning changed"),
    "splits.SPLIT.rows": ("integer", "rows of a split"),
    "splits.SPLIT.tokens": ("integer", "tokens of it"),
    "splits.SPLIT.shards": ("integer", "files of it"),
    "splits.SPLIT.truncated_rows": ("integer", "rows that were cut"),
    "splits.SPLIT.truncated_tokens": ("integer", "tokens that were cut off"),
    "splits.SPLIT.length.STATISTIC": (
        "number",
        "tokens of a row before they were cut: mean, min, p50 … max",
    ),
    "splits.SPLIT.label_counts.LABEL": ("integer", "rows with a label"),
    "splits.SPLIT.unlabelled_rows": ("integer", "rows without a label, of a test split that has none"),
    "splits.SPLIT.target.STATISTIC": ("number", "mean and standard_deviation of a regression's numbers"),
    "suggested_max_length": ("integer", "tokens that 99 % of the training texts fit into"),
    "class_weights.WAY[]": ("number", "weights of the labels that let rare ones count, in two ways"),
    "imbalance": ("number", "rows of the most frequent label over those of the rarest"),
    "majority_baseline.SPLIT.METRIC": ("number", "what always saying the most frequent label gets"),
    "skew.SPLIT.labels": ("number", "how far its labels are from those of the training rows, 0 to 1"),
    "skew.SPLIT.lengths": ("number", "the same of lengths"),
    "shares": (
        "object or null",
        "shares asked for and got, and the largest group; null where splits were given",
    ),
    "duplicates": ("object", "copies and near-copies: how they were looked for, and how many were found"),
    "leaks.exact": ("object", "by pair of splits that were given: rows whose text is in both"),
    "leaks.near": ("object", "the same of near-duplicates"),
    "leaks.sentences": ("object", "the same of sentences of pairs"),
    "seconds.STAGE": ("number", "time spent reading over all workers; wall: of the whole run"),
    **{f"inputs[].{key}": told for key, told in FILE.items()},
    "parts[].tokens": ("integer", "tokens in it"),
    "card": ("object", "the card for people: path and bytes of README.md"),
}
"""What the manifest of prepared data has: (type, meaning)."""

_TOLD = 5  # labels that a sentence names


def build(job: Job, facts: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """(manifest, moves for `publication.publish_files`) of a preparation whose stages are all complete."""
    read, exact, assigned, written = (job.index(each) for each in ("read", "exact", "assign", "shards"))
    reasons: Counter[str] = Counter()
    of_reference: Counter[str] = Counter()
    for record in [*read, *exact, *written]:
        (of_reference if record.get("reference") else reasons).update(record["rejects"]["reasons"])
    shards = {name: [record["shards"][name] for record in written if name in record["shards"]] for name in splits.NAMES}
    names = assigned[0]["names"]
    made = {name: statistics.of_split(parts, names, job.problem) for name, parts in shards.items() if parts}
    # Checked when they had been read: what became of a file since makes no difference.
    inputs = by_file((piece for record in read if not record["reference"] for piece in record["inputs"]), checked=True)
    references = by_file((piece for record in read if record["reference"] for piece in record["inputs"]), checked=True)
    rows_in, missing = sum(file["rows"] for file in inputs), accounting.lost(inputs)
    kept = sum(each["rows"] for each in made.values())
    in_order = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    rejected = {name: count for name, count in in_order if name not in (*REMOVED, *LOSSES)}
    removed = {name: count for name, count in in_order if name in REMOVED}
    lost = sum(rejected.values()) + sum(removed.values())
    if rows_in != kept + lost:
        raise RunError(f"{rows_in} rows were read, but {kept} kept and {lost} left out; this is a fault of the program")
    finished = time.time()
    manifest = {
        "format_version": FORMAT_VERSION,
        "kind": "prepare",
        "run_id": job.run.run_id,
        "started": iso(facts["started"]),
        "finished": iso(finished),
        **{key: value for key, value in facts.items() if key != "started"},
        "unicode": unicodedata.unidata_version,
        "tokenizer": {
            "name": storage.without_password(job.tokenizer.name),
            "revision": job.tokenizer.revision,
            "digest": job.tokenizer.digest,
            "files": job.tokenizer.files,
            "reads": job.tokenizer.reads,
            "max_length": job.max_length,
            "pairs": job.pairs,
        },
        "problem": job.problem,
        "label_form": _read_as(job, names),
        "labels": names,
        # Names that somebody named, or a file, are meant to be several.
        "labels_alike": [] if job.names else spellings.alike(names),
        "rows": {
            "in": rows_in + missing["lost"],
            "kept": kept,
            "rejected": sum(rejected.values()),
            "rejected_by_reason": rejected,
            "removed": sum(removed.values()),
            "removed_by_reason": removed,
            **missing,
            "reference": sum(file["rows"] for file in references),
            "reference_rejected": dict(sorted(of_reference.items())),
        },
        "cleaned": {step: sum(record["changed"].get(step, 0) for record in read) for step in job.cleaning},
        "splits": made,
        **statistics.for_training(made, job.problem, job.tokenizer.max_length),
        "skew": {
            name: statistics.skew(shards["train"], shards[name], job.problem)
            for name in made
            if name != "train" and "train" in made
        },
        "shares": assigned[0]["shares"],
        "duplicates": _duplicates(exact, assigned[0], job),
        "leaks": _leaks(exact, assigned[0]),
        "seconds": {
            "read": round(sum(each["seconds"] for each in read), 3),
            "wall": round(finished - facts["started"], 3),
        },
        "inputs": sorted([*inputs, *references], key=lambda file: str(file["path"])),
        "parts": [
            {key: part[key] for key in ("path", "rows", "tokens", "bytes", "sha256")}
            for parts in shards.values()
            for part in parts
        ],
        "rejects": [],
    }
    moves = [(f"{job.run.work}/data/{part['name']}", part["path"]) for parts in shards.values() for part in parts]
    # What `assign` leaves out is filed by the tasks that write the shards: it reads no rows itself.
    for stage, records in (("read", read), ("exact", exact), ("assign", written)):
        for number, record in enumerate(records):
            part = record["rejects"]["part"]
            if part:
                path = f"_rejects/{stage}-{number:05d}-of-{len(records):05d}.parquet"
                manifest["rejects"].append({"path": path, **{key: part[key] for key in ("rows", "bytes", "sha256")}})
                moves.append((f"{job.run.work}/rejects/{part['name']}", path))
    return manifest, moves


def _read_as(job: Job, names: list[str]) -> str:
    """How labels were read, in words."""
    if job.problem == "regression":
        return "numbers"
    # Names that somebody named, or a file, are meant to be some.
    return job.form.said + ("" if job.names else for_nothing(names))


def _duplicates(exact: list[dict[str, Any]], assigned: dict[str, Any], job: Job) -> dict[str, Any]:
    found: dict[str, Any] = {
        "key": list(job.key_steps),
        "duplicate_rows": sum(record["counts"]["duplicate_rows"] for record in exact),
        "conflict_groups": sum(record["counts"]["conflict_groups"] for record in exact),
        "conflicts": job.conflicts,
        "near_duplicates": job.near,
    }
    if job.near != "off":
        options = job.config.clean
        found |= {
            "method": "MinHash of 5-byte windows, 20 bands of 6, verified by exact Jaccard similarity",
            "similarity": options.similarity,
            "linkage": options.linkage,
            "compared_pairs": sum(record["compared"] for record in job.index("compare")),
            "fullest_band": max(record["fullest"] for record in job.index("pairs")),
            "clusters": assigned["clusters"],
            "clustered_texts": assigned["clustered_texts"],
            "largest_cluster": assigned["largest_cluster"],
            **{f"near_{key}" if key != "lowest_similarity" else key: value for key, value in assigned["near"].items()},
        }
    return found


def _leaks(exact: list[dict[str, Any]], assigned: dict[str, Any]) -> dict[str, Any]:
    """By pair of splits that were given: rows of the first whose text is in the second."""
    found: dict[str, Counter[str]] = {}
    for record in exact:
        for pair, counts in record["counts"]["leaks"].items():
            found.setdefault(pair, Counter()).update(counts)
    return {
        "exact": {pair: dict(counts) for pair, counts in sorted(found.items())},
        "near": assigned["near_leaks"],
        **({"sentences": assigned["sentences"]} if assigned["sentences"] else {}),
    }


def refuse_untrainable(manifest: dict[str, Any], job: Job) -> None:
    """Raise `RunError` where what was made cannot be trained with: no rows, an empty split, a class without rows."""
    made, names = manifest["splits"], manifest["labels"]
    far = manifest["shares"] and findings.sentence(manifest["shares"])
    if "train" not in made:
        why = far or ("the rejects say why each row went" if manifest["rows"]["in"] else "there are no rows")
        raise RunError(f"no row is left to train with; nothing was published ({why})")
    wanted = [name for name, share in zip(("validation", "test"), job.fractions, strict=True) if share]
    wanted += [splits.NAMES[each.split] for each in job.sources if each.split in (splits.VALIDATION, splits.TEST)]
    empty = [name for name in wanted if name not in made]
    if empty:
        raise RunError(
            f"the {empty[0]} split is empty, beside {made['train']['rows']:,} rows for training; nothing was "
            "published " + (f"({far})" if far else "(the rejects say why rows went)")
        )
    if job.problem == "regression":
        return
    gone = [name for name in names if not made["train"]["label_counts"][name]]
    if gone and not job.names:
        read, exact, written = (job.index(each) for each in ("read", "exact", "shards"))
        later = sorted({reason for record in written for reason in record["rejects"]["reasons"]})
        told = [_whereabouts(name, made, read, exact, later) for name in gone[:_TOLD]]
        told += [f"{len(gone) - _TOLD:,} others"] if len(gone) > _TOLD else []
        drawn = any(made[split]["label_counts"][name] for split in made for name in gone) and any(job.fractions)
        raise RunError(
            f"no training row has the label {', nor '.join(told)}; nothing was published. Name the labels that count "
            "with --labels"
            + (
                ", or share out every class with --split=stratified"
                if drawn and job.config.splits.split == "hash"
                else ""
            )
        )


def _whereabouts(
    name: str,
    made: dict[str, Any],
    read: list[dict[str, Any]],
    exact: list[dict[str, Any]],
    later: list[str],
) -> str:
    """A label, and what became of its rows; `later` are reasons of rows that went after the stage exact."""
    rows = sum(
        count for record in read for _, label, count in record["label_counts"] if name in (label, whole_name(label))
    )
    gone: Counter[str] = Counter()
    for record in exact:
        gone.update({reason: count for label, reason, count in record["counts"]["gone"] if label == name})
    there = {split: each["label_counts"][name] for split, each in made.items() if each["label_counts"][name]}
    told = [f"{count:,} in {split}" for split, count in there.items()]
    told += [f"{count:,} left out as {reason}" for reason, count in sorted(gone.items())]
    rest = rows - sum(there.values()) - gone.total()
    told += [f"{rest:,} left out as {' or '.join(later)}"] if rest else []
    return f"{name!r} (of {rows:,} row{'s'[: rows != 1]} {', '.join(told)})"
