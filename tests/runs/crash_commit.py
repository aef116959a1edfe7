"""Publish a run, interrupted at every step in turn; run by test_commit.py in an interpreter without threads.

python -m tests.runs.crash_commit FOLDER kill|fail labels|folder|root fresh|overwrite

What is published: a table's parts; a folder under fixed names and a file beside it; or files of the root.
"""

import contextlib
import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from seqcls_beam import storage
from seqcls_beam.config.classify import LossOptions
from seqcls_beam.runs.commit import locate
from seqcls_beam.runs.publication import follow, outcome, publish, publish_files
from seqcls_beam.runs.run import Run, verified_record
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import read_newest
from seqcls_beam.runs.versions import FORMAT_VERSION, published_files
from tests.crash import in_child
from tests.runs.attempts import write_run

FILES = {
    "folder": (["data/a", "data/b", "data/c", "README.md"], ["data/a", "data/b", "data/d", "README.md"]),
    "root": (["README.md", "weights", "words", "config.json"], ["README.md", "weights", "merges", "config.json"]),
}
"""The files of the run that was there, and of the one that comes, in the order of their moves."""


def published(run: Run) -> dict[str, str]:
    """The files that a reader sees by the version, each whole, by content; empty where nothing is published."""
    now = read_newest(store_of(run.output))
    if now is None:
        return {}
    elsewhere, found = locate(now.store, now.version), {}
    for each in published_files(now.manifest):
        data = storage.read(now.store.uri(elsewhere.get(each["path"], each["path"])))
        found[each["path"]] = hashlib.sha256(data).hexdigest()
        assert found[each["path"]] == each["sha256"] and len(data) == each["bytes"]
    return found


def listed(out: Path, kind: str) -> dict[str, str]:
    """What somebody sees who lists the folder that is published into."""
    folder = {"labels": out / "labels", "folder": out / "data", "root": out}[kind]
    files = [path for path in folder.glob("*") if path.is_file()]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def work(run: Run, kind: str, number: int) -> None:
    """Make what a run publishes, in its attempt."""
    if kind == "labels":
        write_run(run, units=(2, 3)[number], rejected=(frozenset({1}), frozenset({5, 17}))[number])
        return
    for name in FILES[kind][number]:
        storage.put(storage.join(run.attempt, "made", name), f"{name} of {run.run_id}".encode())


def start(run: Run, kind: str, number: int) -> None:
    """What a start of the command does once the work is done."""
    run = follow(run)
    if outcome(run) is not None:
        return
    if kind == "labels":
        publish(run, [verified_record(run, unit) for unit in range((2, 3)[number])])
        return
    parts: list[dict[str, Any]] = []
    for name in FILES[kind][number]:
        data = f"{name} of {run.run_id}".encode()
        parts.append({"path": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    manifest = {"format_version": FORMAT_VERSION, "parts": parts, "rejects": []}
    publish_files(run, manifest, [(f"{run.work}/made/{part['path']}", part["path"]) for part in parts])


def main(folder: str, how: str, kind: str, mode: str) -> None:
    """Interrupt at step 1, 2, … until a publication goes through without one."""
    base = Path(folder) / "base"
    those = {"publishes": ("data", "README.md", "weights")}
    of: dict[str, Any] = {"kind": "classify"} if kind == "labels" else {"kind": "prepare", **those}
    old = follow(Run(str(base), "a" * 32, limits=LossOptions(max_rejected=1), **of))
    before: dict[str, str] = {}
    if mode == "overwrite":
        work(old, kind, 0)
        start(old, kind, 0)
        before = published(old)
        assert before
    listed_before = listed(base, kind)
    work(follow(Run(str(base), "b" * 32, **of)), kind, 1)
    expected: dict[str, str] = {}
    after: dict[str, str] = {}
    step = 0
    while True:
        step += 1
        out = Path(folder) / f"out{step}"
        shutil.copytree(base, out)
        run = Run(str(out), "b" * 32, overwrite=mode == "overwrite", limits=LossOptions(max_rejected=1), **of)

        def once(run: Run = run) -> None:
            start(run, kind, 1)

        ended = in_child(once, step, str(out), how)
        seen, names = published(run), listed(out, kind)
        is_new = bool(seen) and seen != before
        start(run, kind, 1)
        if not expected:
            expected, after = published(run), listed(out, kind)
            assert len(expected) == (5 if kind == "labels" else len(FILES[kind][1]))
            assert not before.items() & expected.items()
        assert seen in (before, expected), (step, "a reader of the version sees one run or the other", seen)
        assert is_new or ended not in ("done", "survived"), (step, ended)
        check_listing(kind, listed_before, names, after, is_new, step)
        assert (published(run), listed(out, kind)) == (expected, after), step
        assert not (out / "_attempts").exists(), (step, list((out / "_attempts").rglob("*")))
        shutil.rmtree(out)
        if ended == "done":
            break
    print(f"interrupted at {step - 1} steps")
    with contextlib.suppress(FileNotFoundError):
        storage.remove(folder)


def check_listing(
    kind: str, before: dict[str, str], names: dict[str, str], after: dict[str, str], is_new: bool, step: int
) -> None:
    """What may be seen without a look at the version."""
    if kind == "labels" and not before:
        assert names in ({}, after), (step, "the folder appears with all its files", names)
    elif kind == "labels":
        # Parts of both may be there for a while, but never less than one run.
        assert before.items() <= names.items() or after.items() <= names.items(), (step, names)
        assert is_new or names == before, (step, "nothing is touched before it is decided", names)
    elif kind == "folder":
        assert names in ({}, before, after), (step, "one or the other, never some of both", names)
        assert is_new or names == before, (step, "nothing is touched before it is decided", names)
    else:
        assert is_new or names == before, (step, "nothing is touched before it is decided", names)
        # Without its config a folder is no model: what lies beside one is of the same run, and all there but the card.
        whole = [run for run in (before, after) if run.keys() - names.keys() <= {"README.md"}]
        assert "config.json" not in names or any(names.items() <= run.items() for run in whole), (step, names)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main(*sys.argv[1:])
