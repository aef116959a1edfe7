"""The pool of workers, asked as a TaskManager asks it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2 as messages
from apache_beam.portability.api import beam_fn_api_pb2_grpc as services

from tests.cluster.services import children
from tests.deploy.scripted import DEPLOY
from tests.ports import free_ports
from tests.streams.test_classify_stream import until


class Control(services.BeamFnControlServicer):
    """The service of a TaskManager that its workers connect to."""

    def __init__(self) -> None:
        self.came, self._over = threading.Event(), threading.Event()

    def Control(self, requests, context):
        """Ask a worker for nothing, until all is over."""
        self.came.set()
        if context.add_callback(self._over.set):  # else it is over already
            self._over.wait()
        return iter(())


@contextmanager
def control() -> Iterator[tuple[Control, str]]:
    """One that serves, and its address."""
    servicer = Control()
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads)
        services.add_BeamFnControlServicer_to_server(servicer, server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield servicer, address
        finally:
            server.stop(0).wait()


@contextmanager
def standing() -> Iterator[tuple[services.BeamFnExternalWorkerPoolStub, "subprocess.Popen[bytes]"]]:
    """How to ask a pool, and its process."""
    (port,) = free_ports(1)
    process = subprocess.Popen([sys.executable, DEPLOY / "flink" / "pool.py", f"--port={port}"])
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(60)
            yield services.BeamFnExternalWorkerPoolStub(channel), process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def pool() -> Iterator[tuple[services.BeamFnExternalWorkerPoolStub, int]]:
    with standing() as (ask, process):
        yield ask, process.pid


def asked(address: str) -> messages.StartWorkerRequest:
    request = messages.StartWorkerRequest(worker_id="1-1")
    request.control_endpoint.url = address
    return request


def lives(process: int) -> bool:
    """Whether a process is there that has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_worker_is_there_when_the_pool_answers_and_ends_with_who_asked(pool):
    ask, process = pool
    with control() as (service, address):
        assert ask.StartWorker(asked(address), timeout=60).error == ""
        assert service.came.wait(10)
        assert len(list(children(process))) == 1
    assert until(lambda: not list(children(process)))


def test_nobody_waits_for_a_worker_that_dies_as_it_starts(pool):
    ask, process = pool
    with control() as (_, address):
        answer = ask.StartWorker.future(asked(address), timeout=60)
        assert until(lambda: list(children(process)))
        os.kill(next(children(process)), signal.SIGKILL)
        assert answer.result().error == "the worker ended as it started: signal 9"


@pytest.mark.parametrize("address", ["", "127.0.0.1", "127.0.0.1:port", "--help", "a b:1"])
def test_an_address_that_is_none_is_refused_at_once(pool, address):
    answer = pool[0].StartWorker(asked(address), timeout=5)
    assert answer.error == f"{address!r}: expected the HOST:PORT of who asks for a worker"


def test_an_address_where_nobody_listens_is_named(pool):
    (port,) = free_ports(1)
    answer = pool[0].StartWorker(asked(f"127.0.0.1:{port}"), timeout=90)
    assert answer.error == f"the worker ended as it started: nobody listens at 127.0.0.1:{port}"


def test_a_pool_that_is_told_to_end_takes_its_workers_along():
    with standing() as (ask, process), control() as (_, address):
        for _ in range(2):
            assert ask.StartWorker(asked(address), timeout=90).error == ""
        workers = list(children(process.pid))
        assert len(workers) == 2
        process.terminate()
        assert process.wait(10) == 128 + signal.SIGTERM
        assert until(lambda: not any(map(lives, workers)))


def test_a_worker_that_nobody_waits_for_any_more_goes(pool):
    """As where a job is cancelled while its workers start: the service stays, and would keep it."""
    ask, process = pool
    with control() as (service, address):
        answer = ask.StartWorker.future(asked(address), timeout=60)
        assert until(lambda: list(children(process)))
        answer.cancel()
        assert until(lambda: not list(children(process)))
        assert not service.came.is_set()
