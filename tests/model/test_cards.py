"""Processes share the cards of a machine evenly, and one that ends, however it ends, leaves its card to others."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from seqcls_beam.model import cards

NAMES = ["a", "b", "c", "d"]
# Takes one of the cards that its arguments name, says which, and goes on until its input ends.
TAKES = "import sys; from seqcls_beam.model.cards import take; print(take(sys.argv[1:]), flush=True); sys.stdin.read()"

Start = Callable[..., list[subprocess.Popen[str]]]


@pytest.fixture
def start(tmp_path) -> Iterator[Start]:
    """So many processes at once, each of which takes a card of `names`."""
    begun: list[subprocess.Popen[str]] = []

    def start(count: int, names: list[str] = NAMES, code: str = TAKES) -> list[subprocess.Popen[str]]:
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        command = [sys.executable, "-c", code, *names]
        pipe = subprocess.PIPE
        new = [subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) for _ in range(count)]
        begun.extend(new)
        return new

    yield start
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """This process, as if it had taken no card yet."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(cards, "_held", {})
    yield
    for file in cards._held.values():
        os.close(file)


def taken(processes: list[subprocess.Popen[str]]) -> list[int]:
    """The numbers of the cards they took."""
    return [int(process.stdout.readline()) for process in processes if process.stdout]


def test_processes_that_start_at_once_share_the_cards_evenly(start):
    assert sorted(taken(start(4))) == [0, 1, 2, 3]
    assert sorted(taken(start(4))) == [0, 1, 2, 3]
    assert Counter(taken(start(2))).most_common(1)[0][1] == 1


def test_a_process_that_is_killed_frees_its_card(start):
    processes = start(4)
    numbers = taken(processes)
    for ended in (2, 0):
        processes[ended].kill()
        processes[ended].wait()
        assert taken(start(1)) == [numbers[ended]]


def test_processes_that_see_other_cards_in_another_order_agree(start):
    assert taken(start(1, ["b"])) == [0]
    assert taken(start(1, ["b", "a"])) == [1]
    assert taken(start(1, ["a", "b", "c"])) == [2]
    # Two work on one card, and one on each of the others: it is not that one's turn.
    assert taken(start(1, ["c", "c"])) == [0]
    assert sorted(taken(start(2, ["c", "b", "a"]))) == [1, 2]


def test_a_process_keeps_its_card_whoever_asks(start, here):
    assert taken(start(1)) == [0]
    barrier = Barrier(8)

    def ask(_):
        barrier.wait()
        return cards.take(NAMES)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [1] * 8
    assert cards.take(["d", "c", "b"]) == 2
    assert cards.take(["d", "c"]) == 0
    assert sorted(taken(start(2))) == [0, 2], "of the cards with one process"


def test_a_child_does_not_hold_its_parents_card(start):
    forks = (
        "import os, sys; from seqcls_beam.model.cards import take; card = take(sys.argv[1:])\n"
        "said, say = os.pipe()\n"
        "child = os.fork()\n"
        "if not child: print(take(sys.argv[1:]), flush=True); os.write(say, b'x')\n"
        "else: os.read(said, 1); print(card, child, flush=True)\n"
        "sys.stdin.read()\n"
    )
    (parent,) = start(1, code=forks)
    assert parent.stdout
    assert parent.stdout.readline() == "1\n", "a card of its own"
    card, child = map(int, parent.stdout.readline().split())
    assert card == 0
    parent.kill()
    parent.wait()
    try:
        assert taken(start(1)) == [0]
    finally:
        os.kill(child, signal.SIGKILL)


def test_locks_of_another_user_are_shared_or_passed_over(start, here, tmp_path, monkeypatch):
    assert sorted(taken(start(2, ["a", "b"]))) == [0, 1]
    opened = os.open

    def refuse(path, flags, *mode):
        """As Linux may: no file that is another's is "created" again, and the one of card b is not read."""
        if os.path.exists(path) and (flags & os.O_CREAT or path.endswith("-b-0")):
            raise PermissionError(13, "Permission denied", path)
        return opened(path, flags, *mode)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        assert cards.take(["a", "b"]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "seqcls_beam-a-0",
        "seqcls_beam-b-0",
        f"seqcls_beam-b-0-{os.getuid()}",
    ]


def test_nobody_is_made_to_wait_by_a_pipe_in_the_place_of_a_lock(here, tmp_path, start):
    os.mkfifo(tmp_path / "seqcls_beam-a-0")
    assert taken(start(1, ["a", "b"])) in ([0], [1])


def test_a_link_is_not_followed(here, tmp_path):
    (tmp_path / "seqcls_beam-a-0").symlink_to(tmp_path / "elsewhere")
    assert cards.take(["a"]) == 0
    assert not (tmp_path / "elsewhere").exists()
