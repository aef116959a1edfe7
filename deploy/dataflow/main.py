"""What the launcher of a template starts: one command, with the template's parameters as its flags."""

import os
import sys

from seqcls_beam.__main__ import main

if __name__ == "__main__":
    sys.exit(main([os.environ.get("SEQCLS_BEAM_COMMAND", ""), *sys.argv[1:]]))
