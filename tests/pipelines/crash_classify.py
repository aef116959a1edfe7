"""Classify, interrupted at its n-th step on disk.

python -m tests.pipelines.crash_classify STEP kill|fail FOLDER FLAGS
"""

from pipelines.classify import main
from tests.crash import run_interrupted

if __name__ == "__main__":
    run_interrupted(main)
