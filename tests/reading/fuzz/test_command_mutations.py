"""Damaged files given to the command itself, in a process as a user starts it."""

import random
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from seqcls_beam.runs.table import read_manifest
from tests import tiny
from tests.reading.fuzz import corpus, mutations

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(3600)]

SEED = 14
ALIKE = ["plain", "plain_checked", "groups", "bare", "indexed", "delta"]  # Parquet files with the same columns


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


def damaged(bases: list[corpus.Base], count: int, folder: Path) -> list[Path]:
    """Each base as it is, and with so many mutations."""
    chance = random.Random(SEED)
    made = []
    for base in bases:
        data = Path(base.path).read_bytes()
        some = mutations.some(data, list(range(len(data))), count, chance)
        for number, each in enumerate([data, *(mutations.mutated(data, mutation) for mutation in some)]):
            made.append(folder / f"{number}.{Path(base.path).name}")
            made[-1].write_bytes(each)
    return made


def classify(model: Path, given: Path, out: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    flags = (f"--input={given}", f"--model={model}", f"--output={out}", "--threads=1", *flags)
    done = subprocess.run([sys.executable, "-m", "pipelines.classify", *flags], capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode in (0, 1, 2), (flags, done.returncode, said[-2000:])
    assert "Traceback" not in said, (flags, said[-4000:])
    assert "terminate called" not in said, (flags, said[-2000:])
    return done


def whole(out: Path) -> dict[str, dict]:
    """The files of a manifest by name: what it says of rows is what lies there, and is the same by file as in sum."""
    manifest = read_manifest(str(out), "")
    assert manifest is not None
    rows, files = manifest["rows"], manifest["inputs"]
    labeled = ds.dataset(out / "labels", format="parquet").count_rows()
    rejected = sum(rows["rejected_by_reason"].values())
    assert (rows["labeled"], rows["rejected"]) == (labeled, rejected)
    assert rows["in"] == labeled + rejected + rows["lost"]
    assert sum(file["rows"] for file in files) == labeled + rejected
    assert sum(file["rows_lost"] for file in files) == rows["lost"]
    assert all(file["bytes"] + file["bytes_lost"] == file["size"] for file in files)
    return {Path(file["path"]).name: file for file in files}


def test_parquet(model, tmp_path):
    (tmp_path / "bases").mkdir()
    (tmp_path / "in").mkdir()
    bases = [base for base in corpus.parquet(tmp_path / "bases") if base.name in ALIKE]
    paths = damaged(bases, 12, tmp_path / "in")
    assert classify(model, tmp_path / "in", tmp_path / "strict").returncode == 1
    assert read_manifest(str(tmp_path / "strict"), "") is None
    lenient = ("--max_rejected=1", "--max_unreadable=1000")
    done = classify(model, tmp_path / "in", tmp_path / "out", *lenient)
    assert done.returncode == 0, done.stderr[-2000:]
    files = whole(tmp_path / "out")
    footers = 0
    for path in paths:
        file = files[path.name]
        if any(loss["reason"] == "unreadable_file" for loss in file.get("losses", ())):
            assert (file["rows"], file["bytes"]) == (0, 0)
            continue
        footers += 1
        assert file["rows"] + file["rows_lost"] == pq.read_metadata(path).num_rows, path
    assert footers > len(bases)
    print(f"seed {SEED}, {len(paths)} files, {footers} with a footer")


def test_compressed(model, tmp_path):
    (tmp_path / "bases").mkdir()
    (tmp_path / "in").mkdir()
    paths = damaged(corpus.compressed(tmp_path / "bases"), 8, tmp_path / "in")
    assert classify(model, tmp_path / "in", tmp_path / "strict").returncode == 1
    done = classify(model, tmp_path / "in", tmp_path / "out", "--max_rejected=1", "--max_unreadable=1000")
    assert done.returncode == 0, done.stderr[-2000:]
    files = whole(tmp_path / "out")
    assert len(files) == len(paths)
    assert all(file["rows"] == 48 for name, file in files.items() if name.startswith("0."))
    print(f"seed {SEED}, {len(paths)} files")


def test_a_damaged_file_alone(model, tmp_path):
    (tmp_path / "bases").mkdir()
    (tmp_path / "in").mkdir()
    bases = corpus.parquet(tmp_path / "bases")
    chosen = [base for base in bases if base.name in ("groups", "typed", "sealed_left_out")]
    packed = [base for base in corpus.compressed(tmp_path / "bases") if base.name in ("two.txt.gz", "one.txt.zst")]
    codes = []
    for number, path in enumerate(damaged([*chosen, *packed], 3, tmp_path / "in")):
        out = tmp_path / f"out{number}"
        done = classify(model, path, out)
        codes.append(done.returncode)
        if done.returncode == 0:
            assert not any(file["bytes_lost"] > file["size"] * 0.05 for file in whole(out).values())
        else:
            assert done.stderr.strip()  # a sentence
            assert read_manifest(str(out), "") is None
    print(f"seed {SEED}, codes {codes}")
    assert {0, 1} <= set(codes)
