"""All that a few minutes on a GPU have to show, the most valuable first; a cut leaves what was found before it.

    python -m benchmarks.gpu --out FOLDER [--seconds 540]
    python -m benchmarks.gpu --out FOLDER --device cpu --small     a rehearsal: each step that can run on a CPU
    python -m benchmarks.gpu --out FOLDER --only STEP ... [--onto RESULT]
    python -m benchmarks.gpu --table [RESULT]                      the table of docs/engine.md

FOLDER/gpu.json is written anew after every step; beside it lie logs.txt, what steps and commands printed, and lists of
kernels. What is to be kept goes to benchmarks/results/gpu.json, of which docs/engine.md shows the table.

--only names steps as gpu.json does; those whose files or figures they need run too. --onto adds to an earlier result of
the same card and versions: its figures are compared with and not measured anew, and gpu.json names both commands.

On a machine with a GPU, Python 3.12, torch and transformers, but no network, Beam and what it imports are needed beside
the tree. Fetched where the package index can be reached, and carried with it (git does not know them):

    NAMES="apache-beam beartype cffi cryptography dnspython fastavro fasteners ftfy httplib2 jsonpickle objsize orjson"
    NAMES="$NAMES proto-plus protobuf pycparser pymongo pytz wcwidth zstandard"
    pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp --abi cp312 --abi abi3 \\
      --abi none --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \\
      -d .whl $(for each in $NAMES; do grep "^$each==" constraints.txt; done)

There, in the tree:

    python3 -m pip install -q --no-index --no-deps --no-compile --upgrade --target site .whl/*.whl
    export PYTHONPATH=site:$PWD HF_HUB_OFFLINE=1
    python3 -c "import apache_beam, seqcls_beam, fsspec, rich, scipy, sklearn, accelerate, matplotlib, pytest, xdist"
    python3 -W ignore -m benchmarks.gpu --out results

The third line names what the machine must have of its own, beside pytest-timeout, hypothesis and, for a row of the
comparison, sentence-transformers.
"""

import argparse
import json
import shlex
import shutil
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu.bench import Bench, Record, Result, Step, only, run
from benchmarks.gpu.ceilings import ceilings
from benchmarks.gpu.commands import end_to_end, gpu_tests, prepared, training
from benchmarks.gpu.engines import bundled, compiled, engine, ladder, own
from benchmarks.gpu.models import checkpoints
from benchmarks.gpu.rivals import rivals
from benchmarks.gpu.table import table
from benchmarks.gpu.texts import corpora
from benchmarks.hardware import RESULTS, environment

MADE = ("checkpoints", "corpora")


def plan(bench: Bench) -> list[Step]:
    """The steps, the most valuable first, each behind those it needs, and the seconds that each needs on a GPU."""
    processes = ("--direct_running_mode=multi_processing", f"--direct_num_workers={2 if bench.small else 4}")
    base, mini = partial(engine, model="bert-base"), partial(engine, model="minilm")
    bfloat16 = "bfloat16" if bench.device == "cuda" else "float32"
    budgets = (4096, 1024) if bench.small else (65_536, 131_072, 32_768, 16_384)
    alone: Any = {"files": ("checkpoints",), "figures": ("ceilings",)}
    return [
        Step("ceilings", 10, ceilings),
        Step("checkpoints", 10, checkpoints),
        Step("engine, bert-base", 40, partial(base, dtype=bench.half, budgets=budgets), **alone),
        Step("tests", 60, gpu_tests, patience=2),
        Step("corpora", 15, corpora),
        _labelling("end to end, one text", 20, "bert-base", "first.parquet"),
        Step("engine, these texts", 20, partial(own, model="bert-base", source="long"), files=MADE),
        _labelling("end to end", 45, "bert-base", "long", start="end to end, one text", engine="engine, these texts"),
        Step("engine, short texts", 20, partial(own, model="bert-base", source="short"), files=MADE),
        _labelling(
            "end to end, short texts",
            45,
            "bert-base",
            "short",
            start="end to end, one text",
            engine="engine, short texts",
        ),
        Step("rivals", 55, rivals, files=MADE),
        Step("engine, MiniLM-L6", 20, partial(mini, dtype=bench.half, budgets=budgets), **alone),
        Step("engine, bert-base, bfloat16", 15, partial(base, dtype=bfloat16, budgets=budgets[:1]), **alone),
        Step("bundled checkpoint, auto", 15, bundled),
        Step("prepare", 20, prepared, files=MADE),
        Step("training, padded", 30, training, files=("prepare",)),
        Step(
            "training, packed",
            30,
            partial(training, flags=("--packed",), padded="training, padded"),
            gpu=True,
            files=("prepare",),
            figures=("training, padded",),
        ),
        Step("lack of memory", 10, ladder, gpu=True, files=("checkpoints",)),
        _labelling("end to end, MiniLM-L6, one text", 15, "minilm", "first.parquet"),
        _labelling("end to end, MiniLM-L6", 25, "minilm", "long", start="end to end, MiniLM-L6, one text"),
        _labelling(
            "end to end, 2 threads",
            40,
            "bert-base",
            "long",
            start="end to end, one text",
            engine="engine, these texts",
            flags=("--direct_running_mode=multi_threading", "--direct_num_workers=2"),
        ),
        _labelling("end to end, MiniLM-L6, 4 processes, one text", 25, "minilm", "first.parquet", flags=processes),
        _labelling(
            "end to end, MiniLM-L6, 4 processes",
            30,
            "minilm",
            "long",
            start="end to end, MiniLM-L6, 4 processes, one text",
            flags=processes,
        ),
        Step("compiled", 45, partial(compiled, model="bert-base"), gpu=True, files=("checkpoints",)),
    ]


def _labelling(
    name: str,
    needs: float,
    model: str,
    source: str,
    start: str = "",
    engine: str = "",
    flags: tuple[str, ...] = (),
) -> Step:
    """A step of the command; `start` and `engine` as `end_to_end` has them."""
    work = partial(end_to_end, model=model, source=source, flags=flags, start=start, engine=engine)
    return Step(name, needs, work, files=MADE, figures=tuple(each for each in (start, engine) if each))


def main() -> int:
    """Run the steps, or print a table."""
    arguments = argparse.ArgumentParser(
        "python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, help="folder of the results")
    arguments.add_argument("--seconds", type=float, default=540, help="after which nothing runs any more")
    arguments.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    arguments.add_argument("--small", action="store_true", help="tiny models and few texts: a rehearsal")
    arguments.add_argument("--work", type=Path, help="folder of models and corpora (default: a new one, removed)")
    arguments.add_argument("--only", nargs="+", metavar="STEP", help="these, and what they need")
    arguments.add_argument("--onto", type=Path, metavar="RESULT", help="an earlier gpu.json, to which this run adds")
    shown: Any = {"nargs": "?", "const": RESULTS / "gpu.json", "metavar": "RESULT"}
    arguments.add_argument("--table", type=Path, **shown, help="print it as markdown")
    given = arguments.parse_args()
    if given.table:
        if not given.table.exists():
            arguments.error(f"--table: there is no {given.table}")
        try:
            print(table(given.table))
        except (OSError, ValueError, KeyError) as error:
            arguments.error(f"--table: {given.table} is no result of this script ({type(error).__name__}: {error})")
        return 0
    if given.out is None:
        arguments.error("--out names the folder of the results")
    if given.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            arguments.error("no GPU is here: --device cpu --small rehearses")
    try:
        given.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        arguments.error(f"--out: {error}")
    work = Path(given.work or tempfile.mkdtemp(prefix="gpu-")).absolute()
    bench = Bench(given.device, given.small, work, given.out.absolute())
    for folder in (bench.out, bench.logs):
        folder.mkdir(parents=True, exist_ok=True)
    said = ["python", "-m", "benchmarks.gpu", f"--seconds={given.seconds:.0f}", f"--device={given.device}"]
    said += ["--small"] * given.small + (["--only", *given.only] if given.only else [])
    about = {**environment(), "command": shlex.join(said), "device": given.device, "small": given.small}
    steps = plan(bench)
    try:
        earlier = _earlier(given.onto, about) if given.onto else None
        if unknown := set(given.only or ()) - {step.name for step in steps}:
            raise ValueError(f"--only: {', '.join(sorted(unknown))}: no such step")
    except (OSError, ValueError) as error:
        arguments.error(str(error))
    if given.only:
        steps = only(steps, given.only, earlier["steps"] if earlier else {})
    record = Record(bench, about, earlier)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(steps, bench, record, given.seconds)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        return 130
    finally:
        print(f"\n{table(bench.out / 'gpu.json')}", flush=True)
        if given.work is None:
            shutil.rmtree(work, ignore_errors=True)
    return 0


def _earlier(path: Path, about: Result) -> Result:
    """A gpu.json to add to; raises `ValueError` where figures of this run do not stand beside its own."""
    found: Result = json.loads(path.read_text())
    for what in ("device", "small", "versions"):
        if found.get(what) != about[what]:
            raise ValueError(f"--onto: {path} has other {what}: {found.get(what)}, and here {about[what]}")
    cards = [each.get("gpu", {}).get("name", each["processor"]) for each in (found, about)]
    if cards[0] != cards[1]:
        raise ValueError(f"--onto: {path} is of another card: {cards[0]}, and here is {cards[1]}")
    return found


if __name__ == "__main__":
    sys.exit(main())
