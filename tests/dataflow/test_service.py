"""The double refuses what the service would: else tests on it prove little."""

import http.client
import json
import urllib.parse

import pytest

from tests.dataflow.credentials import TOKEN

pytestmark = pytest.mark.dataflow

JOBS = "/v1b3/projects/test-project/locations/us-central1/jobs"
OPTIONS = {"options": {"project": "another-project"}}


@pytest.mark.parametrize(
    ("method", "path", "body", "token", "status", "said"),
    [
        ("POST", JOBS, {"name": "a", "colour": "red"}, TOKEN, 400, 'no field named "colour"'),
        ("POST", JOBS, {"name": "Nightly"}, TOKEN, 400, "no name of a job"),
        ("POST", JOBS, {"name": "a", "environment": {"sdkPipelineOptions": OPTIONS}}, TOKEN, 400, "another-project"),
        ("POST", JOBS, {"name": "a"}, "stolen", 401, "token"),
        ("GET", f"{JOBS}?pagesize=3", None, TOKEN, 400, "pagesize"),
        ("GET", f"{JOBS}/7", None, TOKEN, 404, "7 could not be found"),
        ("DELETE", JOBS, None, TOKEN, 404, "no such method"),
    ],
)
def test_it_refuses(cloud, method, path, body, token, status, said):
    there = http.client.HTTPConnection(urllib.parse.urlsplit(cloud.endpoint).netloc)
    there.request(method, path, json.dumps(body or {}), {"Authorization": f"Bearer {token}"})
    answer = there.getresponse()
    error = json.loads(answer.read())["error"]
    there.close()
    assert (answer.status, error["code"]) == (status, status) and said in error["message"]
    assert not cloud.double.jobs
