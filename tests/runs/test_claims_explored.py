"""Nights that share their input, in all interleavings: each file is labelled once, whoever is taken for dead when."""

import re
from typing import Any

import pytest

from seqcls_beam.runs import claims, lease
from tests.runs.explorer import Scenario
from tests.runs.invariants import Violation
from tests.runs.nightly import Bucket, Disk, Sharing, cleaner, night
from tests.runs.test_explorer import changed, published


@pytest.fixture(autouse=True)
def time_stands_still(monkeypatch):
    """A process that runs again is to claim with the same bytes."""
    monkeypatch.setattr(lease, "clock", lambda store: 0.0)


def scenario(files: Disk | Bucket, who: str, before: str = "", **how: Any) -> Sharing:
    """`who` names nights, as 1a2: of date 1, that finds file a and may start twice; C is one who empties claims."""
    asked: dict[str, str] = {}

    def nights(which: str, names: str) -> list[Any]:
        found = list(zip(names, re.findall(r"(\d)([a-z]+)(\d)", which), strict=False))
        asked.update({name: keys for name, (_, keys, _) in found})
        return [night(name, date, keys, published, int(starts)) for name, (date, keys, starts) in found]

    there = "".join(sorted(set(re.sub(r"[^a-z]", "", who + before))))
    processes = (*nights(who, "abc"), *([cleaner("k")] if "C" in who else []))
    what = Scenario(files, processes, lambda *_: b"", tuple(nights(before, "zxw")), **how)
    return Sharing(what, night("y", "9", there, published), there, asked)


def explore(what: Sharing) -> Sharing:
    print(f"\n    {what.explore()}")
    return what


FILES = pytest.mark.parametrize("files", [Disk(), Bucket()], ids=["disk", "bucket"])


@FILES
@pytest.mark.parametrize("who", ["1a1 2a1", "1ab1 2bc1", "1ab1 2a1", "1a1 1a1", "1a1 1b1", "1a1 1ab1"])
def test_two_nights(files, who):
    explore(scenario(files, who))


@FILES
@pytest.mark.parametrize("who", ["1a1 2ab1", "1a1 1ab1"])
def test_after_an_earlier_night(files, who):
    explore(scenario(files, who, "3c1"))


@FILES
@pytest.mark.parametrize("who", ["1ab3", pytest.param("1a2 2a1", marks=pytest.mark.slow)])
def test_a_night_killed_at_every_step_starts_again(files, who):
    explore(scenario(files, who))


@FILES
@pytest.mark.parametrize("who", ["1d1 C", pytest.param("1d1 2d1 C", marks=pytest.mark.slow)])
def test_files_of_claims_are_emptied_meanwhile(files, who, monkeypatch):
    monkeypatch.setattr(claims, "KEPT", 1)
    explore(scenario(files, who, "3a1 4b1 5c1"))


def test_a_creation_whose_answer_was_lost():
    explore(scenario(Bucket(loses_answers=True), "1a1 2a1"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("files", "who"),
    [
        pytest.param(Disk(), "1a2 1ab1", id="disk, one date"),
        pytest.param(Bucket(), "1a2 1ab1", id="bucket, one date"),
        pytest.param(Bucket(), "1a2 2a2", id="bucket, two dates"),
    ],
)
def test_deeper(files, who):
    explore(scenario(files, who, every=50))


@FILES
@pytest.mark.parametrize("who", ["1a1 2a1", "1a1 1ab1"])
def test_what_a_process_forgets_makes_no_difference(files, who):
    assert explore(scenario(files, who)).files() == explore(scenario(files, who, forgets=False)).files()


ASKED = """    now = lease.clock(store) if open_ else 0.0
        _refuse_beside(store, open_, ours, set(digests), now)
        if _end_dead(store, open_, ours, set(digests), now, run.placed):
            continue
        # Coverage is asked after the claims: what was claimed and published in between is in one of them.
        found = _shared(covered(), open_, ours, files, digests)"""
BROKEN = {
    "coverage asked before claims": (
        "take",
        f"        number, open_ = _look(store)\n    {ASKED}",
        f"        known = covered()\n        number, open_ = _look(store)\n    {ASKED.replace('covered()', 'known')}",
        "are of two partitions",
    ),
    "claims written over others'": (
        "_write",
        "created = store.create(_name(number), orjson.dumps(said), scratch)",
        "from seqcls_beam import storage; storage.put(store.uri(_name(number)), orjson.dumps(said)); created = True",
        "has changed",
    ),
    "claims at a number that leaves a gap": ("take", "number + 1, (*open_", "number + 2, (*open_", "has a gap"),
    "a number asked again": (
        "take",
        "number + 1, (*open_",
        "_look(store)[0] + 1, (*open_",
        "are of two partitions",
    ),
    "claims of others that are not kept": (
        "take",
        "(*open_, _Claim(*ours, lease.clock(store), claimed))",
        "(_Claim(*ours, lease.clock(store), claimed),)",
        "is gone before it is over",
    ),
    "files of a dead one that is not barred": (
        "take",
        "if _end_dead(store, open_, ours, set(digests), now, run.placed):\n            continue",
        "open_ = tuple(each for each in open_ if (each.partition, each.number) == ours or _lives(store, each, now))",
        "is gone before it is over",
    ),
    "claims of decided versions that are kept": (
        "_look",
        "tuple(each for each in claims if not store.exists(version_name(each.partition, each.number)))",
        "tuple(claims)",
        "does not end",
    ),
    "claims of decided versions that are held": (
        "_end_dead",
        "dead = [",
        "dead = [each for each in claims if False] and [",
        "does not get",
    ),
    "claims to files that nobody asked for": (
        "_end_dead",
        " and not asked.isdisjoint(each.files)",
        "",
        "does not want",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_protocol_is_found(what, monkeypatch):
    name, old, new, found_by = BROKEN[what]
    changed(monkeypatch, claims, name, old, new)
    with pytest.raises(Violation, match=found_by) as found:
        for who in ("1a1 2a1", "1a1 2b1"):
            for files in (Disk(), Bucket()):
                scenario(files, who).explore()
    print(f"\n{found.value}")


CLEANED_TOO_WELL = {
    "a file that is removed": ("empty", 'storage.put(store.uri(name), b"")', "storage.remove(store.uri(name))"),
    "the newest file": ("spent", "_newest(store) - KEPT", "_newest(store)"),
}


@pytest.mark.parametrize("what", CLEANED_TOO_WELL)
def test_claims_that_are_cleaned_too_well_are_found(what, monkeypatch):
    monkeypatch.setattr(claims, "KEPT", 1)
    changed(monkeypatch, claims, *CLEANED_TOO_WELL[what])
    with pytest.raises(Violation):
        for files in (Disk(), Bucket()):
            scenario(files, "1d1 C", "3a1 4b1 5c1").explore()
