"""Makers of tiny checkpoints: random weights, real tokenizers of each family's own kind, trained on a few lines.

A checkpoint of every family takes tens of milliseconds. Nothing here is downloaded.
"""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from seqcls_beam.model.checkpoints import Checkpoint, resolve
from seqcls_beam.schema import Mark, record

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and 12 other foxes look on.",
    "What a wonderful film! I laughed, I cried, and I would watch it again tomorrow.",
    "Utterly boring; the plot makes no sense at all and the actors don't care.",
    "Größe, café, naïve, 東京, привет мир — text is not only English 🙂.",
    "Words words words: reading, reader, readers, unread, readable, rereading.",
]
FAMILIES = ("bert", "distilbert", "electra", "roberta", "xlm-roberta", "albert", "deberta-v2", "modernbert")
# Tried by the engine's tests only.
MORE_FAMILIES = ("camembert", "ernie", "xlm-roberta-xl", "convbert", "mobilebert", "mpnet", "rembert")
_LATE_POSITIONS = ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet")  # counted from 2
_SIZES: dict[str, Any] = {
    "initializer_range": 0.3,  # far apart, so that no fault hides in answers that are all alike
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
}


def tokenizer(family: str) -> Any:
    """A trained fast tokenizer as AutoTokenizer would make it for the family."""
    import transformers as hf
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

    if family == "modernbert":
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        names = {"unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"}
        backend.add_special_tokens(list(names.values()))
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B [SEP]",
            special_tokens=[(each, backend.token_to_id(each)) for each in ("[CLS]", "[SEP]")],
        )
        empty = hf.PreTrainedTokenizerFast(
            tokenizer_object=backend,
            model_input_names=["input_ids", "attention_mask"],
            **{f"{key}_token": AddedToken(name, special=True) for key, name in names.items()},
        )
    else:
        kind = {
            "roberta": hf.RobertaTokenizer,
            "xlm-roberta": hf.XLMRobertaTokenizer,
            "albert": hf.AlbertTokenizer,
            "deberta-v2": hf.DebertaV2Tokenizer,
            "camembert": hf.CamembertTokenizer,
            "xlm-roberta-xl": hf.XLMRobertaTokenizer,
            "mpnet": hf.MPNetTokenizer,
        }
        empty = kind.get(family, hf.BertTokenizer)()
    return empty.train_new_from_iterator([CORPUS * 4], vocab_size=400, show_progress=False)


def checkpoint(
    folder: Path,
    family: str = "bert",
    labels: tuple[str, ...] = ("negative", "positive"),
    problem: str | None = None,
    stored: str = "float32",
    max_shard_size: str = "1GB",
    **config: Any,
) -> Path:
    """Write a checkpoint of a family, its weights `stored` in that dtype; return its folder."""
    import torch
    import transformers as hf

    words = tokenizer(family)
    words.model_max_length = 126 if family in _LATE_POSITIONS else 128
    words.save_pretrained(folder)
    extras: dict[str, dict[str, Any]] = {
        "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
        "electra": {"embedding_size": 16},
        "albert": {"embedding_size": 16},
        # deberta-v3's own switches: shared log buckets of relative positions, no absolute ones, no segments
        "deberta-v2": {
            "relative_attention": True,
            "position_biased_input": False,
            "pos_att_type": ["p2c", "c2p"],
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_buckets": 16,
            "max_relative_positions": -1,
            "type_vocab_size": 0,
        },
        "roberta": {"type_vocab_size": 1},
        "xlm-roberta": {"type_vocab_size": 1},
        "camembert": {"type_vocab_size": 1},
        "xlm-roberta-xl": {"type_vocab_size": 1},
        "convbert": {"embedding_size": 16},
        "mobilebert": {
            "embedding_size": 16,
            "intra_bottleneck_size": 16,
            "true_hidden_size": 16,
            "num_feedforward_networks": 2,
        },
        "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
        "modernbert": {"local_attention": 16, "global_attn_every_n_layers": 2},
    }
    made = hf.AutoConfig.for_model(
        family,
        vocab_size=len(words),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        problem_type=problem,
        pad_token_id=words.pad_token_id,
        cls_token_id=words.cls_token_id,
        sep_token_id=words.sep_token_id,
        bos_token_id=words.cls_token_id,
        eos_token_id=words.sep_token_id,
        **{**_SIZES, **extras.get(family, {}), **config},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = hf.AutoModelForSequenceClassification.from_config(made)
    model.to(getattr(torch, stored)).save_pretrained(folder, max_shard_size=max_shard_size)
    return folder


def raising(folder: Path) -> Path:
    """Write a checkpoint that raises on one word, "unembeddable": its embedding table lacks that token."""
    from transformers import AutoTokenizer

    checkpoint(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["unembeddable"])
    tokenizer.save_pretrained(folder)
    return folder


def overflowing(folder: Path, **config: Any) -> tuple[Path, int]:
    """Write a checkpoint that float16 takes, but for one token; its folder and the token's id."""
    from transformers import AutoModelForSequenceClassification

    from seqcls_beam.model.tokens import made_up

    made = resolve(str(checkpoint(folder, **config)))
    tried = {token for ids, _, _ in made_up(made, 1, 400, 128) for token in ids.tolist()}
    token = next(each for each in range(40, 400) if each not in tried)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.get_input_embeddings().weight.data[token] *= 1e7  # float16 ends at 65,504
    model.save_pretrained(folder)
    return folder, token


def resolved(family: str = "bert", **how: Any) -> Checkpoint:
    """A checkpoint made by `checkpoint`, once per test process, in a folder that is gone at its end."""
    return _resolved(family, **how)


@functools.cache
def _resolved(family: str, **how: Any) -> Checkpoint:
    folder = tempfile.mkdtemp(prefix=f"tiny-{family}-")
    atexit.register(shutil.rmtree, folder)
    return resolve(str(checkpoint(Path(folder), family, **how)))


def only_bin(folder: Path) -> Path:
    """Rewrite a checkpoint's safetensors as pytorch_model.bin."""
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def records(texts: list[str], pairs: list[str] | None = None, rejected: Iterable[int] = ()) -> pa.RecordBatch:
    """Texts → a marked RECORD batch; of the rows in `rejected` the texts are gone."""
    out, rows = set(rejected), range(len(texts))
    reject = {"stage": "read", "reason": "empty_text", "detail": "the text is empty", "raw": b" "}
    keep = pa.schema([("id", pa.int64())])
    columns = {
        "source": pa.array(["memory://texts"] * len(texts)).dictionary_encode(),
        "position": list(rows),
        "text": [None if row in out else texts[row] for row in rows],
        "text_pair": [None if pairs is None or row in out else pairs[row] for row in rows],
        "keep": [{"id": row} for row in rows],
        "reject": [reject if row in out else None for row in rows],
    }
    schema = record(keep, pair=pairs is not None)
    return Mark(unit=3, units=7).on(
        pa.record_batch([pa.array(columns[name], schema.field(name).type) for name in schema.names], schema=schema)
    )
