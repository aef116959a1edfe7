"""A stream's window that is sealed again, in all interleavings of those that seal, append, read and clean."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from seqcls_beam.runs import cleaning, commit, lease, sealing
from tests.messages import Message
from tests.runs.amending import Sealings, Stream, append, begun, one_after_the_other, read, seal
from tests.runs.invariants import Violation
from tests.runs.memory import Bucket, Disk
from tests.runs.replay import Process
from tests.runs.test_explorer import changed, clean, cleaner

EARLY = append(Message("a", 0, text="a"), Message("b", 9, rejected=True))
LATER = append(Message("c", 5, text="c"), Message("a", 0, text="a"))
LAST = append(Message("d", 7, text="d"), Message("e", 8, rejected=True), Message("b", 9), Message("c", 5, text="c"))

SEALED = begun(EARLY, seal, LATER)
"""Version 1 is there, and a piece with a row that it has and one that is new."""
MORE = begun(EARLY, seal, LATER, LAST)
NEW = begun(EARLY)

PROGRAMS: dict[str, tuple[Callable[[Any], Any], ...]] = {
    "S": (seal,),
    "A": one_after_the_other(LAST, seal),
    "V": one_after_the_other(seal, LATER, seal),  # versions 1 and 2, where nobody else is faster
    "R": (read(frozenset("a")),),
    "C": (cleaner, clean),
}


@pytest.fixture(autouse=True)
def everybody_is_taken_for_dead(monkeypatch):
    monkeypatch.setattr(lease, "EXPIRES", 0)
    monkeypatch.setattr(lease, "usage", lambda uri: (1, 1, 0.0))
    monkeypatch.setattr(lease, "clock", lambda store: 0.0)


def scenario(files: Disk | Bucket, before: Process, who: str, **how: Any) -> Stream:
    """`who` names processes by their program; the digit is how often they may start."""
    processes = [
        Process(name, letter, PROGRAMS[letter], int(starts))
        for name, (letter, starts) in zip("abc", re.findall(r"(\w)(\d)", who), strict=False)
    ]
    return Stream(files, tuple(processes), lambda *_: b"", (before,), cleaner="C" in who, **how)


def explore(what: Stream) -> Sealings:
    explorer = Sealings(what)
    print(f"\n    {explorer.explore()}")
    return explorer


SLOW = [pytest.mark.slow]
FILES = pytest.mark.parametrize("files", [Disk(), Bucket()], ids=["disk", "bucket"])


@FILES
def test_a_sealer_killed_at_every_step_starts_again(files):
    explore(scenario(files, SEALED, "S2", every=9))


LONG = ("another amends with more", "a late one of version 1")
HALTED = {
    "another amends": (SEALED, "S1S1"),
    "another amends with more": (SEALED, "S1A1"),
    "a late one of version 1": (NEW, "S1V1"),
    "a cleaner": (SEALED, "S1C1"),
    "a late cleaner": (SEALED, "C1S1"),
    "a late reader": (SEALED, "R1S1"),
}


@pytest.mark.parametrize("what", HALTED)
def test_one_is_halted_at_every_step_and_wakes(what):
    explore(scenario(Disk(), *HALTED[what], in_turns=True, every=40))


@pytest.mark.parametrize("what", [pytest.param(each, marks=SLOW * (each in LONG)) for each in HALTED])
def test_one_is_halted_at_every_step_in_a_store(what):
    explore(scenario(Bucket(), *HALTED[what], in_turns=True, every=40))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@FILES
@pytest.mark.parametrize(
    ("before", "who"),
    [
        pytest.param(SEALED, "S1S1", id="two amend"),
        pytest.param(SEALED, "S2S1", id="one of two is killed"),
        pytest.param(MORE, "S1S1", id="two amend by two pieces"),
        pytest.param(SEALED, "S1A1", id="another amends with more"),
        pytest.param(NEW, "S1V1", id="a late one of version 1"),
        pytest.param(SEALED, "S2C1", id="a cleaner"),
        pytest.param(SEALED, "S1R1", id="a reader"),
    ],
)
def test_all_interleavings(files, before, who):
    explore(scenario(files, before, who, every=100))


@FILES
def test_what_a_process_forgets_makes_no_difference(files):
    what = scenario(files, SEALED, "S1R1", in_turns=True, every=1000)
    without = scenario(files, SEALED, "S1R1", in_turns=True, every=1000, forgets=False)
    assert explore(what).files() == explore(without).files()


BROKEN = {
    "pieces that go first": (
        "another amends",
        sealing,
        "_published",
        "    amended = ",
        "    store.remove(names)\n    amended = ",
    ),
    "parts of the version before that are not named": (
        "another amends",
        sealing,
        "_manifest",
        'list(then.get("parts", []))',
        "[]",
    ),
    "rows that the window has": ("another amends", sealing, "_look", 'before.uris("parts") if before else []', "[]"),
    "a sweep of parts that are named": ("another amends", commit, "_is_over", " and name not in version.named", ""),
    "who is late gives up": (
        "another amends with more",
        sealing,
        "_seal",
        "if newest(store, name) == run.follows:",
        "if True:",
    ),
    "an attempt that is left": ("another amends with more", sealing, "_give_way", "store.discard(run.work)", "pass"),
    "a cleaner of parts": ("a cleaner", cleaning, "_parts", "path in version.named or ", ""),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_protocol_is_found(what, monkeypatch):
    where, of, name, old, new = BROKEN[what]
    changed(monkeypatch, of, name, old, new)
    with pytest.raises(Violation) as found:
        Sealings(scenario(Disk(), *HALTED[where], in_turns=True, every=40)).explore()
    print(f"\n{found.value}")
