"""deploy/dataflow/templates: parameters beside one another, beside what the launcher adds, and what is said of them."""

import re

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, _BeamArgumentParser

from deploy.dataflow import main as launched
from pipelines import classify
from pipelines.dataflow import RUNNER
from pipelines.options import parse, parse_alone
from pipelines.runners import beam_options
from pipelines.stream_flags import refuse
from seqcls_beam.config import ModelOptions, stream
from tests.deploy.metadata import METADATA, NAMES, NEEDED, PARAMETERS, groups, parser_of


def test_what_a_console_fills_in_is_taken_beside_a_model_that_is_watched():
    parameters = METADATA["stream"]["parameters"]
    filled = [f"--{each['name']}={each['defaultValue']}" for each in parameters if "defaultValue" in each]
    needed = [f"--{name}={NEEDED[name]}" for name in ("output", "subscription")]
    words = [*filled, *needed, "--watch_model=gs://models/reviews"]
    refuse(parse_alone(parser_of("stream"), words, classify.GROUPS), stream.GROUPS, RUNNER, PipelineOptions([]))
    (told,) = [each["helpText"] for each in parameters if each["name"] == "model"]
    assert f"(default: {ModelOptions().model}, unless watch_model is given)" in told


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_of_a_parameter_speaks_of_what_there_is(name):
    parameters = {each["name"]: each for each in METADATA[name]["parameters"]}
    for each in parameters.values():
        said = each["helpText"]
        assert set(re.findall(r"--(\w+)", said)) <= set(parameters), said
        assert "standard input" not in said and "several times" not in said, said
    if name == "stream":
        said = " ".join(each["helpText"] for each in parameters.values())
        assert not re.search(r"Parquet|files|int8|'\*'|first|this machine publishes", said)


def flags_of_beam() -> set[str]:
    made = _BeamArgumentParser(allow_abbrev=False)
    for group in PipelineOptions.__subclasses__():
        group._add_argparse_args(made)
    return set(made._option_string_actions)


def test_a_parameter_that_is_a_flag_of_beams_is_told_from_it():
    """The launcher gives both by the same flag."""
    both = {(name, each["name"]) for name, each in PARAMETERS if f"--{each['name']}" in flags_of_beam()}
    assert both == {("prepare", "labels")}
    (told,) = [each for name, each in PARAMETERS if (name, each["name"]) == ("prepare", "labels")]
    of = groups("prepare")
    assert "--label" not in parser_of("prepare")._option_string_actions
    for classes in ("good,bad", "0:good,1:bad", " a b , c"):
        assert re.fullmatch(told["regexes"][0], classes)
        jobs = ['{"team": "data", "n": "1"}', "team=data"]
        words = launched.words([f"--labels={jobs[0]}", f"--labels={classes}", "--output=a=b", f"--labels={jobs[1]}"])
        given, its = parse(parser_of("prepare"), words, of)
        assert given["labels"] == {"labels": tuple(each.strip() for each in classes.split(","))}
        assert given["output"] == {"output": "a=b"}
        assert beam_options(its).view_as(GoogleCloudOptions).labels == jobs
    for taken in ("a=b", "a,b=c", "{a}", "a,{", ""):
        assert not re.fullmatch(told["regexes"][0], taken)
