variable "project" {
  description = "Id of the project."
  type        = string
}

variable "location" {
  description = "Region of the repository: that of the jobs, whose every worker pulls the image."
  type        = string
}

variable "name" {
  description = "Name of the repository."
  type        = string
  default     = "seqcls-beam"
}

variable "untagged_days" {
  description = "Days after which images without a tag are deleted; null keeps them. A stream's new workers pull its image for as long as it runs."
  type        = number
  default     = null
}

variable "labels" {
  description = "Labels of the repository."
  type        = map(string)
  default     = {}
}
