"""The commands. Nothing that is shipped to a worker is defined here; what takes long is imported where it works."""

import logging
import sys

from pipelines import interrupts

if sys.argv[:1] == ["-m"]:  # Python looks for the command that it is to run
    interrupts.end_at_once()


def _is_of_use(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("apitools not found")


# Beam without its [gcp] extra warns on import that its BigQuery client is missing, which nothing here uses.
logging.getLogger().addFilter(_is_of_use)
