"""An S3 server on loopback: moto in a process of its own, and what it leaves out.

moto asks whether a condition holds and then writes, in several threads; here whatever writes to a key has it for
itself, and of conditional writes to one key at once all but one are told 409, as by the real service.
`python -m tests.s3 PORT [ADDRESS]` is that process.
"""

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pytest
import s3fs

CONFLICT = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>ConditionalRequestConflict</Code><Message>The conditional '
    b"request cannot succeed due to a conflicting operation against this resource.</Message></Error>"
)


@contextmanager
def server(address: str = "127.0.0.1") -> Iterator[str]:
    """A running service at an address of this machine; its URL."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    url = f"http://{address}:{port}"
    output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": Path(__file__).parents[1]}
    with subprocess.Popen([sys.executable, "-m", "tests.s3", str(port), address], **output) as process:  # type: ignore[call-overload]
        try:
            _wait_for(url)
            yield url
        finally:
            process.kill()


@contextmanager
def led_to(url: str) -> Iterator[None]:
    """This process's clients, and those of its children, ask that service."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", url)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        yield
        s3fs.S3FileSystem.clear_instance_cache()


@contextmanager
def bucket(name: str, address: str = "127.0.0.1") -> Iterator[str]:
    """The URI of a bucket on a service of its own, to which this process's clients are led."""
    with server(address) as url, led_to(url):
        fsspec.filesystem("s3").mkdir(name)
        yield f"s3://{name}"


def _wait_for(url: str) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(url):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the S3 server did not start")


class _Exclusive:
    """A WSGI application of which requests that write to one path come one after the other."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._lock = threading.Lock()
        self._paths: dict[str, threading.Lock] = {}

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self._application(environ, start)
        conditional = "HTTP_IF_MATCH" in environ or "HTTP_IF_NONE_MATCH" in environ
        with self._lock:
            path = self._paths.setdefault(environ["PATH_INFO"], threading.Lock())
        if not path.acquire(blocking=not conditional):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or -1))
            start("409 Conflict", [("Content-Type", "application/xml"), ("Content-Length", str(len(CONFLICT)))])
            return [CONFLICT]
        try:
            return list(self._application(environ, start))
        finally:
            path.release()


def _serve(port: int, address: str = "127.0.0.1") -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = _Exclusive(DomainDispatcherApplication(create_backend_app))
    make_server(address, port, application, threaded=True).serve_forever()


if __name__ == "__main__":
    os.environ.setdefault("MOTO_S3_DEFAULT_KEY_BUFFER_SIZE", str(2**26))
    _serve(int(sys.argv[1]), *sys.argv[2:])
