"""deploy/dataflow/launch.sh: what asks Dataflow to launch a template, and what the launch starts."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from google.cloud.dataflow_v1beta3 import types as google

from deploy.dataflow.launch_request import FOLDER as PLACE
from pipelines import dataflow
from tests.deploy.cloud_scripts import ASK, BUILD, FILES, FOLDER, LAUNCH, MESSAGES, WHERE, read, recipes
from tests.image.container import LAUNCHING


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


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "which template?"),
        (["label"], "which template?"),
        (["classify", "stream"], "classify or stream? one template a launch"),
        (["classify", *WHERE[1:]], "--project is missing"),
        (["classify", *WHERE[:1]], "--region is missing"),
        (["classify", *WHERE, WHERE[0]], "--project is given twice"),
        (["classify", *WHERE, WHERE[1]], "--region is given twice"),
        (["classify", *WHERE, "--dry_run", "--dry_run"], "--dry_run is given twice"),
        (["classify", *WHERE, *ASK, "output=here"], "output=here: expected what matches"),
    ],
)
def test_a_call_that_is_wrong_ends_with_a_sentence(scripts, words, sentence):
    done = scripts.run(LAUNCH, *words)
    assert done.returncode == 2 and not scripts.calls() and done.stdout == ""
    assert sentence in done.stderr and done.stderr.startswith("launch: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *(("--project", value) for value in ("p/../q", "my-project?a=b", "my project", "My-Project", "123456789012")),
        *(("--project", value) for value in ("short", "my-projecté", "-my-project", "my-project#", "my-project/")),
        *(("--region", value) for value in ("us-central1-a", "us-central", "us-central1/jobs", "us-central1?", "..")),
        *(("--region", value) for value in ("US-central1", "us-centrál1", " us-central1")),
    ],
)
def test_what_is_no_part_of_an_address_is_not_called(scripts, flag, value):
    where = [word for word in WHERE if not word.startswith(flag)]
    done = scripts.run(LAUNCH, "classify", *where, f"{flag}={value}", *ASK, *FILES, LC_ALL="C.UTF-8")
    assert done.returncode == 2 and not scripts.calls()
    assert done.stderr.startswith(f"launch: {flag}={value}: expected ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("project", ["my-project-1", "example.com:my-project"])
@pytest.mark.parametrize("region", ["us-central1", "northamerica-northeast2"])
def test_a_project_and_a_region_are_taken(scripts, project, region):
    words = [f"--project={project}", f"--region={region}", *ASK, *FILES, "--dry_run"]
    assert scripts.run(LAUNCH, "classify", *words).returncode == 0


def test_the_scripts_and_the_commands_know_a_project_a_region_and_a_folder_alike():
    launch, build = LAUNCH.read_text(), BUILD.read_text()
    assert f"""matches "$project" '{dataflow._PROJECT.pattern}'""" in launch
    assert f"""matches "$project" '{dataflow._PROJECT.pattern}'""" in build
    assert f"""matches "$region" '{dataflow._REGION.pattern}'""" in launch
    assert f"""matches "$templates" '{PLACE.pattern}'""" in build


def test_bytes_that_are_no_unicode_end_with_a_sentence(scripts):
    done = scripts.run(LAUNCH, "classify", *WHERE, *ASK, *FILES, os.fsdecode(b"text_column=\xff"), "--dry_run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "launch: text_column=\\udcff: expected Unicode, and it has bytes that are none\n"


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


def test_labels_of_a_job_are_no_classes():
    """A number has no classes, so labels would be refused; what is missing of Dataflow's is said after that."""
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SEQCLS_BEAM_COMMAND": "prepare",
        "FLEX_TEMPLATE_PYTHON_PY_FILE": str(FOLDER / "main.py"),
    }
    words = ["--input=gs://corpus/a.jsonl", "--output=gs://data/a", "--problem=regression"]

    def launched(*more: str) -> str:
        start = ["/bin/sh", "-c", LAUNCHING, "launcher", *words, *more]
        done = subprocess.run(start, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2, done.stderr
        return done.stderr

    assert "--runner=DataflowRunner needs --sdk_container_image=" in launched()
    assert "--problem=regression has no labels" in launched("--labels=good,bad")


def test_no_file_names_a_registry():
    for file in FOLDER.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert not re.search(r"\bgcr\.io|pkg\.dev|docker\.io|ghcr\.io|quay\.io", file.read_text()), file


@pytest.mark.deploy
def test_shellcheck_finds_nothing():
    done = subprocess.run(["shellcheck", "--severity=style", LAUNCH, BUILD], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
