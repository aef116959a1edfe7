"""Metadata of the templates: which options of a command are their parameters, and what Google is told of these."""

import json
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from deploy.generate.parameters import TYPES, Choice, Parameter, defaults_of, parameters
from seqcls_beam.config import ReadOptions, stream
from seqcls_beam.config.announce import PlatformOptions, TellOptions
from seqcls_beam.config.classify import PRECISIONS, LookOptions, RunOptions
from seqcls_beam.config.option import flag, option_fields
from seqcls_beam.config.plan import PlanOptions
from seqcls_beam.config.step import StepOptions
from seqcls_beam.config.stream import EndOptions


def _names(*groups: type) -> list[str]:
    return [flag(each) for group in groups for each in option_fields(group)]


_FILES_A_STREAM_TAKES = ("text_column", "text_pair_column", "id_column", "keep_columns", "batch_rows", "output")
_LOOK = dict.fromkeys(_names(LookOptions), "a look at some texts on a terminal, without a job")
_PLAN = dict.fromkeys(_names(PlanOptions), "tells what a job would take, and starts none")
_STEP = dict.fromkeys(_names(StepOptions), "who waits for a job ends it, and a template's launcher does not wait")
_TOLD = dict.fromkeys(
    _names(PlatformOptions), "told by pipelines.announce when the job is done: a template's launcher does not wait"
)
_FILES = dict.fromkeys(
    [name for name in _names(ReadOptions, RunOptions) if name not in _FILES_A_STREAM_TAKES],
    "of files, or of a run that ends",
)
_STREAM = dict.fromkeys(_names(*stream.GROUPS.values()), "of a stream, which has a template of its own")
_END = dict.fromkeys(_names(EndOptions), "a stream on Dataflow ends by drain or cancel")


@dataclass(frozen=True, kw_only=True)
class Template:
    """A template: a command, and the options of it that a launch may give."""

    title: str
    description: str
    command: str
    choice: Choice
    streaming: bool = False

    @property
    def parameters(self) -> list[Parameter]:
        """In the order of `--help`."""
        command = import_module(f"pipelines.{self.command}")
        return list(parameters(command.GROUPS, defaults_of(command), self.choice))

    def metadata(self) -> dict[str, Any]:
        """TemplateMetadata, as Google's JSON has it."""
        modes = {"supportsAtLeastOnce": True, "supportsExactlyOnce": True} if self.streaming else {}
        return {
            "name": self.title,
            "description": self.description,
            "streaming": self.streaming,
            **modes,
            "parameters": [_told(each) for each in self.parameters],
        }


TEMPLATES = {
    "classify": Template(
        title="Label files with a text classifier",
        description="Text records in files become labelled Parquet, as one transaction",
        command="classify",
        choice=Choice(
            left_out={
                **_LOOK,
                **_PLAN,
                **_STEP,
                **_TOLD,
                **_STREAM,
                "catch_up": "makes several nights, and a launch is one job",
                "relabel": "labels several partitions, and a launch is one job",
            },
            choices={"dtype": ("auto", *PRECISIONS)},  # fastest is timed where the command runs, and workers label
            helps={
                "dtype": "precision of the model: auto is float32 on a CPU, and on a GPU float16 or what else passes "
                "the self-test; int8 (CPU) is refused where its labels differ from float32's on more than 0.5 % of the "
                "first rows"
            },
        ),
    ),
    "stream": Template(
        title="Label messages with a text classifier",
        description="Messages of a subscription become labelled rows as they arrive; pipelines.seal publishes windows",
        command="classify",
        streaming=True,
        choice=Choice(
            left_out={
                **_LOOK,
                **_PLAN,
                **_STEP,
                **_TOLD,
                **_FILES,
                **_END,
                "allowed_lateness": "pipelines.seal decides when a window is over",
                "pullers": "Dataflow has a source of its own",
                "max_outstanding": "Dataflow has a source of its own",
            },
            shapes={"keep_columns": r"(\s*[^,\s*][^,]*(,\s*[^,\s*][^,]*)*)?"},  # '*' needs first rows to look at
            choices={"dtype": ("auto", "float32", "bfloat16", "float16")},  # int8 is fitted to the first rows
            undefaulted=("model",),  # beside watch_model it is refused, also where it is the default
            helps={
                "keep_columns": "columns that pass through to the output, comma-separated, each NAME or NAME:TYPE "
                "(string, int64, float64, bool), '' none (default: the id and the texts)",
                "model": "checkpoint of a sequence classifier: a local folder, an fsspec URI (gs://bucket/folder) or a "
                "Hub id; 'sentiment' is the English one that comes with the package (default: sentiment, unless "
                "watch_model is given)",
                "dtype": "precision of the model: auto is float32 on a CPU, and on a GPU float16 or what else passes "
                "the self-test",
                "window": "seconds of event time in a window, which becomes a partition; pipelines.seal publishes it "
                "when it is over",
                "watch_model": "in place of --model, the URI of a checkpoint in a bucket, gs://BUCKET/FOLDER, or of "
                "one that its file LATEST names: what is new there is taken while the stream runs, if it has the same "
                "labels and answers what is at hand",
            },
        ),
    ),
    "prepare": Template(
        title="Prepare data for fine-tuning a text classifier",
        description="Labelled records become cleaned, deduplicated, leak-free, split, tokenised shards",
        command="prepare",
        choice=Choice(
            left_out={**_STEP, **dict.fromkeys(_names(TellOptions), _TOLD["otlp"])}, optional=("input",)
        ),  # of files that are split already there may be others
    ),
}


def written(template: Template) -> str:
    """The file of a template."""
    return json.dumps(template.metadata(), indent=2, ensure_ascii=False) + "\n"


def _told(each: Parameter) -> dict[str, Any]:
    """ParameterMetadata."""
    told: dict[str, Any] = {
        "name": each.name,
        "label": each.name.replace("_", " ").capitalize(),
        "helpText": each.sentences,
        "groupName": each.group,
        "isOptional": not each.required,
        "paramType": _type(each),
    }
    if each.choices:
        told["enumOptions"] = [{"value": value, "label": value} for value in each.choices]
    told["regexes"] = [each.pattern]
    if each.default is not None:
        told["defaultValue"] = each.default
    return told


def _type(each: Parameter) -> str:
    if each.choices:
        return "ENUM"
    kinds = {"switch": "BOOLEAN", "number": "NUMBER", "decimal": "NUMBER"}
    return TYPES.get(each.name) or kinds.get(each.kind, "TEXT")
