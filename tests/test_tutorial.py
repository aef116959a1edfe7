"""docs/tutorial.md, from its first command to its last."""

import os
from itertools import pairwise

import pytest

from tests.keys import undocumented
from tests.shown import ROOT, Block, blocks, environment, missing, run

PAGE = ROOT / "docs" / "tutorial.md"


@pytest.mark.engine
def test_every_command_runs_in_order_and_prints_what_is_shown(tmp_path, monkeypatch):
    env = environment(tmp_path)
    there = [each for each in blocks(PAGE) if each.language in ("sh", "text")]  # without what installs and schedules
    assert [each.language for each in there].count("sh") == 8
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEQCLS_BEAM_CACHE", env["SEQCLS_BEAM_CACHE"])
    monkeypatch.setenv("COLUMNS", "120")
    # Threads of several cores wait for each other by spinning, which costs more than they save of so few rows.
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(cores)])
    try:
        for block, after in pairwise([*there, Block("", "")]):
            if block.language != "sh":
                continue
            printed = run(block.body, env)
            if after.language == "text":
                assert missing(after.body, printed) == [], printed
    finally:
        os.sched_setaffinity(0, cores)
    for output in ("prepared", "model", "evaluation", "labels"):
        assert undocumented(output) == []
    assert all(os.path.getsize(page) for page in ("labels/_report/index.html", "evaluation/report.html", "night.html"))


def test_what_a_scheduler_starts_is_what_was_run():
    nightly = [each.body for each in blocks(PAGE) if "nightly.sh" in each.body]
    by_hand, by_cron = (" ".join(each.replace("\\\n", " ").split("nightly.sh")[1].split()[1:]) for each in nightly)
    assert by_cron.removeprefix("+\\%F) ") == by_hand


def test_a_line_that_nothing_printed_has_is_found():
    shown, printed = "rows  300 in\n│ a │ 0.5 │\nsource …/x", "rows   12 in\na  0.75\nsource /tmp/y/x\n"
    assert missing(shown, printed) == []
    assert missing("rows 300 out", printed) == ["rows 0 out"]
