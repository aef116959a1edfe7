"""A job on Dataflow: sent, watched until it ends, and told apart by how it ended.

Beam's own way of waiting prints a traceback for every answer that is missing, waits for the next one for up to an hour,
and says of a job that failed what its last message happened to be. Here the service is asked every few seconds; an
answer that is missing is no news of the job, which works on by itself.
"""

import copy
import hashlib
import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import apache_beam as beam
import tenacity
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions, WorkerOptions

from pipelines.command import GoesOn, say
from pipelines.dataflow import ACCELERATOR
from pipelines.failures import explained, sentence
from pipelines.hanging import Watch
from pipelines.publishing import NoJob, NotTaken
from pipelines.terminal import job as terminal
from seqcls_beam.runs.progress import Reader
from seqcls_beam.runs.run import Run, RunError

POLL_SECONDS = 5.0
PATIENCE = 600.0
"""Seconds without an answer after which the job is left to itself."""
_BUSY_SECONDS = 300.0
"""That a job is offered again for where the service takes no more requests."""
_CANCEL_SECONDS = 30.0
_LAST_WORDS = 30.0
"""Seconds after a job failed in which its messages may still come to say why."""
_QUIET = ("apache_beam.runners.dataflow", "apache_beam.utils.retry", "google.api_core", "google.auth")

_RAN = {"JOB_STATE_DONE", "JOB_STATE_DRAINED"}
_OVER = {*_RAN, "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_UPDATED"}
_REPLACED = {"JOB_STATE_RUNNING", "JOB_STATE_DRAINING"}
"""States of a job that `--update` can replace."""


def name_of(command: str, run: Run) -> str:
    """What the job of a run is called: always the same, and no other run's."""
    date = run.partition.partition("=")[2].replace("-", "")
    return "-".join(filter(None, ["seqcls", command, date, run.run_id[:12], f"v{(run.follows or 0) + 1}"]))


def stream_name(output: str, subscription: str) -> str:
    """The same of a stream, which is one job however often it is started, and replaced by `--update`."""
    return f"seqcls-stream-{hashlib.blake2b(f'{output} {subscription}'.encode(), digest_size=6).hexdigest()}"


Build = Callable[[beam.Pipeline], None]


def run(beam_options: PipelineOptions, build: Build, name: str | None, reader: Reader | None, watch: Watch) -> None:
    """Send a job and wait until it is done, or drained.

    A job of this name that is at work already is waited for instead of being sent again; without a name this process
    alone makes something of the job, which is cancelled where nobody waits for it any more. Raises `NoJob` where the
    job failed or was cancelled, `NotTaken` where it was refused, `RunError` where it may have been taken, and `GoesOn`
    where it is at work and nobody waits for it any more, or is a template, which nobody has started.
    """
    # Here and not above: only who runs there has the extra "gcp".
    from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient

    options = copy.deepcopy(beam_options)  # the next run of this process has another name
    cloud = options.view_as(GoogleCloudOptions)
    ours = name is not None and cloud.job_name in (None, name)  # the user's names may be those of other runs
    cloud.job_name = cloud.job_name or name
    with _quiet():
        client = DataflowApplicationClient(options)
        job = _sent(options, build, client, ours)
        if job is None:
            raise GoesOn(f"the job is written to {cloud.template_location}: nothing runs until somebody starts it", 0)
        streaming = bool(options.view_as(StandardOptions).streaming)
        watched = _Job(client, job, cloud, reader, streaming, name is not None, ours)
        watch.cancel = watched.cancel
        say(f"Dataflow has it as job {job}: {watched.page}", 0)
        watched.wait()


def nothing(beam_options: PipelineOptions) -> int:
    """Write a job without work, where the launcher of a template expects one and there is nothing to do; 0.

    It gets a plain worker: no accelerator, and the machine and disk that Dataflow likes.
    """
    options = copy.deepcopy(beam_options)
    cloud, worker = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
    if cloud.template_location:
        services = cloud.dataflow_service_options or []
        cloud.dataflow_service_options = [each for each in services if not each.startswith(ACCELERATOR)]
        worker.machine_type = worker.disk_size_gb = None
        pipeline = beam.Pipeline(options=options)
        _ = pipeline | "NothingToDo" >> beam.Create([0])
        with _quiet():
            pipeline.run()
        say(f"a job without work is written to {cloud.template_location}", 0)
    return 0


@contextmanager
def _quiet() -> Iterator[None]:
    """What libraries log of their requests becomes a sentence here."""
    levels = {name: logging.getLogger(name).level for name in _QUIET}
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


class _Busy(Exception):
    """The job was not taken, and another try may help."""


def _sent(options: PipelineOptions, build: Build, client: Any, ours: bool) -> str | None:
    """The id of the job; None where it was written as a template."""
    cloud = options.view_as(GoogleCloudOptions)
    if cloud.update and _found(client, cloud, _REPLACED) is None:  # Beam would look for it for ever
        raise RunError(f"--update replaces a job that is running, and none of the name {cloud.job_name} is")
    offer = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_Busy),
        wait=tenacity.wait_random_exponential(multiplier=2, max=60),
        stop=tenacity.stop_after_delay(_BUSY_SECONDS),
        before_sleep=_say_busy,
        reraise=True,
    )
    try:
        return offer(_offered, options, build, client, ours)
    except _Busy as error:
        raise NotTaken(f"Dataflow did not take the job: {error}; start it again later") from error


def _offered(options: PipelineOptions, build: Build, client: Any, ours: bool) -> str | None:
    """As `_sent`, once."""
    from apache_beam.runners.dataflow.internal.apiclient import DataflowJobAlreadyExistsError
    from google.api_core.exceptions import ClientError, Conflict, TooManyRequests

    cloud = options.view_as(GoogleCloudOptions)
    pipeline = beam.Pipeline(options=copy.deepcopy(options))  # Beam writes into them
    build(pipeline)
    try:
        with _answered("Dataflow did not take the job", "start it again, which finds it if it was taken after all"):
            result: Any = pipeline.run()
        return str(result.job_id()) if result.has_job else None
    except TooManyRequests as error:
        raise _Busy(_line(error)) from error
    except (DataflowJobAlreadyExistsError, Conflict) as error:
        if not ours or cloud.update:
            raise RunError(
                f"a job of the name {cloud.job_name} is at work already ({_line(error)}): wait for it, or give another "
                "--job_name"
            ) from error
        found = _found(client, cloud)
        if found is None:  # it has ended meanwhile
            raise _Busy(_line(error)) from error
        say(f"this run is at work already, as job {found}: it is waited for", 0)
        return found
    except ClientError as error:
        raise NotTaken(f"Dataflow refused the job: {_line(error)}") from error


@contextmanager
def _answered(what: str, do: str) -> Iterator[None]:
    """What keeps an answer away becomes a sentence; a refusal stays what it is."""
    from google.api_core.exceptions import ClientError, GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except ClientError:
        raise
    except (GoogleAPICallError, GoogleAuthError, OSError) as error:
        raise RunError(f"{what}: {_line(error)}; {do}") from error


def _say_busy(state: tenacity.RetryCallState) -> None:
    assert state.outcome is not None and state.next_action is not None
    why, seconds = state.outcome.exception(), state.next_action.sleep
    say(f"Dataflow does not take the job at this moment ({why}): it is offered again in {seconds:.0f} s", 0)


def _found(client: Any, cloud: GoogleCloudOptions, states: Collection[str] = ()) -> str | None:
    """The id of the job of our name that is at work, and in one of these states where some are named.

    Raises `RunError` where jobs cannot be listed.
    """
    from google.api_core.exceptions import ClientError

    request = {"project_id": cloud.project, "location": cloud.region, "filter": "ACTIVE"}
    try:
        with _answered("the jobs at work cannot be listed", "start it again"):
            found = [each for each in client._jobs_client.list_jobs(request=request) if each.name == cloud.job_name]
    except ClientError as error:
        raise RunError(f"whether {cloud.job_name} is at work cannot be asked: {_line(error)}") from error
    return next((each.id for each in found if not states or each.current_state.name in states), None)


class _Job:
    """A job of the service, as it is known here."""

    def __init__(
        self,
        client: Any,
        job: str,
        cloud: GoogleCloudOptions,
        reader: Reader | None,
        streaming: bool,
        kept: bool,
        found_again: bool,
    ) -> None:
        self._client = client
        self._reader = reader
        self._streaming = streaming
        self._kept = kept
        # The next start knows a job by the name of the run alone.
        self._again = "start it again to wait for it, or " if found_again else ""
        self._of = {"project_id": cloud.project, "location": cloud.region, "job_id": job}
        # A stream that is cancelled loses what it has acknowledged and not yet written.
        end = "drain" if streaming else "cancel"
        self._stop = f"gcloud dataflow jobs {end} {job} --project={cloud.project} --region={cloud.region}"
        self.page = f"https://console.cloud.google.com/dataflow/jobs/{cloud.region}/{job}?project={cloud.project}"
        self.state = "JOB_STATE_PENDING"

    def wait(self) -> None:
        """Until it ends. Raises as `run`."""
        job = self._of["job_id"]
        try:
            with terminal.watching(self):
                self._ended()
        except KeyboardInterrupt as error:
            if not self._kept:
                self.cancel()
                raise
            raise GoesOn(
                f"interrupted: job {job} goes on without this command; {self._again}stop the job: {self._stop}",
                128 + getattr(error, "number", 2),
            ) from None
        if self.state in _RAN:
            return
        if self.state == "JOB_STATE_CANCELLED" and self._streaming:
            raise NoJob(
                f"job {job} was cancelled: what it had acknowledged and not written is lost; draining loses nothing"
            )
        if self.state == "JOB_STATE_CANCELLED":
            raise NoJob(f"job {job} was cancelled, and published nothing: start it again, and it goes on from there")
        if self.state == "JOB_STATE_UPDATED":
            raise GoesOn(f"job {job} was replaced by a newer one, which goes on", 0)
        raise NoJob(f"job {job} failed: {self._reason()}")

    def _ended(self) -> None:
        heard = time.monotonic()
        while self.state not in _OVER:
            time.sleep(POLL_SECONDS)
            try:
                self.state = self._client._jobs_client.get_job(request=self._of).current_state.name
                heard = time.monotonic()
            except Exception as error:  # whatever keeps an answer away says nothing of the job
                silent = time.monotonic() - heard
                if getattr(error, "code", None) not in (400, 401, 403) and silent <= PATIENCE:
                    continue
                job = self._of["job_id"]
                said = f"Dataflow has not said for {silent:.0f} s how job {job} does ({_line(error)}); it"
                if not self._kept:
                    self.cancel()
                    raise RunError(
                        f"{said} is of no use any more: see whether it is cancelled, or do it: {self._stop}"
                    ) from error
                raise GoesOn(
                    f"{said} goes on without this command: {self._again}stop the job: {self._stop}", 1
                ) from error

    def cancel(self) -> None:
        """Ask for its end, once: it may be over, or the service away."""
        job = {"requested_state": "JOB_STATE_CANCELLED"}
        with suppress(Exception):
            self._client._jobs_client.update_job(request={**self._of, "job": job}, timeout=_CANCEL_SECONDS)

    @property
    def rows(self) -> int:
        """That the workers told of."""
        return int(self._reader.look().totals["rows"]) if self._reader is not None else 0

    def _reason(self) -> str:
        """Why it failed, by the last of its messages that says so."""
        until = time.monotonic() + _LAST_WORDS
        while True:
            try:
                said = [
                    each.message_text
                    for each in self._client._messages_client.list_job_messages(
                        request={**self._of, "minimum_importance": "JOB_MESSAGE_ERROR"}
                    )
                ]
            except Exception as unread:  # as above
                said = []
                why = f"its messages could not be read ({_line(unread)})"
            else:
                why = "no message of it says why"
            # The service says "the work item was tried four times" of what a worker said in a traceback before.
            told = [text for text in said if "Traceback" in text] or said
            if told:
                error = explained(RuntimeError(told[-1]))
                known = isinstance(error, RunError) or "Traceback" in told[-1]
                return sentence(error) if known else _flat(told[-1])
            if time.monotonic() > until:
                return f"{why}; see {self.page}"
            time.sleep(POLL_SECONDS)


def _line(error: BaseException | None) -> str:
    """An error in one line."""
    return _flat(f"{type(error).__name__}: {error}")


def _flat(text: str) -> str:
    return " ".join(text.split())[:400]
