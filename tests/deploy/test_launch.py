"""deploy/dataflow/launch.sh: what asks Dataflow to launch a template, and what the launch starts."""

import json
import re
import stat
import subprocess
import sys

import pytest
from google.cloud.dataflow_v1beta3 import types as google

from deploy.dataflow.launch_request import ENVIRONMENT, Refused, request
from tests.deploy.cloud_scripts import BUILD, FOLDER, LAUNCH, recipes

WHERE = ["--project=my-project", "--region=us-central1"]
ASK = ["--templates=gs://bucket/templates/", "--job=score-20261120"]
FILES = ["input=gs://corpus/{date}/a, b's *.jsonl", "output=gs://labels/a"]
MESSAGES = ["subscription=projects/p-1/subscriptions/reviews", "output=gs://labels/a"]


def read(body: str) -> google.LaunchFlexTemplateRequest:
    """A request, by Google's proto, which refuses fields that it does not know."""
    return google.LaunchFlexTemplateRequest.from_json(body, ignore_unknown_fields=False)


def test_a_launch_is_sent_as_google_reads_it(scripts):
    done = scripts.run(
        LAUNCH, "classify", *WHERE, *ASK, *FILES, "run_date=2026-11-20", "only_new=true", "--with=maxWorkers=8",
        "--with=additionalExperiments=a", "--with=additionalExperiments=b=c", "--with=enableStreamingEngine=false",
        "--with=streamingMode=STREAMING_MODE_AT_LEAST_ONCE", "--with=ipConfiguration=WORKER_IP_PRIVATE",
        SAYS_GCLOUD="a-token\n", SAYS_CURL='{"job": {}}',
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout == '{"job": {}}', done.stderr
    (_, asked, _), (_, words, sent) = scripts.calls()
    assert asked == ["auth", "print-access-token"]
    assert words[-1] == (
        "https://dataflow.googleapis.com/v1b3/projects/my-project/locations/us-central1/flexTemplates:launch"
    )
    assert "--fail-with-body" in words and words[words.index("--request") + 1] == "POST"
    assert sent["--header"] == "Authorization: Bearer a-token\n" and not any("a-token" in word for word in words)
    body = read(sent["--data-binary"])
    asked_for = body.launch_parameter
    assert (asked_for.job_name, asked_for.container_spec_gcs_path) == (
        "score-20261120",
        "gs://bucket/templates/classify.json",
    )
    assert dict(asked_for.parameters) == {
        "input": "gs://corpus/{date}/a, b's *.jsonl", "output": "gs://labels/a", "run_date": "2026-11-20",
        "only_new": "true",
    }  # fmt: skip
    workers = asked_for.environment
    assert (workers.max_workers, workers.enable_streaming_engine) == (8, False)
    assert list(workers.additional_experiments) == ["a", "b=c"]
    assert workers.ip_configuration == google.WorkerIPAddressConfiguration.WORKER_IP_PRIVATE
    assert workers.streaming_mode == google.StreamingMode.STREAMING_MODE_AT_LEAST_ONCE
    assert not body.validate_only and not asked_for.update


def test_a_stream_is_replaced_and_a_request_only_looked_at(scripts):
    done = scripts.run(LAUNCH, "stream", *WHERE, *ASK, "--update", "--validate", *MESSAGES, SAYS_GCLOUD="a-token")
    assert done.returncode == 0, done.stderr
    body = read(scripts.calls()[-1][2]["--data-binary"])
    assert body.validate_only and body.launch_parameter.update


def test_a_dry_run_sends_nothing(scripts):
    done = scripts.run(LAUNCH, "prepare", *WHERE, *ASK, "input_train=gs://b/a.csv", "output=gs://b2/a", "--dry_run")
    assert done.returncode == 0 and not scripts.calls()
    assert read(done.stdout).launch_parameter.parameters["input_train"] == "gs://b/a.csv"


def snake(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def test_what_may_be_said_of_workers_is_what_google_has():
    fields = google.FlexTemplateRuntimeEnvironment.meta.fields
    left_out = {"additional_user_labels", "dump_heap_on_oom", "save_heap_dumps_to_gcs_path"}  # a map, and Java's
    assert {snake(name) for name in ENVIRONMENT} == set(fields) - left_out


CHOICES = {
    "ipConfiguration": "WORKER_IP_PUBLIC",
    "flexrsGoal": "FLEXRS_COST_OPTIMIZED",
    "streamingMode": "STREAMING_MODE_EXACTLY_ONCE",
    "autoscalingAlgorithm": "AUTOSCALING_ALGORITHM_NONE",
}


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_what_is_said_of_workers_arrives(name):
    value = CHOICES.get(name) or {int: "4", bool: "true"}.get(ENVIRONMENT[name], "a=b")
    found = read(json.dumps(request("classify", [*ASK, *FILES, f"--with={name}={value}"])))
    got = getattr(found.launch_parameter.environment, snake(name))
    assert (got.name if name in CHOICES else list(got) if ENVIRONMENT[name] is list else str(got).lower()) == (
        ["a=b"] if ENVIRONMENT[name] is list else value
    )


REFUSED = [
    ([*ASK, FILES[0]], "classify needs output=…"),
    ([*ASK, *FILES, "text_colum=a"], "text_colum: classify has input, "),
    ([*ASK, *FILES, "input_format=json"], "input_format=json: expected one of auto, text, jsonl, csv, tsv, parquet"),
    ([*ASK, *FILES, "max_rejected=2"], "max_rejected=2: expected what matches ^("),
    ([*ASK, *FILES, "output=gs://b/b"], "output is given twice"),
    ([*ASK, *FILES, "catch_up=7"], "catch_up: classify has input, "),
    ([*ASK, *FILES, "maxWorkers=7"], "--with=FIELD=VALUE"),
    ([*ASK, *FILES, "--with=maxWorker=7"], "--with=maxWorker: Dataflow has numWorkers, "),
    ([*ASK, *FILES, "--with=maxWorkers=many"], "--with=maxWorkers=many: expected a number"),
    ([*ASK, *FILES, "--with=enableStreamingEngine=yes"], "expected true or false"),
    ([*ASK, *FILES, "--with=subnetwork"], "--with=subnetwork=: expected a value"),
    ([*ASK, *FILES, "--with"], "--with: expected NAME=VALUE"),
    ([*ASK, *FILES, "--max_num_workers=4"], "--max_num_workers=4: expected NAME=VALUE"),
    ([*ASK, *FILES, "stray"], "stray: expected NAME=VALUE"),
    ([*ASK, *FILES, "--update"], "--update replaces a stream that runs"),
    ([ASK[0], *FILES], "--job is missing"),
    ([ASK[1], *FILES], "--templates is missing"),
    ([ASK[0], "--job=Score_1", *FILES], "--job=Score_1: expected a name of small letters"),
]


@pytest.mark.parametrize(("words", "sentence"), REFUSED)
def test_what_dataflow_would_not_take_is_not_asked_for(words, sentence):
    with pytest.raises(Refused) as error:
        request("classify", words)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "which template?"),
        (["label"], "which template?"),
        (["classify", "stream"], "classify or stream? one template a launch"),
        (["classify", *WHERE[1:]], "--project is missing"),
        (["classify", *WHERE[:1]], "--region is missing"),
        (["classify", *WHERE, *ASK, "output=here"], "output=here: expected what matches"),
    ],
)
def test_a_call_that_is_wrong_ends_with_a_sentence(scripts, words, sentence):
    done = scripts.run(LAUNCH, *words)
    assert done.returncode == 2 and not scripts.calls() and done.stdout == ""
    assert sentence in done.stderr and done.stderr.startswith("launch: ") and done.stderr.count("\n") == 1


def test_a_launch_that_is_refused_ends_with_1_and_what_dataflow_said(scripts):
    done = scripts.run(LAUNCH, "classify", *WHERE, *ASK, *FILES, SAYS_CURL='{"error": 1}', ENDS_CURL="22")
    assert (done.returncode, done.stdout) == (1, '{"error": 1}')
    assert done.stderr == "launch: Dataflow did not launch classify\n"


def test_nobody_who_asks_ends_with_1(scripts):
    done = scripts.run(LAUNCH, "classify", *WHERE, *ASK, *FILES, ENDS_GCLOUD="1")
    assert done.returncode == 1 and "gcloud auth login" in done.stderr
    assert [name for name, *_ in scripts.calls()] == ["gcloud"]


@pytest.mark.parametrize("script", [LAUNCH, BUILD])
def test_help_is_shown(scripts, script):
    done = scripts.run(script, "--help")
    assert done.returncode == 0 and "exit codes: 0" in done.stdout and not scripts.calls()
    assert script.stat().st_mode & stat.S_IXOTH


def test_the_recipes_are_requests(scripts):
    found = recipes(LAUNCH)
    assert [words[0] for words in found] == ["classify", "stream", "stream"]
    for words in found:
        done = scripts.run(LAUNCH, *words, "--dry_run")
        assert done.returncode == 0, done.stderr
        assert read(done.stdout).launch_parameter.update == ("--update" in words)


@pytest.mark.parametrize(
    ("environ", "code", "said"),
    [({}, 2, "which command?"), ({"SEQCLS_BEAM_COMMAND": "prepare"}, 0, "usage: seqcls-beam prepare ")],
)
def test_what_the_launcher_starts_is_a_command(environ, code, said):
    done = subprocess.run(
        [sys.executable, FOLDER / "main.py", "--help"], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code and said in done.stdout + done.stderr


def test_no_file_names_a_registry():
    for file in FOLDER.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert not re.search(r"\bgcr\.io|pkg\.dev|docker\.io|ghcr\.io|quay\.io", file.read_text()), file


@pytest.mark.deploy
def test_shellcheck_finds_nothing():
    done = subprocess.run(["shellcheck", "--severity=style", LAUNCH, BUILD], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
