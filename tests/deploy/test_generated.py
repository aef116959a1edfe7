"""What follows from the options is as they are, and says what they say."""

import json
import re
import shutil
import subprocess
from fractions import Fraction
from importlib import import_module
from pathlib import Path

import hcl2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.generate import STAMP
from deploy.generate.__main__ import differing, files, main
from deploy.generate.parameters import Choice, parameters
from deploy.generate.patterns import anchored, decimal, whole
from deploy.generate.templates import TEMPLATES
from deploy.generate.terraform import MODULES, quoted
from seqcls_beam.__main__ import COMMANDS
from seqcls_beam.config.evaluate import GateOptions
from tests.deploy.scripted import DEPLOY

ROOT = DEPLOY.parent
needs_terraform = pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")


def test_what_is_there_is_what_would_be_written():
    assert differing(ROOT) == [], "run `make generate`"


def test_every_file_says_that_it_is_generated():
    """But those of JSON, which has no comments: whoever launches a template reads all that is in it."""
    for name, text in files().items():
        assert text.count(STAMP) == (0 if name.endswith(".json") else 1), name
        assert "make generate" not in text.replace(STAMP, ""), name


def test_what_differs_is_named(tmp_path, monkeypatch, capsys):
    wanted = files()
    for name, text in wanted.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert differing(tmp_path) == []
    (tmp_path / "docs/options/seal.md").unlink()
    (tmp_path / "docs/options/other.md").touch()
    (tmp_path / "deploy/dataflow/templates/stream.json").write_text("{}")
    found = ["deploy/dataflow/templates/stream.json", "docs/options/other.md", "docs/options/seal.md"]
    assert differing(tmp_path) == found
    monkeypatch.setattr("deploy.generate.__main__.ROOT", tmp_path)
    assert main(["--check"]) == 1 and differing(tmp_path) == found, "it writes nothing"
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == found
    assert main([]) == 0 and differing(tmp_path) == [] and main(["--check"]) == 0
    assert not (tmp_path / "docs/options/other.md").exists()
    assert main(["--chek"]) == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_has_every_option_in_a_row(command, capsys):
    text = files()[f"docs/options/{command}.md"]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)
    shown = {re.match(r"\| `(?:--)?(\w+)", row)[1] for row in rows}  # type: ignore[index]
    with pytest.raises(SystemExit):
        import_module(f"pipelines.{command}").main(["--help"])
    said = capsys.readouterr().out.partition("\nrunner options")[0]  # what follows are Beam's
    there = set(re.findall(r"^  --(\w+)", said, re.M)) - {"version"}
    assert shown - {"OUT"} == there != set()


def variables(module: str) -> dict[str, dict]:
    with (DEPLOY / "terraform" / "modules" / module / "variables_generated.tf").open() as file:
        found = hcl2.load(file)
    return {name.strip('"'): told for each in found["variable"] for name, told in each.items()}


@pytest.mark.parametrize(
    ("module", "template", "without"), [("stream", "stream", set()), ("night", "classify", {"run_date"})]
)
def test_a_module_has_the_parameters_of_its_template(module, template, without):
    metadata = json.loads((DEPLOY / "dataflow" / "templates" / f"{template}.json").read_text())
    told = {each["name"]: each for each in metadata["parameters"] if each["name"] not in without}
    found = variables(module)
    assert set(found) == set(told)
    for name, each in found.items():
        assert ("default" in each) == told[name]["isOptional"]
        assert ("validation" in each) == (told[name]["paramType"] != "BOOLEAN")


@needs_terraform
@pytest.mark.parametrize("module", MODULES)
def test_terraform_would_format_nothing(module):
    done = terraform(DEPLOY, "fmt", "-check", "-diff", f"terraform/modules/{module}/variables_generated.tf")
    assert (done.returncode, done.stdout) == (0, "")


def terraform(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["terraform", *words], cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The night's variables without the module around them: no provider is needed."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copy(DEPLOY / "terraform" / "modules" / "night" / "variables_generated.tf", folder)
    (folder / "outputs.tf").write_text('output "given" {\n  value = local.template_parameters\n}\n')
    done = terraform(folder, "init", "-backend=false")
    assert done.returncode == 0, done.stderr
    return folder


NEEDED = {"input": "gs://corpus/{date:%Y/%m/%d}/*.jsonl", "output": "gs://labels/a"}


def planned(folder: Path, **values) -> subprocess.CompletedProcess[str]:
    (folder / "terraform.tfvars.json").write_text(json.dumps({**NEEDED, **values}))
    return terraform(folder, "plan", "-input=false", "-no-color", "-out=plan")


@needs_terraform
def test_terraform_passes_what_is_given_as_text(alone):
    done = planned(
        alone, only_new=True, overwrite=False, max_rejected=0.00001, unit_bytes=2**40, threshold=1, keep_columns=[],
        column_names=["a", "b c"], delimiter="\\t", quote="", gpu="nvidia-l4", model='a "${b}" %{c}',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = json.loads(terraform(alone, "show", "-json", "plan").stdout)
    assert shown["planned_values"]["outputs"]["given"]["value"] == {
        **NEEDED,
        "only_new": "true", "overwrite": "false", "max_rejected": "0.00001", "unit_bytes": "1099511627776",
        "threshold": "1", "keep_columns": "", "column_names": "a,b c", "delimiter": "\\t", "quote": "",
        "gpu": "nvidia-l4", "model": 'a "${b}" %{c}',
    }  # fmt: skip


WRONG = {
    "input": "inbox/*.jsonl", "output": "s3://labels/a", "text_column": "", "input_format": "json", "batch_rows": 0,
    "unit_bytes": 1.5, "column_names": ["a", ""], "max_rejected": 1.01, "device": "gpu", "quote": "''",
}  # fmt: skip


@needs_terraform
def test_terraform_refuses_what_the_template_refuses(alone):
    done = planned(alone, **WRONG)
    assert done.returncode == 1
    said = re.sub(r"\s*\n[│ ]*", " ", done.stderr)
    assert {name for name in WRONG if f"{name}: expected" in said} == set(WRONG)
    assert done.stderr.count("Error: ") == len(WRONG)


@needs_terraform
def test_terraform_asks_for_what_is_needed(alone):
    (alone / "terraform.tfvars.json").write_text("{}")
    done = terraform(alone, "plan", "-input=false", "-no-color")
    assert done.returncode == 1 and done.stderr.count("No value for required variable") == len(NEEDED)


@given(st.text())
def test_any_text_is_written_so_that_hcl_reads_it(text):
    # HCL's own escapes are JSON's but for the two that begin a template.
    undone = quoted(text).replace("$${", "${").replace("%%{", "%{")
    assert json.loads(undone) == text
    assert not re.search(r"(?<!\$)\$\{|(?<!%)%\{", quoted(text))


WHOLE = st.integers(0, 3000) | st.integers(0, 2**63)


@given(WHOLE, WHOLE | st.none(), st.lists(WHOLE, max_size=30))
def test_whole_numbers_in_a_range(low, high, others):
    if high is not None:
        low, high = min(low, high), max(low, high)
    pattern = re.compile(anchored(whole(low, high)))
    near = [end + step for end in (low, high or low) for step in range(-2, 3)]
    for number in filter(lambda n: n >= 0, [*near, *others]):
        assert bool(pattern.fullmatch(str(number))) == (low <= number and (high is None or number <= high))
    assert not any(map(pattern.fullmatch, ("", "-1", f"{low}.5", f"0{low + 1}", "1e3", f"{low}\n")))


DIGITS = st.integers(0, 400).map(str)
PLAIN = st.builds("{}.{}".format, DIGITS, st.integers(0, 999).map(lambda n: f"{n:03}"[: 1 + n % 3])) | DIGITS


@given(DIGITS | st.just("0.05") | st.just("0.6"), PLAIN | st.none(), st.lists(PLAIN, max_size=30))
def test_decimals_in_a_range(low, high, numbers):
    if high is not None and (
        Fraction(high) < Fraction(low) or int(Fraction(high)) == int(Fraction(low)) != Fraction(low)
    ):
        high = None
    pattern = re.compile(anchored(decimal(low, high)))
    for number in (low, low + "0" * ("." in low), *([high] if high else []), *numbers):
        inside = Fraction(low) <= Fraction(number) and (high is None or Fraction(number) <= Fraction(high))
        assert bool(pattern.fullmatch(number)) == inside, (number, pattern.pattern)


def test_a_range_that_no_pattern_has_is_refused():
    with pytest.raises(ValueError, match=r"0\.6 to 0\.9"):
        decimal("0.6", "0.9")
    with pytest.raises(ValueError, match="--min_pearson may be negative"):
        list(parameters({"gates": GateOptions}, {}, Choice(left_out={})))


def test_each_template_belongs_to_a_command():
    assert {each.command for each in TEMPLATES.values()} <= set(COMMANDS)
