output "workflow" {
  description = "Name of the workflow, by which metrics know it."
  value       = google_workflows_workflow.night.name
}

output "scheduler_jobs" {
  description = "Names of the two schedules."
  value       = [google_cloud_scheduler_job.night.name, google_cloud_scheduler_job.check.name]
}

output "job_prefix" {
  description = "What the names of the jobs begin with."
  value       = var.job_prefix
}
