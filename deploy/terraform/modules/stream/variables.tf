variable "project" {
  description = "Id of the project."
  type        = string
}

variable "region" {
  description = "Region of the job; its buckets and images should lie there, too."
  type        = string
}

variable "container_spec_gcs_path" {
  description = "Template that is launched, gs://BUCKET/FOLDER/TEMPLATE.json."
  type        = string

  validation {
    condition     = can(regex("^gs://[^/]+/.+[.]json$", var.container_spec_gcs_path))
    error_message = "Expected gs://BUCKET/FOLDER/TEMPLATE.json, as modules/templates and deploy/dataflow/build.sh write it."
  }
}

variable "image" {
  description = "Image of the workers, by its digest: NAME@sha256:…. The launcher is that of the template: give modules/templates the same."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "Name the image by its digest, NAME@sha256: and 64 digits."
  }
}

variable "workers_account" {
  description = "E-mail of the account of workers and launchers."
  type        = string
}

variable "temp_bucket" {
  description = "Name of the bucket for what Dataflow stages."
  type        = string
}

variable "machine_type" {
  description = "Machine of a worker; null for Dataflow's choice, or with gpu the smallest one that has it."
  type        = string
  default     = null
}

variable "num_workers" {
  description = "Workers at the start; null for Dataflow's choice."
  type        = number
  default     = null
}

variable "max_workers" {
  description = "Workers at most, which bounds what a job can cost."
  type        = number
  default     = 4

  validation {
    condition     = var.max_workers >= 1 && var.max_workers <= 1000
    error_message = "Dataflow takes 1 to 1,000 workers."
  }
}

variable "launcher_machine_type" {
  description = "Machine of the launcher, which lists the inputs and resolves the checkpoint."
  type        = string
  default     = "n1-standard-1"
}

variable "network" {
  description = "Network of the workers; null for the project's default one, or where a subnetwork is given."
  type        = string
  default     = null
}

variable "subnetwork" {
  description = "Subnetwork of the workers, regions/REGION/subnetworks/NAME, with Private Google Access unless public_ips."
  type        = string
  default     = null
}

variable "public_ips" {
  description = "Whether workers have public addresses. Without them the subnetwork needs Private Google Access."
  type        = bool
  default     = false
}

variable "kms_key_name" {
  description = "Key for what Dataflow keeps of the job; null for Google's own."
  type        = string
  default     = null
}

variable "experiments" {
  description = "Experiments of Dataflow, beside those that the command sets."
  type        = list(string)
  default     = []
}

variable "pipeline_options" {
  description = "Beam's options that have no variable here, as [\"--number_of_worker_harness_threads=4\"]."
  type        = list(string)
  default     = []
}

variable "labels" {
  description = "Labels of what is made here, and of the job."
  type        = map(string)
  default     = {}
}

variable "name" {
  description = "Name of the job. Another name is another job: the one of before is drained first."
  type        = string
  default     = "seqcls-beam-stream"

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]*[a-z0-9]$", var.name))
    error_message = "Dataflow takes lower-case letters, digits and dashes, from a letter to a letter or digit."
  }
}

variable "transform_name_mapping" {
  description = "Where an update renames transforms: the old name and what it is called now. Empty it after the update."
  type        = map(string)
  default     = {}
}
