output "name" {
  description = "Name of the repository."
  value       = google_artifact_registry_repository.images.repository_id
}

output "location" {
  description = "Region of the repository."
  value       = google_artifact_registry_repository.images.location
}

output "uri" {
  description = "What the names of its images begin with: HOST/PROJECT/REPOSITORY."
  value       = google_artifact_registry_repository.images.registry_uri
}
