"""What resources take, by the documentation of the providers google and google-beta 7: only what a module may use."""

from typing import Any

_MEMBER: dict[str, Any] = {"role": None, "member": None, "project": None}
_META: dict[str, Any] = {
    "count": None,
    "for_each": None,
    "provider": None,
    "depends_on": None,
    "lifecycle": {"precondition": {"condition": None, "error_message": None}},
}


def _names(*names: str, **blocks: Any) -> dict[str, Any]:
    return {**dict.fromkeys(names), **blocks}


_AGGREGATIONS = _names("alignment_period", "per_series_aligner", "cross_series_reducer", "group_by_fields")

ARGUMENTS: dict[str, dict[str, Any]] = {
    "google_artifact_registry_repository": _names(
        *("project", "location", "repository_id", "description", "format", "labels", "cleanup_policy_dry_run"),
        docker_config=_names("immutable_tags"),
        cleanup_policies=_names(
            *("id", "action"),
            condition=_names("tag_state", "tag_prefixes", "older_than", "newer_than"),
            most_recent_versions=_names("package_name_prefixes", "keep_count"),
        ),
    ),
    "google_artifact_registry_repository_iam_member": {**_MEMBER, **_names("location", "repository")},
    "google_cloud_run_v2_job": _names(
        *("project", "location", "name", "labels", "deletion_protection"),
        template=_names(
            *("labels", "parallelism", "task_count"),
            template=_names(
                *("service_account", "max_retries", "timeout", "execution_environment"),
                containers=_names(
                    *("name", "image", "command", "args", "working_dir"),
                    env=_names("name", "value"),
                    resources=_names("limits"),
                ),
            ),
        ),
    ),
    "google_cloud_run_v2_job_iam_member": {**_MEMBER, **_names("location", "name")},
    "google_cloud_scheduler_job": _names(
        *("project", "region", "name", "description", "schedule", "time_zone", "paused", "attempt_deadline"),
        retry_config=_names(
            "retry_count", "max_retry_duration", "min_backoff_duration", "max_backoff_duration", "max_doublings"
        ),
        http_target=_names(
            *("uri", "http_method", "body", "headers"), oauth_token=_names("service_account_email", "scope")
        ),
    ),
    "google_dataflow_flex_template_job": _names(
        *("project", "region", "name", "container_spec_gcs_path", "parameters", "labels", "sdk_container_image"),
        *("service_account_email", "temp_location", "staging_location", "machine_type", "launcher_machine_type"),
        *("num_workers", "max_workers", "network", "subnetwork", "ip_configuration", "kms_key_name"),
        *("additional_experiments", "additional_pipeline_options", "autoscaling_algorithm", "enable_streaming_engine"),
        *("transform_name_mapping", "on_delete", "skip_wait_on_job_termination", "create_ignore_already_exists"),
    ),
    "google_monitoring_alert_policy": _names(
        *("project", "display_name", "combiner", "enabled", "notification_channels", "user_labels", "severity"),
        conditions=_names(
            "display_name",
            condition_threshold=_names(
                *("filter", "comparison", "threshold_value", "duration", "evaluation_missing_data"),
                aggregations=_AGGREGATIONS,
            ),
            condition_prometheus_query_language=_names(
                "query", "duration", "evaluation_interval", "labels", "disable_metric_validation"
            ),
            condition_matched_log=_names("filter", "label_extractors"),
        ),
        alert_strategy=_names("auto_close", notification_rate_limit=_names("period")),
        documentation=_names("content", "mime_type", "subject"),
    ),
    "google_monitoring_notification_channel": _names("project", "display_name", "type", "labels"),
    "google_project_iam_member": dict(_MEMBER),
    "google_project_service": _names("project", "service", "disable_on_destroy"),
    "google_pubsub_subscription": _names(
        *("project", "name", "topic", "labels", "ack_deadline_seconds", "message_retention_duration"),
        *("retain_acked_messages", "filter", "enable_message_ordering", "enable_exactly_once_delivery"),
        expiration_policy=_names("ttl"),
        dead_letter_policy=_names("dead_letter_topic", "max_delivery_attempts"),
        retry_policy=_names("minimum_backoff", "maximum_backoff"),
    ),
    "google_pubsub_subscription_iam_member": {**_MEMBER, **_names("subscription")},
    "google_pubsub_topic": _names("project", "name", "labels", "message_retention_duration", "kms_key_name"),
    "google_pubsub_topic_iam_member": {**_MEMBER, **_names("topic")},
    "google_service_account": _names("project", "account_id", "display_name", "description", "disabled"),
    "google_service_account_iam_member": _names("service_account_id", "role", "member"),
    "google_storage_bucket": _names(
        *("project", "name", "location", "labels", "storage_class", "force_destroy"),
        *("uniform_bucket_level_access", "public_access_prevention"),
        soft_delete_policy=_names("retention_duration_seconds"),
        versioning=_names("enabled"),
        lifecycle_rule=_names(
            action=_names("type", "storage_class"),
            condition=_names("age", "matches_prefix", "matches_suffix", "num_newer_versions", "with_state"),
        ),
    ),
    "google_storage_bucket_object": _names("bucket", "name", "content", "content_type", "deletion_policy"),
    "google_storage_bucket_iam_member": _names("bucket", "role", "member"),
    "google_workflows_workflow": _names(
        *("project", "region", "name", "description", "service_account", "labels", "call_log_level"),
        *("execution_history_level", "deletion_protection", "source_contents", "user_env_vars"),
    ),
}
"""Type → argument → None, or for a block its own arguments."""


def unknown(kind: str, given: dict[str, Any]) -> list[str]:
    """Arguments that a resource does not take, dotted; those of `dynamic` blocks as the blocks that they make."""
    if kind not in ARGUMENTS:
        return [kind]
    return list(_unknown({**_META, **ARGUMENTS[kind]}, given, ""))


def _unknown(known: dict[str, Any], given: dict[str, Any], path: str) -> list[str]:
    found = []
    for name, value in given.items():
        if name == "dynamic":
            for block in value:
                for of, body in block.items():
                    for content in body["content"]:
                        found += _unknown(known, {of: [content]}, path)
        elif name not in known:
            found.append(f"{path}{name}")
        elif known[name] is not None:
            for block in value:
                found += _unknown(known[name], block, f"{path}{name}.")
    return found
