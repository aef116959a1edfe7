variable "project" {
  description = "Id of the project."
  type        = string
}

variable "name" {
  description = "Name of the topic of texts; the others begin with it."
  type        = string
  default     = "texts"
}

variable "labelled" {
  description = "Whether there is a topic for labelled rows, NAME-labelled, for the stream's output_topic."
  type        = bool
  default     = false
}

variable "backlog_days" {
  description = "Days that a message waits for the stream, from 1 to 31. Messages that wait for more than one are paid for."
  type        = number
  default     = 7

  validation {
    condition     = var.backlog_days >= 1 && var.backlog_days <= 31
    error_message = "Pub/Sub keeps messages of a subscription for 31 days at most."
  }
}

variable "labels" {
  description = "Labels of topics and subscriptions."
  type        = map(string)
  default     = {}
}
