"""The model that this process has loaded: one, which is let go before another takes its memory."""

import gc
import threading
from dataclasses import replace
from weakref import WeakValueDictionary

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.model.engine.classifier import Classifier
from seqcls_beam.model.tokens import Sequences

_UNREAD = {name: getattr(ModelOptions(), name) for name in ("overflow", "stride", "pooling", "threshold")}
"""Options that speak of texts and answers, and make no other model."""

_loading = threading.Lock()
_living: WeakValueDictionary[tuple[Checkpoint, ModelOptions], Classifier] = WeakValueDictionary()
_kept: Classifier | None = None
_before = False  # whether this process has made one


def loaded(checkpoint: Checkpoint, options: ModelOptions, first: Sequences | None = None) -> Classifier:
    """A classifier: one that lives in this process, if it is of the same files and options, else a new one.

    How texts are cut, pooled and judged makes no other model. The last one lives on when nobody uses it any more, until
    another is asked for; one that is fitted to sequences, `first`, is its caller's alone. Raises as `Classifier` does.
    """
    global _before, _kept
    # What names the model in the options stands in the checkpoint.
    wanted = (checkpoint, replace(options, model=checkpoint.name, revision=None, problem_type=None, **_UNREAD))
    with _loading:
        found = None if first is not None else _living.get(wanted)
        if found is None:
            _kept = None
            if _before:
                gc.collect()  # a model's modules know each other, so that it would stay until Python looks
            _before = True
            found = Classifier(checkpoint, options, first)
        if first is None:
            _kept = _living[wanted] = found
        return found
