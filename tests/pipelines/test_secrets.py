"""No password and no signature of a URI gets out: not onto a screen, into a log, or into any file of an output."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines import classify, evaluate, prepare
from tests import tiny, web
from tests.corpora import texts, write_jsonl

pytestmark = pytest.mark.engine

SECRETS = ("hunter2", "hunter3", "aHVudGVyMg", "bWU6")  # a password, a signature, and both as a header has them

SAID = " ".join(
    [
        *("http://me:p/hunter2@host/a?sig=hunter3", "//me:hunter2@host/a", "password=hunter2", "api_key: hunter2"),
        *(
            "AccountName=a;AccountKey=hunter2;x=1",
            '{"secret": "hunter2"}',
            "HF_TOKEN=hunter2",
            "/a?X-Amz-Signature=hunter3",
        ),
    ]
)
"""What a library says, in forms that hold a secret."""


def rows(bad: int = 0) -> bytes:
    """Lines of JSON, the last of them none."""
    good = [json.dumps({"id": i, "text": text, "label": "ab"[i % 2]}) + "\n" for i, text in enumerate(texts(40))]
    return "".join([*good, *["{\n"] * bad]).encode()


def leaks(folder: Path) -> list[str]:
    """Files below a folder, and names of them, that hold a secret."""
    found = []
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        if path.suffix == ".parquet":  # what is in it is compressed
            table = pq.ParquetFile(path).read()
            data += f"{table.schema.metadata}{table.to_pylist()}".encode("utf-8", "surrogateescape")
        found += [f"{path}: {each}" for each in SECRETS if each.encode() in data or each in path.name]
    return found


@pytest.fixture
def pages():
    """A server that asks for a password, which is in the URL."""
    with web.server() as server:
        server.login = "me:p@hunter2"
        yield server


def url(pages: web.Pages, name: str) -> str:
    """Of a file of these pages, with a password and a signature."""
    return f"http://me:p%40hunter2@127.0.0.1:{pages.server_port}/{name}?X-Amz-Signature=hunter3"


@pytest.mark.parametrize("bad", [0, 30])
@pytest.mark.parametrize("mode", ["in_memory", pytest.param("multi_processing", marks=pytest.mark.slow)])
def test_a_labelling(tmp_path, pages, capfd, bad, mode):
    for name in ("a.jsonl", "b.jsonl"):
        pages.files[f"/{name}?X-Amz-Signature=hunter3"] = rows(bad)
    model = tiny.checkpoint(tmp_path / "model")
    out = tmp_path / "out"
    code = classify.main(
        [
            *(f"--input={url(pages, 'a.jsonl')}", f"--input={url(pages, 'b.jsonl')}", f"--model={model}"),
            *(f"--output={out}", "--threads=1", f"--direct_running_mode={mode}", "--direct_num_workers=2"),
            "--keep_source",
        ]
    )
    said = capfd.readouterr()
    assert code == (1 if bad else 0)
    assert leaks(out) == []
    assert not [each for each in SECRETS if each in said.out + said.err]


def test_what_failed_goes_on_with_the_same_files(tmp_path, pages):
    """The plan and the records of an attempt have no key in them, and are enough with the same command."""
    for name in ("a.jsonl", "b.jsonl"):
        pages.files[f"/{name}?X-Amz-Signature=hunter3"] = rows(bad=1)
    out, model = tmp_path / "out", tiny.checkpoint(tmp_path / "model")
    flags = [f"--input={url(pages, name)}" for name in ("a.jsonl", "b.jsonl")]
    flags += [f"--model={model}", f"--output={out}", "--threads=1", "--unit_bytes=1000"]
    assert classify.main([*flags, "--max_rejected=0"]) == 1
    assert len(list(out.rglob("records/*.json"))) > 2 and leaks(out) == []
    assert classify.main(flags) == 0
    manifest = json.loads((out / "_versions" / "00000001.json").read_text())
    where = f"http://127.0.0.1:{pages.server_port}"
    assert [(each["path"], each["rows"]) for each in manifest["inputs"]] == [
        (f"{where}/{name}?X-Amz-Signature=...", 41) for name in ("a.jsonl", "b.jsonl")
    ]


def test_texts_stay_out_of_what_is_shown_where_they_are_not_to_be_reported(tmp_path, capfd):
    model, corpus = tiny.checkpoint(tmp_path / "model", labels=("a", "b")), tmp_path / "in.jsonl"
    word = "hated"
    write_jsonl(corpus, [{"id": i, "text": f"{word} {text}", "label": "ab"[i % 2]} for i, text in enumerate(texts(40))])
    flags = [f"--input={corpus}", f"--model={model}", "--id_column=id", "--threads=1"]
    ids = {}
    for shown in (1, 0):
        out, measured = tmp_path / f"out{shown}", tmp_path / f"measured{shown}"
        assert classify.main([*flags, f"--output={out}", f"--report_texts={shown}"]) == 0
        assert classify.main([*flags, f"--output={out}", f"--report_texts={shown}"]) == 0  # published already
        said = capfd.readouterr()
        assert (word in said.out) == bool(shown) and "score" in said.out and "\nid  " in said.out
        ids[shown] = json.loads((out / "_versions" / "00000001.json").read_text())["run_id"]
        more = ["--bootstrap=0", "--worst=40", f"--report_texts={shown}", f"--output={measured}"]
        assert evaluate.main([*flags, *more]) == 0
        said = capfd.readouterr()
        files = (measured / "report.html").read_text() + (measured / "evaluation.json").read_text()
        assert (word in said.out, word in files) == (bool(shown), bool(shown)) and "worst" in said.out
    assert ids[0] == ids[1]
    assert (
        evaluate.main([*flags, "--bootstrap=0", "--worst=40", f"--output={tmp_path}/measured1", "--report_texts=0"])
        == 1
    )
    assert "--overwrite" in capfd.readouterr().err  # another report, of another run


def test_a_crash_and_a_warning(tmp_path):
    """What Python itself prints of an error that nobody expected."""
    code = (
        "import logging, sys, threading, warnings\n"
        "from pipelines.ending import exit_code\n"
        f"URI = {SAID!r}\n"
        "def command(argv):\n"
        "    logging.warning('of %s\\x1b[2J', URI)\n"
        "    warnings.warn(f'of {URI}')\n"
        "    try:\n"
        "        raise ValueError(URI)\n"
        "    except ValueError:\n"
        "        logging.exception('failed')\n"
        "    thread = threading.Thread(target=fail)\n"
        "    thread.start()\n"
        "    thread.join()\n"
        "    fail()\n"
        "def fail():\n"
        "    raise KeyError(f\"{URI} {{'Authorization': 'Basic hunter2'}}\")\n"
        "sys.exit(exit_code(command, ['--debug']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.count("http://host/a?sig=...") == 6 and done.stderr.count("KeyError") == 3
    assert not [each for each in (*SECRETS, "\x1b") if each in done.stderr]


@pytest.mark.parametrize(
    "given",
    [
        ["classify", "--input=http://me:p/hunter2@127.0.0.1:1/a.jsonl?sig=hunter3"],
        ["classify", "--input=//me:hunter2@host/a.jsonl", "--exclude=http:\\\\me:hunter2@host/a"],
        ["classify", "--input=http:\\\\me:hunter2@host/a.jsonl"],
        ["classify", "--input=http://me:hunter2%40127.0.0.1:1/a.jsonl?pw=hunter3"],
        ["prepare", "--input=jdbc:postgresql://me:hunter2@host/db?password=hunter2"],
        ["evaluate", "--labeled=http:me:hunter2@host/a"],
        ["classify", "--input=nothing.jsonl", "--exclude=https://h/?sig=hunter3"],
        ["classify", "--model=https://me:hunter2@127.0.0.1:1/m", "--input=nothing.jsonl"],
        ["classify", "--subscription=https://me:hunter2@host/?token=hunter3"],
        ["classify", "--nothing=http://me:hunter2@host/", "--s3_secret_access_key=hunter2"],
        ["prepare", "--input=http://me:p@hunter2@127.0.0.1:1/a.jsonl?sig=hunter3"],
        ["evaluate", "--input=s3://KEY:hu/hunter2@bucket/a.jsonl"],
        ["finetune", "--data=ftp://me:hunter2@127.0.0.1:1/data"],
        ["finetune", "--data=data", "--model=memory://me:hunter2@m"],
        ["compare", "memory://me:hunter2@nowhere/a", "memory://me:hunter2@nowhere/b"],
        ["seal", "memory://me:hunter2@nowhere/a"],
        ["clean", "memory://me:hunter2@nowhere/a"],
    ],
    ids=lambda given: " ".join(given)[:60],
)
def test_a_refusal(given, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("seqcls_beam.storage.retries.PATIENCE", 0.3)
    command = importlib.import_module(f"pipelines.{given[0]}")
    takes_output = given[0] in ("classify", "prepare", "evaluate", "finetune")
    code = command.main([*given[1:], *([f"--output={tmp_path}/out"] if takes_output else [])])
    said = capfd.readouterr()
    assert code in (0, 1, 2) and (said.err or said.out)
    assert not [each for each in SECRETS if each in said.out + said.err]
    assert leaks(tmp_path) == []


@pytest.mark.parametrize("bad", [0, 30])
def test_a_preparation_and_an_evaluation(tmp_path, pages, capfd, bad):
    model = tiny.checkpoint(tmp_path / "model", labels=("a", "b"))
    pages.files["/a.jsonl?X-Amz-Signature=hunter3"] = rows(bad)
    flags = [f"--input={url(pages, 'a.jsonl')}", f"--model={model}"]
    codes = [
        prepare.main([*flags, f"--output={tmp_path}/data", "--num_shards=1"]),
        evaluate.main([*flags, f"--output={tmp_path}/measured", "--threads=1", "--bootstrap=0"]),
    ]
    assert codes == [int(bad > 0)] * 2
    said = capfd.readouterr()
    assert not [each for each in SECRETS if each in said.out + said.err]
    assert [*leaks(tmp_path / "data"), *leaks(tmp_path / "measured")] == []
