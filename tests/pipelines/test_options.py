"""Every option exists once, and wrong flags end with one sentence and exit code 2."""

import re
import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

from pipelines import classify, evaluate, finetune, prepare
from pipelines.classify import GROUPS
from seqcls_beam.__main__ import COMMANDS
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.classify import RunOptions
from seqcls_beam.config.option import flag, option_fields
from seqcls_beam.reading.files import list_files


def test_every_option_is_written_once_with_its_help():
    names = [each.name for group in GROUPS.values() for each in option_fields(group)]
    assert len(names) == len(set(names))
    for group in GROUPS.values():
        for each in option_fields(group):
            assert each.metadata["help"]


def test_help_shows_every_option_once(capsys):
    with pytest.raises(SystemExit) as stopped:
        classify.main(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    for group in GROUPS.values():
        for each in option_fields(group):
            name = flag(each)
            assert shown.count(f"\n  --{name} ") + shown.count(f"\n  --{name}\n") == 1, name


@pytest.mark.parametrize("columns", [60, 80, 160])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_no_wider_than_the_terminal(command, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        import_module(f"pipelines.{command}").main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns and max(map(len, lines)) > 0.8 * columns


def test_help_begins_with_what_is_needed_and_used_most(capsys):
    for command, needed, often in (
        (classify, ["input", "output"], {"text_column", "model"}),
        (prepare, ["output"], {"input", "label_column"}),
        (finetune, ["data", "model", "output"], {"epochs"}),
        (evaluate, [], {"input", "labeled", "model", "label_column"}),
    ):
        with pytest.raises(SystemExit):
            command.main(["--help"])
        shown = capsys.readouterr().out
        first = shown[shown.index("\nmost used:\n") :].split("\n\n")[0]
        flags = re.findall(r"^  --(\w+)", first, re.MULTILINE)
        assert flags[: len(needed)] == needed and often <= set(flags) and len(flags) <= 12
        assert " ".join(shown.split()).count("(required)") == len(needed)
        assert [f"--{name}=" in shown.partition("\n\n")[0] for name in needed] == [True] * len(needed)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--bogus=1"], "unknown flag --bogus=1: neither this command nor Beam has it; --help lists the flags"),
        (["--batch_row=1"], "--batch_row=1: neither this command nor Beam has it; did you mean --batch_rows=?"),
        (["--inptu=a"], "did you mean --input=?"),
        (["--text-column", "review"], "did you mean --text_column?"),
        (["-text_column=review"], "did you mean --text_column=?"),
        (["--direct_num_worker=2"], "did you mean --direct_num_workers=?"),
        (["\N{EN DASH}input=a"], "did you mean --input=?"),
        (["\N{EM DASH}text\N{NON-BREAKING HYPHEN}column", "a"], "did you mean --text_column?"),
        (["input=a"], "did you mean --input=?"),
        ([""], "is no flag"),
        (["stray"], "stray is no flag: did you mean --input=stray?"),
        (["--runner", "DirectRunner", "/some/file.jsonl"], "did you mean --input=/some/file.jsonl?"),
        (["--direct_num_workers=abc"], "--direct_num_workers=abc: expected a whole number"),
        (["--text", "a"], "--text is a quick look at texts of the command line: it takes no input"),
        (["--max_rejected=nan"], "--max_rejected=nan: expected at least 0"),
        (["--run_date=20261120"], "--run_date=20261120: expected a date such as 2026-11-20"),
        (["--quote=,"], "--quote=,: expected one ASCII character that separates nothing"),
        (["--quote=;", "--delimiter=;"], "--quote=;: expected one ASCII character that separates nothing"),
        (["--quote=\t", "--input_format=tsv"], "expected one ASCII character that separates nothing"),
        (["--id_column="], "--id_column is empty (an unset variable?)"),
        (["--text_column="], "--text_column is empty (an unset variable?)"),
        (["--model="], "--model is empty (an unset variable?)"),
        (["--delimiter="], "--delimiter is empty (an unset variable?)"),
        (["--column_names="], "--column_names is empty (an unset variable?)"),
        (["--exclude="], "--exclude names nothing (an unset variable?)"),
        (["--batch_rows=0"], "--batch_rows=0: expected at least 1"),
        (["--batch_rows=ten"], "--batch_rows=ten: expected a whole number"),
        (["--max_rejected=1.5"], "--max_rejected=1.5: expected at most 1"),
        (["--overflow=drop"], "--overflow=drop: expected one of"),
        (["--device=gpu"], "--device=gpu: expected auto, cpu, cuda or cuda:N"),
        (["--run_date=yesterday"], "--run_date=yesterday: expected a date such as 2026-11-20"),
        (["--only_new"], "--only_new needs --run_date"),
        (["--quote=ab"], "--quote=ab: expected one ASCII character that separates nothing"),
        (["--runner=DaskRunner"], "Beam's Dask runner reports success and writes nothing"),
        (["--model=sentiment", "--input=nothing/*.txt", "--output=out"], "nothing/*.txt matches no file"),
        (["--input=x.txt"], "--output is missing"),
        (["--output=out"], "--input is missing"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(flags, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = ["--input=x.txt", "--output=out"] if not any(f.startswith(("--input", "--output")) for f in flags) else []
    assert classify.main([*files, *flags]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


EMPTY = {"quote", "keep_columns", "clean", "duplicate_key"}
"""Options whose help says what nothing means."""

NAMES = [
    (command, each.name)
    for command in (classify, prepare, evaluate)
    for group in command.GROUPS.values()
    for each in option_fields(group)
    if each.default is None and "tuple" in str(each.type)
]


@pytest.mark.parametrize(("command", "name"), NAMES, ids=str)
def test_an_unset_variable_is_no_list_of_names(command, name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    needed = ["--input=x.txt"] if name != "attributes" else ["--subscription=projects/p/subscriptions/s"]
    flags = [*needed, *(["--output=out"] if command is not evaluate else []), f"--{name}="]
    assert command.main(flags) == 2
    said = capsys.readouterr().err
    expected = f"--{name} is empty (an unset variable?): leave it out"
    assert (expected in said) != (name in EMPTY) and ("x.txt matches no file" in said) == (name in EMPTY)
    group = next(each for each in command.GROUPS.values() if name in {one.name for one in option_fields(each)})
    others: dict[str, Any] = {"input": ("x",)} if group is command.GROUPS.get("read") else {}
    others |= {"subscription": "projects/p/subscriptions/s"} if name == "attributes" else {}
    with pytest.raises(ValueError, match=f"--{name}=a,: a name is empty"):
        group(**others, **{name: ("a", "")})


def test_whose_help_tells_of_nothing_may_be_empty():
    groups = [group for command in (classify, prepare, evaluate) for group in command.GROUPS.values()]
    fields = [each for group in groups for each in option_fields(group)]
    assert {each.name for each in fields if each.metadata["may_be_empty"]} == EMPTY
    assert {each.name for each in fields if "''" in each.metadata["help"]} == EMPTY
    assert {"group_by", "labels", "column_names", "languages", "slice_by", "attributes"} <= {name for _, name in NAMES}


@pytest.mark.parametrize(
    ("quote", "options"),
    [
        (",", {"delimiter": ";"}),
        (",", {"input_format": "tsv"}),
        ("\t", {"input_format": "csv"}),
        ("", {"delimiter": ";"}),
    ],
)
def test_what_separates_nothing_may_quote(quote, options, tmp_path):
    assert ReadOptions(input=("x",), quote=quote, **options).quote == quote


def test_texts_and_pairs_go_together(capsys):
    assert classify.main(["--text", "a", "b", "--text_pair", "c"]) == 2
    assert "--text was given 2 times and --text_pair 1 times" in capsys.readouterr().err
    assert classify.main(["--text", "a", "--threshold=0.9"]) == 2
    assert "--threshold does nothing with --text" in capsys.readouterr().err


@pytest.mark.engine
@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--output=corpus.txt/out"], "is a file where a folder is due"),
        (["--overflow=window", "--max_length=32"], "--stride=64 must be less than that"),
        (["--max_length=100000"], "sentiment reads at most 512"),
        (["--text_pair_column=b", "--overflow=window"], "windows are for single texts"),
        (["--output=."], "which lies in --output="),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(flags, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus.txt").write_text("a text\n")
    assert classify.main(["--input=corpus.txt", *([] if "--output" in flags[0] else ["--output=out"]), *flags]) in (
        1,
        2,
    )
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.txt"]


def test_a_range_is_checked_in_the_library_too():
    with pytest.raises(ValueError, match="--stride=-1: expected at least 0"):
        ModelOptions(stride=-1)
    with pytest.raises(ValueError, match="--input is empty"):
        list_files(ReadOptions(input=()))
    with pytest.raises(ValueError, match="--max_rejected=2"):
        RunOptions(output="out", max_rejected=2)


@pytest.mark.engine
def test_flags_of_a_job_server_are_known_before_anything_is_imported_for_it():
    flags = ["--checkpointing_interval=x", "--input=in.txt", "--output=out"]
    command = [sys.executable, "-m", "pipelines.classify", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stderr == "seqcls_beam: --checkpointing_interval=x: expected a whole number\n"
