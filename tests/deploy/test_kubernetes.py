"""deploy/kubernetes: the manifests against the schemas of Kubernetes, and against the commands that they call."""

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from kubernetes_validate import ValidationError, validate

from pipelines import approve, classify
from pipelines.options import parse, parse_alone, parser
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.classify import RunOptions
from tests.deploy.scripted import DEPLOY

FOLDER = DEPLOY / "kubernetes"
FILES = ["nightly.yaml", "nightly-gpu.yaml"]
TEMPLATE = ("spec", "jobTemplate", "spec", "template", "spec")
# Maps in which any key is right.
FREE = {"annotations", "limits", "requests", "nodeSelector"}
HOUR = 3600


def documents(name: str, volume: bool = False) -> list[dict[str, Any]]:
    """What is in a manifest; with `volume`, of its lines after `#| ` too."""
    text = (FOLDER / name).read_text()
    return list(yaml.safe_load_all(re.sub(r"#\| ", "", text) if volume else text))


def cron_job(name: str = FILES[0]) -> dict[str, Any]:
    return documents(name)[1]


def at(tree: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        tree = tree[step]
    return tree


def container(name: str = FILES[0]) -> dict[str, Any]:
    (found,) = at(cron_job(name), TEMPLATE)["containers"]
    return found


def environ(name: str = FILES[0]) -> dict[str, str]:
    """The container's variables, those of the pod as Kubernetes would fill them in."""
    of_pod = {"JOB_NAME": "seqcls-beam-nightly-29744730", "CPUS": container(name)["resources"]["limits"]["cpu"]}
    found: dict[str, str] = {}
    for each in container(name)["env"]:
        found[each["name"]] = expanded(each["value"], found) if "value" in each else of_pod[each["name"]]
    return found


def expanded(value: str, variables: dict[str, str]) -> str:
    """`$(NAME)` for what it stands for; a name that there is not fails here, and stays as it is in Kubernetes."""
    return re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], value)


def keys(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            if not (path and path[-1] in FREE):
                yield (*path, key)
            yield from keys(value, (*path, key))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from keys(value, (*path, number))


@pytest.mark.parametrize("volume", [False, True])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_takes_it(name, version, volume):
    kinds = []
    for each in documents(name, volume):
        validate(each, version, strict=True)
        kinds.append(each["kind"])
    assert kinds == ["ServiceAccount", "CronJob"]
    mounts = [each["name"] for each in at(documents(name, volume)[1], TEMPLATE)["volumes"]]
    assert mounts == (["tmp", "data"] if volume else ["tmp"])


# Without these two the validator does not know what it has before it.
SPELLED = [path for path in keys(cron_job(FILES[1])) if path not in (("apiVersion",), ("kind",))]


@pytest.mark.parametrize("path", SPELLED, ids=lambda path: ".".join(map(str, path)))
def test_a_misspelled_key_is_not_taken(path):
    """So that the test above says something of every key."""
    spoiled = copy.deepcopy(cron_job(FILES[1]))
    *parent, key = path
    at(spoiled, tuple(parent))[f"{key}s"] = at(spoiled, tuple(parent)).pop(key)
    with pytest.raises(ValidationError):
        validate(spoiled, "1.37", strict=True)


def test_the_two_differ_in_what_a_gpu_needs_alone():
    account, job = documents(FILES[1])
    pod = at(job, TEMPLATE)
    assert pod.pop("nodeSelector") == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    assert pod.pop("tolerations") == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    (container,) = pod["containers"]
    container["args"].remove("--device=cuda")
    for kind in ("requests", "limits"):
        assert container["resources"][kind].pop("nvidia.com/gpu") == "1"
    assert [account, job] == documents(FILES[0])


@pytest.mark.parametrize("name", FILES)
def test_what_it_calls_are_options_that_exist(name, script):
    """From the arguments of the container through the script to the options of each command."""
    assert container(name)["command"] == ["/opt/seqcls_beam/deploy/nightly.sh"]
    done = script.run(*(expanded(each, environ(name)) for each in container(name)["args"]), TZ=environ(name)["TZ"])
    assert done.returncode == 0, done.stderr
    labelled, judged = script.calls()
    given, _ = parse(parser("p", "", "", classify.GROUPS), labelled[1:], classify.GROUPS)
    read, model, run = ReadOptions(**given["read"]), ModelOptions(**given["model"]), RunOptions(**given["run"])
    # The minutes in `environ` are those of 22 July 2026, 03:30 in Berlin.
    assert (run.run_date, run.only_new, run.catch_up) == ("2026-07-21", True, 7)
    assert read.input == ("gs://CORPUS/inbox/{date}/*.jsonl",)
    assert model.threads == 4 and model.device == ("cuda" if name == FILES[1] else "auto")
    limits = parse_alone(parser("p", "", "", approve.GROUPS), judged[1:], approve.GROUPS)["approve"]
    assert limits == {"output": "gs://LABELS/reviews", "max_rejected": 0.01}


def test_the_schedule_is_a_time_of_every_day_of_every_year():
    """Where clocks change, they do between 01:00 and 03:00, or at midnight."""
    spec = cron_job()["spec"]
    minute, hour, *days = spec["schedule"].split()
    assert days == ["*", "*", "*"] and minute.isdigit()
    assert 3 <= int(hour) <= 23
    assert spec["timeZone"] == environ()["TZ"], "the day is counted where the schedule is"
    assert not spec.get("suspend")


def test_a_night_is_over_before_the_next_one_is_due():
    """Else that is skipped: nights do not run beside each other. The shortest day has 23 hours."""
    spec, job = cron_job()["spec"], cron_job()["spec"]["jobTemplate"]["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    grace = at(cron_job(), TEMPLATE)["terminationGracePeriodSeconds"]
    assert spec["startingDeadlineSeconds"] + job["activeDeadlineSeconds"] + grace < 23 * HOUR


def test_wrong_usage_and_a_gate_are_not_tried_again():
    job = cron_job()["spec"]["jobTemplate"]["spec"]
    (rule,) = [each for each in job["podFailurePolicy"]["rules"] if each["action"] == "FailJob"]
    assert rule["onExitCodes"] == {"containerName": container()["name"], "operator": "In", "values": [2, 3]}
    assert job["backoffLimit"] > 0
    # Kubernetes refuses a failure policy beside another one.
    assert at(cron_job(), TEMPLATE)["restartPolicy"] == "Never"


def test_the_night_is_what_the_first_two_words_say():
    """A Job by hand has a DATE in their place: see README.md."""
    assert container()["args"][:2] == ["--job=$(JOB_NAME)", "--days_before=1"]
    assert '["2026-11-01..2026-11-19"] + .[2:]' in (DEPLOY / "README.md").read_text()


def test_a_job_that_failed_stays_to_be_seen():
    assert cron_job()["spec"]["failedJobsHistoryLimit"] > 0
    assert "ttlSecondsAfterFinished" not in cron_job()["spec"]["jobTemplate"]["spec"]


def test_the_name_of_a_job_is_that_of_its_schedule():
    """Kubernetes adds 11 characters to it and takes 63; the label has been there since 1.27."""
    assert len(cron_job()["metadata"]["name"]) <= 52
    (name,) = [each for each in container()["env"] if each["name"] == "JOB_NAME"]
    assert name["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/job-name']"


def test_it_writes_nowhere_but_in_a_folder_that_is_there():
    own, pod = container()["securityContext"], at(cron_job(), TEMPLATE)["securityContext"]
    assert (
        own["readOnlyRootFilesystem"]
        and not own["allowPrivilegeEscalation"]
        and own["capabilities"] == {"drop": ["ALL"]}
    )
    assert pod["runAsNonRoot"] and pod["runAsUser"] > 0
    assert environ()["HOME"] in [each["mountPath"] for each in container()["volumeMounts"]]
    names = [each["name"] for each in at(cron_job(), TEMPLATE)["volumes"]]
    assert [each["name"] for each in container()["volumeMounts"]] == names


def test_the_account_is_the_one_that_is_made():
    account, job = documents(FILES[0])
    assert at(job, TEMPLATE)["serviceAccountName"] == account["metadata"]["name"]


def test_threads_are_as_many_as_cores():
    limits = container()["resources"]["limits"]
    assert limits == container()["resources"]["requests"]
    assert environ()["OMP_NUM_THREADS"] == limits["cpu"]


def test_the_image_is_named_by_its_digest():
    assert re.fullmatch(r"REGISTRY/seqcls-beam@sha256:[0-9a-f]{64}", container()["image"])
