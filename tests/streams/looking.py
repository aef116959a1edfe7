"""Classify messages, and look for a newer model often.

python -m tests.streams.looking SECONDS FILE FLAGS     what the watch says goes into FILE, each line behind its time
"""

import logging
import sys

from pipelines.classify import main
from seqcls_beam.model import watching

if __name__ == "__main__":
    watching.LOOK_SECONDS = float(sys.argv[1])
    handler = logging.FileHandler(sys.argv[2])
    handler.setFormatter(logging.Formatter("%(created)f %(message)s"))
    logging.getLogger(watching.__name__).addHandler(handler)
    sys.exit(main(sys.argv[3:]))
