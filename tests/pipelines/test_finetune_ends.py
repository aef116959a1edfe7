"""How a fine-tuning ends: by a signal at any moment, without a screen, and over what an earlier start left odd."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqcls_beam.runs.table import read_manifest
from tests import forked, tiny, training
from tests.corpora import texts, write_jsonl
from tests.prepared import labelled

pytestmark = pytest.mark.engine

PLANNING = """
import sys, time
import pipelines.training as training
def plan(config):
    print("planning", file=sys.stderr, flush=True)
    time.sleep(60)
training.plan = plan
"""
AT = """
import importlib, os
module = importlib.import_module("{module}")
before, sent = module.{name}, []
def signalled(*args, **more):
    if sent or not any("{where}" in str(each) for each in args):
        return before(*args, **more)
    if {after}:
        before(*args, **more)
    sent.append(os.kill(os.getpid(), {number}))
    return before(*args, **more)
module.{name} = signalled
"""
"""What sends this process a signal at a call of a function with such an argument, or when that has done its work."""
PIPE = "import os; ends = os.pipe(); os.close(ends[0]); os.dup2(ends[1], 1)"
"""What makes the standard output a pipe that nobody reads."""
SAID = {signal.SIGINT: "interrupted", signal.SIGTERM: "told to end (SIGTERM)"}


def at(module: str, name: str, number: int, after: bool = False, where: str = "") -> str:
    return AT.format(module=module, name=name, number=int(number), after=after, where=where)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ends")
    (made / "tmp").mkdir()
    tiny.checkpoint(made / "base")
    write_jsonl(made / "in.jsonl", labelled(texts(60, longest=8)))
    return made


@pytest.fixture(scope="module")
def warm(folder: Path) -> Iterator[forked.Warm]:
    environ = {"TMPDIR": str(folder / "tmp"), "SEQCLS_BEAM_CACHE": str(folder / "cache"), "PYTHONWARNINGS": "ignore"}
    with forked.Warm(folder / "said", **environ) as made:
        rows = [f"--input={folder}/in.jsonl", f"--model={folder}/base", f"--output={folder}/data", "--num_shards=1"]
        done = made.run(["prepare", *rows, "--duplicates=keep", "--near_duplicates=off", "--split=stratified"])
        assert done.code == 0, done.err
        yield made


def finetune(folder: Path, out: Path, *flags: str) -> list[str]:
    given = [f"--data={folder}/data", f"--model={folder}/base", f"--output={out}"]
    return ["finetune", *given, "--batch_size=8", "--epochs=1", "--eval_steps=3", "--threads=1", "--device=cpu", *flags]


@pytest.fixture(scope="module")
def trained(warm: forked.Warm, folder: Path) -> Path:
    """An output whose training is over, and of which nothing is published."""
    out = folder / "trained"
    done = warm.run(finetune(folder, out), setup=at("seqcls_beam.finetuning.receipt", "write", signal.SIGTERM))
    assert done.code == 143, done.err
    assert is_said(done.err, signal.SIGTERM, 1)
    return out


def is_said(err: str, number: signal.Signals, before: int) -> bool:
    """Whether a command said so many sentences, and last that it was told to end."""
    last = f"seqcls_beam: {SAID[number]}: start the run again: it goes on from its last evaluation\n"
    return err.endswith(last) and err.count("\n") == before + 1


def is_published(out: Path) -> bool:
    """Whether a model lies in an output folder, whole, and nothing else but its page."""
    found = read_manifest(str(out))
    return found is not None and {path.name for path in out.iterdir()} - {"_report"} == {
        "_versions",
        *(part["path"] for part in found["parts"]),
    }


def left(folder: Path) -> list[Path]:
    """Temporary folders of commands that ended."""
    return [path for path in (folder / "tmp").iterdir() if not path.name.startswith("matplotlib-")]


@pytest.mark.parametrize("number", SAID)
def test_a_signal_before_the_plan(warm, folder, tmp_path, number):
    command = warm.start(finetune(folder, tmp_path / "out"), setup=PLANNING)
    command.until("planning")
    command.signal(number)
    done = command.wait()
    assert done.code == 128 + number and is_said(done.err, number, 1)
    assert not (tmp_path / "out").exists() and left(folder) == []


@pytest.mark.parametrize("number", SAID)
def test_a_signal_while_it_trains(warm, folder, tmp_path, number):
    out = tmp_path / "out"
    words = finetune(folder, out, "--epochs=1000", "--eval_steps=2")
    command = warm.start(words)
    while not training.steps(out):
        assert not warm.has_ended(command.pid), command.told()
        time.sleep(0.02)
    command.signal(number)
    done = command.wait()
    assert done.code == 128 + number and is_said(done.err, number, 1)
    assert not list(out.rglob("_versions/*.json")) and left(folder) == []
    again = warm.start(words)
    again.until("going on from step ")
    again.signal(signal.SIGKILL)
    assert again.wait().code == -signal.SIGKILL


@pytest.mark.parametrize(
    ("module", "name", "after", "number"),
    [
        ("seqcls_beam.finetuning.transaction", "publish", False, signal.SIGINT),
        ("seqcls_beam.storage", "put_if_absent", False, signal.SIGTERM),
        ("seqcls_beam.storage", "put_if_absent", True, signal.SIGTERM),
        ("seqcls_beam.finetuning.transaction", "clear", False, signal.SIGINT),
        ("seqcls_beam.finetuning.transaction", "clear", True, signal.SIGTERM),
        ("pipelines.terminal.finetune", "summary", False, signal.SIGTERM),
        ("pipelines.terminal.finetune", "summary", True, signal.SIGINT),
    ],
)
def test_a_signal_while_it_publishes(warm, folder, trained, tmp_path, module, name, after, number):
    """Once the version is decided it is published, and the code says so."""
    out = shutil.copytree(trained, tmp_path / "out")
    where = "_versions/0" if name == "put_if_absent" else ""
    done = warm.run(finetune(folder, out), setup=at(module, name, number, after, where))
    decided = (name, after) not in {("publish", False), ("put_if_absent", False)}
    assert done.code == (0 if decided else 128 + number), done.err
    assert is_published(out) == decided and left(folder) == [], [*out.iterdir()]
    if not decided:
        assert is_said(done.err, number, 1)
        assert warm.run(finetune(folder, out)).code == 0 and is_published(out)


@pytest.mark.parametrize("how", [{"out": "/dev/full"}, {"out": forked.CLOSED}, {"setup": PIPE}, {"err": "/dev/full"}])
def test_the_screen_never_decides_the_code(warm, folder, trained, tmp_path, how):
    out = shutil.copytree(trained, tmp_path / "out")
    for _ in ("published", "already published"):
        done = warm.run(finetune(folder, out), **how)
        assert done.code == 0 and is_published(out), done.err
        assert "Traceback" not in done.err and "Exception ignored" not in done.err


def odd(attempt: Path, what: str) -> None:
    """Let something in an attempt be odd."""
    if what == "of an earlier version":
        told = json.loads((attempt / "trained.json").read_bytes())
        del told["planned"], told["scored"]
        (attempt / "trained.json").write_text(json.dumps(told))
        (attempt / "log.jsonl").unlink()
    elif what == "an infinite norm":  # which the Trainer writes as Python does
        (attempt / "trained.json").unlink()
        for path in attempt.glob("checkpoint-*/trainer_state.json"):
            state = json.loads(path.read_bytes())
            state["log_history"][0]["grad_norm"] = float("inf")
            path.write_text(json.dumps(state))
    else:
        name = "trained.json" if what == "a pipe" else "log.jsonl"
        (attempt / name).unlink()
        (os.mkfifo if what == "a pipe" else os.mkdir)(attempt / name)


@pytest.mark.parametrize("what", ["of an earlier version", "an infinite norm"])
def test_what_is_odd_costs_no_more_than_it_must(warm, folder, trained, tmp_path, what):
    out = shutil.copytree(trained, tmp_path / "out")
    (attempt,) = out.glob("_attempts/*")
    expected = (attempt / "model" / "model.safetensors").read_bytes()
    odd(attempt, what)
    done = warm.run(finetune(folder, out))
    assert done.code == 0 and is_published(out) and "going on from step 6" in done.err, done.err
    assert (out / "model.safetensors").read_bytes() == expected


@pytest.mark.parametrize(
    ("what", "said"), [("a pipe", "trained.json is a pipe"), ("a folder", "log.jsonl is a folder")]
)
def test_what_is_no_file_is_said(warm, folder, trained, tmp_path, what, said):
    out = shutil.copytree(trained, tmp_path / "out")
    (attempt,) = out.glob("_attempts/*")
    odd(attempt, what)
    done = warm.run(finetune(folder, out))
    name = {"a pipe": "trained.json", "a folder": "log.jsonl"}[what]
    assert done.code == 1 and f"{name} is {what}" in done.err.splitlines()[-1] and "Traceback" not in done.err
    assert not list(out.rglob("_versions/*.json"))
