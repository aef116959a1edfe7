"""What an evaluation is refused for is said with options that its source has, and no word of what nobody asked for."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import classify, evaluate
from tests import prepared, tiny

SHARE = "30 of 60 rows were rejected (50.0%: 30 invalid_utf8"
ADVICE = "Are they in another encoding? name it with --encoding"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(a model, a file of which half is no UTF-8, what was made of it)."""
    folder = tmp_path_factory.mktemp("refused")
    lines = [f'{{"text": "{text}é", "gold": "negative"}}\n' for text in prepared.sentences(60)]
    source = folder / "in.jsonl"
    source.write_bytes(b"".join(line.encode(("utf-8", "latin-1")[at % 2]) for at, line in enumerate(lines)))
    model = tiny.checkpoint(folder / "model")
    flags = [f"--input={source}", f"--model={model}", "--keep_columns=gold", "--max_rejected=0.5"]
    assert classify.main([*flags, f"--output={folder}/out"]) == 0
    return model, source, folder / "out"


@pytest.mark.parametrize("output", [False, True])
@pytest.mark.parametrize("source", ["input", "labeled"])
def test_a_cure_is_one_that_the_source_has(files, tmp_path, capsys, source, output):
    model, given, labelled = files
    flags = [f"--input={given}", f"--model={model}"] if source == "input" else [f"--labeled={labelled}"]
    flags += ["--label_column=gold", "--bootstrap=0", *([f"--output={tmp_path}/out"] if output else [])]
    assert evaluate.main(flags) == 1
    said = capsys.readouterr().err
    assert SHARE in said
    assert (ADVICE in said) == (source == "input")
    assert ("nothing was published" in said) == output
    if source == "input":  # what is advised helps
        assert evaluate.main([*flags, "--encoding=latin-1"]) == 0
    else:
        assert evaluate.main([*flags, "--max_rejected=0.5"]) == 0


@pytest.mark.parametrize("output", [False, True])
def test_too_few_rows_are_told_as_they_are(files, tmp_path, capsys, output):
    flags = [f"--labeled={files[2]}", "--label_column=gold", "--min_rows=100", "--bootstrap=0"]
    assert evaluate.main([*flags, *([f"--output={tmp_path}/out"] if output else [])]) == 1
    said = capsys.readouterr().err
    assert "60 rows were read, less than --min_rows=100" in said and ("nothing was published" in said) == output


def test_answers_that_differ_little_are_told(tmp_path, capsys):
    table = pa.table({"gold": ["yes", "no", "Yes"] * 4, "label": ["Yes", "no", "yes"] * 4})
    pq.write_table(table, tmp_path / "a.parquet")
    assert evaluate.main([f"--labeled={tmp_path}/a.parquet", "--label_column=gold", "--bootstrap=0"]) == 0
    assert "'Yes', 'yes' differ only in case, blanks or Unicode form" in capsys.readouterr().err
