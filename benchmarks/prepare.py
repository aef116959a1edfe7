"""What does preparing cost, beside the tools that do a part of it?

    python -m benchmarks.prepare [--shared DATA] [--parts signatures near imdb million components]

signatures   µs a document of 40 words, one thread: ours against datasketch, the same windows and 120 functions
near         documents/s and core of finding near-duplicates, all steps through files: ours against datatrove with its
             own settings (5 words, 14 x 8) and with 1 word, on 20,000 documents half of which have a planted near copy;
             recall of the pairs of similarity >= 0.85, and precision of what is taken for a copy
imdb         the whole command on IMDb train and test, two workers, against Hugging Face `datasets` that tokenises
             (num_proc=2), splits by class and writes Parquet, and does nothing else
million      the same on 1,000,000 short rows, and ours on 100,000: growth and peak memory
components   connected components on one worker, by edges

The million are SST-2 training phrases, drawn with replacement; those of fewer than four words get another behind them,
and each word is replaced by one drawn from the whole set with probability 0.3 (seeded). Memory is the peak of the sum
of the resident sizes of a command's processes, read five times a second: what they share counts for each.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.hardware import save
from seqcls_beam.preparation import minhash

WORKERS = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
SENTIMENT = Path(__file__).parent.parent / "seqcls_beam" / "sentiment"
FLAGS = ["--max_length=128", "--split=stratified", "--test_fraction=0.2", "--validation_fraction=0", "--num_shards=2"]

PEER = """
import sys
import datasets
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
rows = datasets.load_dataset("parquet", data_files=sys.argv[3:], split="train", cache_dir=sys.argv[2] + "/cache")
rows = rows.class_encode_column("label")
rows = rows.map(
    lambda batch: tokenizer(batch["text"], truncation=True, max_length=128), batched=True, num_proc=2,
    remove_columns=["text"],
)
for name, split in rows.train_test_split(test_size=0.2, stratify_by_column="label", seed=0).items():
    split.to_parquet(f"{sys.argv[2]}/{name}.parquet")
"""


def vocabulary(shared: Path) -> list[str]:
    """The words of SST-2's training phrases, as often as they occur."""
    return [word for phrase, _ in phrases(shared) for word in phrase.split()]


def phrases(shared: Path) -> list[tuple[str, str]]:
    """SST-2's training phrases and labels."""
    lines = (shared / "sst2" / "train_full.tsv").read_text().split("\n")[1:]
    return [(text, label) for text, _, label in (line.rpartition("\t") for line in lines) if text]


def write_million(shared: Path, rows: int, path: Path) -> Path:
    """`rows` varied phrases as Parquet."""
    chance = random.Random(0)
    known, words = phrases(shared), vocabulary(shared)
    texts, labels = [], []
    for _ in range(rows):
        text, label = chance.choice(known)
        parts = text.split()
        if len(parts) < 4:
            parts += chance.choice(known)[0].split()
        texts.append(" ".join(chance.choice(words) if chance.random() < 0.3 else word for word in parts))
        labels.append(("negative", "positive")[int(label)])
    pq.write_table(pa.table({"text": texts, "label": labels}), path, row_group_size=50_000)
    return path


def measured(command: list[str]) -> tuple[float, float]:
    """(seconds, peak MB) of a command and its children; raises where it fails."""
    import psutil

    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        peak, done = [0.0], threading.Event()

        def watch() -> None:
            root = psutil.Process(process.pid)
            while not done.wait(0.2):
                total = 0
                for each in [root, *children(root)]:
                    try:
                        total += each.memory_info().rss
                    except psutil.Error:
                        continue
                peak[0] = max(peak[0], total / 1e6)

        def children(root: Any) -> list[Any]:
            try:
                return list(root.children(recursive=True))
            except psutil.Error:
                return []

        thread = threading.Thread(target=watch)
        thread.start()
        code = process.wait()
        seconds = time.perf_counter() - began
        done.set()
        thread.join()
        log.seek(0)
        if code:
            raise RuntimeError(log.read()[-3000:])
    return seconds, peak[0]


def ours(inputs: list[str], out: Path, *flags: str) -> tuple[float, float]:
    """The command, measured."""
    shutil.rmtree(out, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "pipelines.prepare",
        "--input",
        *inputs,
        f"--output={out}",
        *FLAGS,
        *WORKERS,
        *flags,
    ]
    return measured(command)


def datasets(inputs: list[str], out: Path) -> tuple[float, float]:
    """The peer, measured."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    return measured([sys.executable, "-c", PEER, str(SENTIMENT), str(out), *inputs])


def side_by_side(inputs: list[str], folder: Path, repeats: int, *flags: str) -> dict[str, Any]:
    """Both in turns: medians of seconds and of MB, and the ratio."""
    runs: dict[str, list[tuple[float, float]]] = {"seqcls_beam": [], "datasets": []}
    for _ in range(repeats):
        runs["seqcls_beam"].append(ours(inputs, folder / "ours", *flags))
        runs["datasets"].append(datasets(inputs, folder / "theirs"))
    found: dict[str, Any] = {}
    for name, each in runs.items():
        seconds, peak = (statistics.median(values) for values in zip(*each, strict=True))
        found[name] = {"seconds": round(seconds, 2), "peak_mb": round(peak)}
        print(f"  {name}: {seconds:.1f} s, {peak:,.0f} MB")
    found["ratio"] = round(found["seqcls_beam"]["seconds"] / found["datasets"]["seconds"], 3)
    print(f"  ratio {found['ratio']:.2f}")
    return found


def documents(words: list[str], count: int, chance: random.Random) -> list[str]:
    """Texts of 40 words."""
    return [" ".join(chance.choices(words, k=40)) for _ in range(count)]


def signatures(shared: Path) -> dict[str, Any]:
    """µs a document."""
    from datasketch import MinHash

    texts = documents(vocabulary(shared), 20_000, random.Random(0))
    keys, found = pa.array(texts), {}
    best = min(_timed(lambda: minhash.signatures(*minhash.shingles(keys))) for _ in range(5))
    found["seqcls_beam"] = best / len(texts) * 1e6

    def theirs() -> None:
        for text in texts[:2_000]:
            raw = text.encode()
            MinHash(num_perm=120).update_batch([raw[i : i + 5] for i in range(len(raw) - 4)])

    found["datasketch"] = min(_timed(theirs) for _ in range(3)) / 2_000 * 1e6
    found["ratio"] = found["datasketch"] / found["seqcls_beam"]
    print(f"signatures: {found['seqcls_beam']:.1f} µs a document, datasketch {found['datasketch']:.1f} µs")
    return {name: round(value, 2) for name, value in found.items()} | {
        "bytes_a_document": len("".join(texts)) // 20_000
    }


def _timed(do: Any) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def near(shared: Path, folder: Path) -> dict[str, Any]:
    """Documents/s, recall and precision."""
    chance = random.Random(1)
    words = vocabulary(shared)
    texts = []
    for text in documents(words, 10_000, chance):
        parts = text.split()
        for _ in range(chance.randint(1, 4)):
            parts[chance.randrange(40)] = chance.choice(words)
        texts += [text, " ".join(parts)]
    similarity = [_jaccard(texts[i], texts[i + 1]) for i in range(0, len(texts), 2)]
    found: dict[str, Any] = {"documents": len(texts)}
    runs = {
        "seqcls_beam": lambda: near_ours(texts, folder / "ours"),
        "datatrove, 5 words": lambda: near_datatrove(texts, folder / "five", 5),
        "datatrove, 1 word": lambda: near_datatrove(texts, folder / "one", 1),
    }
    for name, do in runs.items():
        seconds, kept = do()
        pairs = list(zip(range(0, len(texts), 2), similarity, strict=True))
        planted = [i for i, each in pairs if each >= 0.85]
        gone = [i for i in range(len(texts)) if i not in kept]
        found[name] = {
            "documents_a_second": round(len(texts) / seconds),
            "recall": round(sum(i not in kept or i + 1 not in kept for i in planted) / len(planted), 4),
            "precision": round(sum(similarity[i // 2] >= 0.8 for i in gone) / max(len(gone), 1), 4),
            "removed": len(gone),
        }
        print(f"near: {name}: {found[name]}")
    found["ratio"] = round(
        found["seqcls_beam"]["documents_a_second"] / found["datatrove, 5 words"]["documents_a_second"], 2
    )
    return found


def _jaccard(one: str, other: str) -> float:
    sets = [{text.encode()[i : i + 5] for i in range(len(text.encode()) - 4)} for text in (one, other)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def near_ours(texts: list[str], folder: Path) -> tuple[float, set[int]]:
    """All stages between reading and writing, in this process: (seconds, documents that stay)."""
    from pipelines import prepare
    from pipelines.options import parse, parser
    from seqcls_beam.preparation import tasks
    from seqcls_beam.preparation.plan import plan

    folder.mkdir()
    rows = {"id": [str(i) for i in range(len(texts))], "text": texts, "label": ["a"] * len(texts)}
    pq.write_table(pa.table(rows), folder / "in.parquet")
    flags = [f"--input={folder}/in.parquet", f"--output={folder}/out", "--near_duplicates=drop", "--id_column=id"]
    flags += ["--validation_fraction=0", "--test_fraction=0", "--max_length=8"]
    given, _ = parse(parser("p", "", "", prepare.GROUPS), flags, prepare.GROUPS)
    job, units, _ = plan(prepare.configured(given), threads=1)
    tasks.begin(job, units, {"started": time.time(), "versions": {"seqcls_beam": ""}})
    for unit in tasks.pending_units(job):
        tasks.read_unit_of(job, unit)
    began = time.perf_counter()
    for stage in ("exact", "pairs", "keys", "compare", "assign"):
        for task in tasks.pending_tasks(job, stage):
            tasks.do(job, stage, task)
    seconds = time.perf_counter() - began
    for task in tasks.pending_tasks(job, "shards"):
        tasks.do(job, "shards", task)
    tasks.finish(job)
    kept = pa.concat_tables([pq.read_table(path, columns=["id"]) for path in sorted((folder / "out/data").iterdir())])
    return seconds, {int(each) for each in kept["id"].to_pylist()}


def near_datatrove(texts: list[str], folder: Path, words: int) -> tuple[float, set[int]]:
    """Signature, buckets, cluster and filter, one task each, in this process: (seconds, documents that stay)."""
    from datatrove.data import Document
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from loguru import logger

    logger.remove()
    config = MinhashConfig(n_grams=words)
    rows = [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
    at = {name: str(folder / name) for name in ("signatures", "buckets", "removed")}
    began = time.perf_counter()
    MinhashDedupSignature(output_folder=at["signatures"], config=config).run(iter(rows), 0, 1)
    for bucket in range(config.num_buckets):
        MinhashDedupBuckets(at["signatures"], at["buckets"], config=config).run(None, bucket, config.num_buckets)
    MinhashDedupCluster(at["buckets"], at["removed"], config=config).run(None, 0, 1)
    kept = {int(each.id) for each in MinhashDedupFilter(at["removed"]).run(iter(rows), 0, 1)}
    return time.perf_counter() - began, kept


def connected() -> dict[str, Any]:
    """Seconds and MB of connected components on one worker."""
    found = {}
    for edges in (1_000_000, 10_000_000, 50_000_000):
        code = (
            "import re, sys, time, numpy as np\n"  # not ru_maxrss, which begins with that of the parent
            "from seqcls_beam.preparation.components import components\n"
            "n = int(sys.argv[1]); r = np.random.default_rng(0)\n"
            "a, b = r.integers(0, 2 * n, (2, n)); t = time.perf_counter(); components(2 * n, a, b)\n"
            "print(time.perf_counter() - t, re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
        )
        done = subprocess.run([sys.executable, "-c", code, str(edges)], capture_output=True, text=True, check=True)
        seconds, peak = map(float, done.stdout.split())
        found[str(edges)] = {"seconds": round(seconds, 2), "peak_mb": round(peak / 1024)}
        print(f"components: {edges:,} edges {seconds:.1f} s, {peak / 1024:,.0f} MB")
    return found


def main() -> None:
    """Measure, print, save."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--shared", type=Path, default=os.environ.get("SEQCLS_BEAM_SHARED"), help="datasets")
    every = ["signatures", "near", "imdb", "million", "components"]
    arguments.add_argument("--parts", nargs="+", choices=every, default=every)
    arguments.add_argument("--repeats", type=int, default=2)
    arguments.add_argument("--out", default="prepare", help="name in benchmarks/results")
    given = arguments.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if "signatures" in given.parts:
            result["signatures"] = signatures(given.shared)
        if "near" in given.parts:
            (folder / "near").mkdir()
            result["near"] = near(given.shared, folder / "near")
        if "imdb" in given.parts:
            print("IMDb, 50,000 reviews")
            inputs = [str(given.shared / "imdb" / f"{split}.parquet") for split in ("train", "test")]
            result["imdb"] = side_by_side(inputs, folder, given.repeats)
        if "million" in given.parts:
            print("1,000,000 short rows")
            rows = str(write_million(given.shared, 1_000_000, folder / "million.parquet"))
            result["million"] = side_by_side([rows], folder, given.repeats)
            fewer = str(write_million(given.shared, 100_000, folder / "fewer.parquet"))
            seconds, peak = (
                statistics.median(each)
                for each in zip(*(ours([fewer], folder / "ours") for _ in range(3)), strict=True)
            )
            result["hundred_thousand"] = {"seconds": round(seconds, 2), "peak_mb": round(peak)}
            print(f"  100,000 rows: {seconds:.1f} s, {peak:,.0f} MB")
        if "components" in given.parts:
            result["components"] = connected()
    save(given.out, result)


if __name__ == "__main__":
    main()
