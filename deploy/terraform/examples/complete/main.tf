# All of it: a night over files of a bucket, and a stream of messages, with one model for both.

locals {
  labels = { app = "seqcls-beam" }
  model  = "gs://${module.storage.models}/reviews"
  built  = var.image == null ? 0 : 1
}

resource "google_project_service" "needed" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudscheduler.googleapis.com",
    "compute.googleapis.com",
    "dataflow.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "storage.googleapis.com",
    "workflowexecutions.googleapis.com",
    "workflows.googleapis.com",
  ])

  project            = var.project
  service            = each.value
  disable_on_destroy = false
}

module "storage" {
  source = "../../modules/storage"

  project  = var.project
  location = var.region
  prefix   = var.prefix
  labels   = local.labels

  depends_on = [google_project_service.needed]
}

module "registry" {
  source = "../../modules/registry"

  project  = var.project
  location = var.region
  labels   = local.labels

  depends_on = [google_project_service.needed]
}

module "pubsub" {
  source = "../../modules/pubsub"

  project = var.project
  name    = "reviews"
  labels  = local.labels

  depends_on = [google_project_service.needed]
}

module "accounts" {
  source = "../../modules/accounts"

  project             = var.project
  data_bucket         = module.storage.data
  temp_bucket         = module.storage.temp
  models_bucket       = module.storage.models
  repository          = module.registry.name
  repository_location = module.registry.location
  subscription        = module.pubsub.subscription
  topics              = { rejected = module.pubsub.rejected_topic }
}

# One image for launchers and workers.
module "templates" {
  source = "../../modules/templates"
  count  = local.built

  bucket = module.storage.models
  images = { classify = var.image, stream = var.image }
}

module "night" {
  source = "../../modules/night"
  count  = local.built

  project                 = var.project
  region                  = var.region
  container_spec_gcs_path = module.templates[0].paths["classify"]
  image                   = var.image
  workers_account         = module.accounts.workers
  night_account           = module.accounts.night
  judge_account           = module.accounts.judge
  scheduler_account       = module.accounts.scheduler
  temp_bucket             = module.storage.temp
  subnetwork              = var.subnetwork
  time_zone               = var.time_zone
  gates                   = ["--max_rejected=0.01", "--max_label_shift=0.1"]
  labels                  = local.labels

  input       = "gs://${module.storage.data}/inbox/{date}/*.jsonl"
  output      = "gs://${module.storage.data}/nightly"
  model       = local.model
  text_column = "review"
  only_new    = true

  depends_on = [module.accounts]
}

module "stream" {
  source = "../../modules/stream"
  count  = local.built

  project                 = var.project
  region                  = var.region
  container_spec_gcs_path = module.templates[0].paths["stream"]
  image                   = var.image
  workers_account         = module.accounts.workers
  temp_bucket             = module.storage.temp
  subnetwork              = var.subnetwork
  labels                  = local.labels

  subscription      = module.pubsub.subscription_id
  dead_letter_topic = module.pubsub.rejected_topic_id
  output            = "gs://${module.storage.data}/stream"
  model             = local.model
  text_column       = "review"

  depends_on = [module.accounts]
}

module "seal" {
  source = "../../modules/seal"
  count  = local.built

  project           = var.project
  region            = var.region
  image             = var.image
  output            = "gs://${module.storage.data}/stream"
  account           = module.accounts.judge
  scheduler_account = module.accounts.scheduler
  labels            = local.labels

  # Before there is a stream there is no folder to seal.
  depends_on = [module.accounts, module.stream]
}

resource "google_monitoring_notification_channel" "email" {
  project      = var.project
  display_name = "seqcls_beam"
  type         = "email"
  labels       = { email_address = var.alert_email }

  depends_on = [google_project_service.needed]
}

module "monitoring" {
  source = "../../modules/monitoring"
  count  = local.built

  project        = var.project
  channels       = [google_monitoring_notification_channel.email.name]
  workflow       = module.night[0].workflow
  scheduler_jobs = concat(module.night[0].scheduler_jobs, [module.seal[0].scheduler_job])
  job_prefix     = module.night[0].job_prefix
  stream         = module.stream[0].name
  subscription   = module.pubsub.subscription
  rejected_topic = module.pubsub.rejected_topic
  seal           = module.seal[0].job
  labels         = local.labels
}
