"""A Pub/Sub service on loopback, Google's own fake, and a network before it that fails as networks do."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

BUILD = Path(__file__).parent / "brokers" / "build.sh"
PROJECT = "projects/test-project"
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed, which the tests' broker is in")


class Broker:
    """A running service, and what tests do with it; it keeps everything in memory."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        import grpc
        from google.pubsub_v1 import PublisherClient, SubscriberClient
        from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
        from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

        self.process = process
        self.address = address
        self._channel = grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1)])
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self._channel))
        self.client = SubscriberClient(transport=SubscriberGrpcTransport(channel=self._channel))

    def topic(self, name: str, *subscriptions: str, deadline: int = 10) -> list[str]:
        """A new topic and subscriptions of it; the names by which these are known."""
        path = f"{PROJECT}/topics/{name}"
        self._publisher.create_topic(name=path)
        made = []
        for each in subscriptions:
            request = {"name": f"{PROJECT}/subscriptions/{each}", "topic": path, "ack_deadline_seconds": deadline}
            made.append(self.client.create_subscription(request=request).name)
        return made

    def delete(self, name: str) -> None:
        """Delete a topic; its subscriptions stay."""
        self._publisher.delete_topic(topic=f"{PROJECT}/topics/{name}")

    def publish(self, topic: str, messages: Sequence[tuple[bytes, dict[str, str]]]) -> list[str]:
        """Publish messages, as (payload, attributes), fast; their ids."""
        ids: list[str] = []
        for some in _requests(messages):
            request = {"topic": f"{PROJECT}/topics/{topic}", "messages": some}
            ids += self._publisher.publish(request=request).message_ids
        return ids

    def pull(self, subscription: str, seconds: float) -> list[str]:
        """The ids of what another puller gets within some seconds; it stays leased to that one."""
        ids: list[str] = []
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            answer = self.client.pull(
                request={"subscription": subscription, "max_messages": 1000}, timeout=left + 1, retry=None
            )
            ids += [each.message.message_id for each in answer.received_messages]
        return ids

    def halt(self) -> None:
        """It answers nothing, and its clock goes on."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It answers again."""
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._channel.close()


def _requests(messages: Sequence[tuple[bytes, dict[str, str]]]) -> Iterator[list[dict[str, Any]]]:
    """Messages in requests that the service takes: of 4 MiB at most, or one that is larger."""
    some: list[dict[str, Any]] = []
    size = 0
    for data, attributes in messages:
        if some and (len(some) == 1000 or size + len(data) > 3 * 2**20):
            yield some
            some, size = [], 0
        some.append({"data": data, "attributes": attributes})
        size += len(data) + sum(len(key) + len(value) for key, value in attributes.items())
    if some:
        yield some


def built() -> str:
    """The program of the service; it is built if need be."""
    return subprocess.run([BUILD], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def answering(process: subprocess.Popen[bytes], file: Path) -> str:
    """The address of a service that was started with `-address-file`, as soon as it answers."""
    until = time.monotonic() + 30
    while not file.exists():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError("the broker did not start")
        time.sleep(0.01)
    return file.read_text()


@contextmanager
def running(deadline: int = 10, **failing: str) -> Iterator[Broker]:
    """A broker of its own, whose subscriptions may have this deadline or a longer one, in seconds.

    `failing`: calls that always fail, and the code: `Pull="PERMISSION_DENIED"`.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder, "address")
        command = [built(), f"-address-file={file}", f"-min-ack-deadline={deadline}s"]
        command += [f"-fail={call}={code}" for call, code in failing.items()]
        with subprocess.Popen(command) as process:
            try:
                broker = Broker(process, answering(process, file))
                yield broker
                broker.close()
            finally:
                process.kill()


@contextmanager
def leading(address: str) -> Iterator[None]:
    """Every client that this process makes, or a child, is led to an address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBSUB_EMULATOR_HOST", address)
        yield


class Proxy:
    """A way to a service that is slow, breaks, or loses what comes back. Bytes are only passed on, never looked at."""

    def __init__(self, address: str) -> None:
        self.delay = 0.0  # seconds that every piece of data is under way, in either direction
        self.late = threading.Event()  # while it is set, answers are held back
        host, port = address.rsplit(":", 1)
        self._target = (host, int(port))
        self._open = True
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break all connections, and let no new one through."""
        self._open = False
        self.reset()

    def restore(self) -> None:
        """Let connections through again."""
        self._open = True

    def reset(self) -> None:
        """Break all connections; what was held back is lost."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for each in pair:
                with suppress(OSError):
                    # Linger of 0 seconds: the other end is told by a reset, and what was sent may not arrive.
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._open:
                near.close()
                continue
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._pairs.append((near, far))
            threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(2**16):
                if self.delay:
                    time.sleep(self.delay)
                while answers and self.late.is_set():
                    time.sleep(0.01)
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(broker: Broker) -> Iterator[Proxy]:
    """A way to a broker, which every client of this process goes."""
    proxy = Proxy(broker.address)
    try:
        with leading(proxy.address):
            yield proxy
    finally:
        proxy.close()


def environment(address: str) -> dict[str, str]:
    """What a child is started with to be led to an address."""
    return {**os.environ, "PUBSUB_EMULATOR_HOST": address}
