"""The image that was built: it labels, it is a worker, it writes nowhere, it has what was asked for."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pyarrow.dataset as ds
import pytest

import seqcls_beam
from tests import tiny
from tests.image.container import LAUNCHER, START
from tests.image.names import ROOT, arguments, pinned

pytestmark = [pytest.mark.image, pytest.mark.timeout(2400)]

SITE = f"/opt/venv/lib/python{arguments()['PYTHON']}/site-packages"
SAMPLE = ROOT / "seqcls_beam" / "sample" / "reviews.jsonl"
POOL = "127.0.0.1:50000"  # where boot's own pool of workers listens


@pytest.fixture
def volume(tmp_path):
    """A folder that any user may write, with the sample in it."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(SAMPLE, folder / "corpus.jsonl")
    for each in (folder, *folder.parents):
        if each == Path("/tmp"):
            break
        each.chmod(0o777)
    return folder


def parts(output):
    """Each part's rows as they lie in it, by the number of the part."""
    return [file.read_bytes() for file in sorted((output / "labels").rglob("*.parquet"))]


def outside(*words, tree=ROOT):
    """A command of the clone, or of another tree."""
    env = {**os.environ, "PYTHONPATH": str(tree)}
    return subprocess.run([sys.executable, *words], cwd=tree, env=env, capture_output=True, text=True, timeout=400)


def test_it_has_the_versions_of_the_constraints(image):
    ask = (
        "import json, sys; from importlib.metadata import version as v; "
        "print(json.dumps(['%d.%d' % sys.version_info[:2], v('apache-beam'), v('torch'), v('seqcls_beam')]))"
    )
    told = json.loads(image.run("python", "-c", ask).stdout)
    wanted = [arguments()["PYTHON"], *map(pinned, ("apache-beam", "torch"))]
    assert [each.partition("+")[0] for each in told] == [*wanted, seqcls_beam.__version__]


def test_it_has_nothing_but_the_packages(image):
    assert sorted(each.name for each in (image.files / "opt").iterdir()) == ["apache", "model", "seqcls_beam", "venv"]
    assert not (image.files / "source").exists() and not (image.files / "root/.cache/pip").exists()
    assert not list((image.files / "opt/model").iterdir()), "no checkpoint was asked for"


def test_it_labels_the_sample(image):
    done = image.run("seqcls-beam", "classify")
    assert done.returncode == 0, done.stderr
    assert "197 in, 191 labelled, 6 rejected" in done.stdout


def test_what_it_labels_has_the_bytes_of_a_run_outside(image, volume):
    words = [f"--input={volume}/corpus.jsonl", "--id_column=id", "--threads=1"]
    done = image.run("seqcls-beam", "classify", *words, f"--output={volume}/inside", volumes=[volume])
    assert done.returncode == 0, done.stderr
    done = outside("-m", "pipelines.classify", *words, f"--output={volume}/outside")
    assert done.returncode == 0, done.stderr
    assert parts(volume / "inside") == parts(volume / "outside") != []


def test_a_root_that_is_read_only_and_any_user_will_do(image, volume):
    user = f"{os.getpid() + 70_000}:123456"
    how = {"volumes": [volume], "read_only": True, "user": user}
    refused = image.run("/bin/sh", "-c", "id -u; touch /opt/written", **how)
    assert refused.stdout == f"{user.partition(':')[0]}\n" and "Read-only file system" in refused.stderr
    corpus, prepared = volume / "gold.jsonl", volume / "prepared"
    corpus.write_text("".join(json.dumps({"text": f"text {n}", "label": "ab"[n % 2]}) + "\n" for n in range(40)))
    for words in (
        ["classify", f"--input={volume}/corpus.jsonl", f"--output={volume}/labels"],
        ["prepare", f"--input={corpus}", "--label_column=label", "--model=sentiment", f"--output={prepared}"],
        ["finetune", f"--data={prepared}", "--model=sentiment", "--epochs=0.1", f"--output={volume}/tuned"],
        ["evaluate", f"--input={corpus}", "--label_column=label", f"--model={volume}/tuned", f"--output={volume}/e"],
    ):
        done = image.run("seqcls-beam", *words, **how)
        assert done.returncode == 0, done.stderr
    assert ds.dataset(volume / "labels" / "labels").count_rows() == 191
    assert (volume / "labels" / "labels").stat().st_uid == int(user.partition(":")[0])


def test_a_night_of_the_manifests(image, volume):
    """The script lies where the manifests of Kubernetes start it, and runs as they have it."""
    (volume / "inbox").mkdir()
    shutil.copy(SAMPLE, volume / "inbox" / "2026-11-20.jsonl")
    done = image.run(
        "/opt/seqcls_beam/deploy/nightly.sh", "2026-11-20", f"--input={volume}/inbox/{{date}}.jsonl",
        f"--output={volume}/nights", "--threads=1", "--max_rejected=0.1", "--gates", "--max_rejected=0.1",
        volumes=[volume], read_only=True, user="65532:65532", env={"TZ": "Europe/Berlin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "approved up to run_date=2026-11-20" in done.stderr
    berlin = image.run("/bin/sh", "-c", "TZ=Europe/Berlin date --date=@1785000000 +%z").stdout
    assert berlin == "+0200\n", "it knows time zones"


def test_the_build_for_gpus_has_what_they_need(image):
    """As far as a machine without one shows it: the libraries, a compiler, and the word that there is no GPU."""
    ask = "import torch, triton; print(torch.version.cuda is not None, torch.cuda.is_available())"
    assert image.run("python", "-c", ask).stdout == "True False\n"
    assert image.run("gcc", "--version").returncode == 0
    done = image.run("seqcls-beam", "classify", "--text=a", "--device=cuda")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "cuda" in done.stderr
    assert {"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "LD_LIBRARY_PATH"} <= set(image.env)


@pytest.fixture
def pool(image, volume):
    """The image as Beam's worker: its entry point, as a container of a cluster is started with it."""
    _wait_for(POOL, there=False)  # one that was killed takes a moment
    mine = f"{os.getuid()}:{os.getgid()}"  # it writes into folders that the launcher made
    with image.running(*image.entrypoint, "--worker_pool", volumes=[volume], read_only=True, user=mine):
        _wait_for(POOL)
        yield


@contextmanager
def job_service(folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["-m", "apache_beam.runners.portability.local_job_service_main", f"--job_port={port}"]
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *command], stdout=log, stderr=log, cwd=folder)
        try:
            _wait_for(f"127.0.0.1:{port}")
            yield ["--runner=PortableRunner", f"--job_endpoint=127.0.0.1:{port}"]
        finally:
            process.kill()
            process.wait()


def _wait_for(address, there=True):
    host, port = address.split(":")
    for _ in range(300):
        with socket.socket() as probe:
            if (probe.connect_ex((host, int(port))) == 0) == there:
                return
        time.sleep(0.1)
    raise AssertionError(f"{'nothing' if there else 'something'} listens at {address}")


EXTERNAL = ["--environment_type=EXTERNAL", f"--environment_config={POOL}"]


def test_workers_of_a_run_outside_have_the_project_of_the_image(pool, image, volume):
    told = volume / "told.json"
    with job_service(volume) as runner:
        done = outside("-m", "tests.image.where", str(volume / "corpus.jsonl"), str(told), *runner, *EXTERNAL)
    assert done.returncode == 0, done.stderr[-3000:]
    worker = json.loads(told.read_text())
    assert worker["rows"] == 197
    assert "seqcls_beam.model.engine.classifier" in worker["files"] and len(worker["files"]) > 20
    elsewhere = {name: file for name, file in worker["files"].items() if not file.startswith(f"{SITE}/")}
    assert not elsewhere
    assert not os.path.exists(SITE), "the machine has no such folder, so it is the image's"


def test_a_command_outside_publishes_what_workers_of_the_image_made(pool, volume):
    words = ["-m", "pipelines.classify", f"--input={volume}/corpus.jsonl", "--threads=1"]
    with job_service(volume) as runner:
        done = outside(*words, f"--output={volume}/far", *runner, *EXTERNAL)
    assert done.returncode == 0, done.stderr[-3000:]
    near = outside(*words, f"--output={volume}/near")
    assert near.returncode == 0, near.stderr
    assert parts(volume / "far") == parts(volume / "near") != []


def test_a_launcher_of_another_version_is_told(pool, volume, tmp_path):
    newer = tmp_path / "newer"
    for name in ("seqcls_beam", "pipelines"):
        shutil.copytree(ROOT / name, newer / name, ignore=shutil.ignore_patterns("__pycache__"))
    version = newer / "seqcls_beam" / "version.py"
    version.write_text(version.read_text().replace(seqcls_beam.__version__, "99.9"))
    words = ["-m", "pipelines.classify", f"--input={volume}/corpus.jsonl", f"--output={volume}/out"]
    with job_service(volume) as runner:
        done = outside(*words, *runner, *EXTERNAL, tree=newer)
    assert done.returncode == 1 and not (volume / "out" / "_versions").exists()
    assert "launched by seqcls_beam 99.9, and this worker (" in done.stderr.splitlines()[-1]


def test_a_checkpoint_is_baked_in(store, image, tmp_path):
    folder = tiny.checkpoint(tmp_path / "mine")
    baked = store.build("seqcls-beam-mine", f"--build-context=model={folder}")
    assert sorted(each.name for each in (baked.files / "opt/model").iterdir()) == sorted(
        each.name for each in folder.iterdir()
    )
    done = baked.run("seqcls-beam", "classify", "--text=a text", "--model=/opt/model", read_only=True)
    assert done.returncode == 0, done.stderr
    assert "/opt/model" not in image.run("seqcls-beam", "classify", "--text=a text").stdout


def test_dataflow_gets_its_root(store, image):
    assert (image.user, store.build("seqcls-beam-root", "--target=root").user) == ("65532:0", "")


@pytest.mark.parametrize("command", ["classify", "prepare"])
def test_a_template_starts_its_command_with_its_parameters(store, image, command):
    made = store.build(
        f"seqcls-beam-template-{command}",
        f"--target={'template' if command == 'classify' else f'template-{command}'}",
        f"--build-arg=LAUNCHER={LAUNCHER}",
    )
    assert made.user == "", "Dataflow gives files to root"
    assert made.entrypoint == image.entrypoint, "and it is the workers' image"
    parameters = ["--input=gs://corpus/a b.jsonl", "--output=gs://labels/a", "--overwrite=true"]
    if command == "prepare":
        parameters.append(
            "--problem=regression"
        )  # which would be refused with labels, were the job's taken for classes
    done = made.run(START, *parameters, read_only=True)
    # Nothing was said of an image: the command itself says so, before anything else.
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "--runner=DataflowRunner needs --sdk_container_image=" in done.stderr
    assert made.run(START, "--help").stdout.startswith(f"usage: seqcls-beam {command} ")
