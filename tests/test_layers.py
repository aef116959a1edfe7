"""The laws of the house: who may import whom, how long a file may be, what would turn the batch coder into pickle."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

import seqcls_beam

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "seqcls_beam"
COMMANDS = ROOT / "pipelines"

# From the ground up: a room imports rooms of the floors below its own, and none beside it.
FLOORS = [
    {"version", "signs", "importing", "schema", "rows", "storage", "cache", "config"},
    {"reading", "model"},
    {"runs", "notebook"},
    {"preparation"},
    {"evaluation"},
    {"reports", "announcing"},
    {"finetuning", "transforms"},
    {"__main__"},
]
# Who may know what: a file, or a folder and all that is in it. Whoever imports the engine imports torch.
KNOWS = {
    "apache_beam": ("transforms/",),
    "torch": ("model/engine/", "finetuning/"),
    "seqcls_beam.model.engine": ("model/engine/", "finetuning/", "transforms/", "notebook.py"),
    "argparse": (),
}
# Of the commands, too.
ORDER = [
    "called",
    "flink_flags",
    "wrapping",
    "voice",
    "outcome",
    "settings",
    "as_json",
    "interrupts",
    "usage",
    "options",
    "runners",
    "completion",
    "terminal",
    "failures",
    "command",
    "publishing",
    "ending",
    "flink",
    "flink_jobs",
    "engines",
    "prism",
    "quiet",
    "dataflow",
    "workers",
    "precision",
    "hanging",
    "submitted",
    "running",
    "sight",
    "planning",
    "reporting",
    "announcing",
    "telling",
    "sealer",
    "stream_flags",
    "stream_graph",
    "epochs",
    "stream_job",
    "streaming",
    "labelling",
    "looking",
    "preparing",
    "evaluating",
    "training",
    "approving",
    "classify",
    "clean",
    "seal",
    "compare",
    "approve",
    "report",
    "announce",
    "prepare",
    "finetune",
    "evaluate",
]

LONGEST = 340


def sources(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.rglob("*.py"))]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{path}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floor(name: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if name in rooms)


def module(path: Path) -> str:
    """The name a file is imported by."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", sources(PACKAGE), ids=shown)
def test_imports_point_down_only(path):
    own, inside = room(path), path.relative_to(PACKAGE).as_posix()
    for name in imports(path):
        top, _, rest = name.partition(".")
        assert top != "pipelines", f"{inside} imports a command"
        for known, places in KNOWS.items():
            if f"{name}.".startswith(f"{known}."):
                assert inside.startswith(places), f"{inside} knows {known}"
        below = rest.partition(".")[0]
        if top == "seqcls_beam" and below != own and own != "__init__":
            assert floor(below) < floor(own), f"{inside} imports {below}, which is not below it"


@pytest.mark.parametrize("path", sources(COMMANDS), ids=shown)
def test_commands_import_what_they_share_and_not_each_other(path):
    own = path.relative_to(COMMANDS).parts[0].removesuffix(".py")
    for name in imports(path):
        top, _, rest = name.partition(".")
        assert top not in ("torch", "argparse") or (own, top) == ("options", "argparse") or name == "argparse.SUPPRESS"
        below = rest.partition(".")[0]
        if top == "pipelines" and below != own and own != "__init__":  # which every command imports
            assert ORDER.index(below) < min(ORDER.index(own), ORDER.index("classify")), f"{own} imports {below}"


def test_nothing_is_imported_in_a_circle():
    names = {module(path): path for path in sources(PACKAGE, COMMANDS)}
    graph = {
        name: {
            found for each in imports(path) if (found := each if each in names else each.rpartition(".")[0]) in names
        }
        - {name, "seqcls_beam"}
        for name, path in names.items()
    }
    TopologicalSorter(graph).prepare()  # raises where there is one


def test_every_room_has_its_floor():
    assert {room(path) for path in sources(PACKAGE)} == {*chain(*FLOORS), "__init__"}


def test_the_map_of_the_package_is_the_tree():
    """`seqcls_beam/__init__.py` lists what there is, by indentation; a folder without its files stands for them all."""
    entries: list[str] = []
    folders: list[tuple[int, str]] = []
    for line in (seqcls_beam.__doc__ or "").splitlines():
        entry = re.fullmatch(r"( +)((?:\w+(?:\.py|/)(?:, )?)+) +\S.*", line)
        if not entry:
            continue
        depth = len(entry[1])
        folders = [each for each in folders if each[0] < depth]
        for name in entry[2].split(", "):
            entries.append("".join(folder for _, folder in folders) + name)
            if name.endswith("/"):
                folders.append((depth, name))
    listed = set(entries)
    there = {path.relative_to(PACKAGE).as_posix() for path in sources(PACKAGE)}
    there = {path for path in there if not path.endswith("__init__.py")}
    files = {path for path in listed if path.endswith(".py")}
    assert files <= there, f"listed, but not there: {sorted(files - there)}"
    # A folder that is listed without its files stands for all of them.
    whole = [each for each in listed if each.endswith("/") and not any(file.startswith(each) for file in files)]
    missing = {path for path in there - files if not path.startswith(tuple(whole))}
    assert not missing, f"there, but not listed: {sorted(missing)}"
    assert all((PACKAGE / each).is_dir() for each in whole)
    order = [floor(name) for name in dict.fromkeys(re.sub(r"(/|\.py).*", "", each) for each in entries)]
    assert order == sorted(order), "read from the top, a room imports only rooms above it"


@pytest.mark.parametrize("path", sources(PACKAGE, COMMANDS), ids=shown)
def test_no_file_does_the_work_of_two(path):
    assert len(path.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("path", sources(PACKAGE, COMMANDS), ids=shown)
def test_nothing_hides_an_element_type_from_beam(path):
    assert "__future__.annotations" not in list(imports(path))
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("Map", "FlatMap", "Filter", "ParDo"):
            assert not any(isinstance(arg, ast.Lambda) for arg in node.args), f"{path}:{node.lineno}: a lambda"


@pytest.mark.parametrize("path", sources(COMMANDS), ids=shown)
def test_commands_define_nothing_that_is_shipped_to_a_worker(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ClassDef):
            assert not {ast.unparse(base) for base in node.bases} & {"beam.DoFn", "beam.PTransform"}


def test_what_a_command_works_with_does_not_import_torch():
    names = [f"pipelines.{name}" for name in ("labelling", "preparing", "training", "evaluating")]
    code = f"import sys, {', '.join(names)}; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == "[]"
