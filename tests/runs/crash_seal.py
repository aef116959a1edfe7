"""Seal, interrupted at one step after the other; run by test_sealing.py in an interpreter without threads.

python -m tests.runs.crash_seal FOLDER kill|fail FIRST STRIDE
"""

import shutil
import sys
from pathlib import Path

from tests.crash import in_child
from tests.runs.streams import content, ids, left, rejected, sealed
from tests.runs.test_sealing import at_work


def main(folder: str, how: str, first: str, stride: str) -> None:
    """Interrupt at the first step and every so many further ones until sealing goes through without one."""
    base = Path(at_work(Path(folder) / "base"))
    calm = Path(folder) / "calm"
    shutil.copytree(base, calm)
    assert sealed(str(calm)) == 0
    expected = content(calm)
    step = int(first)
    while True:
        out = Path(folder) / f"out{step}"
        shutil.copytree(base, out)

        def once(out: Path = out) -> None:
            sealed(str(out))

        ended = in_child(once, step, str(out), how)
        assert ids(out, live=True) == ["a", "b", "c", "d"], (step, ended)
        assert sealed(str(out)) == 0, step
        assert content(out) == expected, (step, ended)
        assert ids(out) == ids(out, live=True) == ["a", "b", "c", "d"] and rejected(out) == ["b"], step
        assert left(out) == [], (step, left(out))
        shutil.rmtree(out)
        if ended == "done":
            break
        step += int(stride)
    print(f"there are fewer than {step} steps")


if __name__ == "__main__":
    main(*sys.argv[1:])
