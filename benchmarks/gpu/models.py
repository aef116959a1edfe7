"""Checkpoints of random weights in well-known shapes, and sequences for them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.gpu.bench import Bench, Result

LABELS = ("negative", "positive")


def shapes(small: bool) -> dict[str, dict[str, int]]:
    """Name → sizes, as BERT's config.json calls them."""
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    sizes = {"bert-base": (768, 12, 12, 3072), "minilm": (384, 6, 12, 1536)}
    return {name: dict(zip(names, (64, 2, 2, 128) if small else each, strict=True)) for name, each in sizes.items()}


def checkpoints(bench: Bench) -> Result:
    """Write them, with the tokenizer of the bundled checkpoint."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from seqcls_beam.model.checkpoints import PACKAGED

    names = dict(enumerate(LABELS))
    labels: dict[str, Any] = {"id2label": names, "label2id": {name: i for i, name in names.items()}}
    made: Result = {}
    for name, shape in shapes(bench.small).items():
        torch.manual_seed(13)
        with torch.device(bench.device):
            model = BertForSequenceClassification(BertConfig(**shape, **labels))
        model.cpu().save_pretrained(bench.work / name)
        AutoTokenizer.from_pretrained(PACKAGED["sentiment"]).save_pretrained(bench.work / name)
        made[name] = {"parameters": sum(each.numel() for each in model.parameters())}
    return made


def sequences(rows: int, shortest: int = 5, longest: int = 512) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """(ids, offsets) of random sequences: lengths lognormal around a mean of 128 tokens, cut to the bounds."""
    chance = np.random.default_rng(0)
    lengths = chance.lognormal(np.log(128) - 0.18, 0.6, rows).round().clip(shortest, longest).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return chance.integers(1000, 30_000, offsets[-1], dtype=np.int32), offsets
