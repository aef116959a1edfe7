"""deploy/finetune.sh: what it calls, how it ends, and what becomes of a signal."""

import os
import shlex
import signal
from pathlib import Path

import pytest

from pipelines import evaluate, finetune
from pipelines.options import parse, parse_alone, parser
from tests.deploy.scripted import FINETUNE
from tests.deploy.test_recipes import recipes

TRAIN = ["--train", "--data=prepared", "--model=base"]
GOLD = ["--gold", "--min_accuracy=0.9"]
WORDS = ["2026-11-20", "--models=models", *TRAIN, *GOLD]
TRAINED = ["--data=prepared", "--model=base", "--output=models/2026-11-20"]
MEASURED = [
    *("--overwrite", "--promote", "--model=models/2026-11-20", "--output=models-gold/2026-11-20", "--data=prepared"),
    "--min_accuracy=0.9",
]
ALL = ["check finetune", "check evaluate", "finetune", "evaluate"]


def run(script, *words, **environ):
    return script.run(*words, script=FINETUNE, **environ)


def called(script) -> list[str]:
    """The commands in order, and which of them only look."""
    said = []
    for words in script.said("calls"):
        name = next(each for each in words if each.startswith("pipelines.")).removeprefix("pipelines.")
        said.append(f"check {name}" if "--only_check" in words else name)
    return said


def test_a_version_is_trained_measured_and_promoted(script):
    done = run(script, *WORDS)
    assert done.returncode == 0, done.stderr
    assert script.said("calls") == [
        ["-m", "pipelines.finetune", "--only_check", *TRAINED],
        ["-m", "pipelines.evaluate", "--only_check", *MEASURED],
        ["-m", "pipelines.finetune", *TRAINED],
        ["-m", "pipelines.evaluate", *MEASURED],
    ]
    assert done.stdout == ""
    told = ["pipelines.finetune", "pipelines.evaluate"] * 2
    assert done.stderr.splitlines() == [
        "finetune: models/2026-11-20",
        *(line for each in told for line in (f"finetune: {each}", f"finetune: {each} ended with code 0")),
    ]


def test_several_processes_are_started_by_torchrun(script):
    assert run(script, "v2", "--processes", "4", "--models=m", *TRAIN, *GOLD).returncode == 0
    looked, _, trained, measured = script.said("calls")
    assert looked[:3] == ["-m", "pipelines.finetune", "--only_check"]
    assert trained[:4] == ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=4"]
    assert trained[4:6] == ["-m", "pipelines.finetune"] and trained[6:] == looked[3:]
    assert measured[:2] == ["-m", "pipelines.evaluate"]


def test_words_are_passed_on_untouched(script):
    (script.folder / "a b").mkdir()
    (script.folder / "a b" / "1.jsonl").touch()
    strange = [
        "--data=a b/*",
        '--x="$HOME" $(id) `id` \\ ; & | > x',
        "--recipe=it's",
        "--labels",
        "",
        "--y=größe\nnext",
    ]
    done = run(script, "v1", "--models=m o*", "--train", *strange, "--gold", *strange)
    assert done.returncode == 0, done.stderr
    own = ["--overwrite", "--promote", "--model=m o*/v1", "--output=m o*-gold/v1"]
    assert [each[2:] for each in script.said("calls")[2:]] == [[*strange, "--output=m o*/v1"], [*own, *strange]]


@pytest.mark.parametrize(
    ("models", "model", "evaluations"),
    [
        ("models/", "models/v1", "models-gold/v1"),
        ("a/b//", "a/b/v1", "a/b-gold/v1"),
        ("gs://bucket/reviews/", "gs://bucket/reviews/v1", "gs://bucket/reviews-gold/v1"),
        ("file:///srv/models", "file:///srv/models/v1", "file:///srv/models-gold/v1"),
        ("/srv/models", "/srv/models/v1", "/srv/models-gold/v1"),
    ],
)
def test_a_version_lies_in_the_folder_of_models(script, models, model, evaluations):
    assert run(script, "v1", f"--models={models}", *TRAIN, *GOLD).returncode == 0
    trained, measured = script.said("calls")[2:]
    assert trained[-1] == f"--output={model}"
    assert measured[4:6] == [f"--model={model}", f"--output={evaluations}"]


@pytest.mark.parametrize("models", ["gs://models", "gs://models/", ".."])
def test_a_folder_that_nothing_lies_beside_needs_a_place_for_the_evaluation(script, models):
    done = run(script, "v1", f"--models={models}", *TRAIN, *GOLD)
    assert (done.returncode, script.said("calls")) == (2, []) and "give --gold an --output of its own" in done.stderr
    done = run(script, "v1", f"--models={models}", *TRAIN, *GOLD, "--output=worth")
    assert done.returncode == 0, done.stderr
    measured = script.said("calls")[-1]
    assert measured[4] == f"--model={models.rstrip('/')}/v1"
    assert [each for each in measured if each.startswith("--output")] == ["--output=worth"]


@pytest.mark.parametrize("rows", [["--input=gold.jsonl"], ["--data", "other"], ["--labeled=answers"]])
def test_rows_that_are_named_are_taken(script, rows):
    assert run(script, *WORDS, *rows).returncode == 0
    assert "--data=prepared" not in script.said("calls")[-1]


def test_the_machine_is_the_same_for_both(script):
    assert run(script, "v1", "--models=m", *TRAIN, "--device=cuda", "--threads", "4", *GOLD).returncode == 0
    assert script.said("calls")[-1][-3:] == ["--device=cuda", "--threads=4", "--min_accuracy=0.9"]
    assert run(script, "v1", "--models=m", *TRAIN, "--device=cuda", *GOLD, "--device=cpu").returncode == 0
    given, _ = parse(parser("p", "", "", evaluate.GROUPS), script.said("calls")[-1][2:], evaluate.GROUPS)
    assert given["model"]["device"] == "cpu", "the last of two values counts"


def test_what_the_script_gives_are_options_that_exist(script):
    assert run(script, *WORDS).returncode == 0
    looked, asked, trained, measured = (each[2:] for each in script.said("calls"))
    for words, only in ((looked, True), (trained, False)):
        config = finetune.configured(parse_alone(parser("p", "", "", finetune.GROUPS), words, finetune.GROUPS))
        assert config.output.output == "models/2026-11-20" and config.machine.only_check is only
    for words, only in ((asked, True), (measured, False)):
        report = evaluate.configured(parse(parser("p", "", "", evaluate.GROUPS), words, evaluate.GROUPS)[0]).report
        assert (report.promote, report.overwrite, report.only_check) == (True, True, only)


@pytest.mark.parametrize(
    ("codes", "code", "commands"),
    [
        ({}, 0, ALL),
        ({"CHECKFINETUNE": "2"}, 2, ALL[:1]),
        ({"CHECKFINETUNE": "1"}, 1, ALL[:1]),
        ({"CHECKEVALUATE": "2"}, 2, ALL[:2]),
        ({"FINETUNE": "1"}, 1, ALL[:3]),
        ({"FINETUNE": "2"}, 2, ALL[:3]),
        ({"FINETUNE": "killed"}, 137, ALL[:3]),
        ({"EVALUATE": "3"}, 3, ALL),
        ({"EVALUATE": "1"}, 1, ALL),
        ({"EVALUATE": "killed"}, 137, ALL),
    ],
)
@pytest.mark.parametrize("processes", ["1", "2"])
def test_it_ends_with_the_code_of_the_command_that_ends_it(script, codes, code, commands, processes):
    done = run(script, *WORDS[:2], f"--processes={processes}", *WORDS[2:], **codes)
    assert (done.returncode, called(script)) == (code, commands)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which version?"),
        (["--models=m", *TRAIN, *GOLD], "which version?"),
        (["v1", "v2", "--models=m", *TRAIN, *GOLD], "not 2: v1 v2"),
        (["LATEST", "--models=m", *TRAIN, *GOLD], "LATEST: expected the name of a folder"),
        (["../v1", "--models=m", *TRAIN, *GOLD], "../v1: expected the name of a folder"),
        (["..", "--models=m", *TRAIN, *GOLD], "..: expected the name of a folder"),
        (["_versions", "--models=m", *TRAIN, *GOLD], "_versions: expected the name of a folder"),
        (["v1", *TRAIN, *GOLD], "--models is missing"),
        (["v1", "--models=m", *GOLD], "--train is missing"),
        (["v1", "--models=m", *TRAIN], "--gold is missing"),
        (["v1", "--models=m", "--processes=0", *TRAIN, *GOLD], "--processes=0: expected a number"),
        (["v1", "--models=m", "--processes=gpu", *TRAIN, *GOLD], "--processes=gpu: expected a number"),
        (
            ["v1", "--models=m", "--data=x", *TRAIN, *GOLD],
            "--data=x: expected --models, --processes, --train or --gold",
        ),
        (["v1", "--models=m", *TRAIN, "--output=x", *GOLD], "--output: the checkpoint goes into a new folder"),
        (["v1", "--models=m", *TRAIN, "--overwrite", *GOLD], "--overwrite: the checkpoint goes into a new folder"),
        (["v1", "--models=m", *TRAIN, *GOLD, "--model", "x"], "--model: what is measured is what was trained"),
    ],
)
def test_what_is_not_clear_is_refused(script, words, said):
    done = run(script, *words)
    assert (done.returncode, script.said("calls")) == (2, [])
    assert done.stderr.startswith("finetune: ") and said in done.stderr and done.stderr.count("\n") == 1


def test_a_python_that_is_not_there_is_said(script):
    done = run(script, *WORDS, PYTHON="/nowhere/python")
    assert done.returncode == 2 and "/nowhere/python is not there" in done.stderr


@pytest.mark.parametrize("words", [["--help"], ["-h"], [*WORDS, "--help"]])
def test_help_names_what_there_is(script, words):
    done = run(script, *words)
    assert done.returncode == 0 and not script.said("calls")
    for word in ("VERSION", "--models", "--processes", "--train", "--gold", "LATEST", "PYTHON", "exit codes"):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
@pytest.mark.parametrize("command", ["CHECKFINETUNE", "FINETUNE", "EVALUATE"])
def test_a_signal_ends_the_command_and_the_script(script, name, command):
    with script.started(*WORDS, "--processes=2", script=FINETUNE, **{command: "wait"}) as process:
        process.send_signal(name := signal.Signals[name])
        assert process.wait(10) == 128 + name
    (pid,) = script.said("at work")
    assert not Path(f"/proc/{pid}").exists()
    assert called(script)[-1] == command.lower().replace("check", "check "), "no command after it"
    assert script.said("signals") == (["SIGINT"] if name == signal.SIGINT else [])


def test_the_end_of_a_training_is_waited_for(script):
    """Also where it ends well: the script was told to end."""
    with script.started(*WORDS, script=FINETUNE, FINETUNE="tidy") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143
        assert script.said("signals") == ["SIGTERM"], "it was still at work"
    assert called(script) == ALL[:3]


@pytest.mark.deploy
def test_the_first_process_of_a_container_takes_signals(script):
    """In a namespace of processes, where the kernel keeps from the first one what it has no handler for."""
    inside = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    with script.started(*WORDS, script=FINETUNE, before=inside, FINETUNE="wait") as process:
        (first,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
        assert Path(f"/proc/{first}/status").read_text().split("\nNSpid:\t")[1].split("\n")[0].split()[-1] == "1"
        os.kill(first, signal.SIGTERM)
        assert process.wait(10) == 143
    assert called(script) == ALL[:3]


def test_the_script_is_found_through_a_link(script):
    """And what it shares with the other is looked for where it is itself."""
    link = script.folder / "tune"
    link.symlink_to(FINETUNE)
    done = script.run(*WORDS, script=link)
    assert done.returncode == 0 and done.stderr.startswith("tune: "), done.stderr


RECIPES = recipes((FINETUNE.parent / "README.md").read_text(), "deploy/finetune.sh")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_has_options_that_exist_and_values_in_range(recipe, script):
    done = run(script, *shlex.split(recipe)[1:])
    assert done.returncode == 0, done.stderr
    trained, measured = script.said("calls")[2:]
    words = [each for each in trained[trained.index("pipelines.finetune") + 1 :] if not each.startswith("--recipe")]
    made = finetune.configured(parse_alone(parser("p", "", "", finetune.GROUPS), words, finetune.GROUPS))
    config = evaluate.configured(parse(parser("p", "", "", evaluate.GROUPS), measured[2:], evaluate.GROUPS)[0])
    assert config.model.model == made.output.output and config.report.promote


def test_there_are_recipes():
    assert len(RECIPES) == 2
