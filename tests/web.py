"""A web server on loopback, with or without what servers may leave out."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Pages(ThreadingHTTPServer):
    """Files by their paths, and how they are given."""

    files: dict[str, bytes]
    ranges: bool = True  # parts of a file can be asked for
    length: bool = True  # an answer says how long it is
    version: str = '"1"'  # the ETag; "" for none
    login: str = ""  # user:password that must be given
    modified: str = ""  # what Last-Modified says
    status: int = 200  # the answer to whatever is asked, where it is another one
    location: str = ""  # what Location says
    encoding: str = ""  # what Content-Encoding says
    cut: int = 0  # bytes that an answer lacks at its end
    shift: int = 0  # bytes by which a part, but for the first byte, is another one than was asked for

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {}
        self.asked: list[tuple[str, str | None]] = []  # (path, range) of each request

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    """The URL of a server, which answers until the block ends."""
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def server() -> Iterator[Pages]:
    """A running server."""
    pages = Pages()
    with serving(pages):
        yield pages


class _Handler(BaseHTTPRequestHandler):
    server: Pages

    def do_GET(self) -> None:
        pages = self.server
        wanted = self.headers.get("Range")
        pages.asked.append((self.path, wanted))
        login = base64.b64encode(pages.login.encode()).decode()
        if pages.login and self.headers.get("Authorization") != f"Basic {login}":
            return self._answer(401, {}, b"")
        if pages.status != 200:
            return self._answer(pages.status, {"Location": pages.location}, b"")
        data = pages.files.get(self.path)
        if data is None:
            return self._answer(404, {}, b"not here")
        headers = {"ETag": pages.version, "Last-Modified": pages.modified, "Content-Encoding": pages.encoding}
        if not (wanted and pages.ranges):
            return self._answer(200, headers, data)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        if int(first) >= len(data):
            return self._answer(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
        first = str(int(first) + (pages.shift if int(last) else 0))
        part = data[int(first) : int(last) + 1]
        at = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
        return self._answer(206, {**headers, "Content-Range": at, "Accept-Ranges": "bytes"}, part)

    def _answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        if self.server.length:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with suppress(ConnectionError):  # whoever asks for the first byte does not stay for the rest
            self.wfile.write(data[: len(data) - self.server.cut])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
