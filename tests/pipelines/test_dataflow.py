"""Flags of a job for Dataflow that cannot be: refused in a sentence, before anything is planned or sent."""

import sys

import google.cloud
import pytest

from pipelines import classify, evaluate, prepare
from pipelines.dataflow import is_dataflow

NAME = "projects/some-project/subscriptions/sub"
IMAGE = "--sdk_container_image=some/image:1"
PROJECT, REGION, TEMP = "--project=some-project", "--region=us-central1", "--temp_location=gs://some-bucket/temp"
RUNNER = "--runner=DataflowRunner"
FILES = ["--input=gs://some-bucket/a.jsonl", "--output=gs://some-bucket/out"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            [],
            "needs --project=PROJECT, --region=us-central1, --temp_location=gs://BUCKET/temp and --sdk_container_image",
        ),
        ([PROJECT, TEMP, IMAGE], "needs --region=us-central1\n"),
        ([REGION, TEMP, IMAGE], "needs --project=PROJECT\n"),
        ([PROJECT, REGION, IMAGE], "needs --temp_location=gs://BUCKET/temp\n"),
        ([PROJECT, REGION, TEMP], "needs --sdk_container_image=IMAGE, which docs/image.md builds\n"),
        (["--project=123456", REGION, TEMP, IMAGE], "--project=123456: expected the id of a project"),
        ([PROJECT, "--region=us-central1-a", TEMP, IMAGE], "is a zone: its region is us-central1; for a zone give"),
        ([PROJECT, "--region=Iowa", TEMP, IMAGE], "--region=Iowa: expected a region, such as us-central1"),
        ([PROJECT, REGION, "--temp_location=/tmp/x", IMAGE], "--temp_location=/tmp/x: expected a folder in a bucket"),
        (
            [PROJECT, REGION, TEMP, "--staging_location=gs://", IMAGE],
            "--staging_location=gs://: expected a folder in a bucket, gs://BUCKET/FOLDER",
        ),
    ],
)
@pytest.mark.parametrize("runner", [RUNNER, "--runner=dataflow"])
def test_what_is_missing_is_one_sentence(flags, sentence, runner, capsys):
    assert classify.main([*FILES, runner, *flags]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        (classify, [f"--subscription={NAME}", "--output=gs://some-bucket/out"]),
        (prepare, FILES),
        (evaluate, [*FILES, "--label_column=stars"]),
    ],
    ids=["stream", "prepare", "evaluate"],
)
def test_so_it_is_of_every_command(command, flags, capsys):
    assert command.main([*flags, RUNNER, PROJECT, REGION, IMAGE]) == 2
    assert "--runner=DataflowRunner needs --temp_location=gs://BUCKET/temp\n" in capsys.readouterr().err


@pytest.mark.parametrize("runner", ["DirectRunner", "FlinkRunner"])
def test_a_gpu_of_dataflow_is_for_its_runner(runner, capsys):
    assert classify.main([*FILES, f"--runner={runner}", "--gpu=nvidia-l4"]) == 2
    assert "--gpu=nvidia-l4 is for workers of Dataflow, and the runner is" in capsys.readouterr().err


def test_without_the_extra_it_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "google.cloud.dataflow", None)
    monkeypatch.delattr(google.cloud, "dataflow", raising=False)
    assert classify.main([*FILES, RUNNER, PROJECT, REGION, TEMP, IMAGE]) == 2
    assert "needs packages of Google's: pip install 'seqcls_beam[gcp]'\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--template_location=gs://some-bucket/t.json"], "is for jobs of Dataflow, and the runner is FnApiRunner"),
        ([RUNNER, "--dry_run=True"], "--dry_run of Beam's begins a run and sends no job: --plan says"),
        ([RUNNER, "--gpu=nvidia-l4", "--device=cpu"], "which of the two is to compute?"),
        (
            [RUNNER, "--gpu=nvidia-l4", "--resource_hint=accelerator=type:nvidia-l4"],
            "Dataflow takes one of the two, a service option or a hint",
        ),
        (["--text=a", "--gpu=nvidia-l4"], "--text is a quick look"),
        (["--text=a", "--plan"], "--text is a quick look"),
    ],
)
def test_what_makes_nothing_of_something_else(flags, sentence, capsys):
    argv = flags if "--text=a" in flags else [*FILES, *flags]
    assert classify.main(argv) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_an_unknown_gpu(capsys):
    assert classify.main([*FILES, RUNNER, "--gpu=L4"]) == 2
    assert "nvidia-l4" in capsys.readouterr().err


def test_nobody_who_asks_is_told_at_once(monkeypatch, tmp_path, capsys):
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))  # where gcloud would have left some
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # as on a machine that is none of Google's
    assert classify.main([*FILES, RUNNER, PROJECT, REGION, TEMP, IMAGE]) == 2
    said = capsys.readouterr().err
    assert "no credentials for Google Cloud are found" in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("runner", "expected"),
    [
        ("DataflowRunner", True),
        ("dataflow", True),
        ("apache_beam.runners.dataflow.DataflowRunner", True),
        ("FnApiRunner", False),
    ],
)
def test_which_runner_is_dataflow(runner, expected):
    assert is_dataflow(runner) == expected


@pytest.mark.parametrize(
    ("word", "known"), [("--only_new=true", True), ("--only_new=FALSE", True), ("--only_new=2", False)]
)
def test_templates_give_switches_a_value(word, known, capsys):
    """`--only_new` needs a date: so it is told apart from a flag that was left out."""
    flags = ["--input=nothing-there.jsonl", "--output=nowhere", word]
    assert classify.main(flags) == 2
    said = capsys.readouterr().err
    assert ("--only_new needs --run_date" in said) == (word == "--only_new=true")
    assert ("explicit argument '2'" in said) != known
