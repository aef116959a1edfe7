"""Options of `python -m pipelines.finetune`."""

from dataclasses import dataclass, field

from seqcls_beam.config.announce import TellOptions
from seqcls_beam.config.classify import OutputOptions
from seqcls_beam.config.option import check, option

METRICS = {
    "single_label": ("accuracy", "macro_f1", "weighted_f1", "positive_f1", "auc", "loss"),
    "multi_label": ("map", "micro_f1", "macro_f1", "loss"),
    "regression": ("mse", "pearson", "spearman", "loss"),
}
"""By problem, what a checkpoint can be chosen by; the first is the default."""

TWO_LABELS = ("positive_f1", "auc")
"""Those of them that are measured of exactly two labels."""


@dataclass(frozen=True, kw_only=True)
class TrainDataOptions:
    """Data and base model."""

    data: str = option(
        "folder that `pipelines.prepare` published, local or of any fsspec protocol", metavar="FOLDER", often=True
    )
    model: str = option(
        "model to begin with: a local folder, an fsspec URI (gs://bucket/folder) or a Hub id; the one whose tokenizer "
        "prepared the data; a head that has the same labels is kept, any other is made anew",
        metavar="BASE",
        often=True,
    )
    revision: str | None = option("branch, tag or commit of a Hub id", default=None)


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Training."""

    epochs: float = option(
        "passes over the training rows; may be a fraction", default=3.0, minimum=0.001, maximum=1e6, often=True
    )
    batch_size: int = option(
        "rows per step of the optimizer, over all processes together",
        default=32,
        minimum=1,
        maximum=1_000_000,
        often=True,
    )
    gradient_accumulation: int = option(
        "parts that a process computes its share of a batch in, one after the other, where memory is short",
        default=1,
        minimum=1,
    )
    learning_rate: float = option("highest learning rate of AdamW", default=3e-5, minimum=0, maximum=1e30, often=True)
    schedule: str = option(
        "how the rate falls after the warm-up: linear or cosine to zero, or constant",
        default="linear",
        choices=("linear", "cosine", "constant"),
    )
    warmup: float = option(
        "share of the steps in which the rate rises to its highest", default=0.06, minimum=0, maximum=1
    )
    weight_decay: float = option("decay of all weights but biases and norms", default=0.01, minimum=0)
    max_grad_norm: float = option("norm that gradients are clipped to (0: no clipping)", default=1.0, minimum=0)
    dropout: float | None = option(
        "probability of every dropout in the model (default: the base's own, which is what it was last trained with)",
        default=None,
        minimum=0,
        maximum=0.9,
    )
    label_smoothing: float = option(
        "probability that is spread over all classes of a single label", default=0.0, minimum=0, maximum=0.9
    )
    class_weights: str = option(
        "weigh rows by their class, as the manifest of the data has it: n / (classes * n_c), or by the effective "
        "number of rows",
        default="none",
        choices=("none", "inverse_frequency", "effective_number"),
    )
    pos_weight: str = option(
        "where rows have several labels, weigh the rows that have a label: balanced by the training rows without it "
        "for each that has it",
        default="none",
        choices=("none", "balanced"),
    )
    max_pos_weight: float = option(
        "highest weight that --pos_weight gives: of a rarer label rows count no more than so", default=100.0, minimum=1
    )
    eval_steps: int = option(
        "steps between two evaluations on the validation rows, each of which leaves a checkpoint to resume from (0: at "
        "the end of each epoch)",
        default=0,
        minimum=0,
    )
    best_metric: str = option(
        "validation metric by which the best checkpoint is kept; auto: accuracy, map where rows have several labels, "
        "mse for numbers; where most rows have one label macro_f1 counts the others as much",
        default="auto",
        choices=("auto", *dict.fromkeys(name for names in METRICS.values() for name in names)),
    )
    early_stopping: int = option(
        "evaluations without a better metric after which training ends (0: never)", default=0, minimum=0
    )
    seed: int = option(
        "what the new head, dropout and the order of rows are drawn from", default=0, minimum=0, maximum=2**32 - 1
    )
    dtype: str = option(
        "precision of the matrix products; weights stay in float32; auto: bfloat16 on a GPU that has it, else float32 "
        "(bfloat16 pays on CPUs with AVX512-BF16 or AMX)",
        default="auto",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    packed: bool = option(
        "train without padding, on a GPU in half precision; the dropout of attention's probabilities is left out, all "
        "other is as the model has it; what it wins is not measured (docs/finetune.md)",
        default=False,
    )
    stored_dtype: str = option(
        "precision of the weights that are published; scores are those of the published weights",
        default="float32",
        choices=("float32", "bfloat16", "float16"),
    )

    def __post_init__(self) -> None:
        check(self)


def best_metric(options: TrainOptions, problem: str) -> str:
    """The validation metric by which checkpoints are compared, as `evaluation.headline` calls it, or "loss"."""
    return METRICS[problem][0] if options.best_metric == "auto" else options.best_metric


@dataclass(frozen=True, kw_only=True)
class MachineOptions:
    """The machine."""

    device: str = option(
        "where the model trains: auto takes a GPU where there is one, of several the one of the process's rank",
        default="auto",
        choices=("auto", "cpu", "cuda"),
    )
    threads: int = option("CPU threads per process (0: all cores, divided by the processes here)", default=0, minimum=0)
    only_check: bool = option(
        "look whether the options, the data and the base go together, and end: nothing is trained", default=False
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """A whole recipe."""

    recipe: str | None = option(
        "JSON file with options of the training by name, such as the recipe.json of an earlier output; flags come "
        "before it",
        default=None,
        metavar="FILE.json",
    )


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Options of `python -m pipelines.finetune`."""

    data: TrainDataOptions
    train: TrainOptions
    machine: MachineOptions
    output: OutputOptions
    platforms: TellOptions = field(default_factory=TellOptions)
