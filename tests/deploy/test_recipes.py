"""What docs/recipes.md and deploy/README.md show is what there is."""

import re
import shlex
import subprocess

import pytest

from pipelines import approve, classify, evaluate
from pipelines.options import parse, parse_alone, parser
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.approve import ApproveOptions
from seqcls_beam.config.classify import RunOptions
from seqcls_beam.config.compare import DriftOptions
from tests.corpora import write_jsonl
from tests.deploy.scripted import DEPLOY, NIGHTLY, REAL

TEXT = (DEPLOY / "README.md").read_text()
ROOT = DEPLOY.parent


def recipes(text: str, command: str) -> list[str]:
    """The calls of a command in a text, each on one line; those within a paragraph end with their backquote."""
    return [
        each.replace("\\\n", " ") for each in re.findall(rf"^ *`?({re.escape(command)} (?:.*\\\n)*[^`\n]*)", text, re.M)
    ]


NIGHTS = recipes((ROOT / "docs" / "recipes.md").read_text(), "deploy/nightly.sh") + recipes(TEXT, "deploy/nightly.sh")


def test_there_are_recipes():
    assert len(NIGHTS) == 5


@pytest.mark.parametrize("recipe", NIGHTS)
def test_a_night_has_options_that_exist_and_values_in_range(recipe, script):
    done = script.run(*shlex.split(recipe, comments=True)[1:])
    assert done.returncode == 0, done.stderr
    for name, *words in script.calls():
        if name == "classify":
            given, _ = parse(parser("p", "", "", classify.GROUPS), words, classify.GROUPS)
            ReadOptions(**given["read"]), ModelOptions(**given["model"]), RunOptions(**given["run"])
        elif name == "evaluate":
            given, _ = parse(parser("p", "", "", evaluate.GROUPS), words, evaluate.GROUPS)
            evaluate.configured(given)
            assert given["gates"], "else it is no gate"
        else:
            judged(words)


def test_a_night_is_judged_again_by_options_that_exist():
    found = recipes(TEXT, "python -m pipelines.approve")
    assert len(found) == 2
    for each in found:
        judged(shlex.split(each)[3:])


def judged(words: list[str]) -> None:
    given = parse_alone(parser("p", "", "", approve.GROUPS), words, approve.GROUPS)
    ApproveOptions(**given["approve"]), DriftOptions(**given["drift"])


def test_the_codes_are_those_of_the_script(script):
    """Each that the table names is one that the help names, or that of a kill."""
    told = {int(code) for cell in re.findall(r"^\| ([\d, ]+) \|", TEXT, re.M) for code in cell.split(",")}
    helped = {int(code) for code in re.findall(r"\b\d+\b", script.run("--help").stdout.partition("exit codes:")[2])}
    assert told == helped | {137}


@pytest.mark.nights
def test_the_recipe_runs_as_it_stands(tmp_path):
    (tmp_path / "deploy").symlink_to(DEPLOY)
    (tmp_path / "inbox" / "2026-11-20").mkdir(parents=True)
    write_jsonl(tmp_path / "inbox" / "2026-11-20" / "a.jsonl", [{"text": "I love this book"}])
    words = shlex.split(NIGHTS[0])
    done = subprocess.run(words, cwd=tmp_path, env=REAL, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert NIGHTLY.name in words[0] and "approved up to run_date=2026-11-20" in done.stderr
