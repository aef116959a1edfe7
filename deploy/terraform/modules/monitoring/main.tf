locals {
  night = var.workflow == null ? {} : {
    night_failed = {
      name    = "A night failed, or is late"
      filter  = "resource.type = \"workflows.googleapis.com/Workflow\" AND resource.labels.workflow_id = \"${var.workflow}\" AND metric.type = \"workflows.googleapis.com/finished_execution_count\" AND metric.labels.status = \"FAILED\""
      aligner = "ALIGN_DELTA"
      above   = 0
      lasting = "0s"
      help    = "An execution of the workflow ${var.workflow} failed. Its error has a reason: not_published, unchanged, gate, judging, late, conflict or usage; README.md of deploy/terraform says what to do for each."
    }
  }

  stream = var.stream == null ? {} : {
    stream_failed = {
      name    = "The stream failed"
      filter  = "resource.type = \"dataflow_job\" AND resource.labels.job_name = \"${var.stream}\" AND metric.type = \"dataflow.googleapis.com/job/is_failed\""
      aligner = "ALIGN_MAX"
      above   = 0
      lasting = "0s"
      help    = "The job ${var.stream} ended as failed. Messages wait in Pub/Sub. terraform apply starts it again."
    }
    stream_behind = {
      name    = "The stream is behind"
      filter  = "resource.type = \"dataflow_job\" AND resource.labels.job_name = \"${var.stream}\" AND metric.type = \"dataflow.googleapis.com/job/data_watermark_age\""
      aligner = "ALIGN_MAX"
      above   = var.max_age_seconds
      lasting = "300s"
      help    = "The oldest message that ${var.stream} has not labelled was published more than ${var.max_age_seconds} s ago."
    }
  }

  waiting = var.subscription == null ? {} : {
    messages_wait = {
      name    = "Messages wait long"
      filter  = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${var.subscription}\" AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
      aligner = "ALIGN_MAX"
      above   = var.max_age_seconds
      lasting = "300s"
      help    = "The oldest message of ${var.subscription} waits for more than ${var.max_age_seconds} s: no job reads it, or the job is too slow."
    }
    backlog = {
      name    = "Many messages wait"
      filter  = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${var.subscription}\" AND metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\""
      aligner = "ALIGN_MAX"
      above   = var.max_backlog
      lasting = "300s"
      help    = "More than ${var.max_backlog} messages of ${var.subscription} wait."
    }
  }

  rejected = var.rejected_topic == null ? {} : {
    rejected_messages = {
      name    = "Messages were rejected"
      filter  = "resource.type = \"pubsub_topic\" AND resource.labels.topic_id = \"${var.rejected_topic}\" AND metric.type = \"pubsub.googleapis.com/topic/send_request_count\""
      aligner = "ALIGN_DELTA"
      above   = 0
      lasting = "0s"
      help    = "Messages came to ${var.rejected_topic}, with the reason in their attributes. Its subscription keeps them for 31 days."
    }
  }

  sealing = var.seal == null ? {} : {
    not_sealed = {
      name    = "Windows were not sealed"
      filter  = "resource.type = \"cloud_run_job\" AND resource.labels.job_name = \"${var.seal}\" AND metric.type = \"run.googleapis.com/job/completed_execution_count\" AND metric.labels.result = \"failed\""
      aligner = "ALIGN_DELTA"
      above   = 0
      lasting = "0s"
      help    = "An execution of ${var.seal} failed: its log names the window and what is wrong with it. What was not sealed waits for the next execution."
    }
  }

  thresholds = merge(local.night, local.stream, local.waiting, local.rejected, local.sealing)

  # Counters of Beam are totals since the job began. A stream's share is that of the last hour, a night's that of its job.
  counted = "\"__name__\"=\"dataflow.googleapis.com/job/user_counter\", \"monitored_resource\"=\"dataflow_job\""
  of_stream = var.stream == null ? {} : {
    stream_rejects = {
      name  = "The stream rejects much"
      query = "sum(delta({${local.counted}, \"job_name\"=\"${var.stream}\", \"metric_name\"=\"rows-rejected\"}[1h])) / sum(delta({${local.counted}, \"job_name\"=\"${var.stream}\", \"metric_name\"=\"rows\"}[1h])) > ${var.max_rejected}"
      help  = "More than ${var.max_rejected} of the rows of the last hour were rejected by ${var.stream}."
    }
  }
  of_night = var.job_prefix == null ? {} : {
    night_rejects = {
      name  = "A night rejects much"
      query = "sum by (job_name) ({${local.counted}, \"job_name\"=~\"${var.job_prefix}-[0-9]{8}\", \"metric_name\"=\"rows-rejected\"}) / (sum by (job_name) ({${local.counted}, \"job_name\"=~\"${var.job_prefix}-[0-9]{8}\", \"metric_name\"=\"rows-labeled\"}) + sum by (job_name) ({${local.counted}, \"job_name\"=~\"${var.job_prefix}-[0-9]{8}\", \"metric_name\"=\"rows-rejected\"})) > ${var.max_rejected}"
      help  = "More than ${var.max_rejected} of the rows that a night's job has labelled so far were rejected. Above its max_rejected the run publishes nothing."
    }
  }
  shares = merge(local.of_stream, local.of_night)
}

resource "google_monitoring_alert_policy" "thresholds" {
  for_each = local.thresholds

  project               = var.project
  display_name          = "seqcls_beam: ${each.value.name}"
  combiner              = "OR"
  notification_channels = var.channels
  user_labels           = var.labels

  conditions {
    display_name = each.value.name

    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.above
      duration        = each.value.lasting

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = each.value.aligner
      }
    }
  }

  # What is counted has no value where nothing happens. An incident that stayed open for want of one would hide the next.
  alert_strategy {
    auto_close = each.value.aligner == "ALIGN_DELTA" ? "1800s" : "604800s"
  }

  documentation {
    content   = each.value.help
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "shares" {
  for_each = local.shares

  project               = var.project
  display_name          = "seqcls_beam: ${each.value.name}"
  combiner              = "OR"
  notification_channels = var.channels
  user_labels           = var.labels

  conditions {
    display_name = each.value.name

    condition_prometheus_query_language {
      query               = each.value.query
      duration            = "300s"
      evaluation_interval = "60s"
      # The counter is known to Monitoring only when the first job has counted.
      disable_metric_validation = true
    }
  }

  documentation {
    content   = each.value.help
    mime_type = "text/markdown"
  }
}

# A schedule that can start nothing has no execution that could fail.
resource "google_monitoring_alert_policy" "schedules" {
  count = length(var.scheduler_jobs) == 0 ? 0 : 1

  project               = var.project
  display_name          = "seqcls_beam: A schedule could not start its work"
  combiner              = "OR"
  notification_channels = var.channels
  user_labels           = var.labels

  conditions {
    display_name = "A schedule could not start its work"

    condition_matched_log {
      filter = "resource.type = \"cloud_scheduler_job\" AND severity >= ERROR AND resource.labels.job_id = (${join(" OR ", [for each in var.scheduler_jobs : "\"${each}\""])})"
    }
  }

  alert_strategy {
    auto_close = "86400s"

    # Alerts on logs need one.
    notification_rate_limit {
      period = "3600s"
    }
  }

  documentation {
    content   = "Cloud Scheduler could not start an execution of the night, or of sealing. Most often its account may not."
    mime_type = "text/markdown"
  }
}
