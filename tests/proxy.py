"""A proxy on loopback before a storage service, that breaks some of what goes through it; by a seed, the same again.

It speaks no more HTTP than it must, so that it can break an answer anywhere: 503 in the place of the service, a
connection that is closed before the question was passed on, or after it (what was asked is done, and nobody is told), a
body that ends before its length, one that comes slowly, and one that says it is whole and is not.
"""

import random
import re
import socket
import socketserver
import struct
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedIOBase
from typing import IO

KINDS = ("busy", "refused", "unanswered", "cut", "slow", "short")
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy"


class Faults:
    """Which of the questions meet with which fault; it may change at any time."""

    def __init__(self, seed: int) -> None:
        self.rates: dict[str, float] = {}  # by kind, a part of 1 of what `where` finds
        self.where = ""  # in "METHOD /path"
        self.met: Counter[str] = Counter()  # how many did, by kind
        self.asked = 0
        self._once = ""
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def once(self, kind: str) -> None:
        """The next question that can meets with a fault, and none after it; what was met is forgotten."""
        with self._lock:
            self._once, self.rates = kind, {}
            self.met.clear()

    def draw(self, question: str) -> str:
        """The fault that a question meets with; "" for none."""
        with self._lock:
            self.asked += 1
            drawn = self._random.random()
            if not re.search(self.where, question):
                return ""
            if self._once:
                return self._once
            for kind, rate in self.rates.items():
                if drawn < rate:
                    return kind
                drawn -= rate
            return ""

    def meet(self, kind: str) -> None:
        """Count one."""
        with self._lock:
            self.met[kind] += 1
            self._once = ""


@contextmanager
def before(service: str, seed: int = 0) -> Iterator[tuple[str, Faults]]:
    """The URL of a proxy to a service, and what is broken on the way."""
    faults = Faults(seed)
    there = urllib.parse.urlsplit(service)

    class Exchange(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):
                self._exchange()

        def _exchange(self) -> None:
            """Pass on a question and its answer."""
            head = _head(self.rfile)
            if not head:
                return
            if re.search(rb"(?i)\r\nexpect: *100-continue", head):
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = _body(self.rfile, head)
            kind = faults.draw(urllib.parse.unquote(head.split(b"\r\n", 1)[0].decode("latin-1").rsplit(" ", 1)[0]))
            if kind == "busy":
                faults.meet(kind)
                self.wfile.write(BUSY.removesuffix(b"busy") if head.startswith(b"HEAD ") else BUSY)
                return
            if kind == "refused":
                faults.meet(kind)
                self._reset()
                return
            host = f"127.0.0.1:{self.connection.getsockname()[1]}".encode()
            with socket.create_connection((there.hostname, there.port)) as on:
                on.sendall(_closing(head) + body)
                with on.makefile("rb") as answer:
                    given = _head(answer)
                    data = b"" if head.startswith(b"HEAD ") else _body(answer, given, ended=True)
            self._answer(kind, _closing(given.replace(f"{there.hostname}:{there.port}".encode(), host)), data)

        def _answer(self, kind: str, given: bytes, data: bytes) -> None:
            if kind == "unanswered":
                faults.meet(kind)
                self._reset()
                return
            if kind and len(data) > 1:
                half = len(data) // 2
                if kind == "cut":
                    faults.meet(kind)
                    data = data[:half]
                if kind == "short" and b"content-length" in given.lower() and b" 206 " in given.split(b"\r\n", 1)[0]:
                    faults.meet(kind)
                    given = re.sub(rb"(?i)(content-length: *)\d+", rb"\g<1>%d" % half, given)
                    data = data[:half]
                if kind == "slow":
                    faults.meet(kind)
                    self.wfile.write(given)
                    for at in range(0, len(data), len(data) // 4 + 1):
                        self.wfile.write(data[at : at + len(data) // 4 + 1])
                        time.sleep(0.05)
                    return
            self.wfile.write(given + data)

        def _reset(self) -> None:
            """Close the connection so that the other side is told of a reset."""
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    class Proxy(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            """Who does not stay for an answer is no matter."""

    with Proxy(("127.0.0.1", 0), Exchange) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", faults
        finally:
            server.shutdown()
            thread.join()


def _head(stream: BufferedIOBase | IO[bytes]) -> bytes:
    """The first line and the headers, with the empty line behind them; b"" where nothing comes."""
    lines = []
    while line := stream.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _body(stream: BufferedIOBase | IO[bytes], head: bytes, ended: bool = False) -> bytes:
    """The body as it is sent; `ended` says that one without a length ends with the connection."""
    headers = head.lower()
    if found := re.search(rb"\r\ncontent-length: *(\d+)", headers):
        return stream.read(int(found[1]))
    if b"\r\ntransfer-encoding: chunked" in headers:
        parts = []
        while True:
            size = stream.readline()
            length = int(size.split(b";")[0], 16)
            parts.append(size + stream.read(length) + stream.readline())
            if not length:
                return b"".join(parts)
    status = head.split(b" ", 2)[1]
    return stream.read() if ended and status not in (b"204", b"304") and not status.startswith(b"1") else b""


def _closing(head: bytes) -> bytes:
    """A question, as the last one on its connection and without the wait for a 100."""
    first, _, rest = head.partition(b"\r\n")
    kept = [line for line in rest.split(b"\r\n") if not re.match(rb"(?i)(connection|expect):", line)]
    return b"\r\n".join([first, b"Connection: close", *kept])
