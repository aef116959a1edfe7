"""What the commands share: each of several GPUs of a machine gets a worker process, unless the user says otherwise."""

import resource

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from pipelines import classify, command, evaluate
from pipelines.options import name_runner
from seqcls_beam.model.engine import devices
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


@pytest.mark.parametrize(
    ("gpus", "device", "flags", "workers"),
    [
        (8, "auto", [], ("multi_processing", 8)),
        (2, "cuda", ["--runner=DirectRunner", "--threads=1"], ("multi_processing", 2)),
        (1, "auto", [], ("in_memory", 1)),
        (0, "auto", [], ("in_memory", 1)),
        (8, "cpu", [], ("in_memory", 1)),
        (8, "cuda:3", [], ("in_memory", 1)),
        (8, "auto", ["--direct_num_workers=1"], ("in_memory", 1)),
        (8, "auto", ["--direct_num_workers", "3", "--direct_running_mode=multi_threading"], ("multi_threading", 3)),
        (8, "auto", ["--direct_running_mode=in_memory"], ("in_memory", 1)),
        (8, "auto", ["--runner=PortableRunner"], ("in_memory", 1)),
    ],
)
def test_each_gpu_has_a_worker_unless_the_user_says_otherwise(monkeypatch, capsys, gpus, device, flags, workers):
    monkeypatch.setattr(command, "gpus", lambda: gpus)
    options = PipelineOptions([flag for flag in flags if flag != "--threads=1"])
    command.one_worker_per_gpu(name_runner(options), device, flags, options, units=1000)
    direct = options.view_as(DirectOptions)
    assert (direct.direct_running_mode, direct.direct_num_workers) == workers
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(16), raising=False)
    assert command.threads_per_worker(options) == (16 // gpus if workers == ("multi_processing", gpus) else 0)
    said = capsys.readouterr().err
    assert (
        said.startswith(f"seqcls_beam: {gpus} worker processes, each")
        if workers == ("multi_processing", gpus)
        else said == ""
    )


@pytest.mark.parametrize(("units", "workers"), [(1, ("in_memory", 1)), (3, ("multi_processing", 3))])
def test_there_are_no_more_workers_than_units(monkeypatch, units, workers):
    monkeypatch.setattr(command, "gpus", lambda: 8)
    options = PipelineOptions([])
    command.one_worker_per_gpu(name_runner(options), "auto", [], options, units)
    direct = options.view_as(DirectOptions)
    assert (direct.direct_running_mode, direct.direct_num_workers) == workers


def test_where_no_two_gpus_can_be_the_engine_is_not_asked(monkeypatch):
    def found(files):
        monkeypatch.setattr(command, "glob", lambda _: [f"/dev/nvidia{number}" for number in range(files)])
        return command.gpus()

    monkeypatch.setattr(devices, "cuda_devices", lambda: pytest.fail("asked"))
    assert found(0) == found(1) == 0
    # CUDA_VISIBLE_DEVICES may hide some of them.
    monkeypatch.setattr(devices, "cuda_devices", lambda: 3)
    assert found(4) == 3


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
        monkeypatch.setattr(command, "gpus", lambda gpus=gpus: gpus)
        before = spent_by_children()
        assert classify.main([*flags, "--id_column=id", "--unit_bytes=3000", f"--output={tmp_path}/{gpus}"]) == 0
        assert (spent_by_children() - before > 1) == ("2 worker processes" in capsys.readouterr().err) == bool(gpus)
        told.append(part_digests(tmp_path / str(gpus)))
    assert told[0] == told[1] and len(told[0]) > 5


def test_an_evaluation_has_them_where_it_runs_a_model(tmp_path, monkeypatch, flags):
    found = []

    def noted(job, runner, options):
        found.append(options.view_as(DirectOptions).direct_num_workers)
        return {"gates": []}

    monkeypatch.setattr(command, "gpus", lambda: 4)
    monkeypatch.setattr(evaluate, "_launch", noted)
    pq.write_table(pa.table({"gold": ["x", "y"], "label": ["x", "y"]}), tmp_path / "answers.parquet")
    assert evaluate.main([*flags, "--unit_bytes=3000"]) == 0
    assert evaluate.main([f"--labeled={tmp_path}/answers.parquet", "--label_column=gold"]) == 0
    assert found == [4, 1]
