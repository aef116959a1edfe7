"""Streams: rows a second beside the engine alone, how long a message takes to a durable piece, memory, sealing.

    python -m benchmarks.stream [--seconds 180] [--long 600] [--model sentiment] [--only STEP …]

Starts the broker of the tests (Google's own fake, on loopback; Go is needed) and the command as a user does, in a
process of its own, and publishes texts of 1 to 40 words, as fast as they become durable, then at half and at twice the
rate that was held. All of it shares the machine's cores: what the broker and the publisher took of them stands beside
the rates. The broker looks at all that it holds a hundred times a second, so that a backlog costs a part of a core: as
fast as they become durable, that is with two batches in the broker, what the engine does in 5.5 seconds. A message is
durable when its piece has its time of modification. The engine alone labels the same texts. Where the most that can be
held is asked for, command and publisher are halted every 20 seconds, and the engine labels 2,048 of them, since a
machine that others share is faster at one time than at another; every other time the broker is halted, too.

The peers read a subscription that is fed in the same way: a plain pull with `pipeline()`, and Beam's `ReadFromPubSub`
on its local runner, with this project's steps behind it. They are killed at the end, and what had been acknowledged by
then and was not durable is told. Writes benchmarks/results/stream.json.
"""

import argparse
import json
import time
from typing import Any

from benchmarks.hardware import RESULTS, save
from benchmarks.stream.job import Trial, labelled
from benchmarks.stream.peers import PEERS
from benchmarks.stream.sealing import sealed
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.stream import SourceOptions
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.model.engine import Classifier
from seqcls_beam.model.predictions import classify
from seqcls_beam.model.tokens import tokenize
from seqcls_beam.reading.messages import Message, message_layout, to_record
from tests import broker
from tests.corpora import texts

STEPS = ("full", "half", "twice", *PEERS, "sealing")
AHEAD = 5.5
"""Seconds of the engine's work that are published and not yet durable where the most that can be held is asked for: a
batch in hand, and the next one."""
_BATCH = 8192
_NAME = "projects/any-project/subscriptions/any"


def main() -> None:
    """Measure, print, write after every step."""
    arguments = argparse.ArgumentParser(
        "python -m benchmarks.stream", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--seconds", type=float, default=180, help="of a step")
    arguments.add_argument("--long", type=float, default=600, help="seconds at half the rate, where memory is watched")
    arguments.add_argument("--model", default="sentiment")
    arguments.add_argument("--max_latency", type=float, default=5)
    arguments.add_argument("--only", nargs="+", choices=STEPS, default=STEPS, help="these; others keep their figures")
    given = arguments.parse_args()
    path = RESULTS / "stream.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() and given.only != STEPS else {}
    found |= {"model": given.model, "max_latency": given.max_latency}

    def keep(step: str, result: dict[str, Any]) -> None:
        found[step] = result
        print(step, json.dumps(result, indent=2), flush=True)
        save("stream", found)

    if set(given.only) - {"sealing"}:
        engine = _Engine(given.model)
        alone = engine.rate(_BATCH)
        keep("engine alone", {"rows/s": round(alone)})
        trial = Trial(given.model, given.max_latency, given.seconds)

        def ahead(_: float, durable: int) -> float:
            return durable + AHEAD * alone

        with broker.running() as service:
            if "full" in given.only:
                keep("full", labelled(service, trial, "full", ahead, between=lambda: engine.rate(_BATCH // 4)))
            if "half" in given.only:
                long, rate = Trial(given.model, given.max_latency, given.long), found["full"]["rows/s"] / 2
                keep("half", labelled(service, long, "half", lambda seconds, _: seconds * rate))
            if "twice" in given.only:
                more = found["full"]["rows/s"] * 2
                keep("twice", labelled(service, trial, "twice", lambda seconds, _: seconds * more))
            for name, module in PEERS.items():
                if name in given.only:
                    keep(name, labelled(service, trial, name, ahead, module))
    if "sealing" in given.only:
        keep("sealing", sealed())


class _Engine:
    """Tokeniser and model alone."""

    def __init__(self, model: str) -> None:
        self._checkpoint, self._options = resolve(model), ModelOptions(model=model)
        layout = message_layout(ReadOptions(input=()), SourceOptions(subscription=_NAME, message_format="text"))
        messages = [Message(str(i), i, {}, text.encode()) for i, text in enumerate(texts(_BATCH))]
        self._records = to_record(messages, layout)
        self._classifier = Classifier(self._checkpoint, self._options)
        self.rate(_BATCH)  # warms up

    def rate(self, rows: int) -> float:
        """Rows a second."""
        begun = time.perf_counter()
        batch = tokenize(self._records.slice(0, rows), self._checkpoint, self._options)
        classify([batch], self._classifier, self._checkpoint, self._options)
        return rows / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
