variable "bucket" {
  description = "Name of the bucket that templates are written to: that of models."
  type        = string
}

variable "folder" {
  description = "Folder in the bucket, without slashes around it."
  type        = string
  default     = "templates"

  validation {
    condition     = can(regex("^[^/]+(/[^/]+)*$", var.folder))
    error_message = "Expected FOLDER or FOLDER/FOLDER."
  }
}

variable "images" {
  description = "Image of each template, by its digest, as { stream = \"NAME@sha256:…\" }. It launches a job, and is what the night or the stream gets for its workers, too."
  type        = map(string)

  validation {
    condition     = alltrue([for name in keys(var.images) : contains(["classify", "stream", "prepare"], name)])
    error_message = "There are the templates classify, stream and prepare."
  }

  validation {
    condition     = alltrue([for image in values(var.images) : can(regex("@sha256:[0-9a-f]{64}$", image))])
    error_message = "Name each image by its digest, NAME@sha256: and 64 digits."
  }
}
