"""deploy/flink and deploy/prism: what can be said of them without a service."""

import copy
import importlib.metadata
import os
import re
import shutil
import socket
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate import ValidationError, validate

from pipelines.engines import CACHED
from tests.deploy.scripted import DEPLOY

FLINK, PRISM = DEPLOY / "flink", DEPLOY / "prism"
SCRIPTS = [*sorted(FLINK.glob("*.sh")), *sorted(PRISM.glob("*.sh"))]
BIN = Path(sys.executable).parent
RULES = "{extends: default, rules: {line-length: {max: 120}, document-start: disable}}"
BEAM = importlib.metadata.version("apache-beam")


def called(*words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHON": sys.executable, **environ}
    return subprocess.run([str(each) for each in words], env=env, capture_output=True, text=True, timeout=60)


def pom() -> dict[str, str]:
    """The properties of the pom."""
    tree = ElementTree.parse(FLINK / "pom.xml").getroot()
    space = "{http://maven.apache.org/POM/4.0.0}"
    return {each.tag.removeprefix(space): each.text or "" for each in tree.find(f"{space}properties") or []}


def documents(file: Path) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in yaml.safe_load_all(file.read_text())}


def compose(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "compose.yaml").read_text())["services"])


def settings() -> dict[str, str]:
    """What a Flink of one machine is told, beside what start.sh says."""
    return {key: str(value) for key, value in yaml.safe_load((FLINK / "conf" / "config.yaml").read_text()).items()}


@pytest.mark.deploy
def test_shellcheck_finds_nothing():
    done = called("shellcheck", "--external-sources", "--severity=style", *SCRIPTS, DEPLOY / "services.sh")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_help_tells_every_variable_that_a_script_reads(script):
    assert os.access(script, os.X_OK)
    done = called(script, "--help")
    assert done.returncode == 0 and not done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 128
    read = set(re.findall(r"\$\{((?:FLINK|PRISM)(?:_\w+)?)[:-]", script.read_text()))
    assert read - set(re.findall(r"\w+", done.stdout)) == set()


@pytest.mark.parametrize(
    "words, environ, why",
    [
        ((), {"FLINK_ROLES": "jobmanager bakery"}, "FLINK_ROLES=jobmanager bakery: bakery is none"),
        ((), {"FLINK_TASKMANAGERS": "0"}, "FLINK_TASKMANAGERS=0: expected a number"),
        ((), {"FLINK_HEAP": "1g"}, "FLINK_HEAP=1g: expected megabytes"),
        ((), {"FLINK_REST_PORT": "http"}, "http: expected a port"),
        ((), {"PYTHON": "no-such-python"}, "no-such-python is not there"),
        ((), {"JAVA_HOME": "/no-such-java"}, "/no-such-java/bin/java is not there"),
        (("again",), {}, "again: it takes no words"),
    ],
)
def test_a_start_that_cannot_be_is_refused_in_one_sentence(words, environ, why, tmp_path):
    done = called(FLINK / "start.sh", *words, FLINK_FOLDER=str(tmp_path / "flink"), **environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("engine, port", [("flink", "REST_PORT"), ("flink", "POOL_PORT"), ("prism", "PORT")])
def test_a_port_that_is_taken_is_named(engine, port, tmp_path):
    """Nothing is fetched or started before."""
    variables = {f"{engine.upper()}_FOLDER": str(tmp_path), "PRISM": "true", "JAVA_HOME": ""}
    if engine == "flink":
        java = tmp_path / "bin" / "java"
        java.parent.mkdir()
        java.symlink_to("/bin/true")
        variables["JAVA_HOME"] = str(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        done = called(DEPLOY / engine / "start.sh", **variables, **{f"{engine.upper()}_{port}": number})
    assert done.returncode == 2, done.stderr
    assert f"port {number} of 127.0.0.1 is taken" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("engine", ["flink", "prism"])
def test_a_folder_that_cannot_be_and_a_python_without_the_project_are_refused(engine, tmp_path):
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    program.symlink_to("/bin/true")
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    (tmp_path / "file").touch()
    folder = f"{engine.upper()}_FOLDER"
    variables = {"JAVA_HOME": str(tmp_path), "PRISM": "true", folder: str(tmp_path / "file" / "below")}
    done = called(DEPLOY / engine / "start.sh", **variables)
    assert done.returncode == 2 and f"file/below cannot be written: name another folder in {folder}" in done.stderr
    done = called(DEPLOY / engine / "start.sh", **{**variables, folder: str(tmp_path), "PYTHON": str(bare)})
    assert done.returncode == 2 and f"{bare} has no seqcls_beam" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("engine", ["flink", "prism"])
def test_a_stop_where_nothing_runs_is_harmless(engine, tmp_path):
    folder = {f"{engine.upper()}_FOLDER": str(tmp_path / "none")}
    done = called(DEPLOY / engine / "stop.sh", **folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert called(DEPLOY / engine / "stop.sh", "pool", **folder).returncode == 2


@pytest.mark.parametrize("engine", ["flink", "prism"])
def test_a_stop_that_cannot_see_what_runs_says_so(engine, tmp_path):
    """Without ps, as in small images: nothing would be ended, and all forgotten."""
    for each in ("bash", "dirname", "readlink"):
        (tmp_path / each).symlink_to(shutil.which(each) or "")
    done = called(DEPLOY / engine / "stop.sh", PATH=str(tmp_path), **{f"{engine.upper()}_FOLDER": str(tmp_path)})
    assert done.returncode == 2 and "ps is not there, and is needed to see what runs" in done.stderr


def test_a_stop_ends_what_was_started_and_no_stranger_that_has_its_number(tmp_path):
    """By services.sh itself: a service that minds no SIGTERM, what it has started, and a file of another day."""
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    script = f"""
        folder={tmp_path}; . {DEPLOY / "services.sh"}; patience=1
        start stubborn bash -c "trap '' TERM; sleep 50 & sleep 50"
        process_of stubborn >{tmp_path}/group
        printf '{stranger.pid}\\nMon Jan  1 00:00:00 2024\\n' >{tmp_path}/run/old
        runs stubborn && ! runs old && stop_these
    """
    try:
        done = called("bash", "-euo", "pipefail", "-c", script)
        assert done.returncode == 0, done.stderr
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    group = int((tmp_path / "group").read_text())
    left = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    assert [line for line in left.splitlines() if line.split()[0] == str(group) and "Z" not in line] == []
    assert list((tmp_path / "run").iterdir()) == []


def test_a_job_is_started_again_only_when_its_workers_are_gone():
    """Workers are kept for a while for the next stage: a start before that would get dead ones."""
    first = re.fullmatch(r"(\d+) s", settings()["restart-strategy.exponential-delay.initial-backoff"])
    assert first is not None and int(first[1]) * 1000 > CACHED


def test_all_three_clusters_have_the_same_settings():
    ours = settings()
    pods = {
        key: str(value)
        for key, value in documents(FLINK / "flink-operator.yaml")["FlinkDeployment"]["spec"][
            "flinkConfiguration"
        ].items()
    }
    for name in ("jobmanager", "taskmanager-1", "taskmanager-2"):
        properties = compose(FLINK)[name]["environment"]["FLINK_PROPERTIES"]
        contained = {key: str(value) for key, value in yaml.safe_load(properties).items()}
        assert contained.pop("jobmanager.rpc.address") == "jobmanager"
        assert contained.pop("taskmanager.numberOfTaskSlots") == "1"
        assert contained == ours
    assert pods.pop("taskmanager.numberOfTaskSlots") == "1"
    assert pods == ours


def test_versions_are_those_of_the_beam_that_is_installed():
    """Where an image of Beam's is named; the runner that Maven has is an older one, of the same Flink."""
    minor = pom()["flink.version"].rsplit(".", 1)[0]
    images = {name: each.get("image", "") for name, each in compose(FLINK).items()}
    assert images["jobserver"] == f"apache/beam_flink{minor}_job_server:{BEAM}"
    assert images["jobmanager"] == images["taskmanager-1"] == f"flink:{pom()['flink.version']}-java17"
    operator = documents(FLINK / "flink-operator.yaml")
    assert operator["FlinkDeployment"]["spec"]["image"] == images["jobmanager"]
    assert operator["FlinkDeployment"]["spec"]["flinkVersion"] == f"v{minor.replace('.', '_')}"
    (container,) = operator["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == images["jobserver"]
    assert f"<artifactId>beam-runners-flink-{minor}</artifactId>" in (FLINK / "pom.xml").read_text()
    assert f"ARG BEAM={BEAM}\n" in (PRISM / "Dockerfile").read_text()
    # Whoever is newer would fail: the runner must not be of a later Beam than the workers.
    assert tuple(map(int, pom()["beam.version"].split("."))) <= tuple(map(int, BEAM.split(".")))


@pytest.mark.parametrize("folder", [FLINK, PRISM], ids=lambda path: path.name)
def test_compose_takes_it(folder, tmp_path):
    check = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    done = called(*check, folder / "compose.yaml")
    assert done.returncode == 0, done.stdout
    spoiled = tmp_path / "compose.yaml"
    spoiled.write_text((folder / "compose.yaml").read_text().replace("network_mode:", "network_modes:"))
    assert called(*check, spoiled).returncode == 1


@pytest.mark.parametrize("folder", [FLINK, PRISM], ids=lambda path: path.name)
def test_yamllint_finds_nothing(folder):
    done = called(BIN / "yamllint", "--strict", "-d", RULES, folder)
    assert done.returncode == 0, done.stdout


def test_a_pool_stands_beside_each_taskmanager_and_sees_what_the_launcher_sees():
    services = compose(FLINK)
    managers = [name for name in services if name.startswith("taskmanager-")]
    pools = {name: each for name, each in services.items() if each.get("command") == "--worker_pool"}
    assert sorted(each["network_mode"] for each in pools.values()) == [f"service:{name}" for name in managers]
    for each in pools.values():
        assert (each["image"], each["volumes"], each["user"]) == tuple(
            services["launcher"][key] for key in ("image", "volumes", "user")
        )


MANIFESTS = [(FLINK / "flink-operator.yaml", {"FlinkDeployment"}), (PRISM / "kubernetes.yaml", set())]


@pytest.mark.parametrize("file, own", MANIFESTS, ids=["flink", "prism"])
@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_takes_it(file, own, version):
    for kind, each in documents(file).items():
        if kind not in own:
            validate(each, version, strict=True)
            spoiled = copy.deepcopy(each)
            spoiled["metadata"]["names"] = spoiled["metadata"].pop("name")
            with pytest.raises(ValidationError):
                validate(spoiled, version, strict=True)


def test_the_operators_resource_has_its_form():
    """Its schema is in no package: the keys are those of its reference, and the pod is one of Kubernetes."""
    resource = documents(FLINK / "flink-operator.yaml")["FlinkDeployment"]
    assert resource["apiVersion"] == "flink.apache.org/v1beta1"
    spec = resource["spec"]
    known = {"image", "flinkVersion", "serviceAccount", "flinkConfiguration", "mode", "jobManager", "taskManager"}
    assert set(spec) == known and spec["mode"] == "standalone"
    assert all(isinstance(value, str) for value in spec["flinkConfiguration"].values())
    for each in (spec["jobManager"], spec["taskManager"]):
        assert set(each) <= {"replicas", "resource", "podTemplate"} and set(each["resource"]) == {"cpu", "memory"}
    pod = spec["taskManager"]["podTemplate"]
    main, pool = pod["spec"]["containers"]
    # The operator fills in its own container, of this name.
    assert main == {"name": "flink-main-container"} and pool["args"] == ["--worker_pool"]
    validate({**pod, "spec": {**pod["spec"], "containers": [pool]}}, "1.37", strict=True)


def test_the_launcher_of_the_operators_cluster_finds_it():
    kinds = documents(FLINK / "flink-operator.yaml")
    (container,) = kinds["Job"]["spec"]["template"]["spec"]["containers"]
    (pool,) = [
        each for each in kinds["FlinkDeployment"]["spec"]["taskManager"]["podTemplate"]["spec"]["containers"][1:]
    ]
    assert container["image"] == pool["image"]
    assert f"--flink_master={kinds['FlinkDeployment']['metadata']['name']}-rest:8081" in container["args"]
    service = kinds["Service"]
    assert f"--job_endpoint={service['metadata']['name']}:8099" in container["args"]
    assert [each["port"] for each in service["spec"]["ports"]] == [8099, 8098]
    assert service["spec"]["selector"] == kinds["Deployment"]["spec"]["template"]["metadata"]["labels"]


def test_prism_is_installed_in_the_version_of_beam_and_only_when_asked(tmp_path):
    """With a stand-in for Go that writes down what it is asked."""
    go = tmp_path / "go"
    go.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n[ "$1 $2" != "env GOPATH" ] || echo {tmp_path}/path\n')
    go.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = called(PRISM / "install.sh", PATH=path)
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0] == f"install github.com/apache/beam/sdks/v2/go/cmd/prism@v{BEAM}"
    assert f"{tmp_path}/path/bin/prism" in done.stderr
    # start.sh only looks for it.
    (tmp_path / "asked").unlink()
    done = called(PRISM / "start.sh", PATH=f"{tmp_path}:/usr/bin:/bin", PRISM_FOLDER=str(tmp_path / "prism"))
    assert done.returncode == 2 and "install.sh makes it" in done.stderr
    assert "install" not in (tmp_path / "asked").read_text()


def test_hadolint_takes_prisms_dockerfile():
    assert called(BIN / "hadolint", PRISM / "Dockerfile").returncode == 0
