variable "project" {
  description = "Id of the project."
  type        = string
}

variable "prefix" {
  description = "What the names of the accounts begin with."
  type        = string
  default     = "seqcls-beam"

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{3,18}[a-z0-9]$", var.prefix))
    error_message = "A prefix has 5 to 20 lower-case letters, digits and dashes, begins with a letter and ends with no dash."
  }
}

variable "data_bucket" {
  description = "Name of the bucket for inputs and outputs."
  type        = string
}

variable "temp_bucket" {
  description = "Name of the bucket for what Dataflow stages."
  type        = string
}

variable "models_bucket" {
  description = "Name of the bucket for checkpoints and templates."
  type        = string
}

variable "repository" {
  description = "Name of the repository of images."
  type        = string
}

variable "repository_location" {
  description = "Region of the repository of images."
  type        = string
}

variable "subscription" {
  description = "Name of the subscription that a stream reads; null without a stream."
  type        = string
  default     = null
}

variable "topics" {
  description = "Names of the topics that a stream publishes to, by what they are for, as { rejected = \"texts-rejected\" }."
  type        = map(string)
  default     = {}
}
