"""Sentences name options that the command has, and no name at a length that hides the rest."""

import ast
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import seqcls_beam
from pipelines import classify, evaluate, prepare
from seqcls_beam.config.evaluate import TAKEN
from seqcls_beam.config.option import option_fields
from seqcls_beam.reading.files import find
from seqcls_beam.reading.formats.columns import listed, shown
from seqcls_beam.reading.records import plan_layout
from seqcls_beam.reading.remarks import remarks

PACKAGE = Path(seqcls_beam.__file__).parent
COMMANDS = {module.__name__: module.GROUPS for module in (classify, prepare, evaluate)}
NAMED = re.compile(r"--([a-z]\w+)")

STREAMED = {"messages.py", "pubsub.py", "subscription.py"}
"""Of streams, which `classify` alone reads."""

GUARDED = {"keep_columns"}
"""Said where the command has it, as the sentences below show; in records.py only where it was given."""

OF_OTHERS = {
    "pipelines.evaluate": {
        "keep_columns",  # of `classify`, which made the answers that lack a column
        "problem",  # where it is given or not, as forms.py asks, and where there are too many labels
        "evaluation",  # of `approve`, which reads what `evaluate` made
    }
}
"""What sentences of the other rooms name that a command does not have, and why."""


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
        for path in (PACKAGE / "reading").rglob("*.py")
        if command == "pipelines.classify" or path.name not in STREAMED
        for sentence in sentences(path)
        for name in NAMED.findall(sentence)
    }
    assert {"input_format", "encoding", "exclude", "quote", *GUARDED} <= named
    assert named - options(command) <= GUARDED
    assert set(COMMANDS[command]["read"].naming) <= options(command)


def imported(*rooms: str) -> set[Path]:
    """The files of some rooms, and what these import of the package."""
    found, due = set(), {path for room in rooms for path in (PACKAGE / room).rglob("*.py")}
    while due:
        found.add(path := due.pop())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("seqcls_beam"):
                parts = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
                files = {PACKAGE.parent / f"{part.replace('.', '/')}.py" for part in parts}
                due |= {file for file in files - found if file.exists()}
    return found


@pytest.mark.parametrize(
    ("command", "rooms"), [("pipelines.prepare", ["preparation"]), ("pipelines.evaluate", ["evaluation"])]
)
def test_a_command_has_what_other_rooms_name(command, rooms):
    # A manifest is read by others than it was made by: they say what they were given, and what made it.
    files = imported(*rooms) - {PACKAGE / "preparation" / "prepared.py"}
    ours = {path for path in files if path.relative_to(PACKAGE).parts[0] in ("preparation", "evaluation")}
    ours.add(PACKAGE / "runs" / "accounting.py")
    named = {path: {name for each in sentences(path) for name in NAMED.findall(each)} for path in ours}
    named = {path: names for path, names in named.items() if path.name != "report.py"}  # whose style has variables
    assert {"encoding", "labels", "label_columns", "max_rejected"} <= set().union(*named.values())
    assert set().union(*named.values()) - options(command) <= OF_OTHERS.get(command, set())


def taken(source: str) -> set[str]:
    """The options of an evaluation that say something of a source."""
    groups = COMMANDS["pipelines.evaluate"]
    return {
        each.name
        for name, group in groups.items()
        for each in option_fields(group)
        if each.name in TAKEN[source].get(name, [each.name])
    }


@pytest.mark.parametrize(
    ("gold", "complaint"),
    [
        ([f"n{number}" for number in range(10_001)], "more than 10,000 different values"),
        ([[0.2, 0.8]] * 4, "shares or probabilities"),
        (["a|b", "a", "b", "c"], "nothing in common"),
        ([2.5, 3.5, 1.0, 0.5], "nothing in common"),
        (["[1, 0]"] * 4, "0 or 1"),
        ([{"a": 1}] * 4, "labels are strings"),
    ],
)
def test_what_is_advised_of_answers_can_be_done(tmp_path, capsys, gold, complaint):
    pq.write_table(pa.table({"gold": gold, "label": ["x"] * len(gold)}), tmp_path / "a.parquet")
    assert evaluate.main([f"--labeled={tmp_path}/a.parquet", "--label_column=gold"]) != 0
    said = capsys.readouterr().err
    assert complaint in said and set(NAMED.findall(said)) <= taken("labeled")


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
