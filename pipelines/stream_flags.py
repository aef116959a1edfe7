"""Flags of a stream: which are missing, and which do nothing."""

from typing import Any

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from pipelines.command import LOCAL
from pipelines.dataflow import is_dataflow
from pipelines.engines import works_here
from pipelines.usage import UsageError
from seqcls_beam.config.option import flag, option_fields

_READ = ("text_column", "text_pair_column", "id_column", "keep_columns", "batch_rows")
_RUN = ("output", "max_rejected", "report_texts")


def refuse(
    given: dict[str, dict[str, Any]], groups: dict[str, type], runner: str, beam_options: PipelineOptions
) -> None:
    """Raise `UsageError` for what a stream lacks, and for flags that do nothing for it or for its runner.

    `groups` are those of a stream's own, by the names they have in `given`.
    """
    if "subscription" not in given["source"]:
        first = next(
            flag(each) for name, group in groups.items() for each in option_fields(group) if each.name in given[name]
        )
        raise UsageError(f"--{first} is of a stream: it needs --subscription")
    for group, meant in (("read", _READ), ("run", _RUN)):
        for name in given[group]:
            if name not in meant:
                raise UsageError(
                    f"--{name} is of files, and --subscription reads messages: of the options of files a stream takes "
                    + ", ".join(f"--{each}" for each in meant)
                )
    if given.get("step"):
        raise UsageError("--step_timeout ends a run of files that stands still; a stream waits for messages for ever")
    if "output" not in given["run"]:
        raise UsageError("--output is missing: the folder that the windows are published into")
    if (dtype := given["model"].get("dtype")) in ("int8", "fastest"):
        how = "fitted to" if dtype == "int8" else "found on"
        raise UsageError(f"--dtype={dtype} is {how} the first rows of a corpus, which a stream has not")
    if "watch_model" in given["watch"]:
        for name in ("model", "revision"):
            if name in given["model"]:
                raise UsageError(f"--{name} and --watch_model both say which model it is: leave one out")
    if not works_here(runner, beam_options):
        _refuse_remote(given, runner)
    if runner != LOCAL:
        return
    direct = beam_options.view_as(DirectOptions)
    if direct.direct_running_mode != "in_memory" or direct.direct_num_workers != 1:
        raise UsageError(
            "--direct_running_mode and --direct_num_workers do nothing for a stream, which runs in one process; start "
            "the command several times, with the same --subscription and --output, and they share the messages"
        )


def _refuse_remote(given: dict[str, dict[str, Any]], runner: str) -> None:
    """Options that a runner elsewhere has no use for."""
    if given["end"]:
        raise UsageError(
            f"--for and --until_idle are of a stream that this process labels; with --runner={runner} it ends when its "
            "job is stopped"
        )
    if "allowed_lateness" in given["windows"]:
        raise UsageError(
            f"--allowed_lateness is of a stream that this process labels; with --runner={runner} pipelines.seal "
            "publishes the windows, up to the time that its --until says"
        )
    if "max_rejected" in given["run"]:
        raise UsageError(
            f"--max_rejected is of a stream that this process labels; with --runner={runner} Beam's counters tell what "
            "was rejected"
        )
    if "report_texts" in given["run"]:
        raise UsageError(
            f"--report_texts is of a stream that this process labels; with --runner={runner} pipelines.seal writes the "
            "pages, and takes it"
        )
    for name in given.get("platforms", {}):
        raise UsageError(
            f"--{name} is of a stream that this process labels; with --runner={runner} pipelines.seal publishes the "
            "windows, and takes it"
        )
    if is_dataflow(runner):
        for name in ("pullers", "max_outstanding"):
            if name in given["source"]:
                raise UsageError(f"--{name} does nothing with --runner={runner}, whose own source pulls: leave it out")
