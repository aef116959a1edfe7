"""A stream whose model is replaced again and again under load: no row is lost, and each has one model's answer."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from seqcls_beam.model.checkpoints import promote, resolve
from seqcls_beam.runs.table import published
from tests import broker, tiny
from tests.corpora import plain_scores, texts
from tests.streams.test_classify_stream import KEYED, WINDOW, Subscribe, keyed, pieces_of, sealed

pytestmark = [pytest.mark.streams, broker.needs_go]

TICK = 0.05  # seconds that clocks of files and of processes may be apart
SECONDS = 180


@pytest.fixture(scope="module")
def service():
    with broker.running() as running:
        yield running


@pytest.fixture
def models(tmp_path):
    """Of other weights, of another family with a tokenizer of its own, and one whose answers are no numbers."""
    folder = tmp_path / "models"
    tiny.checkpoint(folder / "v0")
    tiny.checkpoint(folder / "v1", initializer_range=0.2)
    tiny.checkpoint(folder / "v2", "roberta")
    broken(tiny.checkpoint(folder / "broken", initializer_range=0.25))
    promote(str(folder / "v0"))
    return folder


def broken(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"] = torch.full_like(weights["classifier.weight"], torch.nan)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


class Load:
    """Messages that are published until something is said, and when models were meant and at work."""

    def __init__(self, service, topic, said: Path, process) -> None:
        self.service, self.topic, self.said, self.process = service, topic, said, process
        self.rows = texts(40_000, seed=1, longest=12)
        self.messages = keyed(self.rows, 1)
        self.sent = 0

    def until(self, sentence: str, least: int = 400) -> float:
        """Publish until the watch says it, and so many at least; when it said it."""
        goal = self.sent + least
        self._publish_until(lambda: bool(self.heard(sentence)) and self.sent >= goal)
        return self.heard(sentence)[-1]

    def until_labelled(self, out: Path, model: str, since: float) -> None:
        """Publish until a piece that is durable since then is of a model: one that labels nothing is in no manifest."""
        self._publish_until(
            lambda: any(
                model in pq.read_table(path, columns=["model"], partitioning=None)["model"].to_pylist()
                for path in pieces_of(out)
                if path.stat().st_mtime > since
            )
        )

    def _publish_until(self, there: Callable[[], bool]) -> None:
        begun = time.monotonic()
        while not there():
            assert time.monotonic() - begun < SECONDS and self.process.poll() is None, self.said.read_text()
            assert self.sent + 50 <= len(self.rows)
            self.service.publish(self.topic, self.messages[self.sent : self.sent + 50])
            self.sent += 50
            time.sleep(0.05)

    def heard(self, sentence: str) -> list[float]:
        lines = self.said.read_text().splitlines() if self.said.exists() else []
        return [float(line.split()[0]) for line in lines if re.search(sentence, line)]


@pytest.mark.timeout(900)
def test_every_row_has_the_answer_of_a_model_that_was_at_work(tmp_path, service, request, models):
    subscribe = Subscribe(service, request.node.name)
    (subscription,) = subscribe()
    out, said = tmp_path / "out", tmp_path / "said.txt"
    digits = {name: resolve(str(models / name)).digest[:12] for name in ("v0", "v1", "v2")}
    command = [sys.executable, "-m", "tests.streams.looking", "0.2", str(said)]
    command += [f"--subscription={subscription}", f"--output={out}", f"--watch_model={models}", "--threads=1"]
    command += [f"--window={WINDOW}", "--max_latency=1", *KEYED, "--allowed_lateness=7200", "--until_idle=6"]
    with (tmp_path / "screen.txt").open("wb") as screen:
        process = subprocess.Popen(
            command, env=broker.environment(service.address), stdout=screen, stderr=subprocess.STDOUT
        )
    try:
        load = Load(service, subscribe.topic, said, process)
        begun = time.time()
        while not pieces_of(out):
            assert time.time() - begun < SECONDS and process.poll() is None, (tmp_path / "screen.txt").read_text()
            load.service.publish(load.topic, load.messages[load.sent : load.sent + 50])
            load.sent += 50
            time.sleep(0.1)
        works: list[tuple[str, float, float]] = []  # name, meant from, not at work any more at
        name, since = "v0", begun
        for newer in ("v1", "broken", "v2", "v0", "v2", "v1"):
            meant = time.time()
            promote(str(models / newer))
            if newer == "broken":
                load.until("is refused, and the model stays as it is: .*has no answer to")
                continue
            seen = len(load.heard("from now on"))
            gone = load.until(rf"from now on {digits[newer]} labels in place of {digits[name]}")
            assert len(load.heard("from now on")) == seen + 1
            load.until_labelled(out, digits[newer], gone)
            works.append((name, since, gone))
            name, since = newer, meant
        works.append((name, since, np.inf))
        load.until("from now on", 400)
        assert process.wait(SECONDS) == 0, (tmp_path / "screen.txt").read_text()
    finally:
        process.kill()
    assert len(load.heard("refused")) == 1 and load.sent > 2_000

    answers = {digits[name]: plain_scores(models / name, load.rows[: load.sent]) for name in digits}
    names = {value: name for name, value in digits.items()}
    for path in pieces_of(out):
        piece = pq.read_table(path, partitioning=None)
        (model,) = set(piece["model"].to_pylist())
        expected = answers[model][piece["id"].to_numpy()]
        np.testing.assert_allclose(np.array(piece["scores"].to_pylist()), expected, atol=1e-5)
        first = min(piece["publish_time"].to_pylist()).timestamp()
        durable = path.stat().st_mtime
        assert any(
            name == names[model] and first <= gone + TICK and durable >= meant - TICK for name, meant, gone in works
        ), (path, names[model], first, durable, works)

    labels, rejects = sealed(out)
    assert not len(rejects) and sorted(labels["id"].to_pylist()) == [*range(load.sent)]
    counts = labels["model"].value_counts().to_pylist()
    assert {each["values"] for each in counts} == {*digits.values()}, counts
    replaced = [
        (model, engine["replaces"])
        for run in published(str(out))
        for model, facts in run.manifest["models"].items()
        for engine in facts["engines"]
        if "replaces" in engine
    ]
    assert {(model, each["model"]) for model, each in replaced} == {
        (digits[new], digits[old]) for (old, *_), (new, *_) in pairwise(works)
    }
    for _, each in replaced:
        assert each["texts"] == 64 and 0 <= each["equal"] <= 1 and 0 < each["largest_difference"] <= 1
