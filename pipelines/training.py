"""The work of `pipelines.finetune`: one process leads, and others follow it where torchrun started several."""

import time
from dataclasses import replace
from functools import partial
from typing import Any

from pipelines.announcing import facts_of, with_platforms, witnessed
from pipelines.command import LOCAL, flags, versions
from pipelines.command import say_once as say
from pipelines.ending import planning
from pipelines.failures import explained
from pipelines.publishing import already_published, finish
from pipelines.reporting import with_page
from pipelines.terminal import finetune as terminal
from seqcls_beam import storage
from seqcls_beam.announcing import platforms
from seqcls_beam.announcing.platforms import Where
from seqcls_beam.config.finetune import FinetuneConfig
from seqcls_beam.finetuning import transaction
from seqcls_beam.finetuning.job import Job
from seqcls_beam.finetuning.plan import plan
from seqcls_beam.finetuning.torchrun import processes

_END = "end"
"""What the first process says to the others where there is nothing to train; else the version that is followed."""


def finetune(config: FinetuneConfig) -> int:
    """Fine-tune; the exit code."""
    with planning():
        where = platforms.named(config.platforms, config.output.output)
        job = plan(config)
        if config.machine.only_check:
            return say("the options, the data and the base go together", 0)
    return _follow(job) if processes()[0] > 0 else _lead(job, where)


def _lead(job: Job, where: Where) -> int:
    """Train as the first process, which decides, speaks and publishes."""
    show = with_platforms(with_page(terminal.summary, LOCAL), where)
    with transaction.alone(job):
        if already_published(job.run, show):
            _decide(_END)
            transaction.clear(job)
        else:
            facts = {
                "started": time.time(),
                "command": " ".join(["python -m pipelines.finetune", *flags(job.config)]),
                "versions": versions("torch", "transformers", "accelerate", "tokenizers", "pyarrow", "numpy"),
                **facts_of(where),
            }

            def start() -> None:
                transaction.begin(job)
                begins()

            with witnessed(job.run, where, lambda: {**facts, **_base(job)}) as begins:
                finish(job.run, start, partial(_work, job, facts), show)
    return 0


def _base(job: Job) -> dict[str, Any]:
    """What a training is made of, as its manifest has it."""
    base = {"name": storage.without_password(job.base.name), "revision": job.base.revision, "digest": job.base.digest}
    return {"base": base, "data": {"path": storage.without_password(job.config.data.data)}}


def _work(job: Job, facts: dict[str, Any]) -> None:
    """Train, unless an earlier start did, and publish."""
    trained = job.trained()
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
