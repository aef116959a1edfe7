"""What is asked again, and for how long."""

import asyncio
import socket
import time
from types import SimpleNamespace

import aiohttp
import botocore.exceptions
import pytest
import requests
from gcsfs.retry import HttpError
from huggingface_hub.errors import OfflineModeIsEnabled
from s3fs.errors import translate_boto_error

from seqcls_beam import storage
from seqcls_beam.storage import google, retries


def of_s3(status: int, code: str) -> BaseException:
    """What s3fs makes of an answer."""
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = botocore.exceptions.ClientError(answer, "PutObject")
    return translate_boto_error(error)


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (HttpError({"code": 503, "message": "busy"}), True),
        (HttpError({"code": "429", "message": "slower"}), True),
        (HttpError({"code": 401, "message": "who?"}), False),
        (requests.exceptions.ProxyError(), True),
        (aiohttp.ServerDisconnectedError(), True),
        (aiohttp.ClientPayloadError("cut"), True),
        (aiohttp.InvalidURL("x"), False),
        (of_s3(409, "ConditionalRequestConflict"), True),
        (of_s3(503, "SlowDown"), True),
        (of_s3(500, "InternalError"), True),
        (of_s3(403, "AccessDenied"), False),
        (of_s3(412, "PreconditionFailed"), False),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="x"), True),
        (botocore.exceptions.NoCredentialsError(), False),
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (OfflineModeIsEnabled("offline"), False),  # a ConnectionError
        (FileNotFoundError("x"), False),
        (PermissionError("x"), False),
        (ValueError("x"), False),
    ],
)
def test_what_may_pass(error, passes):
    assert retries.passes(error) is passes


def test_it_is_asked_until_it_is_answered():
    asked = []

    def ask(answer: str, times: int = 0) -> str:
        asked.append(answer)
        if len(asked) <= times:
            raise retries.Passing("not yet")
        return answer

    assert retries.patiently(ask, "here", times=2) == "here"
    assert asked == ["here"] * 3


def test_patience_ends_and_what_cannot_pass_is_raised_at_once(monkeypatch):
    monkeypatch.setattr(retries, "PATIENCE", 0.5)
    asked = []

    def ask(error: Exception) -> None:
        asked.append(error)
        raise error

    began = time.monotonic()
    with pytest.raises(retries.Passing, match="busy"):
        retries.patiently(ask, retries.Passing("busy"))
    assert 0.5 < time.monotonic() - began < 10 and len(asked) > 1
    asked.clear()
    with pytest.raises(PermissionError):
        retries.patiently(ask, PermissionError())
    assert len(asked) == 1


def test_a_store_that_never_answers_is_given_up(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:  # which takes connections, and nobody reads
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr("gcsfs.retry.asyncio", SimpleNamespace(sleep=lambda seconds: asyncio.sleep(seconds / 50)))
        monkeypatch.setattr(google, "STALLED", aiohttp.ClientTimeout(total=None, sock_connect=1, sock_read=0.2))
        monkeypatch.setattr(retries, "PATIENCE", 0.5)
        with pytest.raises(storage.StoreError, match=r"^gs://corpus/a: .*[Tt]imeout"):
            storage.exists("gs://corpus/a")
