"""What a shell completes: commands, flags and their values, by a script that asks no Python."""

import shutil
import subprocess
import sys
from importlib import import_module

import pytest

from pipelines import completion
from seqcls_beam.__main__ import COMMANDS
from seqcls_beam.config.option import flag, option_fields


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
    """Completes the last of some words, which are words as bash has them: `=` is one."""
    folder = tmp_path_factory.mktemp("completion")
    for name in ("in.jsonl", "two words", "*", "$(touch acted)"):
        (folder / name).touch()
    (folder / "script").write_text(completion.script("bash", COMMANDS))
    after = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _seqcls_beam; printf "%s\\n" "${COMPREPLY[@]}"'

    def complete(*words: str) -> list[str]:
        command = ["bash", "-c", f"source ./script; {after}", "bash", "seqcls-beam", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=30)
        assert done.stderr == ""
        return done.stdout.splitlines() if done.stdout.strip() else []

    return complete


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["cl"], ["classify", "clean"]),
        (["--v"], ["--version"]),
        (["classify", "--dty"], ["--dtype="]),
        (["classify", "--dtype", "=", "fl"], ["float32", "float16"]),
        (["classify", "--dtype", "="], ["auto", "float32", "bfloat16", "float16", "int8", "fastest"]),
        (["classify", "--dtype", "b"], ["bfloat16"]),
        (["classify", "--runner", "=", "F"], ["FlinkRunner"]),
        (["classify", "--input", "=", "in"], ["in.jsonl"]),
        (["finetune", "--runn"], []),
        (["seal", "--unt"], ["--until="]),
        (["seal", "in"], ["in.jsonl"]),
        (["seal", "tw"], ["two words"]),
        (["seal", "*"], ["*"]),
        (["seal", "$"], ["$(touch acted)"]),
        (["seal", "ac"], []),
        (["seal", "in.jsonl", "--log_"], ["--log_level=", "--log_json"]),
    ],
)
def test_bash_completes(bash, words, expected):
    assert bash(*words) == expected


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_is_completed(bash, command):
    groups = import_module(f"pipelines.{command}").GROUPS
    flags = {
        flag(each) for group in groups.values() for each in option_fields(group) if not each.metadata["positional"]
    }
    assert flags <= {word.strip("-=") for word in bash(command, "--")}


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_script_is_well_formed(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    command = [sys.executable, "-m", "seqcls_beam", f"--completion={shell}"]
    made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    (tmp_path / "script").write_text(made.stdout)
    done = subprocess.run([shell, "-n", str(tmp_path / "script")], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_no_shell_is_refused():
    command = [sys.executable, "-m", "seqcls_beam", "--completion", "csh"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "expected one of bash, zsh, fish" in done.stderr


def test_a_script_is_made_without_what_takes_long():
    heavy = ("apache_beam", "torch", "transformers", "pyarrow", "jinja2")
    code = (
        "import sys; from seqcls_beam.__main__ import main; main(['--completion=fish']); "
        f"print([each for each in {heavy} if each in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "[]\n" and "complete -c seqcls-beam" in done.stdout
