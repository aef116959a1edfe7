"""deploy/kubernetes/finetune-gpu.yaml, against the schemas of Kubernetes, the script, and the commands it calls."""

import copy
import re
from typing import Any

import pytest
from kubernetes_validate import ValidationError, validate

from pipelines import evaluate, finetune
from pipelines.options import parse, parse_alone, parser
from tests.deploy.scripted import FINETUNE
from tests.deploy.test_kubernetes import FILES, at, documents, keys

NAME = "finetune-gpu.yaml"
POD = ("spec", "template", "spec")
JOB = documents(NAME)[2]


def container() -> dict[str, Any]:
    (found,) = at(JOB, POD)["containers"]
    return found


@pytest.mark.parametrize("volume", [False, True])
@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_takes_it(version, volume):
    kinds = []
    for each in documents(NAME, volume):
        validate(each, version, strict=True)
        kinds.append(each["kind"])
    assert kinds == ["ServiceAccount", "PersistentVolumeClaim", "Job"]
    pod = at(documents(NAME, volume)[2], POD)
    names = ["tmp", "cache", "shm", *(["data"] if volume else [])]
    assert [each["name"] for each in pod["volumes"]] == names
    assert [each["name"] for each in pod["containers"][0]["volumeMounts"]] == names


SPELLED = [path for path in keys(JOB) if path not in (("apiVersion",), ("kind",))]


@pytest.mark.parametrize("path", SPELLED, ids=lambda path: ".".join(map(str, path)))
def test_a_misspelled_key_is_not_taken(path):
    spoiled = copy.deepcopy(JOB)
    *parent, key = path
    at(spoiled, tuple(parent))[f"{key}s"] = at(spoiled, tuple(parent)).pop(key)
    with pytest.raises(ValidationError):
        validate(spoiled, "1.37", strict=True)


def test_what_it_calls_are_options_that_exist(script):
    """From the arguments of the container through the script to the options of each command."""
    assert container()["command"] == [f"/opt/seqcls_beam/deploy/{FINETUNE.name}"]
    done = script.run(*container()["args"], script=FINETUNE)
    assert done.returncode == 0, done.stderr
    _, _, trained, measured = script.said("calls")
    start = trained.index("pipelines.finetune")
    assert trained[:start] == ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
    made = finetune.configured(parse_alone(parser("p", "", "", finetune.GROUPS), trained[start + 1 :], finetune.GROUPS))
    assert made.output.output == "gs://MODELS/reviews/2026-11-20"
    assert (made.machine.device, made.machine.threads) == ("cuda", 4)
    config = evaluate.configured(parse(parser("p", "", "", evaluate.GROUPS), measured[2:], evaluate.GROUPS)[0])
    assert config.model.model == made.output.output and config.answers.data == made.data.data
    assert config.report.output == "gs://MODELS/reviews-gold/2026-11-20" and config.report.promote
    assert config.gates.min_accuracy == 0.9


def test_nights_follow_the_model_that_it_makes():
    (models,) = [each for each in container()["args"] if each.startswith("--models=")]
    (night,) = at(documents(FILES[1])[1], ("spec", "jobTemplate", "spec", "template", "spec"))["containers"]
    assert models.replace("--models", "--model") in night["args"]


def test_the_version_is_that_of_the_name():
    assert JOB["metadata"]["name"].removeprefix("seqcls-beam-finetune-") == container()["args"][0]


def test_there_is_a_process_for_each_gpu_and_a_core_for_each_thread():
    limits, args = container()["resources"]["limits"], container()["args"]
    assert limits == container()["resources"]["requests"]
    said = dict(each.removeprefix("--").split("=", 1) for each in args if "=" in each)
    assert limits["nvidia.com/gpu"] == said["processes"]
    assert int(limits["cpu"]) == int(said["processes"]) * int(said["threads"])
    (threads,) = [each["value"] for each in container()["env"] if each["name"] == "OMP_NUM_THREADS"]
    assert threads == said["threads"]


def test_wrong_usage_and_a_gate_are_not_tried_again():
    (rule,) = [each for each in JOB["spec"]["podFailurePolicy"]["rules"] if each["action"] == "FailJob"]
    assert rule["onExitCodes"] == {"containerName": container()["name"], "operator": "In", "values": [2, 3]}
    assert JOB["spec"]["backoffLimit"] > 0
    # Kubernetes refuses a failure policy beside another one.
    assert at(JOB, POD)["restartPolicy"] == "Never"
    assert "ttlSecondsAfterFinished" not in JOB["spec"], "a Job that failed stays to be seen"


def test_what_a_training_goes_on_from_outlives_its_pod():
    """And all else that is written lies in a folder that is there."""
    claim = documents(NAME)[1]["metadata"]["name"]
    volumes = {each["name"]: each for each in at(JOB, POD)["volumes"]}
    mounts = {each["mountPath"]: volumes[each["name"]] for each in container()["volumeMounts"]}
    environ = {each["name"]: each["value"] for each in container()["env"]}
    assert mounts[environ["SEQCLS_BEAM_CACHE"]]["persistentVolumeClaim"] == {"claimName": claim}
    assert "emptyDir" in mounts[environ["HOME"]]
    own, pod = container()["securityContext"], at(JOB, POD)["securityContext"]
    assert own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"]
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert pod["runAsNonRoot"] and pod["runAsUser"] > 0 and pod["fsGroup"] > 0


def test_shared_memory_is_a_part_of_the_memory_that_is_asked_for():
    (shared,) = [each["emptyDir"] for each in at(JOB, POD)["volumes"] if each["name"] == "shm"]
    assert shared["medium"] == "Memory"
    size, memory = (
        int(each.removesuffix("Gi")) for each in (shared["sizeLimit"], container()["resources"]["limits"]["memory"])
    )
    assert 1 <= size <= memory // 4


def test_it_is_given_longer_to_end_than_torchrun_gives_its_processes():
    from torch.distributed.elastic.multiprocessing.api import PContext

    (grace,) = [each for each in PContext.close.__defaults__ or () if isinstance(each, int)]
    assert at(JOB, POD)["terminationGracePeriodSeconds"] > grace


def test_the_account_and_the_image():
    assert at(JOB, POD)["serviceAccountName"] == documents(NAME)[0]["metadata"]["name"]
    assert re.fullmatch(r"REGISTRY/seqcls-beam@sha256:[0-9a-f]{64}", container()["image"])
    night = at(documents(FILES[1])[1], ("spec", "jobTemplate", "spec", "template", "spec"))
    assert at(JOB, POD)["nodeSelector"] == night["nodeSelector"] and at(JOB, POD)["tolerations"] == night["tolerations"]
