"""Columns of 0 and 1 whose numbers have names in a file: read where these say off and on, and else refused."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.corpora import write_jsonl
from tests.preparation.test_labels import FLAGS
from tests.prepared import all_rows, manifest, run, sentences

COLUMNS = "--label_columns=toxic,spam"
BITS = [(number % 2, int(number % 3 == 0)) for number in range(20)]


def write(path, **names):
    """Twenty rows with the columns toxic and spam, whose class numbers have names; the texts and what stands there."""
    features = {name: {"names": each, "_type": "ClassLabel"} for name, each in names.items()}
    texts = sentences(20, seed=sum(path.name.encode()))
    table = pa.table({"text": texts, "toxic": [row[0] for row in BITS], "spam": [row[1] for row in BITS]})
    huggingface = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": huggingface}), path)
    return {text: [float(each) for each in row] for text, row in zip(texts, BITS, strict=True)}


def read(out):
    """Text → its labels."""
    return {row["text"]: row["labels"] for row in all_rows(out)["train"]}


@pytest.mark.parametrize(
    "names",
    [("no", "yes"), ("False", "TRUE"), ("0", "1"), ("N", "y"), (" off", "On "), ("not_toxic", "Toxic")],
)
def test_names_that_say_off_and_on_are_read(names, tmp_path):
    expected = write(tmp_path / "a.parquet", toxic=list(names))
    assert read(run(tmp_path / "a.parquet", tmp_path / "out", COLUMNS, *FLAGS)) == expected


@pytest.mark.parametrize(
    "names", [["yes", "no"], ["true", "false"], ["1", "0"], ["toxic", "clean"], ["no", "yes", "unsure"], ["no"]]
)
def test_names_that_may_say_the_opposite_are_refused_and_an_option_decides(names, tmp_path, capfd):
    expected = write(tmp_path / "a.parquet", toxic=names, spam=["no", "yes"])
    run(tmp_path / "a.parquet", tmp_path / "out", COLUMNS, *FLAGS, code=2)
    run(tmp_path / "a.parquet", tmp_path / "out", COLUMNS, "--labels=toxic,spam", *FLAGS, code=2)
    said = capfd.readouterr().err
    called = ", ".join(f"{number} {name!r}" for number, name in enumerate(names))
    assert said.count(f"a.parquet calls the classes in 'toxic' {called}: whether a row has the label where 1") == 2
    assert "--labels=toxic:NAME, beside the other columns, says that 1 stands for NAME" in said
    out = run(tmp_path / "a.parquet", tmp_path / "out", COLUMNS, "--labels=toxic:bad,spam", *FLAGS)
    assert "--labels says what 1 stands for" in capfd.readouterr().err
    assert manifest(out)["labels"] == ["bad", "spam"] and read(out) == expected


def test_files_that_call_off_and_on_in_other_words_are_read_alike(tmp_path):
    expected = write(tmp_path / "a.parquet", toxic=["no", "yes"], spam=["no", "yes"])
    expected |= write(tmp_path / "b.parquet", toxic=["false", "true"])
    expected |= write(tmp_path / "c.parquet")
    more = dict(zip(sentences(20, seed=3), BITS, strict=True))
    write_jsonl(tmp_path / "d.jsonl", [{"text": text, "toxic": t, "spam": s} for text, (t, s) in more.items()])
    expected |= {text: [float(t), float(s)] for text, (t, s) in more.items()}
    assert len(expected) == 80
    out = run(None, tmp_path / "out", f"--input={tmp_path}/*.*", COLUMNS, *FLAGS)
    assert read(out) == expected and manifest(out)["rows"]["rejected"] == 0


@pytest.mark.parametrize("looked_at", [1, 1000])
def test_every_file_is_asked_where_they_differ(looked_at, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("seqcls_beam.preparation.sampled.FOOTERS", looked_at)
    for name, names in (("a", ["no", "yes"]), ("b", ["no", "yes"]), ("c", ["yes", "no"])):
        write(tmp_path / f"{name}.parquet", toxic=names)
    inputs = ["--input", f"{tmp_path}/a.parquet", f"{tmp_path}/b.parquet", f"{tmp_path}/c.parquet"]
    out = run(None, tmp_path / "out", *inputs, COLUMNS, "--max_rejected=0.5", *FLAGS, code=2 if looked_at > 1 else 0)
    if looked_at == 1:  # a later file is no guess either: its rows are rejected
        assert manifest(out)["rows"]["rejected_by_reason"] == {"wrong_type": 20} and len(read(out)) == 40
    else:
        assert "c.parquet calls the classes in 'toxic' 0 'yes', 1 'no'" in capfd.readouterr().err
