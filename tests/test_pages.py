"""The pages of docs/: links lead somewhere, messages are the code's own, figures the measured ones."""

import ast
import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.engine import table
from seqcls_beam.__main__ import COMMANDS
from seqcls_beam.config.option import flag, option_fields
from tests.shown import blocks

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
TROUBLE = (ROOT / "docs" / "troubleshooting.md").read_text()
COMING = ROOT / "docs" / "coming_from.md"


def anchors(page: Path) -> set[str]:
    """What headings of a page are called in links to it, as GitHub makes it."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target, _, anchor in (each.partition("#") for each in re.findall(r"\]\(([^)\s]+)\)", text)):
        if "://" in target:
            continue
        there = page.parent / target if target else page
        assert there.exists(), target
        assert not anchor or there.suffix != ".md" or anchor in anchors(there), f"{target}#{anchor}"


def sentences() -> list[str]:
    """All strings of the code, those with values in them with a sign in the place of each."""
    found = []
    for path in [*(ROOT / "seqcls_beam").rglob("*.py"), *(ROOT / "pipelines").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(each.value) if isinstance(each, ast.Constant) else "\0" for each in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_messages_are_those_of_the_code():
    messages = [
        each
        for row in re.findall(r"^\| (.*?) \|", TROUBLE[: TROUBLE.index("## No message")], re.MULTILINE)
        for each in re.findall(r"`([^`]+)`", row)
        if " " in each
    ]
    assert len(messages) > 30
    code = sentences()
    for message in messages:
        words = [part for each in message.split("…") if len(part := each.strip(" ,;:.()=-")) > 3]
        assert words, message
        for part in words:
            assert any(part in each for each in code), f"{part!r} of {message!r}"


def measured(name: str) -> str:
    """A figure of the table of the engine, texts/s of MiniLM-L6 on the mix."""
    found = json.loads((ROOT / "benchmarks" / "results" / "engine-cpu-epyc.json").read_text())
    mix = table(found).partition("**minilm on lognormal**")[2].partition("\n**")[0]
    (row,) = [line for line in mix.splitlines() if line.startswith("|") and line.strip("| *").startswith(name)]
    return row.split("|")[2].strip()


def test_speeds_beside_others_are_the_measured_ones():
    rows = re.findall(r"^\| ([^|]+) \| \**([\d,]+)\** \| [^|]+ \|$", COMING.read_text(), re.MULTILINE)
    assert len(rows) == 11
    names = {
        "OpenVINO, its default": "OpenVINO default",
        "seqcls_beam float32, the default": "seqcls_beam float32",
        "transformers `pipeline()` float32": "transformers pipeline float32",
    }
    for name, figure in rows:
        assert measured(names.get(name, name).replace("`", "")) == figure
    readme = (ROOT / "README.md").read_text()
    said = ("seqcls_beam float32", "transformers pipeline", "OpenVINO float32", "seqcls_beam int8", "OpenVINO int8",
            "OpenVINO default", "seqcls_beam bfloat16")  # fmt: skip
    assert all(re.search(rf"\b{measured(each)}\b", readme) for each in said)


def test_examples_beside_others_are_python():
    codes = [each.body for each in blocks(COMING) if each.language == "python"]
    assert len(codes) > 5
    for code in codes:
        ast.parse(code)


def test_what_a_report_advises_is_an_option():
    groups = [each for name in COMMANDS for each in import_module(f"pipelines.{name}").GROUPS.values()]
    options: dict[str, set[str]] = {}
    for each in (each for group in groups for each in option_fields(group)):
        options.setdefault(flag(each), set()).update(each.metadata["choices"])
    code = "".join(path.read_text() for path in (ROOT / "seqcls_beam" / "reports").rglob("*.py"))
    advised = re.findall(r"--([a-z]\w+)(?:=([a-z]\w*))?", code)
    assert len(advised) > 20
    for name, value in advised:
        assert name in options and (not value or value in options[name]), f"--{name}={value}"
