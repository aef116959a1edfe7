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
  description = "Name of the workflow, and what the names of the others begin with."
  type        = string
  default     = "seqcls-beam-night"

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{1,40}[a-z0-9]$", var.name))
    error_message = "Give 3 to 42 lower-case letters, digits and dashes, from a letter to a letter or digit."
  }
}

variable "job_prefix" {
  description = "What the names of the jobs begin with: PREFIX-YYYYMMDD. Two workflows of one region need two of them."
  type        = string
  default     = "score"

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]*$", var.job_prefix))
    error_message = "Dataflow takes lower-case letters, digits and dashes, and a letter first."
  }
}

variable "night_account" {
  description = "E-mail of the account of the workflow."
  type        = string
}

variable "judge_account" {
  description = "E-mail of the account of the container that judges."
  type        = string
}

variable "scheduler_account" {
  description = "E-mail of the account that starts the workflow."
  type        = string
}

variable "time_zone" {
  description = "Zone of the schedules, and of the day before which a night is."
  type        = string
  default     = "Etc/UTC"

  validation {
    condition     = can(regex("^[A-Za-z_]+/[A-Za-z0-9_+-]+(/[A-Za-z_]+)?$", var.time_zone))
    error_message = "Expected a zone of the tz database, as Europe/Berlin or Etc/UTC."
  }
}

variable "schedule" {
  description = "When the night starts, as cron writes it. Not between 01:00 and 03:00 where clocks change: that time may not exist, or come twice."
  type        = string
  default     = "30 3 * * *"
}

variable "check_schedule" {
  description = "When the night must be published: a start that only looks, and fails where it is not."
  type        = string
  default     = "0 9 * * *"
}

variable "limit_hours" {
  description = "Hours after which the workflow waits no longer, and fails. The job goes on."
  type        = number
  default     = 12

  validation {
    condition     = var.limit_hours > 0 && var.limit_hours <= 72
    error_message = "Give more than 0 hours and no more than 72."
  }
}

variable "gates" {
  description = "Options of seqcls-beam approve, which judges a night, as [\"--max_rejected=0.01\", \"--max_label_shift=0.1\"]."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.gates : startswith(each, "--") && !startswith(each, "--run_date")])
    error_message = "Write each option as --NAME=VALUE; the date is the workflow's."
  }
}

variable "judge_image" {
  description = "Image that judges; null for the image of the workers. One without CUDA starts faster."
  type        = string
  default     = null
}

variable "judge_memory" {
  description = "Memory of the container that judges."
  type        = string
  default     = "4Gi"
}

variable "paused" {
  description = "Whether the schedules rest. The workflow can be executed by hand all the same."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to delete the workflow and the job that judges."
  type        = bool
  default     = false
}
