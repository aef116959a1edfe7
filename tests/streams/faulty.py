"""Classify messages, with a fault on the way.

python -m tests.streams.faulty FAULT TIMES FLAGS     the first TIMES times; slow: for TIMES seconds, once

publish:CODE is what the service answers whoever publishes; unpublished: it answers nothing for as long as one waits.
"""

import errno
import sys
import time
from typing import Any

import grpc

from pipelines.classify import main
from seqcls_beam import storage
from seqcls_beam.model.engine import Classifier
from seqcls_beam.runs.publisher import Publisher


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


class _Refused(grpc.RpcError):
    """A call, and its answer."""

    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__(code.name)
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "as the test wants it"

    def result(self, timeout: float | None = None) -> Any:
        raise self

    def exception(self, timeout: float | None = None) -> Exception:
        return self

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()


class _Refusing(grpc.UnaryUnaryClientInterceptor):
    def __init__(self, code: grpc.StatusCode, times: int) -> None:
        self._code, self._left = code, times

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        if details.method == "/google.pubsub.v1.Publisher/Publish" and self._left > 0:
            self._left -= 1
            print("a publication is refused", flush=True)
            return _Refused(self._code)
        return continuation(details, request)


def _publishing(code: str, times: int) -> None:
    channel, refusing = grpc.insecure_channel, _Refusing(getattr(grpc.StatusCode, code), times)
    grpc.insecure_channel = lambda *how: grpc.intercept_channel(channel(*how), refusing)


def _unpublished(times: int) -> None:
    publish, left = Publisher.publish, [times]

    def failing(self: Publisher, *what: Any) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise OSError("--output_topic=injected: Pub/Sub took no message")
        publish(self, *what)

    Publisher.publish = failing  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    fault, times = sys.argv[1], int(sys.argv[2])
    match fault:
        case "slow":
            _slow(times)
        case "raising":
            _raising(times)
        case "unpublished":
            _unpublished(times)
        case _ if fault.startswith("publish:"):
            _publishing(fault.partition(":")[2], times)
        case _:
            _disk(getattr(errno, fault), times)
    sys.exit(main(sys.argv[3:]))
