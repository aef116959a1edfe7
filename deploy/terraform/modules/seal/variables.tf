variable "project" {
  description = "Id of the project."
  type        = string
}

variable "region" {
  description = "Region of the container."
  type        = string
}

variable "name" {
  description = "Name of the job that seals, and of its schedule."
  type        = string
  default     = "seqcls-beam-seal"
}

variable "image" {
  description = "Image that seals, by its digest; that of the stream, or one without CUDA."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "Name the image by its digest, NAME@sha256: and 64 digits."
  }
}

variable "output" {
  description = "Folder that the stream is labelled into, gs://BUCKET/FOLDER."
  type        = string

  validation {
    condition     = can(regex("^gs://[^/]+", var.output))
    error_message = "Expected gs://BUCKET/FOLDER, the output of the stream."
  }
}

variable "account" {
  description = "E-mail of the account that seals: the one that judges nights."
  type        = string
}

variable "scheduler_account" {
  description = "E-mail of the account that starts it."
  type        = string
}

variable "delay_seconds" {
  description = "How long after its end a window is sealed, by this clock. What comes later amends it."
  type        = number
  default     = 600

  validation {
    condition     = var.delay_seconds >= 0 && floor(var.delay_seconds) == var.delay_seconds
    error_message = "Expected a whole number of seconds."
  }
}

variable "schedule" {
  description = "How often, as cron writes it."
  type        = string
  default     = "*/10 * * * *"
}

variable "memory" {
  description = "Memory of the container: some 100 bytes a message of a window, and 0.5 GB."
  type        = string
  default     = "2Gi"
}

variable "paused" {
  description = "Whether the schedule rests."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to delete the job that seals."
  type        = bool
  default     = false
}

variable "labels" {
  description = "Labels of the job that seals."
  type        = map(string)
  default     = {}
}
