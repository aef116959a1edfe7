"""Asking a store again, where that may help and its client does not do it, or not long enough.

What clients do by themselves, in the versions of `constraints.txt`: gcsfs asks six times in some 33 seconds where a
connection breaks or a server is busy, s3fs five times where a connection breaks, below it botocore five times where a
server is busy. Neither looks whether a part of a file came whole, and gcsfs gives up at a time-out.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

Answer = TypeVar("Answer")

PATIENCE = 30.0
"""Seconds after which nothing is asked again, from the first time on; what a client tried by itself counts."""

BUSY = {408, 409, 425, 429, 500, 502, 503, 504}
"""Answers of HTTP that may be others the next time; 409 is S3's of two writes at once."""

_BROKEN = {
    "aiohttp.client_exceptions.ClientConnectionError",
    "aiohttp.client_exceptions.ClientPayloadError",
    "botocore.exceptions.ConnectionError",
    "botocore.exceptions.FlexibleChecksumError",
    "botocore.exceptions.HTTPClientError",
    "botocore.exceptions.IncompleteReadError",
    "botocore.parsers.ResponseParserError",
    "builtins.BrokenPipeError",
    "builtins.ConnectionAbortedError",
    "builtins.ConnectionRefusedError",
    "builtins.ConnectionResetError",
    "builtins.TimeoutError",
    "fsspec.exceptions.FSTimeoutError",
    "gcsfs.retry.ChecksumError",
    "requests.exceptions.ChunkedEncodingError",
    "requests.exceptions.ConnectionError",
    "requests.exceptions.Timeout",
}
"""What clients raise where an answer did not come, or not whole; by name, since none of them need be installed."""


class Passing(OSError):
    """What may not come again when the store is asked once more."""


def patiently(ask: Callable[..., Answer], *arguments: Any, **options: Any) -> Answer:
    """What `ask` returns; asked again where its error may pass, for `PATIENCE` seconds at most, and then raised."""
    tries = Retrying(
        retry=retry_if_exception(passes),
        stop=stop_after_delay(PATIENCE),
        wait=wait_random_exponential(0.2, max=5),
        reraise=True,
    )
    return tries(ask, *arguments, **options)


def passes(error: BaseException) -> bool:
    """Whether an error of a client may not come again: the way to the store was broken, or the store busy."""
    if isinstance(error, Passing):
        return True
    known = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    return bool(known & _BROKEN) or status(error) in BUSY


def status(error: BaseException) -> int:
    """The status of HTTP that a client's error stands for; 0 where it does not say."""
    # s3fs makes errors of Python of what botocore raises, and keeps that as the cause.
    said = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    if isinstance(said, dict):
        return int(said.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    for name in ("code", "status", "status_code"):
        if str(getattr(error, name, "")).isdecimal():
            return int(getattr(error, name))
    return 0
