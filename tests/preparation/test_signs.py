"""A task that takes long gives signs of life: a run in which one stands still is ended."""

from dataclasses import replace

from seqcls_beam.preparation import tasks
from seqcls_beam.runs import progress
from tests.corpora import write_jsonl
from tests.preparation.jobs import planned
from tests.prepared import sentences


def test_units_pairs_and_shards_are_told_of_while_they_are_worked_on(tmp_path, monkeypatch):
    signs: list[str] = []
    monkeypatch.setattr(progress, "report", signs.append)
    texts = [f"{text} {number}" for text in sentences(2, 30) for number in range(500)]
    rows = [{"text": text, "label": "a"} for text in [*texts, *map(str, range(20_000))]]
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    job, units = planned(tmp_path / "out", source, {"read": {"unit_bytes": 2**26}})
    job = replace(job, partitions=6)
    assert job.units == 1
    tasks.begin(job, units, {"started": 0.0})
    given = {}
    for stage in tasks.stages(job):
        if stage == "read":
            tasks.read_unit_of(job, units[0])
        else:
            for task in tasks.pending_tasks(job, stage):
                tasks.do(job, stage, task)
        given[stage], signs[:] = len(signs), []
    assert given["read"] > 1, "by batch"
    assert given["compare"] > 0, "by batch of pairs"
    assert given["shards"] >= 6, "by partition"
