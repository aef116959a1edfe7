"""The commands. Nothing that is shipped to a worker is defined here."""

import logging

# apache-beam without its [gcp] extra warns on import that its BigQuery client is missing; nothing here uses it.
logging.getLogger().addFilter(lambda record: not str(record.msg).startswith("apitools not found"))
