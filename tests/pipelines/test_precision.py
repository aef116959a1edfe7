"""--dtype=fastest from its first start to its last, and the line on bfloat16 that ends a long run."""

import pytest

from pipelines import classify, evaluate, labelling, precision
from seqcls_beam.model.engine import fastest, linear
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.table import read_manifest
from tests import tiny
from tests.corpora import texts, write_jsonl

pytestmark = pytest.mark.engine

FOUND = {
    "dtype": "bfloat16",
    "sequences": 576,
    "tried": [
        {"dtype": "float32", "times": 1.0, "label_agreement": 1.0, "mean_delta": 0.0},
        {"dtype": "bfloat16", "times": 1.74, "label_agreement": 0.9983, "mean_delta": 0.00123},
        {"dtype": "int8", "refused": "m loses too much"},
    ],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture
def flags(tmp_path, model):
    write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in texts(20)])
    return [f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out", f"--model={model}", "--threads=1"]


def test_a_run_goes_on_in_the_precision_that_its_first_start_found(tmp_path, flags, monkeypatch, capsys):
    def killed(*_, **__):
        raise RunError("the worker is gone")

    monkeypatch.setattr(linear, "multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(fastest, "fastest", lambda *_: FOUND)
    with monkeypatch.context() as broken:
        broken.setattr(labelling, "run_pipeline", killed)
        assert classify.main([*flags, "--dtype=fastest"]) == 1
    said = capsys.readouterr().err
    assert (
        "--dtype=fastest: bfloat16, 1.7 times as fast, 99.83% of the labels, mean |Δp| 0.0012; int8: m loses too much "
        "(beside float32, 576 of the first texts)"
    ) in said
    monkeypatch.delattr(fastest, "fastest")  # nothing is timed any more
    with monkeypatch.context() as other:
        other.setattr(linear, "multiplies_bfloat16", lambda: False)
        other.setattr("seqcls_beam.model.engine.choosing.linear.multiplies_bfloat16", lambda: False)
        assert classify.main([*flags, "--dtype=fastest"]) == 1
        assert "--dtype=bfloat16: this processor has no products of that" in capsys.readouterr().err
    assert classify.main([*flags, "--dtype=fastest"]) == 0
    assert "--dtype=fastest: bfloat16, in which this run was started first" in capsys.readouterr().err
    manifest = read_manifest(f"{tmp_path}/out")
    assert manifest is not None
    assert manifest["fastest"] == FOUND and manifest["engines"][0]["dtype"] == "bfloat16"
    assert "--dtype=bfloat16" in manifest["command"]
    for dtype in ("fastest", "bfloat16"):
        assert classify.main([*flags, f"--dtype={dtype}"]) == 0
        assert "already published" in capsys.readouterr().err
    assert classify.main([*flags, "--dtype=float32"]) == 1, "that is another run"


def test_an_attempt_in_a_precision_that_was_named_binds_nobody(tmp_path, flags, capsys):
    assert classify.main([*flags, "--dtype=float16", "--device=cpu"]) == 1, "refused on a CPU, and its attempt stays"
    assert classify.main([*flags, "--dtype=fastest"]) == 0
    assert (
        "--dtype=fastest: float32, since to try others takes longer than to label 20 texts" in capsys.readouterr().err
    )
    manifest = read_manifest(f"{tmp_path}/out")
    assert manifest is not None
    assert manifest["fastest"] == {"dtype": "float32", "reason": "to try others takes longer than to label 20 texts"}


def test_a_night_has_a_precision_of_its_own(tmp_path, flags, capsys):
    nightly = [*flags, "--dtype=fastest", "--only_new"]
    for night in ("2026-11-20", "2026-11-21", "2026-11-20"):
        assert classify.main([*nightly, f"--run_date={night}"]) == 0
    said = capsys.readouterr().err
    assert said.count("--dtype=fastest: float32, since") == 1, "the others have nothing new"


@pytest.mark.parametrize(
    ("command", "given", "said"),
    [
        (classify, ["--plan"], "--plan times one precision"),
        (classify, ["--runner=FlinkRunner", "--flink_master=h:1", "--parallelism=1"], "is timed on this machine"),
        (classify, ["--runner=DataflowRunner"], "is timed on this machine"),
        (evaluate, ["--label_column=label"], "--dtype=fastest is of pipelines.classify"),
    ],
)
def test_where_it_cannot_be_found_it_is_refused(flags, capsys, command, given, said):
    assert command.main([*flags, "--dtype=fastest", *given]) == 2
    assert said in capsys.readouterr().err


def test_texts_of_the_command_line_have_no_fastest_precision(model, capsys):
    assert classify.main([f"--model={model}", "--text=a film", "--dtype=fastest"]) == 2
    assert "on the first rows of files" in capsys.readouterr().err


def test_a_long_run_ends_with_what_bfloat16_would_give(flags, monkeypatch, capsys):
    line = (
        "--dtype=bfloat16 would be 1.9 times as fast on this processor; it moves a probability by 0.0043 at most (self-"
    )
    asked: list[str] = []

    def gives(checkpoint, options):
        asked.append(options.dtype)
        return 1.92, 0.00431

    monkeypatch.setattr(fastest, "bfloat16", gives)
    assert classify.main(flags) == 0 and not asked, "a short run is not made longer"
    monkeypatch.setattr(precision, "_LONG", 0.0)
    for more, told in ((["--quiet", "--max_length=32"], False), (["--max_length=64"], True)):
        capsys.readouterr()
        assert classify.main([*flags, "--overwrite", *more]) == 0
        assert (line in capsys.readouterr().err) is told
    assert asked == ["auto"]
