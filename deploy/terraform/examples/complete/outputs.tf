output "images" {
  description = "What the name of the image begins with."
  value       = module.registry.uri
}

output "models" {
  description = "Bucket for checkpoints and templates."
  value       = module.storage.models
}

output "data" {
  description = "Bucket for inputs and outputs."
  value       = module.storage.data
}

output "topic" {
  description = "Topic that texts are published to."
  value       = module.pubsub.topic
}
