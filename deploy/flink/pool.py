"""A pool of workers for the TaskManagers of one machine: python deploy/flink/pool.py --port=50000.

Beam's own pool knows a worker by its id alone, and each TaskManager counts its workers from 1: of two that share a
pool, each would stop workers of the other. Here nobody stops a worker by its id. It lives while the service answers
that it was started for, and ends with it, however that ended.

A request for one is answered when it is there. Beam's pool answers at once: a worker that dies as it starts is then
waited for without end, and one whose job is cancelled meanwhile stays until its TaskManager ends.
"""

import argparse
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref

import grpc
from apache_beam.portability.api import beam_fn_api_pb2 as messages
from apache_beam.portability.api import beam_fn_api_pb2_grpc as services
from apache_beam.utils.thread_pool_executor import shared_unbounded_instance

LOOK, GRACE = 2.0, 10.0
"""Seconds between two looks at a service, and from its end to that of a worker which does not end by itself."""

ADDRESS = re.compile(r"(?!-)[^\s/]+:\d{1,5}")
READY = b"."
WORKER = f"""\
import os, sys
from apache_beam.runners.worker.sdk_worker import SdkHarness
harness = SdkHarness(sys.argv[1], worker_id=sys.argv[2])
os.write(int(sys.argv[3]), {READY!r})
os.close(int(sys.argv[3]))
harness.run()
"""


class Pool(services.BeamFnExternalWorkerPoolServicer):
    """The service that a TaskManager asks for a worker."""

    def __init__(self) -> None:
        self._workers: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()

    def end(self) -> None:
        """Ask all workers to end."""
        for each in self._workers:
            each.terminate()

    def StartWorker(
        self, request: messages.StartWorkerRequest, context: grpc.ServicerContext
    ) -> messages.StartWorkerResponse:
        """Start a process, which connects to who asked for it; killed where nobody waits for it any more."""
        address = request.control_endpoint.url
        if not ADDRESS.fullmatch(address):
            return messages.StartWorkerResponse(error=f"{address!r}: expected the HOST:PORT of who asks for a worker")
        told, tells = os.pipe()
        words = [sys.executable, "-c", WORKER, address, request.worker_id, str(tells)]
        try:
            worker = subprocess.Popen(words, pass_fds=[tells])
        except OSError as error:
            os.close(told)
            return messages.StartWorkerResponse(error=f"no worker could be started: {error}")
        finally:
            os.close(tells)
        self._workers.add(worker)
        print(f"worker {request.worker_id} of {address}: process {worker.pid}", flush=True)
        threading.Thread(target=mind, args=(worker, address), daemon=True).start()
        with os.fdopen(told, "rb") as pipe:
            while not select.select([pipe], [], [], LOOK / 10)[0]:
                if not context.is_active():
                    worker.kill()
            if pipe.read() != READY:
                how = ended(worker.wait()) if answers(address) else f"nobody listens at {address}"
                return messages.StartWorkerResponse(error=f"the worker ended as it started: {how}")
        return messages.StartWorkerResponse()

    def StopWorker(self, request: messages.StopWorkerRequest, _: object) -> messages.StopWorkerResponse:
        """Nothing: whose worker is meant is not said, and the service that it is of ends with it."""
        return messages.StopWorkerResponse()


def mind(worker: "subprocess.Popen[bytes]", address: str) -> None:
    """Wait for a worker's end, and make it end where its service has."""
    answered = time.monotonic()
    while worker.poll() is None:
        if answers(address):
            answered = time.monotonic()
        elif time.monotonic() - answered > 2 * GRACE:
            worker.kill()
        elif time.monotonic() - answered > GRACE:
            worker.terminate()
        time.sleep(LOOK)
    print(f"process {worker.pid} of {address}: {ended(worker.returncode)}", flush=True)


def ended(code: int) -> str:
    """How a process ended."""
    return f"signal {-code}" if code < 0 else f"code {code}"


def answers(address: str) -> bool:
    """Whether anybody listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK).close()
    except OSError:
        return False
    return True


def main(argv: list[str]) -> None:
    """Serve until this process is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="where TaskManagers ask for workers")
    port = parser.parse_args(argv).port
    # Not beside another pool: of two at one port either would be asked.
    server = grpc.server(shared_unbounded_instance(), options=[("grpc.so_reuseport", 0)])
    pool = Pool()
    services.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.add_insecure_port(f"127.0.0.1:{port}")  # who reaches it has this machine run whatever is sent
    server.start()
    print(f"a pool of workers at port {port}", flush=True)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        server.wait_for_termination()
    finally:
        pool.end()


if __name__ == "__main__":
    main(sys.argv[1:])
