output "paths" {
  description = "Where each template is, gs://BUCKET/FOLDER/TEMPLATE-DIGEST.json."
  value       = { for name, object in google_storage_bucket_object.templates : name => "gs://${object.bucket}/${object.name}" }
}
