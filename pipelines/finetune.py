"""Fine-tune a sequence classifier on prepared data, and publish a checkpoint that `pipelines.classify` takes.

python -m pipelines.finetune --data=prepared --model=base --output=model
torchrun --standalone --nproc_per_node=2 -m seqcls_beam finetune --data=prepared --model=base --output=model
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pipelines.command import LOCAL, already_published, finish, flags, versions
from pipelines.command import say as say_aloud
from pipelines.ending import exit_code, planning
from pipelines.failures import explained
from pipelines.options import UsageError, parse_alone, parser
from pipelines.reporting import with_page
from pipelines.terminal import finetune as terminal
from seqcls_beam.config.classify import OutputOptions
from seqcls_beam.config.debug import DebugOptions
from seqcls_beam.config.finetune import FinetuneConfig, MachineOptions, RecipeOptions, TrainDataOptions, TrainOptions
from seqcls_beam.finetuning import transaction
from seqcls_beam.finetuning.job import Job, processes
from seqcls_beam.finetuning.orphans import end_with_torchrun
from seqcls_beam.finetuning.plan import plan
from seqcls_beam.finetuning.recipe import read_recipe

GROUPS: dict[str, type] = {
    "data": TrainDataOptions,
    "train": TrainOptions,
    "machine": MachineOptions,
    "recipe": RecipeOptions,
    "output": OutputOptions,
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
_END = "end"
"""What the first process says to the others where there is nothing to train; else the version that is followed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return exit_code(_main, sys.argv[1:] if argv is None else list(argv), say, after=_GOES_ON)


def say(message: str, code: int) -> int:
    """One sentence to the user, by the first process alone; the exit code."""
    return say_aloud(message, code) if processes()[0] == 0 else code


def _main(argv: list[str]) -> int:
    end_with_torchrun()
    with planning():
        made = parser("pipelines.finetune", (__doc__ or "").strip(), EPILOG, GROUPS)
        job = plan(configured(parse_alone(made, argv, GROUPS)))
        if job.config.machine.only_check:
            return say("the options, the data and the base go together", 0)
    return _follow(job) if processes()[0] > 0 else _lead(job)


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
    )


def _lead(job: Job) -> int:
    """Train as the first process, which decides, speaks and publishes."""
    show = with_page(terminal.summary, LOCAL)
    with transaction.alone(job):
        if already_published(job.run, show):
            _decide(_END)
            transaction.clear(job)
        else:
            finish(job.run, partial(transaction.begin, job), partial(_work, job), show)
    return 0


def _work(job: Job) -> None:
    """Train, unless an earlier start did, and publish."""
    trained, started = job.trained(), time.time()
    say(terminal.begun(job), 0)
    hint = terminal.hint(job)
    if hint and not trained:
        say(hint, 0)
    _decide(_END if trained else str(job.run.follows))
    if trained is None:
        from seqcls_beam.finetuning.training import train

        with terminal.watching(job) as tell:
            trained = train(job, tell)
    from seqcls_beam.finetuning import receipt

    facts = {
        "started": started,
        "command": " ".join(["python -m pipelines.finetune", *flags(job.config)]),
        "versions": versions("torch", "transformers", "accelerate", "tokenizers", "pyarrow", "numpy"),
    }
    transaction.publish(job, job.work / "model", receipt.write(job, trained, facts, job.work / "model"))


def _follow(job: Job) -> int:
    """Train as another process, if the first one says so."""
    try:
        word = _decide(None)
        if word != _END:
            from seqcls_beam.finetuning.training import train

            # All work in the folder of the version that the first one found to follow.
            train(replace(job, run=replace(job.run, follows=int(word))), lambda _: None)
    except Exception as error:
        raise explained(error) from error
    return 0


def _decide(word: str | None) -> str:
    """What the first process says, to all; None on the others, which wait for it."""
    if processes()[1] == 1:
        return str(word)
    from seqcls_beam.finetuning.agreement import agree

    return agree(word)


if __name__ == "__main__":
    sys.exit(main())
