# Run by `terraform test` in deploy/terraform, against a mocked provider: nothing is asked of Google Cloud, but Terraform
# fetches the provider. The tests of this repository, which fetch nothing, read this file and do not run it.

mock_provider "google" {}

variables {
  project           = "my-project"
  region            = "europe-west4"
  image             = "image@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  output            = "gs://acme-data/stream"
  account           = "judge@my-project.iam.gserviceaccount.com"
  scheduler_account = "scheduler@my-project.iam.gserviceaccount.com"
}

run "seal" {
  command = plan

  module {
    source = "./modules/seal"
  }

  assert {
    condition     = { for each in google_cloud_run_v2_job.seal.template[0].template[0].containers[0].env : each.name => each.value } == { OUTPUT = "gs://acme-data/stream", DELAY = "600" }
    error_message = "What is sealed, and when, is what was given."
  }

  assert {
    condition     = google_cloud_run_v2_job_iam_member.scheduler.role == "roles/run.invoker"
    error_message = "The schedule may start this job, and nothing else of Cloud Run."
  }
}

run "half_a_second" {
  command = plan

  module {
    source = "./modules/seal"
  }

  variables {
    delay_seconds = 0.5
  }

  expect_failures = [var.delay_seconds]
}
