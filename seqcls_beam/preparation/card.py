"""The dataset card: what a person, and the Hugging Face Hub, want to know of prepared data."""

from typing import Any

from seqcls_beam.preparation import findings, spellings
from seqcls_beam.runs.accounting import PREFIX
from seqcls_beam.signs import code, markdown

NAME = "README.md"


def card(manifest: dict[str, Any]) -> str:
    """A manifest → Markdown, with the Hub's YAML on top: which files are which split, and what the columns are."""
    from huggingface_hub import DatasetCardData

    splits = manifest["splits"]
    rows = sum(each["rows"] for each in splits.values())
    data = DatasetCardData(
        task_categories=["text-classification"],
        size_categories=[_size(rows)],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"data/{name}-*.parquet"} for name in splits],
            }
        ],
        dataset_info={
            "splits": [
                {"name": name, "num_examples": each["rows"], "num_bytes": _bytes(manifest, name)}
                for name, each in splits.items()
            ]
        },
    )
    counts = manifest["rows"]
    lines = [
        "---",
        data.to_yaml(),
        "---",
        "",
        "# Fine-tuning data for a sequence classifier",
        "",
        f"Made by seqcls_beam {manifest['versions']['seqcls_beam']}; `_versions/` says from what and how, names "
        "every file with its digest, and counts every row.",
        "",
        f"- problem: {manifest['problem']}" + _labels(manifest),
        f"- labels were read as {markdown(manifest['label_form'])}",
        *([f"- {markdown(alike)}"] if (alike := spellings.told(manifest["labels_alike"])) else []),
        f"- tokenizer: {code(manifest['tokenizer']['name'])}, at most {manifest['tokenizer']['max_length']} tokens "
        f"(digest `{manifest['tokenizer']['digest'][:16]}`)",
        f"- rows: {counts['in']:,} in, {counts['kept']:,} kept, {counts['removed']:,} removed, "
        f"{counts['rejected']:,} rejected, {PREFIX[counts['lost_weight']]}{counts['lost']:,} lost",
        "",
        "| split | rows | tokens | truncated | length p50 / p99 / max |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {each['rows']:,} | {each['tokens']:,} | {each['truncated_rows'] / max(each['rows'], 1):.1%} "
            f"| {each['length']['p50']} / {each['length']['p99']} / {each['length']['max']} |"
            for name, each in splits.items()
        ),
        "",
    ]
    if manifest["problem"] != "regression":
        lines += [
            "| label | " + " | ".join(splits) + " |",
            "|---" * (len(splits) + 1) + "|",
            *(
                f"| {markdown(name)} | "
                + " | ".join(f"{each['label_counts'][name]:,}" for each in splits.values())
                + " |"
                for name in manifest["labels"]
            ),
            "",
        ]
    far = manifest["shares"] and findings.sentence(manifest["shares"])
    if far:
        lines += [f"Shares: {markdown(far)}.", ""]
    absent = findings.absent(splits)
    if absent:
        lines += [f"Labels: {markdown(absent)}.", ""]
    out = {**counts["removed_by_reason"], **counts["rejected_by_reason"], **counts["lost_by_reason"]}
    if out:
        lines += ["| left out | rows |", "|---|---|", *(f"| {name} | {count:,} |" for name, count in out.items()), ""]
    lines += [
        "## Reading it",
        "",
        "```python",
        "import datasets",
        "",
        'datasets.load_dataset("THIS FOLDER")',
        "```",
        "",
    ]
    return "\n".join(lines)


def _bytes(manifest: dict[str, Any], split: str) -> int:
    return sum(int(part["bytes"]) for part in manifest["parts"] if part["path"].startswith(f"data/{split}-"))


def _labels(manifest: dict[str, Any]) -> str:
    names = manifest["labels"]
    if not names:
        return ""
    shown = ", ".join(f"{i} {code(name)}" for i, name in enumerate(names[:30]))
    return f"; {len(names)} labels: {shown}" + (" …" if len(names) > 30 else "")


def _size(rows: int) -> str:
    """The Hub's names for sizes."""
    limits = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")]
    limits += [(10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B")]
    return next((name for limit, name in limits if rows < limit), "n>1B")
