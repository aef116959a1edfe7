"""deploy/terraform/modules/night/night.yaml, run against stand-ins for what it calls: the ways that a night goes."""

import json
from datetime import datetime, timedelta

import pytest

from pipelines import approve, classify
from pipelines.options import parse, parse_alone, parser
from tests.deploy.workflows.cloud import GET, LAUNCH, LIST_OBJECTS, LOG, RUN, Cloud
from tests.deploy.workflows.expressions import WorkflowError
from tests.deploy.workflows.night import ENVIRON, FIRST, JUDGE, NIGHT, SECOND, at, execution, reason, run


@pytest.fixture
def cloud() -> Cloud:
    return Cloud(ENVIRON)


def test_a_night(cloud):
    done = execution(cloud)
    assert done.run() == {"run_date": NIGHT, "version": FIRST}
    (launched,) = cloud.given(LAUNCH)
    assert (launched["projectId"], launched["location"]) == ("my-project", "europe-west4")
    asked = launched["body"]["launchParameter"]
    assert asked["jobName"] == "score-20261120"
    assert asked["containerSpecGcsPath"] == "gs://models/templates/classify.json"
    assert asked["parameters"] == {**json.loads(ENVIRON["PARAMETERS"]), "run_date": NIGHT}
    assert asked["environment"] == json.loads(ENVIRON["ENVIRONMENT"])
    (judged,) = cloud.given(RUN)
    words = ["approve", "gs://data/nightly", "--max_rejected=0.01", f"--run_date={NIGHT}"]
    assert judged["name"] == JUDGE and judged["body"] == {"overrides": {"containerOverrides": [{"args": words}]}}
    assert cloud.names() == [LIST_OBJECTS, LAUNCH, GET, GET, LIST_OBJECTS, RUN, LOG]
    assert done.slept == [15]
    assert cloud.logged == [("INFO", f"the night of {NIGHT} is published and approved, {FIRST}")]


def test_its_words_are_options_of_the_commands(cloud):
    run(cloud)
    parameters = cloud.given(LAUNCH)[0]["body"]["launchParameter"]["parameters"]
    given, _ = parse(
        parser("p", "", "", classify.GROUPS),
        ["--only_new" if name == "only_new" else f"--{name}={value}" for name, value in parameters.items()],
        classify.GROUPS,
    )
    assert given["run"]["run_date"] == NIGHT
    command, *words = cloud.given(RUN)[0]["body"]["overrides"]["containerOverrides"][0]["args"]
    judged = parse_alone(parser("p", "", "", approve.GROUPS), words, approve.GROUPS)["approve"]
    assert command == "approve" and judged["run_date"] == NIGHT


@pytest.mark.parametrize(
    ("zone", "clock"),
    [
        ("Europe/Berlin", "2026-11-21 03:30"),
        ("Europe/Berlin", "2026-03-29 03:30"),  # an hour after clocks were put forward
        ("Europe/Berlin", "2026-03-30 00:15"),  # the day before had 23 hours
        ("Europe/Berlin", "2026-10-25 23:45"),  # the day has 25
        ("Europe/Berlin", "2026-10-26 00:15"),
        ("Asia/Kolkata", "2027-01-01 04:00"),
        ("America/New_York", "2028-03-01 20:00"),
        ("Pacific/Auckland", "2026-11-21 03:30"),
        ("Etc/UTC", "2026-11-21 00:00"),
    ],
)
def test_the_night_is_the_day_before_by_the_calendar_of_the_zone(cloud, zone, clock):
    done = execution(cloud, at(clock, zone), TIME_ZONE=zone).run({})
    assert done["run_date"] == str(datetime.fromisoformat(clock).date() - timedelta(days=1))


def test_a_night_that_is_named(cloud):
    assert run(cloud, {"run_date": "2026-11-01"})["run_date"] == "2026-11-01"
    assert cloud.jobs[0]["name"] == "score-20261101"
    assert run(cloud, {"run_date": "2026-11-21"})["run_date"] == "2026-11-21", "today's, if somebody wants it"


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ({"run_date": "20261120"}, "run_date=20261120 is no date of the form YYYY-MM-DD"),
        ({"run_date": "2026-11-20..2026-11-22"}, "run_date=2026-11-20..2026-11-22 is no date of the form YYYY-MM-DD"),
        ({"run_date": "2062-11-20"}, "run_date=2062-11-20 has not come yet, in Europe/Berlin"),
        ({"date": NIGHT}, "the argument has no date; it may have run_date, overwrite and only_check"),
    ],
)
def test_what_is_no_night_is_refused_before_anything_is_asked(cloud, argument, said):
    assert reason(cloud, argument) == ("usage", said)
    assert cloud.asked == []


def test_a_day_that_there_is_not_is_refused(cloud):
    with pytest.raises(WorkflowError) as caught:
        run(cloud, {"run_date": "2026-02-30"})
    assert caught.value.error["tags"] == ["ValueError"] and cloud.asked == []


def test_a_night_that_is_published_is_judged_and_not_launched(cloud):
    for _ in range(5):  # pages of versions
        cloud.publish(NIGHT)
    cloud.publish("2026-11-19")
    assert run(cloud)["version"] == f"nightly/_versions/run_date={NIGHT}/00000005.json"
    assert LAUNCH not in cloud.names() and len(cloud.given(RUN)) == 1


def test_other_files_are_no_versions(cloud):
    cloud.objects = [f"nightly/_versions/run_date={NIGHT}/00000001.json.tmp", f"nightly/_versions/run_date={NIGHT}/x/"]
    cloud.publishes = False
    assert reason(cloud)[0] == "not_published"


def test_an_output_that_is_a_whole_bucket(cloud):
    bare = Cloud({**ENVIRON, "OUTPUT_FOLDER": ""})
    assert execution(bare, OUTPUT_FOLDER="").run()["version"] == f"_versions/run_date={NIGHT}/00000001.json"


def test_a_night_that_is_labelled_again(cloud):
    cloud.publish(NIGHT)
    assert run(cloud, {"overwrite": True})["version"] == SECOND
    assert cloud.given(LAUNCH)[0]["body"]["launchParameter"]["parameters"]["overwrite"] == "true"


@pytest.mark.parametrize("state", ["JOB_STATE_FAILED", "JOB_STATE_CANCELLED"])
def test_a_night_that_is_not_labelled_again_though_it_was_asked_for(cloud, state):
    """The version that was there does not count as the new one."""
    cloud.publish(NIGHT)
    cloud.ways, cloud.publishes = ["JOB_STATE_QUEUED", state], False
    said = f"the night of {NIGHT} was not labelled again; {FIRST} stays; job 2026-11-21_00_00_00-1 ended as {state}"
    assert reason(cloud, {"overwrite": True}) == ("unchanged", said)
    assert RUN not in cloud.names()


def test_a_night_that_is_the_same_when_it_is_labelled_again(cloud):
    """The job is done and there is nothing new to publish: what is there is judged."""
    cloud.publish(NIGHT)
    cloud.publishes = False
    assert run(cloud, {"overwrite": True}) == {"run_date": NIGHT, "version": FIRST}
    assert len(cloud.given(LAUNCH)) == len(cloud.given(RUN)) == 1


@pytest.mark.parametrize("state", ["JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_DRAINED", "JOB_STATE_UPDATED"])
def test_a_job_that_ends_otherwise_fails_the_night(cloud, state):
    cloud.ways, cloud.publishes = ["JOB_STATE_PENDING", state], False
    said = f"the night of {NIGHT} is not published; job 2026-11-21_00_00_00-1 ended as {state}"
    assert reason(cloud) == ("not_published", said)
    assert RUN not in cloud.names()


def test_a_job_that_is_done_and_published_nothing_fails_the_night(cloud):
    cloud.publishes = False
    assert reason(cloud)[0] == "not_published" and RUN not in cloud.names()


def test_a_night_without_new_files_is_one_whatever_becomes_of_its_job(cloud):
    """The launcher publishes it, and hands over a job without work: here one that gets no machine."""
    cloud.ways = ["JOB_STATE_QUEUED", "JOB_STATE_FAILED"]
    assert run(cloud)["version"] == FIRST
    assert cloud.logged[0][0] == "WARNING" and "ended as JOB_STATE_FAILED" in cloud.logged[0][1]
    assert len(cloud.given(RUN)) == 1


def test_a_gate_that_does_not_pass_fails_the_night(cloud):
    cloud.code = 3
    why, said = reason(cloud)
    assert why == "gate" and said == (
        f"the night of {NIGHT} is published, and a gate did not pass; {JUDGE}/executions/judge-1 says which"
    )


@pytest.mark.parametrize("code", [1, 2, 137])
def test_judging_that_fails_fails_the_night(cloud, code):
    cloud.code = code
    why, said = reason(cloud)
    assert why == "judging" and f"ended with {code}; see {JUDGE}/executions/judge-1" in said


def test_a_job_that_takes_too_long_is_left_to_itself(cloud):
    cloud.ways = ["JOB_STATE_RUNNING"]
    why, said = reason(cloud)
    assert (why, said) == ("late", "job 2026-11-21_00_00_00-1 is not over after 7200 s; it goes on")
    assert cloud.at_work()


def test_pauses_between_looks_grow_to_two_minutes(cloud):
    cloud.ways = [*["JOB_STATE_RUNNING"] * 8, "JOB_STATE_DONE"]
    started = execution(cloud)
    started.run()
    assert started.slept == [15, 30, 60, 120, 120, 120, 120]


def test_a_start_that_only_looks(cloud):
    assert reason(cloud, {"only_check": True}) == ("not_published", f"the night of {NIGHT} is not published")
    cloud.publish(NIGHT)
    assert run(cloud, {"only_check": True}) == {"run_date": NIGHT, "version": FIRST}
    assert {*cloud.names()} == {LIST_OBJECTS}
