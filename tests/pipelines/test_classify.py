"""`pipelines.classify` from end to end, as its user runs it, against labels computed by another route."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import classify, command
from seqcls_beam.runs.table import open_labels, read_manifest
from tests import halt, tiny
from tests.corpora import labels, part_digests, plain_scores, rejects, texts, write_jsonl
from tests.reports.reading import parsed

pytestmark = pytest.mark.engine

FAMILIES = ["bert", "distilbert", "roberta", "xlm-roberta", "electra", "albert", "deberta-v2", "modernbert"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """300 rows in two files, with a bad line after every 50."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = [json.dumps({"id": f"r{i}", "text": text, "n": i}) for i, text in enumerate(texts(300))]
    for i in range(6, 0, -1):
        lines.insert(50 * i, '{"id": "bad", "text": ')
    (folder / "a.jsonl").write_text("\n".join(lines[:200]) + "\n")
    with gzip.open(folder / "b.jsonl.gz", "wt") as file:
        file.write("\n".join(lines[200:]) + "\n")
    return folder


def run(model: Path, out: Path, *flags: str, code: int = 0) -> Path:
    assert classify.main([f"--model={model}", f"--output={out}", "--threads=1", *flags]) == code
    return out


def manifest_of(out: Path, partition: str = "") -> dict:
    manifest = read_manifest(str(out), partition)
    assert manifest is not None
    return manifest


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pairs", [False, True], ids=["single", "pairs"])
def test_labels_and_scores_are_those_of_plain_transformers(tmp_path, family, pairs):
    folder = tiny.checkpoint(tmp_path / "model", family)
    first, second = texts(70, seed=1, longest=120), texts(70, seed=2, longest=60)
    rows = [{"id": i, "text": a, "other": b} for i, (a, b) in enumerate(zip(first, second, strict=True))]
    write_jsonl(tmp_path / "corpus.jsonl", rows)
    flags = ["--text_pair_column=other"] if pairs else []
    out = run(folder, tmp_path / "out", f"--input={tmp_path}/corpus.jsonl", "--id_column=id", *flags)
    expected = plain_scores(folder, first, second if pairs else None)
    table = labels(out)
    assert table["id"].to_pylist() == list(range(70))
    scores = np.array(table["scores"].to_pylist())
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert table["label"].to_pylist() == [("negative", "positive")[i] for i in expected.argmax(1)]
    np.testing.assert_allclose(table["score"].to_numpy(), expected.max(1), atol=1e-5)
    assert sum(table["truncated"].to_pylist()) > 0


def test_multi_label_and_regression(tmp_path):
    names = ("joy", "anger", "1 star")
    multi = tiny.checkpoint(tmp_path / "multi", labels=names, problem="multi_label_classification")
    single = tiny.checkpoint(tmp_path / "regression", labels=("stars",))
    rows = texts(40, seed=3)
    (tmp_path / "corpus.txt").write_text("\n".join(rows) + "\n")
    out = run(multi, tmp_path / "a", f"--input={tmp_path}/corpus.txt", "--threshold=0.4")
    expected = plain_scores(multi, rows)
    table = labels(out)
    np.testing.assert_allclose(np.array(table["scores"].to_pylist()), expected, atol=1e-5)
    for said, scores in zip(table["labels"].to_pylist(), expected, strict=True):
        assert set(said) == {name for name, score in zip(names, scores, strict=True) if score >= 0.4}
    out = run(single, tmp_path / "b", f"--input={tmp_path}/corpus.txt")
    np.testing.assert_allclose(labels(out)["score"].to_numpy(), plain_scores(single, rows)[:, 0], atol=1e-5)


def test_rows_order_and_bytes_do_not_depend_on_how_the_work_was_cut(tmp_path, model, corpus):
    flags = [f"--input={corpus}/*", "--id_column=id", "--keep_columns=n"]
    whole = run(model, tmp_path / "whole", *flags)
    again = run(model, tmp_path / "again", *flags, "--batch_rows=7")
    cut = run(model, tmp_path / "cut", *flags, "--unit_bytes=3000")
    assert part_digests(whole) == part_digests(again)
    assert len(manifest_of(cut)["parts"]) > 3
    assert labels(cut).equals(labels(whole))
    assert rejects(cut) == rejects(whole)
    assert labels(whole)["id"].to_pylist() == [f"r{i}" for i in range(300)]
    assert labels(whole)["n"].to_pylist() == list(range(300))


@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing", "loopback"])
def test_every_engine_makes_the_same_bytes(tmp_path, model, corpus, mode, request):
    flags = [f"--input={corpus}/*", "--id_column=id", "--unit_bytes=3000"]
    expected = run(model, tmp_path / "expected", *flags)
    if mode == "loopback":
        port = request.getfixturevalue("job_service")
        how = ["--runner=PortableRunner", f"--job_endpoint=localhost:{port}", "--environment_type=LOOPBACK"]
    else:
        how = [f"--direct_running_mode={mode}", "--direct_num_workers=2"]
    argv = [f"--model={model}", f"--output={tmp_path}/out", "--threads=1", *flags, *how]
    done = halt.Process(halt.command, "classify", argv, log=tmp_path / "log")
    assert done.code() == 0, done.said()[-3000:]
    assert part_digests(tmp_path / "out") == part_digests(expected)
    assert len(part_digests(expected)) > 5


@pytest.fixture
def job_service(tmp_path):
    """Beam's portable job service in a process of its own; its port."""
    code = (
        "import sys; from apache_beam.runners.portability import local_job_service as s; import threading\n"
        "service = s.LocalJobServicer(sys.argv[1]); print(service.start_grpc_server(0), flush=True)\n"
        "threading.Event().wait()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "staging")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


def test_int8_is_fitted_to_the_corpus_and_says_how_well(tmp_path):
    """With the bundled checkpoint, on sentences about which it is sure."""
    praise, blame = ("a wonderful and moving {}", "i loved this {}"), ("a dull and stupid {}", "i hated this boring {}")
    things = ("film", "book", "play", "song", "show", "story", "album", "hotel", "trip", "meal", "game", "series")
    lines = [sentence.format(each) for sentence in (*praise, *blame) for each in things]
    write_jsonl(tmp_path / "in.jsonl", [{"text": f"{each}{mark}"} for mark in ("", ".", "!") for each in lines])
    flags = (f"--input={tmp_path}/in.jsonl", "--model=sentiment")
    plain = labels(run(Path("sentiment"), tmp_path / "float32", *flags))
    out = run(Path("sentiment"), tmp_path / "int8", *flags, "--dtype=int8")
    (engine,) = manifest_of(out)["engines"]
    assert engine["dtype"] == "int8" and engine["parity"]["sequences"] == 72
    assert engine["parity"]["label_agreement"] >= 0.995
    assert labels(out)["label"].to_pylist() == plain["label"].to_pylist()
    assert np.abs(labels(out)["score"].to_numpy() - plain["score"].to_numpy()).max() < 0.1


def test_a_precision_that_cannot_be_had_publishes_nothing(tmp_path, model, corpus, capfd):
    out = run(model, tmp_path / "out", f"--input={corpus}/*", "--dtype=float16", "--device=cpu", code=1)
    assert "--dtype=float16: is for GPUs" in capfd.readouterr().err
    assert read_manifest(str(out)) is None


def test_in_is_labelled_plus_rejected_and_the_manifest_says_so(tmp_path, model, corpus):
    out = run(model, tmp_path / "out", f"--input={corpus}/*", "--id_column=id")
    manifest = manifest_of(out)
    assert manifest["rows"] == {
        "in": 306,
        "labeled": 300,
        "rejected": 6,
        "rejected_by_reason": {"invalid_json": 6},
        "lost": 0,
        "lost_weight": "counted",
        "lost_by_reason": {},
    }
    assert [file["rows"] for file in manifest["inputs"]] == [200, 106]
    assert manifest["label_counts"] == dict(
        sorted((name, labels(out)["label"].to_pylist().count(name)) for name in ("negative", "positive"))
    )
    assert manifest["engines"][0]["device"] == "cpu"
    assert manifest["engines"][0]["threads"] == 1
    assert manifest["runner"] == "FnApiRunner"
    assert manifest["model"]["labels"] == ["negative", "positive"]
    assert manifest["tokens"] == sum(labels(out)["tokens"].to_pylist())
    assert {row["raw"] for row in rejects(out)} == {b'{"id": "bad", "text": '}
    shown = parsed((out / "_report" / "report.html").read_text())
    assert [shown.headline()[name] for name in ("rows in", "labelled", "rejected")] == ["306", "300", "6"]
    assert {name: int(row[0]) for name, row in shown.section("Labels").table().items()} == manifest["label_counts"]
    data = (corpus / "a.jsonl").read_bytes()
    for row in rejects(out)[:2]:
        assert data[row["position"] :].startswith(row["raw"])


def test_pandas_and_duckdb_read_what_was_written(tmp_path, model, corpus):
    out = run(model, tmp_path / "out", f"--input={corpus}/*", "--id_column=id", "--unit_bytes=3000")
    frame = pandas.read_parquet(out / "labels")
    assert len(frame) == 300
    counted = duckdb.sql(f"select label, count(*), avg(score) from '{out}/labels/*.parquet' group by label").fetchall()
    assert sum(row[1] for row in counted) == 300
    assert open_labels(str(out)).to_table()["id"].to_pylist() == [f"r{i}" for i in range(300)]


def test_the_same_run_again_does_nothing(tmp_path, model, corpus, capsys):
    out = run(model, tmp_path / "out", f"--input={corpus}/*", "--id_column=id")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert capsys.readouterr().out.count("_report/report.html") == 1
    run(model, out, f"--input={corpus}/*", "--id_column=id")
    said = capsys.readouterr()
    assert "already published" in said.err and said.out.count("_report/report.html") == 1
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_another_run_is_refused_without_overwrite_and_replaces_with_it(tmp_path, model, corpus, capsys):
    out = run(model, tmp_path / "out", f"--input={corpus}/*", "--id_column=id")
    before = part_digests(out)
    run(model, out, f"--input={corpus}/a.jsonl", code=1)
    assert "give --overwrite to replace it" in capsys.readouterr().err
    assert part_digests(out) == before
    run(model, out, f"--input={corpus}/a.jsonl", "--overwrite")
    assert not set(part_digests(out)) & set(before)
    assert set(part_digests(out)) == {part["path"] for m in [manifest_of(out)] for part in [*m["parts"], *m["rejects"]]}


def test_a_damaged_run_is_made_again_only_with_overwrite(tmp_path, model, corpus, capsys):
    out = run(model, tmp_path / "out", f"--input={corpus}/*")
    before = part_digests(out)
    (out / manifest_of(out)["parts"][0]["path"]).unlink()
    run(model, out, f"--input={corpus}/*", code=1)
    assert "is gone; give --overwrite" in capsys.readouterr().err
    run(model, out, f"--input={corpus}/*", "--overwrite")
    assert list(part_digests(out).values()) == list(before.values())
    assert set(part_digests(out)) == {part["path"] for m in [manifest_of(out)] for part in [*m["parts"], *m["rejects"]]}


def test_nightly_runs_label_only_what_is_new(tmp_path, model, capsys):
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    flags = [f"--input={inbox}/*.jsonl", "--only_new"]
    write_jsonl(inbox / "monday.jsonl", [{"text": text} for text in texts(20)])
    run(model, out, *flags, "--run_date=2026-11-19")
    write_jsonl(inbox / "tuesday.jsonl", [{"text": text} for text in texts(30, seed=1)])
    run(model, out, *flags, "--run_date=2026-11-20")
    assert [Path(f["path"]).name for f in manifest_of(out, "run_date=2026-11-19")["inputs"]] == ["monday.jsonl"]
    assert [Path(f["path"]).name for f in manifest_of(out, "run_date=2026-11-20")["inputs"]] == ["tuesday.jsonl"]
    run(model, out, *flags, "--run_date=2026-11-21")
    said = capsys.readouterr().err
    assert "nothing new to label" in said and "run_date=2026-11-21 is published without rows" in said
    quiet = manifest_of(out, "run_date=2026-11-21")
    assert (quiet["rows"]["in"], quiet["inputs"], quiet["parts"], quiet["label_counts"]) == (0, [], [], {})
    other = tiny.checkpoint(tmp_path / "other", seed=1)
    run(other, out, *flags, "--run_date=2026-11-21")
    assert "is published without rows" not in capsys.readouterr().err, "once, and another model labels nothing again"
    write_jsonl(inbox / "late.jsonl", [{"text": text} for text in texts(50, seed=2)])
    run(other, out, *flags, "--run_date=2026-11-21")  # a night without rows is none that anybody would lose
    partitions = duckdb.sql(
        f"select run_date, count(*) from read_parquet('{out}/labels/**/*.parquet') group by 1"
    ).fetchall()
    assert sorted((str(date), rows) for date, rows in partitions) == [
        ("2026-11-19", 20),
        ("2026-11-20", 30),
        ("2026-11-21", 50),
    ]


def test_a_night_made_again_keeps_its_earlier_rows(tmp_path, model, capsys):
    inbox, out = tmp_path / "inbox", tmp_path / "out[1]"
    inbox.mkdir()
    flags = [f"--input={inbox}/*.jsonl", "--only_new", "--run_date=2026-11-20"]
    write_jsonl(inbox / "early.jsonl", [{"text": text} for text in texts(20)])
    run(model, out, *flags)
    run(model, out, *flags)
    assert "nothing new to label" in capsys.readouterr().err
    write_jsonl(inbox / "late.jsonl", [{"text": text} for text in texts(10)])
    run(model, out, *flags)
    assert "run_date=2026-11-20 is published; 1 file came since: a later date takes them" in capsys.readouterr().err
    assert manifest_of(out, "run_date=2026-11-20")["rows"]["labeled"] == 20
    run(model, out, *flags, "--overwrite")
    assert manifest_of(out, "run_date=2026-11-20")["rows"]["labeled"] == 30


def test_the_manifest_gives_the_command_line_without_passwords(tmp_path, model):
    (tmp_path / "a file.txt").write_text("a text\n")
    assert command._flag("input", "ftp://me:hunter2@host/a b.txt") == "--input='ftp://host/a b.txt'"
    out = run(model, tmp_path / "out", f"--input={tmp_path}/a file.txt", "--max_rejected=0", "--overwrite")
    assert "--max_rejected=0" in manifest_of(out)["command"]
    assert "--overwrite" in manifest_of(out)["command"].split()
    assert f"--input='{tmp_path}/a file.txt'" in manifest_of(out)["command"]


def test_names_that_look_like_markup_are_shown_as_they_are(tmp_path, capsys):
    folder = tiny.checkpoint(tmp_path / "model", labels=("[/a]", "[bold]b"))
    write_jsonl(tmp_path / "c.jsonl", [{"[/x]": "id", "text": text} for text in texts(5)])
    run(folder, tmp_path / "o[x]", f"--input={tmp_path}/c.jsonl", "--id_column=[/x]")
    shown = capsys.readouterr().out
    for name in ("[/a]", "[bold]b", "[/x]", "o[x]"):
        assert name in shown


def test_too_many_rejects_fail_the_run_and_a_higher_limit_takes_it_up(tmp_path, model, corpus, capsys):
    out = tmp_path / "out"
    run(model, out, f"--input={corpus}/*", "--max_rejected=0.01", code=1)
    said = capsys.readouterr().err
    assert "6 of 306 rows were rejected (2.0%: 6 invalid_json), more than --max_rejected=0.01 allows" in said
    assert "Traceback" not in said
    assert not (out / "labels").exists()
    run(model, out, f"--input={corpus}/*", "--max_rejected=0.02")
    assert "1 of them done before" in capsys.readouterr().err
    assert manifest_of(out)["rows"]["labeled"] == 300


def test_a_row_that_makes_the_model_raise_is_rejected_alone(tmp_path):
    folder = tiny.raising(tmp_path / "model")
    rows = texts(30)
    rows[7] = "good unembeddable film"
    write_jsonl(tmp_path / "c.jsonl", [{"id": i, "text": text} for i, text in enumerate(rows)])
    out = run(folder, tmp_path / "out", f"--input={tmp_path}/c.jsonl", "--id_column=id")
    assert labels(out)["id"].to_pylist() == [i for i in range(30) if i != 7]
    (reject,) = rejects(out)
    assert (reject["stage"], reject["reason"], reject["raw"]) == ("classify", "model_error", rows[7].encode())
    assert reject["position"] == sum(len(json.dumps({"id": i, "text": text})) + 1 for i, text in enumerate(rows[:7]))


def test_bad_rows_and_bad_files_cost_only_themselves(tmp_path, model):
    import zstandard

    good = [json.dumps({"id": i, "text": text}) for i, text in enumerate(texts(400, seed=9))]
    bad = {
        "invalid_json": b'{"id": 1, "text": "open',
        "missing_text": b'{"id": 1}',
        "wrong_type": b'{"id": 1, "text": ["a"]}',
        "invalid_utf8": b'{"id": 1, "text": "caf\xe9"}',
        "nul_byte": b'{"id": 1, "text": "a\\u0000b"}',
        "empty_text": b'{"id": 1, "text": " \\t "}',
        "lone_surrogate": b'{"id": 1, "text": "\\ud800"}',
        "duplicate_key": b'{"id": 1, "text": "a", "text": "b"}',
        "record_too_large": b'{"id": 1, "text": "' + b"x" * 50_000_000 + b'"}',
    }
    folder = tmp_path / "in"
    folder.mkdir()
    rows = [line.encode() for line in good[:100]]
    for i, line in enumerate(bad.values()):
        rows.insert(11 * (i + 1), line)
    (folder / "a.jsonl").write_bytes(b"\n".join(rows))
    (folder / "b.jsonl").write_bytes(b"")
    packed = gzip.compress("\n".join(good[100:200]).encode())
    (folder / "c.jsonl.gz").write_bytes(packed[:-30])
    packed = zstandard.compress("\n".join(good[200:300]).encode() + b"\n")
    (folder / "d.jsonl.zst").write_bytes(packed + packed[: len(packed) // 2])
    (folder / "e.jsonl").write_bytes("\n".join(good[:10]).encode("utf-16"))
    (folder / "f.jsonl").write_text("\r\n".join(good[300:]), newline="")
    flags = [f"--input={folder}/*", "--id_column=id", "--max_rejected=0.5", "--max_unreadable=3"]
    out = run(model, tmp_path / "out", *flags)
    ids = labels(out)["id"].to_pylist()
    cut = ids[100 : ids.index(200)]
    assert ids[:100] == list(range(100))
    assert cut == list(range(100, 100 + len(cut))) and len(cut) > 50
    assert ids[100 + len(cut) :][:100] == list(range(200, 300))
    assert ids[-100:] == list(range(300, 400))
    found = [(Path(row["source"]).name, row["reason"]) for row in rejects(out)]
    files = [("c.jsonl.gz", "truncated_file"), ("d.jsonl.zst", "truncated_file"), ("e.jsonl", "unreadable_file")]
    assert found == [*(("a.jsonl", reason) for reason in bad), *files]
    for row, line in zip(rejects(out), bad.values(), strict=False):
        assert row["raw"] == line
    counts = manifest_of(out)["rows"]
    assert counts["labeled"] + counts["rejected"] == len(ids) + len(found) - len(files)
    assert counts["in"] == counts["labeled"] + counts["rejected"] + counts["lost"]
    assert set(counts["lost_by_reason"]) == {"truncated_file", "unreadable_file"}


def test_long_texts_are_read_in_windows_on_request(tmp_path, model):
    long = " ".join(texts(1, seed=5, longest=40) * 30)
    write_jsonl(tmp_path / "c.jsonl", [{"text": long}, {"text": "a good film"}])
    cut = labels(run(model, tmp_path / "cut", f"--input={tmp_path}/c.jsonl", "--max_length=32"))
    flags = [f"--input={tmp_path}/c.jsonl", "--max_length=32", "--overflow=window", "--stride=8"]
    windows = labels(run(model, tmp_path / "windows", *flags))
    assert cut["truncated"].to_pylist() == [True, False]
    assert cut["tokens"].to_pylist()[0] == 32
    assert windows["truncated"].to_pylist() == [False, False]
    assert windows["tokens"].to_pylist()[0] > 200
    assert windows["scores"].to_pylist()[1] == cut["scores"].to_pylist()[1]
    assert windows["scores"].to_pylist()[0] != cut["scores"].to_pylist()[0]


def test_kept_columns_of_parquet_keep_their_types_and_ours_are_not_shadowed(tmp_path, model):
    table = pa.table(
        {
            "text": texts(20),
            "label": ["gold"] * 20,
            "when": pa.array(range(20), pa.timestamp("us", "UTC")),
            "tags": [["a", "b"]] * 20,
            "price": pa.array([None, 1.5] * 10),
            "model": ["T"] * 20,
        }
    )
    pq.write_table(table, tmp_path / "c.parquet")
    published = run(model, tmp_path / "out", f"--input={tmp_path}/c.parquet")
    out = labels(published)
    assert out.column_names[:6] == ["text", "input_label", "when", "tags", "price", "input_model"]
    assert out["input_model"].to_pylist() == ["T"] * 20
    assert out["model"].to_pylist() == [manifest_of(published)["model"]["digest"][:12]] * 20
    assert [each["name"] for each in manifest_of(published)["columns"]] == out.column_names
    for name in ("text", "when", "tags", "price"):
        assert out.schema.field(name).type == table.schema.field(name).type
        assert out[name].to_pylist() == table[name].to_pylist()
    assert out["input_label"].to_pylist() == ["gold"] * 20


def test_an_input_of_only_empty_files_is_published_empty(tmp_path, model):
    (tmp_path / "a.txt").write_bytes(b"")
    out = run(model, tmp_path / "out", f"--input={tmp_path}/a.txt")
    assert labels(out).num_rows == 0
    assert labels(out).column_names == [
        *("text", "label", "score", "scores", "tokens", "truncated", "model"),
        *("source_file", "source_position"),
    ]


@pytest.mark.parametrize("same", [False, True], ids=["different", "same"])
def test_two_runs_at_once_publish_one(tmp_path, model, corpus, same):
    flags = [f"--model={model}", f"--output={tmp_path}/out", "--threads=1", f"--input={corpus}/*"]
    variants = [[], [] if same else ["--max_length=16"]]
    both = [
        halt.Process(halt.command, "classify", [*flags, *extra], log=tmp_path / f"{number}.log")
        for number, extra in enumerate(variants)
    ]
    codes = sorted(each.code() for each in both)
    # The second of two equal runs may come so late that it finds itself published, which is no failure.
    assert codes == [0, 1] or (same and codes == [0, 0]), [each.said()[-800:] for each in both]
    for each in both:
        assert "Traceback" not in each.said()
    out = tmp_path / "out"
    manifest = manifest_of(out)
    assert set(part_digests(out)) == {part["path"] for part in [*manifest["parts"], *manifest["rejects"]]}
    assert labels(out).num_rows == 300


def test_no_secret_reaches_the_manifest(tmp_path, model, corpus, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "hunter2")
    out = run(model, tmp_path / "out", f"--input={corpus}/a.jsonl", "--s3_secret_access_key=hunter2")
    assert "hunter2" not in (out / "_versions" / "00000001.json").read_text()


def test_a_quick_look_prints_every_probability(model, capsys):
    assert classify.main([f"--model={model}", "--text", "a good film", "a bad plot"]) == 0
    shown = capsys.readouterr().out
    expected = plain_scores(model, ["a good film", "a bad plot"])
    for row in expected:
        for score in row:
            assert f"{score:.3f}" in shown
