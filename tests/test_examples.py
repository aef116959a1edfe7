"""What is in examples/ runs as it stands."""

import ast
import json
import runpy
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from tests.corpora import labels

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOK = json.loads((EXAMPLES / "notebook.ipynb").read_text())


def cells() -> list[str]:
    return ["".join(each["source"]) for each in NOTEBOOK["cells"] if each["cell_type"] == "code"]


def last(code: str, scope: dict[str, Any]) -> Any:
    """Run a cell; what a notebook shows below it, the value of its last line."""
    tree = ast.parse(code)
    end = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "a cell", "exec"), scope)
    return eval(compile(ast.Expression(end.value), "a cell", "eval"), scope) if isinstance(end, ast.Expr) else None


def test_the_notebook_is_one_and_carries_no_output():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert len({each["id"] for each in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    for each in NOTEBOOK["cells"]:
        if each["cell_type"] == "code":
            assert each["outputs"] == [] and each["execution_count"] is None
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.from_dict(NOTEBOOK))


@pytest.mark.engine
def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", plt.close)
    scope: dict[str, Any] = {}
    shown = [last(each, scope) for each in cells()]
    assert shown[0]["label"].tolist()[:2] == ["positive", "negative"] and shown[1] == ["missing_text"]
    assert [len(each) for each in shown[2]] == [2, 2]
    assert shown[3] == 0 and shown[4].sum() == labels(tmp_path / "labelled").num_rows == 191
    assert (shown[5]["score"].diff().dropna() >= 0).all()
    assert len(shown[6]) == 6 and len(shown[7]) == 5
    bars = [patch.get_height() for patch in scope["axes"].patches]
    assert sum(bars) == 191
    plt.close("all")


@pytest.mark.engine
def test_the_pipeline_of_ones_own_runs(capfd):
    runpy.run_path(str(EXAMPLES / "own_pipeline.py"), run_name="__main__")
    said = capfd.readouterr().out.splitlines()
    shops = {line.partition(":")[0]: float(line.rpartition(" ")[2]) for line in said if "praise" in line}
    assert shops["north"] > 0.9 and 0.3 < shops["south"] < 0.7
    assert [line for line in said if "missing_text" in line and '"id":3' in line.replace(" ", "")]
