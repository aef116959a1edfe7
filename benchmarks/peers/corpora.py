"""Texts to classify: distinct, in one random order, as many as a cell of the benchmark has time for."""

import math
import random
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.peers.base import token_ids
from benchmarks.peers.work import flops
from benchmarks.sentences import read_reviews

NAMES = ("lognormal", "sst2", "imdb")
# Tokens of `lognormal`, special ones included. Cut at whole words and at the longest, their mean is 39.
MEAN, SIGMA, LONGEST = 40.5, 0.8, 256
SEED = 7
# What the slowest sensible peer does, roughly: FLOP/s, and texts/s where the model costs nothing.
_SLOW = {"cpu": (2e11, 2000.0), "cuda": (1e13, 2500.0)}


def measured_out(
    name: str, shared: Path | None, tokenizer: Any, config: Mapping[str, Any], device: str, seconds: float
) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Texts that keep the slowest sensible peer busy for about `seconds`, and their lengths in tokens.

    No two have the same tokens. How many there are depends on the model's shape, the corpus and the kind of device.
    """
    speed, rate = _SLOW[device]
    texts: list[str] = []
    lengths: list[int] = []
    seen: set[tuple[int, ...]] = set()
    left = seconds
    source = _source(name, shared, tokenizer)
    while left > 0 and (some := list(islice(source, 256))):
        for text, ids in zip(some, token_ids(tokenizer, some), strict=True):
            if left > 0 and tuple(ids) not in seen:
                seen.add(tuple(ids))
                texts.append(text)
                lengths.append(len(ids))
                left -= 1 / rate + float(flops(config, np.array([len(ids)]))[0]) / speed
    return texts, np.array(lengths)


def _source(name: str, shared: Path | None, tokenizer: Any) -> Iterator[str]:
    """Texts in a seeded random order; without the datasets, pieces of the bundled sample's words."""
    chance = random.Random(SEED)
    if shared is None:
        if name != "lognormal":
            raise FileNotFoundError(f"{name} needs the datasets: --shared names their folder")
        words = (files("seqcls_beam") / "sample" / "reviews.jsonl").read_bytes().decode(errors="ignore").split()
        words = sorted({word for word in words if word.isalpha()})
        return _pieces((" ".join(chance.choices(words, k=300)) for _ in iter(int, 1)), tokenizer, chance)
    if name == "sst2":
        files_of = (shared / "sst2" / f"{part}.tsv" for part in ("dev", "train_full"))
        lines = [line for path in files_of for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n")[1:]]
        chance.shuffle(lines)
        return (line.rpartition("\t")[0].strip() for line in lines)
    parts = ("test",) if name == "imdb" else ("test", "train")
    reviews = (text for part in parts for text in _reviews(shared / "imdb" / f"{part}.parquet", chance))
    return reviews if name == "imdb" else _pieces(reviews, tokenizer, chance)


def _reviews(path: Path, chance: random.Random) -> list[str]:
    texts = [text for text, _ in read_reviews(path)]
    chance.shuffle(texts)  # the file has them in the order of their classes
    return texts


def _pieces(reviews: Iterable[str], tokenizer: Any, chance: random.Random) -> Iterator[str]:
    """A stretch of whole words from each review that is long enough, of lognormal length."""
    length = _length(chance)
    for review in reviews:
        encoding = tokenizer(review, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        words, spans = encoding.word_ids(), encoding["offset_mapping"]
        starts = [i for i in range(len(words) - length + 1) if i == 0 or words[i] != words[i - 1]]
        if not starts:
            continue
        start = chance.choice(starts)
        end = start + length
        while end < len(words) and words[end] == words[end - 1] and end - start > 1:
            end -= 1
        yield review[spans[start][0] : spans[end - 1][1]]
        length = _length(chance)


def _length(chance: random.Random) -> int:
    """Tokens beside the two special ones."""
    return max(1, min(LONGEST, round(chance.lognormvariate(math.log(MEAN) - SIGMA**2 / 2, SIGMA))) - 2)
