# Run by `terraform test` in deploy/terraform, against a mocked provider: nothing is asked of Google Cloud, but Terraform
# fetches the provider. The tests of this repository, which fetch nothing, read this file and do not run it.

mock_provider "google-beta" {}

variables {
  project                 = "my-project"
  region                  = "europe-west4"
  container_spec_gcs_path = "gs://acme-models/templates/stream.json"
  image                   = "image@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  workers_account         = "workers@my-project.iam.gserviceaccount.com"
  temp_bucket             = "acme-temp"
  subscription            = "projects/my-project/subscriptions/texts-stream"
  output                  = "gs://acme-data/stream"
}

run "stream" {
  command = plan

  module {
    source = "./modules/stream"
  }

  variables {
    text_column = "review"
    batch_rows  = 4096
  }

  assert {
    condition     = google_dataflow_flex_template_job.stream.on_delete == "drain"
    error_message = "Cancelling loses what was acknowledged and is not written."
  }

  assert {
    condition = google_dataflow_flex_template_job.stream.parameters == tomap({
      subscription = "projects/my-project/subscriptions/texts-stream"
      output       = "gs://acme-data/stream"
      text_column  = "review"
      batch_rows   = "4096"
    })
    error_message = "The template gets what was given, as texts, and nothing else."
  }

  assert {
    condition     = google_dataflow_flex_template_job.stream.staging_location == "gs://acme-temp/staging/stream/seqcls-beam-stream"
    error_message = "What a stream stages must lie where no rule deletes it."
  }

  assert {
    condition     = google_dataflow_flex_template_job.stream.ip_configuration == "WORKER_IP_PRIVATE"
    error_message = "Workers have no public address unless it is asked for."
  }
}

run "a_tag_is_no_image" {
  command = plan

  module {
    source = "./modules/stream"
  }

  variables {
    image = "image:latest"
  }

  expect_failures = [var.image]
}

run "two_models" {
  command = plan

  module {
    source = "./modules/stream"
  }

  variables {
    model       = "gs://acme-models/reviews"
    watch_model = "gs://acme-models/reviews"
  }

  expect_failures = [google_dataflow_flex_template_job.stream]
}
