"""How fast is the engine beside its peers, how far are its answers from plain transformers, how near to the hardware?

    python -m benchmarks.checkpoints --to CHECKPOINTS [--shared DATA]
    python -m benchmarks.engine --checkpoints CHECKPOINTS --out RESULT [--shared DATA] [--device cuda]
    python -m benchmarks.engine --table benchmarks/results/engine-cpu-epyc.json

Every peer gets the same distinct texts in the same random order and is timed from texts to answers, tokenising
included, loading excluded. Each is a process of its own with all threads. In a cell (a model and a corpus) all are
loaded, each tries its settings on the first quarter of the texts and keeps the fastest; then they take turns, one at a
time, for some rounds. Answers are compared with float32 transformers on unpadded texts. A peer that is not installed,
or fails, is left out, with the reason in the result.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.hardware import environment
from benchmarks.peers import PEERS, peer
from benchmarks.peers.base import Array, Job
from benchmarks.peers.corpora import NAMES, measured_out
from benchmarks.peers.work import flops
from benchmarks.peers.worker import ROOT, PeerError, Worker

MODELS = ("minilm", "bert-base", "distilbert")
DTYPES = ("float32", "bfloat16", "float16", "int8", "default")
FEW = 32  # texts that each process begins with: the first pass is slower than any other
PIPELINE, OURS = "transformers pipeline float32", "seqcls_beam"
ON_REQUEST = ("ours-compiled",)  # minutes of compilation: only where --peers names it


class Cell:
    """One model on one corpus."""

    def __init__(self, given: argparse.Namespace, model: str, corpus: str, scratch: Path) -> None:
        from transformers import AutoTokenizer

        folder = given.checkpoints / model
        self.given, self.scratch = given, scratch
        self.config = json.loads((folder / "config.json").read_text())
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.texts, self.lengths = measured_out(
            corpus, given.shared, tokenizer, self.config, given.device, given.seconds
        )
        labels = [self.config["id2label"][str(i)] for i in range(len(self.config["id2label"]))]
        self.job = Job(str(folder), given.device, "float32", given.threads, self.texts, labels, str(scratch))
        self.result: dict[str, Any] = {
            "model": model,
            "corpus": corpus,
            "texts": len(self.texts),
            "tokens": int(self.lengths.sum()),
            "flops": float(flops(self.config, self.lengths).sum()),
            "peers": {},
            "skipped": {},
        }
        say(f"{model} on {corpus}: {len(self.texts):,} texts, {self.lengths.mean():.1f} tokens each")

    def measure(self) -> dict[str, Any]:
        """Reference, sweeps, rounds."""
        worker, _ = self._start("reference", "float32")
        wanted = answers(worker.ask("run", count=len(self.texts), setting={}))
        worker.close()
        workers: dict[str, Worker] = {}
        rows = self.result["peers"]
        for name in self.given.peers:
            for dtype in peer(name).dtypes[self.given.device]:
                if dtype not in self.given.dtypes:
                    continue
                row = f"{peer(name).title} {dtype}"
                try:
                    rows[row] = self._sweep(name, dtype) | {"gives": peer(name).gives}
                    say(f"  {row}: {rows[row]['setting']}")
                    # A new process, in which no other setting has left its memory.
                    workers[row], _ = self._start(name, dtype)
                    workers[row].ask("run", count=FEW, setting=rows[row]["setting"])
                except PeerError as error:
                    self._skip(row, workers, error)
        for number in range(self.given.rounds):
            for row, worker in list(workers.items()):
                try:
                    run = worker.ask("run", count=len(self.texts), setting=rows[row]["setting"])
                except PeerError as error:
                    self._skip(row, workers, error)
                    continue
                rows[row]["seconds"].append(run["seconds"])
                rows[row]["engine_seconds"].append(run["engine_seconds"])
                rows[row]["peak_mb"] = run["mb"]
                if number == 0:
                    rows[row] |= compared(answers(run), wanted, rows[row]["gives"])
            say(f"  round {number + 1}: " + ", ".join(f"{row} {rows[row]['seconds'][-1]:.2f} s" for row in workers))
        for worker in workers.values():
            worker.close()
        return self._rated()

    def _start(self, name: str, dtype: str) -> tuple[Worker, dict[str, Any]]:
        python = sys.executable
        if name == "infinity":
            if self.given.infinity_python is None:
                raise PeerError("no --infinity-python")
            python = self.given.infinity_python
        worker = Worker(name, python, self.given.threads, self.scratch / f"{name}-{dtype}.log")
        try:
            return worker, worker.ask("load", **{**asdict(self.job), "dtype": dtype})
        except PeerError:
            worker.close()
            raise

    def _sweep(self, name: str, dtype: str) -> dict[str, Any]:
        worker, loaded = self._start(name, dtype)
        try:
            settings, count = loaded["settings"], min(len(self.texts), max(FEW, len(self.texts) // 4))
            worker.ask("run", count=FEW, setting=settings[-1])
            sweep = [(each, worker.ask("run", count=count, setting=each)["seconds"]) for each in settings]
        finally:
            worker.close()
        return {
            "setting": min(sweep, key=lambda each: each[1])[0],
            "sweep": [{**each, "texts_per_second": count / seconds} for each, seconds in sweep],
            "seconds": [],
            "engine_seconds": [],
            "versions": loaded["versions"],
            "facts": loaded["facts"] | ({"model": self.result["model"]} if loaded["facts"] else {}),
        }

    def _skip(self, row: str, workers: dict[str, Worker], error: PeerError) -> None:
        say(f"  {row}: skipped, {error}")
        self.result["skipped"][row] = str(error).replace(self.job.checkpoint, self.result["model"])
        self.result["peers"].pop(row, None)
        if row in workers:
            workers.pop(row).close()

    def _rated(self) -> dict[str, Any]:
        """Seconds → texts/s, tokens/s, ratios."""
        rows = self.result["peers"]
        for row in rows.values():
            row["texts_per_second"] = len(self.texts) / min(row["seconds"])
            row["median_texts_per_second"] = len(self.texts) / statistics.median(row["seconds"])
            row["tokens_per_second"] = self.result["tokens"] / min(row["seconds"])
            if engine := min(row.pop("engine_seconds")):
                row["engine_tokens_per_second"] = self.result["tokens"] / engine
                row["engine_flops_per_second"] = self.result["flops"] / engine
        exact = [row["texts_per_second"] for name, row in rows.items() if name.endswith("float32") and OURS not in name]
        for row in rows.values():
            if PIPELINE in rows:
                row["times_pipeline"] = row["texts_per_second"] / rows[PIPELINE]["texts_per_second"]
            if exact:
                row["times_fastest_exact_peer"] = row["texts_per_second"] / max(exact)
        return self.result


def answers(run: dict[str, Any]) -> Array:
    """float32 [texts, labels]."""
    return np.frombuffer(run["answers"], np.float32).reshape(run["texts"], -1)


def compared(found: Array, wanted: Array, gives: str) -> dict[str, float | None]:
    """How far answers are from the reference's logits; labels are compared, probabilities, and logits as they are."""
    expected = probabilities(wanted)
    got = found.astype(np.float64) if gives == "probabilities" else probabilities(found)
    return {
        "label_agreement": float((got.argmax(1) == expected.argmax(1)).mean()),
        "max_probability_difference": float(np.abs(got - expected).max()),
        "max_logit_difference": float(np.abs(found - wanted).max()) if gives == "logits" else None,
    }


def probabilities(logits: Array) -> npt.NDArray[np.float64]:
    """Softmax in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    result: npt.NDArray[np.float64] = powers / powers.sum(1, keepdims=True)
    return result


def peak(checkpoint: Path, device: str) -> dict[str, dict[str, float]]:
    """FLOP/s of matrix products by kernel and shape."""
    command = [sys.executable, "-m", "benchmarks.peers.matmul", str(checkpoint), device]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found: dict[str, dict[str, float]] = json.loads(done.stdout)
    return found


def table(result: dict[str, Any]) -> str:
    """A cell's markdown, the fastest first, for each cell."""
    lines = []
    for cell in result["cells"]:
        lines += [
            f"**{cell['model']} on {cell['corpus']}**: {cell['texts']:,} texts of "
            f"{cell['tokens'] / cell['texts']:.1f} tokens",
            "",
            "| | texts/s | tokens/s | × pipeline | × fastest exact peer | labels agree | max Δp | MB |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for name, row in sorted(cell["peers"].items(), key=lambda each: -each[1]["texts_per_second"]):
            ratios = [f"{row[key]:.2f}" if key in row else "" for key in ("times_pipeline", "times_fastest_exact_peer")]
            lines.append(
                f"| {f'**{name}**' if OURS in name else name} | {row['texts_per_second']:,.0f} "
                f"| {row['tokens_per_second']:,.0f} | {ratios[0]} | {ratios[1]} | {row['label_agreement']:.2%} "
                f"| {row['max_probability_difference']:.1e} | {row['peak_mb']:,.0f} |"
            )
        lines.append("")
        for name, row in cell["peers"].items():
            if "share_of_peak" in row:
                lines.append(
                    f"{name}, engine alone: {row['engine_tokens_per_second']:,.0f} tokens/s, "
                    f"{row['share_of_peak']:.2f} of the matmul peak of {cell['peak'] / 1e9:,.0f} GFLOP/s."
                )
        lines += [f"{name}: left out, {why}." for name, why in cell["skipped"].items()]
        lines.append("")
    return "\n".join(lines)


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measure and save after each cell, or print the table of a result."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--checkpoints", type=Path, help="folder that benchmarks.checkpoints made")
    arguments.add_argument("--shared", type=Path, default=os.environ.get("SEQCLS_BEAM_SHARED"), help="datasets")
    arguments.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    arguments.add_argument("--corpora", nargs="+", choices=NAMES, default=NAMES)
    usual = [name for name in PEERS if name not in ON_REQUEST]
    arguments.add_argument("--peers", nargs="+", choices=PEERS, default=usual, help="default: all but ours-compiled")
    arguments.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES, help="as far as a peer has them")
    arguments.add_argument("--seconds", type=float, default=8.0, help="one pass of the slowest sensible peer, roughly")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--infinity-python", help="a Python with infinity-emb[torch], which needs transformers 4")
    arguments.add_argument("--out", type=Path, help="a file a processor: benchmarks/results/engine-cpu-epyc.json")
    arguments.add_argument("--table", type=Path, metavar="RESULT", help="print a result as markdown, measure nothing")
    given = arguments.parse_args()
    if given.table:
        print(table(json.loads(given.table.read_text())))
        return
    if given.checkpoints is None or given.out is None:
        arguments.error("--checkpoints names the folder that benchmarks.checkpoints made, and --out the result")
    given.checkpoints = given.checkpoints.absolute()
    given.threads = len(os.sched_getaffinity(0))
    result: dict[str, Any] = {**environment(), "device": given.device, "threads": given.threads, "peaks": {}}
    result |= {"seconds": given.seconds, "rounds": given.rounds, "cells": []}
    for model in given.models:
        result["peaks"][model] = peak(given.checkpoints / model, given.device)
        fastest = max(each for shapes in result["peaks"][model].values() for each in shapes.values())
        say(f"{model}: the fastest product of matrices does {fastest / 1e9:,.0f} GFLOP/s")
        for corpus in given.corpora:
            with tempfile.TemporaryDirectory() as scratch:
                try:
                    cell = Cell(given, model, corpus, Path(scratch)).measure()
                except FileNotFoundError as error:
                    say(f"{model} on {corpus}: skipped, {error}")
                    continue
            cell["peak"] = fastest
            for name, row in cell["peers"].items():
                if name.startswith(OURS) and not name.endswith("int8"):
                    row["share_of_peak"] = row["engine_flops_per_second"] / fastest
            result["cells"].append(cell)
            given.out.parent.mkdir(parents=True, exist_ok=True)
            given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
