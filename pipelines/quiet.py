"""Threads of Beam that end with a traceback where an engine or a worker is gone: the pipeline ends with that, too."""

import logging
import threading

import grpc
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import data_plane

_THREADS: dict[str, type[Exception]] = {
    # They read from a job server, from an engine whose worker is this process, and from workers of this process.
    "wait_until_finish_read": grpc.RpcError,
    "read_grpc_client_inputs": grpc.RpcError,
    "read_state": grpc.RpcError,
    "read_log_control_messages": grpc.RpcError,
    "beam_control_read": grpc.RpcError,
    # A worker in this process, by its number.
    "run_worker_": grpc.RpcError,
    # It waits for a process of the local runner, and says that it has ended ill.
    "run_worker": RuntimeError,
}
"""How their names begin, and what they raise then."""


def quiet_threads() -> None:
    """They say nothing from now on, in this process: some see it only after the pipeline's end."""
    before = threading.excepthook
    if getattr(before, "quiet", False):
        return

    def told(error: threading.ExceptHookArgs) -> None:
        name = error.thread.name if error.thread is not None else ""
        if not any(name.startswith(each) and issubclass(error.exc_type, kind) for each, kind in _THREADS.items()):
            before(error)

    told.quiet = True  # type: ignore[attr-defined]
    threading.excepthook = told
    for each in (data_plane, worker_handlers):  # which log the same
        logging.getLogger(each.__name__).setLevel(logging.CRITICAL)
