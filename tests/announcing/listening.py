"""A server of this machine that takes what is sent to it, answers as it is told, and keeps what came."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Listener(ThreadingHTTPServer):
    """What came, as (path, body); with `hangs` it answers nobody until it is closed."""

    daemon_threads = True

    def __init__(self, hangs: bool = False, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.got: list[tuple[str, bytes]] = []
        self.hangs, self.over = hangs, threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def events(self) -> list[dict[str, Any]]:
        """What came as JSON."""
        return [json.loads(body) for path, body in self.got if path.endswith("lineage")]

    @property
    def kinds(self) -> list[str]:
        """Of events."""
        return [each["eventType"] for each in self.events]


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        self.server.got.append((self.path, body))
        if self.server.hangs:
            self.server.over.wait(120)
            return
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing on the standard error."""


@contextmanager
def listening(hangs: bool = False, port: int = 0) -> Iterator[Listener]:
    """One that listens until the block ends."""
    server = Listener(hangs, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
