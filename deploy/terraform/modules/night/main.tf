locals {
  # [bucket, folder]; the folder may be empty.
  place  = regex("^gs://([^/]+)/*(.*?)/*$", var.output)
  folder = local.place[1] == "" ? "" : "${local.place[1]}/"

  # Of a job, in the launch request; what is null is left out.
  environment = { for name, value in {
    additionalExperiments     = length(var.experiments) == 0 ? null : var.experiments
    additionalPipelineOptions = length(var.pipeline_options) == 0 ? null : var.pipeline_options
    additionalUserLabels      = length(var.labels) == 0 ? null : var.labels
    ipConfiguration           = var.public_ips ? "WORKER_IP_PUBLIC" : "WORKER_IP_PRIVATE"
    kmsKeyName                = var.kms_key_name
    launcherMachineType       = var.launcher_machine_type
    machineType               = var.machine_type
    maxWorkers                = var.max_workers
    network                   = var.network
    numWorkers                = var.num_workers
    sdkContainerImage         = var.image
    serviceAccountEmail       = var.workers_account
    stagingLocation           = "gs://${var.temp_bucket}/staging/night"
    subnetwork                = var.subnetwork
    tempLocation              = "gs://${var.temp_bucket}/temp/night"
  } : name => value if value != null }

  judge = concat(["approve", var.output], var.gates)

  # Of the workflow, but for the name of the container's job, which is known only when there is one.
  variables = {
    REGION        = var.region
    TEMPLATE      = var.container_spec_gcs_path
    JOB_PREFIX    = var.job_prefix
    PARAMETERS    = jsonencode(local.template_parameters)
    ENVIRONMENT   = jsonencode(local.environment)
    OUTPUT_BUCKET = local.place[0]
    OUTPUT_FOLDER = local.folder
    TIME_ZONE     = var.time_zone
    LIMIT_SECONDS = tostring(floor(var.limit_hours * 3600))
    APPROVE       = jsonencode(local.judge)
  }
  # Bytes, by Base64, which has four signs for three of them: length() counts characters.
  bytes    = { for name, value in local.variables : name => length(base64encode(value)) / 4 * 3 - length(regexall("=", base64encode(value))) }
  too_long = [for name, size in local.bytes : name if size > 4096]

  # Cloud Scheduler asks for an execution; a retry may start a second one, which finds the job of the first.
  executions = "https://workflowexecutions.googleapis.com/v1/${google_workflows_workflow.night.id}/executions"
}

resource "google_workflows_workflow" "night" {
  project             = var.project
  region              = var.region
  name                = var.name
  description         = "Labels what came since the night before, waits, verifies and has it judged."
  service_account     = var.night_account
  labels              = var.labels
  call_log_level      = "LOG_ERRORS_ONLY"
  deletion_protection = var.deletion_protection
  source_contents     = file("${path.module}/night.yaml")

  user_env_vars = merge(local.variables, { APPROVE_JOB = google_cloud_run_v2_job.judge.id })

  lifecycle {
    precondition {
      condition     = length(local.too_long) == 0
      error_message = "Longer than the 4,096 bytes that Workflows takes as one variable: ${join(", ", local.too_long)}. PARAMETERS are the options of the run, ENVIRONMENT is of the workers, APPROVE has the gates."
    }
  }
}

# One try: a gate that does not pass does not pass the second time.
resource "google_cloud_run_v2_job" "judge" {
  project             = var.project
  location            = var.region
  name                = "${var.name}-judge"
  labels              = var.labels
  deletion_protection = var.deletion_protection

  template {
    template {
      service_account = var.judge_account
      max_retries     = 0
      timeout         = "3600s"

      containers {
        image   = coalesce(var.judge_image, var.image)
        command = ["seqcls-beam"]
        args    = local.judge

        resources {
          limits = {
            cpu    = "2"
            memory = var.judge_memory
          }
        }
      }
    }
  }
}

# Run with the date in its arguments. Which code it ended with is read by a role on the project, of modules/accounts.
resource "google_cloud_run_v2_job_iam_member" "night" {
  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_job.judge.name
  role     = "roles/run.jobsExecutorWithOverrides"
  member   = "serviceAccount:${var.night_account}"
}

resource "google_cloud_scheduler_job" "night" {
  project          = var.project
  region           = var.region
  name             = var.name
  description      = "Starts the night."
  schedule         = var.schedule
  time_zone        = var.time_zone
  paused           = var.paused
  attempt_deadline = "60s"

  retry_config {
    retry_count          = 5
    min_backoff_duration = "30s"
    max_backoff_duration = "600s"
  }

  http_target {
    http_method = "POST"
    uri         = local.executions
    headers     = { "Content-Type" = "application/json" }
    body        = base64encode(jsonencode({ argument = jsonencode({}) }))

    oauth_token {
      service_account_email = var.scheduler_account
    }
  }
}

resource "google_cloud_scheduler_job" "check" {
  project          = var.project
  region           = var.region
  name             = "${var.name}-check"
  description      = "Looks whether the night is published; an execution that fails says that it is not."
  schedule         = var.check_schedule
  time_zone        = var.time_zone
  paused           = var.paused
  attempt_deadline = "60s"

  retry_config {
    retry_count          = 5
    min_backoff_duration = "30s"
    max_backoff_duration = "600s"
  }

  http_target {
    http_method = "POST"
    uri         = local.executions
    headers     = { "Content-Type" = "application/json" }
    body        = base64encode(jsonencode({ argument = jsonencode({ only_check = true }) }))

    oauth_token {
      service_account_email = var.scheduler_account
    }
  }
}
