"""A Google Cloud Storage server on loopback: an emulator process, and before it what it leaves out.

The emulator ignores `ifGenerationMatch`, by which one of many creates an object or replaces it, and the `generation` of
a DELETE, by which only the object goes that was seen; it cannot cancel an upload, nor take a part of one twice; and it
gives an object that is stored with `contentEncoding: gzip` as any other. The gateway here answers as the real service
does: 412 where there is another generation, 404 where one is to be removed that is not there, a cancelled upload as
gone; and such an object unpacked, whole whatever range is asked for, without its length, unless the client takes gzip
(https://cloud.google.com/storage/docs/transcoding). Whatever writes holds a lock, so that nobody comes between the
question and the answer.
"""

import asyncio
import gzip
import http.client
import re
import socket
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import gcsfs
import pytest
from aiohttp import ClientSession, web

from tests.web import serving


@contextmanager
def server(bucket: str) -> Iterator[str]:
    """A running service with one bucket; its URL."""
    port = _free_port()
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", f"--port={port}", "--in-memory"]
    output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, f"--default-bucket={bucket}"], **output) as emulator:  # type: ignore[call-overload]
        try:
            with _gateway(f"http://127.0.0.1:{port}") as url:
                yield url
        finally:
            emulator.kill()  # it ignores SIGTERM


@contextmanager
def bucket(name: str) -> Iterator[str]:
    """The URI of a bucket on a service of its own, to which this process's clients are led."""
    with server(name) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", url)
        gcsfs.GCSFileSystem.clear_instance_cache()
        yield f"gs://{name}"
        gcsfs.GCSFileSystem.clear_instance_cache()


class Faults:
    """Which requests to a gateway fail, and how; it may change at any time."""

    def __init__(self) -> None:
        self.where = ""  # in the method, the path or the body: "METHOD /path body"; "" for none
        self.status = 401  # 0: the connection is closed instead
        self.body = b'{"error": {"code": 401, "message": "no"}}'
        self.failed = 0  # how many did


@contextmanager
def failing(service: str) -> Iterator[tuple[str, Faults]]:
    """The URL of a gateway to a storage service, and what fails at it."""
    faults = Faults()

    class Gateway(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = f"{self.command} {urllib.parse.unquote(self.path)} {body[:2000].decode('latin-1')}"
            if faults.where and re.search(faults.where, asked, re.DOTALL):
                faults.failed += 1
                self.close_connection = True
                if faults.status:
                    self._give(faults.status, {"Content-Type": "application/json"}, faults.body)
                return
            left_out = ("host", "connection", "accept-encoding")
            headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
            there = http.client.HTTPConnection(urllib.parse.urlsplit(service).netloc)
            there.request(self.command, self.path, body or None, headers)
            answered = there.getresponse()
            kept = {name: answered.headers[name] for name in ("Content-Type", "Location") if name in answered.headers}
            data = answered.read()
            there.close()
            if "Location" in kept:
                kept["Location"] = kept["Location"].replace(service, f"http://{self.headers['Host']}")
            self._give(answered.status, kept, data)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def _give(self, status: int, headers: dict[str, str], data: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # whoever asks for a few bytes does not stay for the rest
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Gateway)) as url:
        yield url, faults


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _gateway(emulator: str) -> Iterator[str]:
    port = _free_port()
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        lock = asyncio.Lock()
        packed = False
        said: dict[tuple[str, str], web.Response] = {}  # of the parts of uploads, by their id and range
        async with ClientSession() as session:
            await _wait_for(session, emulator)

            async def handle(request: web.Request) -> web.StreamResponse:
                nonlocal packed
                body = await request.read()
                if request.method == "DELETE" and request.path.startswith("/upload/"):
                    return web.Response(status=499)
                if request.method == "GET":
                    if packed and request.query.get("alt") == "media":
                        return await _transcoded(session, emulator, request)
                    return await _pass_on(session, emulator, request, body)
                packed = packed or b'"contentEncoding"' in body[:2000]
                async with lock:
                    if "ifGenerationMatch" in request.query and "upload_id" not in request.query:
                        name = urllib.parse.quote(_object_name(request, body), safe="")
                        bucket = request.path.split("/b/")[1].split("/")[0]
                        there = await _generation(session, f"{emulator}/storage/v1/b/{bucket}/o/{name}")
                        if (there or "0") != request.query["ifGenerationMatch"]:
                            return web.json_response({"error": {"code": 412, "message": "not that one"}}, status=412)
                    if request.method == "DELETE" and "generation" in request.query:
                        there = await _generation(session, f"{emulator}{request.raw_path.split('?')[0]}")
                        if there != request.query["generation"]:
                            return web.json_response({"error": {"code": 404, "message": "not that one"}}, status=404)
                    part = request.query.get("upload_id", ""), request.headers.get("Content-Range", "")
                    if part in said:
                        return web.Response(status=said[part].status, body=said[part].body, headers=said[part].headers)
                    answer = await _pass_on(session, emulator, request, body)
                    if part[0] and answer.status in (200, 308):
                        said[part] = answer
                    return answer

            app = web.Application(client_max_size=2**30)
            app.router.add_route("*", "/{path:.*}", handle)
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port).start()
            ready.set()
            await stop.wait()
            await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(30), "the storage emulator did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


async def _wait_for(session: ClientSession, url: str) -> None:
    for _ in range(200):
        try:
            async with session.get(url):
                return
        except OSError:
            await asyncio.sleep(0.1)


async def _generation(session: ClientSession, url: str) -> str | None:
    """That of an object; None where there is none."""
    async with session.get(url) as answer:
        return str((await answer.json())["generation"]) if answer.status == 200 else None


def _object_name(request: web.Request, body: bytes) -> str:
    if "name" in request.query:
        return request.query["name"]
    text = body[:2000].decode("latin-1")
    return text.split('"name": "')[1].split('"')[0]


async def _transcoded(session: ClientSession, emulator: str, request: web.Request) -> web.StreamResponse:
    """The bytes of an object, as the service gives what is stored with `contentEncoding: gzip`."""
    path = request.raw_path.split("?")[0].removeprefix("/download")
    async with session.get(f"{emulator}{path}") as answer:
        about = await answer.json() if answer.status == 200 else {}
    if about.get("contentEncoding") != "gzip":
        return await _pass_on(session, emulator, request, b"")
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        given = await _pass_on(session, emulator, request, b"")
        given.headers["Content-Encoding"] = "gzip"
        return given
    async with session.get(f"{emulator}{request.raw_path}") as answer:
        data = gzip.decompress(await answer.read())
    stream = web.StreamResponse(headers={"Warning": "214 UploadServer gunzipped"})
    stream.enable_chunked_encoding()
    await stream.prepare(request)
    await stream.write(data)
    return stream


async def _pass_on(session: ClientSession, emulator: str, request: web.Request, body: bytes) -> web.Response:
    headers: dict[str, Any] = {k: v for k, v in request.headers.items() if k.lower() not in ("host", "content-length")}
    url = f"{emulator}{request.raw_path}"
    async with session.request(request.method, url, headers=headers, data=body, allow_redirects=False) as answer:
        data = await answer.read()
        dropped = ("content-length", "transfer-encoding", "content-encoding", "connection")
        kept = {k: v for k, v in answer.headers.items() if k.lower() not in dropped}
        if "Location" in kept:
            kept["Location"] = kept["Location"].replace(emulator, f"http://{request.host}")
        return web.Response(status=answer.status, body=data, headers=kept)
