# Who may do what. Roles are bound on the one bucket, repository, subscription, topic or account. Those on the project are what
# Google Cloud has nowhere else, or what asks for more than one thing. Who may run a container is said beside it, in
# modules/night and modules/seal.

locals {
  accounts = {
    workers   = "Workers and launchers of Dataflow jobs"
    night     = "The workflow of the night"
    judge     = "Containers that judge nights and seal windows"
    scheduler = "What starts the workflow"
  }

  # A launcher that replaces a stream lists the jobs, which dataflow.worker may not. Waiting for a container asks for the
  # operation and the execution, which are not the job's.
  on_project = {
    workers_work    = { account = "workers", role = "roles/dataflow.worker" }
    workers_look    = { account = "workers", role = "roles/dataflow.viewer" }
    night_launches  = { account = "night", role = "roles/dataflow.developer" }
    night_logs      = { account = "night", role = "roles/logging.logWriter" }
    night_looks     = { account = "night", role = "roles/run.viewer" }
    scheduler_calls = { account = "scheduler", role = "roles/workflows.invoker" }
  }

  on_buckets = {
    workers_data   = { account = "workers", bucket = var.data_bucket, role = "roles/storage.objectUser" }
    workers_temp   = { account = "workers", bucket = var.temp_bucket, role = "roles/storage.objectUser" }
    workers_models = { account = "workers", bucket = var.models_bucket, role = "roles/storage.objectViewer" }
    night_data     = { account = "night", bucket = var.data_bucket, role = "roles/storage.objectViewer" }
    night_models   = { account = "night", bucket = var.models_bucket, role = "roles/storage.objectViewer" }
    judge_data     = { account = "judge", bucket = var.data_bucket, role = "roles/storage.objectUser" }
  }

  # The viewer's role is for a question: of which topic a subscription is, and whether a topic is there.
  on_subscription = var.subscription == null ? [] : ["roles/pubsub.subscriber", "roles/pubsub.viewer"]
  on_topics = merge([
    for name, topic in var.topics : {
      "${name}_publishes" = { topic = topic, role = "roles/pubsub.publisher" }
      "${name}_looks"     = { topic = topic, role = "roles/pubsub.viewer" }
    }
  ]...)
}

resource "google_service_account" "accounts" {
  for_each = local.accounts

  project      = var.project
  account_id   = "${var.prefix}-${each.key}"
  display_name = "seqcls_beam: ${each.key}"
  description  = each.value
}

resource "google_project_iam_member" "accounts" {
  for_each = local.on_project

  project = var.project
  role    = each.value.role
  member  = google_service_account.accounts[each.value.account].member
}

resource "google_storage_bucket_iam_member" "accounts" {
  for_each = local.on_buckets

  bucket = each.value.bucket
  role   = each.value.role
  member = google_service_account.accounts[each.value.account].member
}

resource "google_artifact_registry_repository_iam_member" "workers" {
  project    = var.project
  location   = var.repository_location
  repository = var.repository
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.accounts["workers"].member
}

# The workflow gives the workers their account, and starts the container that has the judge's.
resource "google_service_account_iam_member" "night_gives" {
  for_each = toset(["workers", "judge"])

  service_account_id = google_service_account.accounts[each.value].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.accounts["night"].member
}

resource "google_pubsub_subscription_iam_member" "workers" {
  for_each = toset(local.on_subscription)

  project      = var.project
  subscription = var.subscription
  role         = each.value
  member       = google_service_account.accounts["workers"].member
}

resource "google_pubsub_topic_iam_member" "workers" {
  for_each = local.on_topics

  project = var.project
  topic   = each.value.topic
  role    = each.value.role
  member  = google_service_account.accounts["workers"].member
}
