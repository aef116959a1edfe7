"""The wheel in an empty environment of each Python, used from a folder that has nothing of the project."""

import pyarrow.dataset as ds
import pytest

from seqcls_beam import __version__, label
from seqcls_beam.__main__ import COMMANDS
from tests.package.environments import environment, python, uv

pytestmark = [pytest.mark.package, pytest.mark.timeout(900)]

TEXTS = ["I love this book", "The soup was cold", "Fine", "It broke on the first day and nobody answered"]


@pytest.fixture(scope="module", params=["3.11", "3.12", "3.13", "3.14"])
def installed(request, wheel, tmp_path_factory):
    found = python(request.param)
    if found is None:
        pytest.skip(f"Python {request.param} is not on this machine")
    made = environment(tmp_path_factory.mktemp("environment") / "own", found)
    made.install(str(wheel))
    return made


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "corpus.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    return tmp_path


def test_what_is_installed_fits_together(installed):
    uv("pip", "check", f"--python={installed.python}")


def test_it_comes_from_where_it_was_installed(installed, tmp_path):
    show = "import pipelines, seqcls_beam; print(pipelines.__file__, seqcls_beam.__file__, seqcls_beam.__version__)"
    *places, version = installed.run("python", "-c", show, cwd=tmp_path).stdout.split()
    assert version == __version__
    assert all(place.startswith(str(installed.folder)) for place in places) and len(places) == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps(installed, tmp_path, command):
    done = installed.run("seqcls-beam", command, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: seqcls-beam {command} ")


@pytest.mark.parametrize("words", [["-m", "seqcls_beam", "compare"], ["-m", "pipelines.compare"]])
def test_python_finds_the_commands_too(installed, tmp_path, words):
    done = installed.run("python", *words, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert " compare REFERENCE" in done.stdout.replace(".", " ")


@pytest.mark.parametrize("workers", [[], ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]])
def test_it_labels(installed, corpus, workers):
    done = installed.run("seqcls-beam", "classify", "--input=corpus.txt", "--output=out", *workers, cwd=corpus)
    assert done.returncode == 0, done.stderr
    rows = ds.dataset(corpus / "out" / "labels").to_table().to_pylist()
    expected = label(TEXTS)
    assert [row["label"] for row in rows] == expected["label"].to_pylist()
    assert [row["score"] for row in rows] == pytest.approx(expected["score"].to_pylist(), abs=1e-5)


def test_a_folder_of_ones_own_called_pipelines_does_not_hide_the_commands(installed, corpus):
    (corpus / "pipelines").mkdir()
    (corpus / "pipelines" / "__init__.py").write_text("raise SystemExit('these are mine')\n")
    words = ["classify", "--input=corpus.txt", "--output=out"]
    workers = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    hidden = installed.run("python", "-m", "pipelines.classify", "--help", cwd=corpus)
    assert hidden.stderr == "these are mine\n", "the trap works"
    for how in (["seqcls-beam"], ["python", "-m", "seqcls_beam"]):
        done = installed.run(*how, *words, *workers, "--overwrite", cwd=corpus, PYTHONPATH=".")
        assert done.returncode == 0, done.stderr
