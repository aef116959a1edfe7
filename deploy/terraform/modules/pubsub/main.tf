resource "google_pubsub_topic" "texts" {
  project = var.project
  name    = var.name
  labels  = var.labels
}

# Read by the stream. Neither a dead-letter policy nor exactly-once delivery: Dataflow acknowledges by its own rules, which
# both would upset. Rejected messages go to the topic below, by the stream itself.
resource "google_pubsub_subscription" "texts" {
  project                    = var.project
  name                       = "${var.name}-stream"
  topic                      = google_pubsub_topic.texts.id
  labels                     = var.labels
  ack_deadline_seconds       = 600
  message_retention_duration = "${var.backlog_days * 86400}s"

  # It stays when nobody reads it for a month.
  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_topic" "rejected" {
  project = var.project
  name    = "${var.name}-rejected"
  labels  = var.labels
}

# Keeps what was rejected until somebody looks; without a subscription it would be gone as it is published.
resource "google_pubsub_subscription" "rejected" {
  project                    = var.project
  name                       = "${var.name}-rejected-kept"
  topic                      = google_pubsub_topic.rejected.id
  labels                     = var.labels
  ack_deadline_seconds       = 600
  message_retention_duration = "2678400s" # 31 days, the longest there is

  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_topic" "labelled" {
  count = var.labelled ? 1 : 0

  project = var.project
  name    = "${var.name}-labelled"
  labels  = var.labels
}
