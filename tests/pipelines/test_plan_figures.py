"""Hours, prices and the speeds of others, of which `pipelines.classify --plan` makes what it says."""

import json
from pathlib import Path

import pytest
from apache_beam.testing.load_tests import dataflow_cost_consts as published_prices

from pipelines.planning import results
from pipelines.planning.hours import hours
from pipelines.planning.prices import Prices, Worker
from pipelines.planning.speed import Speed, work

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def test_a_free_worker_takes_the_next_unit():
    assert hours([[1, 1, 1, 1]], 1) == 4
    assert hours([[1, 1, 1, 1]], 2) == 2
    assert hours([[1, 1, 1, 1]], 3) == 2
    assert hours([[1, 1, 3]], 2) == 4  # the last one begins when the first is done
    assert hours([[2], [3]], 16) == 5  # runs follow each other
    assert hours([[], [1]], 4) == 1


def test_the_packaged_prices_are_those_that_beam_has():
    prices = Prices(None)
    assert prices.date and prices.currency == "USD"
    batch = published_prices.VCPU_PER_HR_BATCH * 4 + published_prices.MEM_PER_GB_HR_BATCH * 16
    batch += published_prices.PD_PER_GB_HR * 100
    cards = {
        "nvidia-l4": published_prices.L4_PER_GPU_PER_HOUR,
        "nvidia-tesla-t4": published_prices.T4_PER_GPU_PER_HOUR,
        "nvidia-tesla-a100": published_prices.A100_40GB_PER_GPU_PER_HOUR,
        "nvidia-a100-80gb": published_prices.A100_80GB_PER_GPU_PER_HOUR,
    }
    for gpu, price in cards.items():
        assert prices.hour(Worker("g2-standard-4", 100, gpu, 2)) == pytest.approx(batch + 2 * price)
    unknown = prices.hour(Worker("a3-highgpu-1g", 100, "nvidia-h100-80gb", 1))
    assert isinstance(unknown, str) and "fill in gpus.nvidia-h100-80gb" in unknown
    assert "a price an hour" not in unknown


def test_of_a_results_file_the_nearest_row_is_said():
    cpu = results.read(str(RESULTS / "engine-cpu.json"))
    minilm, base = work(6, 384, 1536), work(12, 768, 3072)
    cells = json.loads((RESULTS / "engine-cpu.json").read_text())["cells"]

    def measured_in(name: str, corpus: str, peer: str) -> float:
        return next(
            cell["peers"][peer]["tokens_per_second"]
            for cell in cells
            if (cell["model"], cell["corpus"]) == (name, corpus)
        )

    def chosen(dtype: str, size: int, length: float) -> Speed | str:
        return results.chosen(cpu, "cpu", None, dtype, size, "", length)

    found = chosen("auto", minilm, 14)
    assert isinstance(found, Speed) and "minilm in float32" in found.source
    assert found.tokens_per_second == measured_in("minilm", "sst2", "seqcls_beam float32")
    found = chosen("auto", minilm, 400)
    assert isinstance(found, Speed)
    assert found.tokens_per_second == measured_in("minilm", "imdb", "seqcls_beam float32")
    found = chosen("int8", base, 40)
    assert isinstance(found, Speed)
    assert found.tokens_per_second == measured_in("bert-base", "lognormal", "seqcls_beam int8")
    far = chosen("auto", 10 * base, 40)
    assert isinstance(far, str) and "0.1 times the work" in far
    halves = chosen("float16", minilm, 40)
    assert isinstance(halves, str) and "not float16" in halves


def test_a_gpu_is_known_by_the_name_of_its_driver():
    gpu = results.read(str(RESULTS / "gpu.json"))
    steps = json.loads((RESULTS / "gpu.json").read_text())["steps"]
    base = work(12, 768, 3072)
    found = results.chosen(gpu, "cuda", "nvidia-h200-141gb", "auto", base, "", 130)
    assert isinstance(found, Speed) and found.whole
    rates = [step["Mtokens_s"] * 1e6 for name, step in steps.items() if name in ("end to end", "end to end, 2 threads")]
    assert any(found.tokens_per_second == pytest.approx(rate) for rate in rates)
    short = results.chosen(gpu, "cuda", "nvidia-h200-141gb", "auto", base, "", 13)
    assert isinstance(short, Speed)
    assert short.tokens_per_second == pytest.approx(steps["end to end, short texts"]["Mtokens_s"] * 1e6)
    for other in ("nvidia-l4", "nvidia-tesla-t4", "nvidia-h100-80gb", "nvidia-a100-80gb"):
        assert isinstance(results.chosen(gpu, "cuda", other, "auto", base, "", 130), str)
    for name, kind in (
        ("NVIDIA L4", "nvidia-l4"),
        ("Tesla T4", "nvidia-tesla-t4"),
        ("NVIDIA A100-SXM4-40GB", "nvidia-tesla-a100"),
        ("NVIDIA A100 80GB PCIe", "nvidia-a100-80gb"),
        ("NVIDIA H100 80GB HBM3", "nvidia-h100-80gb"),
    ):
        known = [Speed(1.0, "", "cuda", "float16", 20.0, base, gpu=name)]
        assert isinstance(results.chosen(known, "cuda", kind, "auto", base, "", 20), Speed)
        others = {"nvidia-l4", "nvidia-tesla-t4", "nvidia-tesla-a100", "nvidia-a100-80gb", "nvidia-h100-80gb"} - {kind}
        assert all(isinstance(results.chosen(known, "cuda", each, "auto", base, "", 20), str) for each in others)
