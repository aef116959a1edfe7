variable "project" {
  description = "Id of the project."
  type        = string
}

variable "location" {
  description = "Where the buckets lie: the region of the jobs, so that reading costs no transfer."
  type        = string
}

variable "prefix" {
  description = "What the names of the buckets begin with. Names of buckets are unique in the world."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][-a-z0-9]{1,48}[a-z0-9]$", var.prefix))
    error_message = "A prefix has 3 to 50 lower-case letters, digits and dashes, and neither begins nor ends with a dash."
  }
}

variable "temp_days" {
  description = "Days after which what a night staged, and temporary files, are deleted. Longer than any job of a night runs."
  type        = number
  default     = 14

  validation {
    condition     = var.temp_days >= 2
    error_message = "Files of a job at work would go: give at least 2 days."
  }
}

variable "data_soft_delete_days" {
  description = "Days for which deleted objects of the data bucket can be brought back, and are paid for. Publishing moves every part, so each is kept twice for so long. 0, or 7 to 90."
  type        = number
  default     = 7

  validation {
    condition     = var.data_soft_delete_days == 0 || (var.data_soft_delete_days >= 7 && var.data_soft_delete_days <= 90)
    error_message = "Cloud Storage takes 0, or 7 to 90 days."
  }
}

variable "model_versions" {
  description = "Newer versions of an object of the models bucket, of which there must be so many before an older one is deleted."
  type        = number
  default     = 5

  validation {
    condition     = var.model_versions >= 1
    error_message = "Give at least 1: with none, what was replaced is gone at once."
  }
}

variable "labels" {
  description = "Labels of the buckets."
  type        = map(string)
  default     = {}
}
