"""deploy/dataflow/launch_request.py: what is asked for, and what is refused before it is."""

import json
import re
from typing import Any

import pytest
from google.cloud.dataflow_v1beta3 import types as google

from deploy.dataflow.launch_request import ENVIRONMENT, WORD, Refused, main, request
from deploy.dataflow.launch_request import FOLDER as PLACE
from tests.deploy.cloud_scripts import ASK, FILES, MESSAGES, read

WATCHED = "watch_model=gs://models/reviews"


def snake(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def test_what_may_be_said_of_workers_is_what_google_has():
    fields = google.FlexTemplateRuntimeEnvironment.meta.fields
    left_out = {"dump_heap_on_oom", "save_heap_dumps_to_gcs_path"}  # Java's
    assert {snake(name) for name in ENVIRONMENT} == set(fields) - left_out


CHOICES = {
    "ipConfiguration": google.WorkerIPAddressConfiguration,
    "flexrsGoal": google.FlexResourceSchedulingGoal,
    "streamingMode": google.StreamingMode,
    "autoscalingAlgorithm": google.AutoscalingAlgorithm,
}


KINDS: dict[Any, tuple[str, Any]] = {
    int: ("4", 4), bool: ("true", True), list: ("a b=c", ["a b=c"]), dict: ("a=b", {"a": "b"}),
    WORD: ("a=b", "a=b"), PLACE: ("gs://a-b.c/d=1/e_F/", "gs://a-b.c/d=1/e_F/"),
}  # fmt: skip


def arrived(name: str, *values: str) -> Any:
    words = [f"--with={name}={value}" for value in values]
    found = read(json.dumps(request("classify", [*ASK, *FILES, *words])))
    return getattr(found.launch_parameter.environment, snake(name))


@pytest.mark.parametrize("name", [name for name in ENVIRONMENT if name not in CHOICES])
def test_what_is_said_of_workers_arrives(name):
    kind: Any = ENVIRONMENT[name]
    value, expected = KINDS[kind]
    got = arrived(name, value)
    assert (kind(got) if kind in (list, dict) else got) == expected


def test_several_labels_of_a_job_are_one_map():
    assert dict(arrived("additionalUserLabels", "team=data", "cost-centre=4_2", "bare=")) == {
        "team": "data", "cost-centre": "4_2", "bare": "",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "choices"), CHOICES.items())
def test_what_is_one_of_a_few_is_one_that_google_has(name, choices):
    known = [each.name for each in choices if each.value]  # the first is what says nothing
    assert [arrived(name, value).name for value in known] == known
    with pytest.raises(Refused, match=f"^--with={name}=no: expected one of {', '.join(known)}$"):
        arrived(name, "no")


def test_steps_of_a_stream_are_renamed():
    words = [*ASK, *MESSAGES, "--update", "--rename=Old/A=New A/B", "--rename=Other=Else=1"]
    found = read(json.dumps(request("stream", words)))
    assert dict(found.launch_parameter.transform_name_mappings) == {"Old/A": "New A/B", "Other": "Else=1"}


REFUSED = [
    ([*ASK, FILES[0]], "classify needs output=…"),
    ([*ASK, *FILES, "text_colum=a"], "text_colum: classify has input, "),
    ([*ASK, *FILES, "input_format=json"], "input_format=json: expected one of auto, text, jsonl, csv, tsv, parquet"),
    ([*ASK, *FILES, "max_rejected=2"], "max_rejected=2: expected what matches ^("),
    ([*ASK, *FILES, "output=gs://b/b"], "output is given twice"),
    ([*ASK, *FILES, "catch_up=7"], "catch_up: classify has input, "),
    ([*ASK, *FILES, "maxWorkers=7"], "--with=FIELD=VALUE"),
    ([*ASK, *FILES, "--with=maxWorker=7"], "--with=maxWorker: Dataflow has numWorkers, "),
    ([*ASK, *FILES, "--with=maxWorkers=many"], "--with=maxWorkers=many: expected a whole number"),
    *(([*ASK, *FILES, f"--with=diskSizeGb={n}"], f"={n}: expected a whole number, 1 or") for n in ("0", "-1", "٣", "")),
    ([*ASK, *FILES, "--with=tempLocation=hello"], "--with=tempLocation=hello: expected a folder in a bucket, gs://"),
    ([*ASK, *FILES, "--with=stagingLocation=/etc"], "--with=stagingLocation=/etc: expected a folder in a bucket"),
    ([*ASK, *FILES, "--with=stagingLocation=gs://b"], "--with=stagingLocation=gs://b: expected a folder in a bucket"),
    ([*ASK, *FILES, "--with=machineType=a b"], "--with=machineType=a b: expected a value without blanks"),
    ([*ASK, *FILES, "--with=additionalExperiments="], "--with=additionalExperiments=: expected a value"),
    ([*ASK, *FILES, "--with=additionalExperiments= "], "--with=additionalExperiments= : expected a value"),
    ([*ASK, *FILES, "--with=flexrsGoal="], "--with=flexrsGoal=: expected one of"),
    ([*ASK, *FILES, *(f"--with=maxWorkers={n}" for n in "89")], "--with=maxWorkers=9: maxWorkers is given twice"),
    ([*ASK, *FILES, *["--with=enableStreamingEngine=false"] * 2], "enableStreamingEngine is given twice"),
    ([*ASK, *FILES, *["--with=additionalExperiments=a"] * 2], "--with=additionalExperiments=a: a is given twice"),
    ([*ASK, *FILES, "--with=enableStreamingEngine=yes"], "expected true or false"),
    ([*ASK, *FILES, "--with=additionalUserLabels=team"], "=team: expected a label of the job, NAME=VALUE"),
    ([*ASK, *FILES, "--with=additionalUserLabels=Team=a"], "=Team=a: expected a label of the job"),
    ([*ASK, *FILES, *["--with=additionalUserLabels=a=b"] * 2], "the label a is given twice"),
    ([*ASK, *FILES, "--rename=A=B"], "--rename is of a stream that is replaced: it needs --update"),
    ([*ASK, *FILES, "--rename=A"], "--rename=A: expected OLD=NEW"),
    ([*ASK, *FILES, "--rename==B"], "--rename=: expected OLD=NEW"),
    ([*ASK, *FILES, "--rename=A=B", "--rename=A=C"], "--rename=A=C: A is renamed twice"),
    ([*ASK, *FILES, "--rename"], "--rename: expected NAME=VALUE"),
    ([*ASK, *FILES, "--with=subnetwork"], "--with=subnetwork=: expected a value"),
    ([*ASK, *FILES, "--with"], "--with: expected NAME=VALUE"),
    ([*ASK, *FILES, "--max_num_workers=4"], "--max_num_workers=4: expected NAME=VALUE"),
    ([*ASK, *FILES, "stray"], "stray: expected NAME=VALUE"),
    ([*ASK, *FILES, "--update"], "--update replaces a stream that runs"),
    ([ASK[0], *FILES], "--job is missing"),
    ([ASK[1], *FILES], "--templates is missing"),
    ([ASK[0], "--job=Score_1", *FILES], "--job=Score_1: expected a name of small letters"),
    ([ASK[0], "--job=score-", *FILES], "--job=score-: expected a name of small letters"),
    ([*ASK, ASK[1], *FILES], "--job is given twice"),
    ([*ASK, "--templates=gs://other", *FILES], "--templates is given twice"),
    ([*ASK, *FILES, "--validate", "--validate"], "--validate is given twice"),
    ([*ASK, *FILES, "--update", "--update"], "--update is given twice"),
    (["--templates=/etc", ASK[1], *FILES], "--templates=/etc: expected a folder in a bucket, gs://BUCKET/FOLDER"),
    (["--templates=gs://bucket/a b", ASK[1], *FILES], "--templates=gs://bucket/a b: expected a folder in a bucket"),
    (["--templates=gs://bucket/*", ASK[1], *FILES], "--templates=gs://bucket/*: expected a folder in a bucket"),
    ([*ASK, *FILES, "text_column=a\udcff"], "text_column=a\\udcff: expected Unicode"),
    ([*ASK, *FILES, "--with=additionalExperiments=\ud800"], "--with=additionalExperiments=\\ud800: expected Unicode"),
]


@pytest.mark.parametrize(("words", "sentence"), REFUSED)
def test_what_dataflow_would_not_take_is_not_asked_for(words, sentence):
    with pytest.raises(Refused) as error:
        request("classify", words)
    assert sentence in str(error.value)


@pytest.mark.parametrize("other", ["model", "revision"])
def test_a_stream_has_one_model(other):
    assert request("stream", [*ASK, *MESSAGES, f"{other}=a"]) and request("stream", [*ASK, *MESSAGES, WATCHED])
    with pytest.raises(Refused, match=f"^{other} and watch_model: one stands in place of the other"):
        request("stream", [*ASK, *MESSAGES, f"{other}=a", WATCHED])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "which template? classify, prepare, stream"),
        (["label"], "label: expected a template, one of classify, prepare, stream"),
        (["../templates/classify", *ASK, *FILES], "../templates/classify: expected a template, one of"),
        (["", *ASK], ": expected a template"),
        (["class\udcff"], "class\\udcff: expected Unicode"),
    ],
)
def test_a_request_by_hand_that_is_wrong_ends_with_a_sentence(capsys, words, sentence):
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"launch: {sentence}") and said.err.count("\n") == 1
