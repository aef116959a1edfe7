"""A Flink's jobs, over its REST API."""

import urllib.error
from typing import Any

from pipelines.flink import address, asked

OVER = frozenset({"FINISHED", "CANCELED", "FAILED"})
"""States that a job does not leave."""
_AT_WORK = frozenset({"INITIALIZING", "CREATED", "RUNNING", "FAILING", "RESTARTING", "RECONCILING"})


class Gone(Exception):
    """No job of this id is known to the Flink."""


class FlinkJobs:
    """Those of one Flink. Every call raises `OSError` where it does not answer, or what answers is no Flink."""

    def __init__(self, master: str) -> None:
        self._master = master

    def page(self, job: str) -> str:
        """Where people see a job."""
        return f"{address(self._master)}/#/job/running/{job}/overview"

    def at_work(self, name: str) -> str | None:
        """The id of the job of a name that runs, or soon does; the newest of several."""
        found = [each for each in self._asked("jobs/overview")["jobs"] if each["name"] == name]
        running = [each for each in found if each["state"] in _AT_WORK]
        return str(max(running, key=lambda each: each["start-time"])["jid"]) if running else None

    def state(self, job: str) -> str:
        """As Flink calls it. Raises `Gone`."""
        return str(self._asked(f"jobs/{job}")["state"])

    def failure(self, job: str) -> tuple[int, str] | None:
        """When (ms since 1970) the job failed last, since which it may have been started again, and why."""
        history = self._asked(f"jobs/{job}/exceptions?maxExceptions=1")["exceptionHistory"]["entries"]
        return (int(history[0]["timestamp"]), str(history[0]["stacktrace"])) if history else None

    def cancel(self, job: str) -> None:
        """Ask for its end."""
        self._asked(f"jobs/{job}?mode=cancel", "PATCH")

    def _asked(self, path: str, method: str = "GET") -> dict[str, Any]:
        try:
            return asked(self._master, path, method)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise Gone(path) from error
            raise
