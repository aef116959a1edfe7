output "policies" {
  description = "Names of the alert policies."
  value = concat(
    [for each in google_monitoring_alert_policy.thresholds : each.name],
    [for each in google_monitoring_alert_policy.shares : each.name],
    google_monitoring_alert_policy.schedules[*].name,
  )
}
