output "data" {
  description = "Name of the bucket for inputs and outputs."
  value       = google_storage_bucket.data.name
}

output "temp" {
  description = "Name of the bucket for what Dataflow stages."
  value       = google_storage_bucket.temp.name
}

output "models" {
  description = "Name of the bucket for checkpoints and templates."
  value       = google_storage_bucket.models.name
}
