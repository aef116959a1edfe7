"""A quick look at texts of the command line: `pipelines.classify --text`. No Beam, no files."""

from pipelines import outcome
from pipelines.command import warn
from pipelines.terminal import classify as terminal
from pipelines.terminal.standard import ensure_shown
from seqcls_beam.config import ModelOptions
from seqcls_beam.config.classify import LookOptions
from seqcls_beam.model.checkpoints import resolve


def look(options: ModelOptions, given: LookOptions) -> int:
    """Print the probability of every label for texts given on the command line."""
    from seqcls_beam.model.engine import Classifier
    from seqcls_beam.model.predictions import probabilities

    checkpoint = resolve(options.model, options.revision, options.problem_type)
    if checkpoint.remark:
        warn(checkpoint.remark)
    pairs = list(given.text_pair) or None
    scores = probabilities(list(given.text), pairs, checkpoint, Classifier(checkpoint, options), options)
    shown = [" | ".join(both) for both in zip(given.text, pairs, strict=True)] if pairs else list(given.text)
    terminal.probabilities(shown, checkpoint.labels, scores)
    labels = checkpoint.labels
    outcome.add(
        texts=[
            {"text": text, "scores": dict(zip(labels, map(float, row), strict=True))}
            for text, row in zip(shown, scores, strict=True)
        ]
    )
    ensure_shown()
    return 0
