"""What a person sees of a preparation while it works."""

from pipelines.terminal.prepare import _Stages
from seqcls_beam.preparation import tasks
from tests.corpora import write_jsonl
from tests.preparation.jobs import planned
from tests.prepared import sentences


def test_stages_that_are_over_are_asked_about_once(tmp_path, monkeypatch):
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text, "label": "a"} for text in sentences(50)])
    job, units = planned(tmp_path / "out", source, {"shards": {"assign": "all"}})
    asked: list[str] = []
    done = tasks.done
    monkeypatch.setattr(tasks, "done", lambda job, stage: asked.append(stage) or done(job, stage))  # type: ignore[func-returns-value]
    tasks.begin(job, units, {"started": 0.0})
    shown, order = _Stages(job), list(tasks.stages(job))
    assert shown.now() == ("read", 0, 1)
    tasks.read_unit_of(job, units[0])
    for stage in order[1:]:
        pending = tasks.pending_tasks(job, stage)
        if pending:
            assert shown.now()[0] == stage
        for task in pending:
            tasks.do(job, stage, task)
    assert shown.line() == "writing shards: 3 of 3 tasks done"
    assert len(asked) <= 2 * len(order) + 2, "however often somebody looks"
