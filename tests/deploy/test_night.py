"""deploy/nightly.sh with the real commands: nights in a row, one of them bad, one told to end."""

import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from pipelines import approve
from seqcls_beam import open_labels
from tests import tiny
from tests.corpora import write_jsonl
from tests.deploy.scripted import NIGHTLY, REAL

pytestmark = [pytest.mark.nights, pytest.mark.timeout(280)]
GOOD = ["I love this book", "a wonderful film", "the soup was cold", "they never answered"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


def night(words: list[str], where: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([str(NIGHTLY), *words], cwd=where, env=REAL, stderr=subprocess.PIPE, text=True)


def ended(words: list[str], where: Path) -> tuple[int, str]:
    process = night(words, where)
    said = process.communicate(timeout=120)[1]
    return process.returncode, said


def day(where: Path, date: str, texts: Sequence[str | None]) -> None:
    folder = where / "inbox" / date
    folder.mkdir(parents=True)
    write_jsonl(folder / "a b.jsonl", [{"text": text} for text in texts])


def approved(where: Path) -> tuple[str | None, set[str], set[str]]:
    """The last night that passed, all that did, and those that did not."""
    said = orjson.loads((where / "labels of all" / "_APPROVED.json").read_bytes())
    return said.get("partition", ""), set(said["passed"]), set(said["failed"])


def test_nights_in_a_row(tmp_path, model):
    """The 19th is missed and caught up; the 20th is bad, judged again by somebody who looked, and then mended."""
    for date in ("2026-11-18", "2026-11-19"):
        day(tmp_path, date, GOOD * 10)
    day(tmp_path, "2026-11-20", [*GOOD * 10, None, None])
    words = ["--input=inbox/{date}/*.jsonl", "--output", "labels of all", f"--model={model}", "--max_rejected=0.1"]
    gates = ["--gates", "--max_rejected=0.01"]

    # 19 November 2026, 03:30 in Berlin
    assert ended(["--job=reviews-29917590", "--days_before=1", *words, *gates], tmp_path)[0] == 0
    assert approved(tmp_path) == ("run_date=2026-11-18", {"run_date=2026-11-18"}, set())

    code, said = ended(["2026-11-20", *words, *gates], tmp_path)
    assert code == 3, said
    assert approved(tmp_path) == (
        "run_date=2026-11-19",
        {"run_date=2026-11-18", "run_date=2026-11-19"},
        {"run_date=2026-11-20"},
    )
    rows = {name: open_labels(str(tmp_path / "labels of all"), approved=name).count_rows() for name in (True, False)}
    assert rows == {True: 80, False: 120}

    assert approve.main([str(tmp_path / "labels of all"), "--run_date=2026-11-20", "--max_rejected=0.1"]) == 0
    assert approved(tmp_path)[0] == "run_date=2026-11-20"

    write_jsonl(tmp_path / "inbox" / "2026-11-20" / "a b.jsonl", [{"text": text} for text in GOOD * 11])
    code, said = ended(["2026-11-20", *words, "--overwrite", *gates], tmp_path)
    assert code == 0, said
    assert open_labels(str(tmp_path / "labels of all"), approved=True).count_rows() == 80 + 44


def test_a_model_that_is_worth_too_little_is_not_approved(tmp_path):
    """Half of the gold labels are wrong."""
    day(tmp_path, "2026-11-20", GOOD)
    write_jsonl(tmp_path / "gold.jsonl", [{"text": text, "label": "negative"} for text in GOOD])
    words = ["2026-11-20", "--input=inbox/{date}/*.jsonl", "--output=labels of all"]
    code, said = ended([*words, "--gold", "--input=gold.jsonl", "--min_accuracy=0.9"], tmp_path)
    assert code == 3, said
    assert said.count("nightly: pipelines.evaluate ended with code 3") == 1
    assert approved(tmp_path) == (None, set(), {"run_date=2026-11-20"})


def test_a_night_that_is_told_to_end_goes_on_when_it_is_started_again(tmp_path):
    day(tmp_path, "2026-11-20", [f"{text} {number}" for number in range(400) for text in GOOD])
    words = ["2026-11-20", "--input=inbox/{date}/*.jsonl", "--output=labels of all", "--unit_bytes=10000"]
    process = night(words, tmp_path)
    try:
        for _ in range(6000):
            if any((tmp_path / "labels of all").glob("_attempts/*/*/records/*.json")) or process.poll() is not None:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 143, said
    assert "pipelines.approve" not in said and not (tmp_path / "labels of all" / "labels").exists()
    code, said = ended(words, tmp_path)
    assert code == 0 and re.search(r"\d of them done before", said), said
    assert open_labels(str(tmp_path / "labels of all"), approved=True).count_rows() == 1600
