output "images" {
  description = "What the name of the image begins with."
  value       = module.registry.uri
}

output "templates" {
  description = "Folder that templates are written to."
  value       = local.templates
}

output "data" {
  description = "Bucket for inputs and outputs."
  value       = module.storage.data
}

output "topic" {
  description = "Topic that texts are published to."
  value       = module.pubsub.topic
}
