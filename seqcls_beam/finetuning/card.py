"""The model card: what a person, and the Hugging Face Hub, want to know of a fine-tuned model."""

from typing import Any

from seqcls_beam.signs import code, markdown

_SAID = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "positive_f1": "F1 of the last label",
    "auc": "ROC-AUC",
    "micro_f1": "micro F1 at 0.5",
    "map": "mean average precision",
    "mse": "mean squared error",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "loss": "loss",
}


_CALIBRATION = "- Its probabilities are not calibrated; `python -m pipelines.evaluate` measures how far off they are."
_LIMITS = {
    "single_label": ["- Every text gets a label, also one that has nothing to do with any of them.", _CALIBRATION],
    "multi_label": [
        "- It was trained on each label by itself: what labels exclude each other it may not know.",
        _CALIBRATION,
    ],
    "regression": ["- Every text gets a number, also one that has nothing to do with the subject."],
}


def card(manifest: dict[str, Any]) -> str:
    """A manifest → Markdown, with the Hub's YAML on top."""
    from huggingface_hub import ModelCardData

    scores, labels, data, base = (manifest[name] for name in ("scores", "labels", "data", "base"))
    yaml = ModelCardData(library_name="transformers", pipeline_tag="text-classification", metrics=_metrics(scores))
    example = '{"text": "one", "text_pair": "other"}' if data["pairs"] else '"a text"'
    names = list(dict.fromkeys(name for each in scores.values() for name in each))
    lines = [
        "---",
        yaml.to_yaml(),
        "---",
        "",
        f"# A {len(labels)}-label sequence classifier"
        if manifest["problem"] != "regression"
        else "# A regression on texts",
        "",
        f"Fine-tuned from {code(base['name'])} by seqcls_beam {manifest['versions']['seqcls_beam']}; `_versions/` says "
        "from what and how, and names every file with its digest.",
        "",
        "```python",
        "from transformers import pipeline",
        "",
        f'pipeline("text-classification", "THIS FOLDER")({example})',
        "```",
        "",
        "```sh",
        "python -m pipelines.classify --model='THIS FOLDER' --input='reviews/*.jsonl' --output=labelled",
        "```",
        "",
        f"- problem: {manifest['problem']}",
        "- labels: " + ", ".join(f"{i} {code(name)}" for i, name in enumerate(labels)),
        f"- trained on texts of up to {data['max_length']} tokens",
        "",
    ]
    if scores:
        lines += [
            "## Scores",
            "",
            "| " + " | ".join(["", *(f"{name}, {_rows(manifest, name)}" for name in scores)]) + " |",
            "|---" * (len(scores) + 1) + "|",
            *(
                f"| {_SAID.get(name, name)} | " + " | ".join(_number(each.get(name)) for each in scores.values()) + " |"
                for name in names
            ),
            *_majority(manifest),
            "",
            _chosen(manifest),
            "",
            "![learning curves](curves.png)",
            "",
        ]
    else:
        lines += ["The data has no validation and no test rows with labels, so there are no scores.", ""]
    lines += [
        "## Training",
        "",
        "| | |",
        "|---|---|",
        f"| data | {data['rows']['train']:,} rows, digest `{data['digest'][:16]}`, run `{data['run_id'][:8]}` |",
        f"| base | {markdown(base['name'])}, digest `{base['digest'][:16]}`, head {base['head']} |",
        *(f"| {name} | {markdown(str(value))} |" for name, value in manifest["recipe"].items()),
        *_weights(manifest),
        *(f"| {name} | {markdown(str(value))} |" for name, value in manifest["machine"].items()),
        f"| seconds | {manifest['seconds']:,.0f}"
        + (f", from step {manifest['resumed_at']:,} on" if manifest["resumed_at"] else "")
        + " |",
        "| versions | " + ", ".join(f"{name} {each}" for name, each in manifest["versions"].items()) + " |",
        "",
        "The same data, base, recipe, versions, processes and threads on the same CPU give the same weights; elsewhere "
        "the last digits of sums differ, and with them, after some steps, the weights.",
        "",
        "## Limits",
        "",
        "- It knows the language and the subjects of its data, and their faults: whoever labelled them is in it.",
        *_LIMITS[manifest["problem"]],
        "",
    ]
    return "\n".join(lines)


def _rows(manifest: dict[str, Any], split: str) -> str:
    """How many rows of a split scores are of."""
    scored, there = manifest["scored_rows"][split], manifest["data"]["rows"][split]
    return f"{scored:,} rows" if scored == there else f"{scored:,} of {there:,} rows, which have a label"


def _weights(manifest: dict[str, Any]) -> list[str]:
    told = ", ".join(f"{markdown(name)} {weight:.4g}" for name, weight in manifest["label_weights"].items())
    return [f"| weights of labels | {told} |"] if told else []


def stopped(manifest: dict[str, Any]) -> str:
    """What is said of a training that ended before its last step; empty where it did not."""
    if manifest["steps"] == manifest["steps_planned"]:
        return ""
    return f" of {manifest['steps_planned']:,}, ended by --early_stopping={manifest['recipe']['early_stopping']}"


def _chosen(manifest: dict[str, Any]) -> str:
    if "validation" not in manifest["scores"]:
        return f"These are the weights after the last of {manifest['steps']:,} steps."
    return (
        f"Of {manifest['steps']:,} steps{stopped(manifest)}, these are the weights of step "
        f"{manifest['best']['step']:,}, the best by "
        f"{_SAID[manifest['best']['metric']]} on the validation rows; that choice makes the scores on those rows a "
        "little too good."
    )


def _metrics(scores: dict[str, dict[str, float]]) -> list[str]:
    known = {"accuracy": "accuracy", "macro_f1": "f1", "mse": "mse", "pearson": "pearsonr", "spearman": "spearmanr"}
    return sorted({known[name] for each in scores.values() for name in each if name in known})


def _majority(manifest: dict[str, Any]) -> list[str]:
    known = manifest["majority_baseline"]
    if not known:
        return []
    shown = (_number(known.get(name, {}).get("accuracy")) for name in manifest["scores"])
    return ["| accuracy of the most frequent label | " + " | ".join(shown) + " |"]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
