"""Options of `python -m pipelines.compare`."""

from dataclasses import dataclass

from seqcls_beam.config.option import check, option


@dataclass(frozen=True, kw_only=True)
class DriftOptions:
    """Limits: a change beyond one, and beyond what chance gives, makes the exit code 3, once everything is shown."""

    max_label_shift: float = option(
        "by how much the share of a label may rise or fall, of all labelled rows", default=0.05, minimum=0, maximum=1
    )
    max_label_psi: float = option(
        "population stability index of the labels; of several labels a row, the largest of a label",
        default=0.1,
        minimum=0,
    )
    max_score_psi: float = option(
        "population stability index of the score of the most probable label; of a regression, of what it predicts",
        default=0.25,
        minimum=0,
    )
    max_token_psi: float = option(
        "population stability index of the lengths of texts in tokens", default=0.25, minimum=0
    )
    max_reject_rise: float = option(
        "by how much the share of rows that are rejected or lost may rise", default=0.01, minimum=0, maximum=1
    )
    max_truncation_rise: float = option(
        "by how much the share of rows whose text is cut may rise", default=0.05, minimum=0, maximum=1
    )

    def __post_init__(self) -> None:
        check(self)
