# Inputs and outputs. No rule deletes by age: what counts is what the newest versions name, whatever its age.
resource "google_storage_bucket" "data" {
  project                     = var.project
  name                        = "${var.prefix}-data"
  location                    = var.location
  labels                      = var.labels
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  soft_delete_policy {
    retention_duration_seconds = var.data_soft_delete_days * 86400
  }
}

# What Dataflow stages, and its temporary files.
resource "google_storage_bucket" "temp" {
  project                     = var.project
  name                        = "${var.prefix}-temp"
  location                    = var.location
  labels                      = var.labels
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  # Files that live for minutes would be paid for a week.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  # Not staging/stream/: a worker that a stream starts months later fetches from there what was staged at its launch.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = var.temp_days
      matches_prefix = ["temp/", "staging/night/"]
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = var.temp_days
    }
  }
}

# Checkpoints, and the templates that name images: what was replaced can be had back.
resource "google_storage_bucket" "models" {
  project                     = var.project
  name                        = "${var.prefix}-models"
  location                    = var.location
  labels                      = var.labels
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  # Versions keep what is deleted; soft delete would keep it a second time.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      num_newer_versions = var.model_versions
      with_state         = "ARCHIVED"
    }
  }
}
