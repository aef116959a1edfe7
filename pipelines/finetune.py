"""Fine-tune a sequence classifier on prepared data, and publish a checkpoint that `pipelines.classify` takes.

python -m pipelines.finetune --data=prepared --model=base --output=model
torchrun --standalone --nproc_per_node=2 -m seqcls_beam finetune --data=prepared --model=base --output=model
"""

import sys
from collections.abc import Sequence
from typing import Any

from pipelines.command import say_once
from pipelines.ending import exit_code, planning
from pipelines.interrupts import loading
from pipelines.options import parse_alone, parser
from pipelines.usage import UsageError
from seqcls_beam.config.announce import TellOptions
from seqcls_beam.config.classify import OutputOptions
from seqcls_beam.config.debug import DebugOptions
from seqcls_beam.config.finetune import FinetuneConfig, MachineOptions, RecipeOptions, TrainDataOptions, TrainOptions
from seqcls_beam.finetuning.recipe import read_recipe
from seqcls_beam.finetuning.torchrun import end_with_torchrun

GROUPS: dict[str, type] = {
    "data": TrainDataOptions,
    "train": TrainOptions,
    "machine": MachineOptions,
    "recipe": RecipeOptions,
    "output": OutputOptions,
    "platforms": TellOptions,
    "debug": DebugOptions,
}

EPILOG = """\
several processes, one a GPU (or more than one on a CPU), train the same model on the same batches:
  torchrun --standalone --nproc_per_node=N -m seqcls_beam finetune ...

a training that was killed goes on from its last evaluation when the same command is run again

exit codes: 0 published (or already published), 1 failed and nothing published, 2 wrong usage, 129, 130 and
143 interrupted by SIGHUP, Ctrl-C and SIGTERM
"""

_GOES_ON = "start the run again: it goes on from its last evaluation"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return exit_code(_main, sys.argv[1:] if argv is None else list(argv), say_once, after=_GOES_ON)


def _main(argv: list[str]) -> int:
    end_with_torchrun()
    with planning():
        made = parser("pipelines.finetune", (__doc__ or "").strip(), EPILOG, GROUPS)
        config = configured(parse_alone(made, argv, GROUPS))
    with loading():
        from pipelines import training  # takes a second, which --help and wrong usage do without

    return training.finetune(config)


def configured(given: dict[str, dict[str, Any]]) -> FinetuneConfig:
    """Flags by group → options, a recipe's where there is no flag; raises `UsageError` or `ValueError`."""
    for group, name, what in (
        ("data", "data", "the folder that pipelines.prepare published"),
        ("data", "model", "the model to begin with"),
        ("output", "output", "the folder to publish into"),
    ):
        if name not in given[group]:
            raise UsageError(f"--{name} is missing: name {what}")
    recipe = RecipeOptions(**given["recipe"]).recipe
    return FinetuneConfig(
        data=TrainDataOptions(**given["data"]),
        train=TrainOptions(**{**(read_recipe(recipe) if recipe else {}), **given["train"]}),
        machine=MachineOptions(**given["machine"]),
        output=OutputOptions(**given["output"]),
        platforms=TellOptions(**given["platforms"]),
    )


if __name__ == "__main__":
    sys.exit(main())
