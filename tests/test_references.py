"""What docs/reference says is all there is: reasons, exit codes, keys of manifests."""

import ast
import json
import re
from pathlib import Path

import pytest

from deploy.generate.references import MANIFESTS, codes, exit_codes, manifests, reasons
from pipelines import prepare, seal
from seqcls_beam.__main__ import COMMANDS
from seqcls_beam.runs.shapes import _SHAPES
from seqcls_beam.schema import REASONS
from tests.corpora import write_jsonl
from tests.keys import faults_of, undocumented
from tests.messages import Message
from tests.prepared import sentences
from tests.runs.streams import S, append
from tests.runs.streams import prepared as stream

ROOT = Path(__file__).parent.parent
CODE = {
    path: ast.parse(path.read_text())
    for room in ("reading", "model", "preparation", "evaluation", "transforms", "runs")
    for path in sorted((ROOT / "seqcls_beam" / room).rglob("*.py"))
}


def literals(node: ast.AST) -> set[str]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def given() -> set[str]:
    """Reasons that the code gives rows: `(reason, detail)`, `_drop(rows, reason, detail)`, `reason[rows] = reason`."""
    found = set()
    for node in (each for tree in CODE.values() for each in ast.walk(tree)):
        match node:
            case ast.Tuple(elts=[ast.Constant(value=str(name)), ast.JoinedStr()]):
                found.add(name)
            case ast.Call(func=ast.Attribute(attr="_drop"), args=[_, ast.Constant(value=str(name)), *_]):
                found.add(name)
            case ast.Assign(
                targets=[ast.Subscript(value=ast.Name(id="reason"))], value=ast.Constant(value=str(name))
            ) if name:
                found.add(name)
    return found


def test_every_reason_that_the_code_gives_is_documented():
    found, shown = given(), reasons()
    assert len(found) > 10
    assert found <= set(REASONS), "of another shape, or a reason that nobody explained"
    assert all(f"| `{name}` | " in shown for name in REASONS)


def test_every_documented_reason_is_given_somewhere():
    assert set(REASONS) <= set().union(*map(literals, CODE.values()))


def _sources(command: str) -> list[ast.Module]:
    """Of a command, and of what it imports to do its work."""
    thin = ast.parse((ROOT / "pipelines" / f"{command}.py").read_text())
    inner = [each for node in ast.walk(thin) if isinstance(node, ast.FunctionDef) for each in ast.walk(node)]
    work = {
        name.name
        for each in inner
        if isinstance(each, ast.ImportFrom) and each.module == "pipelines"
        for name in each.names
    }
    return [thin, *(ast.parse((ROOT / "pipelines" / f"{name}.py").read_text()) for name in work)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_exit_code_is_documented(command):
    told = {int(number) for code, _ in codes(command) for number in re.findall(r"\d+", code)}
    assert {0, 1, 2} <= told
    sources = _sources(command)
    returned = {
        each.value
        for node in (each for source in sources for each in ast.walk(source))
        if isinstance(node, ast.Return) and node.value
        for each in ([node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else [node.value])
        if isinstance(each, ast.Constant) and type(each.value) is int
    }
    assert returned <= told and (returned or command == "report")
    assert all(f"| `{command}` | {code} | " in exit_codes() for code, _ in codes(command))


@pytest.mark.parametrize("what", MANIFESTS)
def test_every_key_has_a_type_and_a_meaning_and_stands_in_the_code(what):
    keys = MANIFESTS[what][2]
    words = set().union(
        *map(literals, CODE.values()), literals(ast.parse((ROOT / "pipelines/labelling.py").read_text()))
    )
    words |= literals(ast.parse((ROOT / "seqcls_beam/finetuning/receipt.py").read_text()))
    for key, (kind, meaning) in keys.items():
        assert kind and meaning and f"| `{key}` | {kind} | " in manifests()
        names = [name for name in re.split(r"[.\[\]]+", key) if name and not name.isupper()]
        assert set(names) <= words, key


def test_what_is_asked_of_a_manifest_that_is_read_is_documented():
    for kind, asked in _SHAPES.items():
        known = [re.split(r"[.\[\]]+", key) for key in [*MANIFESTS[kind][2], *MANIFESTS["stream"][2]]]
        for key in asked:
            names = key.rstrip("?").split(".")
            assert any(
                all(name in (one, "*") or one.isupper() for name, one in zip(names, key, strict=False))
                for key in known
                if len(key) >= len(names)
            ), key


def test_what_is_not_documented_is_found():
    keys = {"rows.in": ("integer", ""), "labels[]": ("string", ""), "splits.SPLIT.rows": ("integer", "")}
    whole = {"rows": {"in": 1}, "labels": ["a"], "splits": {"a.b": {"rows": 2}}}
    assert faults_of(whole, keys) == [] == faults_of({"rows": {}, "labels": []}, keys)
    assert faults_of({"rows": {"in": "1"}}, keys) == ["rows.in is '1', and documented as integer"]
    assert faults_of({"rows": {"in": True}}, keys) == ["rows.in is True, and documented as integer"]
    assert faults_of({"rows": {"out": 1}}, keys) == ["rows.out is not documented (1)"]
    assert faults_of({"labels": [{"a": 1}]}, keys) == ["labels.[] is not documented ({'a': 1})"]
    assert faults_of({"splits": {"train": {"tokens": {}}}}, keys) == ["splits.train.tokens is not documented ({})"]


def test_a_window_has_what_is_documented(tmp_path, capsys):
    out = stream(tmp_path / "out")
    append(out, Message("a", 0), Message("b", 1, rejected=True), Message("c", 400 * S))
    assert seal.main([out]) == 0
    append(out, Message("a", 0), Message("e", 2))
    assert seal.main([out]) == 0
    assert undocumented(out) == []


def test_prepared_data_with_all_that_can_be_wrong_have_what_is_documented(tmp_path, monkeypatch):
    """Files that are cut and files of wrong rows, copies, leaks between splits, labels in two spellings."""
    monkeypatch.chdir(tmp_path)
    some = [{"text": text, "label": ("good", "bad", "Good")[i % 3]} for i, text in enumerate(sentences(120))]
    write_jsonl(tmp_path / "train.jsonl", [*some, some[0], {"text": "", "label": "bad"}, {"label": "bad"}])
    write_jsonl(tmp_path / "test.jsonl", [some[1], *({**each, "text": f"{each['text']} once"} for each in some[:9])])
    (tmp_path / "other.parquet").write_bytes(b"PAR1 and no more")
    files = ["--input_train=train.jsonl", "--input_train=other.parquet", "--input_test=test.jsonl"]
    assert prepare.main([*files, "--validation_fraction=0.3", "--max_unreadable=1", "--output=out"]) == 0
    (version,) = Path("out/_versions").glob("*.json")
    rows = json.loads(version.read_text())["rows"]
    assert rows["rejected_by_reason"] and rows["removed_by_reason"] and rows["lost_by_reason"]
    assert set(rows["rejected_by_reason"]) | set(rows["removed_by_reason"]) | set(rows["lost_by_reason"]) <= set(
        REASONS
    )
    assert undocumented("out") == []
