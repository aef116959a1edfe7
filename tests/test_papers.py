"""The papers for contributors say what is there: files, links, targets, marks, versions."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from seqcls_beam.version import __version__

ROOT = Path(__file__).parent.parent
PAPERS = ("CONTRIBUTING.md", "SECURITY.md")
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([\w./-]+):(?!=)", MAKEFILE, re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
HOOKS = ROOT / ".pre-commit-config.yaml"
MARKS = {each.partition(":")[0] for each in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}


def code(name):
    """What stands between backticks in a paper, and the lines of its shell blocks."""
    text = (ROOT / name).read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [
        *re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)),
        *"\n".join(blocks).split("\n"),
    ]


def steps():
    """The steps of all jobs of the workflow."""
    return [step for job in yaml.safe_load(WORKFLOW.read_text())["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("name", PAPERS)
def test_links_lead_somewhere(name):
    links = re.findall(r"\]\(([^)#]+)", (ROOT / name).read_text())
    assert [each for each in links if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("name", PAPERS)
def test_files_that_are_named_are_there(name):
    named = {
        word
        for line in code(name)
        for word in line.split()
        if re.fullmatch(r"(tests|docs|seqcls_beam|benchmarks|pipelines|deploy|\.ci|\.github)/[\w./-]*", word)
    }
    assert len(named) >= 15
    assert sorted(each for each in named if not (ROOT / each).exists()) == []


@pytest.mark.parametrize("path", [ROOT / name for name in PAPERS] + [WORKFLOW, HOOKS], ids=lambda path: path.name)
def test_targets_that_are_named_are_in_the_makefile(path):
    called = code(path.name) if path.suffix == ".md" else path.read_text().splitlines()
    named = {found for line in called for found in re.findall(r"\bmake (?!PYTHON)([a-z.][\w./-]*)", line)}
    assert named or path.name == "SECURITY.md"
    assert named <= TARGETS


def test_marks_are_those_that_there_are():
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Tests and what they need")[2]
    rows = re.findall(r"^\| `(\w+)` \|.*\| (?:.*`make ([\w-]+)`|.*-m (\w+)`).*\|$", table, re.MULTILINE)
    assert {mark for mark, _, _ in rows} == MARKS
    for mark, target, selected in rows:
        recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
        by_default = target == "test" and mark in ("engine", "shared")
        assert selected == mark or by_default or (recipe and re.search(rf'-m "?{mark}\b', recipe[1])), mark


def test_modules_that_are_run_are_there():
    for line in code("CONTRIBUTING.md"):
        for module in re.findall(r"-m ((?:benchmarks|pipelines)\.[\w.]+)", line):
            assert (ROOT / f"{module.replace('.', '/')}.py").exists()


def test_what_the_targets_take_is_said_the_same_everywhere():
    table = (ROOT / "CONTRIBUTING.md").read_text()
    for target, said in (("test", "half an hour on 2 cores"), ("quick", "under 90 seconds")):
        assert re.search(rf"make {target} .*{said}", MAKEFILE)
        assert re.search(rf"`make {target}`.*{said}", table)


def test_the_version_that_is_cited_is_that_of_the_package():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == __version__
    assert cited["title"] == PROJECT["project"]["name"]
    assert cited["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()


def test_the_workflow_runs_what_a_contributor_runs_and_no_more_may_be_written():
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert any(".ci/run" in shlex.split(step.get("run", "")) for step in steps())
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert workflow["permissions"] == {"contents": "read"}
    assert set(workflow[True]) == {"push", "pull_request"}  # `on` is a truth of YAML
    assert all(job["timeout-minutes"] <= 90 for job in workflow["jobs"].values())


def test_actions_are_pinned_by_commit():
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used and all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", each) for each in used)
    assert all(step["with"]["persist-credentials"] is False for step in steps() if "checkout" in step.get("uses", ""))


def test_the_oldest_python_runs_all_and_newer_ones_the_quick_tests():
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    found = [step["with"]["python-version"] for step in jobs["all"]["steps"] if "setup-python" in step.get("uses", "")]
    newer, oldest = found
    assert f">={oldest}" == PROJECT["project"]["requires-python"]
    assert jobs["quick"]["strategy"]["matrix"]["python"] == newer.split()
    said = [each.rpartition(" ")[2] for each in PROJECT["project"]["classifiers"] if ":: Python :: 3." in each]
    assert said == [oldest, *newer.split()]


def test_the_go_of_the_workflow_is_that_of_the_broker():
    needed = re.search(r"^go (\d+\.\d+)", (ROOT / "tests" / "brokers" / "go.mod").read_text(), re.MULTILINE)
    (asked,) = [step["with"]["go-version"] for step in steps() if "setup-go" in step.get("uses", "")]
    assert needed and [int(each) for each in asked.split(".")] >= [int(each) for each in needed[1].split(".")]


def test_hooks_take_the_tools_of_the_environment():
    hooks = [hook for each in yaml.safe_load(HOOKS.read_text())["repos"] for hook in each["hooks"]]
    assert {each["language"] for each in hooks} == {"system"}
    tools = {shlex.split(each["entry"])[0] for each in hooks}
    assert tools == {".venv/bin/ruff", ".venv/bin/mypy", "make"}
