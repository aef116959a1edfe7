"""Killed or failing anywhere: nothing half-published is seen, and the next start makes the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import classify
from seqcls_beam.runs.table import read_manifest
from tests import tiny
from tests.corpora import part_digests, texts, version_digests
from tests.crash import interrupted

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A model, a corpus of several units with bad rows in it, and the parts of an undisturbed run."""
    folder = tmp_path_factory.mktemp("job")
    model = tiny.checkpoint(folder / "model")
    lines = [json.dumps({"id": i, "text": text}) for i, text in enumerate(texts(200))]
    lines[30] = lines[150] = "{"
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    flags = [f"--model={model}", f"--input={folder}/corpus.jsonl", "--unit_bytes=6000", "--threads=1"]
    assert classify.main([*flags, f"--output={folder}/undisturbed"]) == 0
    return flags, part_digests(folder / "undisturbed")


def seen_by_listing(out: Path) -> set[str]:
    return set(part_digests(out)) if (out / "labels").is_dir() or (out / "_rejects").is_dir() else set()


# A run of four units takes about 100 steps, and some 70 of them make the plan and the parts. Of those that publish 1 to
# 5 open the stage, 9 decides, 11 to 18 move files and folders to their names, 19 puts the attempt away and 22 closes
# the stage. `make test-slow` interrupts every one of them.
@pytest.mark.parametrize(
    ("how", "step"),
    [
        *(("kill", step) for step in (20, 66)),
        *(("kill", f"publish-{step}") for step in (10, 14, 19)),
        *(("fail", step) for step in ("publish-9", "publish-16")),
    ],
)
def test_interrupted_at_a_step(tmp_path, job, how, step):
    interrupt(tmp_path, job, how, step)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("how", ["kill", "fail"])
def test_interrupted_at_every_step(tmp_path, job, how):
    step = 1
    while interrupt(tmp_path / str(step), job, how, step):
        step += 1
    assert step > 90


def interrupt(folder: Path, job: tuple[list[str], dict[str, str]], how: str, step: int | str) -> bool:
    """Interrupt a run at a step, check what is seen, run it again, compare; whether it had so many steps."""
    flags, expected = job
    out = folder / "out"
    folder.mkdir(exist_ok=True)
    done = interrupted("classify", step, how, [*flags, f"--output={out}"], folder / "log")
    published = read_manifest(str(out)) is not None
    assert done.code() in ((-signal.SIGKILL, 0) if how == "kill" else (0, 1)), done.said()[-2000:]
    listed = {name for name in seen_by_listing(out) if name.startswith("labels/")}
    assert listed in (set(), {name for name in expected if name.startswith("labels/")})
    assert not published or version_digests(out) == expected, "decided is published, wherever the files lie by then"
    assert done.code() != 0 or part_digests(out) == expected, "what it said was true"
    assert classify.main([*flags, f"--output={out}"]) == 0
    assert part_digests(out) == expected
    assert not (out / "_attempts").exists()
    return "there are fewer steps" not in done.said()


def test_finished_units_are_kept(tmp_path, job, capsys):
    flags, expected = job
    out = tmp_path / "out"
    # Too many rejects: every unit is finished, and nothing published.
    assert classify.main([*flags, f"--output={out}", "--max_rejected=0"]) == 1
    parts = {path: path.stat().st_mtime_ns for path in (out / "_attempts").rglob("labels/*.parquet")}
    records = sorted((out / "_attempts").rglob("records/*.json"))
    assert len(parts) == len(records) == 4
    records[2].unlink()
    capsys.readouterr()
    assert classify.main([*flags, f"--output={out}"]) == 0
    assert "3 of them done before" in capsys.readouterr().err
    assert part_digests(out) == expected
    kept = {path.stat().st_mtime_ns for path in (out / "labels").iterdir()} & set(parts.values())
    assert len(kept) == 3


def test_a_full_disk_fails_the_run_with_nothing_published(tmp_path, job):
    flags, expected = job
    out = tmp_path / "out"
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from pipelines.classify import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2500, resource.RLIM_INFINITY))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *flags, f"--output={out}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert seen_by_listing(out) == set()
    assert read_manifest(str(out)) is None
    assert classify.main([*flags, f"--output={out}"]) == 0
    assert part_digests(out) == expected


def test_a_worker_killed_in_the_middle_fails_the_run(tmp_path, job):
    if not Path("/proc/self/stat").exists():
        pytest.skip("no /proc to find the workers in")
    flags, expected = job
    out = tmp_path / "out"
    workers = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    command = [sys.executable, "-m", "pipelines.classify", *flags, *workers, f"--output={out}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(out.glob("_attempts/*/labels/*")):
            time.sleep(0.01)
        found = [pid for pid in _descendants(process.pid) if _command(pid).startswith(sys.executable)]
        assert len(found) == 2, [_command(pid) for pid in _descendants(process.pid)]
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        said = process.communicate(timeout=100)[1]
        assert process.returncode == 1
        assert "a worker process of this run is gone" in said and "Traceback" not in said, said
    assert seen_by_listing(out) == set()
    assert classify.main([*flags, f"--output={out}"]) == 0
    assert part_digests(out) == expected


def _descendants(root: int) -> list[int]:
    parents = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                parents[int(each.name)] = int((each / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue  # it has ended meanwhile
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
