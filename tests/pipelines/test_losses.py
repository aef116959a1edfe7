"""What a damaged, changed or empty input costs, as the user of the command is told it: in rows, by file."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import classify, evaluate, prepare
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.files import list_files
from seqcls_beam.reading.formats.pieces import InputChanged
from seqcls_beam.reading.records import plan_layout, read_unit
from seqcls_beam.reading.units import plan_units
from tests import tiny
from tests.corpora import labels, rejects, texts, write_jsonl
from tests.pipelines.test_classify import manifest_of, run

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


def write_damaged(path: Path, groups: int, rows: int) -> None:
    """A Parquet file whose second row group has a page of no known kind in a column beside the text."""
    table = pa.table({"text": texts(groups * rows), "n": range(groups * rows)})
    pq.write_table(table, path, row_group_size=rows, use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[pq.ParquetFile(path).metadata.row_group(1).column(1).data_page_offset + 1] = 8
    path.write_bytes(data)


def write_csv(path: Path, header: str, rows: list[str]) -> None:
    path.write_text("\n".join([header, *(f"{i},{text}" for i, text in enumerate(rows))]) + "\n")


def test_a_row_group_counts_with_all_its_rows(tmp_path, model, capsys):
    write_damaged(tmp_path / "a.parquet", 3, 100)
    out = run(model, tmp_path / "out", f"--input={tmp_path}/a.parquet", code=1)
    assert "100 of 300 rows were lost (33.3%: 100 corrupt_file), more than --max_rejected" in capsys.readouterr().err
    run(model, out, f"--input={tmp_path}/a.parquet", "--max_rejected=0.4")
    assert "300 in, 200 labelled, 0 rejected, 100 lost" in capsys.readouterr().out
    manifest = manifest_of(out)
    assert manifest["rows"] == {
        "in": 300,
        "labeled": 200,
        "rejected": 0,
        "rejected_by_reason": {},
        "lost": 100,
        "lost_weight": "counted",
        "lost_by_reason": {"corrupt_file": 100},
    }
    (file,) = manifest["inputs"]
    assert (file["rows"], file["rows_lost"], file["bytes"] + file["bytes_lost"]) == (200, 100, file["size"])
    assert labels(out)["n"].to_pylist() == [*range(100), *range(200, 300)]
    assert [(row["position"], row["reason"]) for row in rejects(out)] == [(100, "corrupt_file")]
    # Left out, the damaged column costs nothing.
    run(model, tmp_path / "text", f"--input={tmp_path}/a.parquet", "--keep_columns=text")
    assert manifest_of(tmp_path / "text")["rows"]["labeled"] == 300


def test_a_file_without_the_column_fails_the_run_and_stays_to_be_labelled(tmp_path, model, capsys):
    write_csv(tmp_path / "a.csv", "id,text", texts(100))
    write_csv(tmp_path / "b.csv", "id,review", texts(50))
    flags = [f"--input={tmp_path}/*.csv", "--only_new"]
    run(model, tmp_path / "out", *flags, "--run_date=2026-11-20", code=1)
    said = capsys.readouterr().err
    assert f"of {tmp_path}/b.csv nothing could be read (missing_column: the header has 'text' 0 times" in said
    assert "--max_unreadable=0" in said
    out = run(model, tmp_path / "out", *flags, "--run_date=2026-11-20", "--max_unreadable=1", "--max_rejected=0.34")
    assert manifest_of(out, "run_date=2026-11-20")["rows"]["lost_by_reason"] == {"missing_column": 50}
    assert manifest_of(out, "run_date=2026-11-20")["rows"]["lost_weight"] == "counted"
    # Of what nothing was read stays to be read, and alone says so at once.
    run(model, out, *flags, "--run_date=2026-11-21", code=2)
    assert "no column 'text' in the first files; the columns there are 'id', 'review'" in capsys.readouterr().err
    run(model, out, *flags, "--run_date=2026-11-21", "--text_column=review")
    assert manifest_of(out, "run_date=2026-11-21")["rows"]["labeled"] == 50


def test_a_false_archive_weighs_what_files_like_it_do(tmp_path, model, capsys):
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts(200))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "b.jsonl.gz").write_text("<html>503 Service Unavailable</html>" * 300)
    run(model, tmp_path / "out", f"--input={tmp_path}/*", code=1)
    assert f"of {tmp_path}/b.jsonl.gz nothing could be read (corrupt_file" in capsys.readouterr().err
    run(model, tmp_path / "out", f"--input={tmp_path}/*", "--max_unreadable=1", code=1)
    assert "were lost" in capsys.readouterr().err
    out = run(model, tmp_path / "out", f"--input={tmp_path}/*", "--max_unreadable=1", "--max_rejected=1")
    first, second = manifest_of(out)["inputs"]
    assert second["losses"][0]["weight"] == "estimated"
    assert second["rows_lost"] == -(-second["size"] * 200 // first["size"])
    assert manifest_of(out)["rows"]["lost_weight"] == "estimated"


def test_a_parquet_file_that_vanishes_between_its_row_groups_fails_the_run(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": texts(3000)}), path, row_group_size=500)
    read = ReadOptions(input=(str(path),))
    files = list_files(read)
    layout, planned = plan_layout(files, read), plan_units(files, 10_000)
    assert len(planned) > 2
    assert sum(map(len, read_unit(planned[0], layout))) == 500
    path.unlink()
    with pytest.raises(InputChanged, match=r"a\.parquet .* none: it is gone"):
        list(read_unit(planned[1], layout))


def test_an_archive_that_ends_early_loses_nobody_knows_how_much(tmp_path, model, capsys):
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts(400)).encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines)[:-2000])
    flags = [f"--input={tmp_path}/*.gz", "--run_date=2026-11-20", "--only_new"]
    run(model, tmp_path / "out", *flags, code=1)
    said = capsys.readouterr().err
    assert f"{tmp_path}/a.jsonl.gz ends early: nobody knows how many rows are missing (truncated_file: gz" in said
    assert "more files than --max_unreadable=0 allows" in said
    out = run(model, tmp_path / "out", *flags, "--max_unreadable=1")
    shown = capsys.readouterr().out
    assert "at least 1 lost" in shown and "cut" in shown
    counts = manifest_of(out, "run_date=2026-11-20")["rows"]
    assert counts["lost_weight"] == "at_least" and 0 < counts["labeled"] < 400
    # Read as it was, whatever is kept, it has no more to give; read otherwise, or come back whole, it is news.
    flags[1] = "--run_date=2026-11-21"
    run(model, out, *flags)
    assert "nothing new to label" in capsys.readouterr().err
    run(model, out, *flags, "--keep_columns=")
    assert "nothing new to label" in capsys.readouterr().err
    run(model, out, *flags, "--encoding=latin-1", code=1)
    said = capsys.readouterr().err
    assert "ends early" in said and "a.jsonl.gz, are read otherwise now, and whole" in said
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    run(model, out, *flags)
    assert manifest_of(out, "run_date=2026-11-21")["rows"]["labeled"] == 400


def test_a_preparation_and_an_evaluation_know_no_more_of_an_archive_that_ends_early(tmp_path, model, capsys):
    rows_ = [{"text": text, "label": ("negative", "positive")[i % 2]} for i, text in enumerate(texts(400))]
    lines = "".join(json.dumps(row) + "\n" for row in rows_).encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines)[:-2000])
    flags = [f"--input={tmp_path}/a.jsonl.gz", f"--model={model}", "--labels=negative,positive"]
    for command in (evaluate, prepare):
        assert command.main([*flags, f"--output={tmp_path}/no"]) == 1
        said = capsys.readouterr().err
        assert "a.jsonl.gz ends early: nobody knows how many rows are missing" in said and "--max_unreadable=0" in said
        assert command.main([*flags, f"--output={tmp_path}/{command.__name__}", "--max_unreadable=1"]) == 0
        assert "at least 1 lost" in capsys.readouterr().out


def test_a_file_that_is_only_a_header_says_what_it_lacks(tmp_path, model, capsys):
    write_csv(tmp_path / "a.csv", "id,text", texts(20))
    write_csv(tmp_path / "b.csv", "id,review", [])
    out = run(model, tmp_path / "out", f"--input={tmp_path}/*.csv")
    shown = " ".join(capsys.readouterr().out.split())
    assert "20 in, 20 labelled, 0 rejected" in shown and "lost" not in shown
    assert "b.csv" in shown and "the header has 'text' 0 times" in shown
    assert manifest_of(out)["inputs"][1]["rows_lost"] == 0
    assert classify.main([f"--model={model}", f"--input={tmp_path}/b.csv", f"--output={tmp_path}/no"]) == 2
    assert "text" in capsys.readouterr().err


def test_a_manifest_from_elsewhere_is_a_sentence(tmp_path, model, capsys):
    write_jsonl(tmp_path / "a.jsonl", [{"text": "one", "label": "positive"}])
    flags = [f"--input={tmp_path}/a.jsonl", "--run_date=2026-11-20", "--only_new"]
    out = run(model, tmp_path / "out", *flags, "--keep_columns=label")
    version = out / "_versions" / "run_date=2026-11-20" / "00000001.json"
    good = version.read_text()
    for key in ("path", "size", "rows", "losses"):
        for odd in (None, -1, 10**30, ["a"], {"a": 1}):
            manifest = json.loads(good)
            manifest["inputs"][0][key] = odd
            version.write_text(json.dumps(manifest))
            for command, given, code in (
                (classify, [f"--model={model}", f"--output={out}", *flags], 1),
                (evaluate, [f"--labeled={out}", "--label_column=input_label"], 2),
            ):
                capsys.readouterr()
                assert command.main(given) == code, (key, odd)
                assert "`inputs` is no list of files" in capsys.readouterr().err


def test_a_record_from_elsewhere_is_a_sentence(tmp_path, model, capsys):
    write_jsonl(tmp_path / "a.jsonl", [{"text": "one"}, {"text": 2}])
    flags = [f"--input={tmp_path}/a.jsonl"]
    run(model, tmp_path / "out", *flags, code=1)
    (record,) = (tmp_path / "out" / "_attempts").glob("*/records/*.json")
    read = json.loads(record.read_text())
    for odd in (None, 7, "x", [None], [{"path": 7}]):
        record.write_text(json.dumps({**read, "inputs": odd}))
        capsys.readouterr()
        run(model, tmp_path / "out", *flags, "--max_rejected=1", code=1)
        told = "which no reader wrote" if isinstance(odd, list) else "is none of this program's"
        assert f"{told}; remove" in capsys.readouterr().err


def test_rows_that_must_not_be_learned_from_make_no_loss_smaller(tmp_path, model, capsys):
    write_csv(tmp_path / "a.csv", "label,text", texts(20))
    write_csv(tmp_path / "b.csv", "label,review", texts(10))
    write_csv(tmp_path / "known.csv", "label,text", texts(500, seed=9))
    flags = [f"--input={tmp_path}/a.csv", f"--input={tmp_path}/b.csv", f"--model={model}", "--max_unreadable=1"]
    flags += [f"--decontaminate={tmp_path}/known.csv", f"--output={tmp_path}/out"]
    assert prepare.main(flags) == 1
    assert "10 of 30 rows were lost" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "data"), [("a.csv", b"id,text\n"), ("a.jsonl", b"\n\n")])
def test_an_input_with_bytes_and_without_rows_is_no_success(tmp_path, model, capsys, name, data):
    (tmp_path / name).write_bytes(data)
    run(model, tmp_path / "out", f"--input={tmp_path}/{name}", code=1)
    assert f"0 rows were read, less than --min_rows=1: {tmp_path}/{name} has none" in capsys.readouterr().err
    out = run(model, tmp_path / "out", f"--input={tmp_path}/{name}", "--min_rows=0")
    assert f"{tmp_path}/{name}" in capsys.readouterr().out
    assert manifest_of(out)["rows"]["in"] == 0


def test_files_without_rows_are_told_beside_others(tmp_path, model, capsys):
    write_csv(tmp_path / "a.csv", "id,text", texts(10))
    write_csv(tmp_path / "b.csv", "id,text", [])
    run(model, tmp_path / "out", f"--input={tmp_path}/*.csv", "--min_rows=11", code=1)
    assert "10 rows were read, less than --min_rows=11" in capsys.readouterr().err
    run(model, tmp_path / "out", f"--input={tmp_path}/*.csv")
    shown = capsys.readouterr().out
    assert "no rows in" in shown and "b.csv" in shown


def test_where_a_row_came_from_is_kept_beside_columns_of_that_name(tmp_path, model):
    rows = [{"text": text, "source": "web", "position": i} for i, text in enumerate(texts(20))]
    write_jsonl(tmp_path / "a.jsonl", rows)
    flags = [f"--input={tmp_path}/a.jsonl", "--keep_columns=*"]
    assert "source_file" not in labels(run(model, tmp_path / "without", *flags)).column_names
    table = labels(run(model, tmp_path / "with", *flags, "--keep_source"))
    assert table["source"].to_pylist() == ["web"] * 20
    assert table["position"].to_pylist() == list(range(20))
    assert set(table["source_file"].to_pylist()) == {f"{tmp_path}/a.jsonl"}
    data = (tmp_path / "a.jsonl").read_bytes()
    for position, row in zip(table["source_position"].to_pylist(), rows, strict=True):
        assert json.loads(data[position:].split(b"\n")[0]) == row


def test_labels_of_text_files_say_which_line_of_which_file_they_are(tmp_path, model):
    (tmp_path / "a.txt").write_text("one\ntwo words\n")
    (tmp_path / "b.txt").write_text("three\n")
    table = labels(run(model, tmp_path / "out", f"--input={tmp_path}/*.txt"))
    places = zip(table["source_file"].to_pylist(), table["source_position"].to_pylist(), strict=True)
    assert list(places) == [(f"{tmp_path}/a.txt", 0), (f"{tmp_path}/a.txt", 4), (f"{tmp_path}/b.txt", 0)]
    whole = labels(run(model, tmp_path / "files", f"--input={tmp_path}/*.txt", "--txt=files"))
    assert whole["text"].to_pylist() == ["one\ntwo words\n", "three\n"]
    assert whole["source_file"].to_pylist() == [f"{tmp_path}/a.txt", f"{tmp_path}/b.txt"]


def test_what_was_skipped_is_told(tmp_path, model, capsys):
    (tmp_path / "in").mkdir()
    write_jsonl(tmp_path / "in" / "a.jsonl", [{"text": "one"}])
    (tmp_path / "in" / "README.md").write_text("what this is")
    (tmp_path / "in" / "_SUCCESS").write_text("")
    out = run(model, tmp_path / "out", f"--input={tmp_path}/in")
    assert "2 skipped, known to be no data: " in capsys.readouterr().err
    assert manifest_of(out)["skipped"] == 2
    (tmp_path / "in" / "notes.docx").write_text("foreign")
    assert classify.main([f"--model={model}", f"--input={tmp_path}/in", f"--output={tmp_path}/b"]) == 2
    assert "--exclude='*.docx'" in capsys.readouterr().err
    run(model, tmp_path / "b", f"--input={tmp_path}/in", "--exclude=*.docx")
    assert "1 file left out by --exclude" in capsys.readouterr().err


def test_an_evaluation_and_a_preparation_weigh_losses_too(tmp_path, model, capsys):
    rows_ = texts(300)
    table = pa.table({"text": rows_, "label": ["negative", "positive"] * 150})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100, use_dictionary=False)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(2).column(0).data_page_offset + 1] = 8
    (tmp_path / "a.parquet").write_bytes(data)
    flags = [f"--input={tmp_path}/a.parquet", f"--model={model}"]
    for command in (evaluate, prepare):
        assert command.main([*flags, f"--output={tmp_path}/no"]) == 1
        assert "100 of 300 rows were lost (33.3%: 100 corrupt_file), more than" in capsys.readouterr().err
        assert command.main([*flags, f"--output={tmp_path}/{command.__name__}", "--max_rejected=0.4"]) == 0
        assert "300 in" in (shown := capsys.readouterr().out) and "100 lost" in shown
    found = json.loads((tmp_path / "pipelines.evaluate" / "evaluation.json").read_text())
    assert (found["rows"]["in"], found["rows"]["scored"], found["rows"]["lost"]) == (300, 200, 100)
    assert found["data"]["inputs"][0]["rows_lost"] == 100
    made = manifest_of(tmp_path / "pipelines.prepare")
    assert (made["rows"]["in"], made["rows"]["lost"]) == (300, 100)
    assert made["inputs"][0]["rows"] == 200
