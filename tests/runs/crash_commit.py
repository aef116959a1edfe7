"""Publish a run, interrupted at every step in turn; run by test_commit.py in an interpreter without threads.

python -m tests.runs.crash_commit FOLDER kill|fail fresh|overwrite
"""

import contextlib
import hashlib
import os
import shutil
import sys
from pathlib import Path

from seqcls_beam import storage
from seqcls_beam.runs import commit
from seqcls_beam.runs.manifest import read_manifest
from seqcls_beam.runs.run import Run, verified_record
from tests.crash import in_child
from tests.runs.attempts import write_run


def published(out: Path) -> dict[str, str]:
    """The files that a reader sees by the manifest, by content; empty where nothing is published."""
    manifest = read_manifest(str(out))
    if manifest is None:
        return {}
    paths = [part["path"] for part in [*manifest["parts"], *manifest["rejects"]]]
    return {path: hashlib.sha256((out / path).read_bytes()).hexdigest() for path in paths}


def in_labels(out: Path) -> set[str]:
    """What somebody sees who lists labels/."""
    return set(os.listdir(out / "labels")) if (out / "labels").is_dir() else set()


def main(folder: str, how: str, mode: str) -> None:
    """Interrupt at step 1, 2, … until a publication goes through without one."""
    base = Path(folder) / "base"
    old = Run(str(base), "a" * 32, max_rejected=1)
    if mode == "overwrite":
        write_run(old, units=2, rejected=frozenset({1}))
        commit.publish(old, [verified_record(old, unit) for unit in range(2)])
    before = published(base)
    new = Run(str(base), "b" * 32, overwrite=mode == "overwrite", max_rejected=1)
    write_run(new, units=3, rejected=frozenset({5, 17}))
    step = 0
    while True:
        step += 1
        out = Path(folder) / f"out{step}"
        shutil.copytree(base, out)
        run = Run(str(out), new.run_id, overwrite=new.overwrite, max_rejected=1)

        def start(run: Run = run) -> None:
            """What a start of the command does once the units are made."""
            commit.recover(run.output)
            manifest = read_manifest(run.output)
            if manifest is None or manifest["run_id"] != run.run_id:
                commit.publish(run, [verified_record(run, unit) for unit in range(3)])

        ended = in_child(start, step, str(out), how)
        seen = published(out)
        assert ended in ("done", "survived") or seen == before or len(seen) == 5, (step, seen)
        names = in_labels(out)
        if mode == "fresh":
            assert len(names) in (0, 3), (step, names)
        else:
            assert {path.split("/")[1] for path in before if path.startswith("labels/")} <= names or len(seen) == 5
        start()
        seen = published(out)
        assert len(seen) == 5 and all("bbbbbbbb" in path for path in seen), (step, seen)
        assert in_labels(out) == {path.split("/")[1] for path in seen if path.startswith("labels/")}
        assert not (out / "_attempts").exists(), (step, list((out / "_attempts").rglob("*")))
        shutil.rmtree(out)
        if ended == "done":
            break
    print(f"interrupted at {step - 1} steps")
    with contextlib.suppress(FileNotFoundError):
        storage.remove(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
