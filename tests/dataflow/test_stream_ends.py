"""A stream that is a job, to each of its ends: it is one job however often it is started, and updated by its name."""

import re

import fsspec
import pytest

from tests.dataflow.cloud import BUCKET, ended, until
from tests.dataflow.subscriptions import subscriptions

pytestmark = [pytest.mark.dataflow, pytest.mark.engine]

SUBSCRIPTION = "projects/test-project/subscriptions/reviews"


@pytest.fixture(scope="module", autouse=True)
def pubsub(ground, checkpoint):
    fsspec.filesystem("gs").put(str(checkpoint), f"{BUCKET}/model", recursive=True)
    with subscriptions("projects/test-project/topics/reviews") as host, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBSUB_EMULATOR_HOST", host)
        yield


@pytest.fixture
def argv(cloud, request):
    """Of a stream; nobody runs its graph, whose source is the service's own."""
    cloud.double.running = False
    out = re.sub(r"\W+", "-", request.node.name)
    flags = [f"--subscription={SUBSCRIPTION}", f"--output=gs://{BUCKET}/{out}", f"--model=gs://{BUCKET}/model"]
    return [*flags, *cloud.flags()]


def at_work(cloud):
    until(lambda: cloud.double.jobs and cloud.double.newest().state == "RUNNING")
    return cloud.double.newest()


@pytest.mark.parametrize(
    ("state", "code", "sentence"),
    [
        ("DRAINED", 0, r"the stream ended; .*pipelines\.seal gs://\S+ publishes its windows"),
        ("CANCELLED", 1, r"job \S+ was cancelled: what it had acknowledged and not written is lost; .*"),
        ("UPDATED", 0, r"job \S+ was replaced by a newer one, which goes on"),
        ("FAILED", 1, r"job \S+ failed: .*"),
    ],
)
def test_the_ends_of_a_stream(cloud, argv, state, code, sentence):
    command = cloud.start("classify", *argv)
    job = at_work(cloud)
    cloud.double.become(job.proto.name, state)
    end = ended(command)
    assert end.code == code and "Traceback" not in end.said, end.said
    assert re.fullmatch(f"seqcls_beam: {sentence}", end.last), end.said


def test_started_twice_it_is_one_job(cloud, argv):
    first = cloud.start("classify", *argv)
    job = at_work(cloud)
    second = cloud.start("classify", *argv)
    until(lambda: f"as job {job.proto.id}: it is waited for" in second.said())
    cloud.double.become(job.proto.name, "DRAINED")
    assert [ended(first).code, ended(second).code] == [0, 0]
    assert len(cloud.double.jobs) == 1


def test_an_update_replaces_the_job_of_the_name(cloud, argv):
    first = cloud.start("classify", *argv)
    old = at_work(cloud)
    second = cloud.start("classify", *argv, "--update")
    until(lambda: len(cloud.double.jobs) == 2)
    new = at_work(cloud)
    assert new.proto.name == old.proto.name and new.proto.replace_job_id == old.proto.id
    end = ended(first)
    assert end.code == 0 and "was replaced by a newer one" in end.last, end.said
    cloud.double.become(new.proto.name, "DRAINED")
    assert ended(second).code == 0


def test_an_update_of_nothing_is_refused(cloud, argv):
    end = cloud.run("classify", *argv, "--update")
    assert end.code == 1 and "Traceback" not in end.said, end.said
    assert re.fullmatch(r"seqcls_beam: --update replaces a job .* none of the name seqcls-stream-\w+ is", end.last)
    assert not cloud.double.jobs


@pytest.mark.parametrize("state", ["PENDING", "CANCELLING", "DONE"])
def test_an_update_needs_a_job_that_runs(cloud, argv, state):
    """Beam itself would look for one for ever."""
    first = cloud.start("classify", *argv)
    job = at_work(cloud)
    cloud.double.held.add(job.proto.id)
    cloud.double.become(job.proto.name, state)
    end = cloud.run("classify", *argv, "--update")
    assert end.code == 1 and end.last.startswith("seqcls_beam: --update replaces a job that is running, and none of")
    cloud.double.become(job.proto.name, "CANCELLED")
    ended(first)
