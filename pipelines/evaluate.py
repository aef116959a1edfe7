"""Evaluate a classifier: gold labels beside a model's answers → metrics, with a report.

python -m pipelines.evaluate --input=reviews.jsonl --text_column=review --label_column=stars --model=my-checkpoint
python -m pipelines.evaluate --data=prepared --split=test --model=my-checkpoint --output=evaluation
python -m pipelines.evaluate --labeled=labelled --label_column=stars --min_accuracy=0.9
"""

import sys
from collections.abc import Sequence
from typing import Any

from pipelines.command import EPILOG
from pipelines.ending import exit_code, planning
from pipelines.interrupts import loading
from pipelines.options import parse, parser
from pipelines.usage import UsageError
from seqcls_beam.config import ModelOptions
from seqcls_beam.config.announce import TellOptions
from seqcls_beam.config.dataflow import DataflowOptions
from seqcls_beam.config.debug import DebugOptions
from seqcls_beam.config.evaluate import (
    TAKEN,
    UNIT_BYTES,
    AnswerOptions,
    EvaluateConfig,
    EvaluateReadOptions,
    GateOptions,
    GoldOptions,
    MeasureOptions,
    ReportOptions,
)
from seqcls_beam.config.step import StepOptions

GROUPS: dict[str, type] = {
    "read": EvaluateReadOptions,
    "answers": AnswerOptions,
    "gold": GoldOptions,
    "model": ModelOptions,
    "measure": MeasureOptions,
    "gates": GateOptions,
    "report": ReportOptions,
    "platforms": TellOptions,
    "step": StepOptions,
    "dataflow": DataflowOptions,
    "debug": DebugOptions,
}
_EXIT_CODES = """\
exit codes: 0 evaluated, every gate passed; 1 failed; 2 wrong usage; 3 evaluated, and a gate did not pass;
129, 130 and 143 ended by SIGHUP, Ctrl-C and SIGTERM
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return exit_code(_main, sys.argv[1:] if argv is None else list(argv), after="nothing was written")


def _main(argv: list[str]) -> int:
    with planning():
        epilog = EPILOG[: EPILOG.index("exit codes")] + _EXIT_CODES
        made = parser("pipelines.evaluate", (__doc__ or "").strip(), epilog, GROUPS, unit_bytes=UNIT_BYTES, input=())
        given, words = parse(made, argv, GROUPS)
        config = configured(given)
    with loading():
        from pipelines import evaluating  # takes seconds, which --help and wrong usage do without

    return evaluating.evaluate(config, given, words)


def configured(given: dict[str, dict[str, Any]]) -> EvaluateConfig:
    """Flags by group → options; raises `UsageError` or `ValueError`."""
    answers = AnswerOptions(**given["answers"])
    sources = {"input": given["read"].get("input"), "data": answers.data, "labeled": answers.labeled}
    named = [name for name, value in sources.items() if value]
    if len(named) != 1:
        said = f"--{' and --'.join(named)} are given" if named else "nothing to evaluate"
        raise UsageError(
            f"{said}: give one of --input (rows to run a model on), --data (prepared shards, likewise) and --labeled "
            "(rows with answers)"
        )
    for group, names in TAKEN[named[0]].items():
        for name in given[group]:
            if name not in names:
                raise UsageError(f"--{name} does nothing with --{named[0]}: leave it out")
    config = EvaluateConfig(
        read=EvaluateReadOptions(**{"input": (), "unit_bytes": UNIT_BYTES, **given["read"]}),
        answers=answers,
        gold=GoldOptions(**given["gold"]),
        model=ModelOptions(**given["model"]),
        measure=MeasureOptions(**given["measure"]),
        gates=GateOptions(**given["gates"]),
        report=ReportOptions(**given["report"]),
        platforms=TellOptions(**given["platforms"]),
    )
    if given["platforms"] and config.report.output is None:
        name = next(iter(given["platforms"]))
        raise UsageError(f"--{name} needs --output: platforms are told of what is published")
    if config.report.promote:
        from seqcls_beam.evaluation import gates  # brings numpy

        if not gates.given(config.gates):
            raise UsageError("--promote needs a gate, such as --min_accuracy=0.9: else every model passes")
    return config


if __name__ == "__main__":
    sys.exit(main())
