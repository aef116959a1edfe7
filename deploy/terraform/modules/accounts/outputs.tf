output "workers" {
  description = "E-mail of the account of workers and launchers."
  value       = google_service_account.accounts["workers"].email
}

output "night" {
  description = "E-mail of the account of the workflow."
  value       = google_service_account.accounts["night"].email
}

output "judge" {
  description = "E-mail of the account of the containers that judge and seal."
  value       = google_service_account.accounts["judge"].email
}

output "scheduler" {
  description = "E-mail of the account that starts the workflow."
  value       = google_service_account.accounts["scheduler"].email
}
