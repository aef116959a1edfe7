"""A launch as a template: the command writes the job, and whoever launched it sends that, as Google's launcher does."""

import fsspec
import pytest
from google.cloud import dataflow

from seqcls_beam.runs import lease
from seqcls_beam.runs.table import read_manifest
from tests.corpora import texts, write_jsonl
from tests.dataflow.cloud import BUCKET, PROJECT, REGION, until

pytestmark = [pytest.mark.dataflow, pytest.mark.engine]

ROWS = 60


@pytest.fixture(scope="module")
def corpus(ground, checkpoint, tmp_path_factory):
    """Dated inboxes in the bucket; the flags of who labels them."""
    files, folder = fsspec.filesystem("gs"), tmp_path_factory.mktemp("rows")
    files.put(str(checkpoint), f"{BUCKET}/template/model", recursive=True)
    for day in (19, 20):
        rows = [{"id": f"{day}-{i}", "text": text} for i, text in enumerate(texts(ROWS))]
        files.put(str(write_jsonl(folder / "a.jsonl", rows)), f"{BUCKET}/template/in/2026-11-{day}/a.jsonl")
    return [f"--model=gs://{BUCKET}/template/model", "--threads=1"]


def launched(cloud, name, flags):
    """The command, as the launcher of a template starts it; where it wrote the job, and how it ended."""
    place = f"gs://{BUCKET}/launches/{name}.json"
    return place, cloud.run("classify", *flags, *cloud.flags(f"--template_location={place}"))


def sent(cloud, place):
    """Send the job that was written, and wait for its end: its state."""
    job = dataflow.Job.from_json(fsspec.filesystem("gs").cat(place).decode())
    made = cloud.double.create(
        dataflow.Job.to_json(job, use_integers_for_enums=False).encode(), {"project_id": PROJECT, "location": REGION}
    )
    at = {"job_id": made.id, "project_id": PROJECT, "location": REGION}
    until(lambda: cloud.double.get(b"", at).current_state.name in ("JOB_STATE_DONE", "JOB_STATE_FAILED"))
    return cloud.double.get(b"", at).current_state.name


def test_a_night_that_a_template_launches_publishes_by_itself(cloud, corpus, monkeypatch):
    out = f"gs://{BUCKET}/template/nights"
    night = [
        *corpus,
        f"--input=gs://{BUCKET}/template/in/{{date}}/*.jsonl",
        f"--output={out}",
        "--run_date=2026-11-20",
        "--only_new=true",  # as templates give switches
    ]
    unknown = "--flag_of_a_launcher=x"
    place, end = launched(cloud, "night", [*night, unknown])
    assert end.code == 2 and f"unknown flag {unknown}" in end.last
    monkeypatch.setenv("SEQCLS_BEAM_COMMAND", "classify")  # as in the image
    place, end = launched(cloud, "night", [*night, unknown])
    assert end.code == 0 and "left out, since neither this command nor Beam has it: --flag_of_a_launcher=x" in end.said
    assert read_manifest(out, "run_date=2026-11-20") is None
    leases = fsspec.filesystem("gs").glob(f"{out}/_attempts/run_date=2026-11-20/*/lease")
    assert len(leases) == 1 and lease.is_living(f"gs://{leases[0].rpartition('/')[0]}", lease.EXPIRES + 60)

    assert sent(cloud, place) == "JOB_STATE_DONE"
    manifest = read_manifest(out, "run_date=2026-11-20")
    assert manifest is not None and manifest["rows"]["labeled"] == ROWS

    # Once more: there is nothing to do, and still a job, which does nothing.
    place, end = launched(cloud, "again", night)
    assert end.code == 0 and "nothing new to label" in end.said
    assert end.last == f"seqcls_beam: a job without work is written to {place}"
    assert sent(cloud, place) == "JOB_STATE_DONE"
    assert read_manifest(out, "run_date=2026-11-20") == manifest


def test_what_would_be_several_jobs_is_refused(cloud, corpus):
    for more, what in (
        (["--run_date=2026-11-19..2026-11-20", "--only_new"], "2 nights may be several jobs"),
        (["--relabel"], "--relabel may be several jobs"),
    ):
        flags = [*corpus, f"--input=gs://{BUCKET}/template/in/*/*.jsonl", f"--output=gs://{BUCKET}/template/x", *more]
        place, end = launched(cloud, "several", flags)
        assert end.code == 2 and what in end.last
        assert not fsspec.filesystem("gs").exists(place)
