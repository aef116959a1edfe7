"""Pages in a real browser: what it says of them, how they lie on a desk and a phone, and what axe-core finds."""

import json
import os
import subprocess
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from seqcls_beam.reports import evaluate, finetune, rendering, writing
from tests.reports.outputs import HOSTILE, labelling, rows
from tests.reports.test_evaluation import evaluation, named
from tests.reports.test_finetuned import history, made
from tests.reports.test_prepared import manifest, of_data, split

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
WAYS = [*product((1200, 390), ("light", "dark"))]
PAGES = ("labelling", "hostile", "night", "index", "prepared", "evaluated", "finetuned")


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """A page of each kind, as full as it gets; names and texts of people who mean harm in one of them."""
    folder = tmp_path_factory.mktemp("pages")
    bad = [("empty_text", b" "), ("invalid_utf8", b"caf\xe9"), ("ragged_row", b"a;b")] * 30
    labelling(folder / "labelled", rows(3000), rejected=bad, truncated_rows=200)
    labels = [HOSTILE, "b" * 900, "$x$ | `c`", "مرحبا", "漢字かな交じり文" * 9]
    hostile = [(f"{HOSTILE}{place}", labels[place % 5], 0.5 + place % 400 / 900) for place in range(900)]
    labelling(
        folder / "hostile", hostile, labels=labels, rejected=[(HOSTILE, HOSTILE.encode())] * 100, truncated_rows=100,
        command=f"python -m pipelines.classify --input={'/deep' * 300}/{HOSTILE}",
    )  # fmt: skip
    for day in range(1, 29):
        count, positive = 900 if day != 12 else 90, 0.6 if day > 26 else 0.4
        labelling(folder / "nightly", rows(count, positive), f"run_date=2026-11-{day:02}")
    for day in (27, 28):
        writing.write(str(folder / "nightly"), f"run_date=2026-11-{day:02}")
    found = {
        "labelling": Path(writing.write(str(folder / "labelled"))),
        "hostile": Path(writing.write(str(folder / "hostile"))),
        "night": folder / "nightly" / "_report" / "run_date=2026-11-28" / "report.html",
        "index": folder / "nightly" / "_report" / "index.html",
    }
    counts = {f"class {place}": 900 // (place + 1) for place in range(50)}
    names = [f"label {place}" for place in range(12)]
    cells = [*product(range(12), range(12))]
    shops = [{"value": HOSTILE, "rows": 50, "ci": [0.5, 0.6], "accuracy": 0.55, "macro_f1": 0.5}]
    worst = [{"loss": 9.0, "gold": HOSTILE, "predicted": "b", "id": HOSTILE, "text": HOSTILE, "probability": 0.9,
              "gold_probability": 0.1}] * 20  # fmt: skip
    told = {
        "prepared": of_data(manifest(
            labels=[*counts], splits={"train": split(counts, 30), "test": split(counts)},
            leaks={"exact": {"test in train": {"rows": 9}}, "near": {}},
        )),
        "evaluated": evaluate.page(evaluation(
            labels=names, classes=[named(name, 0.4) for name in names], slices={"shop": shops * 12}, worst=worst,
            confusion={"gold": [row for row, _ in cells], "predicted": [each for _, each in cells], "rows": [9] * 144},
            curves={"roc": [[0, 0], [0.1, 0.8], [1, 1]], "precision_recall": [[0, 1], [1, 0.5]]},
        )),
        "finetuned": finetune.page(made(), history(*[0.5, 0.4, 0.3] * 20), "model", "version 1"),
    }  # fmt: skip
    for name, page in told.items():
        found[name] = folder / f"{name}.html"
        found[name].write_text(rendering.html(page))
    return found


@pytest.fixture(scope="module")
def looks(pages) -> dict[tuple[str, int, str, str], dict[str, Any]]:
    """What Chromium finds of each page, in each way of looking at it; with pictures for who wants to look, too."""
    pictures = os.environ.get("SEQCLS_BEAM_PICTURES")
    asked = [(name, width, scheme, "screen") for name in PAGES for width, scheme in WAYS]
    asked += [(name, 800, "light", "print") for name in PAGES]
    jobs = [
        {
            "file": str(pages[name]), "width": width, "scheme": scheme, "media": media, "axe": media == "screen",
            "picture": pictures and f"{pictures}/{name}-{scheme}-{width}.png",
        }
        for name, width, scheme, media in asked
    ]  # fmt: skip
    done = subprocess.run(
        ["node", str(Path(__file__).with_name("look.js"))],
        input=json.dumps(jobs),
        env={**os.environ, "NODE_PATH": str(ROOT / ".browser" / "node_modules")},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(asked, json.loads(done.stdout), strict=True))


def test_no_page_says_a_word_or_asks_for_anything(pages, looks):
    for (name, *_), found in looks.items():
        assert found["said"] == [] and found["scripts"] == 0, name
        assert [unquote(each) for each in found["asked"]] == [f"file://{pages[name]}"], name


def test_no_page_is_wider_than_what_it_is_looked_at_on(looks):
    assert {how: found["over"] for how, found in looks.items() if found["over"] > 0} == {}
    assert {how: found["cut"] for how, found in looks.items() if found["cut"] and how[1] != 800} == {}


def test_a_desk_has_columns_and_a_phone_one(looks):
    for (name, width, _, media), found in looks.items():
        if media == "screen":
            assert (found["columns"] > 1) == (width == 1200 and name != "index"), (name, width)
            assert found["thin"] == [], (name, width)


def test_it_is_dark_where_the_reader_wants_it_dark(looks):
    grounds = {(scheme, found["ground"]) for (_, _, scheme, media), found in looks.items() if media == "screen"}
    assert len(grounds) == 2
    light = {scheme: sum(map(int, ground[4:-1].split(", "))) for scheme, ground in grounds}
    assert light["light"] > 700 and light["dark"] < 100


def test_axe_finds_no_fault(looks):
    for how, found in looks.items():
        if how[3] == "screen":
            assert found["checked"] and found["faults"] == [], how


def test_the_numbers_that_are_seen_are_those_of_the_manifest(looks):
    assert looks["labelling", 390, "dark", "screen"]["headline"] | {"time": ""} == {
        "rows in": "3,090", "labelled": "3,000", "rejected": "90", "cut texts": "200", "time": ""
    }  # fmt: skip
