"""What a command imports before there is work to do: nothing that takes seconds."""

import json
import subprocess
import sys

from seqcls_beam.__main__ import COMMANDS

HEAVY = (
    *("apache_beam", "grpc", "google.protobuf", "torch", "transformers", "tokenizers", "huggingface_hub"),
    *("numpy", "pyarrow", "pandas", "scipy", "sklearn", "matplotlib", "rich", "jinja2"),
)
WRONG = {
    "classify": [
        ["--batch_rows=abc"],
        ["--batch_rows=0", "--input=a", "--output=b"],
        ["--input=a"],
        ["--text=a", "--threshold=0.5"],
    ],
    "prepare": [["--batch_rows=abc"], [], ["--input=a"], ["--input=a", "--output=b", "--near_duplicates=2"]],
    "evaluate": [["--batch_rows=abc"], [], ["--input=a", "--data=b"], ["--input=a", "--text_column="]],
    "finetune": [["--epochs=abc"], ["--data=a"], ["--data=a", "--model=b", "--output=c", "--epochs=-1"], ["--input=a"]],
    "seal": [[], ["--nothing"], ["out", "--until=noon"]],
    "compare": [["a"], ["--nothing"], ["a", "b", "--max_label_shift=2"]],
    "approve": [[], ["--nothing"], ["out", "--max_label_shift=2"]],
    "report": [[], ["--nothing"], ["out", "--report_texts=-1"]],
    "announce": [[], ["--nothing"], ["out", "--otlp="]],
    "clean": [[], ["--nothing"], ["out", "--before=noon"]],
}
ASK = """
import contextlib, importlib, io, json, sys
heavy, asked = json.load(sys.stdin)
for name, words in asked:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            code = importlib.import_module(f"pipelines.{name}").main(words)
        except SystemExit as end:
            code = end.code or 0
    print(json.dumps([name, words, code, [each for each in heavy if each in sys.modules], said.getvalue()]))
"""


def test_help_and_wrong_usage_import_nothing_that_takes_long():
    """In one process: the first command that imports something of it is the one."""
    assert set(WRONG) == set(COMMANDS)
    asked = [(name, words) for name in COMMANDS for words in (["--help"], ["--version"], *WRONG[name])]
    done = subprocess.run(
        [sys.executable, "-c", ASK], input=json.dumps([HEAVY, asked]), capture_output=True, text=True, timeout=60
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each[:2] for each in found] == [[name, words] for name, words in asked], done.stderr
    for name, words, code, imported, said in found:
        assert (code, imported) == (0 if words in (["--help"], ["--version"]) else 2, []), (name, words, said)


def test_a_look_at_a_text_imports_no_beam():
    """And work does import what these tests look for, so they would see it."""
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps([HEAVY, [("classify", ["--text", "I liked it", "--threads=1"])]]),
        capture_output=True,
        text=True,
        timeout=100,
    )
    (found,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert found[2] == 0 and {"torch", "pyarrow", "rich"} <= set(found[3]) and "apache_beam" not in found[3]
