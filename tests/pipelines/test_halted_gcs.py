"""Halted in a bucket: where files are copied, and removed by the generation that was seen."""

from pathlib import Path

import fsspec
import pytest

from tests import gcs
from tests.pipelines.halted import halt_in_turn, jobs_in

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """The commands, tiny."""
    return jobs_in(tmp_path_factory.mktemp("jobs"))


@pytest.fixture(scope="module")
def bucket():
    with gcs.bucket("halts") as uri:
        yield uri


STEPS = {
    "classify": ["copy:* labels/part-*-v1-*", "put_if_absent:_versions/*", "remove_file:labels/part-*-v1-*"],
    "finetune": [
        "copy:* config.json",
        "put_if_absent:_versions/*",
        "remove_version:config.json",
        "remove_version:model.safetensors",
        "copy:* model.safetensors",
    ],
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["classify", pytest.param("finetune", marks=pytest.mark.slow)])
def test_one_halted_after_the_other_in_a_bucket(tmp_path, bucket, jobs, name):
    copies = iter(range(1000))

    def copied(out: Path | str) -> Path:
        here = tmp_path / f"copy{next(copies)}"
        here.mkdir()
        store = fsspec.filesystem("gs")
        store.invalidate_cache()
        if store.exists(str(out)):
            store.get(f"{out}/", f"{here}/", recursive=True)
        return here

    halt_in_turn(jobs[name], f"{bucket}/{name}", STEPS[name], tmp_path, copied)
