"""Each extra: what it is for is refused without it, in a sentence that names it, and works with it."""

import json
from pathlib import Path

import fsspec
import gcsfs
import pyarrow.dataset as ds
import pytest

from tests import gcs, s3
from tests.package.environments import environment, uv

pytestmark = [pytest.mark.package, pytest.mark.timeout(900)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "label.yaml"
ROWS = "".join(
    json.dumps({"text": f"{word} {number} of the films of that year", "label": name}) + "\n"
    for number in range(20)
    for word, name in (("loved the", "positive"), ("hated the", "negative"))
)


def made(folder, wheel, extra=""):
    own = environment(folder)
    own.install(f"{wheel}{extra}")
    return own


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory):
    return made(tmp_path_factory.mktemp("bare") / "own", wheel)


@pytest.fixture
def rows(tmp_path):
    (tmp_path / "rows.jsonl").write_text(ROWS)
    return tmp_path


@pytest.fixture
def google():
    with gcs.server("corpus") as url:
        files = gcsfs.GCSFileSystem(endpoint_url=url, token="anon", skip_instance_cache=True)
        files.pipe_file("corpus/rows.jsonl", ROWS.encode())
        yield {"STORAGE_EMULATOR_HOST": url, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}


@pytest.fixture
def amazon():
    with s3.server() as url, s3.led_to(url):
        files = fsspec.filesystem("s3")
        files.mkdir("corpus")
        files.pipe_file("corpus/rows.jsonl", ROWS.encode())
        yield {}


@pytest.fixture
def nothing():
    return {}


PREPARE = ["prepare", "--input=rows.jsonl", "--label_column=label", "--output=prepared", "--model=sentiment"]
SOURCES = {
    "gcp": ("google", [["classify", "--input=gs://corpus/rows.jsonl", "--output=out"]]),
    "s3": ("amazon", [["classify", "--input=s3://corpus/rows.jsonl", "--output=out"]]),
    "language": ("nothing", [[*PREPARE, "--languages=en"]]),
    "train": (
        "nothing",
        [PREPARE, ["finetune", "--data=prepared", "--model=sentiment", "--epochs=0.2", "--output=tuned"]],
    ),
}


@pytest.mark.parametrize("extra", SOURCES)
def test_without_it_a_sentence_names_it(extra, bare, rows, request):
    service, commands = SOURCES[extra]
    env = request.getfixturevalue(service)
    for words in commands[:-1]:
        assert bare.run("seqcls-beam", *words, cwd=rows, **env).returncode == 0
    done = bare.run("seqcls-beam", *commands[-1], cwd=rows, **env)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and f"seqcls_beam[{extra}]" in done.stderr, done.stderr


@pytest.mark.parametrize("extra", SOURCES)
def test_with_it_the_command_ends_well(extra, wheel, rows, tmp_path, request):
    service, commands = SOURCES[extra]
    env = request.getfixturevalue(service)
    own = made(tmp_path / "own", wheel, f"[{extra}]")
    for words in commands:
        done = own.run("seqcls-beam", *words, cwd=rows, **env)
        assert done.returncode == 0, done.stderr
    if extra in ("gcp", "s3"):
        assert ds.dataset(rows / "out" / "labels").count_rows() == 40


def test_with_yaml_the_example_of_beam_yaml_runs(wheel, tmp_path):
    own = made(tmp_path / "own", wheel, "[yaml]")
    (tmp_path / "reviews.csv").write_text('id,review\n1,A film to see twice.\n2,""\n')
    variables = json.dumps({"reviews": str(tmp_path / "reviews.csv"), "out": str(tmp_path / "out")})
    flags = [f"--yaml_pipeline_file={EXAMPLE}", f"--jinja_variables={variables}", "--runner=FnApiRunner"]
    done = own.run("python", "-m", "apache_beam.yaml.main", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (labels,) = (tmp_path / "out").glob("labels*")
    assert ds.dataset(labels).to_table().column("label").to_pylist() == ["positive"]


@pytest.mark.parametrize("extra", ["bench", "test"])
def test_what_developers_need_resolves(extra, bare, wheel):
    uv("pip", "install", "--dry-run", f"--python={bare.python}", f"{wheel}[{extra}]")
