# Run by `terraform test` in deploy/terraform, against a mocked provider: nothing is asked of Google Cloud, but Terraform
# fetches the provider. The tests of this repository, which fetch nothing, read this file and do not run it.

mock_provider "google" {}

variables {
  project  = "my-project"
  location = "europe-west4"
  prefix   = "acme"
}

run "buckets" {
  command = plan

  module {
    source = "./modules/storage"
  }

  assert {
    condition     = google_storage_bucket.temp.soft_delete_policy[0].retention_duration_seconds == 0
    error_message = "Temporary files that are deleted are kept for a week, and paid for."
  }

  assert {
    condition     = one([for rule in google_storage_bucket.temp.lifecycle_rule : one(rule.condition).matches_prefix if one(rule.action).type == "Delete"]) == tolist(["temp/", "staging/night/"])
    error_message = "A rule by age must spare staging/stream/, from which new workers of a stream fetch."
  }

  assert {
    condition     = length(google_storage_bucket.data.lifecycle_rule) == 0
    error_message = "Data that versions name would be deleted by a rule."
  }

  assert {
    condition     = google_storage_bucket.models.versioning[0].enabled
    error_message = "A checkpoint that is replaced could not be had back."
  }

  assert {
    condition = alltrue([
      for each in [google_storage_bucket.data, google_storage_bucket.temp, google_storage_bucket.models] :
      each.uniform_bucket_level_access && each.public_access_prevention == "enforced"
    ])
    error_message = "Objects of a bucket could be made public, one by one."
  }
}

run "no_soft_delete_of_data" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    data_soft_delete_days = 0
  }

  assert {
    condition     = google_storage_bucket.data.soft_delete_policy[0].retention_duration_seconds == 0
    error_message = "0 days turn soft delete off."
  }
}

run "days_that_there_are_not" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    data_soft_delete_days = 3
  }

  expect_failures = [var.data_soft_delete_days]
}
