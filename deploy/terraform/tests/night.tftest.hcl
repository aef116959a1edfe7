# Run by `terraform test` in deploy/terraform, against a mocked provider: nothing is asked of Google Cloud, but Terraform
# fetches the provider. The tests of this repository, which fetch nothing, read this file and do not run it.

mock_provider "google" {}

variables {
  project                 = "my-project"
  region                  = "europe-west4"
  container_spec_gcs_path = "gs://acme-models/templates/classify.json"
  image                   = "image@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  workers_account         = "workers@my-project.iam.gserviceaccount.com"
  night_account           = "night@my-project.iam.gserviceaccount.com"
  judge_account           = "judge@my-project.iam.gserviceaccount.com"
  scheduler_account       = "scheduler@my-project.iam.gserviceaccount.com"
  temp_bucket             = "acme-temp"
  input                   = "gs://acme-data/inbox/{date}/*.jsonl"
  output                  = "gs://acme-data/nightly/"
  only_new                = true
}

# Applied to the mock: what the workflow's environment says of the job that judges is known only then.
run "night" {
  command = apply

  module {
    source = "./modules/night"
  }

  variables {
    time_zone = "Europe/Berlin"
    gates     = ["--max_rejected=0.01"]
  }

  assert {
    condition     = google_workflows_workflow.night.user_env_vars["OUTPUT_BUCKET"] == "acme-data" && google_workflows_workflow.night.user_env_vars["OUTPUT_FOLDER"] == "nightly/"
    error_message = "The workflow would look for versions elsewhere."
  }

  assert {
    condition     = jsondecode(google_workflows_workflow.night.user_env_vars["PARAMETERS"]) == { input = "gs://acme-data/inbox/{date}/*.jsonl", output = "gs://acme-data/nightly/", only_new = "true" }
    error_message = "The template gets what was given, as texts, and nothing else."
  }

  assert {
    condition     = jsondecode(google_workflows_workflow.night.user_env_vars["ENVIRONMENT"]).stagingLocation == "gs://acme-temp/staging/night"
    error_message = "What a night stages lies where a rule deletes it."
  }

  assert {
    condition     = google_cloud_run_v2_job.judge.template[0].template[0].containers[0].args == tolist(["approve", "gs://acme-data/nightly/", "--max_rejected=0.01"])
    error_message = "The container judges with the gates that were given."
  }

  assert {
    condition     = google_cloud_run_v2_job.judge.template[0].template[0].max_retries == 0
    error_message = "A gate that does not pass does not pass at the second try."
  }

  assert {
    condition     = jsondecode(base64decode(google_cloud_scheduler_job.night.http_target[0].body)) == { argument = "{}" }
    error_message = "The night's date is the workflow's own."
  }

  assert {
    condition     = jsondecode(jsondecode(base64decode(google_cloud_scheduler_job.check.http_target[0].body)).argument) == { only_check = true }
    error_message = "The second schedule only looks."
  }

  assert {
    condition     = google_cloud_scheduler_job.night.time_zone == "Europe/Berlin" && google_workflows_workflow.night.user_env_vars["TIME_ZONE"] == "Europe/Berlin"
    error_message = "The day is counted where the schedule is."
  }
}

run "a_whole_bucket" {
  command = apply

  module {
    source = "./modules/night"
  }

  variables {
    output = "gs://acme-data"
  }

  assert {
    condition     = google_workflows_workflow.night.user_env_vars["OUTPUT_BUCKET"] == "acme-data" && google_workflows_workflow.night.user_env_vars["OUTPUT_FOLDER"] == ""
    error_message = "An output may be a whole bucket."
  }
}

run "another_store" {
  command = plan

  module {
    source = "./modules/night"
  }

  variables {
    output = "s3://acme-data/nightly"
  }

  expect_failures = [var.output]
}

run "the_date_is_no_gate" {
  command = plan

  module {
    source = "./modules/night"
  }

  variables {
    gates = ["--run_date=2026-11-20"]
  }

  expect_failures = [var.gates]
}

# 2,100 characters of two bytes each.
run "gates_that_are_too_long" {
  command = plan

  module {
    source = "./modules/night"
  }

  variables {
    gates = ["--max_label_share=${join("", [for each in range(700) : "üüü"])}:0.5"]
  }

  expect_failures = [google_workflows_workflow.night]
}
