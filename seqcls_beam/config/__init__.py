"""Options, each written once: its help, unit, range and default.

The command line (`pipelines/options.py`) is derived from these dataclasses, and the library takes the same objects.
A wrong value raises `ValueError` while the object is built, before anything starts. Imports nothing of the project.
"""

from seqcls_beam.config.classify import (
    ClassifyConfig,
    LookOptions,
    ModelOptions,
    OutputOptions,
    ReadOptions,
    RunOptions,
)
from seqcls_beam.config.evaluate import (
    AnswerOptions,
    EvaluateConfig,
    GateOptions,
    GoldOptions,
    MeasureOptions,
    ReportOptions,
)
from seqcls_beam.config.finetune import (
    FinetuneConfig,
    MachineOptions,
    RecipeOptions,
    TrainDataOptions,
    TrainOptions,
)
from seqcls_beam.config.option import check, option, option_fields
from seqcls_beam.config.prepare import (
    CleanOptions,
    LabelOptions,
    PrepareConfig,
    ShardOptions,
    SplitInputOptions,
    SplitOptions,
)

__all__ = [
    "AnswerOptions",
    "ClassifyConfig",
    "CleanOptions",
    "EvaluateConfig",
    "FinetuneConfig",
    "GateOptions",
    "GoldOptions",
    "LabelOptions",
    "LookOptions",
    "MachineOptions",
    "MeasureOptions",
    "ModelOptions",
    "OutputOptions",
    "PrepareConfig",
    "ReadOptions",
    "RecipeOptions",
    "ReportOptions",
    "RunOptions",
    "ShardOptions",
    "SplitInputOptions",
    "SplitOptions",
    "TrainDataOptions",
    "TrainOptions",
    "check",
    "option",
    "option_fields",
]
