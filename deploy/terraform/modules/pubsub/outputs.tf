output "topic" {
  description = "Name of the topic that texts are published to."
  value       = google_pubsub_topic.texts.name
}

output "subscription" {
  description = "Name of the subscription that the stream reads."
  value       = google_pubsub_subscription.texts.name
}

output "subscription_id" {
  description = "The same as projects/PROJECT/subscriptions/NAME, as the stream takes it."
  value       = google_pubsub_subscription.texts.id
}

output "rejected_topic" {
  description = "Name of the topic for rejected messages."
  value       = google_pubsub_topic.rejected.name
}

output "rejected_topic_id" {
  description = "The same as projects/PROJECT/topics/NAME, as the stream's dead_letter_topic takes it."
  value       = google_pubsub_topic.rejected.id
}

output "rejected_subscription" {
  description = "Name of the subscription that keeps rejected messages."
  value       = google_pubsub_subscription.rejected.name
}

output "labelled_topic" {
  description = "Name of the topic for labelled rows; null where there is none."
  value       = one(google_pubsub_topic.labelled[*].name)
}

output "labelled_topic_id" {
  description = "The same as projects/PROJECT/topics/NAME, as the stream's output_topic takes it."
  value       = one(google_pubsub_topic.labelled[*].id)
}
