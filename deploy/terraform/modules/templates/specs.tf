# As deploy/dataflow/container_spec.py writes them.
locals {
  specs = { for name, image in var.images : name => {
    image              = image
    metadata           = jsondecode(file("${path.module}/../../../dataflow/templates/${name}.json"))
    sdkInfo            = { language = "PYTHON" }
    defaultEnvironment = { sdkContainerImage = image }
  } }

  # By the image: another one is another template, which a stream is updated to and a night's next execution launches.
  objects = { for name, image in var.images : name => "${var.folder}/${name}-${split("@sha256:", image)[1]}.json" }
}
