"""How much memory a training on a CPU takes, whose batches are of ever other widths."""

import json
import subprocess
import sys

import pytest

from seqcls_beam.finetuning.memory import APART, FIRST, GiveBack, resident

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is resident is read from /proc")

LOOP = """
import json, resource, sys
import numpy, torch
from transformers import BertConfig, BertForSequenceClassification
from seqcls_beam.finetuning.memory import GiveBack, resident

steps, hidden, widest, bounded = *map(int, sys.argv[1:4]), sys.argv[4] == "bounded"
torch.set_num_threads(1)
torch.manual_seed(0)
sizes = {"hidden_size": hidden, "intermediate_size": 4 * hidden, "num_hidden_layers": 2, "num_attention_heads": 4}
model = BertForSequenceClassification(BertConfig(**sizes, vocab_size=500, attn_implementation="eager"))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
chance = numpy.random.default_rng(0)
give_back, after, loss = GiveBack(), [], None
for step in range(steps):
    width = widest if step == 0 else int(numpy.clip(chance.lognormal(numpy.log(widest / 4), 0.7), 6, widest))
    ids = torch.from_numpy(chance.integers(5, 500, (32, width)))
    loss = model(input_ids=ids, labels=ids[:, 0] % 2).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    after.append(resident())
    if bounded:
        give_back.on_step_end(None, None, None)
print(json.dumps({"first": max(after[:5]), "last": sum(after[-20:]) // 20, "loss": loss.item().hex()}))
"""


def grown(steps: int, hidden: int, widest: int) -> dict[str, int]:
    """Bytes by which the last steps keep more than the first, unbounded and bounded; their losses are alike."""
    made = {}
    for name in ("free", "bounded"):
        command = [sys.executable, "-c", LOOP, str(steps), str(hidden), str(widest), name]
        made[name] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert made["free"]["loss"] == made["bounded"]["loss"]
    return {name: each["last"] - each["first"] for name, each in made.items()}


@pytest.mark.slow
@pytest.mark.engine
def test_memory_of_many_widths_is_what_the_widest_needs_and_little_more():
    found = grown(120, 128, 256)
    assert found["bounded"] < 128 << 20 < found["free"]


def in_pieces(size: int) -> list[bytes]:
    """Take memory in blocks with a small one after each, and free all but the small ones, which are returned."""
    blocks, small = [], []
    for _ in range(size >> 16):
        blocks.append(bytes(60_000))
        small.append(bytes(5_000))
    return small


def test_what_steps_do_not_need_is_given_back_and_what_they_need_is_kept():
    give_back = GiveBack()
    held = []
    for _ in range(FIRST):
        held.append(in_pieces(100 << 20))
        give_back.on_step_end(None, None, None)
    for taken, kept in ((40 << 20, True), (500 << 20, False)):
        for _ in range(APART):
            give_back.on_step_end(None, None, None)
        before = resident()
        held.append(in_pieces(taken))
        there = resident() - before
        assert there > taken / 2  # freed, and not given back
        give_back.on_step_end(None, None, None)
        assert (resident() - before > there / 2) == kept
