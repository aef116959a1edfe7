"""Prepare fine-tuning data: labelled records → cleaned, deduplicated, leak-free, split, tokenised shards.

python -m pipelines.prepare --input reviews.jsonl --text_column=review --label_column=stars --output=prepared
python -m pipelines.prepare --input_train train.tsv --input_test test.tsv --output=prepared
"""

import sys
from collections.abc import Sequence
from typing import Any

from pipelines.command import EPILOG
from pipelines.ending import exit_code, planning
from pipelines.interrupts import loading
from pipelines.options import parse, parser
from pipelines.usage import UsageError
from seqcls_beam.config.announce import TellOptions
from seqcls_beam.config.debug import DebugOptions
from seqcls_beam.config.prepare import (
    CleanOptions,
    LabelOptions,
    PrepareConfig,
    PrepareOutputOptions,
    PrepareReadOptions,
    ShardOptions,
    SplitInputOptions,
    SplitOptions,
)
from seqcls_beam.config.step import StepOptions

GROUPS: dict[str, type] = {
    "read": PrepareReadOptions,
    "inputs": SplitInputOptions,
    "labels": LabelOptions,
    "clean": CleanOptions,
    "splits": SplitOptions,
    "shards": ShardOptions,
    "output": PrepareOutputOptions,
    "platforms": TellOptions,
    "step": StepOptions,
    "debug": DebugOptions,
}

UNIT_BYTES = 8 * 2**20  # a unit is a minute of cleaning and tokenising or so: many small ones keep all workers busy


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return exit_code(_main, sys.argv[1:] if argv is None else list(argv))


def _main(argv: list[str]) -> int:
    with planning():
        made = parser("pipelines.prepare", (__doc__ or "").strip(), EPILOG, GROUPS, unit_bytes=UNIT_BYTES, input=())
        given, words = parse(made, argv, GROUPS)
        config = configured(given)
    with loading():
        from pipelines import preparing  # takes seconds, which --help and wrong usage do without

    return preparing.prepare(config, given, words)


def configured(given: dict[str, dict[str, Any]]) -> PrepareConfig:
    """Flags by group → options; raises `UsageError` or `ValueError`."""
    inputs = SplitInputOptions(**given["inputs"])
    rows = [*inputs.input_train, *inputs.input_validation, *inputs.input_test]
    if not rows and not given["read"].get("input"):
        raise UsageError("--input is missing (or --input_train, --input_validation, --input_test)")
    if "output" not in given["output"]:
        raise UsageError("--output is missing: name the folder to publish into")
    read = {"unit_bytes": UNIT_BYTES, "input": (), **given["read"]}
    return PrepareConfig(
        read=PrepareReadOptions(**read),
        inputs=inputs,
        labels=LabelOptions(**given["labels"]),
        clean=CleanOptions(**given["clean"]),
        splits=SplitOptions(**given["splits"]),
        shards=ShardOptions(**given["shards"]),
        output=PrepareOutputOptions(**given["output"]),
        platforms=TellOptions(**given["platforms"]),
    )


if __name__ == "__main__":
    sys.exit(main())
