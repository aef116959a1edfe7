"""Sentences of the reading room name options that the command has, and no name at a length that hides the rest."""

import ast
import re
from pathlib import Path

import pytest

import seqcls_beam.reading
from pipelines import classify, evaluate, prepare
from seqcls_beam.config.option import option_fields
from seqcls_beam.reading.files import find
from seqcls_beam.reading.formats.columns import listed, shown
from seqcls_beam.reading.records import plan_layout
from seqcls_beam.reading.remarks import remarks

READING = Path(seqcls_beam.reading.__file__).parent
COMMANDS = {module.__name__: module.GROUPS for module in (classify, prepare, evaluate)}
NAMED = re.compile(r"--([a-z]\w+)")

STREAMED = {"messages.py", "pubsub.py", "subscription.py"}
"""Of streams, which `classify` alone reads."""

GUARDED = {"keep_columns"}
"""Said where the command has it, as the sentences below show; in records.py only where it was given."""


def options(command: str) -> set[str]:
    return {each.name for group in COMMANDS[command].values() for each in option_fields(group)}


def sentences(path: Path) -> list[str]:
    """The strings of a file that are no docstrings."""
    tree = ast.parse(path.read_text())
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in alone]
    return [node.value for node in found if isinstance(node.value, str)]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_what_its_sentences_name(command):
    named = {
        name
        for path in READING.rglob("*.py")
        if command == "pipelines.classify" or path.name not in STREAMED
        for sentence in sentences(path)
        for name in NAMED.findall(sentence)
    }
    assert {"input_format", "encoding", "exclude", "quote", *GUARDED} <= named
    assert named - options(command) <= GUARDED
    assert set(COMMANDS[command]["read"].naming) <= options(command)


UNTYPED = (
    '{"text": "a", "id": 1}\n{"text": "a", "id": [1]}\n{"text": "b", "id": ["x"]}\n{"text": "b", "id": {"x": 1}}\n'
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("name", "data", "asked", "complaint"),
    [
        ("a.csv", "text,n\na,1\n", {"text_column": "body"}, "no column 'body'"),
        ("a.jsonl", UNTYPED, {"id_column": "id"}, "no one type"),
        ("a.jsonl", UNTYPED, {"keep_columns": ("*",)}, "no one type"),
        ("a.jsonl", '{"text": "a", "id": {}}\n', {"id_column": "id"}, "no one type"),
        ("a.csv", "text,,\na,1,2\n", {"keep_columns": ("*",)}, "have no name"),
        ("a.csv", "text,text\na,1\n", {}, "stands twice"),
    ],
)
def test_what_is_advised_can_be_done(tmp_path, command, name, data, asked, complaint):
    (tmp_path / name).write_text(data)
    read = COMMANDS[command]["read"](input=(str(tmp_path / name),), **asked)
    with pytest.raises(ValueError, match=complaint) as raised:
        plan_layout(find(read).files, read)
    advised = set(NAMED.findall(str(raised.value)))
    assert advised <= options(command)
    assert advised or complaint in ("have no name", "stands twice")
    assert ("keep_columns" in advised) == (command == "pipelines.classify" and complaint != "stands twice")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_is_a_column_is_told_with_options_that_there_are(tmp_path, command):
    (tmp_path / "lang=en").mkdir()
    (tmp_path / "lang=en" / "a.csv").write_text("text,lang\na,de\n")
    read = COMMANDS[command]["read"](input=(str(tmp_path),))
    (told,) = remarks(find(read), read)
    assert set(NAMED.findall(told)) <= options(command)


def test_a_name_is_told_at_a_length_that_can_be_read():
    assert shown("O'Brien") == '"O\'Brien"' and shown("a" * 78) == repr("a" * 78)
    long = shown("begin" + "x" * 12_000 + "end")
    assert len(long) <= 80 and long.startswith("'begin") and long.endswith("end'") and "…" in long
    assert shown("a\x1b[31m\n\0\u202e\ud800") == r"'a\x1b[31m\n\x00\u202e\ud800'"
    many = listed(f"c{number}" for number in range(5_000))
    assert many.startswith("'c0', 'c1', ") and many.endswith("'c19' and 4,980 more")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("zeros.csv", b"\0" * 12_000),
        ("wide.csv", b",".join(b"c%d" % number for number in range(5_000)) + b"\n" + b"," * 4_999 + b"\n"),
        ("wide.jsonl", b'{"' + b"x" * 12_000 + b'": 1}\n'),
        ("latin.csv", b"\xe9" * 12_000 + b"\n1\n"),
        ("twice.csv", b",".join([b"text", b"x" * 12_000, b"x" * 12_000]) + b"\na,b,c\n"),
    ],
)
def test_what_is_said_of_columns_is_short_whatever_they_are_called(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    read = classify.GROUPS["read"](input=(str(tmp_path / name),), keep_columns=("*",))
    try:
        plan_layout(find(read).files, read)
    except ValueError as error:
        assert len(str(error)) < 1_000 + len(str(tmp_path)) and str(error).isprintable()
    else:
        assert name == "zeros.csv"  # a header that holds U+0000 is told of where its rows are read
