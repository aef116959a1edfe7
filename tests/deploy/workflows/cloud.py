"""What the night's workflow talks to: a store, Dataflow and Cloud Run, as far as it asks them."""

import json
from typing import Any

from google.cloud.dataflow_v1beta3.types import GetJobRequest, JobView, LaunchFlexTemplateRequest

from tests.deploy.workflows.expressions import WorkflowError
from tests.deploy.workflows.interpreter import Call

LAUNCH = "googleapis.dataflow.v1b3.projects.locations.flexTemplates.launch"
GET = "googleapis.dataflow.v1b3.projects.locations.jobs.get"
LIST_JOBS = "googleapis.dataflow.v1b3.projects.locations.jobs.list"
RUN = "googleapis.run.v2.projects.locations.jobs.run"
TASKS = "googleapis.run.v2.projects.locations.jobs.executions.tasks.list"
LIST_OBJECTS = "googleapis.storage.v1.objects.list"
LOG = "sys.log"

ENDED = ("JOB_STATE_DONE", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_UPDATED", "JOB_STATE_DRAINED")
PAGE = 2
"""Things on a page of a listing: few, so that there are pages."""


def http(code: int, message: str = "no") -> WorkflowError:
    """An answer of the service, as a connector raises it."""
    return WorkflowError({"code": code, "message": message, "tags": ["HttpError"]})


def unreachable() -> WorkflowError:
    return WorkflowError({"message": "connection reset", "tags": ["ConnectionError"]})


def no_answer() -> WorkflowError:
    return WorkflowError({"message": "no answer in time", "tags": ["TimeoutError"]})


class Cloud:
    """Everything outside of the workflow. Where it `publishes`, a job that ends leaves a version."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._environ = environ
        self.objects: list[str] = []
        self.jobs: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.logged: list[tuple[str, str]] = []
        self.answers: dict[str, list[WorkflowError]] = {}  # by call, what it raises at first
        self.lost: list[str] = []  # calls that do their work once more, and of which the answer is lost
        self.ways = ["JOB_STATE_QUEUED", "JOB_STATE_RUNNING", "JOB_STATE_DONE"]  # of a job, one at each look
        self.publishes = True
        self.code: int | None = 0  # with which the container ends; None where it does not start

    def calls(self) -> dict[str, Call]:
        """Every call, by its name."""
        of: dict[str, Call] = {
            LAUNCH: self._launch,
            GET: self._get,
            LIST_JOBS: self._list_jobs,
            RUN: self._run,
            TASKS: self._tasks,
            LIST_OBJECTS: self._list_objects,
            LOG: self._log,
        }
        return {name: self._heard(name, call) for name, call in of.items()}

    def names(self) -> list[str]:
        """What was asked, in order."""
        return [name for name, _ in self.asked]

    def given(self, name: str) -> list[dict[str, Any]]:
        """What was given to a call, each time."""
        return [given for asked, given in self.asked if asked == name]

    def publish(self, run_date: str) -> None:
        """The next version of a night."""
        folder = f"{self._environ['OUTPUT_FOLDER']}_versions/run_date={run_date}/"
        number = 1 + sum(each.startswith(folder) for each in self.objects)
        self.objects.append(f"{folder}{number:08d}.json")

    def at_work(self) -> list[dict[str, Any]]:
        """Jobs that have not ended."""
        return [each for each in self.jobs if each["currentState"] not in ENDED]

    def _heard(self, name: str, call: Call) -> Call:
        def heard(given: dict[str, Any]) -> Any:
            self.asked.append((name, given))
            if self.answers.get(name):
                raise self.answers[name].pop(0)
            answer = call(given)
            if name in self.lost:
                self.lost.remove(name)
                raise unreachable()
            return answer

        return heard

    def _launch(self, given: dict[str, Any]) -> dict[str, Any]:
        # Google's own description of the request: a field that it does not have is refused here.
        LaunchFlexTemplateRequest.from_json(json.dumps(given["body"]), ignore_unknown_fields=False)
        asked = given["body"]["launchParameter"]
        if any(each["name"] == asked["jobName"] for each in self.at_work()):
            raise http(409, f"There is already an active job named {asked['jobName']}.")
        job = {
            "id": f"2026-11-21_00_00_0{len(self.jobs)}-1",
            "name": asked["jobName"],
            "currentState": self.ways[0],
            "looks": 0,
            "parameters": asked["parameters"],
        }
        self.jobs.append(job)
        return {"job": {key: job[key] for key in ("id", "name")}}

    def _get(self, given: dict[str, Any]) -> dict[str, Any]:
        asked = GetJobRequest.from_json(json.dumps(given), ignore_unknown_fields=False)
        assert asked.view == JobView.JOB_VIEW_SUMMARY, "with its steps a job is larger than what an execution may keep"
        (job,) = [each for each in self.jobs if each["id"] == given["jobId"]]
        if job["currentState"] not in ENDED:
            job["looks"] = min(job["looks"] + 1, len(self.ways) - 1)
            job["currentState"] = self.ways[job["looks"]]
            if job["currentState"] in ENDED and self.publishes:
                self._label(job["parameters"])
        return {key: job[key] for key in ("id", "name", "currentState")}

    def _label(self, parameters: dict[str, str]) -> None:
        """As the command: what is published is not published again, unless it is asked for."""
        folder = f"{self._environ['OUTPUT_FOLDER']}_versions/run_date={parameters['run_date']}/"
        if parameters.get("overwrite") == "true" or not any(each.startswith(folder) for each in self.objects):
            self.publish(parameters["run_date"])

    def _list_jobs(self, given: dict[str, Any]) -> dict[str, Any]:
        assert given["filter"] == "ACTIVE"
        return _page([{key: job[key] for key in ("id", "name")} for job in self.at_work()], "jobs", given)

    def _list_objects(self, given: dict[str, Any]) -> dict[str, Any]:
        assert given["bucket"] == self._environ["OUTPUT_BUCKET"]
        names = [each for each in sorted(self.objects) if each.startswith(given["prefix"])]
        return _page([{"name": each} for each in names if each >= given["startOffset"]], "items", given)

    def _run(self, given: dict[str, Any]) -> dict[str, Any]:
        if self.code:
            name = f"{given['name']}/executions/judge-1"
            operation = {"name": "operations/1", "metadata": {"name": name}, "error": {"code": 2}}
            raise WorkflowError({"message": "failed", "tags": ["OperationError"], "operation": operation})
        return {"succeededCount": 1}

    def _tasks(self, given: dict[str, Any]) -> dict[str, Any]:
        assert given["parent"] == f"{self._environ['APPROVE_JOB']}/executions/judge-1"
        return {"tasks": [{"index": 0, "lastAttemptResult": {"exitCode": self.code}}]}

    def _log(self, given: dict[str, Any]) -> None:
        self.logged.append((given["severity"], given["text"]))


def _page(things: list[dict[str, Any]], name: str, given: dict[str, Any]) -> dict[str, Any]:
    """One page; without things there is no list, and no token behind the last page, as the services do."""
    first = int(given.get("pageToken", 0))
    page: dict[str, Any] = {name: things[first : first + PAGE]} if things[first:] else {}
    return {**page, "nextPageToken": str(first + PAGE)} if things[first + PAGE :] else page
