"""deploy/dataflow/templates: what Google's protos take, and what the commands say of the same options."""

import json
import re
from dataclasses import MISSING
from importlib import import_module
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from google.cloud.dataflow_v1beta3 import types as google

from deploy.dataflow.container_spec import container_spec
from deploy.generate.templates import TEMPLATES
from pipelines import classify
from pipelines.dataflow import RUNNER, refuse_unseen
from pipelines.options import parse_alone
from pipelines.stream_flags import refuse
from pipelines.usage import UsageError
from seqcls_beam.config import ReadOptions, stream
from seqcls_beam.config.option import flag, option_fields
from seqcls_beam.config.stream import SourceOptions
from seqcls_beam.model.checkpoints import CheckpointError
from seqcls_beam.model.newer import find
from seqcls_beam.reading.messages import message_layout
from tests.deploy.metadata import FOLDER, METADATA, NAMES, NEEDED, PARAMETERS, SUBSCRIPTION, groups, matches, parser_of

# One is of no use without the other.
COMPANIONS = {"only_new": {"run_date": "2026-11-20"}}
IMAGE = "registry.example/project/seqcls-beam@sha256:0123"


def named(found: list) -> list[str]:
    return [f"{template}-{each['name']}" for template, each in found]


def built(template: str, name: str, value: str) -> Any:
    """The options of the group that an option is of, where it is given on the command line. Raises `ValueError`."""
    of, made = groups(template), parser_of(template)
    given = parse_alone(made, [f"--{name}={value}"], of)
    (group,) = [each for each in of if any(flag(one) == name for one in option_fields(of[each]))]
    fields = [each for each in option_fields(of[group]) if each.default is MISSING]
    needed = {each.name: NEEDED[each.name] for each in fields}
    return of[group](**{**needed, **COMPANIONS.get(name, {}), **given[group]})


def accepts(template: str, name: str, value: str) -> bool:
    try:
        built(template, name, value)
    except ValueError:
        return False
    return True


def test_there_is_a_file_for_each():
    assert sorted(path.stem for path in FOLDER.iterdir()) == NAMES == sorted(TEMPLATES)


@pytest.mark.parametrize("name", NAMES)
def test_googles_protos_know_every_field(name):
    text = (FOLDER / f"{name}.json").read_text()
    read = google.TemplateMetadata.from_json(text, ignore_unknown_fields=False)
    assert [each.name for each in read.parameters] == [each["name"] for each in METADATA[name]["parameters"]]
    assert read.streaming == (name == "stream") == read.supports_at_least_once
    assert all(each.label and each.help_text and each.group_name for each in read.parameters)
    with pytest.raises(Exception, match="isOptionl"):
        google.TemplateMetadata.from_json(text.replace("isOptional", "isOptionl"), ignore_unknown_fields=False)


@pytest.mark.parametrize("name", NAMES)
def test_googles_protos_know_the_file_in_the_bucket(name):
    spec = json.dumps(container_spec(IMAGE, METADATA[name]))
    read = google.ContainerSpec.from_json(spec, ignore_unknown_fields=False)
    assert read.image == read.default_environment.sdk_container_image == IMAGE
    assert read.sdk_info.language == google.SDKInfo.Language.PYTHON
    assert len(read.metadata.parameters) == len(METADATA[name]["parameters"])


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_a_parameter_or_left_out_for_a_reason(name):
    options = [flag(each) for group in groups(name).values() for each in option_fields(group)]
    left_out = TEMPLATES[name].choice.left_out
    parameters = [each["name"] for each in METADATA[name]["parameters"]]
    assert parameters == [each for each in options if each not in left_out], "in the order of --help"
    assert set(left_out) <= set(options) and all(left_out.values())


def test_a_stream_has_the_options_that_the_command_takes_of_one():
    of = classify.GROUPS
    taken = []
    for group in (each for each in of if each not in ("look", "plan")):
        for each in option_fields(of[group]):
            given: dict[str, dict[str, Any]] = {name: {} for name in of}
            given["source"] = {"subscription": SUBSCRIPTION}
            given["run"] = {"output": "gs://labels/a"}
            given[group].setdefault(each.name, "x")
            try:
                refuse(given, stream.GROUPS, RUNNER, PipelineOptions([]))
            except UsageError:
                continue
            taken.append(flag(each))
    assert [each["name"] for each in METADATA["stream"]["parameters"]] == taken


def test_what_is_refused_of_a_stream_is_refused_by_its_patterns():
    assert matches("classify", "dtype", "int8") and not matches("stream", "dtype", "int8")
    assert not matches("classify", "dtype", "fastest"), "a worker's processor is not the launcher's"
    for columns in ("a", "a:int64,b", "", "*", "a,*", "* "):
        read = ReadOptions(input=(), keep_columns=tuple(each.strip() for each in columns.split(",") if each.strip()))
        try:
            message_layout(read, SourceOptions(subscription=SUBSCRIPTION))
        except ValueError:
            assert not matches("stream", "keep_columns", columns), columns
        else:
            assert matches("stream", "keep_columns", columns), columns
    assert matches("classify", "keep_columns", "*")


def test_needed_is_what_has_no_default():
    needed = {name: [each["name"] for each in METADATA[name]["parameters"] if not each["isOptional"]] for name in NAMES}
    assert needed == {"classify": ["input", "output"], "prepare": ["output"], "stream": ["output", "subscription"]}


@pytest.mark.parametrize(("template", "told"), PARAMETERS, ids=named(PARAMETERS))
def test_patterns_are_what_all_dialects_have(template, told):
    (pattern,) = told["regexes"]
    assert pattern.startswith("^(") and pattern.endswith(")$")
    # Nothing that RE2, JavaScript, Java or Python alone has: (?…), backreferences, \A, \h, \d of other scripts, a++.
    without_classes = re.sub(r"\[(\\.|[^\]\\])*\]", "x", pattern)
    assert "(?" not in without_classes and not re.search(r"[*+?}][+]", without_classes)
    assert set(re.findall(r"\\(.)", pattern)) <= set(r"sS.trn\-")
    assert [each["value"] for each in told.get("enumOptions", [])] == [
        choice for choice in re.split(r"\|", pattern[2:-2]) if told["paramType"] == "ENUM"
    ]


DEFAULTS = [(template, told) for template, told in PARAMETERS if "defaultValue" in told]


@pytest.mark.parametrize(("template", "told"), DEFAULTS, ids=named(DEFAULTS))
def test_a_default_matches_and_is_the_commands(template, told):
    name, value = told["name"], told["defaultValue"]
    assert matches(template, name, value)
    module = import_module(f"pipelines.{TEMPLATES[template].command}")
    with_it = built(template, name, value)
    by_default = (
        getattr(module, "UNIT_BYTES", 0) if name == "unit_bytes" else type(with_it).__dataclass_fields__[name].default
    )
    assert getattr(with_it, name) == by_default


def test_there_are_defaults():
    assert (
        {"true", "false"} >= {told["defaultValue"] for _, told in DEFAULTS if told["paramType"] == "BOOLEAN"} != set()
    )
    assert len(DEFAULTS) > 50


NUMBERS = [(template, told) for template, told in PARAMETERS if told["paramType"] == "NUMBER"]


@pytest.mark.parametrize(("template", "told"), NUMBERS, ids=named(NUMBERS))
def test_a_number_matches_where_the_command_takes_it(template, told):
    numbers = [
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
        "9",
        "10",
        "49",
        "50",
        "51",
        "255",
        "256",
        "257",
        "300",
        "301",
        "365",
        "366",
        "367",
    ]
    numbers += ["86399", "86400", "86401", "99998", "99999", "100000", "65535", "65536", str(2**63 - 1), str(2**63)]
    numbers += [
        "0.05",
        "0.1",
        "0.10",
        "0.5",
        "0.59",
        "0.6",
        "0.61",
        "0.89",
        "0.9",
        "0.91",
        "0.999",
        "1.0",
        "1.001",
        "1.5",
    ]
    numbers += ["300.0", "300.5", "-1", "-0.5", "", "x", "1,5", "nan"]
    for number in numbers:
        assert matches(template, told["name"], number) == accepts(template, told["name"], number), number


VALUES: dict[str, tuple[list[str], list[str]]] = {
    "text_column": (["text", "a b", "größe", "'", "a\nb"], [""]),
    "id_column": (["id"], [""]),
    "revision": (["main", "refs/pr/1"], [""]),
    "input_format": (["auto", "parquet"], ["", "json", "Auto", "auto "]),
    "problem_type": (["regression"], ["", "none"]),
    "keep_columns": (["", "a", "a,b:int64", "a, b", "*"], [",", "a,", ",a", "a,,b", "a, ,b"]),
    "column_names": (["a", "a,b", " a"], ["", ",", "a,", "a,,b"]),
    "delimiter": ([";", "|", "\\t", "\t", "ä", " "], ["", ";;", "\n", "\r", '"', "\\n"]),
    "quote": (["", "'", '"', "~", " "], [",", "\t", "\n", "ä", "''"]),
    "device": (["auto", "cpu", "cuda", "cuda:0", "cuda:12"], ["", "gpu", "cuda:", "cuda:x", "CPU", "cuda0"]),
    "run_date": (
        ["2026-11-20", "2024-02-29"],
        ["", "2026-11-20..2026-11-21", "20261120", "2026-13-01", "2026-11-32", "today"],
    ),
    "only_new": (["true", "false"], ["yes", "1", ""]),
    "overwrite": (["true", "false"], ["no"]),
    "gpu": (["nvidia-l4"], ["", "nvidia-l5", "nvidia"]),
    "subscription": (
        [SUBSCRIPTION, "projects/google.com:p/subscriptions/a-b_c.d~e+f%g"],
        ["", "reviews", "projects/p/topics/reviews", "projects/p/subscriptions/ab", "projects/p/subscriptions/1abc",
         "projects/a b/subscriptions/abc", "projects/p/subscriptions/" + "a" * 256],
    ),
    "output_topic": (["projects/p-1/topics/labels"], ["", "labels", SUBSCRIPTION, "projects/p/topics/ab"]),
    "dead_letter_topic": (["projects/p-1/topics/dead"], ["", "dead", "projects/p/topics/"]),
    "attributes": (["a", "a,b"], ["", "a,,b"]),
    "message_format": (["json", "text"], ["", "csv"]),
    "clean": (["", "html", "encoding,whitespace"], ["all", "html,", "html,,control"]),
    "duplicate_key": (["", "nfkc,punctuation"], ["html"]),
    "languages": (["de", "de,en"], ["", "de,"]),
    "conflicts": (["fail"], ["", "none"]),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_a_value_matches_where_the_command_takes_it(name):
    templates = [
        template
        for template, told in PARAMETERS
        if told["name"] == name and (template, name) != ("stream", "keep_columns")
    ]
    assert templates
    good, bad = VALUES[name]
    for template in templates:
        assert [value for value in good if not accepts(template, name, value)] == []
        assert [value for value in good if not matches(template, name, value)] == []
        assert [value for value in bad if accepts(template, name, value)] == []
        assert [value for value in bad if matches(template, name, value)] == []


TRIED_ALONE = ("labels", "watch_model")


def test_every_kind_of_parameter_is_in_the_table():
    """What is left are texts and switches like others, and places of files."""
    patterns = {told["regexes"][0] for _, told in PARAMETERS if told["paramType"] not in ("NUMBER", "ENUM")}
    tried = {told["regexes"][0] for _, told in PARAMETERS if told["name"] in VALUES}
    elsewhere = {told["regexes"][0] for _, told in PARAMETERS if told["name"] in ("input", "output", *TRIED_ALONE)}
    assert patterns <= tried | elsewhere


INPUTS = ["gs://corpus/*.jsonl", "gs://corpus/{date:%Y}/[ab]?.jsonl.gz", "s3://corpus/a", "https://example.org/a.jsonl"]


@pytest.mark.parametrize("value", [*INPUTS, "inbox/*.jsonl", "/data/a.txt", "-", "file:///data/a.txt"])
@pytest.mark.parametrize(
    ("template", "name"), [("classify", "input"), ("prepare", "input_test"), ("stream", "watch_model")]
)
def test_a_place_matches_where_workers_elsewhere_see_it(template, name, value):
    try:
        refuse_unseen(RUNNER, **{name: [value]})
        if name == "watch_model" and value.startswith("http"):
            find(value, None)
    except (UsageError, CheckpointError):
        assert not matches(template, name, value)
    else:
        assert matches(template, name, value)


@pytest.mark.parametrize("value", ["gs://labels", "gs://labels/", "gs://la-be.l_s/a b/c"])
def test_an_output_is_in_a_bucket(value):
    refuse_unseen(RUNNER, output=[value])
    assert all(matches(name, "output", value) for name in NAMES)


@pytest.mark.parametrize("value", ["labels", "gs://", "gs:///a", "gs://-a", "s3://labels/a", "gs:/labels/a", ""])
def test_an_output_elsewhere_is_refused(value):
    assert not any(matches(name, "output", value) for name in NAMES)
