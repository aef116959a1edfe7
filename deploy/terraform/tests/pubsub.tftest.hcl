# Run by `terraform test` in deploy/terraform, against a mocked provider: nothing is asked of Google Cloud, but Terraform
# fetches the provider. The tests of this repository, which fetch nothing, read this file and do not run it.

mock_provider "google" {}

variables {
  project = "my-project"
}

run "topics" {
  command = plan

  module {
    source = "./modules/pubsub"
  }

  assert {
    condition     = length(google_pubsub_subscription.texts.dead_letter_policy) == 0 && google_pubsub_subscription.texts.enable_exactly_once_delivery == null
    error_message = "Dataflow reads it: neither a dead-letter policy nor exactly-once delivery."
  }

  assert {
    condition     = google_pubsub_subscription.texts.expiration_policy[0].ttl == "" && google_pubsub_subscription.rejected.expiration_policy[0].ttl == ""
    error_message = "A subscription that nobody reads for a month would go, with its messages."
  }

  assert {
    condition     = google_pubsub_subscription.rejected.message_retention_duration == "2678400s"
    error_message = "Rejected messages are kept as long as there is."
  }

  assert {
    condition     = length(google_pubsub_topic.labelled) == 0
    error_message = "A topic for labelled rows is made where it is asked for."
  }
}

run "with_labelled_rows" {
  command = plan

  module {
    source = "./modules/pubsub"
  }

  variables {
    labelled = true
  }

  assert {
    condition     = output.labelled_topic == "texts-labelled"
    error_message = "The stream's output_topic is to be known."
  }
}
