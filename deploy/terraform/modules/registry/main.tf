resource "google_artifact_registry_repository" "images" {
  project       = var.project
  location      = var.location
  repository_id = var.name
  description   = "Images of seqcls_beam: the launcher of a job and its workers are the same one."
  format        = "DOCKER"
  labels        = var.labels

  # A tag that moves would give a job workers that are not its launcher's.
  docker_config {
    immutable_tags = true
  }

  dynamic "cleanup_policies" {
    for_each = var.untagged_days == null ? [] : [var.untagged_days]

    content {
      id     = "untagged"
      action = "DELETE"

      condition {
        tag_state  = "UNTAGGED"
        older_than = "${cleanup_policies.value * 86400}s"
      }
    }
  }
}
