"""A command that sends a job, through every end that one can have: the exit code, and one sentence."""

import re
import signal

import fsspec
import pytest

from seqcls_beam.runs.table import read_manifest
from tests.corpora import texts, write_jsonl
from tests.dataflow.cloud import BUCKET, Ended, ended, plain, spawned, until
from tests.dataflow.service import Fault

pytestmark = [pytest.mark.dataflow, pytest.mark.engine]

ROWS = 60
JOBS, POLL = r"POST .*/jobs$", r"GET .*/jobs/[^/]+$"


@pytest.fixture(scope="module", autouse=True)
def model(ground, checkpoint):
    fsspec.filesystem("gs").put(str(checkpoint), f"{BUCKET}/model", recursive=True)


@pytest.fixture
def place(cloud, tmp_path, request):
    """A file of texts in a folder of the bucket that nobody else has; the folder's URI."""
    name = re.sub(r"\W+", "-", request.node.name)
    rows = [{"id": i, "text": text} for i, text in enumerate(texts(ROWS))]
    fsspec.filesystem("gs").put(str(write_jsonl(tmp_path / "a.jsonl", rows)), f"{BUCKET}/{name}/a.jsonl")
    return f"gs://{BUCKET}/{name}"


@pytest.fixture
def argv(cloud, place):
    return labelling(cloud, place)


def labelling(cloud, place, *more):
    flags = [f"--input={place}/*.jsonl", f"--output={place}/out", f"--model=gs://{BUCKET}/model", "--threads=1"]
    return [*flags, *cloud.flags(*more)]


def failed(end: Ended, place: str, sentence: str) -> None:
    """The command failed by one sentence, and nothing is published."""
    assert end.code == 1, end.said
    assert re.fullmatch(f"seqcls_beam: {sentence}", end.last), end.said
    assert "Traceback" not in end.said
    assert read_manifest(f"{place}/out") is None


def published(end: Ended, place: str) -> None:
    """The command published all rows."""
    assert end.code == 0, end.said
    assert "Traceback" not in end.said
    manifest = read_manifest(f"{place}/out")
    assert manifest is not None and manifest["rows"]["labeled"] == ROWS


def at_work(cloud):
    """The newest job, once it runs."""
    until(lambda: cloud.double.jobs and cloud.double.newest().state == "RUNNING")
    return cloud.double.newest()


def found_again(cloud, place, argv, job):
    """The same command again waits for the job that is at work, and makes no other one."""
    assert job.state == "RUNNING"
    command = cloud.start("classify", *argv)
    until(lambda: f"this run is at work already, as job {job.proto.id}: it is waited for" in command.said())
    cloud.double.start(job)
    published(ended(command), place)
    assert len(cloud.double.jobs) == 1


def test_done(cloud, place, argv):
    end = cloud.run("classify", *argv)
    published(end, place)
    job = cloud.double.newest()
    assert job.state == "DONE" and job.attempts == 1
    page = f"https://console.cloud.google.com/dataflow/jobs/us-central1/{job.proto.id}?project=test-project"
    assert f"Dataflow has it as job {job.proto.id}: {page}" in end.sentences


def test_a_failed_job_says_why(cloud, place, argv):
    """What the worker says of an input that changed after it was planned; with it as it is now it is another run."""
    cloud.double.running = False
    command = cloud.start("classify", *argv)
    job = at_work(cloud)
    data = fsspec.filesystem("gs").cat(f"{place}/a.jsonl")
    fsspec.filesystem("gs").pipe(f"{place}/a.jsonl", b"{}\n" + data)
    cloud.double.start(job)
    end = ended(command)
    failed(end, place, rf"job {job.proto.id} failed: .*{place}/a\.jsonl had .* when the run was planned and has .*")
    assert job.attempts == 4  # as often as the service tries
    cloud.double.running = True
    published(cloud.run("classify", *argv), place)
    assert len(cloud.double.jobs) == 2


def test_a_job_that_failed_without_a_traceback(cloud, place, argv):
    cloud.double.running = False
    command = cloud.start("classify", *argv)
    job = at_work(cloud)
    cloud.double.say(job, "Workflow failed. Causes: The job failed because quota CPUS in us-central1 is exhausted.")
    cloud.double.become(job.proto.name, "FAILED")
    failed(
        ended(command), place, rf"job {job.proto.id} failed: Workflow failed.*quota CPUS in us-central1 is exhausted.*"
    )


def test_a_job_that_failed_without_a_word(cloud, place, argv):
    cloud.double.running = False
    command = cloud.start("classify", *argv)
    job = at_work(cloud)
    cloud.double.become(job.proto.name, "FAILED")
    failed(ended(command), place, rf"job {job.proto.id} failed: no message .* see https://console\S+{job.proto.id}\S*")


def test_a_job_whose_messages_cannot_be_read(cloud, place, argv):
    cloud.double.running = False
    cloud.double.faults.append(Fault("/messages", 503, times=-1))
    command = cloud.start("classify", *argv)
    job = at_work(cloud)
    cloud.double.become(job.proto.name, "FAILED")
    failed(ended(command), place, rf"job {job.proto.id} failed: .*could not be read.*; see https://console\S+")


def test_a_job_that_somebody_cancels(cloud, place, argv):
    cloud.double.running = False
    command = cloud.start("classify", *argv)
    job = at_work(cloud)
    cloud.double.become(job.proto.name, "CANCELLED")
    failed(ended(command), place, rf"job {job.proto.id} was cancelled, and published nothing: .*")


def test_a_worker_that_dies_while_it_publishes_is_replaced(cloud, place, argv):
    cloud.double.halt_at = ("put_if_absent:_versions/*", f"{place}/out")
    command = cloud.start("classify", *argv)
    job = at_work(cloud)
    until(lambda: job.process is not None)
    assert job.process.halted()
    job.process.kill()
    published(ended(command), place)
    assert job.state == "DONE" and job.attempts == 2


@pytest.mark.parametrize("status", [429, 503])
def test_a_service_that_is_busy_is_asked_again(cloud, place, argv, status):
    cloud.double.faults.append(Fault(JOBS, status, times=2))
    end = cloud.run("classify", *argv)
    published(end, place)
    assert cloud.double.met[status] == 2 and len(cloud.double.jobs) == 1
    if status == 429:
        assert sum("Dataflow does not take the job at this moment" in each for each in end.sentences) == 2


@pytest.mark.parametrize(
    ("status", "name"), [(429, "TooManyRequests"), (503, "ServiceUnavailable"), (403, "Forbidden")]
)
def test_a_service_that_takes_no_job(cloud, place, argv, status, name):
    cloud.double.faults.append(Fault(JOBS, status, times=-1))
    what = "refused" if status == 403 else "did not take"
    failed(cloud.run("classify", *argv), place, rf"Dataflow {what} the job: {name}: {status} .*told to fail.*")
    assert not cloud.double.jobs and cloud.double.met[status] >= (1 if status == 403 else 2)


def test_a_lost_answer_makes_no_second_job(cloud, place, argv):
    """The job was made, and nobody was told."""
    cloud.double.faults.append(Fault(JOBS, 0, done=True))
    published(cloud.run("classify", *argv), place)
    assert cloud.double.met[0] == 1 and len(cloud.double.jobs) == 1


@pytest.mark.parametrize("fault", [Fault(POLL, 503), Fault(POLL, 429), Fault(POLL, 0)])
def test_answers_that_are_missing_are_no_news(cloud, place, argv, fault):
    cloud.double.faults.append(Fault(fault.where, fault.status, times=8))
    end = cloud.run("classify", *argv)
    published(end, place)
    assert cloud.double.met[fault.status] == 8


@pytest.mark.parametrize(
    "fault", [Fault(POLL, 200, b"<html>a proxy's page</html>"), Fault(POLL, 502, b"<html>bad gateway</html>")]
)
def test_answers_that_are_not_of_the_service(cloud, place, argv, fault):
    cloud.double.faults.append(Fault(fault.where, fault.status, fault.body, times=3))
    published(cloud.run("classify", *argv), place)
    assert cloud.double.met[fault.status] == 3


def test_a_service_that_is_gone_leaves_the_job_to_itself(cloud, place, argv):
    cloud.double.running = False
    command = cloud.start("classify", *argv)
    job = at_work(cloud)
    cloud.double.faults.append(Fault(POLL, 0, times=-1))
    end = ended(command)
    stop = rf"gcloud dataflow jobs cancel {job.proto.id} --project=test-project --region=us-central1"
    failed(end, place, rf"Dataflow has not said for \d+ s how job {job.proto.id} does .*goes on.*: {stop}")
    cloud.double.faults.clear()
    found_again(cloud, place, argv, job)


def test_a_token_that_is_taken_away_ends_the_waiting_at_once(cloud, place, argv):
    cloud.double.running = False
    command = cloud.start("classify", *argv)
    job = at_work(cloud)
    cloud.double.faults.append(Fault(POLL, 403, times=-1))
    failed(ended(command), place, rf"Dataflow has not said .*job {job.proto.id}.*Forbidden.*")
    assert cloud.double.met[403] < 5


@pytest.mark.parametrize("returned", [False, True])
def test_the_same_run_twice_is_one_job(cloud, place, argv, returned):
    """Whichever way the service says that the name is taken: an error, or the job that has it."""
    cloud.double.running, cloud.double.returns_active = False, returned
    first = cloud.start("classify", *argv)
    found_again(cloud, place, argv, at_work(cloud))
    published(ended(first), place)


@pytest.mark.parametrize("returned", [False, True])
def test_a_name_that_another_job_has(cloud, place, returned):
    cloud.double.running, cloud.double.returns_active = False, returned
    first = cloud.start("classify", *labelling(cloud, place, "--job_name=nightly"))
    at_work(cloud)
    second = labelling(cloud, place, "--job_name=nightly", "--batch_rows=7")
    end = cloud.run("classify", *[each.replace("/out", "/other") for each in second])
    failed(end, place, r"a job of the name nightly is at work already .*--job_name")
    cloud.double.become("nightly", "CANCELLED")
    ended(first)


def test_a_job_that_ends_before_it_is_found_by_its_name(cloud, place, argv):
    """The name was taken when the job was offered, and is free when its job is asked for: it is offered again."""
    cloud.double.faults.append(Fault(JOBS, 409))
    published(cloud.run("classify", *argv), place)
    assert cloud.double.met[409] == 1 and len(cloud.double.jobs) == 1


def test_ctrl_c_leaves_the_job_at_work(cloud, place, argv):
    cloud.double.running = False
    with spawned("classify", *argv) as command:
        job = at_work(cloud)
        polls = len(cloud.double.asked)
        until(lambda: len(cloud.double.asked) > polls)
        command.send_signal(signal.SIGINT)
        said = command.communicate(timeout=60)[0]
    stop = rf"gcloud dataflow jobs cancel {job.proto.id} --project=test-project --region=us-central1"
    last = plain(said).strip().rpartition("\n")[2]
    assert command.returncode == 130, said
    assert re.fullmatch(rf"seqcls_beam: interrupted: job {job.proto.id} goes on .*: {stop}", last), said
    assert "Traceback" not in said
    found_again(cloud, place, argv, job)


def test_a_template_is_written_and_nothing_runs(cloud, place):
    template = f"{place}/templates/job.json"
    end = cloud.run("classify", *labelling(cloud, place, f"--template_location={template}"))
    assert end.code == 0, end.said
    assert end.last == f"seqcls_beam: the job is written to {template}: nothing runs until somebody starts it"
    assert cloud.double.asked == [] and fsspec.filesystem("gs").exists(template)
    assert read_manifest(f"{place}/out") is None
