"""What a fine-tuned encoder is compared with: a TextCNN and a BiLSTM, trained from scratch on the same shards.

They read the same word pieces, in the same batches, and are chosen by the same validation rows. Kim 2014 (widths 3, 4
and 5, 100 filters each, maximum over time, dropout 0.5) and one bidirectional LSTM layer of 2 x 150 with a maximum over
time; embeddings of 300 numbers begin at random, since no pretrained ones are at hand.
"""

import copy
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from seqcls_beam.evaluation.headline import headline
from seqcls_beam.finetuning.batches import Batches, Rows
from seqcls_beam.finetuning.shards import load_split
from seqcls_beam.model.engine.devices import cores
from seqcls_beam.preparation.prepared import open_prepared

WIDTH = 300
EPOCHS = 5


class TextCNN(nn.Module):
    """Convolutions over word pieces and their maxima."""

    def __init__(self, vocabulary: int, labels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, WIDTH, padding_idx=0)
        self.convolutions = nn.ModuleList(nn.Conv1d(WIDTH, 100, size, padding=size - 1) for size in (3, 4, 5))
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(300, labels))

    def forward(self, ids: Tensor, _: Tensor) -> Tensor:
        """int64 [B, L] → [B, labels]."""
        x = self.embedding(ids).transpose(1, 2)
        found: Tensor = self.head(torch.cat([functional.relu(each(x)).amax(-1) for each in self.convolutions], -1))
        return found


class BiLSTM(nn.Module):
    """Both directions of an LSTM, and the maximum over its states."""

    def __init__(self, vocabulary: int, labels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, WIDTH, padding_idx=0)
        self.lstm = nn.LSTM(WIDTH, 150, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(300, labels))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """int64 [B, L] each → [B, labels]."""
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(ids), mask.sum(1), batch_first=True, enforce_sorted=False
        )
        states, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True, padding_value=-1e9)
        found: Tensor = self.head(states.amax(1))
        return found


MODELS: dict[str, Any] = {"TextCNN": TextCNN, "BiLSTM": BiLSTM}


def train(name: str, folder: str, threads: int, seed: int = 0) -> dict[str, Any]:
    """Train on prepared data; the scores of the best epoch on validation rows, and on test rows if there are any."""
    began = time.monotonic()
    torch.set_num_threads(threads or cores())
    torch.manual_seed(seed)
    prepared = open_prepared(folder)
    splits = {each: load_split(prepared, each) for each in ("train", "validation", "test") if prepared.has(each)}
    size = int(max(split.ids.max() for split in splits.values())) + 1
    model = MODELS[name](size, len(prepared.labels))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    batches, rows = Batches(splits["train"].lengths, 64, seed), Rows(splits["train"], 0)
    best: dict[str, Any] = {}
    for epoch in range(EPOCHS):
        model.train()
        batches.set_epoch(epoch)
        for chosen in batches:
            batch = rows.__getitems__(chosen)
            loss = functional.cross_entropy(model(batch["input_ids"], batch["attention_mask"]), batch["labels"])
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        scores = _scores(model, splits["validation"], prepared)
        if not best or scores["accuracy"] > best["scores"]["validation"]["accuracy"]:
            best = {"epoch": epoch + 1, "scores": {"validation": scores}}
            weights = copy.deepcopy(model.state_dict())
    seconds = round(time.monotonic() - began)
    if "test" in splits:
        model.load_state_dict(weights)
        best["scores"]["test"] = _scores(model, splits["test"], prepared)
    return {**best, "seed": seed, "seconds": seconds}


@torch.no_grad()
def _scores(model: nn.Module, split: Any, prepared: Any) -> dict[str, float]:
    model.eval()
    order = np.argsort(-split.lengths, kind="stable")
    rows = Rows(split, 0, order)
    found = []
    for start in range(0, len(rows), 256):
        batch = rows.__getitems__(range(start, min(start + 256, len(rows))))
        found.append(model(batch["input_ids"], batch["attention_mask"]).softmax(-1))
    return headline(prepared.problem, prepared.labels, split.labels[order], torch.cat(found).numpy())
