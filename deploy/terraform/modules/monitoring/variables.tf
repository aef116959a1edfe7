variable "project" {
  description = "Id of the project."
  type        = string
}

variable "channels" {
  description = "Names of the notification channels that alerts go to, projects/PROJECT/notificationChannels/ID. Without one, incidents are in the console alone."
  type        = list(string)
}

variable "workflow" {
  description = "Name of the workflow of the night; null without one."
  type        = string
  default     = null
}

variable "scheduler_jobs" {
  description = "Names of the schedules, of the night and of sealing."
  type        = list(string)
  default     = []
}

variable "job_prefix" {
  description = "What the names of the night's jobs begin with; null without one."
  type        = string
  default     = null
}

variable "stream" {
  description = "Name of the stream's job; null without one."
  type        = string
  default     = null
}

variable "subscription" {
  description = "Name of the subscription that the stream reads; null without one."
  type        = string
  default     = null
}

variable "rejected_topic" {
  description = "Name of the topic for rejected messages; null without one."
  type        = string
  default     = null
}

variable "seal" {
  description = "Name of the job that seals; null without one."
  type        = string
  default     = null
}

variable "max_rejected" {
  description = "Share of a stream's rows of the last hour, or of a night's rows so far, that may be rejected."
  type        = number
  default     = 0.05

  validation {
    condition     = var.max_rejected >= 0 && var.max_rejected <= 1
    error_message = "A share is between 0 and 1."
  }
}

variable "max_age_seconds" {
  description = "Seconds that a message may wait for the stream, and that the stream may be behind."
  type        = number
  default     = 900
}

variable "max_backlog" {
  description = "Messages that may wait for the stream."
  type        = number
  default     = 1000000
}

variable "labels" {
  description = "Labels of the policies."
  type        = map(string)
  default     = {}
}
