"""Engine: token ids → logits. The only place that knows torch or a GPU."""

from seqcls_beam.model.engine.classifier import Classifier

__all__ = ["Classifier"]
