"""A collector of OpenTelemetry on loopback, good or bad, that keeps what it was sent."""

import gzip
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest


class Sent(NamedTuple):
    """A request as it came."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def request(self) -> Any:
        """What it says."""
        body = gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body
        return ExportMetricsServiceRequest.FromString(body)


class Collector:
    """What a collector answers, a connection each; the last answer is given from then on.

    An answer is bytes; a list of bytes sent with a pause of a tenth of a second between them; None for a connection
    that is reset; or "hang", "endless" and "drip", the same of the headers being "headers".
    """

    def __init__(self, *answers: Any, tls: ssl.SSLContext | None = None) -> None:
        self.answers, self.tls = list(answers), tls
        self.sent: list[Sent] = []
        self.over = threading.Event()
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=20)
        self.url = f"http{'s' * (tls is not None)}://127.0.0.1:{self.listening.getsockname()[1]}"

    def serve(self) -> None:
        """Answer until it is over."""
        self.listening.settimeout(0.05)
        while not self.over.is_set():
            with suppress(TimeoutError):
                connection, _ = self.listening.accept()
                connection.settimeout(20)
                with connection, suppress(OSError):
                    if self.tls is None:
                        self._answer(connection)
                    else:
                        with self.tls.wrap_socket(connection, server_side=True) as wrapped:
                            self._answer(wrapped)

    def _answer(self, connection: socket.socket) -> None:
        self.sent.append(_received(connection))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        elif answer == "hang":
            self.over.wait(30)
        elif answer == "endless":
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while not self.over.is_set():
                connection.sendall(bytes(65536))
        else:
            if answer == "drip":
                answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", *[b"\0"] * 300]
            elif answer == "headers":
                answer = [b"HTTP/1.1 200 OK\r\n", *[b"X"] * 300]
            for piece in answer if isinstance(answer, list) else [answer]:
                connection.sendall(piece)
                if isinstance(answer, list):
                    time.sleep(0.1)


def ok(body: bytes = b"", status: str = "200 OK", *headers: str) -> bytes:
    """An answer with its length."""
    told = "".join(f"{each}\r\n" for each in (f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", ""))
    return told.encode() + body


def certificate(folder: str) -> list[str]:
    """A certificate for 127.0.0.1 that nobody trusts yet, and its key, as files."""
    files = [f"{folder}/own.pem", f"{folder}/own.key"]
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=own"
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0], "-keyout", files[1]]
    subprocess.run([*command.split(), *more], check=True, capture_output=True)
    return files


@contextmanager
def collecting(*answers: Any, tls: ssl.SSLContext | None = None) -> Iterator[Collector]:
    """A collector that gives these answers."""
    made = Collector(*answers, tls=tls)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        thread.join()
        made.listening.close()


def _received(connection: socket.socket) -> Sent:
    with connection.makefile("rb") as file:
        path = file.readline().decode().split(" ")[1]
        headers = {}
        while line := file.readline().decode().strip():
            name, _, value = line.partition(":")
            assert name.lower() not in headers
            headers[name.lower()] = value.strip()
        return Sent(path, headers, file.read(int(headers["content-length"])))
