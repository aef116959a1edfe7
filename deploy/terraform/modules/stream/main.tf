# The one job that Terraform starts: a stream runs until it is told to end. A night's job ends by itself, and Terraform
# would start it again at every apply.
resource "google_dataflow_flex_template_job" "stream" {
  provider = google-beta

  project                     = var.project
  region                      = var.region
  name                        = var.name
  container_spec_gcs_path     = var.container_spec_gcs_path
  parameters                  = local.template_parameters
  labels                      = var.labels
  sdk_container_image         = var.image
  service_account_email       = var.workers_account
  temp_location               = "gs://${var.temp_bucket}/temp/${var.name}"
  staging_location            = "gs://${var.temp_bucket}/staging/stream/${var.name}"
  machine_type                = var.machine_type
  launcher_machine_type       = var.launcher_machine_type
  num_workers                 = var.num_workers
  max_workers                 = var.max_workers
  network                     = var.network
  subnetwork                  = var.subnetwork
  ip_configuration            = var.public_ips ? "WORKER_IP_PUBLIC" : "WORKER_IP_PRIVATE"
  kms_key_name                = var.kms_key_name
  additional_experiments      = var.experiments
  additional_pipeline_options = var.pipeline_options
  enable_streaming_engine     = true
  transform_name_mapping      = var.transform_name_mapping

  # What was acknowledged and is not written yet lives in the job alone: draining writes it, cancelling loses it.
  on_delete = "drain"
  # The next job may have the name only when this one has drained.
  skip_wait_on_job_termination = false
  # An apply that was cut off after the launch finds its job again.
  create_ignore_already_exists = true

  lifecycle {
    precondition {
      condition     = var.watch_model == null || (var.model == null && var.revision == null)
      error_message = "watch_model stands in place of model and revision: give one or the other."
    }
  }
}
