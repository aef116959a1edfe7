"""What a training writes while it runs, and what a start after a kill makes of it."""

import json
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import finetune
from seqcls_beam.finetuning import trainer
from seqcls_beam.finetuning.trainer import Watch, is_point
from tests import prepared, tiny
from tests.corpora import texts


@given(every=st.integers(1, 5000), steps=st.integers(1, 20_000))
def test_a_curve_has_a_point_at_each_checkpoint_and_as_many_in_between(every, steps):
    every = min(every, steps)
    points = [step for step in range(1, steps + 1) if is_point(step, every, steps)]
    assert {*range(every, steps + 1, every), steps} <= {*points}
    gaps = np.diff([0, *points])
    assert gaps[gaps < gaps.max()].size == 0 or len(points) <= 2 * trainer.POINTS + steps // every + 1
    assert len(points) <= 1.5 * trainer.POINTS + steps // every + 1


def lines(folder):
    """The log that lies somewhere below a folder."""
    (path,) = folder.rglob("log.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def curve(told, name="loss"):
    """Steps with what was measured there."""
    return [(line["step"], line[name]) for line in told if name in line]


@pytest.mark.engine
@pytest.mark.usefixtures("own_cache")
def test_a_log_grows_while_a_training_runs_and_goes_on_after_a_kill(tmp_path, monkeypatch):
    base = tiny.checkpoint(tmp_path / "base")
    flags = [f"--model={base}", "--near_duplicates=off", "--duplicates=keep"]
    data = prepared.run(prepared.labelled(texts(90, longest=12)), tmp_path / "data", *flags)
    asked = [f"--data={data}", f"--model={base}", "--batch_size=8", "--epochs=5", "--eval_steps=7", "--threads=1"]
    monkeypatch.setattr(trainer, "POINTS", 17)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert finetune.main([*asked, f"--output={whole}"]) == 0
    told = lines(whole)
    history = json.loads((whole / "metrics.json").read_text())["history"]
    assert curve(told) == curve(history) and curve(told, "eval_accuracy") == curve(history, "eval_accuracy")
    steps = [step for step, _ in curve(told)]
    assert all(each in steps for each in range(7, steps[-1], 7)) and len(steps) < steps[-1]
    times = [datetime.fromisoformat(line["time"]) for line in told]
    assert times == sorted(times)
    assert all(line["tokens_per_second"] > 0 and line["learning_rate"] >= 0 for line in told if "loss" in line)

    def seen(self, arguments, state, control, **rest):
        if state.global_step == 25:  # a point lies behind the last checkpoint, of 21, and another is under way
            open_now = lines(killed)
            assert 21 < open_now[-1]["step"] < 25 and curve(open_now) == curve(told)[: len(curve(open_now))]
            (path,) = killed.rglob("log.jsonl")
            path.write_bytes(path.read_bytes() + b'{"time": "2026-')
            raise InterruptedError
        return on_step_end(self, arguments, state, control, **rest)

    on_step_end = Watch.on_step_end
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "on_step_end", seen)
        assert finetune.main([*asked, f"--output={killed}"]) == 1
    assert finetune.main([*asked, f"--output={killed}"]) == 0
    for name in ("loss", "eval_accuracy"):
        assert curve(lines(killed), name) == curve(told, name)
