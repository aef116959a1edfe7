"""deploy/terraform: what must be so, and what must never be in it."""

import os
import re
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest
from google.cloud.dataflow_v1beta3.types import FlexTemplateRuntimeEnvironment

from pipelines import approve
from pipelines.options import parse_alone, parser
from seqcls_beam.config.seal import SealOptions
from tests.deploy.hcl import (
    EXAMPLE,
    MODULES,
    README,
    ROOT,
    SHOWN,
    local_values,
    module,
    named,
    of,
    parsed,
    resource,
    resources,
)
from tests.deploy.workflows.night import ENVIRON

# What deletes what, and what is lost.


def deleting(bucket: str) -> list[dict[str, Any]]:
    """Conditions under which objects of a bucket are deleted."""
    rules = resource("storage", "google_storage_bucket", bucket).get("lifecycle_rule", [])
    return [rule["condition"][0] for rule in rules if rule["action"][0]["type"] == "Delete"]


def test_temporary_files_go_and_what_a_stream_staged_stays():
    (condition,) = deleting("temp")
    assert condition["age"] == "${var.temp_days}"
    stream = resource("stream", "google_dataflow_flex_template_job", "stream")
    night = local_values(of("night"))["environment"]
    folder = "gs://${var.temp_bucket}/"
    assert stream["temp_location"].startswith(f"{folder}temp/") and f"{folder}temp/night" in str(night)
    assert condition["matches_prefix"] == ["temp/", "staging/night/"] and f"{folder}staging/night" in str(night)
    assert stream["staging_location"].startswith(f"{folder}staging/stream/")
    (soft,) = resource("storage", "google_storage_bucket", "temp")["soft_delete_policy"]
    assert soft["retention_duration_seconds"] == 0


def test_nothing_deletes_data_by_age():
    assert deleting("data") == []
    assert deleting("models") == [{"num_newer_versions": "${var.model_versions}", "with_state": "ARCHIVED"}]
    (versioning,) = resource("storage", "google_storage_bucket", "models")["versioning"]
    assert versioning["enabled"] is True


def test_buckets_are_nobody_elses():
    for kind, _, body in resources(of("storage")):
        assert kind == "google_storage_bucket" and "force_destroy" not in body
        assert body["public_access_prevention"] == "enforced" and body["uniform_bucket_level_access"] is True


def test_the_subscription_that_dataflow_reads_has_neither_policy():
    read = resource("pubsub", "google_pubsub_subscription", "texts")
    assert not {"dead_letter_policy", "enable_exactly_once_delivery", "retry_policy", "filter"} & {*read}
    for name in ("texts", "rejected"):
        subscription = resource("pubsub", "google_pubsub_subscription", name)
        assert subscription["expiration_policy"] == [{"ttl": ""}]
        assert 10 <= subscription["ack_deadline_seconds"] <= 600


def test_terraform_starts_a_stream_and_nothing_that_ends():
    jobs = {
        (name, kind)
        for name in MODULES
        for kind, _, _ in resources(of(name))
        if kind in ("google_dataflow_job", "google_dataflow_flex_template_job")
    }
    assert jobs == {("stream", "google_dataflow_flex_template_job")}
    job = resource("stream", "google_dataflow_flex_template_job", "stream")
    assert job["on_delete"] == "drain" and job["skip_wait_on_job_termination"] is False
    assert job["provider"] == "google-beta", "the other provider does not have it"
    assert job["enable_streaming_engine"] is True and job["parameters"] == "${local.template_parameters}"


# Who may do what.

ON_PROJECT = {
    *(("workers", f"roles/dataflow.{each}") for each in ("worker", "viewer")),
    *(("night", f"roles/{each}") for each in ("dataflow.developer", "logging.logWriter", "run.viewer")),
    ("scheduler", "roles/workflows.invoker"),
}
"""(account, role); a launcher that replaces a stream lists jobs, and the end of a container is no part of its job."""


def test_roles_are_bound_on_what_they_are_for():
    kinds = {kind for name in MODULES for kind, _, _ in resources(of(name)) if "_iam_" in kind}
    assert kinds == {
        "google_artifact_registry_repository_iam_member",
        "google_cloud_run_v2_job_iam_member",
        "google_project_iam_member",
        "google_pubsub_subscription_iam_member",
        "google_pubsub_topic_iam_member",
        "google_service_account_iam_member",
        "google_storage_bucket_iam_member",
    }, "others take away what somebody else was given"
    bound = local_values(of("accounts"))["on_project"].values()
    assert {(each["account"], each["role"]) for each in bound} == ON_PROJECT


def test_the_workflow_may_give_the_accounts_of_what_it_starts():
    given = resource("accounts", "google_service_account_iam_member", "night_gives")
    assert given["role"] == "roles/iam.serviceAccountUser" and given["for_each"] == '${toset(["workers", "judge"])}'
    assert given["service_account_id"] == "${google_service_account.accounts[each.value].name}"


def test_the_roles_are_those_of_the_readme_and_none_is_primitive():
    text = "\n".join(path.read_text() for name in MODULES for path in (ROOT / "modules" / name).glob("*.tf"))
    roles = {*re.findall(r'"(roles/[\w.]+)"', text)}
    section = README.partition("## Who may do what")[2].partition("\n## ")[0]
    table = "\n".join(line for line in section.splitlines() if line.startswith("|"))
    assert roles == {*re.findall(r"`(roles/[\w.]+)`", table)}
    assert not roles & {"roles/owner", "roles/editor", "roles/viewer"}
    assert not [each for each in roles if each.lower().endswith("admin")]


def test_accounts_are_our_own():
    text = "\n".join(path.read_text() for path in ROOT.rglob("*.tf"))
    assert not re.search(r"compute@developer|appspot|default_service_account|allUsers|allAuthenticatedUsers", text)
    assert resource("stream", "google_dataflow_flex_template_job", "stream")["service_account_email"]
    assert resource("night", "google_workflows_workflow", "night")["service_account"] == "${var.night_account}"


# The night.


def test_the_workflow_gets_the_environment_that_it_reads():
    workflow = resource("night", "google_workflows_workflow", "night")
    assert re.fullmatch(r"\$\{merge\(local\.variables, ?\{ ?APPROVE_JOB [^{}]*\}\)\}", workflow["user_env_vars"])
    given = {*local_values(of("night"))["variables"], "APPROVE_JOB"}
    assert given == {each for each in ENVIRON if not each.startswith("GOOGLE_CLOUD_")}
    assert workflow["source_contents"] == '${file("${path.module}/night.yaml")}'


def test_the_environment_of_a_job_is_what_dataflow_takes():
    text = (ROOT / "modules" / "night" / "main.tf").read_text()
    block = re.search(r"environment = \{ for name, value in \{\n(.*?)\n  \}", text, re.S)
    assert block
    names = re.findall(r"^ +(\w+) += ", block[1], re.M)
    fields = FlexTemplateRuntimeEnvironment.pb(FlexTemplateRuntimeEnvironment()).DESCRIPTOR.fields_by_camelcase_name
    assert names == sorted(names) and {*names} <= {*fields}
    assert {"serviceAccountEmail", "sdkContainerImage", "stagingLocation", "tempLocation", "maxWorkers"} <= {*names}


@pytest.mark.parametrize("name", ["night", "check"])
def test_a_schedule_starts_the_workflow(name):
    job = resource("night", "google_cloud_scheduler_job", name)
    (target,), (retry,) = job["http_target"], job["retry_config"]
    assert target["oauth_token"] == [{"service_account_email": "${var.scheduler_account}"}]
    assert target["uri"] == "${local.executions}" and target["http_method"] == "POST"
    assert 1 <= retry["retry_count"] <= 5
    assert job["time_zone"] == "${var.time_zone}"
    assert 15 <= int(job["attempt_deadline"].removesuffix("s")) <= 1800


def test_schedules_are_times_of_every_day_of_every_year():
    variables = named(of("night"), "variable")
    for name in ("schedule", "check_schedule"):
        minute, hour, *days = variables[name]["default"].split()
        assert days == ["*", "*", "*"] and minute.isdigit() and 3 <= int(hour) <= 23


def test_the_container_judges_by_options_that_exist():
    job = resource("night", "google_cloud_run_v2_job", "judge")
    (template,) = job["template"][0]["template"]
    (container,) = template["containers"]
    assert container["command"] == ["seqcls-beam"] and template["max_retries"] == 0
    shown = [named(parsed(SHOWN[0]), "module")["night"], named(module(EXAMPLE), "module")["night"]]
    for each in shown:
        words = ["gs://bucket/out", *each["gates"]]
        assert (
            parse_alone(parser("p", "", "", approve.GROUPS), words, approve.GROUPS)["approve"]["max_rejected"] == 0.01
        )


@pytest.mark.parametrize("delay", ["600", "0"])
def test_the_container_seals_what_ended_so_long_ago(tmp_path, delay):
    """Its words run here, with a stand-in for the command and the date of GNU, which the image has."""
    job = resource("seal", "google_cloud_run_v2_job", "seal")
    (container,) = job["template"][0]["template"][0]["containers"]
    assert container["command"] == ["bash", "-c"] and "$(" not in container["args"][0], "Cloud Run reads $(…) itself"
    assert [each["name"] for each in container["env"]] == ["OUTPUT", "DELAY"]
    stand_in = tmp_path / "seqcls-beam"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)
    environ = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "OUTPUT": "gs://data/a stream",
        "DELAY": delay,
        "TZ": "Asia/Tokyo",
    }
    words = [*container["command"], container["args"][0].replace('\\"', '"')]
    began = datetime.now(UTC)
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60)
    command, output, until = done.stdout.splitlines()
    assert (command, output) == ("seal", "gs://data/a stream")
    options = SealOptions(output=output, until=until.removeprefix("--until="))
    assert options.until_microseconds is not None
    late = options.until_microseconds / 1e6 + int(delay) - began.timestamp()
    assert -1 <= late <= 60
