"""How much arithmetic a text needs: the unit in which corpora are measured out and the peak is shared."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def shape(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """Hidden size, feed-forward size and layers, as BERT's config.json or DistilBERT's calls them."""
    bert = "hidden_size" in config
    names = ("hidden_size", "intermediate_size", "num_hidden_layers") if bert else ("dim", "hidden_dim", "n_layers")
    hidden, feed, layers = (int(config[name]) for name in names)
    return hidden, feed, layers


def flops(config: Mapping[str, Any], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """FLOPs of each text of `lengths` tokens (special ones included, padding never), h hidden, f feed-forward.

    A layer takes per token 2·4·h² for the query, key, value and output products, 2·2·h·f for the feed-forward and
    4·s·h for attention over s tokens. The last layer needs key and value of all tokens (2·2·h²) and the rest for the
    first position alone: 2·2·h² + 2·2·h·f + 4·s·h per text. The head's product (2·h² for the pooler) is counted,
    norms, softmax and embeddings are not.
    """
    hidden, feed, layers = shape(config)
    tokens = lengths.astype(np.float64)
    layer = tokens * (8 * hidden**2 + 4 * hidden * feed + 4 * tokens * hidden)
    last = tokens * 4 * hidden**2 + 4 * hidden**2 + 4 * hidden * feed + 4 * tokens * hidden
    return (layers - 1) * layer + last + 2 * hidden**2
