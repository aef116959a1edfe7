"""The commands by one name."""

import subprocess
import sys

import pytest

from pipelines import clean
from pipelines.called import as_called
from seqcls_beam import __version__
from seqcls_beam.__main__ import BESIDE, COMMANDS, main


def seqcls_beam(*words, cwd, **env):
    return subprocess.run(
        [sys.executable, "-m", "seqcls_beam", *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_lists_every_command_there_is(capsys, word):
    assert main([word]) == 0
    shown = capsys.readouterr().out
    ends = 'if __name__ == "__main__":'
    there = {path.stem for path in (BESIDE / "pipelines").glob("*.py") if ends in path.read_text()}
    assert {line.split()[0] for line in shown.splitlines() if line.startswith("  ")} == there == set(COMMANDS)
    assert "  clean     List what an output folder has that no version names" in shown


def test_its_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"seqcls_beam {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_one_too(command, capsys):
    with pytest.raises(SystemExit) as end:
        __import__(f"pipelines.{command}", fromlist=["main"]).main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"seqcls_beam {__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which command? classify, prepare, "),
        (["clasify", "--input=a"], "there is no command 'clasify' (did you mean classify?): classify, prepare, "),
        (["--input=a"], "there is no command '--input=a': classify, prepare, "),
    ],
)
def test_what_is_no_command_is_refused(words, said, capsys):
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith(f"seqcls_beam: {said}") and shown.err.count("\n") == 1


def test_a_folder_called_pipelines_does_not_hide_them(tmp_path):
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "__init__.py").write_text("raise SystemExit('these are mine')\n")
    done = seqcls_beam("clean", str(tmp_path), cwd=tmp_path, PYTHONPATH=f".:{BESIDE}")
    assert done.stderr.startswith(f"seqcls_beam: {tmp_path} holds nothing that a command published")
    assert done.returncode == 1


def test_a_command_speaks_of_commands_as_it_was_called(tmp_path, monkeypatch, capsys):
    assert clean.main([]) == 2
    assert "which folder? python -m pipelines.clean OUT" in capsys.readouterr().err
    done = seqcls_beam("clean", cwd=tmp_path, PYTHONPATH=str(BESIDE))
    assert "which folder? seqcls-beam clean OUT" in done.stderr
    helped = seqcls_beam("clean", "--help", cwd=tmp_path, PYTHONPATH=str(BESIDE)).stdout
    assert helped.startswith("usage: seqcls-beam clean ") and "\nseqcls-beam clean OUT --remove\n" in helped
    assert "python -m" not in helped and as_called("python -m pipelines.x") == "python -m pipelines.x"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_no_help_of_it_names_a_module(command, tmp_path):
    words = [command, "--help"] if command else ["--help"]
    shown = seqcls_beam(*words, cwd=tmp_path, PYTHONPATH=str(BESIDE)).stdout
    assert "seqcls-beam" in shown and "pipelines." not in shown


def test_help_needs_no_locale_and_no_screen(tmp_path):
    command = [sys.executable, "-m", "seqcls_beam"]
    env = {"PYTHONPATH": str(BESIDE), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([*command, "--help"], cwd=tmp_path, env=env, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"") and rb"text records in files \u2192 labelled" in done.stdout
    with open("/dev/full", "w") as full:
        for words, code in (["--help"], 0), (["--version"], 0), (["nothing"], 2):
            how = {"stdout": full, "stderr": full} if code else {"stdout": full, "stderr": subprocess.PIPE}
            ended = subprocess.run([*command, *words], cwd=tmp_path, env=env, timeout=60, **how)
            assert ended.returncode == code and not ended.stderr


@pytest.mark.engine
def test_workers_take_no_module_of_the_working_folder(tmp_path):
    """Those of Beam are started as `python -m`, which looks there first."""
    for name in ("tokenize.py", "apache_beam/__init__.py", "torch.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise SystemExit('this one is mine')\n")
    script = tmp_path / "elsewhere" / "seqcls-beam"  # as pip writes it
    script.parent.mkdir()
    script.write_text("import sys\nfrom seqcls_beam.__main__ import main\nsys.exit(main())\n")
    (tmp_path / "corpus.txt").write_text("I love this book\nThe soup was cold\n")
    workers = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    done = subprocess.run(
        [sys.executable, script, "classify", "--input=corpus.txt", "--output=out", *workers],
        cwd=tmp_path,
        env={"PYTHONPATH": str(BESIDE), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and "mine" not in done.stderr
    assert "2 in, 2 labelled" in done.stdout
