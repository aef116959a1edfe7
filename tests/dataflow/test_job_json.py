"""What a job asks for, as it is written for a template: compared with files that people have read.

The files have what is chosen here: the environment, the pool of workers, and all options that are not Beam's defaults.
What differs from one time to the next has a name in capitals.
"""

import json
import re
from pathlib import Path

import fsspec
import pytest
from google.cloud import dataflow_v1beta3 as api
from google.protobuf import json_format

from tests.corpora import texts, write_jsonl
from tests.dataflow import staged
from tests.dataflow.cloud import BUCKET, IMAGE, PROJECT, ROOT
from tests.dataflow.credentials import KEY_ID, TOKEN
from tests.dataflow.subscriptions import subscriptions

pytestmark = [pytest.mark.dataflow, pytest.mark.engine]

GOLDEN = Path(__file__).parent / "golden"
IN, OUT, MODEL = f"gs://{BUCKET}/json/in/*.jsonl", f"gs://{BUCKET}/json/out", f"gs://{BUCKET}/json/model"
WORKERS = [
    "--num_workers=2",
    "--max_num_workers=8",
    "--service_account_email=worker@test-project.iam.gserviceaccount.com",
    "--subnetwork=regions/us-central1/subnetworks/quiet",
    "--no_use_public_ips",
    "--labels=team=text",
]
COMMANDS = {
    "classify": ["classify", f"--input={IN}", f"--output={OUT}", f"--model={MODEL}", *WORKERS],
    "classify-gpu": [
        *("classify", f"--input={IN}", f"--output={OUT}-gpu", f"--model={MODEL}", "--gpu=nvidia-l4"),
        *("--max_num_workers=8", "--autoscaling_algorithm=THROUGHPUT_BASED"),
    ],
    "stream": [
        *("classify", "--subscription=projects/test-project/subscriptions/reviews", f"--output={OUT}-stream"),
        *(f"--model={MODEL}", "--gpu=nvidia-tesla-t4", "--max_num_workers=2"),
    ],
    "prepare": [
        *("prepare", f"--input={IN}", f"--output={OUT}-prepared", "--label_column=label", f"--model={MODEL}"),
        "--max_num_workers=4",
    ],
}


@pytest.fixture(scope="module")
def written(ground, checkpoint, tmp_path_factory):
    """Job → (its JSON, the graph it staged), each sent once."""
    folder = tmp_path_factory.mktemp("in")
    rows = [{"id": i, "text": text, "label": "ab"[i % 2]} for i, text in enumerate(texts(40))]
    files = fsspec.filesystem("gs")
    files.put(str(write_jsonl(folder / "a.jsonl", rows)), f"{BUCKET}/json/in/a.jsonl")
    files.put(str(checkpoint), f"{BUCKET}/json/model", recursive=True)
    made: dict[str, tuple[dict, bytes]] = {}

    def send(job: str, *more: str) -> tuple[dict, bytes]:
        key = " ".join([job, *more])
        if key not in made:
            name, *argv = COMMANDS[job]
            template = f"{BUCKET}/templates/{job}.json"
            flags = [each for each in ground.flags() if not each.startswith("--dataflow_endpoint")]
            end = ground.run(name, *argv, *more, *flags, f"--template_location=gs://{template}")
            assert end.code == 0 and not re.search("Traceback|left out", end.said), end.said
            found = json.loads(files.cat(template))
            graph = files.cat(found["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"])
            made[key] = found, graph
        return made[key]

    with subscriptions("projects/test-project/topics/reviews") as host, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBSUB_EMULATOR_HOST", host)
        yield send


def chosen(job: dict) -> dict:
    """What of a job is ours to choose."""
    environment = job["environment"]
    (pool,) = environment["workerPools"]
    for image in pool["sdkHarnessContainerImages"]:
        del image["capabilities"]
    shown = environment.pop("sdkPipelineOptions")
    del environment["userAgent"], job["clientRequestId"]
    environment["experiments"].sort()
    options = {each["key"]: each["value"] for each in shown["display_data"]}
    del options["beam_plugins"]
    options["experiments"] = sorted(shown["options"]["experiments"])
    text = json.dumps({**job, "options": options})
    text = re.sub(r"[0-9a-f]{12}(?=-v1)|(?<=seqcls-stream-)[0-9a-f]{12}", "RUN", text)
    return json.loads(re.sub(r"(seqcls-[-\w]+)\.\d+\.\d+", r"\1.TIME", text))


@pytest.mark.parametrize("job", COMMANDS)
def test_a_job_asks_for_what_is_documented(written, tmp_path, job):
    found, _ = written(job)
    json_format.ParseDict(found, api.Job.pb(api.Job()))  # raises for what Google's messages do not have
    made = json.dumps(chosen(json.loads(json.dumps(found))), indent=2, sort_keys=True) + "\n"
    golden, here = GOLDEN / f"job-{job}.json", tmp_path / f"job-{job}.json"
    here.write_text(made)
    assert golden.exists() and made == golden.read_text(), f"where it is meant: cp {here} {golden.relative_to(ROOT)}"


@pytest.mark.parametrize("job", COMMANDS)
def test_an_accelerator_is_asked_for_once(written, job):
    found, graph = written(job)
    services = [each for each in found["environment"].get("serviceOptions", []) if "accelerator" in each]
    assert len(services) == (job in ("classify-gpu", "stream"))
    assert not staged.hints(staged.graph(graph))


def test_a_resource_hint_asks_for_it_instead(written):
    found, graph = written("classify", "--resource_hint=accelerator=type:nvidia-l4;count:1;install-nvidia-driver")
    assert staged.hints(staged.graph(graph)) == {
        "beam:resources:accelerator:v1": "type:nvidia-l4;count:1;install-nvidia-driver"
    }
    assert not any("accelerator" in each for each in found["environment"].get("serviceOptions", []))


def test_what_a_flag_says_is_not_set(written):
    accelerator = "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver"
    found, _ = written(
        "classify-gpu",
        "--machine_type=g2-standard-8",
        "--disk_size_gb=300",
        "--number_of_worker_harness_threads=1",
        "--experiments=use_multiple_sdk_containers",
        f"--dataflow_service_options={accelerator}",
        "--sdk_location=default",
        "--job_name=mine",
    )
    (pool,) = found["environment"]["workerPools"]
    assert (pool["machineType"], pool["diskSizeGb"], pool["numThreadsPerWorker"]) == ("g2-standard-8", 300, 1)
    assert found["environment"]["serviceOptions"] == [accelerator] and found["name"] == "mine"
    assert "no_use_multiple_sdk_containers" not in found["environment"]["experiments"]


@pytest.mark.parametrize("job", COMMANDS)
def test_workers_are_told_nothing_of_this_machine(written, ground, job):
    """No secret, no folder of it, not who asks, and no main session."""
    found, graph = written(job)
    names = [package["name"] for package in found["environment"]["workerPools"][0]["packages"]]
    assert "pickled_main_session" not in names
    key = json.loads((ground.folder / "key.json").read_text())
    secrets = [key["private_key"].split("\n")[3], key["private_key"].encode().hex(), KEY_ID, TOKEN]
    own = [
        str(ground.folder),
        str(Path.home() / ".cache"),
        f"{ROOT}/seqcls_beam",
        f"{ROOT}/pipelines",
        key["client_email"],
    ]
    unpacked = list(staged.pickles(graph))
    assert len(unpacked) > 3  # Beam pickles as it did when this was written
    for data in (json.dumps(found).encode(), graph, *unpacked):
        there = [each for each in (*secrets, *own) if each.encode() in data]
        assert not there, f"{there} in {data[:2000]!r}"


def test_a_job_is_of_the_image_alone(written):
    """Nothing is installed when a worker starts: all that it needs is in its image."""
    for job in COMMANDS:
        found, _ = written(job)
        (pool,) = found["environment"]["workerPools"]
        assert {each["containerImage"] for each in pool["sdkHarnessContainerImages"]} == {IMAGE}
        assert [each["name"] for each in pool["packages"]] == ["submission_environment_dependencies.txt"]
        staged_by = found["environment"]["sdkPipelineOptions"]["options"]
        assert staged_by["project"] == PROJECT and staged_by["sdk_location"] == "container"
