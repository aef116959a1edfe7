"""What is in the wheel, and what it says of itself."""

import email
import subprocess
import zipfile

import pytest

import seqcls_beam
from tests.package.environments import PACKAGES, ROOT, environment

pytestmark = [pytest.mark.package, pytest.mark.timeout(500)]


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as files:
        (name,) = [name for name in files.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(files.read(name))


def test_it_has_the_packages_whole_and_nothing_else(wheel, sources):
    there = {
        path.relative_to(sources).as_posix()
        for name in PACKAGES
        for path in (sources / name).rglob("*")
        if path.is_file()
    }
    with zipfile.ZipFile(wheel) as files:
        packed = {name for name in files.namelist() if ".dist-info/" not in name}
    assert packed == there
    assert {
        "seqcls_beam/sentiment/model.safetensors",
        "seqcls_beam/sample/reviews.jsonl",
        "seqcls_beam/py.typed",
    } <= packed
    assert wheel.stat().st_size < 25e6


def test_it_is_for_every_python_and_machine(wheel):
    assert wheel.name == f"seqcls_beam-{seqcls_beam.__version__}-py3-none-any.whl"


def test_it_says_what_it_is(metadata):
    assert metadata["Name"] == "seqcls_beam" and metadata["Version"] == seqcls_beam.__version__
    assert metadata["License-Expression"] == "Apache-2.0" and metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Author"] == "the seqcls_beam developers"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_all("Project-URL") is None and metadata["Home-page"] is None
    versions = [each.rpartition(" ")[2] for each in metadata.get_all("Classifier") if "Python :: 3." in each]
    assert versions == ["3.11", "3.12", "3.13", "3.14"]
    assert set(metadata.get_all("Provides-Extra")) == {
        "gcp",
        "s3",
        "language",
        "train",
        "yaml",
        "openlineage",
        "prometheus",
        "otlp",
        "iceberg",
        "test",
        "bench",
    }


def test_it_installs_from_a_repository(tmp_path, sources):
    git = ["git", "-C", str(sources), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=all"]):
        subprocess.run([*git, *words], check=True)
    own = environment(tmp_path / "own")
    own.install("--no-deps", f"seqcls_beam @ git+file://{sources}")
    done = own.run("seqcls-beam", "--version", cwd=tmp_path)
    assert done.stdout == f"seqcls_beam {seqcls_beam.__version__}\n"
    assert (ROOT / "LICENSE").read_text() in [path.read_text() for path in own.folder.rglob("licenses/LICENSE")]
