"""What the Dockerfile says, read without building it."""

import re
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest

from deploy.generate.templates import TEMPLATES
from seqcls_beam.__main__ import COMMANDS
from tests.image.names import CONSTRAINTS, DOCKERFILE, ROOT, arguments, instructions, pinned


def test_beam_python_and_torch_are_those_of_the_constraints():
    (python,) = re.findall(r"on Python (\d\.\d+)", CONSTRAINTS)
    found = arguments()
    assert (found["PYTHON"], found["BEAM"]) == (python, pinned("apache-beam"))
    assert found["BASE"] == f"python:{python}-slim-bookworm"
    assert found["SDK"] == f"apache/beam_python{python}_sdk:{pinned('apache-beam')}"
    (install,) = [rest for name, rest in instructions() if name == "RUN" and "pip install" in rest]
    # torch, too, comes from there: no version of it stands in the file.
    assert "--constraint=/wheel/constraints.txt" in install and "torch=" not in install and pinned("torch")


def test_every_image_it_is_made_from_has_a_version():
    stages: set[str] = set()
    for name, rest in instructions():
        if name == "FROM":
            image, _, stage = rest.partition(" AS ")
            image = re.sub(r"\$\{(\w+)\}", lambda match: arguments()[match[1]], image)
            assert image in {"scratch", *stages} or re.search(r":\d[\w.-]*$", image), image
            stages.add(stage)
    assert stages == {"sdk", "model", "launcher", "wheel", "root", "template", "template-prepare", ""}


def stage(name):
    """The instructions of a stage, after its FROM."""
    all_of_them = instructions()
    (start,) = [at for at, (word, rest) in enumerate(all_of_them) if word == "FROM" and rest.endswith(f" AS {name}")]
    return list(takewhile(lambda each: each[0] != "FROM", all_of_them[start + 1 :]))


def test_scripts_have_what_they_source():
    (copied,) = [rest.split() for name, rest in stage("root") if name == "COPY" and "deploy/" in rest]
    scripts = [word for word in copied if word.endswith(".sh")]
    for script in scripts:
        sourced = re.findall(r"^\. .*/(\w+\.sh)", (ROOT / script).read_text(), re.M)
        assert {f"deploy/{name}" for name in sourced} <= set(scripts), script


def test_there_is_one_layer_of_packages_and_the_checkpoint_above_it():
    layers = [rest for name, rest in stage("root") if name in ("RUN", "COPY")]
    assert [name for name, _ in stage("root")].count("RUN") == 1
    assert "pip install" in layers[1] and "--from=model" in layers[-1], "another checkpoint installs nothing anew"


def test_it_starts_boot_as_a_number_that_is_not_root():
    assert stage("root")[-1] == ("ENTRYPOINT", '["/opt/apache/beam/boot"]')
    assert instructions()[-2:] == [("FROM", "root"), ("USER", "65532:0")]


def test_a_template_is_the_image_of_workers_with_a_launcher():
    taken, main, *_ = [rest for name, rest in stage("template") if name in ("COPY", "RUN")]
    launcher = "/opt/google/dataflow/python_template_launcher"
    assert [name for name, _ in stage("template")] == ["COPY", "COPY", "ENV"], "nothing is installed"
    assert taken.split()[:2] == ["--from=launcher", launcher] and launcher.startswith(taken.split()[2])
    source, place = main.split()[-2:]
    assert f"FLEX_TEMPLATE_PYTHON_PY_FILE={place}{Path(source).name} " in f"{stage('template')[-1][1]} "
    assert (ROOT / source).is_file()
    assert ("FROM", "root AS template") in instructions() and arguments()["LAUNCHER"] == "scratch"
    # What workers would install is in the image.
    assert (
        "FLEX_TEMPLATE_PYTHON_REQUIREMENTS_FILE" not in DOCKERFILE
        and "FLEX_TEMPLATE_PYTHON_SETUP_FILE" not in DOCKERFILE
    )


def test_a_template_calls_a_command_that_there_is():
    commands = {each.command for each in TEMPLATES.values()}
    assert commands == {"classify", "prepare"} <= set(COMMANDS)
    assert stage("template")[-1][1].endswith("SEQCLS_BEAM_COMMAND=classify")
    # A stage and no argument: old builders take a layer of another argument for the same.
    assert ("FROM", "template AS template-prepare") in instructions()
    assert stage("template-prepare") == [("ENV", "SEQCLS_BEAM_COMMAND=prepare")]


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("mistake", ["FROM python:latest", "FROM python", "RUN apt-get install gcc", "USER root"])
def test_hadolint_finds_what_it_is_asked_for(mistake, tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM python:3.11\n{mistake}\n")
    hadolint = Path(sys.executable).with_name("hadolint")
    assert subprocess.run([hadolint, tmp_path / "Dockerfile"], capture_output=True).returncode == 1


def test_the_context_is_what_is_copied():
    """.dockerignore leaves all out, and takes back what the wheel and the image are made of."""
    first, *taken = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert first == "*" and taken[-1] == "**/__pycache__"
    wanted = {line.removeprefix("!") for line in taken[:-1]}
    assert all(line.startswith("!") for line in taken[:-1]) and all((ROOT / each).exists() for each in wanted)
    assert wanted == {
        "LICENSE", "README.md", "constraints.txt", "pipelines", "pyproject.toml", "seqcls_beam",
        "deploy/commands.sh", "deploy/dataflow/main.py", "deploy/finetune.sh", "deploy/nightly.sh",
    }  # fmt: skip
    files = [each for name in wanted for each in (ROOT / name, *(ROOT / name).rglob("*")) if each.is_file()]
    assert 15e6 < sum(each.stat().st_size for each in files if "__pycache__" not in each.parts) < 25e6
