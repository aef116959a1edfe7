# Run by `terraform test` in deploy/terraform, against a mocked provider: nothing is asked of Google Cloud, but Terraform
# fetches the provider. The tests of this repository, which fetch nothing, read this file and do not run it.

mock_provider "google" {}

variables {
  bucket = "acme-models"
  images = {
    classify = "image@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    stream   = "image@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  }
}

run "templates" {
  command = plan

  module {
    source = "./modules/templates"
  }

  assert {
    condition     = output.paths["stream"] == "gs://acme-models/templates/stream-0000000000000000000000000000000000000000000000000000000000000000.json"
    error_message = "Another image is another template."
  }

  assert {
    condition     = alltrue([for each in google_storage_bucket_object.templates : jsondecode(each.content).image == jsondecode(each.content).defaultEnvironment.sdkContainerImage])
    error_message = "Launcher and workers are one image."
  }

  assert {
    condition     = jsondecode(google_storage_bucket_object.templates["classify"].content).metadata.streaming == false
    error_message = "A template says what it is of."
  }
}

run "another_template" {
  command = plan

  module {
    source = "./modules/templates"
  }

  variables {
    images = { seal = "image@sha256:0000000000000000000000000000000000000000000000000000000000000000" }
  }

  expect_failures = [var.images]
}

run "a_tag_is_no_image" {
  command = plan

  module {
    source = "./modules/templates"
  }

  variables {
    images = { classify = "image:latest" }
  }

  expect_failures = [var.images]
}
