output "job" {
  description = "Name of the job that seals, by which metrics know it."
  value       = google_cloud_run_v2_job.seal.name
}

output "scheduler_job" {
  description = "Name of its schedule."
  value       = google_cloud_scheduler_job.seal.name
}
