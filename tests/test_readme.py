"""What the README shows is what there is."""

import re
import shlex
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from pipelines.classify import GROUPS
from pipelines.options import parse, parser
from seqcls_beam.config import ModelOptions, ReadOptions, RunOptions
from tests.corpora import labels

README = (Path(__file__).parent.parent / "README.md").read_text()
RECIPES = [
    each.replace("\\\n", " ")
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for each in re.findall(r"^python -m pipelines\.classify (?:.*\\\n)*.*$", block, re.MULTILINE)
]


def test_there_are_recipes():
    assert len(RECIPES) >= 9


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_has_flags_that_exist_and_values_in_range(recipe):
    given, _, _ = parse(parser("p", "", "", GROUPS), shlex.split(recipe, comments=True)[3:], GROUPS)
    ModelOptions(**given["model"])
    if "text" not in given["look"]:
        ReadOptions(**given["read"])
        RunOptions(**given["run"])


@pytest.mark.engine
def test_the_pipeline_of_ones_own_runs_as_it_stands(tmp_path, monkeypatch):
    (code,) = [each for each in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "import apache_beam" in each]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews").mkdir()
    shutil.copy(str(files("seqcls_beam") / "sample" / "reviews.jsonl"), "reviews/sample.jsonl")
    exec(compile(code, "README.md", "exec"), {})
    assert labels(tmp_path / "labels").num_rows == 191
