"""What the commands share: each of several GPUs of a machine gets a worker process, unless the user says otherwise."""

import resource

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import DirectOptions

from pipelines import classify, command, evaluate, evaluating
from tests import tiny
from tests.corpora import part_digests, texts, write_jsonl


def test_a_sentence_stays_one_line_whatever_names_are_in_it(capsys):
    assert command.say("/in/a\nb\x1b[2J\0\u202e.csv: no é", 3) == 3
    assert capsys.readouterr().err == "seqcls_beam: /in/a\\nb\\x1b[2J\\x00\\u202e.csv: no é\n"
    command.say(f"--input=/{'x' * 12_000}/end matches no file", 2)
    said = capsys.readouterr().err
    assert len(said) < 700 and said.startswith("seqcls_beam: --input=/xx") and said.endswith("xx/end matches no file\n")
    path = "/" + "x" * 900
    command.say(path, 2)
    assert path in capsys.readouterr().err


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """Rows with labels, and a model for them."""
    folder = tmp_path_factory.mktemp("in")
    rows = [{"id": i, "text": text, "label": ("negative", "positive")[i % 2]} for i, text in enumerate(texts(200))]
    corpus = write_jsonl(folder / "in.jsonl", rows)
    return [f"--input={corpus}", f"--model={tiny.checkpoint(folder / 'model')}", "--threads=1"]


def spent_by_children() -> float:
    """Seconds of processor time."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


@pytest.mark.engine
def test_workers_that_nobody_asked_for_label_as_one_process_does(tmp_path, monkeypatch, capsys, flags):
    told = []
    for gpus in (0, 2):
        monkeypatch.setattr("pipelines.workers.gpus", lambda gpus=gpus: gpus)
        before = spent_by_children()
        assert classify.main([*flags, "--id_column=id", "--unit_bytes=3000", f"--output={tmp_path}/{gpus}"]) == 0
        assert (spent_by_children() - before > 1) == ("2 worker processes" in capsys.readouterr().err) == bool(gpus)
        told.append(part_digests(tmp_path / str(gpus)))
    assert told[0] == told[1] and len(told[0]) > 5


def test_an_evaluation_has_them_where_it_runs_a_model(tmp_path, monkeypatch, flags):
    found = []

    def noted(job, engine):
        found.append(engine.options.view_as(DirectOptions).direct_num_workers)
        return {"gates": []}

    monkeypatch.setattr("pipelines.workers.gpus", lambda: 4)
    monkeypatch.setattr(evaluating, "_launch", noted)
    pq.write_table(pa.table({"gold": ["x", "y"], "label": ["x", "y"]}), tmp_path / "answers.parquet")
    assert evaluate.main([*flags, "--unit_bytes=3000"]) == 0
    assert evaluate.main([f"--labeled={tmp_path}/answers.parquet", "--label_column=gold"]) == 0
    assert found == [4, 1]
