"""Label a corpus: text records in files → labelled Parquet, as one transaction.

python -m pipelines.classify                                          label the bundled sample
python -m pipelines.classify --text "I love this book"                a quick look, no files
python -m pipelines.classify --input 'reviews/*.jsonl.gz' --text_column=review --output=labelled
python -m pipelines.classify --subscription=projects/P/subscriptions/S --output=labelled     messages as they arrive
"""

import sys
from collections.abc import Sequence
from importlib.resources import files as package_files
from typing import Any

from pipelines.command import EPILOG
from pipelines.ending import exit_code, planning
from pipelines.interrupts import loading
from pipelines.options import parse, parser
from pipelines.usage import UsageError
from seqcls_beam.config import ModelOptions, ReadOptions, stream
from seqcls_beam.config.announce import PlatformOptions
from seqcls_beam.config.classify import ClassifyConfig, LookOptions, RunOptions
from seqcls_beam.config.dataflow import DataflowOptions
from seqcls_beam.config.debug import DebugOptions
from seqcls_beam.config.plan import PlanOptions
from seqcls_beam.config.step import StepOptions

GROUPS: dict[str, type] = {
    "read": ReadOptions,
    "model": ModelOptions,
    "run": RunOptions,
    "platforms": PlatformOptions,
    **stream.GROUPS,
    "step": StepOptions,
    "dataflow": DataflowOptions,
    "plan": PlanOptions,
    "look": LookOptions,
    "debug": DebugOptions,
}

_STREAM_EPILOG = """\
a stream runs until it is told to end: SIGTERM and Ctrl-C finish the batch in hand, seal the windows that are over and
end with 0, a second one ends at once; exit codes: 0 told to end, 1 failed (what was labelled before stays, windows
may be published, and what was not acknowledged comes again), 2 wrong usage, 129, 130 or 143 ended at once
"""

DEMO_OUTPUT = "demo-output"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return exit_code(_main, sys.argv[1:] if argv is None else list(argv))


def _main(argv: list[str]) -> int:
    with planning():
        made = parser("pipelines.classify", (__doc__ or "").strip(), f"{EPILOG}\n{_STREAM_EPILOG}", GROUPS)
        given, words = parse(made, argv, GROUPS)
        model = ModelOptions(**given["model"])
        streamed = any(given[group] for group in stream.GROUPS)
        if given["look"]:
            _refuse_beside_texts(given)
            texts = LookOptions(**given["look"])
        elif not streamed:
            read, run = ReadOptions(**_demo(given, "input")), RunOptions(**_demo(given, "output"))
            platforms = PlatformOptions(**given["platforms"])
            config = ClassifyConfig(read=read, model=model, run=run, platforms=platforms)
        elif given["plan"]:
            raise UsageError(
                "--plan is for files, which have an end: for a stream plan a file of such texts, and see "
                "docs/streaming.md, Sizing"
            )
    if given["look"]:
        with loading():
            from pipelines import looking

        with planning():  # there is no run: what is wrong is a flag, or the model that it names
            return looking.look(model, texts)
    with loading():
        from pipelines import labelling  # takes seconds, which --help and wrong usage do without

    if streamed:
        return labelling.stream(given, words)
    if given["plan"]:
        return labelling.tell(config, given, words)
    return labelling.label(config, given, words)


def _refuse_beside_texts(given: dict[str, dict[str, Any]]) -> None:
    if any(given[group] for group in GROUPS if group not in ("look", "model", "debug")):
        raise UsageError("--text is a quick look at texts of the command line: it takes no input and no output")
    if "threshold" in given["model"]:
        raise UsageError("--threshold does nothing with --text, which shows all probabilities: leave it out")


def _demo(given: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """The options that hold `name`; without --input and --output, those of the demo."""
    group = "read" if name == "input" else "run"
    if name in given[group]:
        return given[group]
    if "input" in given["read"] or "output" in given["run"]:
        raise UsageError(f"--{name} is missing (without both --input and --output the bundled sample is labelled)")
    sample = str(package_files("seqcls_beam") / "sample" / "reviews.jsonl")
    demo = {"input": (sample,), "id_column": "id"} if name == "input" else {"output": DEMO_OUTPUT, "overwrite": True}
    return {**demo, **given[group]}


if __name__ == "__main__":
    sys.exit(main())
