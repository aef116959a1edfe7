# Nothing is made here: this file lets `terraform test` find tests/, which call the modules.
terraform {
  required_version = ">= 1.7"
}
