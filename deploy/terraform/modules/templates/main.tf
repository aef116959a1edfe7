resource "google_storage_bucket_object" "templates" {
  for_each = local.specs

  bucket       = var.bucket
  name         = local.objects[each.key]
  content      = jsonencode(each.value)
  content_type = "application/json"
  # An execution that is at work launches the template that there was when it began.
  deletion_policy = "ABANDON"
}
