"""deploy/nightly.sh: what it calls, and how it ends."""

import os
import re
import shutil
import subprocess

import pytest

from pipelines import approve, classify, evaluate
from pipelines.options import parser
from seqcls_beam.config import ModelOptions
from seqcls_beam.config.evaluate import TAKEN
from seqcls_beam.config.option import option_fields
from tests.deploy.scripted import NIGHTLY

LABEL = ["classify", "--only_new", "--catch_up=7", "--run_date=2026-11-20", "--report_texts=0"]
STRANGE = [
    "--input=a b/*.jsonl",
    "--input=gs://corpus/{date:%Y/%m/%d}/[ab]?.jsonl",
    "--id_column=it's",
    '--text_column="$HOME" $(id) `id` \\ ; & | > x',
    "--keep_columns=",
    "--delimiter",
    "\t",
    "--quote",
    "",
    "--model=größe\nnext",
]


DEFAULT = "default-2424474014"
"""The folder of an evaluation where no model was named: 2424474014 is POSIX' cksum of three empty lines."""


def test_a_night_is_labelled_and_judged(script):
    done = script.run("2026-11-20", "--input=in/*.jsonl", "--output=out")
    assert done.returncode == 0, done.stderr
    assert script.calls() == [[*LABEL, "--input=in/*.jsonl", "--output=out"], ["approve", "out"]]
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "nightly: the night of 2026-11-20",
        "nightly: pipelines.classify",
        "nightly: pipelines.classify ended with code 0",
        "nightly: pipelines.approve",
        "nightly: pipelines.approve ended with code 0",
    ]


def test_nights_are_passed_on_as_a_range(script):
    assert script.run("2026-11-18..2026-11-20", "--output=out").returncode == 0
    assert script.calls()[0][3] == "--run_date=2026-11-18..2026-11-20"


def test_words_are_passed_on_untouched(script):
    (script.folder / "a b").mkdir()
    (script.folder / "a b" / "1.jsonl").touch()
    done = script.run("2026-11-20", *STRANGE, "--output=o p*", "--gates", *STRANGE, "--gold", *STRANGE)
    assert done.returncode == 0, done.stderr
    model = "--model=größe\nnext"
    gold = script.calls()[1][2].removeprefix("--output=")
    assert re.fullmatch(r"o p\*-gold/gr____e_next-\d+", gold)
    assert script.calls() == [
        [*LABEL, *STRANGE, "--output=o p*"],
        ["evaluate", "--overwrite", f"--output={gold}", "--report_texts=0", model, *STRANGE],
        ["approve", "o p*", f"--evaluation={gold}", *STRANGE],
    ]


@pytest.mark.parametrize("output", [["--output=out/"], ["--output", "out/"], ["--output=other", "--output", "out/"]])
def test_the_output_is_known_however_it_is_written(script, output):
    assert script.run("2026-11-20", *output, "--gold", "--input=g").returncode == 0
    labelled, measured, judged = script.calls()
    assert labelled[5:] == output
    assert measured == ["evaluate", "--overwrite", f"--output=out-gold/{DEFAULT}", "--report_texts=0", "--input=g"]
    assert judged == ["approve", "out/", f"--evaluation=out-gold/{DEFAULT}"]


def test_sections_come_in_any_order(script):
    assert (
        script.run("2026-11-20", "--output=out", "--gold", "--input=g", "--gates", "--max_rejected=0").returncode == 0
    )
    assert script.calls()[1:] == [
        ["evaluate", "--overwrite", f"--output=out-gold/{DEFAULT}", "--report_texts=0", "--input=g"],
        ["approve", "out", f"--evaluation=out-gold/{DEFAULT}", "--max_rejected=0"],
    ]


def test_the_evaluation_lies_where_it_is_put(script):
    assert script.run("2026-11-20", "--output=out", "--gold", "--output", "worth", "--input=g").returncode == 0
    assert script.calls()[1:] == [
        ["evaluate", "--overwrite", "--output=worth", "--report_texts=0", "--output", "worth", "--input=g"],
        ["approve", "out", "--evaluation=worth"],
    ]


@pytest.mark.parametrize("gold", [[], ["--gold", "--output=gs://labels/gold"]])
def test_a_whole_bucket_is_an_output(script, gold):
    assert script.run("2026-11-20", "--output=gs://labels", *gold).returncode == 0
    assert script.calls()[-1] == ["approve", "gs://labels", *(["--evaluation=gs://labels/gold"] if gold else [])]


def gold_of(script, *words: str) -> str:
    """Where the model of a night is measured."""
    before = len(script.calls())
    done = script.run("2026-11-20", *words)
    assert done.returncode == 0, done.stderr
    _, measured, judged = script.calls()[before:]
    assert judged[2] == f"--evaluation={measured[2].removeprefix('--output=')}"
    return measured[2].removeprefix("--output=")


def test_each_model_is_measured_in_a_folder_of_its_own(script):
    out, gold = "--output=out", ("--gold", "--input=g")
    mine = gold_of(script, out, "--model=models/small/", *gold)
    assert re.fullmatch(r"out-gold/small-\d+", mine)
    assert mine == gold_of(script, out, "--model", "models/small/", "--max_length=8", *gold, "--min_f1=0.8")
    others = [
        gold_of(script, out, *gold),
        gold_of(script, out, "--model=other/small/", *gold),
        gold_of(script, out, "--model=models/small/", "--revision=2", *gold),
        gold_of(script, out, "--model=models/small/", *gold, "--model=models/large"),
        gold_of(script, out, "--model=..", *gold),
        gold_of(script, out, "--model=gs://models/" + "x" * 300, *gold),
    ]
    assert len({mine, *others}) == 7
    assert all(re.fullmatch(r"out-gold/[A-Za-z0-9._-]{1,80}", each) for each in others)


@pytest.mark.parametrize("output", [".", "./", "././", "{here}", "{here}//", "{here}/.", "../{name}/"])
def test_the_evaluation_of_the_working_folder_lies_beside_it(script, output):
    here = os.path.realpath(script.folder)
    gold = gold_of(script, f"--output={output.format(here=here, name=script.folder.name)}", "--gold", "--input=g")
    assert os.path.normpath(os.path.join(here, gold)) == f"{here}-gold/{DEFAULT}"


@pytest.mark.parametrize(
    ("output", "base"), [("x//", "x"), ("a/b/./", "a/b"), ("gs://b/x//", "gs://b/x"), ("a/.b", "a/.b"), ("x.", "x.")]
)
def test_slashes_at_the_end_of_an_output_mean_nothing(script, output, base):
    assert gold_of(script, f"--output={output}", "--gold", "--input=g") == f"{base}-gold/{DEFAULT}"


@pytest.mark.parametrize("output", ["/", "//", "/.", "..", "../", "a/..", "file:///"])
def test_an_output_beside_which_nothing_can_lie_needs_a_place_for_the_evaluation(script, output):
    done = script.run("2026-11-20", f"--output={output}", "--gold", "--input=g")
    assert (done.returncode, script.calls()) == (2, []) and "give --gold an --output of its own" in done.stderr
    done = script.run("2026-11-20", f"--output={output}", "--gold", "--input=g", "--output=gold")
    assert done.returncode == 0 and script.calls()[-1] == ["approve", output, "--evaluation=gold"]


MODEL = {each.name: f"{each.name} 1" for each in option_fields(ModelOptions) if each.type is not bool}


@pytest.mark.parametrize("source", ["input", "data"])
def test_the_model_that_labels_is_the_one_that_is_measured(script, source):
    """All that makes its answers, as far as it says something of these rows; however it is written."""
    given = [word for n, (name, value) in enumerate(MODEL.items()) for word in written(name, value, apart=n % 2 == 0)]
    assert script.run("2026-11-20", "--output=out", *given, "--gold", f"--{source}=g").returncode == 0
    words = script.calls()[1]
    assert (
        words[:2] == ["evaluate", "--overwrite"]
        and words[2].startswith("--output=out-gold/model_1-")
        and words[-1] == f"--{source}=g"
    )
    names = TAKEN[source].get("model", tuple(MODEL))
    assert words[3] == "--report_texts=0"
    assert sorted(words[4:-1]) == sorted(f"--{name}={value}" for name, value in MODEL.items() if name in names)


def written(name: str, value: str, apart: bool) -> list[str]:
    return [f"--{name}", value] if apart else [f"--{name}={value}"]


def test_what_the_script_gives_are_options_that_exist(script):
    """And what is given wins: the last of two values counts."""
    assert script.run("2026-11-20", "--input=i", "--output=o", "--catch_up=0", "--gold", "--input=g").returncode == 0
    for command, words in zip((classify, evaluate, approve), script.calls(), strict=True):
        parsed, unknown = parser("p", "", "", command.GROUPS).parse_known_args(words[1:])
        assert not unknown
        if command is classify:
            assert (parsed.catch_up, parsed.run_date, parsed.only_new) == (0, "2026-11-20", True)


@pytest.mark.parametrize(
    ("codes", "code", "commands"),
    [
        ({}, 0, "classify evaluate approve"),
        ({"CLASSIFY": "1"}, 1, "classify evaluate approve"),
        ({"CLASSIFY": "1", "APPROVE": "3"}, 1, "classify evaluate approve"),
        ({"CLASSIFY": "1", "APPROVE": "2"}, 2, "classify evaluate approve"),
        ({"CLASSIFY": "2"}, 2, "classify"),
        ({"CLASSIFY": "130"}, 130, "classify"),
        ({"CLASSIFY": "143"}, 143, "classify"),
        ({"CLASSIFY": "killed"}, 137, "classify"),
        ({"EVALUATE": "3"}, 3, "classify evaluate approve"),
        ({"EVALUATE": "3", "APPROVE": "3"}, 3, "classify evaluate approve"),
        ({"EVALUATE": "3", "CLASSIFY": "1"}, 1, "classify evaluate approve"),
        ({"EVALUATE": "1"}, 1, "classify evaluate"),
        ({"EVALUATE": "2"}, 2, "classify evaluate"),
        ({"EVALUATE": "killed"}, 137, "classify evaluate"),
        ({"APPROVE": "3"}, 3, "classify evaluate approve"),
        ({"APPROVE": "1"}, 1, "classify evaluate approve"),
        ({"APPROVE": "2"}, 2, "classify evaluate approve"),
        ({"APPROVE": "killed"}, 137, "classify evaluate approve"),
    ],
)
def test_a_night_ends_with_the_code_that_says_most(script, codes, code, commands):
    done = script.run("2026-11-20", "--output=out", "--gold", "--input=g", **codes)
    assert (done.returncode, [each[0] for each in script.calls()]) == (code, commands.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which night?"),
        (["--output=out"], "which night?"),
        (["2026-11-20", "2026-11-21", "--output=out"], "2026-11-20 2026-11-21"),
        (["2026-11-20", "--job=nightly-29700000", "--output=out"], "which night?"),
        (["20261120", "--output=out"], "20261120: expected a night as YYYY-MM-DD"),
        (["2026-11-20..", "--output=out"], "2026-11-20..: expected a night"),
        (["2026-11-20", "--input=in"], "--output is missing"),
        (["2026-11-20", "--output"], "--output is missing"),
        (["2026-11-20", "--output=out", "--run_date=2026-11-21"], "--run_date=2026-11-21: the night is named first"),
        (["2026-11-20", "--output=out", "--run_date", "2026-11-21"], "--run_date: the night is named first"),
        (["2026-11-20", "--output=out", "--days_before=1"], "--days_before=1 is for --job"),
        (["--output=out", "--job"], "which night?"),
        (["2026-11-20", "--output=gs://labels", "--gold"], "--output is a whole bucket"),
        (["2026-11-20", "--output", "gs://labels/", "--gold"], "--output is a whole bucket"),
    ],
)
def test_a_night_that_is_not_clear_is_refused(script, words, said):
    done = script.run(*words, TZ="Europe/Berlin")
    assert (done.returncode, script.calls()) == (2, [])
    assert done.stderr.startswith("nightly: ") and said in done.stderr and done.stderr.count("\n") == 1


def test_a_python_that_is_not_there_is_said(script):
    done = script.run("2026-11-20", "--output=out", PYTHON="/nowhere/python")
    assert done.returncode == 2 and "/nowhere/python is not there" in done.stderr


def test_the_environment_beside_the_folder_is_taken(script):
    """And where there is none, python3."""
    (script.folder / "deploy").mkdir()
    copy = shutil.copy(NIGHTLY, script.folder / "deploy" / "nightly.sh")
    shutil.copy(NIGHTLY.with_name("commands.sh"), script.folder / "deploy")
    commands = script.folder / "commands"
    commands.mkdir()
    (commands / "python3").symlink_to(script.python)
    path = f"{commands}:{script.environ({})['PATH']}"
    assert script.run("2026-11-20", "--output=out", script=copy, PYTHON="", PATH=path, CLASSIFY="5").returncode == 5
    beside = script.folder / ".venv" / "bin"
    beside.mkdir(parents=True)
    (beside / "python").symlink_to(script.python)
    assert script.run("2026-11-20", "--output=out", script=copy, PYTHON="", CLASSIFY="6").returncode == 6


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["2026-11-20", "--output=out", "--help"]])
def test_help_names_what_there_is(script, words):
    done = script.run(*words)
    assert done.returncode == 0 and not script.calls()
    for word in ("DATE", "FROM..TO", "--job", "--days_before", "--gates", "--gold", "PYTHON", "exit codes"):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


@pytest.mark.deploy
def test_shellcheck_finds_nothing():
    for name in ("nightly.sh", "finetune.sh", "commands.sh"):
        command = ["shellcheck", "--external-sources", "--severity=style", str(NIGHTLY.with_name(name))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout
