"""deploy/terraform/modules/night/night.yaml, read: what can be said of it without running it."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.deploy.workflows.checks import environ_of, problems
from tests.deploy.workflows.night import ENVIRON, TEXT, WORKFLOW


def test_nothing_is_wrong_with_it():
    assert problems(WORKFLOW) == []


def test_it_is_written_as_yaml_is():
    rules = "{extends: default, rules: {document-start: disable, line-length: {max: 120}}}"
    program = str(Path(sys.executable).parent / "yamllint")
    done = subprocess.run(
        [program, "--strict", "-d", rules, "-"], input=TEXT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout


def broken(*path: str | int, value: Any) -> list[str]:
    workflow = copy.deepcopy(WORKFLOW)
    tree: Any = workflow
    *parents, last = path
    for each in parents:
        tree = tree[each]
    tree[last] = value
    return problems(workflow)


def step(subworkflow: str, name: str) -> tuple[str, str, int, str]:
    """Where a step is."""
    names = [next(iter(each)) for each in WORKFLOW[subworkflow]["steps"]]
    return subworkflow, "steps", names.index(name), name


def test_what_is_wrong_is_found():
    """So that the test above says something."""
    assert broken(*step("label", "count"), "next", value="lunch") == [
        "label: count goes on to lunch, which is not in its list"
    ]
    assert broken(*step("main", "judge_it"), "call", value="judged") == [
        "judge: nobody calls it",
        "main: judge_it calls judged, which is not known",
    ]
    assert broken(*step("main", "judge_it"), "args", value={}) == ["main: judge_it calls judge with "]
    assert "main: compare reads ended, which may not be assigned" in broken(
        *step("main", "label_it"), "result", value="other"
    )
    # Left out by the way of a night that is published.
    assert "main: tell reads version, which may not be assigned" in broken(
        *step("main", "prepare"), "assign", value=[{"overwrite": False}]
    )
    assert broken(*step("end_of", "ask"), "try", "args", "job", value="x")[0].startswith("end_of: ask calls googleapis")
    assert broken(*step("end_of", "ask"), "retry", "predicate", value="${nobody}")
    assert broken(*step("end_of", "slower"), "assign", value=[{"pause": "${math.least(pause, 1)}"}])
    assert broken("may_come", "steps", 2, value={"look": {"return": "${answer}"}}) == [
        "may_come: look is the name of two steps"
    ]


def test_what_it_reads_of_its_environment_is_here_and_its_head_names_it():
    assert environ_of(WORKFLOW) == {each for each in ENVIRON if not each.startswith("GOOGLE_CLOUD_")}
    head = TEXT.partition("main:")[0]
    assert all(each in head for each in environ_of(WORKFLOW))
