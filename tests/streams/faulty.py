"""Classify messages, with a fault on the way.

python -m tests.streams.faulty FAULT TIMES FLAGS     the first TIMES times; slow: for TIMES seconds, once
"""

import errno
import sys
import time
from typing import Any

from pipelines.classify import main
from seqcls_beam import storage
from seqcls_beam.model.engine import Classifier


def _slow(seconds: int) -> None:
    logits = Classifier.logits
    left = [seconds]

    def slow(self: Classifier, *args: Any) -> Any:
        if left:
            print("a slow batch begins", flush=True)
            time.sleep(left.pop())
        return logits(self, *args)

    Classifier.logits = slow  # type: ignore[assignment, method-assign]


def _raising(times: int) -> None:
    logits = Classifier.logits
    left = [times]

    def raising(self: Classifier, *args: Any) -> Any:
        # Where one row after the other is tried, it fails on many of them: that is one time.
        if left[0] > 0:
            left[0] -= len(args[1]) == 2
            raise RuntimeError("the model is broken")
        return logits(self, *args)

    Classifier.logits = raising  # type: ignore[assignment, method-assign]


def _disk(code: int, times: int) -> None:
    put = storage.put_if_absent
    left = [times]

    def failing(uri: str, *args: Any) -> bool:
        if uri.endswith(".parquet") and left[0] > 0:
            left[0] -= 1
            raise OSError(code, "injected", uri)
        return put(uri, *args)

    storage.put_if_absent = failing  # type: ignore[assignment]


if __name__ == "__main__":
    fault, times = sys.argv[1], int(sys.argv[2])
    match fault:
        case "slow":
            _slow(times)
        case "raising":
            _raising(times)
        case _:
            _disk(getattr(errno, fault), times)
    sys.exit(main(sys.argv[3:]))
