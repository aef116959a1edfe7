"""The workflow of the night, and an execution of it in the early morning of 21 November 2026."""

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from tests.deploy.scripted import DEPLOY
from tests.deploy.workflows.cloud import Cloud
from tests.deploy.workflows.expressions import WorkflowError
from tests.deploy.workflows.interpreter import Execution

TEXT = (DEPLOY / "terraform" / "modules" / "night" / "night.yaml").read_text()
WORKFLOW = yaml.safe_load(TEXT)
JUDGE = "projects/my-project/locations/europe-west4/jobs/night-judge"
ENVIRON = {
    "GOOGLE_CLOUD_PROJECT_ID": "my-project",
    "REGION": "europe-west4",
    "TEMPLATE": "gs://models/templates/classify.json",
    "JOB_PREFIX": "score",
    "PARAMETERS": json.dumps(
        {"input": "gs://data/inbox/{date}/*.jsonl", "output": "gs://data/nightly", "only_new": "true"}
    ),
    "ENVIRONMENT": json.dumps({"maxWorkers": 4, "ipConfiguration": "WORKER_IP_PRIVATE"}),
    "OUTPUT_BUCKET": "data",
    "OUTPUT_FOLDER": "nightly/",
    "TIME_ZONE": "Europe/Berlin",
    "LIMIT_SECONDS": "7200",
    "APPROVE_JOB": JUDGE,
    "APPROVE": json.dumps(["approve", "gs://data/nightly", "--max_rejected=0.01"]),
}
NIGHT = "2026-11-20"
FIRST = f"nightly/_versions/run_date={NIGHT}/00000001.json"
SECOND = f"nightly/_versions/run_date={NIGHT}/00000002.json"


def at(text: str, zone: str = "Europe/Berlin") -> float:
    """The moment that a clock on the wall shows."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def execution(cloud: Cloud, now: float | None = None, **environ: str) -> Execution:
    return Execution(WORKFLOW, {**ENVIRON, **environ}, cloud.calls(), at("2026-11-21 03:30") if now is None else now)


def run(cloud: Cloud, argument: Any = None) -> Any:
    """What an execution returns."""
    return execution(cloud).run(argument)


def reason(cloud: Cloud, argument: Any = None) -> tuple[str, str]:
    """Why an execution fails, and the sentence."""
    with pytest.raises(WorkflowError) as caught:
        run(cloud, argument)
    return caught.value.error["reason"], caught.value.error["message"]
