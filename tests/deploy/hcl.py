"""Terraform's files, as plain lists and maps."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hcl2

from tests.deploy.scripted import DEPLOY

ROOT = DEPLOY / "terraform"
MODULES = sorted(each.name for each in (ROOT / "modules").iterdir() if each.is_dir())
EXAMPLE = ROOT / "examples" / "complete"
README = (ROOT / "README.md").read_text()
SHOWN = re.findall(r"^```hcl\n(.*?)^```", README, re.M | re.S)
"""What README.md shows, first a night, then a stream."""

Tree = dict[str, Any]


def plain(tree: Any) -> Any:
    """Without the quotes of literal texts, and without what the parser notes beside."""
    if isinstance(tree, dict):
        return {plain(key): plain(each) for key, each in tree.items() if not str(key).startswith("__")}
    if isinstance(tree, list):
        return [plain(each) for each in tree]
    return tree[1:-1] if isinstance(tree, str) and re.fullmatch(r'"[\s\S]*"', tree) else tree


def parsed(text: str) -> Tree:
    """A file's blocks and attributes. Raises what the parser raises."""
    found = plain(hcl2.loads(text if text.endswith("\n") else f"{text}\n"))
    assert isinstance(found, dict)
    return found


@cache
def module(folder: Path) -> Tree:
    """All of a folder's blocks, by kind."""
    found: Tree = {}
    for path in sorted(folder.glob("*.tf")):
        for kind, blocks in parsed(path.read_text()).items():
            found.setdefault(kind, []).extend(blocks)
    return found


def named(tree: Tree, kind: str) -> dict[str, Tree]:
    """Blocks with one label: variables, outputs, modules."""
    return {name: body for block in tree.get(kind, []) for name, body in block.items()}


def resources(tree: Tree) -> Iterator[tuple[str, str, Tree]]:
    """(type, name, arguments) of each."""
    for block in tree.get("resource", []):
        for kind, by_name in block.items():
            for name, body in by_name.items():
                yield kind, name, body


def local_values(tree: Tree) -> Tree:
    """Local values by name."""
    return {name: value for block in tree.get("locals", []) for name, value in block.items()}


def required(folder: Path) -> tuple[set[str], set[str]]:
    """(variables that must be given, all variables) of a module."""
    variables = named(module(folder), "variable")
    return {name for name, body in variables.items() if "default" not in body}, {*variables}


def references(folder: Path, kind: str) -> set[str]:
    """Names behind `var.`, `local.` in a module's files."""
    text = "\n".join(path.read_text() for path in sorted(folder.glob("*.tf")))
    return set(re.findall(rf"\b{kind}\.([a-z_]+)", re.sub(r"#.*", "", text)))


def of(name: str) -> Tree:
    """The blocks of one of the modules."""
    return module(ROOT / "modules" / name)


def resource(name: str, kind: str, called: str) -> Tree:
    """One resource of a module."""
    (found,) = [body for each, own, body in resources(of(name)) if (each, own) == (kind, called)]
    return found
