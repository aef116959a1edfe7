"""What a user imports: each public name stands in one place, is documented, and nothing else is promised."""

import ast
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest

from seqcls_beam import open_labels, schema
from seqcls_beam.config.option import option_fields

ROOT = Path(__file__).parent.parent
LIBRARY = (ROOT / "docs" / "library.md").read_text()
PACKAGE = ROOT / "seqcls_beam"
# A module with an `__all__` is a public place, but for the doors inside a room.
INNER = {"seqcls_beam.model.checkpoints", "seqcls_beam.model.engine", "seqcls_beam.reading.records"}
PLACES = sorted(
    name
    for path in PACKAGE.rglob("*.py")
    if "\n__all__ = " in path.read_text()
    if (name := ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")) not in INNER
)
# What a reader of the docstring must find, beside what it takes, gives and raises: units, dtypes, order.
TOLD = {
    "SeqclsClassify": ("`error_handling`", "`reject`", "`ModelOptions`", "`CheckpointError`"),
    "ReadRecords": ("order", "`FileNotFoundError`", "`ValueError`"),
    "FromRows": ("in the order", "seconds", "microseconds", "`ValueError`"),
    "ToRows": ("order", "timestamp", "`ValueError`"),
    "Tokenize": ("lengths in tokens", "`CheckpointError`", "`ValueError`"),
    "Classify": ("float32", "order", "`EngineError`", "`CheckpointError`"),
    "WriteLabeled": ("URI", "`RunError`"),
    "ClassifierHandler": ("once per process", "`EngineError`", "`CheckpointError`"),
    "label": ("order", "float32", "`TypeError`", "`CheckpointError`", "`EngineError`"),
    "open_labels": ("order", "`FileNotFoundError`", "`RunError`"),
    "resolve": ("`CheckpointError`",),
}
SCHEMAS = re.findall(r"\b[A-Z]{4,}\b", schema.__doc__ or "")


def documented() -> set[tuple[str, str]]:
    """(place, name) of the table in docs/library.md."""
    found, place = set(), ""
    for first, names in re.findall(r"^\|(?: (`[\w.]+`))? \| (.+?) \| .*\|$", LIBRARY, re.MULTILINE):
        place = first.strip("`") or place
        found |= {(place, name) for name in re.findall(r"`(\w+)`", names)}
    return found


def public() -> list[tuple[str, str]]:
    return [(place, name) for place in PLACES for name in importlib.import_module(place).__all__]


def test_what_is_public_is_documented_and_nothing_else():
    assert set(public()) == documented()


def test_a_public_name_stands_in_one_place():
    names = [name for _, name in public()]
    assert len(names) == len(set(names))
    for place, name in public():
        assert getattr(importlib.import_module(place), name) is not None
        assert name in dir(importlib.import_module(place)), "where pydoc looks"


@pytest.mark.parametrize(("place", "name"), [each for each in public() if each[0] != "seqcls_beam.schema"])
def test_a_public_name_says_what_it_takes_gives_and_raises(place, name):
    thing = getattr(importlib.import_module(place), name)
    said = inspect.getdoc(thing) or ""
    assert said and not said.startswith(f"{name}("), "a docstring of its own"
    if place == "seqcls_beam.config":
        assert all(each.metadata["help"] for each in option_fields(thing))
        return
    if inspect.isclass(thing) and not issubclass(thing, Exception):
        for own, method in vars(thing).items():
            if inspect.isfunction(method) and not own.startswith("_"):
                assert inspect.getdoc(method), f"{name}.{own}"
    if place == "seqcls_beam.transforms":
        arrow = said.splitlines()[0].partition("→")
        assert any(each in said.splitlines()[0] for each in SCHEMAS) and arrow[2], "SCHEMA → SCHEMA"
    if place == "seqcls_beam.transforms" or inspect.isfunction(thing):
        assert re.search(r"\b[Rr]aises?\b", said), "what it raises"
        assert all(each in said for each in TOLD[name]), [each for each in TOLD[name] if each not in said]


def test_every_schema_says_what_its_columns_are():
    """Constants have their docstring behind them, where only the source shows it."""
    body = ast.parse(Path(schema.__file__).read_text()).body
    told = {
        node.targets[0].id
        for node, after in pairwise(body)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    }
    for name in schema.__all__:
        assert name in told or inspect.getdoc(getattr(schema, name)), name


def examples() -> list[tuple[str, str]]:
    """(file, code) of the examples in Python that stand alone."""
    alone = [(path.name, path.read_text()) for path in sorted((ROOT / "examples").glob("*.py"))]
    return [*alone, *(("library.md", code) for code in re.findall(r"```python\n(.*?)```", LIBRARY, re.DOTALL))]


@pytest.mark.engine
def test_the_examples_are_well_typed(tmp_path):
    """By mypy's strict rules, as pyproject.toml has them: Beam's own functions are not annotated."""
    paths = []
    for number, (name, code) in enumerate(examples()):
        paths.append(tmp_path / f"example_{number}_{Path(name).stem}.py")
        paths[-1].write_text(code)
    assert len(paths) > 3
    command = [sys.executable, "-m", "mypy", f"--config-file={ROOT / 'pyproject.toml'}", *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.engine
def test_the_examples_of_the_library_run_as_they_stand(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("reviews").mkdir()
    shutil.copy(str(files("seqcls_beam") / "sample" / "reviews.jsonl"), "reviews/sample.jsonl")
    for name, code in examples():
        if name == "library.md":
            exec(compile(code, name, "exec"), {"__name__": "__main__"})
    said = capsys.readouterr().out
    assert said.count("'reject': None") == 2 and "missing_text" in said, "rows of one's own"
    rows, rejected = map(int, re.findall(r"^\((\d+), (\d+)\)$", said, re.MULTILINE)[0])
    assert (rows, rejected) == (197, 6)
    assert open_labels("labels-lower").count_rows() == 191


def test_the_package_itself_loads_nothing():
    code = "import sys, seqcls_beam; print(sorted({'torch', 'apache_beam', 'pyarrow', 'fsspec'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
