"""How often weights are loaded, and what that costs, by what runs the pipeline: as docs/engine.md has it."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.ml.inference.base import RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.transforms.environments import ExternalEnvironment
from apache_beam.utils.multi_process_shared import MultiProcessShared

from seqcls_beam import label
from seqcls_beam.config import ModelOptions
from seqcls_beam.model import resolve
from seqcls_beam.transforms import ClassifierHandler, Classify, FromRows, Tokenize
from tests import tiny

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
OPTIONS = ModelOptions(threads=1, device="cpu")
TEXTS = [f"text {number} {'good film ' * (number % 5)}" for number in range(24)]
WORKED: list[int] = []  # threads of this process, by elements

# Read by Python when it starts: each process that makes a classifier, workers too, adds a line to a file.
COUNTING = """
import importlib.abc, importlib.util, os, sys


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "seqcls_beam.model.engine.classifier":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def counted(module):
            execute(module)
            before = module.Classifier.__init__

            def construct(self, *some, **others):
                with open(os.environ["LOADS"], "ab", buffering=0) as file:
                    file.write(b"%d\\n" % os.getpid())
                before(self, *some, **others)

            module.Classifier.__init__ = construct

        spec.loader.exec_module = counted
        return spec


sys.meta_path.insert(0, Finder())
"""


def worked(element: Any) -> None:
    WORKED.append(threading.get_ident())


def labelled(text: str, checkpoint: str) -> str:
    return label([text], checkpoint, threads=1, device="cpu")["label"][0].as_py()


def of_texts(texts: Any, checkpoint: Any) -> Any:
    return texts | "Infer" >> RunInference(ClassifierHandler(checkpoint, OPTIONS))


def of_one_for_all(texts: Any, checkpoint: Any) -> Any:
    return texts | "Infer" >> RunInference(ClassifierHandler(checkpoint, OPTIONS, large_model=True))


def of_two(texts: Any, checkpoint: Any) -> Any:
    """Two transforms whose options differ in what is none of the model's."""
    tokens = texts | FromRows(batch_rows=2) | Tokenize(checkpoint, OPTIONS)
    tokens | "Other" >> Classify(checkpoint, ModelOptions(threads=1, device="cpu", pooling="max", threshold=0.7))
    return tokens | Classify(checkpoint, OPTIONS)


def of_an_own_step(texts: Any, checkpoint: Any) -> Any:
    return texts | beam.Map(labelled, checkpoint.location)


def of_all(texts: Any, checkpoint: Any) -> Any:
    done = [of_texts(texts, checkpoint), of_two(texts, checkpoint), of_an_own_step(texts, checkpoint)]
    return done[0]


WAYS: list[Callable[[Any, Any], Any]] = [of_texts, of_two, of_an_own_step, of_all, of_one_for_all]


def run(way: Callable[[Any, Any], Any], checkpoint: Any, runner: Any, *flags: str) -> None:
    WORKED.clear()
    with beam.Pipeline(runner=runner, options=PipelineOptions(list(flags))) as pipeline:
        texts = pipeline | beam.Create(TEXTS) | beam.Reshuffle()
        way(texts, checkpoint) | "Worked" >> beam.Map(worked)


@pytest.fixture(autouse=True)
def no_files_left(monkeypatch, tmp_path):
    """Beam leaves two files in the temporary directory for each object that processes share."""
    monkeypatch.setitem(MultiProcessShared.__init__.__kwdefaults__, "path", str(tmp_path))


@pytest.fixture
def checkpoint(tmp_path):
    """One that nobody has loaded yet."""
    return resolve(str(tiny.checkpoint(tmp_path / "model")))


@pytest.fixture
def loads(monkeypatch):
    """A line for each classifier that is made in this process, with its checkpoint."""
    from seqcls_beam.model.engine.classifier import Classifier

    found, before = [], Classifier.__init__

    def construct(self: Any, checkpoint: Any, *others: Any) -> None:
        found.append(checkpoint.name)
        before(self, checkpoint, *others)

    monkeypatch.setattr(Classifier, "__init__", construct)
    return found


@pytest.fixture(scope="module")
def pool() -> Iterator[str]:
    """Beam's pool of workers, each a thread of this process; its address."""
    address, server = BeamFnExternalWorkerPoolServicer.start(use_process=False)
    yield address
    server.stop(0)


@pytest.mark.parametrize("engine", ["in memory", "threads", "threads of a pool"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_process_loads_once_whatever_its_threads(way, engine, checkpoint, loads, pool):
    runner, flags, threads = {
        "in memory": (FnApiRunner, (), 1),
        "threads": (FnApiRunner, ("--direct_running_mode=multi_threading", "--direct_num_workers=4"), 4),
        "threads of a pool": (
            lambda: FnApiRunner(default_environment=ExternalEnvironment(pool)),
            ("--direct_num_workers=3",),
            3,
        ),
    }[engine]
    run(way, checkpoint, runner(), *flags)
    assert len(set(WORKED)) == threads, "all of them had a part of the texts"
    assert loads == [checkpoint.name]
    if way is not of_one_for_all:
        run(way, checkpoint, runner(), *flags)
        assert loads == [checkpoint.name], "the model outlives the pipeline"


def test_another_model_takes_the_place_of_the_last_one(tmp_path, loads):
    one, two = (resolve(str(tiny.checkpoint(tmp_path / name))) for name in ("one", "two"))
    for each in (one, two, two, one):
        run(of_texts, each, FnApiRunner())
    assert loads == [one.name, two.name, one.name]


@pytest.mark.parametrize(("way", "expected"), [(of_all, [1, 1]), (of_one_for_all, [1])], ids=["each", "one for all"])
def test_each_process_loads_once_or_one_for_all(way, expected, tmp_path, checkpoint, monkeypatch):
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(COUNTING)
    monkeypatch.setenv("PYTHONPATH", f"{hook}:{ROOT}")
    monkeypatch.setenv("LOADS", str(tmp_path / "loads"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run(way, checkpoint, FnApiRunner(), "--direct_running_mode=multi_processing", "--direct_num_workers=2")
    found = Counter((tmp_path / "loads").read_text().split())
    assert sorted(found.values()) == expected
    assert str(os.getpid()) not in found, "the launcher labels nothing"


def of_a_large_model(texts: Any, checkpoint: Any) -> Any:
    """Of which no precision is tried but one, and only short texts: that takes most of the time."""
    options = ModelOptions(threads=1, device="cpu", dtype="float32", max_length=16)
    return texts | RunInference(ClassifierHandler(checkpoint, options))


def peak(folder: str, threads: int) -> None:
    """Classify in so many threads, and print how many worked, and the most memory that this process had, in bytes."""
    run(
        of_a_large_model,
        resolve(folder),
        FnApiRunner(),
        "--direct_running_mode=multi_threading",
        f"--direct_num_workers={threads}",
    )
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    print(json.dumps([len(set(WORKED)), int(line.split()[1]) * 1024]))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads what Linux says of a process")
def test_four_threads_take_the_memory_of_one(tmp_path):
    folder = tiny.checkpoint(
        tmp_path, hidden_size=768, num_hidden_layers=4, num_attention_heads=12, intermediate_size=3072
    )
    weights = (folder / "model.safetensors").stat().st_size
    found = {}
    for threads in (1, 4):
        code = f"from tests.transforms.test_sharing import peak; peak({str(folder)!r}, {threads})"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
        worked, found[threads] = json.loads(done.stdout.splitlines()[-1])
        assert worked == threads
    assert weights > 110 * 10**6
    assert found[4] - found[1] < weights, "a second copy has all of them"
    assert found[4] <= 1.2 * found[1], found
