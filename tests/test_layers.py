"""The laws of the code itself: who may import whom, and what would turn the batch coder into pickle."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "seqcls_beam"

# From the bottom to the top; a module imports only what stands before it.
ORDER = [
    "schema", "config", "rows", "storage", "reading", "model", "runs",
    "preparation", "evaluation", "finetuning", "transforms",
]  # fmt: skip
BEAM = {"transforms"}
TORCH = {"engine", "finetuning"}  # `engine` is in `model`


def sources(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sources(PACKAGE), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_only(path):
    own = module(path)
    for name in imports(path):
        top = name.split(".")[0]
        if top == "seqcls_beam" and own != "__init__":
            below = name.split(".")[1] if "." in name else ""
            assert below in ORDER or below == "__version__", f"{path} imports {name}"
            assert below == own or ORDER.index(below) < ORDER.index(own), f"{own} imports {below}, which is above it"
        assert top != "apache_beam" or own in BEAM, f"{path} knows Beam"
        assert top != "torch" or set(path.parts) & TORCH, f"{path} knows torch"
        assert top != "pipelines", f"{path} imports a command"
        assert top != "argparse", f"{path} knows argparse"


def test_every_module_has_its_place():
    assert {module(path) for path in sources(PACKAGE)} == {*ORDER, "__init__"}


@pytest.mark.parametrize("path", sources(PACKAGE, ROOT / "pipelines"), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_hides_an_element_type_from_beam(path):
    assert "__future__.annotations" not in list(imports(path))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("Map", "FlatMap", "Filter", "ParDo"):
            assert not any(isinstance(arg, ast.Lambda) for arg in node.args), f"{path}:{node.lineno}: a lambda"


@pytest.mark.parametrize("path", sources(ROOT / "pipelines"), ids=lambda path: path.name)
def test_commands_define_nothing_that_is_shipped_to_a_worker(path):
    for name in imports(path):
        assert name.split(".")[0] != "torch"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            assert not {ast.unparse(base) for base in node.bases} & {"beam.DoFn", "beam.PTransform"}


def test_importing_a_command_does_not_import_torch():
    names = [f"pipelines.{name}" for name in ("classify", "prepare", "finetune", "evaluate")]
    code = f"import sys, {', '.join(names)}; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == "[]"
