"""How much memory a training on a CPU takes, whose rows are of ever other lengths."""

import json
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="what is resident is read from /proc"),
    pytest.mark.slow,
    pytest.mark.engine,
]

LOOP = """
import json, os, sys
import numpy, torch
from transformers import BertConfig, BertForSequenceClassification
from seqcls_beam.finetuning.batches import Batches, Rows
from seqcls_beam.finetuning.shards import Split

torch.set_num_threads(1)
torch.manual_seed(0)
chance = numpy.random.default_rng(0)
lengths = chance.lognormal(numpy.log(64), 0.7, 32 * 300).clip(6, 256).astype(numpy.int64)
offsets = numpy.concatenate([[0], numpy.cumsum(lengths)])
ids, labels = chance.integers(5, 500, offsets[-1]).astype(numpy.int32), chance.integers(0, 2, len(lengths))
split = Split(ids, offsets, None, labels)
sizes = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
model = BertForSequenceClassification(BertConfig(**sizes, vocab_size=500, attn_implementation="eager"))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
rows, widths, after = Rows(split, 0, None, sys.argv[1] == "few"), set(), []
for chosen in Batches(lengths, 32, seed=0):
    batch = rows.__getitems__(chosen)
    widths.add(batch["input_ids"].shape[1])
    model(**batch).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    with open("/proc/self/statm") as file:
        after.append(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
print(json.dumps({"widths": len(widths), "half": max(after[:150]), "end": max(after)}))
"""


@pytest.mark.timeout(1200)
def test_memory_grows_no_more_once_all_widths_were_met():
    found = {}
    for name in ("all", "few"):
        command = [sys.executable, "-c", LOOP, name]
        found[name] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(found)
    assert found["few"]["widths"] < 35 < 70 < found["all"]["widths"]
    assert found["few"]["end"] - found["few"]["half"] < 64 << 20
    assert found["few"]["end"] < found["all"]["end"]
