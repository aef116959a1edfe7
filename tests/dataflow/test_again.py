"""What is left of a command that sent a job, however it ended: the job, its name, the sign that its run is alive."""

import re
import signal

import fsspec
import pytest

from seqcls_beam.runs import lease
from seqcls_beam.runs.table import read_manifest
from tests.corpora import texts, write_jsonl
from tests.dataflow.cloud import BUCKET, ended, spawned, until
from tests.dataflow.service import Fault

pytestmark = [pytest.mark.dataflow, pytest.mark.engine]

ROWS = 40
JOBS = r"POST .*/jobs$"
POLL = r"GET .*/jobs/[^/]+$"


@pytest.fixture(scope="module", autouse=True)
def model(ground, checkpoint):
    fsspec.filesystem("gs").put(str(checkpoint), f"{BUCKET}/model", recursive=True)


@pytest.fixture
def place(cloud, tmp_path, request):
    """Two dated inboxes in a folder of the bucket that nobody else has; the folder's URI."""
    name = re.sub(r"\W+", "-", request.node.name)
    for day in (19, 20):
        rows = [{"id": f"{day}-{i}", "text": text, "label": "positive"} for i, text in enumerate(texts(ROWS))]
        there = f"{BUCKET}/{name}/2026-11-{day}/a.jsonl"
        fsspec.filesystem("gs").put(str(write_jsonl(tmp_path / "a.jsonl", rows)), there)
    return f"gs://{BUCKET}/{name}"


def labelling(cloud, place, *more):
    flags = [f"--output={place}/out", f"--model=gs://{BUCKET}/model", "--threads=1"]
    return [f"--input={place}/{{date}}/*.jsonl", "--run_date=2026-11-20", "--only_new", *flags, *cloud.flags(), *more]


def at_work(cloud):
    until(lambda: cloud.double.jobs and cloud.double.newest().state == "RUNNING")
    return cloud.double.newest()


def attempt(place):
    """The folder of the only attempt at the night."""
    (found,) = fsspec.filesystem("gs").ls(f"{place}/out/_attempts/run_date=2026-11-20")
    return f"gs://{found}"


def test_each_night_of_a_start_has_a_job_of_its_own(cloud, place):
    end = cloud.run("classify", *labelling(cloud, place, "--run_date=2026-11-19..2026-11-20"))
    assert end.code == 0, end.said
    jobs = [job.proto for job in cloud.double.jobs.values()]
    assert [re.sub("-[0-9a-f]{12}-", "-RUN-", job.name) for job in jobs] == [
        f"seqcls-classify-202611{day}-RUN-v1" for day in (19, 20)
    ]
    for job in jobs:
        staged = job.environment.temp_storage_prefix
        assert re.fullmatch(rf"storage\.googleapis\.com/{BUCKET}/temp/{job.name}\.[\d.]+", staged), staged
        assert [each for each in job.environment.experiments if "sdk" in each] == ["no_use_multiple_sdk_containers"]
    for day in (19, 20):
        manifest = read_manifest(f"{place}/out", f"run_date=2026-11-{day}")
        assert manifest is not None and manifest["rows"]["labeled"] == ROWS


def test_a_command_that_is_killed_leaves_its_run_alive_and_the_next_one_waits_for_the_job(cloud, place):
    cloud.double.running = False
    argv = labelling(cloud, place)
    with spawned("classify", *argv) as command:
        job = at_work(cloud)
        command.send_signal(signal.SIGKILL)
        command.wait(60)
    assert lease.is_living(attempt(place), lease.ELSEWHERE_EXPIRES - 1)
    again = cloud.start("classify", *argv)
    until(lambda: f"as job {job.proto.id}: it is waited for" in again.said())
    cloud.double.start(job)
    end = ended(again)
    assert end.code == 0 and len(cloud.double.jobs) == 1, end.said


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
def test_of_a_job_that_is_over_nothing_is_left_alive(cloud, place, state):
    cloud.double.running = False
    command = cloud.start("classify", *labelling(cloud, place))
    job = at_work(cloud)
    cloud.double.say(job, "Workflow failed.")
    cloud.double.become(job.proto.name, state)
    assert ended(command).code == 1
    assert lease.renewed(attempt(place)) is None


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(JOBS, 403, times=-1)],
        [Fault(JOBS, 409, times=-1), Fault(r"GET .*/jobs(\?|$)", 403, times=-1)],
        [Fault(JOBS, 0, times=-1)],
    ],
    ids=["refused", "not listed", "no answer"],
)
def test_a_second_start_that_fails_leaves_the_first_ones_job_alive(cloud, place, faults):
    cloud.double.running = False
    argv = labelling(cloud, place)
    with spawned("classify", *argv) as command:
        at_work(cloud)
        command.send_signal(signal.SIGKILL)
        command.wait(60)
    cloud.double.faults += faults
    end = cloud.run("classify", *argv)
    assert end.code == 1 and "Traceback" not in end.said and len(cloud.double.jobs) == 1, end.said
    assert lease.is_living(attempt(place), lease.ELSEWHERE_EXPIRES - 1)


def test_a_first_start_that_is_refused_leaves_nothing_alive(cloud, place):
    cloud.double.faults.append(Fault(JOBS, 403, times=-1))
    end = cloud.run("classify", *labelling(cloud, place))
    assert end.code == 1 and "Dataflow refused the job: Forbidden: 403" in end.last, end.said
    assert lease.renewed(attempt(place)) is None


def test_a_job_of_a_name_of_ones_own_is_not_found_again(cloud, place):
    cloud.double.running = False
    with spawned("classify", *labelling(cloud, place, "--job_name=nightly")) as command:
        job = at_work(cloud)
        polls = len(cloud.double.asked)
        until(lambda: len(cloud.double.asked) > polls)
        command.send_signal(signal.SIGINT)
        said = command.communicate(timeout=60)[0]
    assert command.returncode == 130 and "start it again" not in said, said
    assert f"job {job.proto.id} goes on without this command; stop the job: gcloud" in " ".join(said.split())


def test_jobs_that_cannot_be_listed_are_one_sentence(cloud, place):
    cloud.double.faults.append(Fault(r"GET .*/jobs(\?|$)", 403, times=-1))
    end = cloud.run("classify", *labelling(cloud, place), "--update", "--job_name=nightly")
    assert end.code == 1 and "whether nightly is at work cannot be asked: Forbidden" in end.last, end.said
    assert "Traceback" not in end.said


def evaluating(cloud, place):
    flags = [f"--output={place}/evaluation", f"--model=gs://{BUCKET}/model", "--threads=1", "--label_column=label"]
    return [f"--input={place}/*/*.jsonl", *flags, *cloud.flags()]


def test_an_evaluation_that_is_interrupted_ends_its_job(cloud, place):
    cloud.double.running = False
    with spawned("evaluate", *evaluating(cloud, place)) as command:
        until(lambda: cloud.double.jobs or command.poll() is not None)
        assert command.poll() is None, command.communicate()[0]
        job = at_work(cloud)
        polls = len(cloud.double.asked)
        until(lambda: len(cloud.double.asked) > polls)
        command.send_signal(signal.SIGINT)
        said = command.communicate(timeout=60)[0]
    assert command.returncode == 130 and "interrupted: nothing was written" in said, said
    assert "Traceback" not in said and job.state in ("CANCELLED", "CANCELLING")


def test_an_evaluation_that_cannot_be_asked_about_ends_its_job(cloud, place):
    cloud.double.running = False
    command = cloud.start("evaluate", *evaluating(cloud, place))
    job = at_work(cloud)
    cloud.double.faults.append(Fault(POLL, 403, times=-1))
    end = ended(command)
    assert end.code == 1 and "it is of no use any more: see whether it is cancelled" in end.last, end.said
    assert job.state in ("CANCELLED", "CANCELLING")
