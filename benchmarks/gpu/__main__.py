"""All that a few minutes on a GPU have to show, the most valuable first; a cut leaves what was found before it.

    python -m benchmarks.gpu --out FOLDER [--seconds 540]
    python -m benchmarks.gpu --out FOLDER --device cpu --small     a rehearsal: each step that can run on a CPU
    python -m benchmarks.gpu --table [RESULT]                      the table of docs/engine.md

FOLDER/gpu.json is written anew after every step; beside it lie logs.txt, what steps and commands printed, and lists of
kernels. What is to be kept goes to benchmarks/results/gpu.json, of which docs/engine.md shows the table.

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
import shutil
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.gpu.bench import Bench, Record, Step, run
from benchmarks.gpu.ceilings import ceilings
from benchmarks.gpu.commands import end_to_end, gpu_tests, prepared, training
from benchmarks.gpu.engines import bundled, compiled, engine, ladder, own
from benchmarks.gpu.models import checkpoints
from benchmarks.gpu.rivals import rivals
from benchmarks.gpu.table import table
from benchmarks.gpu.texts import corpora
from benchmarks.hardware import RESULTS, environment


def plan(bench: Bench) -> list[Step]:
    """The steps, the most valuable first, and the seconds that each needs on a GPU."""
    processes = ("--direct_running_mode=multi_processing", f"--direct_num_workers={2 if bench.small else 4}")
    labelling = partial(end_to_end, model="bert-base", start="end to end, one text")
    of_mini = partial(end_to_end, model="minilm", start="end to end, MiniLM-L6, one text")
    base, mini = partial(engine, model="bert-base"), partial(engine, model="minilm")
    bfloat16 = "bfloat16" if bench.device == "cuda" else "float32"
    budgets = (4096, 1024) if bench.small else (65_536, 131_072, 32_768, 16_384)
    return [
        Step("ceilings", 10, ceilings),
        Step("checkpoints", 10, checkpoints),
        Step("engine, bert-base", 40, partial(base, dtype=bench.half, budgets=budgets)),
        Step("tests", 60, gpu_tests, patience=2),
        Step("corpora", 15, corpora),
        Step("end to end, one text", 20, partial(labelling, source="first.parquet")),
        Step("engine, these texts", 20, partial(own, model="bert-base", source="long")),
        Step("end to end", 45, partial(labelling, source="long", engine="engine, these texts")),
        Step("engine, short texts", 20, partial(own, model="bert-base", source="short")),
        Step("end to end, short texts", 45, partial(labelling, source="short", engine="engine, short texts")),
        Step("rivals", 55, rivals),
        Step("engine, MiniLM-L6", 20, partial(mini, dtype=bench.half, budgets=budgets)),
        Step("engine, bert-base, bfloat16", 15, partial(base, dtype=bfloat16, budgets=budgets[:1])),
        Step("bundled checkpoint, auto", 15, bundled),
        Step("prepare", 20, prepared),
        Step("training, padded", 30, training),
        Step("training, packed", 30, partial(training, flags=("--packed",), padded="training, padded"), gpu=True),
        Step("lack of memory", 10, ladder, gpu=True),
        Step("compiled", 60, partial(compiled, model="bert-base"), gpu=True),
        Step("end to end, MiniLM-L6, one text", 15, partial(of_mini, source="first.parquet")),
        Step("end to end, MiniLM-L6", 25, partial(of_mini, source="long")),
        Step("end to end, MiniLM-L6, 4 processes", 30, partial(of_mini, source="long", flags=processes)),
    ]


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
    result = RESULTS / "gpu.json"
    arguments.add_argument("--table", type=Path, nargs="?", const=result, metavar="RESULT", help="print it as markdown")
    given = arguments.parse_args()
    if given.table:
        if given.table != result and not given.table.exists():
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
    said = ["python -m benchmarks.gpu", f"--seconds={given.seconds:.0f}", f"--device={given.device}"]
    said += ["--small"] * given.small
    record = Record(bench, {**environment(), "command": " ".join(said), "device": given.device, "small": given.small})
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(plan(bench), bench, record, given.seconds)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        return 130
    finally:
        print(f"\n{table(bench.out / 'gpu.json')}", flush=True)
        if given.work is None:
            shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
