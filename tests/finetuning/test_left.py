"""What earlier starts of a training left, whole, cut or odd."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from seqcls_beam.finetuning.job import Job, Trained
from seqcls_beam.finetuning.log import _up_to
from seqcls_beam.runs.run import Run
from seqcls_beam.storage import StoreError

TRAINED = Trained(
    scores={"test": {"loss": 0.5, "accuracy": 1}},
    history=[{"step": 1, "loss": 0.7, "grad_norm": None}],
    best_step=1,
    steps=1,
    planned=1,
    scored={"test": 3},
    began=0,
    seconds=0.1,
    machine={"device": "cpu"},
)
STATE: dict[str, Any] = {
    "global_step": 1,
    "max_steps": 2,
    "epoch": 0.5,
    "log_history": [{"step": 1, "grad_norm": float("inf")}],
    "best_global_step": 1,
    "best_metric": 0.25,
    "best_model_checkpoint": "/elsewhere/checkpoint-1",
    "stateful_callbacks": {"TrainerControl": {"args": {"should_training_stop": False}, "attributes": {}}},
}
ODD = [b"", b"{", b"[]", b"null", b"1", b'"text"', b"{}", b"\xff\xfe{}", b"[" * 100_000]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job that has an attempt; nothing else of it is looked at."""
    unread: Any = None
    made = Job(unread, unread, unread, Run(str(tmp_path), "0123", follows=0, kind="finetune"))
    made.work.mkdir(parents=True)
    return made


def without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: each for key, each in values.items() if key != name}


def spoiled(values: dict[str, Any]) -> list[bytes]:
    """The object without an entry, and with another kind of value in its place."""
    told = [without(values, name) for name in values]
    odd: Any
    for name, each in values.items():
        odd = [[0]] if isinstance(each, dict) else {"x": 0}
        told.append({**values, name: odd})
    return [*ODD, *(json.dumps(each).encode() for each in told)]


def test_a_training_that_is_over_is_found_and_nothing_else_is_taken_for_one(job):
    assert job.trained() is None
    job.keep(TRAINED)
    assert job.trained() == TRAINED
    whole = asdict(TRAINED)
    deep: list[dict[str, Any]] = [
        {"scores": {"test": 1}},
        {"history": [{"loss": "x"}]},
        {"history": [3]},
        {"scored": {"test": 0.5}},
    ]
    for data in [*spoiled(whole), *(json.dumps({**whole, **each}).encode() for each in deep)]:
        (job.work / "trained.json").write_bytes(data)
        assert job.trained() is None, data[:300]


def checkpoint(folder: Path, state: bytes) -> Path:
    """A checkpoint as the Trainer leaves one."""
    folder.mkdir()
    for name in ("optimizer.pt", "scheduler.pt", "model.safetensors"):
        (folder / name).write_bytes(b"")
    (folder / "trainer_state.json").write_bytes(state)
    return folder


def test_the_newest_whole_checkpoint_is_gone_on_from(job):
    state = json.dumps(STATE).encode()
    assert b"Infinity" in state  # a norm that is not finite, as float16 has them in its first steps
    first = checkpoint(job.work / "checkpoint-1", state)
    checkpoint(job.work / "checkpoint-best", state)
    later = checkpoint(job.work / "checkpoint-2", state)
    assert job.last_checkpoint() == later
    for data in spoiled(STATE):
        (later / "trainer_state.json").write_bytes(data)
        assert job.last_checkpoint() == first, data[:300]
    job.relocate_best()
    found = json.loads((first / "trainer_state.json").read_bytes())
    assert found == {**STATE, "best_model_checkpoint": str(job.work / "checkpoint-1")}


def test_a_log_is_kept_up_to_what_is_odd(tmp_path):
    log, good = tmp_path / "log.jsonl", b'{"step": 1}\n{"step": 2}\n'
    assert _up_to(5, log) == b""
    for odd in (*ODD, b'{"step": "3"}', b'{"step": null}', b'{"step": 3.5}', b'{"step": 6}'):
        log.write_bytes(good + odd + b"\n" + good)
        assert _up_to(5, log) == good, odd[:300]
    log.write_bytes(good + b'{"step": 3}')  # cut short
    assert _up_to(5, log) == good and _up_to(1, log) == b'{"step": 1}\n'


@pytest.mark.parametrize(("make", "said"), [(os.mkdir, "is a folder"), (os.mkfifo, "is a pipe")])
def test_what_is_no_file_is_said_and_not_waited_for(job, make, said):
    for name in ("trained.json", "log.jsonl"):
        make(job.work / name)
    with pytest.raises(StoreError, match=f"trained.json {said}"):
        job.trained()
    with pytest.raises(StoreError, match=f"log.jsonl {said}"):
        _up_to(1, job.work / "log.jsonl")
