"""Prepare, interrupted at its n-th step on disk.

python -m tests.pipelines.crash_prepare STEP kill|fail FOLDER FLAGS
"""

from pipelines.prepare import main
from tests.crash import run_interrupted

if __name__ == "__main__":
    run_interrupted(main)
