"""Hours, prices and the speeds of others, of which `pipelines.classify --plan` makes what it says."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apache_beam.testing.load_tests import dataflow_cost_consts as published_prices

from pipelines.planning import results
from pipelines.planning.hours import hours
from pipelines.planning.prices import Prices, Worker
from pipelines.planning.speed import Speed, this_machine, work

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
    cpu = results.read(str(RESULTS / "engine-cpu-epyc.json"))
    minilm, base = work(6, 384, 1536), work(12, 768, 3072)
    cells = json.loads((RESULTS / "engine-cpu-epyc.json").read_text())["cells"]

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


TABLE: dict[str, Any] = {
    "date": "2026-01-31",
    "source": "a letter",
    "currency": "EUR",
    "batch": {"vcpu_hour": 0.25, "memory_gb_hour": 0.01, "disk_gb_hour": 0.0001},
    "gpus": {"nvidia-l4": 0.83},
    "machines": {"n1-standard-4": {"vcpus": 4, "memory_gb": 15}},
}


def prices(tmp_path: Path, path: str, value: Any) -> Prices:
    """A table in which one value is another."""
    said = json.loads(json.dumps(TABLE))
    *keys, last = path.split("/")
    at = said
    for key in keys:
        at = at[key]
    at[last] = value
    (tmp_path / "prices.json").write_text(json.dumps(said))
    return Prices(str(tmp_path / "prices.json"))


def odd_prices() -> Iterator[tuple[str, Any, str]]:
    """(where, what stands there, what is told of it)."""
    machine = "machines/n1-standard-4"
    ways: dict[str, tuple[tuple[str, ...], tuple[Any, ...]]] = {
        "a number of processors": ((f"{machine}/vcpus",), ("4", -4, 0, True, [4], {}, 1e300)),
        "gigabytes": ((f"{machine}/memory_gb",), ("15", -15, 0, True, [15], {}, 1e300)),
        "a price an hour": (
            ("batch/vcpu_hour", "batch/memory_gb_hour", "batch/disk_gb_hour", "gpus/nvidia-l4"),
            ("1", -1, False, [], {}, 1e300),
        ),
        "an object": (("machines", "gpus", "batch", machine), ([], "x", 3)),
        "an accelerator": ((f"{machine}/gpu",), (4, "", [])),
        "how many": ((f"{machine}/gpus",), ("1", 1.5, -1, True)),
        "a text": (("date", "currency", "source", "region"), (None, 3)),
    }
    for what, (paths, values) in ways.items():
        yield from (
            (each, value, f"{each.replace('/', '.')} is {json.dumps(value)}: expected {what}")
            for each in paths
            for value in values
        )
    yield f"{machine}/gpu", "nvidia-l4", "machines.n1-standard-4.gpus is null: expected how many"
    yield "machines", None, "machines is null: expected an object"
    yield "batch/vcpu_hour", float("nan"), "is no JSON"
    yield "batch/vcpu_hour", float("inf"), "is no JSON"


@pytest.mark.parametrize(("path", "value", "named"), list(odd_prices()))
def test_a_table_of_prices_that_is_odd_is_told_by_the_field(tmp_path, path, value, named):
    with pytest.raises(ValueError, match="--prices=") as told:
        prices(tmp_path, path, value)
    assert named in str(told.value)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("machines/n1-standard-4", {}, "machines.n1-standard-4.vcpus and machines.n1-standard-4.memory_gb"),
        ("machines/n1-standard-4", None, "machines.n1-standard-4"),
        ("machines/n1-standard-4", {"vcpus": 4, "memory_gb": None}, "machines.n1-standard-4.memory_gb"),
        ("machines", {}, "machines.n1-standard-4"),
        ("batch", {}, "batch.vcpu_hour and batch.memory_gb_hour and batch.disk_gb_hour"),
        ("batch/disk_gb_hour", None, "batch.disk_gb_hour"),
        ("gpus", {}, "gpus.nvidia-l4"),
        ("gpus/nvidia-l4", None, "gpus.nvidia-l4"),
    ],
)
def test_what_a_table_of_prices_lacks_is_to_be_filled_in(tmp_path, path, value, named):
    told = prices(tmp_path, path, value).hour(Worker("n1-standard-4", 25, "nvidia-l4", 1))
    assert told == f"price not known: fill in {named} in {tmp_path}/prices.json, or in a copy for --prices"


SPEED = {
    "tokens_per_second": 1000.0,
    "source": "measured on this machine",
    "device": "cpu",
    "dtype": "float32",
    "tokens_per_row": 20.0,
}
ODD: tuple[Any, ...] = ("x", [], {}, None, True, 3, 0, -1, 1e308, 10**19, 1e-300)
NUMBERS = {"tokens_per_second", "tokens_per_row", "model_tokens_per_second", "seconds", "cores", "threads", "work"}


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize("name", list(Speed.__dataclass_fields__))
def test_a_field_of_a_speed_that_is_odd_is_refused_by_its_name(tmp_path, name, value):
    """What is taken is of the field's own kind."""
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"kind": "plan", "speed": {**SPEED, name: value}}))
    if name == "source":
        with pytest.raises(ValueError, match="says no speed"):
            results.read(str(file))
        return
    try:
        (found,) = results.read(str(file))
    except ValueError as error:
        assert str(error).startswith(f"--plan_speed={file} is damaged: {name} is ")
        assert not (name in NUMBERS and value == 3)
    else:
        optional = name in ("work", "digest", "gpu", "model_tokens_per_second")
        text = name in ("dtype", "digest", "gpu", "processor") and value == "x"
        zero = name in ("work", "cores", "threads", "seconds") and value == 0 and value is not True
        small = name == "seconds" and value == 1e-300
        number = name in NUMBERS and value == 3
        assert text or zero or small or number or (name == "whole" and value is True) or (optional and value is None)
        assert isinstance(results.chosen([found], None, None, found.dtype, work(2, 32, 64), "", 20), Speed | str)


def _paths(said: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Ways to all that is in a document; of several alike the first one."""
    inner = said.items() if isinstance(said, dict) else enumerate(said[:1]) if isinstance(said, list) else ()
    return [way, *(path for key, each in inner for path in _paths(each, (*way, key)))]


@pytest.mark.parametrize("name", ["engine-cpu-epyc.json", "gpu.json", "plan.json"])
def test_a_results_file_with_anything_anywhere_is_read_or_refused_in_a_sentence(tmp_path, name):
    whole: Any = {"kind": "plan", "speed": SPEED} if name == "plan.json" else json.loads((RESULTS / name).read_text())
    if name == "gpu.json":
        whole["steps"] = {key: each for key, each in whole["steps"].items() if key.startswith("end to end")}
    elif name == "engine-cpu-epyc.json":
        whole["cells"] = whole["cells"][:1]
    file = tmp_path / name
    refused = 0
    for way in _paths(whole):
        for value in (*ODD, "gone"):
            said = json.loads(json.dumps([whole]))
            at, (*keys, last) = said, (0, *way)
            for key in keys:
                at = at[key]
            if value == "gone" and way:
                del at[last]
            else:
                at[last] = value
            file.write_text(json.dumps(said[0]))
            try:
                found = results.read(str(file))
            except ValueError as error:
                assert str(error).startswith(f"--plan_speed={file} ") and "\n" not in str(error)
                assert not PYTHONS.search(str(error).replace(str(file), ""))
                refused += 1
                continue
            for dtype in ("auto", "float32"):
                told = results.chosen(found, None, None, dtype, work(2, 32, 64), "", 20)
                assert isinstance(told, str) or 0 < 1e12 / told.tokens_per_second < 1e300
    assert refused > 20


PYTHONS = re.compile(r"NoneType|object is|'\w+' object|subscript|argument|__|attribute|unhashable|operand|indices")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("null", "is null: expected what --plan_json wrote"),
        ('["x"]', 'is ["x"]: expected'),
        (
            '{"kind": "plan", "speed": {"source": "measured on this machine"}}',
            "is damaged: it has no tokens_per_second",
        ),
        ('{"kind": "plan", "speed": {"tokens_per_second": 1}}', "is damaged: it has no source; expected"),
        ('{"kind": "plan", "speed": []}', "is damaged: a part of it is of another kind"),
        ('{"cells": null}', "is damaged: a part of it is of another kind"),
        ('{"cells": [{}]}', "is damaged: it has no peers"),
        ('{"steps": 3}', "is damaged: a part of it is of another kind"),
    ],
)
def test_a_file_of_speeds_that_is_built_otherwise_is_told_in_plain_words(tmp_path, said, told):
    file = tmp_path / "odd.json"
    file.write_text(said)
    with pytest.raises(ValueError, match="--plan_speed=") as refused:
        results.read(str(file))
    assert str(refused.value).startswith(f"--plan_speed={file} {told}")
    assert not PYTHONS.search(str(refused.value).replace(str(file), ""))


def test_a_field_that_no_speed_has_is_told(tmp_path):
    file = tmp_path / "odd.json"
    file.write_text(json.dumps({"kind": "plan", "speed": {**SPEED, "weight": 3}}))
    with pytest.raises(ValueError, match='it has "weight", which is nothing of a speed'):
        results.read(str(file))


def test_the_cores_of_this_machine_are_those_it_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert this_machine("cpu")["cores"] == 3
