output "name" {
  description = "Name of the job, by which metrics know it."
  value       = google_dataflow_flex_template_job.stream.name
}

output "job_id" {
  description = "Id of the job at work; an update makes another one."
  value       = google_dataflow_flex_template_job.stream.job_id
}
