"""Options in a file: what YAML or JSON says is taken as it looks, and refused where it may be read otherwise."""

import json
import os
import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import classify, clean, compare, options, settings
from seqcls_beam.config.option import flag, option, option_fields
from tests import tiny
from tests.corpora import texts, write_jsonl


@dataclass
class Options:
    """Of every kind."""

    text: str = option("a text", default="")
    whole: int = option("a number", default=0)
    decimal: float = option("a number", default=0.0)
    switch: bool = option("a switch", default=False)
    names: tuple[str, ...] | None = option("names", default=None)
    texts: tuple[str, ...] = option("texts", default=())
    document: str | None = option("a file, or the screen", default=None, bare="-")


OPTIONS = {flag(each): each for each in option_fields(Options)}


def words(file, text):
    file.write_text(text)
    return [
        word
        for key, value in settings.read(str(file)).items()
        for word in settings.words(str(file), key, value, OPTIONS.get(key))
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("text: review", ["--text=review"]),
        ("text: 'no'", ["--text=no"]),
        ("text: 2026-11-20", ["--text=2026-11-20"]),
        ("text: '010'", ["--text=010"]),
        ("text: ''", ["--text="]),
        ("text: --switch", ["--text=--switch"]),
        ("text: a # a remark", ["--text=a"]),
        ("whole: 64", ["--whole=64"]),
        ("decimal: 1e-3", ["--decimal=1e-3"]),
        ("decimal: .inf", ["--decimal=inf"]),
        ("decimal: 1", ["--decimal=1"]),
        ("switch: true", ["--switch"]),
        ("switch: false", []),
        ("names: [a, b c]", ["--names=a,b c"]),
        ("names: a,b", ["--names=a,b"]),
        ("names: []", ["--names="]),
        ("texts: [a.csv, 'b,c.csv']", ["--texts=a.csv", "--texts=b,c.csv"]),
        ("texts: a.csv", ["--texts=a.csv"]),
        ("texts:\n- a.csv\n- b.csv", ["--texts=a.csv", "--texts=b.csv"]),
        ("document: true", ["--document"]),
        ("document: said.json", ["--document=said.json"]),
        ("runner: FlinkRunner", ["--runner=FlinkRunner"]),
        ("workers: 4", ["--workers=4"]),
        ("streaming: true", ["--streaming"]),
        ("experiments: [a, b=1]", ["--experiments=a", "--experiments=b=1"]),
        ("", []),
        ("# nothing", []),
    ],
)
def test_a_line_of_yaml_is_a_flag(tmp_path, line, expected):
    assert words(tmp_path / "run.yaml", line) == expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        *[
            (f"text: {each}", "can be read two ways in YAML")
            for each in ("no", "Yes", "off", "y", "010", "1_000", "0x1f")
        ],
        *[(f"text: {each}", "can be read two ways in YAML") for each in ("12:30", "0o17", "1_0.5")],
        ("text: 5", "text is 5: expected a text: write '5' in quotes"),
        ("text: 1.10", "write '1.10' in quotes"),
        ("text: 1e5", "write '1e5' in quotes"),
        ("text: true", "text is true: expected a text"),
        ("text:", "text has no value"),
        ("text: ~", "text has no value"),
        ("text: [a]", "text has several values, and takes one"),
        ("text: {a: b}", "text is no plain value"),
        ("whole: '64'", "whole is the text '64': expected a whole number"),
        ("whole: 6.4", "whole is 6.4: expected a whole number"),
        ("whole: 1e3", "whole is 1e3: expected a whole number"),
        ("whole: 1_000", "can be read two ways"),
        ("decimal: much", "decimal is the text 'much': expected a number"),
        ("switch: yes", "switch: yes can be read two ways in YAML: write true or false"),
        ("switch: 1", "switch is 1: expected true or false"),
        ("names: ['a,b']", "names: 'a,b' has a comma"),
        ("names: [no]", "can be read two ways"),
        ("texts: [[a]]", "texts is no plain value"),
        ("text: a\ntext: b", "text stands there twice"),
        *[
            (f"whole: 1\ntext: {each}", "line 2: a tag says nothing here")
            for each in (
                "!secret a",
                "!!str 64",
                "!!int '64'",
                "! 64",
                "!joined [a, b]",
                "!<tag:yaml.org,2002:x:str> '5'",
            )
        ],
        ("!options\ntext: a", "line 1: a tag says nothing here"),
        ("- text", "expected a mapping"),
        ("text", "expected a mapping"),
        ("text: a\n---\ntext: b", "line 2: but found another document"),
        ("text: 'a", "line 1: found unexpected end of stream"),
        ("text: a\n  whole: 1", "line 2: mapping values are not allowed here"),
        ("[" * 3000, "nested too deeply"),
        ("text: " + "a" * 2**20, "has more than 1,048,576 bytes"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(tmp_path, line, said):
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        words(tmp_path / "run.yaml", line)
    assert str(error.value).startswith(f"--config={tmp_path}/run.yaml")


def test_a_folder_is_no_file_of_options(tmp_path):
    with pytest.raises(ValueError, match="is a folder: name the file in it"):
        settings.read(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"text": 5}', "text is 5: expected a text"),
        ('{"text": null}', "text has no value"),
        ('{"whole": "64"}', "expected a whole number"),
        ('{"text": "a", "text": "b"}', "text stands there twice"),
        ('{"text": {"a": "b"}}', "no plain value"),
        ("[]", "expected an object"),
        ("{", "it is no JSON"),
        ("text: a", "it is no JSON"),
    ],
)
def test_json_is_as_strict(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        words(tmp_path / "run.json", text)


TEXT = st.text(st.characters(exclude_characters="\0"), max_size=20)
GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "text": TEXT
        | st.sampled_from(
            ["no", "010", "1e5", "2026-11-20", "\udcff", "\x7f", "\U0001f600", "\U000e0000", " a", "#", "~"]
        ),
        "whole": st.integers(),
        "decimal": st.floats(allow_nan=False),
        "switch": st.just(True),
        "names": st.lists(st.from_regex(r"[^,\0]+", fullmatch=True), min_size=1, max_size=3).map(tuple),
        "texts": st.lists(TEXT, min_size=1, max_size=3).map(tuple),
    },
)


@given(options=GIVEN, name=st.sampled_from(["a.yaml", "a.json"]))
def test_what_is_written_is_read_again(tmp_path_factory, options, name):
    file = tmp_path_factory.getbasetemp() / name
    assert settings.write(str(file), "classify", options.items()) == []
    found = settings.read(str(file))
    said = {key: settings.words(str(file), key, value, OPTIONS[key]) for key, value in found.items()}
    assert list(said) == list(options)
    for key, value in options.items():
        texts = [word.removeprefix(f"--{key}=") for word in said[key]]
        if key == "switch":
            assert texts == ["--switch"]
        elif key in ("whole", "decimal"):
            assert [type(value)(each) for each in texts] == [value]
        else:
            assert texts == ([value] if key == "text" else [",".join(value)] if key == "names" else list(value))


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "in.jsonl", [{"review": text} for text in texts(20)])
    tiny.checkpoint(tmp_path / "model")
    return tmp_path


@pytest.mark.engine
@pytest.mark.parametrize("file", ["run.yaml", "run.json"])
def test_what_was_given_and_kept_is_the_same_run(file, place, capsys):
    flags = ["--input=in.jsonl", "--model", "model", "--text_column=review", "--keep_columns=review,review:string"]
    flags[-1] = "--keep_columns=review"
    flags += ["--max_rejected=0.25", "--threads=1", "--direct_num_workers=1", "--output=out"]
    assert classify.main([*flags, f"--save_config={file}"]) == 0
    capsys.readouterr()
    assert classify.main([f"--config={file}", "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["already_published"] and run["output"] == str(place / "out")
    assert classify.main([f"--config={file}", "--max_length=16"]) == 1, (
        "another run, which the command line makes of it"
    )
    assert "holds another run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "flags", "said"),
    [
        (
            "inptu: a",
            [],
            "--config=run.yaml: unknown flag --inptu: neither this command nor Beam has it; did you mean --input?",
        ),
        ("batch_rows: 0", [], "--batch_rows=0: expected at least 1"),
        ("batch_rows: many", [], "--config=run.yaml: batch_rows is the text 'many': expected a whole number"),
        ("batch_rows: many", ["--batch_rows=5"], "--config=run.yaml: batch_rows is the text 'many'"),
        ("batch_rows: 0", ["--batch_rows", "5"], "nothing.jsonl matches no file"),
        ("dtype: fp16", [], "--dtype=fp16: expected one of"),
        ("overwrite: yes", [], "overwrite: yes can be read two ways"),
        ("config: other.yaml", [], "--config=run.yaml: config stands on a command line alone"),
        ("dry_run: true\ninput: other.jsonl", [], "nothing.jsonl matches no file"),
        ("enable_streaming_engine: false", [], "enable_streaming_engine is false, and Beam has no flag for that"),
        ("direct_num_workers: many", [], "--direct_num_workers=many: expected a whole number"),
        ("direct_num_workers: 4\ninput: other.jsonl", [], "nothing.jsonl matches no file"),
        ("input: [a.jsonl, b.jsonl]", [], "nothing.jsonl matches no file"),
    ],
)
def test_a_file_of_options_is_checked_as_a_command_line(text, flags, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(text)
    assert classify.main(["--config=run.yaml", "--input=nothing.jsonl", "--output=out", *flags]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("use_public_ips: false", ["--no_use_public_ips"]),
        ("no_use_public_ips: true", ["--no_use_public_ips"]),
        ("save_main_session: true", ["--save_main_session"]),
        ("streaming: false", []),
        ("dry_run: true", ["--dry_run=true"]),
        ("update_compatibility_version: true", ["--update_compatibility_version"]),
    ],
)
def test_a_switch_of_beam_is_one_of_its_flags(text, expected, tmp_path):
    (tmp_path / "run.yaml").write_text(text)
    made = options.parser("pipelines.classify", "", "", classify.GROUPS)
    _, words = options.parse(made, [f"--config={tmp_path}/run.yaml"], classify.GROUPS)
    assert words == expected


def test_a_file_in_another_encoding_is_told_of(tmp_path):
    (tmp_path / "run.yaml").write_bytes("input: a".encode("utf-16"))
    with pytest.raises(ValueError, match=r"run.yaml is no UTF-8, from byte 0 on"):
        settings.read(str(tmp_path / "run.yaml"))


def test_a_file_of_options_may_speak_for_the_command(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text("quiet: true\njson: '-'\n")
    assert compare.main(["a", "--config=run.yaml", "--log_json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["errors"] == [json.loads(err)["message"]]
    (tmp_path / "run.yaml").write_text("runner: DirectRunner\n")
    assert compare.main(["a", "b", "--config=run.yaml"]) == 2
    assert "unknown flag --runner" in capsys.readouterr().err
    assert clean.main(["out", "--config=none.yaml"]) == 2
    assert "No such file or directory: " in capsys.readouterr().err


def test_a_pipe_stays_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a pipe, a socket or a device"):
        settings.write(str(tmp_path / "pipe"), "classify", [])
    assert (tmp_path / "pipe").is_fifo()


def test_secrets_are_not_written(tmp_path):
    key = "AKIA" + "B" * 16
    given = {
        "input": ("s3://a/b", "s3://user:hunter22@host/b"),
        "model": f"https://h/m?token={key}",
        "text_column": "a",
    }
    assert settings.write(str(tmp_path / "a.yaml"), "classify", given.items()) == ["input", "model"]
    written = (tmp_path / "a.yaml").read_text()
    assert written == '# options of classify, as --config takes them\ntext_column: "a"\n'
    settings.write(str(tmp_path / "a.json"), "classify", given.items())
    assert json.loads((tmp_path / "a.json").read_text()) == {"text_column": "a"}
