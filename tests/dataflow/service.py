"""A double of the Dataflow service on loopback: it takes jobs as Google's own messages define them, and runs them.

It speaks as much of the REST API v1b3 as a command that sends a job needs: jobs are made, listed, looked at and
cancelled, and tell messages and counters. A body or a parameter that Google's messages do not have is refused. A job
runs the graph that it staged, in a process of its own, four times where it fails; or it goes where a test tells it to.
What it has not: machines, images, accelerators, quotas, permissions, and a source of messages.
"""

import hashlib
import json
import re
import threading
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
from google.cloud import dataflow_v1beta3 as api
from google.protobuf import json_format

from tests.dataflow import staged
from tests.dataflow.credentials import TOKEN
from tests.halt import Process
from tests.web import serving

ATTEMPTS = 4
_PLACE = r"/v1b3/projects/(?P<project_id>[^/]+)/locations/(?P<location>[^/]+)/jobs"
_JOB = rf"{_PLACE}/(?P<job_id>[^/:]+)"
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?")
_OVER = {api.JobState[f"JOB_STATE_{name}"] for name in ("DONE", "FAILED", "CANCELLED", "DRAINED", "UPDATED")}
_IMPORTANCE = ("IMPORTANCE_UNKNOWN", "DEBUG", "DETAILED", "BASIC", "WARNING", "ERROR")
"""From the least; the numbers of Google's messages have another order."""
_TRACE = "1234567890abcdef"
_REASONS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 409: "ALREADY_EXISTS"}
_REASONS |= {429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE", 403: "PERMISSION_DENIED"}


class Refused(Exception):
    """An answer that is no good one: (status, message)."""


@dataclass
class Fault:
    """What some requests meet with instead of their answer."""

    where: str  # in "METHOD /path"
    status: int = 503  # 0: the connection is closed
    body: bytes | None = None  # None: an error as Google writes them
    times: int = 1  # -1: always
    done: bool = False  # what was asked is done all the same


@dataclass
class Job:
    """A job: as the service tells of it, and what it runs as."""

    proto: Any  # api.Job
    messages: list[Any] = field(default_factory=list)
    process: Process | None = None
    attempts: int = 0

    @property
    def state(self) -> str:
        """Without JOB_STATE_."""
        return str(self.proto.current_state.name.removeprefix("JOB_STATE_"))


class Service:
    """The double, and what is asked of it."""

    def __init__(self, folder: Path) -> None:
        self.jobs: dict[str, Job] = {}
        self.asked: list[str] = []  # "METHOD /path"
        self.faults: list[Fault] = []
        self.met: Counter[int] = Counter()  # faults, by status
        self.running = True  # jobs run their graphs; else they stay as they are until a test says more
        self.held: set[str] = set()  # jobs that stay as they are, whoever looks
        self.halt_at = ("", "")  # a step of storage and the folder: the next worker halts there
        self.returns_active = False  # a job of a name that is taken: the other one is the answer, instead of 409
        self.lock = threading.RLock()
        self._folder = folder
        self._clock = datetime(2026, 11, 20, 2, tzinfo=UTC)
        self._number = 0

    def become(self, name: str, state: str) -> Job:
        """Have the newest job of a name be in a state."""
        with self.lock:
            job = self.newest(name)
            if job.process is not None:
                job.process.kill()
                job.process = None
            self._enter(job, state)
            return job

    def newest(self, name: str = "") -> Job:
        """The newest job, or that of a name. Raises `KeyError` where there is none."""
        with self.lock:
            found = [job for job in self.jobs.values() if name in ("", job.proto.name)]
            if not found:
                raise KeyError(name)
            return found[-1]

    def start(self, job: Job) -> None:
        """Give a job a worker."""
        with self.lock:
            job.attempts += 1
            graph = self._folder / f"{job.proto.environment.sdk_pipeline_options['options']['pipelineProtoHash']}.pb"
            log = self._folder / f"{job.proto.id}-{job.attempts}.log"
            (step, output), self.halt_at = self.halt_at, ("", "")
            arguments = str(graph), str(self._report(job))
            cache = {"SEQCLS_BEAM_CACHE": str(self._folder / "worker")}  # what the command has fetched is not there
            job.process = Process(staged.work, *arguments, log=log, step=step, output=output, **cache)

    def say(self, job: Job, text: str, importance: str = "ERROR") -> None:
        """Add a message to a job's."""
        self._clock += timedelta(seconds=1)
        message = api.JobMessage(
            id=f"{len(job.messages):04}",
            time=self._clock,
            message_text=text,
            message_importance=api.JobMessageImportance[f"JOB_MESSAGE_{importance}"],
        )
        job.messages.append(message)

    def end(self) -> None:
        """Let nothing of it run on."""
        for job in self.jobs.values():
            if job.process is not None:
                job.process.kill()

    def create(self, body: bytes, at: dict[str, str]) -> Any:
        """A new job; one that was asked for before, by the id of the request; or of a name that is taken the other."""
        proto = api.Job()
        json_format.Parse(body, api.Job.pb(proto))
        for job in self.jobs.values():
            self._look(job)
            if job.proto.client_request_id == proto.client_request_id:
                return job.proto
            if job.proto.name == proto.name and job.proto.current_state not in _OVER:
                if job.proto.id == proto.replace_job_id:
                    continue
                if self.returns_active:
                    return job.proto
                raise Refused(
                    409,
                    f"({_TRACE}): The workflow could not be created. Causes: ({_TRACE}): There is already an active "
                    f"job named {proto.name}. If you want to submit a second job, try again by setting a "
                    "different name.",
                )
        file = self._checked(proto, at)
        self._number += 1
        proto.id = f"2026-11-20_02_00_00-{10**18 + self._number}"
        proto.project_id, proto.location = at["project_id"], at["location"]
        job = Job(proto)
        if proto.replace_job_id:
            self._replace(proto)
        self.jobs[proto.id] = job
        self._enter(job, "PENDING")
        self.say(job, f"Job {proto.id} was taken, and its graph lies in {file}.", "BASIC")
        return proto

    def get(self, body: bytes, at: dict[str, str]) -> Any:
        """A job."""
        return self._found(at).proto

    def update(self, body: bytes, at: dict[str, str]) -> Any:
        """Ask a job to end: a batch is cancelled, a stream is cancelled or drained."""
        asked = api.Job()
        json_format.Parse(body, api.Job.pb(asked))
        job = self._found(at)
        if job.proto.current_state in _OVER:
            raise Refused(400, f"Job {job.proto.id} has ended")
        wanted = asked.requested_state.name.removeprefix("JOB_STATE_")
        end = {"CANCELLED": "CANCELLED", "DRAINED": "DRAINED", "DRAINING": "DRAINED"}.get(wanted)
        if end is None or (end == "DRAINED" and job.proto.type_ != api.JobType.JOB_TYPE_STREAMING):
            raise Refused(400, f"Job {job.proto.id} cannot become {wanted}")
        if job.process is not None:
            job.process.kill()
            job.process = None
        self._enter(job, end)
        return job.proto

    def list_(self, body: bytes, at: dict[str, str]) -> Any:
        """The jobs of a region, two a page."""
        request = api.ListJobsRequest()
        json_format.ParseDict(at, api.ListJobsRequest.pb(request))
        for job in self.jobs.values():
            self._look(job)
        here = [job for job in self.jobs.values() if job.proto.location == request.location]
        if request.filter == api.ListJobsRequest.Filter.ACTIVE:
            here = [job for job in here if job.proto.current_state not in _OVER]
        start = int(request.page_token or 0)
        later = str(start + 2) if start + 2 < len(here) else ""
        return api.ListJobsResponse(jobs=[job.proto for job in here[start : start + 2]], next_page_token=later)

    def messages(self, body: bytes, at: dict[str, str]) -> Any:
        """A job's messages: from a time on, of some importance or more."""
        request = api.ListJobMessagesRequest()
        json_format.ParseDict(at, api.ListJobMessagesRequest.pb(request))
        job = self._found(at)
        least = _IMPORTANCE.index(request.minimum_importance.name.removeprefix("JOB_MESSAGE_"))
        found = [
            each
            for each in job.messages
            if _IMPORTANCE.index(each.message_importance.name.removeprefix("JOB_MESSAGE_")) >= least
        ]
        if "startTime" in at:
            found = [each for each in found if each.time >= request.start_time]
        return api.ListJobMessagesResponse(job_messages=found)

    def metrics(self, body: bytes, at: dict[str, str]) -> Any:
        """The counters of a job's steps, once it is done: what counts, and once more what may not last."""
        job = self._found(at)
        report = self._report(job)
        counted = json.loads(report.read_text()) if report.exists() else []
        made = api.JobMetrics()
        for each in counted:
            value = {name: each[name] for name in ("scalar", "distribution") if name in each}
            for tentative in ({}, {"tentative": "true"}):
                context = {"namespace": each["namespace"], "step": each["step"], **tentative}
                name = api.MetricStructuredName(origin="user", name=each["name"], context=context)
                made.metrics.append(api.MetricUpdate(name=name, **value))
        return made

    def _replace(self, proto: Any) -> None:
        """Have a stream make way for another one. Raises `Refused` where it is none of the same name, at work."""
        old = self.jobs.get(proto.replace_job_id)
        streams = {proto.type_, old.proto.type_ if old else None}
        if old is None or old.proto.name != proto.name or streams != {api.JobType.JOB_TYPE_STREAMING}:
            raise Refused(400, f"{proto.replace_job_id} cannot be replaced by {proto.name}")
        old.proto.replaced_by_job_id = proto.id
        self._enter(old, "UPDATED")

    def _found(self, at: dict[str, str]) -> Job:
        job = self.jobs.get(at["job_id"])
        if job is None or (job.proto.project_id, job.proto.location) != (at["project_id"], at["location"]):
            raise Refused(404, f"({_TRACE}): Information about job {at['job_id']} could not be found.")
        self._look(job)
        return job

    def _checked(self, proto: Any, at: dict[str, str]) -> str:
        """Where a job's graph is. Raises `Refused` for what the real service would not run."""
        if not _NAME.fullmatch(proto.name):
            raise Refused(400, f"{proto.name!r} is no name of a job")
        options = proto.environment.sdk_pipeline_options["options"]
        if options["project"] != at["project_id"]:
            raise Refused(400, f"the job is of project {options['project']}, and sent to {at['project_id']}")
        files = fsspec.filesystem("gs", skip_instance_cache=True)
        for package in proto.environment.worker_pools[0].packages:
            if not files.exists(package.location.replace("storage.googleapis.com/", "gs://")):
                raise Refused(400, f"{package.location} is not there")
        data = files.cat(options["pipelineUrl"])
        if hashlib.sha256(data).hexdigest() != options["pipelineProtoHash"]:
            raise Refused(400, f"{options['pipelineUrl']} is not what was staged")
        asked = [each for each in proto.environment.service_options if each.startswith("worker_accelerator")]
        if asked and staged.hints(staged.graph(data)):
            raise Refused(400, "an accelerator by a service option, and resource hints")
        file = self._folder / f"{hashlib.sha256(data).hexdigest()}.pb"
        file.write_bytes(data)
        return str(options["pipelineUrl"])

    def _enter(self, job: Job, state: str) -> None:
        self._clock += timedelta(seconds=1)
        job.proto.current_state = api.JobState[f"JOB_STATE_{state}"]
        job.proto.current_state_time = self._clock

    def _look(self, job: Job) -> None:
        """Bring a job to where it is by now: each look finds it one step further at most."""
        if job.proto.id in self.held:
            return
        if job.proto.current_state == api.JobState.JOB_STATE_PENDING:
            self._enter(job, "RUNNING")
            if self.running:
                self.start(job)
        elif job.process is not None and not job.process.runs():
            code, said = job.process.code(), job.process.said()
            job.process = None
            if code == 0:
                self._enter(job, "DONE")
                return
            self.say(job, f"Error message from worker: {said or f'the SDK harness ended with {code}'}")
            if job.attempts < ATTEMPTS:
                self.start(job)
                return
            self.say(
                job,
                "Workflow failed. Causes: S01:ReadRecords failed., The job failed because a work item has failed 4 "
                "times. Look in previous log entries for the cause of each one of the 4 failures.",
            )
            self._enter(job, "FAILED")

    def _report(self, job: Job) -> Path:
        return self._folder / f"{job.proto.id}.json"


_ROUTES = {
    ("POST", _PLACE): (Service.create, {"$alt"}),
    ("GET", _PLACE): (Service.list_, {"$alt", "pageToken", "pageSize", "filter", "view"}),
    ("GET", _JOB): (Service.get, {"$alt", "view"}),
    ("PUT", _JOB): (Service.update, {"$alt", "updateMask"}),
    ("GET", f"{_JOB}/messages"): (
        Service.messages,
        {"$alt", "startTime", "endTime", "pageToken", "pageSize", "minimumImportance"},
    ),
    ("GET", f"{_JOB}/metrics"): (Service.metrics, {"$alt", "startTime"}),
}


@contextmanager
def service(folder: Path) -> Iterator[tuple[str, Service]]:
    """The endpoint of a running double, and the double."""
    double = Service(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with double.lock:
                path = urllib.parse.urlsplit(self.path)
                question = f"{self.command} {path.path}"
                double.asked.append(question)
                fault = next((each for each in double.faults if each.times and re.search(each.where, question)), None)
                status, answer = 0, b""
                if fault is None or fault.done:
                    status, answer = self._ask(path, body)
                if fault is not None:
                    fault.times -= 1
                    double.met[fault.status] += 1
                    status = fault.status
                    answer = error(status, "told to fail") if fault.body is None else fault.body
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def _ask(self, path: urllib.parse.SplitResult, body: bytes) -> tuple[int, bytes]:
            try:
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    raise Refused(401, "no token, or another one")
                for (method, pattern), (do, parameters) in _ROUTES.items():
                    found = re.fullmatch(pattern, path.path)
                    if found and method == self.command:
                        given = dict(urllib.parse.parse_qsl(path.query))
                        if unknown := given.keys() - parameters:
                            raise Refused(400, f"unknown parameters {unknown}")
                        at = {**found.groupdict(), **given}
                        at.pop("$alt", None)
                        return 200, _json(do(double, body, at))
                raise Refused(404, f"no such method: {self.command} {path.path}")
            except json_format.ParseError as wrong:
                return 400, error(400, str(wrong))
            except Refused as refused:
                return refused.args[0], error(*refused.args)

        def log_message(self, *_: object) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        try:
            yield url.replace("127.0.0.1", "localhost"), double  # by this name Beam knows that it speaks REST
        finally:
            double.end()


def error(status: int, message: str) -> bytes:
    """An error as Google writes them."""
    return json.dumps(
        {"error": {"code": status, "message": message, "status": _REASONS.get(status, "UNKNOWN")}}
    ).encode()


def _json(found: Any) -> bytes:
    return json_format.MessageToJson(type(found).pb(found), use_integers_for_enums=True).encode()
