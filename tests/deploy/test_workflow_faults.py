"""deploy/terraform/modules/night/night.yaml, started twice, stopped, and with services that answer badly."""

from typing import Any

import pytest

from tests.deploy.workflows.cloud import (
    GET,
    LAUNCH,
    LIST_JOBS,
    LIST_OBJECTS,
    RUN,
    TASKS,
    Cloud,
    http,
    no_answer,
    unreachable,
)
from tests.deploy.workflows.expressions import WorkflowError
from tests.deploy.workflows.interpreter import Execution
from tests.deploy.workflows.night import ENVIRON, FIRST, NIGHT, WORKFLOW, execution, reason, run

NAMED = ["429", "500", "502", "503", "504", "unreachable"]


@pytest.fixture
def cloud() -> Cloud:
    return Cloud(ENVIRON)


def test_started_twice_at_once_there_is_one_job(cloud):
    """The second start finds the job of the first, on a page of its own, and waits for it."""
    for name in ("other-1", "other-2", "score-20261120"):
        cloud.calls()[LAUNCH](launch_of(name))
    assert run(cloud)["version"] == FIRST
    assert [each["name"] for each in cloud.jobs].count("score-20261120") == 1
    assert len(cloud.given(LIST_JOBS)) == 2 and {each["jobId"] for each in cloud.given(GET)} == {cloud.jobs[2]["id"]}


def launch_of(name: str) -> dict[str, Any]:
    asked = {"jobName": name, "containerSpecGcsPath": "gs://t", "parameters": {"run_date": NIGHT}}
    return {"projectId": "my-project", "location": "europe-west4", "body": {"launchParameter": asked}}


def test_a_job_that_ended_while_it_was_looked_for(cloud):
    cloud.answers[LAUNCH] = [http(409)]
    assert run(cloud)["version"] == FIRST
    assert cloud.names()[1:4] == [LAUNCH, LIST_JOBS, LAUNCH]


def test_a_name_that_is_never_free_ends_it(cloud):
    cloud.answers[LAUNCH] = [http(409)] * 100
    assert reason(cloud)[0] == "conflict"
    assert len(cloud.given(LAUNCH)) == 6


def test_a_launch_of_which_the_answer_is_lost_is_not_launched_twice(cloud):
    cloud.lost = [LAUNCH]
    assert run(cloud)["version"] == FIRST
    assert len(cloud.jobs) == 1 and len(cloud.given(LAUNCH)) == 2


@pytest.mark.parametrize("why", [http(429), http(500), http(502), http(503), http(504), unreachable()], ids=NAMED)
@pytest.mark.parametrize("name", [LIST_OBJECTS, LAUNCH, GET, RUN, LIST_JOBS, TASKS])
def test_what_is_busy_is_asked_again_later(cloud, name, why):
    is_asked_again(cloud, name, why)


@pytest.mark.parametrize("name", [LIST_OBJECTS, LAUNCH, GET, LIST_JOBS, TASKS])
def test_what_does_not_answer_in_time_is_asked_again(cloud, name):
    is_asked_again(cloud, name, no_answer())


def test_a_container_that_takes_too_long_is_not_run_once_more(cloud):
    """The timeout of that call is of all that the container does."""
    cloud.answers[RUN] = [no_answer()]
    with pytest.raises(WorkflowError) as caught:
        run(cloud)
    assert caught.value.error["tags"] == ["TimeoutError"] and len(cloud.given(RUN)) == 1


def is_asked_again(cloud: Cloud, name: str, why: WorkflowError) -> None:
    if name == LIST_JOBS:
        cloud.calls()[LAUNCH](launch_of("score-20261120"))
    cloud.code = 3 if name == TASKS else 0
    cloud.answers[name] = [why, why]
    started = execution(cloud)
    if name == TASKS:
        with pytest.raises(WorkflowError):
            started.run()
    else:
        assert started.run()["version"] == FIRST
    assert cloud.answers[name] == [] and len(started.slept) >= 3, (
        "two pauses before the same call, and one between looks"
    )
    assert len([each for each in cloud.jobs if each["name"] == "score-20261120"]) == 1


def test_pauses_grow(cloud):
    cloud.answers[LAUNCH] = [http(429)] * 6
    started = execution(cloud)
    started.run()
    assert started.slept[:6] == [10, 20, 40, 80, 160, 300]


@pytest.mark.parametrize("name", [LIST_OBJECTS, LAUNCH, GET, RUN])
def test_what_may_not_be_asked_is_not_asked_again(cloud, name):
    cloud.answers[name] = [http(403)] * 2
    with pytest.raises(WorkflowError) as caught:
        run(cloud)
    assert caught.value.error["code"] == 403 and len(cloud.given(name)) == 1


def test_a_service_that_stays_away_ends_it(cloud):
    cloud.answers[GET] = [http(503)] * 100
    started = execution(cloud)
    with pytest.raises(WorkflowError):
        started.run()
    assert 600 < sum(started.slept) < 3600


def test_a_job_that_is_not_known_at_first_is_waited_for(cloud):
    cloud.answers[GET] = [http(404)] * 3
    assert run(cloud)["version"] == FIRST


def test_stopped_at_any_call_and_started_again_it_publishes_once():
    """The next start has one job at most, and comes to the same end as one that nothing stopped."""
    whole = Cloud(ENVIRON)
    run(whole)
    for stop in range(len(whole.asked)):
        for after in (False, True):  # before the call does its work, and when it has
            cloud = Cloud(ENVIRON)
            with pytest.raises(KeyboardInterrupt):
                stopping(cloud, stop, after).run()
            jobs = len(cloud.jobs)
            assert run(cloud)["version"] == FIRST
            assert cloud.objects == [FIRST] and len(cloud.jobs) == max(jobs, 1)


def stopping(cloud: Cloud, stop: int, after: bool) -> Execution:
    """An execution that ends for good at one of its calls."""
    done = execution(cloud)
    asked = iter(range(1000))
    real = cloud.calls()

    def ends(name: str) -> Any:
        def call(given: dict[str, Any]) -> Any:
            here = next(asked) == stop
            if here and not after:
                raise KeyboardInterrupt
            answer = real[name](given)
            if here:
                raise KeyboardInterrupt
            return answer

        return call

    return Execution(WORKFLOW, ENVIRON, {name: ends(name) for name in real}, done.now)
