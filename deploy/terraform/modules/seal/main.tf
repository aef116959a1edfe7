# Windows of a stream on Dataflow are published by nobody but this. It may run beside itself, and where one run fails the
# next one does what is left.
resource "google_cloud_run_v2_job" "seal" {
  project             = var.project
  location            = var.region
  name                = var.name
  labels              = var.labels
  deletion_protection = var.deletion_protection

  template {
    template {
      service_account = var.account
      max_retries     = 0
      timeout         = "3600s"

      containers {
        image   = var.image
        command = ["bash", "-c"]
        args    = ["exec seqcls-beam seal \"$OUTPUT\" --until=`date --utc --date=\"$DELAY seconds ago\" +%Y-%m-%dT%H:%M:%SZ`"]

        env {
          name  = "OUTPUT"
          value = var.output
        }

        env {
          name  = "DELAY"
          value = tostring(var.delay_seconds)
        }

        resources {
          limits = {
            cpu    = "1"
            memory = var.memory
          }
        }
      }
    }
  }
}

resource "google_cloud_run_v2_job_iam_member" "scheduler" {
  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_job.seal.name
  role     = "roles/run.invoker"
  member   = "serviceAccount:${var.scheduler_account}"
}

resource "google_cloud_scheduler_job" "seal" {
  project          = var.project
  region           = var.region
  name             = var.name
  description      = "Seals the windows of a stream that are over."
  schedule         = var.schedule
  time_zone        = "Etc/UTC"
  paused           = var.paused
  attempt_deadline = "60s"

  retry_config {
    retry_count          = 1
    min_backoff_duration = "30s"
  }

  http_target {
    http_method = "POST"
    uri         = "https://run.googleapis.com/v2/${google_cloud_run_v2_job.seal.id}:run"

    oauth_token {
      service_account_email = var.scheduler_account
    }
  }
}
