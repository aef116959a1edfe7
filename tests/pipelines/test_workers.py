"""How many workers a command gets, and how many threads each of them."""

import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from pipelines import workers as workers_of
from pipelines.runners import name_runner
from seqcls_beam.model.engine import devices


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
    monkeypatch.setattr(workers_of, "gpus", lambda: gpus)
    options = PipelineOptions([flag for flag in flags if flag != "--threads=1"])
    workers_of.one_worker_per_gpu(name_runner(options), device, flags, options, units=1000)
    direct = options.view_as(DirectOptions)
    assert (direct.direct_running_mode, direct.direct_num_workers) == workers
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(16), raising=False)
    assert workers_of.threads_per_worker(options) == (16 // gpus if workers == ("multi_processing", gpus) else 0)
    said = capsys.readouterr().err
    assert (
        said.startswith(f"seqcls_beam: {gpus} worker processes, each")
        if workers == ("multi_processing", gpus)
        else said == ""
    )


@pytest.mark.parametrize(("units", "workers"), [(1, ("in_memory", 1)), (3, ("multi_processing", 3))])
def test_there_are_no_more_workers_than_units(monkeypatch, units, workers):
    monkeypatch.setattr(workers_of, "gpus", lambda: 8)
    options = PipelineOptions([])
    workers_of.one_worker_per_gpu(name_runner(options), "auto", [], options, units)
    direct = options.view_as(DirectOptions)
    assert (direct.direct_running_mode, direct.direct_num_workers) == workers


def test_where_no_two_gpus_can_be_the_engine_is_not_asked(monkeypatch):
    def found(files):
        monkeypatch.setattr(workers_of, "glob", lambda _: [f"/dev/nvidia{number}" for number in range(files)])
        return workers_of.gpus()

    monkeypatch.setattr(devices, "cuda_devices", lambda: pytest.fail("asked"))
    assert found(0) == found(1) == 0
    # CUDA_VISIBLE_DEVICES may hide some of them.
    monkeypatch.setattr(devices, "cuda_devices", lambda: 3)
    assert found(4) == 3


@pytest.mark.parametrize(
    ("flags", "units", "said"),
    [
        (["--direct_running_mode=multi_processing", "--direct_num_workers=4"], 4, None),
        (
            ["--direct_running_mode=multi_processing", "--direct_num_workers=4"],
            3,
            "4 workers for 3 units of the input, so 1 of",
        ),
        (
            ["--direct_running_mode=multi_threading", "--direct_num_workers=4"],
            1,
            "4 workers for 1 unit of the input, so 3 of",
        ),
        (["--direct_running_mode=multi_processing", "--direct_num_workers=0"], 1, "16 workers for 1 unit of the input"),
        (["--direct_num_workers=4"], 1, None),
        ([], 0, None),
        (["--direct_running_mode=multi_processing", "--direct_num_workers=4", "--runner=PortableRunner"], 1, None),
    ],
)
def test_workers_that_will_have_nothing_to_do_are_told_of(monkeypatch, capsys, flags, units, said):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(16), raising=False)
    options = PipelineOptions(flags)
    workers_of.tell_of_idle(name_runner(options), options, units)
    lines = capsys.readouterr().err.splitlines()
    assert [said in line for line in lines] == ([] if said is None else [True])
