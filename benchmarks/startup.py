"""How long a command takes for --help, for wrong usage, for a look at one text and for a file of one row.

    python -m benchmarks.startup [--rounds 5] [--out FILE]

Each is a process of its own, in turn; bare Python and the three large imports stand beside them as what cannot be had
for less. Prints the median of the rounds: seconds of the clock, of a processor (all threads), and the largest memory.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.hardware import environment, save

CLASSIFY = ["-m", "pipelines.classify"]


def cases(folder: Path) -> dict[str, list[str]]:
    """What is started, by what it is called; {} is a folder that is not there."""
    source = folder / "one.jsonl"
    source.write_text('{"text": "I liked it"}\n')
    files = [*CLASSIFY, f"--input={source}", "--output={}"]
    return {
        "python": ["-c", ""],
        "import torch": ["-c", "import torch"],
        "import apache_beam": ["-c", "import apache_beam"],
        "import transformers": ["-c", "import transformers"],
        "--help": [*CLASSIFY, "--help"],
        "wrong value": [*CLASSIFY, "--batch_rows=abc"],
        "unknown flag": [*CLASSIFY, "--nothing"],
        "one text": [*CLASSIFY, "--text", "I liked it"],
        "one row": files,
        "one row, one thread": [*files, "--threads=1"],
    }


def started(words: list[str]) -> tuple[float, float, float]:
    """(seconds of the clock, of a processor, MB) of a process, to its end."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, used = os.wait4(process.pid, 0)
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Start them all and tell."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    found: dict[str, list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as made:
        every = cases(Path(made))
        for turn in range(given.rounds):
            for name, words in every.items():
                told = [word.format(f"{made}/{name}-{turn}") for word in words]
                found.setdefault(name, []).append(started(told))
    medians = {
        name: [round(statistics.median(each), 2) for each in zip(*all_, strict=True)] for name, all_ in found.items()
    }
    for name, (clock, processor, memory) in medians.items():
        print(f"{name:20} {clock:6.2f} s {processor:6.2f} s of a processor {memory:7.0f} MB")
    print(environment()["processor"], environment()["cores"], "cores")
    save("startup", {"rounds": given.rounds, "clock_processor_megabytes": medians}, given.out)


if __name__ == "__main__":
    main()
