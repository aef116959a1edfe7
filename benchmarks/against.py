"""Does a change keep every answer, and what does it cost? A labelling by a commit and by this tree, in turn.

    python -m benchmarks.against HEAD [--texts 2000] [--rounds 5] [-- --dtype=int8 --threads=1 ...]

Both label the same seeded texts with this Python, each run a process of its own; what follows `--` are options of
`pipelines.classify` for both. The tree is taken as it stands, with what is not committed, so HEAD is the commit before
a change that is being made. Prints the answers compared, and seconds of this tree by those of the commit, for each
stage of a worker and for the whole run without its start: the median of the rounds, with the least and the greatest.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.hardware import environment
from benchmarks.words import draw_texts

ROOT = Path(__file__).parent.parent
STAGES = ("read", "tokenize", "classify", "write", "wall")


def write_corpus(path: Path, texts: int) -> None:
    """Texts of 1 to 400 words, half of them shorter than 25, with their numbers as ids."""
    chance = np.random.default_rng(0)
    lengths = np.clip(chance.lognormal(np.log(25), 0.9, texts), 1, 400).astype(np.int64)
    pq.write_table(pa.table({"id": np.arange(texts), "text": draw_texts(chance, lengths)}), path)


def extract(revision: str, folder: Path) -> None:
    """The files of a commit; the repository is left as it is."""
    done = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True)
    if done.returncode:
        sys.exit(f"{revision} is no commit here: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
        files.extractall(folder, filter="data")


def label(tree: Path, source: Path, output: Path, options: Sequence[str]) -> tuple[pa.Table, dict[str, float]]:
    """Label by the code of a tree; the labelled rows, and the seconds that the manifest tells."""
    flags = [f"--input={source}", f"--output={output}", "--id_column=id", "--keep_columns=id", *options]
    command = [sys.executable, "-m", "pipelines.classify", *flags]
    # Before the tree that is installed, in this process and in those that it starts.
    environ = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, cwd=tree, env=environ, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} in {tree} ended with {done.returncode}:\n{done.stderr}")
    manifest = json.loads(max((output / "_versions").glob("*.json")).read_text())
    return pq.read_table(output / "labels"), manifest["seconds"]


def compared(before: pa.Table, after: pa.Table) -> dict[str, Any]:
    """How far answers are from each other; raises `ValueError` where they are not of the same rows and labels."""
    if before["id"].combine_chunks() != after["id"].combine_chunks():
        raise ValueError(f"other rows, or in another order: {before.num_rows:,} before and {after.num_rows:,} now")
    one, other = _scores(before), _scores(after)
    if one.shape != other.shape:
        raise ValueError(f"other labels: {one.size:,} scores before and {other.size:,} now")
    name = "label" if "label" in before.column_names else "labels"
    same = [a == b for a, b in zip(before[name].to_pylist(), after[name].to_pylist(), strict=True)]
    return {
        "rows": len(same),
        "label_agreement": sum(same) / len(same),
        "max_probability_difference": float(np.abs(one.astype(np.float64) - other).max()),
        "same_bits": one.tobytes() == other.tobytes(),
    }


def ratios(before: Sequence[dict[str, float]], after: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Seconds now by seconds before, round by round: (median, least, greatest) of each stage that took any."""
    found = {}
    for stage in STAGES:
        rounds = [now[stage] / then[stage] for then, now in zip(before, after, strict=True) if then[stage] > 0]
        if rounds:
            found[stage] = {"median": statistics.median(rounds), "least": min(rounds), "greatest": max(rounds)}
    return found


def _scores(table: pa.Table) -> npt.NDArray[np.float32]:
    """All scores, one row behind the other."""
    return np.asarray(table["scores"].combine_chunks().flatten(), np.float32)


def main() -> None:
    """Measure and print; save where it was asked for."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("revision", help="the commit to compare with, as git names it")
    arguments.add_argument("--texts", type=int, default=2000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--out", type=Path, help="a JSON file for the result")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    given, options = arguments.parse_args(words[:end]), words[end + 1 :]
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        extract(given.revision, scratch / "before")
        write_corpus(scratch / "corpus.parquet", given.texts)
        trees = {"before": scratch / "before", "now": ROOT}
        seconds: dict[str, list[dict[str, float]]] = {"before": [], "now": []}
        tables = {}
        for number in range(given.rounds + 1):
            for which in sorted(trees, reverse=number % 2 == 1):  # neither is always the second on a warm machine
                output = scratch / f"{which}-{number}"
                tables[which], told = label(trees[which], scratch / "corpus.parquet", output, options)
                if number:  # the first start of a tree compiles its modules, and is not counted
                    seconds[which].append(told)
                    print(f"round {number}, {which}: {told['wall']:.2f} s", file=sys.stderr, flush=True)
    result = {**environment(), "against": given.revision, "options": options, "seconds": seconds}
    result["answers"] = compared(tables["before"], tables["now"])
    result["ratios"] = ratios(seconds["before"], seconds["now"])
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n")
    answers = result["answers"]
    bits = "the same bits" if answers["same_bits"] else f"max |Δp| {answers['max_probability_difference']:.1e}"
    print(f"answers   {answers['rows']:,} rows, labels agree {answers['label_agreement']:.2%}, {bits}")
    for stage, each in result["ratios"].items():
        print(f"{stage:<9} {each['median']:.3f} of the time ({each['least']:.3f} to {each['greatest']:.3f})")
    print(f"on        {result['processor']}, {result['cores']} cores, torch {result['versions']['torch']}")


if __name__ == "__main__":
    main()
