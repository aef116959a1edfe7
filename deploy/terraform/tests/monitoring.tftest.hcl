# Run by `terraform test` in deploy/terraform, against a mocked provider: nothing is asked of Google Cloud, but Terraform
# fetches the provider. The tests of this repository, which fetch nothing, read this file and do not run it.

mock_provider "google" {}

variables {
  project  = "my-project"
  channels = ["projects/my-project/notificationChannels/1"]
}

run "all" {
  command = plan

  module {
    source = "./modules/monitoring"
  }

  variables {
    workflow       = "seqcls-beam-night"
    scheduler_jobs = ["seqcls-beam-night", "seqcls-beam-night-check"]
    job_prefix     = "score"
    stream         = "seqcls-beam-stream"
    subscription   = "texts-stream"
    rejected_topic = "texts-rejected"
    seal           = "seqcls-beam-seal"
  }

  assert {
    condition     = toset(keys(google_monitoring_alert_policy.thresholds)) == toset(["night_failed", "stream_failed", "stream_behind", "messages_wait", "backlog", "rejected_messages", "not_sealed"])
    error_message = "Some alert is missing."
  }

  assert {
    condition     = toset(keys(google_monitoring_alert_policy.shares)) == toset(["stream_rejects", "night_rejects"])
    error_message = "Rejects are watched in streams and in nights."
  }

  assert {
    condition     = strcontains(google_monitoring_alert_policy.thresholds["rejected_messages"].conditions[0].condition_threshold[0].filter, "topic_id = \"texts-rejected\"") && google_monitoring_alert_policy.thresholds["rejected_messages"].alert_strategy[0].auto_close == "1800s"
    error_message = "Each time that messages are rejected somebody is told."
  }

  assert {
    condition     = alltrue([for each in google_monitoring_alert_policy.thresholds : each.notification_channels == tolist(["projects/my-project/notificationChannels/1"])])
    error_message = "An alert that nobody gets."
  }
}

run "a_night_alone" {
  command = plan

  module {
    source = "./modules/monitoring"
  }

  variables {
    workflow       = "seqcls-beam-night"
    scheduler_jobs = ["seqcls-beam-night"]
    job_prefix     = "score"
  }

  assert {
    condition     = keys(google_monitoring_alert_policy.thresholds) == ["night_failed"] && keys(google_monitoring_alert_policy.shares) == ["night_rejects"]
    error_message = "Without a stream nothing of a stream is watched."
  }
}
