# Run by `terraform test` in deploy/terraform, against a mocked provider: nothing is asked of Google Cloud, but Terraform
# fetches the provider. The tests of this repository, which fetch nothing, read this file and do not run it.

mock_provider "google" {}

variables {
  project             = "my-project"
  data_bucket         = "acme-data"
  temp_bucket         = "acme-temp"
  models_bucket       = "acme-models"
  repository          = "seqcls-beam"
  repository_location = "europe-west4"
}

run "without_a_stream" {
  command = plan

  module {
    source = "./modules/accounts"
  }

  assert {
    condition     = length(google_pubsub_subscription_iam_member.workers) == 0 && length(google_pubsub_topic_iam_member.workers) == 0
    error_message = "Without a stream workers have nothing to do with Pub/Sub."
  }

  assert {
    condition     = !contains([for each in google_project_iam_member.accounts : each.role], "roles/editor") && !contains([for each in google_project_iam_member.accounts : each.role], "roles/owner")
    error_message = "No account may do everything."
  }

  assert {
    condition     = keys(google_service_account_iam_member.night_gives) == ["judge", "workers"] && alltrue([for each in google_service_account_iam_member.night_gives : each.role == "roles/iam.serviceAccountUser"])
    error_message = "The workflow could not give workers and the judge their accounts."
  }
}

run "with_a_stream" {
  command = plan

  module {
    source = "./modules/accounts"
  }

  variables {
    subscription = "texts-stream"
    topics       = { rejected = "texts-rejected" }
  }

  assert {
    condition     = toset([for each in google_pubsub_subscription_iam_member.workers : each.role]) == toset(["roles/pubsub.subscriber", "roles/pubsub.viewer"])
    error_message = "Workers read the subscription, and ask which topic it is of."
  }

  assert {
    condition     = alltrue([for each in google_pubsub_topic_iam_member.workers : each.topic == "texts-rejected"]) && length(google_pubsub_topic_iam_member.workers) == 2
    error_message = "Workers publish to the topics that were named, and to no other."
  }
}
