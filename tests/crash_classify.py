"""Run the command, interrupted at its n-th step on disk: python -m tests.crash_classify STEP kill|fail FOLDER FLAGS."""

import sys

from pipelines.classify import main
from tests.crash import interrupt_at

if __name__ == "__main__":
    interrupt_at(int(sys.argv[1]), sys.argv[3], sys.argv[2])
    sys.exit(main(sys.argv[4:]))
