variable "project" {
  description = "Id of the project."
  type        = string
}

variable "region" {
  description = "Region of all of it."
  type        = string
}

variable "prefix" {
  description = "What the names of the buckets begin with."
  type        = string
}

variable "image" {
  description = "Image, by its digest; null until it is built, and then there is neither a night nor a stream."
  type        = string
  default     = null
}

variable "subnetwork" {
  description = "Subnetwork of the workers, with Private Google Access; null for the project's default network."
  type        = string
  default     = null
}

variable "time_zone" {
  description = "Zone of the night."
  type        = string
  default     = "Etc/UTC"
}

variable "alert_email" {
  description = "Who is told."
  type        = string
}
