"""deploy/terraform: its files, read; what calls what, and what must never be in them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.hcl import (
    EXAMPLE,
    MODULES,
    README,
    ROOT,
    SHOWN,
    Tree,
    local_values,
    module,
    named,
    parsed,
    references,
    required,
    resources,
)
from tests.deploy.provider import unknown

FOLDERS = [*(ROOT / "modules" / each for each in MODULES), EXAMPLE]
TESTS = sorted((ROOT / "tests").glob("*.tftest.hcl"))
# Of a module call; not variables of the module.
_OF_A_CALL = {"source", "version", "providers", "count", "for_each", "depends_on"}


def test_there_is_what_there_should_be():
    assert MODULES == [
        "accounts",
        "monitoring",
        "night",
        "pubsub",
        "registry",
        "seal",
        "storage",
        "stream",
        "templates",
    ]
    assert len(SHOWN) == 2 and [each.name.partition(".")[0] for each in TESTS] == sorted({*MODULES} - {"registry"})


@pytest.mark.skipif(shutil.which("terraform") is None, reason="Terraform is not on this machine")
def test_terraform_would_write_them_so():
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", "-recursive", str(ROOT)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("shown", SHOWN, ids=["night", "stream"])
@pytest.mark.skipif(shutil.which("terraform") is None, reason="Terraform is not on this machine")
def test_terraform_would_write_what_the_readme_shows_so(shown):
    done = subprocess.run(["terraform", "fmt", "-"], input=shown, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout == shown


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda each: each.name)
def test_what_is_declared_is_used_and_what_is_used_is_declared(folder):
    tree = module(folder)
    variables = named(tree, "variable")
    assert references(folder, "var") == {*variables}
    assert references(folder, "local") == {*local_values(tree)}
    for kind, blocks in (("variable", variables), ("output", named(tree, "output"))):
        assert all(body.get("description", "").endswith((".", ").")) for body in blocks.values()), kind
    assert all("type" in body for body in variables.values())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda each: each.name)
def test_resources_have_arguments_that_there_are(folder):
    wrong = {
        f"{kind}.{name}": found for kind, name, body in resources(module(folder)) if (found := unknown(kind, body))
    }
    assert not wrong


def test_arguments_that_there_are_not_are_found():
    assert unknown("google_pubsub_topic", {"name": "a", "labls": {}}) == ["labls"]
    rule = {"action": [{"typ": "Delete"}], "condition": [{"age": 1}]}
    assert unknown("google_storage_bucket", {"lifecycle_rule": [rule]}) == ["lifecycle_rule.action.typ"]
    assert unknown("google_bigquery_table", {}) == ["google_bigquery_table"]


def wrong_calls(tree: Tree, folder: Path) -> list[str]:
    """What is wrong with a file's calls of modules, and with what it takes of them."""
    found = []
    called = named(tree, "module")
    for name, body in called.items():
        must, may = required((folder / body["source"]).resolve())
        given = {*body} - _OF_A_CALL
        found += [f"{name} lacks {each}" for each in sorted(must - given)]
        found += [f"{name} has no {each}" for each in sorted(given - may)]
    for name, output in re.findall(r"\bmodule\.(\w+)(?:\[0\])?\.(\w+)", str(tree)):
        if output not in named(module((folder / called[name]["source"]).resolve()), "output"):
            found.append(f"{name} says no {output}")
    return found


def test_the_example_calls_modules_as_they_are():
    tree = module(EXAMPLE)
    assert wrong_calls(tree, EXAMPLE) == [] and {*named(tree, "module")} == {*MODULES}


@pytest.mark.parametrize("shown", SHOWN, ids=["night", "stream"])
def test_what_the_readme_shows_calls_modules_as_they_are(shown):
    assert wrong_calls(parsed(shown), ROOT) == []


def test_wrong_calls_are_found():
    shown = parsed(SHOWN[0].replace("prefix   =", "prefx   =").replace("module.registry.name", "module.registry.nam"))
    assert wrong_calls(shown, ROOT) == ["storage lacks prefix", "storage has no prefx", "registry says no nam"]


def test_values_of_the_example_are_of_variables_that_there_are():
    values = parsed((EXAMPLE / "terraform.tfvars.example").read_text())
    must, may = required(EXAMPLE)
    assert must <= {*values} <= may


@pytest.mark.parametrize("path", TESTS, ids=lambda each: each.name.partition(".")[0])
def test_terraforms_own_tests_call_modules_as_they_are(path):
    """They are not run here: the head says so, since it takes a provider."""
    text = path.read_text()
    assert text.startswith("# Run by `terraform test`") and "do not run it" in text
    tree = parsed(text)
    assert "mock_provider" in tree
    common = {name for block in tree["variables"] for name in block}
    for name, body in named(tree, "run").items():
        (called,) = body["module"]
        must, may = required(ROOT / called["source"])
        given = common | {each for block in body.get("variables", []) for each in block}
        assert must <= given <= may, name
        assert body["command"] == "plan" or path.name == "night.tftest.hcl"
        assert bool(body.get("assert")) != bool(body.get("expect_failures")), name
        assert all(each["error_message"].endswith(".") for each in body.get("assert", []))


def test_versions_are_bounded():
    for folder in FOLDERS:
        (settings,) = module(folder)["terraform"]
        assert settings["required_version"] == ">= 1.7"
        (providers,) = settings["required_providers"]
        assert all(each["version"] == ">= 7.0, < 8.0" for each in providers.values())


def test_nothing_names_a_project_or_a_registry():
    for path in (each for each in ROOT.rglob("*.*") if each.is_file() and ".terraform" not in each.parts):
        text = path.read_text()
        assert not re.search(r"\bgcr\.io|pkg\.dev|docker\.io", text), path
        assert not re.search(r'project\s*=\s*"(?!PROJECT|my-project)', text), path


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", README):
        assert (ROOT / target).exists(), target
