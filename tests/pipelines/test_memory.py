"""Whole commands on input that is gigabytes when it is decoded: what their processes have in memory at once."""

import shutil

import pytest

from tests import bombs, tiny, tree

pytestmark = pytest.mark.engine

LIMIT = 3 * 2**29  # bytes, of which the libraries and a tiny model take some 0.6 GB
SECONDS = 30  # of the processor, of which a command takes up to ten to begin


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model") / "model")


def watched(command, source, model, folder, *flags, seconds=SECONDS):
    read = "labeled" if command == "evaluate" else "input"
    words = [f"--{read}={source}", f"--output={folder}/out", *flags]
    if command != "evaluate":
        words.append(f"--model={model}")
    found = tree.watch(command, *words, log=folder / "log", seconds=seconds, most=2 * LIMIT)
    shutil.rmtree(folder / "out", ignore_errors=True)  # a killed run leaves what it had
    return found


def test_answers_beside_long_texts(tmp_path):
    """At once its thousand rows have 2 GB."""
    source = bombs.of_gold(tmp_path, 50)
    assert source.stat().st_size < 20_000
    found = watched("evaluate", source, None, tmp_path, "--label_column=gold", "--id_column=id", seconds=300)
    assert found.code == 0, found.said
    assert "1,000 in, 1,000 scored" in found.said
    assert found.bytes < LIMIT


SLOW = [
    ("classify", bombs.of_text, (), None),
    ("classify", bombs.of_kept, ("--keep_columns=kept",), None),
    ("classify", bombs.of_short_lines, (), None),
    ("classify", bombs.of_long_texts, ("--overflow=window",), None),
    ("classify", bombs.of_bundle, (), None),
    ("classify", bombs.of_quoted_lines, (), None),
    ("classify", bombs.of_zeros, (), 1),
    ("classify", bombs.of_quote, (), 1),
    ("classify", bombs.of_object, (), 1),
    ("classify", bombs.of_line, (), 1),
    ("classify", bombs.of_keys, (), 1),
    ("evaluate", bombs.of_gold, ("--label_column=gold", "--id_column=id"), None),
]
"""Commands, and the code they end with: None where they would go on for hours, and are ended."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("command", "bomb", "flags", "code"), SLOW, ids=[f"{each[0]}-{each[1].__name__[3:]}" for each in SLOW]
)
def test_memory_of_whole_commands_is_bounded(tmp_path, model, command, bomb, flags, code):
    source = bomb(tmp_path, 1000)
    found = watched(command, source, model, tmp_path, *flags, seconds=SECONDS if code is None else 300)
    assert found.code == code, found.said
    assert found.bytes < LIMIT


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_a_line_of_zeros_is_not_held_however_it_is_packed(tmp_path, model, suffix):
    found = watched("classify", bombs.of_zeros(tmp_path, 1000, suffix), model, tmp_path, seconds=300)
    assert found.code == 1 and "record_too_large" in found.said
    assert found.bytes < LIMIT
