"""The same bytes from the in-process engine, Prism, and Flink with one and with two TaskManagers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.runs import made, run, runner
from tests.cluster.services import Flink

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

COMMANDS = {
    "classify": ["--text_column=text", "--keep_columns=id", "--unit_bytes=16384", "--threads=1"],
    "prepare": ["--text_column=text", "--label_column=label", "--unit_bytes=32768", "--partition_bytes=65536"],
    "evaluate": ["--text_column=text", "--label_column=label", "--unit_bytes=16384", "--threads=1"],
}
ENGINES = ("Prism", "Flink with 1", "Flink with 2")
MORE = {"prepare": ["--group_by=author", "--num_shards=6", "--keep_text"]}


def what(command: str, reviews: Path, rows: Path) -> list[str]:
    """The flags of a command."""
    return [f"--input={rows if command == 'prepare' else reviews}", *COMMANDS[command], *MORE.get(command, [])]


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory, reviews: Path, rows: Path) -> dict[str, tuple[Any, Any]]:
    """What each command makes in one process."""
    found = {}
    for command in COMMANDS:
        out = run(command, tmp_path_factory.mktemp("here"), *what(command, reviews, rows), "--runner=DirectRunner")
        found[command] = made(out)
        assert found[command][1]
    assert len(found["classify"][0]["parts"]) >= 10, "or no two workers have something to do"
    return found


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, prism: str, one_machine: Flink) -> Iterator[list[str]]:
    """The flags that name an engine."""
    if request.param == "Prism":
        yield ["--runner=PrismRunner", f"--prism_location={prism}"]
        return
    count = request.param[-1]
    one_machine.stop()  # other tests may have had two
    one_machine.start(FLINK_TASKMANAGERS=count)
    assert one_machine.asked("overview")["taskmanagers"] == int(count)
    yield one_machine.flags


@pytest.mark.parametrize(
    ("engine", "command"),
    # With one TaskManager what labels is enough: nothing else divides the work otherwise.
    [(engine, command) for engine in ENGINES for command in COMMANDS if engine != ENGINES[1] or command == "classify"],
    indirect=["engine"],
)
def test_an_engine_makes_the_bytes_of_one_process(command, engine, in_process, tmp_path, reviews, rows):
    """Parts, shards, rejects, metrics, and the manifest but for times, the engine and names that chance draws."""
    out = run(command, tmp_path, *what(command, reviews, rows), *engine)
    assert made(out) == in_process[command]
    assert runner(out) == engine[0].removeprefix("--runner=")
