"""What one night takes of the input no other night takes: files are claimed before any of them is read.

    OUT/_claims/00000007.json      {claims: [{partition, number, since, files: [digest, …]}, …]}

The newest of these is all that counts. Each says every claim that may still hold, and is created only if there is none
of its number, so of several nights that look at once one claims, and the others look again. A claim is for one version
of one partition. It ends when that version is decided, whoever decides it: by the night itself, and then its files are
covered; or, where no sign of life has come from the night for `lease.EXPIRES` seconds, by another one that bars the
version (`commit.bar`) before it takes the files. A night that was only halted and wakes then can publish nothing,
whatever its clock says. A dead claim to files that nobody asks for stays, and its night can be started again.

No name is ever free again: of a file that is over only the content goes (`empty`). Else one who was halted before it
created number N+1 could still do so, and claim what nobody sees.
"""

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import orjson

from seqcls_beam import storage
from seqcls_beam.runs import commit, lease
from seqcls_beam.runs.covered import Covered, Key
from seqcls_beam.runs.run import Placed, Run, RunError, attempts
from seqcls_beam.runs.store import Store, store_of
from seqcls_beam.runs.versions import NOTHING, highest, stage_name, version_name
from seqcls_beam.schema import PARTITION

FOLDER = "_claims"
KEPT = 3
"""The newest files of claims, which keep what they say; only the very newest counts, the others are for people."""

_FILE = re.compile(r"(\d{8,})\.json", re.ASCII)
_NIGHT = re.compile(rf"{PARTITION}=[\w-]+", re.ASCII)
_MOST = 10**8  # versions of a partition: their names have eight digits


class Taken(NamedTuple):
    """What a run may work on."""

    covered: Covered
    files: list[bool]  # of the files asked for: whether it is ours
    held: dict[str, int]  # partition → files that a living run labels there
    late: int  # files that came after an earlier start of this same run claimed its own
    fresh: bool  # whether they were claimed just now


@dataclass(frozen=True)
class _Claim:
    partition: str
    number: int
    since: float  # seconds since 1970, by the clock of the disk or store
    files: tuple[str, ...]


def take(run: Run, files: list[Key], covered: Callable[[], Covered]) -> Taken:
    """Claim the files that no version covers, when `covered` asks them, and no living run claims.

    A run that is started again gets what it had claimed, and no more: so it is the same run, and goes on. Raises
    `RunError` for a file of claims that is none, and where another start of the same date lives and was given none of
    these files: only one of the two could be published.
    """
    assert run.follows is not None
    store, ours = store_of(run.output), (run.partition, run.follows + 1)
    digests = [_digest(key) for key in files]
    while True:
        number, open_ = _look(store)
        now = lease.clock(store) if open_ else 0.0
        _refuse_beside(store, open_, ours, set(digests), now)
        if _end_dead(store, open_, ours, set(digests), now, run.placed):
            continue
        # Coverage is asked after the claims: what was claimed and published in between is in one of them.
        found = _shared(covered(), open_, ours, files, digests)
        if not found.fresh:
            return found
        claimed = tuple(digest for is_ours, digest in zip(found.files, digests, strict=True) if is_ours)
        if _write(store, number + 1, (*open_, _Claim(*ours, lease.clock(store), claimed))):
            return found


def look(run: Run, files: list[Key], covered: Callable[[], Covered]) -> Taken:
    """What `take` would give, for who only asks: nothing is claimed, and dead claims stay. Raises as `take`."""
    assert run.follows is not None
    store, ours = store_of(run.output), (run.partition, run.follows + 1)
    digests, now = [_digest(key) for key in files], time.time()  # the clock of the store is asked by writing a file
    open_ = _look(store)[1]
    _refuse_beside(store, open_, ours, set(digests), now)
    living = tuple(each for each in open_ if (each.partition, each.number) == ours or _lives(store, each, now))
    return _shared(covered(), living, ours, files, digests)._replace(fresh=False)


def _shared(
    known: Covered, claims: tuple[_Claim, ...], ours: tuple[str, int], files: list[Key], digests: list[str]
) -> Taken:
    """Which of the files are ours beside these claims; `fresh` where they are to be claimed."""
    holder = {digest: claim.partition for claim in claims for digest in claim.files}
    own = {digest for claim in claims if (claim.partition, claim.number) == ours for digest in claim.files}
    asked = list(zip((key not in known for key in files), digests, strict=True))
    mine = [new and digest in own for new, digest in asked]
    free = [new and digest not in holder for new, digest in asked]
    held = Counter(holder[digest] for new, digest in asked if new and digest in holder and digest not in own)
    if any(mine):
        return Taken(known, mine, held, sum(free), fresh=False)
    return Taken(known, free, held, 0, fresh=any(free))


def give_up(run: Run) -> None:
    """End the claim of a run that cannot begin: no start of it can be published, and others may take its files."""
    assert run.follows is not None
    if not begun(run):  # a start before or beside this one shares the claim
        _end(store_of(run.output), run.partition, run.follows + 1, run.placed)


def begun(run: Run) -> bool:
    """Whether any start of the partition's next version has begun to work, dead or alive."""
    assert run.follows is not None
    return bool(_attempts(store_of(run.output), run.partition, run.follows + 1))


def at_work(run: Run) -> bool:
    """Whether a start of the partition's next version is planned or at work, be it one that claims or not."""
    assert run.follows is not None
    store, ours = store_of(run.output), (run.partition, run.follows + 1)
    own = [each for each in _look(store)[1] if (each.partition, each.number) == ours]
    return any(_at_work(store, each, lease.clock(store)) for each in own or [_Claim(*ours, 0.0, ())])


def _digest(key: Key) -> str:
    path, *more = key
    return hashlib.blake2b(orjson.dumps((storage.resolved(path), *more)), digest_size=12).hexdigest()


def spent(store: Store) -> dict[str, int]:
    """Files of claims that do not count any more, but the newest few → bytes; those that were emptied left out."""
    found: dict[str, int] = {}
    last = _newest(store) - KEPT
    for name in sorted(store.names(FOLDER), reverse=True):
        if (file := _FILE.fullmatch(name)) and int(file[1]) <= last:
            path = f"{FOLDER}/{name}"
            if not (size := storage.size(store.uri(path))):
                break  # they are emptied from the first one on
            found[path] = size
    return found


def empty(store: Store) -> None:
    """Take away what files of claims say that do not count any more; their names stay.

    Whoever looked when one of them was the newest, and comes back, finds the next number taken.
    """
    for name in sorted(spent(store)):
        storage.put(store.uri(name), b"")


def _look(store: Store) -> tuple[int, tuple[_Claim, ...]]:
    """The number of the newest file of claims, and those of its claims of which the version is not decided."""
    number, claims = _newest(store), None
    while claims is None:
        claims = _read(store, number)
        if claims is None and number == (number := _newest(store)):
            raise _none(store, number)
    return number, tuple(each for each in claims if not store.exists(version_name(each.partition, each.number)))


def _newest(store: Store) -> int:
    """The number of the newest file of claims, 0 where there is none.

    A listing, which may lag, says where to begin to ask for names, lest files that are gone hide those behind them.
    """
    found = (_FILE.fullmatch(name) for name in store.names(FOLDER))
    listed = max((int(each[1]) for each in found if each), default=0)
    return listed + highest(lambda beyond: store.exists(_name(listed + beyond)))


def _refuse_beside(
    store: Store, claims: tuple[_Claim, ...], ours: tuple[str, int], asked: set[str], now: float
) -> None:
    """Raise `RunError` where a start of our own version is at work that was given none of the files asked for."""
    for claim in claims:
        if (claim.partition, claim.number) == ours and asked.isdisjoint(claim.files) and _at_work(store, claim, now):
            raise RunError(
                f"another start of {claim.partition} labels other files and was given none of these: wait for it, and "
                "start this one again; where that one was killed, ten minutes later"
            )


def _end_dead(
    store: Store,
    claims: tuple[_Claim, ...],
    ours: tuple[str, int],
    asked: set[str],
    now: float,
    placed: Placed | None,
) -> bool:
    """End the claims of others to files asked for that are dead; whether there was one, and to look again."""
    rivals = [each for each in claims if (each.partition, each.number) != ours and not asked.isdisjoint(each.files)]
    dead = [each for each in rivals if not _lives(store, each, now)]
    for claim in dead:
        _end(store, claim.partition, claim.number, placed)
    return bool(dead)


def _lives(store: Store, claim: _Claim, now: float) -> bool:
    """Whether a sign has come lately from any start of a run that works for a version."""
    begun = _attempts_at(store, claim)
    signs = [(claim.since, None), *((lease.usage(uri)[2] or 0.0, uri) for uri in begun)]
    return any(lease.is_living(uri, abs(now - sign)) for sign, uri in signs)  # a clock may have been put back


def _at_work(store: Store, claim: _Claim, now: float) -> bool:
    """Whether a start of a run for a version renews its lease, or is planned: who has failed and ended does neither."""
    begun = _attempts_at(store, claim)
    signs: list[tuple[float, str | None]] = [
        (sign, each) for each in begun if (sign := lease.renewed(each)) is not None
    ]
    if all(claim.since > (lease.usage(each)[2] or 0.0) for each in begun):  # nobody has worked by it yet
        signs.append((claim.since, None))
    return any(lease.is_living(uri, abs(now - sign)) for sign, uri in signs)


def _attempts_at(store: Store, claim: _Claim) -> list[str]:
    return [store.uri(each) for each in _attempts(store, claim.partition, claim.number)]


def _attempts(store: Store, partition: str, number: int) -> list[str]:
    """The attempts at a version."""
    folder = attempts(partition)
    return [f"{folder}/{name}" for name in store.names(folder) if name.endswith(f"-v{number}")]


def _end(store: Store, partition: str, number: int, placed: Placed | None) -> None:
    """Take the version that a night is for, so that it is over, unless that is decided meanwhile.

    Raises `RunError` where that is not the next one: nobody claims for another.
    """
    at = commit.recover(store, partition, placed)
    if number > at + 1:
        raise RunError(
            f"{store.uri(FOLDER)} has a claim for version {number} of {partition}, of which {at} is the newest"
        )
    if at < number:
        commit.bar(store, partition, at, stage_name(partition, at + 1), NOTHING)


def _read(store: Store, number: int) -> list[_Claim] | None:
    """The claims that a file says; None where it was emptied. Raises `RunError` for a file that says something else."""
    if not number:
        return []
    data = store.read(_name(number))
    if data == b"":
        return None
    try:
        said = orjson.loads(data or b"")
    except orjson.JSONDecodeError:
        said = None
    claims = said.get("claims") if isinstance(said, dict) else None
    if not isinstance(claims, list) or not all(map(_is_claim, claims)):
        raise _none(store, number)
    return [_Claim(each["partition"], each["number"], each["since"], tuple(each["files"])) for each in claims]


def _none(store: Store, number: int) -> RunError:
    return RunError(f"{store.uri(_name(number))} says no claims, and this program did not write it; move it away")


def _is_claim(said: Any) -> bool:
    """Whether something that was read is a claim, of a partition that nights have."""
    return (
        isinstance(said, dict)
        and isinstance(said.get("partition"), str)
        and _NIGHT.fullmatch(said["partition"]) is not None
        and type(said.get("number")) is int
        and 0 < said["number"] < _MOST
        and isinstance(said.get("since"), float | int)
        and isinstance(said.get("files"), list)
        and all(isinstance(each, str) for each in said["files"])
    )


def _write(store: Store, number: int, claims: tuple[_Claim, ...]) -> bool:
    """Create the next file of claims, the last of which is new; False where another run has, or has ended its version.

    Who is late for a version finds its scratch folder tidied away.
    """
    said = {"claims": [asdict(each) for each in claims]}
    scratch = stage_name(claims[-1].partition, claims[-1].number)
    store.open(scratch, ())
    created = False
    with suppress(FileNotFoundError):
        created = store.create(_name(number), orjson.dumps(said), scratch)
    store.close(scratch)
    return created


def _name(number: int) -> str:
    return f"{FOLDER}/{number:08d}.json"
