"""A folder that somebody else made: what is in its version files is input, and leads nowhere but to one sentence."""

import json
import shutil
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from pipelines import classify, evaluate, finetune, prepare
from seqcls_beam import open_labels
from seqcls_beam.runs.publication import follow
from seqcls_beam.runs.run import Run, RunError
from seqcls_beam.runs.table import read_manifest
from tests import prepared, tiny
from tests.corpora import texts, write_jsonl
from tests.runs.attempts import write_version

NAME = "part-00000-of-00001-v1-0123abcd.parquet"
PART = {"path": f"labels/{NAME}", "bytes": 4, "rows": 1, "sha256": "0"}
STAGE, WORK = "_attempts/publish-00000001-0123456789abcdef", "_attempts/r-v1"
BELOW_ALL = ["../outside/x", "/etc/x", "labels/../../outside/x", "file:///etc/x"]
ODD = ["labels//x", "labels/./x", "./labels/x", "a\\b", "a\0b", ".", "", 5, None, ["x"]]
OUTWARD = [*BELOW_ALL, *ODD]
PROTOCOL = ["_versions", "_attempts", "_versions/00000001.json", "_attempts/x"]
TEXTS = {
    "a list": "[]",
    "nothing in it": "{}",
    "null": "null",
    "a number": "7",
    "cut": '{"format_version": 2, "run_id": "r", "par',
    "empty": "",
    "nested": "[" * 100_000,
    "not UTF-8": "\udcff{}",
}
MANIFESTS: dict[str, dict[str, Any]] = {
    "another format": {"format_version": 99},
    "no run_id": {"run_id": None},
    "a kind that is no name": {"kind": 5},
    "no commit": {"commit": None},
    "commit is a list": {"commit": []},
    "no parts": {"parts": None},
    "parts are an object": {"parts": {"path": "labels/x"}},
    "a part is a number": {"parts": [5]},
    "a part without bytes": {"parts": [{"path": "labels/x"}]},
    "bytes are text": {"parts": [{**PART, "bytes": "4"}]},
    "rows are text": {"parts": [{**PART, "rows": "1"}]},
    "rejects are null": {"rejects": None},
    "a card elsewhere": {"card": {"path": "../outside/x", "bytes": 4}},
    "a card that is a list": {"card": []},
    **{f"a part at {name!r}": {"parts": [{**PART, "path": name}]} for name in OUTWARD},
    **{f"a part of the protocol, {name}": {"parts": [{**PART, "path": name}]} for name in PROTOCOL},
    **{f"a reject at {name!r}": {"rejects": [{**PART, "path": name}]} for name in BELOW_ALL},
}
COMMITS: dict[str, dict[str, Any]] = {
    "of another partition": {"partition": "run_date=2026-11-20"},
    "of another number": {"version": 2},
    "moves are null": {"moves": None},
    "a move is text": {"moves": ["ab"]},
    "a move of three": {"moves": [[f"{WORK}/x", PART["path"], "x"]]},
    "moves what it does not publish": {"moves": [[f"{WORK}/x", "README.md"]]},
    "moves from the versions": {"moves": [["_versions/00000001.json", PART["path"]]]},
    "moves from _attempts and out": {"moves": [["_attempts/../../outside/x", PART["path"]]]},
    **{f"moves from {name!r}": {"moves": [[name, PART["path"]]]} for name in OUTWARD},
    **{f"moves to {name!r}": {"moves": [[f"{WORK}/x", name]]} for name in OUTWARD},
    **{f"{key} {name!r}": {key: [name]} for key in ("replaces", "sweeps") for name in (*OUTWARD, "..", *PROTOCOL)},
    **{f"{key} are no list": {key: "labels"} for key in ("replaces", "sweeps")},
    **{
        f"{key} is {name!r}": {key: name}
        for key in ("stage", "work")
        for name in (*OUTWARD, "_attempts", "_attempts/", "_attempts/../labels")
    },
}

opened: list[str] | None = None


def _note(event: str, args: tuple[Any, ...]) -> None:
    if opened is not None and event in ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir"):
        opened.extend(str(each) for each in args[:2])


sys.addaudithook(_note)


@pytest.fixture
def outside(tmp_path: Path) -> Any:
    """A folder beside the output that is neither read nor changed, with what a version would like to have there."""
    global opened
    for name in ("x", NAME):
        (tmp_path / "outside").mkdir(exist_ok=True)
        (tmp_path / "outside" / name).write_bytes(b"mine")
    opened = []
    yield
    touched, opened = [name for name in opened if "outside" in name], None
    assert touched == []
    left = {path.name: path.read_bytes() for path in (tmp_path / "outside").iterdir()}
    assert left == {"x": b"mine", NAME: b"mine"}


def hostile(out: Path, what: str) -> None:
    """An output whose newest version is of this kind, in the middle of being carried out."""
    manifest: dict[str, Any] = {"parts": [PART], **MANIFESTS.get(what, {})}
    path = write_version(out, manifest, **{"stage": STAGE, "work": WORK, **COMMITS.get(what, {})})
    if what in TEXTS:
        path.write_bytes(TEXTS[what].encode("utf-8", "surrogateescape"))
    for folder in (f"{STAGE}/old", f"{STAGE}/new/labels", WORK):
        (out / folder).mkdir(parents=True)
    (out / WORK / "x").write_bytes(b"mine")


@pytest.mark.parametrize("what", [*TEXTS, *MANIFESTS, *COMMITS])
def test_no_such_version_is_read_or_followed(tmp_path, outside, what):
    hostile(tmp_path / "out", what)
    before = sorted(tmp_path.rglob("*"))
    for use in (read_manifest, open_labels, lambda out: follow(Run(out, "r", overwrite=True))):
        with pytest.raises(RunError, match=r"00000001\.json is no version") as told:
            use(str(tmp_path / "out"))
        assert "\n" not in str(told.value) and len(str(told.value)) < 1000
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Something of each kind, published by the real commands, and what each was made from."""
    folder = tmp_path_factory.mktemp("made")
    model = tiny.checkpoint(folder / "model")
    rows = [{"text": text, "label": ("negative", "positive")[i % 2]} for i, text in enumerate(texts(60))]
    corpus = write_jsonl(folder / "corpus.jsonl", rows)
    data = shutil.copytree(prepared.run(corpus, folder / "prepare", f"--model={model}"), folder / "data")
    for name, (command, flags) in commands(corpus, model, data).items():
        assert name == "prepare" or command([*flags, f"--output={folder / name}"]) == 0
    return {"corpus": corpus, "model": model, "data": data, "folder": folder}


def commands(corpus: Path, model: Path, data: Path) -> dict[str, tuple[Callable[[list[str]], int], list[str]]]:
    """What publishes, by the kind of what it publishes."""
    from_rows = [f"--input={corpus}", f"--model={model}"]
    return {
        "classify": (classify.main, [*from_rows, "--threads=1"]),
        "prepare": (prepare.main, [*from_rows, *prepared.FLAGS]),
        "finetune": (finetune.main, [f"--data={data}", f"--model={model}", "--epochs=1", "--threads=1"]),
        "evaluate": (evaluate.main, [*from_rows, "--bootstrap=0", "--threads=1"]),
    }


@pytest.mark.engine
@pytest.mark.parametrize(
    "what", ["null", "cut", "no parts", "a part at '../outside/x'", "moves to '../outside/x'", "sweeps '..'"]
)
def test_every_command_ends_in_one_sentence(tmp_path, outside, made, what, capsys):
    out = tmp_path / "out"
    hostile(out, what)
    before = sorted(tmp_path.rglob("*"))
    given = commands(made["corpus"], made["model"], made["data"])
    tries = [(command, [*flags, f"--output={out}", "--overwrite"]) for command, flags in given.values()]
    tries.append((evaluate.main, [f"--labeled={out}", "--label_column=label"]))
    tries.append((evaluate.main, [f"--data={out}", f"--model={made['model']}"]))
    tries.append((finetune.main, [f"--data={out}", f"--model={made['model']}", f"--output={tmp_path}/tuned"]))
    for command, flags in tries:
        capsys.readouterr()
        assert command(flags) in (1, 2), flags
        said = capsys.readouterr().err
        assert said.startswith("seqcls_beam: ") and said.count("\n") == 1 and "00000001.json is no version" in said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.engine
@pytest.mark.parametrize("there", ["classify", "prepare", "finetune", "evaluate"])
def test_overwrite_replaces_nothing_of_another_kind(tmp_path, made, there, capsys):
    out = made["folder"] / there
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for kind, (command, flags) in commands(made["corpus"], made["model"], made["data"]).items():
        if kind == there:
            continue
        dated = ["--run_date=2026-11-20"] if kind == "classify" else []
        for more in ([], ["--overwrite"], ["--overwrite", *dated]):
            capsys.readouterr()
            assert command([*flags, *more, f"--output={out}"]) == 1
            said = capsys.readouterr().err
            assert "which this command does not replace; name another folder" in said
            assert f"pipelines.{there})" in said and said.count("\n") == 1
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["classify", "prepare", "finetune", "evaluate"])
def test_an_earlier_layout_is_refused(tmp_path, made, kind, capsys):
    command, flags = commands(made["corpus"], made["model"], made["data"])[kind]
    for number, old in enumerate(("_MANIFEST.json", "_attempts/_INTENT.json")):
        out = tmp_path / str(number)
        (out / old).parent.mkdir(parents=True)
        (out / old).write_text('{"run_id": "r", "moves": [], "removes": ["../outside"]}')
        assert command([*flags, f"--output={out}", "--overwrite"]) in (1, 2)
        said = capsys.readouterr().err
        assert said.endswith(f"{old} is of an earlier layout, which this version does not read: name another folder\n")
        assert said.count("\n") == 1
        assert [str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()] == [old]
        with pytest.raises(RunError, match="is of an earlier layout"):
            open_labels(str(out))


@pytest.mark.engine
def test_an_earlier_layout_of_partitions_is_refused(tmp_path, made, capsys):
    old = tmp_path / "run_date=2026-11-20"
    (old / "labels").mkdir(parents=True)
    (old / "_MANIFEST.json").write_text("{}")
    command, flags = commands(made["corpus"], made["model"], made["data"])["classify"]
    for night in ("2026-11-20", "2026-11-21"):
        assert command([*flags, f"--output={tmp_path}", f"--run_date={night}"]) in (1, 2)
        assert "is of an earlier layout, which this version does not read" in capsys.readouterr().err
    with pytest.raises(RunError, match="is of an earlier layout"):
        open_labels(str(tmp_path))


@pytest.mark.engine
def test_a_table_has_partitions_or_it_has_none(tmp_path, made, capsys):
    command, flags = commands(made["corpus"], made["model"], made["data"])["classify"]
    assert command([*flags, f"--output={tmp_path}/dated", "--run_date=2026-11-20"]) == 0
    for overwrite in ([], ["--overwrite"]):
        capsys.readouterr()
        assert command([*flags, *overwrite, f"--output={tmp_path}/dated"]) == 1
        said = capsys.readouterr().err
        assert "has partitions such as run_date=2026-11-20: give a --run_date, or name another folder" in said
        assert command([*flags, *overwrite, f"--output={made['folder']}/classify", "--run_date=2026-11-20"]) == 1
        said = capsys.readouterr().err
        assert "is a table without partitions: leave out --run_date, or name another folder" in said
        assert "Traceback" not in said and said.count("\n") == 1
    assert open_labels(f"{tmp_path}/dated").to_table()["run_date"].unique().to_pylist() == ["2026-11-20"]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("classify", "labels/mine.parquet"),
        ("classify", "_rejects/mine.parquet"),
        ("prepare", "data/mine.parquet"),
        ("prepare", "_rejects/mine.parquet"),
        ("prepare", "README.md"),
        ("finetune", "config.json"),
        ("finetune", "README.md"),
        ("evaluate", "report.html"),
    ],
)
def test_files_of_somebody_else_are_refused_by_name(tmp_path, made, kind, name, capsys):
    command, flags = commands(made["corpus"], made["model"], made["data"])[kind]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    for overwrite in ([], ["--overwrite"]):
        assert command([*flags, *overwrite, f"--output={tmp_path}"]) == 1
        said = capsys.readouterr().err
        assert f"{tmp_path}/{name} is not of a run; name another folder or move it away" in said
        assert said.count("\n") == 1
    assert (tmp_path / name).read_bytes() == b"mine"
    assert read_manifest(str(tmp_path)) is None


WRONG = {"missing": ..., "null": None, "a list": [5]}


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["classify", "prepare", "finetune"])
@pytest.mark.parametrize(
    "wrong", ["missing", *(pytest.param(each, marks=pytest.mark.slow) for each in ("null", "a list"))]
)
def test_whatever_else_a_manifest_says_wrongly_is_no_traceback(tmp_path, made, kind, wrong, capsys):
    """Each of its entries in turn, of what the very run published that is started again and of what is read."""
    version = made["folder"] / kind / "_versions" / "00000001.json"
    whole = version.read_bytes()
    faults = []
    try:
        for key in json.loads(whole):
            manifest = json.loads(whole)
            if wrong == "missing":
                del manifest[key]
            else:
                manifest[key] = WRONG[wrong]
            version.write_text(json.dumps(manifest))
            for name, command, flags in readers(made, kind, tmp_path):
                capsys.readouterr()
                try:
                    code = command(flags)
                except Exception as error:
                    faults.append((key, name, repr(error)))
                    continue
                assert code in (0, 1, 2), (key, name)
                assert code == 0 or capsys.readouterr().err.startswith("seqcls_beam: "), (key, name)
    finally:
        version.write_bytes(whole)
    assert not faults, "\n".join(map(str, faults))


def readers(made: dict[str, Path], kind: str, tmp: Path) -> list[tuple[str, Callable[[list[str]], int], list[str]]]:
    """What reads the version of a folder: the run that made it, started again, and those that take it as input."""
    out = made["folder"] / kind
    command, flags = commands(made["corpus"], made["model"], made["data"])[kind]
    found = [("again", command, [*flags, f"--output={out}"])]
    if kind == "classify":
        new = ["--only_new", "--overwrite", f"--output={out}"]
        found.append(("only_new", command, [*flags, *new]))
        found.append(("labeled", evaluate.main, [f"--labeled={out}", "--label_column=input_label", "--bootstrap=0"]))
    if kind == "prepare":
        found.append(("data", evaluate.main, [f"--data={out}", f"--model={made['model']}", "--bootstrap=0"]))
        tuned = [f"--data={out}", f"--model={made['model']}", f"--output={made['folder']}/finetune", "--epochs=1"]
        found.append(("train", finetune.main, [*tuned, "--threads=1"]))
    return found


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["classify", "prepare", "finetune", "evaluate"])
def test_what_stands_within_entries_is_input_too(made, kind, tmp_path, capsys):
    """What was published is shown again, or read as data, after somebody edited a number in it."""
    out = made["folder"] / kind
    file = out / ("evaluation.json" if kind == "evaluate" else "_versions/00000001.json")
    command, flags = commands(made["corpus"], made["model"], made["data"])[kind]
    tuned = [f"--data={out}", f"--model={made['model']}", f"--output={tmp_path}/tuned", "--only_check"]
    runs = [(command, [*flags, f"--output={out}"]), (finetune.main, tuned)][: 1 + (kind == "prepare")]
    whole, faults = file.read_bytes(), []
    try:
        for number, path in enumerate(within(json.loads(whole))):
            edited = json.loads(whole)
            reduce(dict.__getitem__, path[:-1], edited)[path[-1]] = (None, [5], "x")[number % 3]
            file.write_text(json.dumps(edited))
            for which, words in runs:
                code, said = which(words), capsys.readouterr().err
                if code not in (0, 1, 2) or "a fault of the program" in said or (code and said.count("\n") != 1):
                    faults.append((path, code, said))
    finally:
        file.write_bytes(whole)
    assert not faults, "\n".join(map(str, faults))


def within(document: dict[str, Any], *above: str) -> list[tuple[str, ...]]:
    """The entries in the objects of a document, down to three keys, as keys to each."""
    deeper = [(key, value) for key, value in document.items() if isinstance(value, dict) and len(above) < 2]
    return [(*above, key) for key in document if above] + [e for key, each in deeper for e in within(each, *above, key)]
