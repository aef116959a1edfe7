"""Run the command, interrupted at its n-th step on disk: python -m tests.crash_classify STEP kill|fail FOLDER FLAGS."""

import sys

from pipelines.classify import main
from tests.crash import interrupt_at

if __name__ == "__main__":
    interrupted = interrupt_at(int(sys.argv[1]), sys.argv[3], sys.argv[2])
    code = main(sys.argv[4:])
    if not interrupted():
        print("there are fewer steps", file=sys.stderr)
    sys.exit(code)
