"""The script for a GPU: every step leaves a result, whatever becomes of it, and the documentation shows the table."""

import json
import os
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu.__main__ import plan
from benchmarks.gpu.bench import Bench, Record, Step, only, run
from benchmarks.gpu.busy import Busy
from benchmarks.gpu.ceilings import ceilings, expected, layer
from benchmarks.gpu.engines import engine, kind
from benchmarks.gpu.models import checkpoints, sequences, shapes
from benchmarks.gpu.table import CUT_OFF, ROWS, table
from benchmarks.hardware import RESULTS, environment
from benchmarks.peers.work import flops
from seqcls_beam.version import __version__

ROOT = Path(__file__).parents[2]
SCRIPT = [sys.executable, "-m", "benchmarks.gpu"]
REHEARSAL = [*SCRIPT, "--device=cpu", "--small"]
ABOUT = {
    "versions": {"torch": "2.99.0", "transformers": "5.99.0"},
    "processor": "a processor",
    "cores": 16,
    "command": "python -m benchmarks.gpu --seconds=540 --device=cuda",
    "device": "cuda",
    "small": False,
}


@pytest.fixture
def bench(tmp_path):
    made = Bench("cpu", True, tmp_path / "work", tmp_path / "out")
    for folder in (made.out, made.logs):
        folder.mkdir(parents=True)
    return made


def seen(bench):
    """Which steps gpu.json holds while a step runs."""
    print("printed by a step")
    path = bench.out / "gpu.json"
    return {"seen": list(json.loads(path.read_text())["steps"]) if path.exists() else [], "before": list(bench.found)}


def raises(bench):
    raise ValueError("what went wrong")


def dies(bench):
    os._exit(7)


def hangs(bench):
    time.sleep(600)


def tells_no_json(bench):
    return {"lengths": np.arange(3)}


def test_whatever_becomes_of_a_step_it_leaves_a_result_and_the_next_one_runs(bench, capsys):
    works = [seen, raises, seen, dies, hangs, tells_no_json, seen]
    steps = [Step(f"step {i}", 20, work) for i, work in enumerate(works)]
    steps[4] = Step("step 4", 2, hangs, patience=1)
    steps += [Step("card", 1, seen, gpu=True), Step("late", 1e6, seen)]
    record = Record(bench, ABOUT)
    run(steps, bench, record, 500)
    found = json.loads((bench.out / "gpu.json").read_text())
    assert found == record.whole and list(found["steps"]) == [step.name for step in steps]
    results = list(found["steps"].values())
    for i in (0, 2, 6):
        names = [step.name for step in steps[:i]]
        assert results[i]["seen"] == results[i]["before"] == names
    assert results[1]["error"] == "ValueError: what went wrong"
    assert "exit code 7" in results[3]["error"]
    assert re.match(CUT_OFF, results[4]["error"]) and results[4]["step_seconds"] < 20
    assert "ndarray is not JSON serializable" in results[5]["error"]
    assert results[7] == {"skipped": "needs a GPU"}
    assert re.fullmatch(r"no time: \d+ s left, 1000000 needed", results[8]["skipped"])
    shown = capsys.readouterr().out
    assert "step 1\n    error: ValueError: what went wrong" in shown and "printed by a step" not in shown
    logs = (bench.out / "logs.txt").read_text()
    assert logs.count("printed by a step") == 3 and "in raises" in logs


def test_without_time_every_step_says_so(tmp_path):
    done = subprocess.run(
        [*REHEARSAL, f"--out={tmp_path}", "--seconds=0"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    steps = plan(Bench("cpu", True, tmp_path, tmp_path))
    assert found["steps"] == {
        step.name: {"skipped": "needs a GPU" if step.gpu else f"no time: 0 s left, {step.needs:.0f} needed"}
        for step in steps
    }
    assert found["versions"]["seqcls_beam"] == __version__
    assert table(tmp_path / "gpu.json") in done.stdout and "not measured: no time: 0 s left" in done.stdout


def test_a_step_stands_behind_those_it_needs():
    names: list[str] = []
    for step in plan(Bench("cuda", False, Path(), Path())):
        assert {*step.files, *step.figures} <= set(names)
        names.append(step.name)
    assert len(set(names)) == len(names)


def test_steps_that_are_asked_for_bring_what_they_need():
    steps = plan(Bench("cuda", False, Path(), Path()))

    def names(wanted, before):
        return [step.name for step in only(steps, [wanted], before)]

    alone = ["checkpoints", "corpora", "end to end, one text", "engine, these texts", "end to end"]
    assert names("end to end", {}) == alone
    measured = {"end to end, one text": {"wall_seconds": 1.8}, "engine, these texts": {"error": "x"}, "corpora": {}}
    assert names("end to end", measured) == [each for each in alone if each != "end to end, one text"]
    assert names("training, packed", {}) == [
        "checkpoints",
        "corpora",
        "prepare",
        "training, padded",
        "training, packed",
    ]
    assert names("tests", {}) == ["tests"]


def test_a_run_adds_to_an_earlier_one(bench):
    earlier = {**ABOUT, "steps": {"a": {"value": 1}, "b": {"skipped": "no time"}, "c": {"value": 3}}}
    steps = [Step("a", 20, raises), Step("b", 20, seen), Step("c", 20, seen), Step("d", 20, raises)]
    about = {**ABOUT, "command": "python -m benchmarks.gpu --only b c d"}
    run(steps, bench, Record(bench, about, earlier), 500)
    found = json.loads((bench.out / "gpu.json").read_text())
    assert found["command"] == ABOUT["command"] and list(found["steps"]) == ["a", "b", "c", "d"]
    assert found["later"] == [{**about, "steps": ["b", "c", "d"]}]
    assert found["steps"]["a"] == {"value": 1}, "what did not come to an end replaces nothing"
    assert found["steps"]["b"]["before"] == ["a", "b", "c"] and "before" in found["steps"]["c"]
    assert found["steps"]["d"]["error"] == "ValueError: what went wrong"
    run([Step("d", 20, seen)], bench, Record(bench, {**about, "command": "third"}, found), 500)
    found = json.loads((bench.out / "gpu.json").read_text())
    assert [each["steps"] for each in found["later"]] == [["b", "c", "d"], ["d"]]
    assert "`python -m benchmarks.gpu --only b c d`; later, on such a machine again, `third`" in table(
        bench.out / "gpu.json"
    )


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"device": "cuda"}, "has other device: cuda, and here cpu"),
        ({"versions": {"torch": "2.99.0"}}, "has other versions"),
        ({"gpu": {"name": "A Card"}}, "is of another card: A Card, and here is"),
        (None, "No such file"),
        ({}, "--only: nothing: no such step"),
    ],
)
def test_what_a_run_cannot_be_added_to_is_said(other, said, tmp_path):
    path = tmp_path / "earlier.json"
    if other is not None:
        about = {key: value for key, value in environment().items() if key != "gpu"}
        path.write_text(json.dumps({**about, "device": "cpu", "small": True, "steps": {}} | other))
    flags = [f"--out={tmp_path}", f"--onto={path}", "--seconds=0", "--only", "nothing"]
    done = subprocess.run([*REHEARSAL, *flags], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and said in done.stderr
    assert not (tmp_path / "gpu.json").exists()


def test_the_rows_of_the_table_are_those_of_steps():
    names = {step.name for step in plan(Bench("cuda", False, Path(), Path()))}
    assert {row.step for row in ROWS} <= names


def test_the_documentation_shows_the_table():
    shown = (ROOT / "docs" / "engine.md").read_text()
    (between,) = re.findall(r"<!-- gpu -->\n(.*?)<!-- end gpu -->", shown, re.DOTALL)
    printed = subprocess.run([*SCRIPT, "--table"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert between.strip() == printed.stdout.strip() == table(RESULTS / "gpu.json")


def test_a_result_becomes_a_table(tmp_path):
    gpu = {"name": "A Card", "power.limit": "700.00 W", "driver_version": "1.2", "memory.total": "80 GiB"}
    alone = {
        "batch_tokens": {"65536": {"Mtokens_s": 2.2}, "131072": {"Mtokens_s": 2.416}},
        "facts": {"engine": "packed", "dtype": "float16"},
        "from_float32": {"max_probability_difference": 0.00081},
        "kernels": {"busy": 0.974},
        "beside_ceilings": {"products": {"measured": 0.27, "expected": 0.2, "ratio": 1.35}},
    }
    steps = {
        "ceilings": {"copy_GB_s": 2950.0, "float16_TFLOP_s": {"768x768": 598.4, "768x3072": 702.0}},
        "engine, bert-base": alone,
        "tests": {"said": "1 failed, 105 passed in 80.00s", "failed": ["FAILED tests/a.py::b - a | b", *"cdefgh"]},
        "end to end": {
            "Mtokens_s": 1.99,
            "share": 0.905,
            "engine_Mtokens_s": 2.2,
            "gpu": {"busy_in_the_middle": 0.93},
            "rows": 1000,
            "tokens": 127_900,
        },
        "rivals": {
            "texts_s": {"seqcls_beam": 17000.0, "torch, sorted: batch_tokens 1": 8500.0, "pipe: batch_size 1": 100.0}
            | {"pipe: batch_size 2": 1700.0},
            "left_out": {"other: batch_size 1": "not installed: other"},
        },
        "training, padded": {"tokens_s": 200_000, "machine": {"computed_in": "bfloat16"}},
        "training, packed": {"tokens_s": 340_000, "times": 1.7, "machine": {"computed_in": "bfloat16"}},
        "compiled": {"eager": {"Mtokens_s": 2.0}, "compiled": {"refused": [{"reason": "BackendError: no compiler"}]}},
        "bundled checkpoint, auto": {"error": "RuntimeError: a fault\nand more"},
        "lack of memory": {"skipped": "no time: 3 s left, 10 needed"},
        "end to end, MiniLM-L6": {
            "error": "RuntimeError: pipelines.classify: cut off: INFO: a log | more of it",
            "step_seconds": 42.9,
        },
        "end to end, 2 threads": {"error": "RuntimeError: pipelines.classify: 1: what was cut off: a file"},
    }
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps(ABOUT | {"gpu": gpu, "steps": steps}))
    caption, _, _, _, *lines = table(path).splitlines()
    assert caption.startswith("A Card (700.00 W, driver 1.2), 16 cores, torch 2.99.0, transformers 5.99.0: `python -m")
    said = [line.split(" | ")[1] for line in lines]
    assert len(said) == len(ROWS) and all(line.count(" | ") == 2 for line in lines)
    by_step = {row.step: each for row, each in reversed(list(zip(ROWS, said, strict=True)))}
    assert by_step["ceilings"] == "copies 2,950 GB/s, float16 products 598 to 702 TFLOP/s"
    assert by_step["engine, bert-base"] == (
        "**2.2 M tokens/s** (2.42 M at 131,072 a pass), packed, float16, max Δp 8.1e-04"
    )
    assert said[2] == "products 0.27 of 0.2, × 1.35; kernels run 97% of the time"
    assert by_step["end to end"] == (
        "**1.99 M tokens/s**, 0.91 of the engine's 2.2 M, card busy 93% (1,000 texts of 128 tokens)"
    )
    assert by_step["rivals"] == (
        "**17,000 texts/s**: 2.0 × torch, sorted: batch_tokens 1; 10.0 × pipe: batch_size 2; other left out, "
        "not installed: other"
    )
    assert by_step["training, packed"] == "340,000 tokens/s, bfloat16, **1.70 ×** padded"
    assert by_step["tests"] == "1 failed, 105 passed in 80.00s; FAILED tests/a.py::b - a / b; c; d; e; f; and 2 more"
    assert by_step["compiled"] == "refused: BackendError: no compiler"
    assert by_step["bundled checkpoint, auto"] == "not measured: RuntimeError: a fault"
    assert by_step["lack of memory"] == "not measured: no time: 3 s left, 10 needed"
    assert by_step["end to end, short texts"] == "not measured"
    assert by_step["end to end, MiniLM-L6"] == "not measured: cut off after 43 s, when no time was left"
    assert by_step["end to end, 2 threads"].endswith(": RuntimeError: pipelines.classify: 1: what was cut off: a file")


def test_a_kernel_is_known_by_its_name():
    names = {
        "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128, 4, cutlass::half_t>>": "attention",
        "nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_bias_TNT": "products",
        "sm90_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize128x128x64": "products",
        "void cublasLt::splitKreduce_kernel<32, 16, int, float, __half>": "products",
        "void at::native::vectorized_elementwise_kernel<4, at::native::GeluCUDAKernelImpl>": "pointwise",
        "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::Half, float>": "pointwise",
        "Memcpy HtoD (Pinned -> Device)": "copies",
    }
    assert {name: kind(name) for name in names} == names


@pytest.mark.parametrize("model", ["bert-base", "minilm"])
def test_products_that_are_expected_are_those_that_a_text_needs(model):
    shape = shapes(small=False)[model]
    rates = {f"{k}x{n}": 1.0 for k, n in layer(shape)}
    found = expected(shape, 128.0, {"float16_TFLOP_s": rates, "copy_GB_s": 1000.0}, "float16")
    attention = (shape["num_hidden_layers"] - 1) * 128 * 4 * 128 * shape["hidden_size"] + 4 * 128 * shape["hidden_size"]
    needed = (flops(shape, np.array([128]))[0] - attention) / 128 / 1e6  # µs a token at 1 TFLOP/s
    assert found["products"] == pytest.approx(needed, rel=1e-9)
    assert found["all"] == pytest.approx(found["products"] + found["attention"] + found["pointwise"])


def test_bytes_that_are_expected_of_bert_base():
    shape = shapes(small=False)["bert-base"]
    rates = {f"{k}x{n}": 1.0 for k, n in layer(shape)}
    found = expected(shape, 128.0, {"float16_TFLOP_s": rates, "copy_GB_s": 1000.0}, "float16")
    # 27.6 KB a token and layer: sums 2 x 4.6, norms 2 x 3.1, GELU 12.3; 21.5 KB for the embeddings.
    assert found["pointwise"] == pytest.approx((11 * 27.6 + 21.5) / 1000, rel=0.01)
    assert found["attention"] == pytest.approx((11 * 6.144 + 3.072) / 1000, rel=0.01)


def test_random_sequences_are_as_long_as_they_say():
    ids, offsets = sequences(8192)
    lengths = np.diff(offsets)
    assert len(ids) == offsets[-1] and lengths.min() >= 5 and lengths.max() <= 512
    assert 122 < lengths.mean() < 130
    _, offsets = sequences(1000, 65, 128)
    assert np.diff(offsets).min() == 65 and np.diff(offsets).max() == 128


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A stand-in for the driver's tool, which says what it was told: here is no card to ask."""

    def says(text):
        then = "if [ $4 = -lms=200 ]; then exec sleep 60; fi"
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\ncat <<END\n{text}\nEND\n{then}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return says


def test_how_busy_a_card_is_is_told_of_the_time_in_which_it_works(driver):
    percents = [0, 0, 10, 90, 90, 100, 100, 100, 90, 90, 90, 20, 0]
    driver("\n".join(["[N/A], [N/A], [N/A]", *(f"{each}, 600.00, 1700" for each in percents)]))
    with Busy() as busy:
        until = time.monotonic() + 20
        while len(busy.samples) < len(percents) and time.monotonic() < until:
            time.sleep(0.01)
    assert busy.result() == {
        "samples": 13,
        "busy": 0.78,
        "busy_in_the_middle": 0.95,
        "watts": 600,
        "MHz": 1700,
        "percent": percents,
    }


def test_where_nobody_tells_nothing_is_said_of_how_busy_a_card_is(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with Busy() as busy:
        pass
    assert busy.result() == {"samples": 0}


def test_the_card_is_a_part_of_the_environment(driver, monkeypatch):
    driver("A Card, 1.2, 700.00 W, 80 GiB")
    assert environment()["gpu"] == {
        "name": "A Card",
        "driver_version": "1.2",
        "power.limit": "700.00 W",
        "memory.total": "80 GiB",
    }
    monkeypatch.setenv("PATH", "")
    assert "gpu" not in environment() and environment()["versions"]["seqcls_beam"] == __version__


@pytest.mark.engine
def test_the_engine_is_compared_with_float32_and_with_the_ceilings(bench):
    record = Record(bench, ABOUT)
    mini = partial(engine, model="minilm", dtype="float32", budgets=(2048, 512))
    steps = [Step("ceilings", 60, ceilings), Step("checkpoints", 60, checkpoints), Step("engine", 60, mini)]
    run(steps, bench, record, 500)
    limits, made, result = record.steps.values()
    assert limits["copy_GB_s"] > 0 and min(limits["float32_TFLOP_s"].values()) > 0
    assert {"bert-base", "minilm"} < set(made)
    assert set(result["batch_tokens"]) == {"2048", "512"} and result["facts"]["batch_tokens"] == 2048
    assert result["from_float32"]["label_agreement"] == 1.0 and result["from_float32"]["max_logit_difference"] < 1e-4
    measured = result["kernels"]["us_per_token"]
    assert measured["all"] == pytest.approx(sum(us for name, us in measured.items() if name != "all"), rel=0.01)
    assert {"products", "attention", "pointwise", "all"} == set(result["beside_ceilings"])
    shown = (bench.out / "kernels-minilm-float32.txt").read_text()
    assert re.search(r"attention +(aten::_softmax|seqcls_beam::attention)", shown)  # which one, the processor decides


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_rehearsal_runs_every_step_that_a_cpu_can(tmp_path):
    counts: list[int] = []
    with (tmp_path / "shown.txt").open("w") as shown:
        command = [*REHEARSAL, f"--out={tmp_path}", f"--work={tmp_path / 'work'}", "--seconds=1100"]
        script = subprocess.Popen(command, cwd=ROOT, stdout=shown, stderr=shown)
        while script.poll() is None:
            if (tmp_path / "gpu.json").exists():
                steps = json.loads((tmp_path / "gpu.json").read_text())["steps"]
                counts += [len(steps)] if [len(steps)] != counts[-1:] else []
            time.sleep(0.02)
    text = (tmp_path / "shown.txt").read_text()
    assert script.returncode == 0, text
    found = json.loads((tmp_path / "gpu.json").read_text())["steps"]
    steps = plan(Bench("cpu", True, tmp_path, tmp_path))
    assert list(found) == [step.name for step in steps]
    for step in steps:
        if step.gpu:
            assert found[step.name] == {"skipped": "needs a GPU"}
        else:
            assert not {"error", "skipped"} & set(found[step.name]) and len(found[step.name]) > 1, found[step.name]
    # Steps for a GPU follow one another at once.
    assert counts == sorted(counts) and len(counts) >= sum(not step.gpu for step in steps)
    assert "A rehearsal" in text and table(tmp_path / "gpu.json") in text
    assert found["end to end"]["rows"] == 200 and found["end to end, short texts"]["rows"] == 400
    assert found["tests"]["exit_code"] == 0 and not found["tests"]["failed"]
    assert found["rivals"]["texts_s"]["seqcls_beam"] > 0
    assert found["training, padded"]["steps"] == 2 and found["training, padded"]["tokens_s"] > 0
