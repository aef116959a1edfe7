"""What one night takes of the input no other night takes: files are claimed before any of them is read.

    OUT/_claims/00000007.json      {claims: [{partition, number, since, files: [digest, …]}, …]}

The newest of these is all that counts. Each says every claim that may still hold, and is created only if there is none
of its number, so of several nights that look at once one claims, and the others look again. A claim is for one version
of one partition. It ends when that version is decided, whoever decides it: by the night itself, and then its files are
covered; or, where no sign of life has come from the night for `lease.EXPIRES` seconds, by another one that bars the
version (`commit.bar`) before it takes the files. A night that was only halted and wakes then can publish nothing,
whatever its clock says.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import orjson

from seqcls_beam.runs import commit, lease
from seqcls_beam.runs.covered import Covered, Key
from seqcls_beam.runs.run import Run, RunError, attempts
from seqcls_beam.runs.store import Store, store_of
from seqcls_beam.runs.versions import NOTHING, highest, stage_name, version_name
from seqcls_beam.schema import PARTITION

FOLDER = "_claims"
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
    `RunError` for a file of claims that is none.
    """
    assert run.follows is not None
    store, ours = store_of(run.output), (run.partition, run.follows + 1)
    digests = [_digest(key) for key in files]
    while True:
        number, open_ = _look(store)
        if _end_dead(store, open_, ours):
            continue
        known = covered()  # asked after the claims: what was claimed and published in between is in one of them
        holder = {digest: claim.partition for claim in open_ for digest in claim.files}
        own = {digest for claim in open_ if (claim.partition, claim.number) == ours for digest in claim.files}
        new = [key not in known for key in files]
        mine = [fresh and digest in own for fresh, digest in zip(new, digests, strict=True)]
        free = [fresh and digest not in holder for fresh, digest in zip(new, digests, strict=True)]
        held = Counter(
            holder[digest]
            for fresh, digest in zip(new, digests, strict=True)
            if fresh and digest in holder and digest not in own
        )
        if any(mine):
            return Taken(known, mine, held, sum(free), fresh=False)
        if not any(free):
            return Taken(known, free, held, 0, fresh=False)
        claimed = tuple(digest for is_free, digest in zip(free, digests, strict=True) if is_free)
        if _write(store, number + 1, (*open_, _Claim(*ours, lease.clock(store), claimed))):
            return Taken(known, free, held, 0, fresh=True)


def give_up(run: Run) -> None:
    """End the claim of a run that cannot begin: no start of it can be published, and others may take its files."""
    assert run.follows is not None
    if not begun(run):  # a start before or beside this one shares the claim
        _end(store_of(run.output), run.partition, run.follows + 1)


def begun(run: Run) -> bool:
    """Whether any start of the partition's next version has begun to work, dead or alive."""
    assert run.follows is not None
    return bool(_attempts(store_of(run.output), run.partition, run.follows + 1))


def _digest(key: Key) -> str:
    return hashlib.blake2b(orjson.dumps(key), digest_size=12).hexdigest()


def _look(store: Store) -> tuple[int, tuple[_Claim, ...]]:
    """The number of the newest file of claims, and those of its claims of which the version is not decided."""
    number = highest(lambda number: store.exists(_name(number)))
    claims = _read(store, number)
    return number, tuple(each for each in claims if not store.exists(version_name(each.partition, each.number)))


def _end_dead(store: Store, claims: tuple[_Claim, ...], ours: tuple[str, int]) -> bool:
    """End the claims of others that are dead; whether there was one, and claims must be looked at again."""
    dead = [each for each in claims if (each.partition, each.number) != ours and not _lives(store, each)]
    for claim in dead:
        _end(store, claim.partition, claim.number)
    return bool(dead)


def _lives(store: Store, claim: _Claim) -> bool:
    """Whether a sign has come lately from any start of a run that works for a version."""
    now = lease.clock(store)
    signs = [lease.usage(store.uri(each))[2] for each in _attempts(store, claim.partition, claim.number)]
    return abs(now - max([claim.since, *filter(None, signs)])) < lease.EXPIRES  # a clock may have been put back


def _attempts(store: Store, partition: str, number: int) -> list[str]:
    """The attempts at a version."""
    folder = attempts(partition)
    return [f"{folder}/{name}" for name in store.names(folder) if name.endswith(f"-v{number}")]


def _end(store: Store, partition: str, number: int) -> None:
    """Take the version that a night is for, so that it is over, unless that is decided meanwhile.

    Raises `RunError` where that is not the next one: nobody claims for another.
    """
    at = commit.recover(store, partition)
    if number > at + 1:
        raise RunError(
            f"{store.uri(FOLDER)} has a claim for version {number} of {partition}, of which {at} is the newest"
        )
    if at < number:
        commit.bar(store, partition, at, stage_name(partition, at + 1), NOTHING)


def _read(store: Store, number: int) -> list[_Claim]:
    if not number:
        return []
    name = _name(number)
    try:
        said = orjson.loads(store.read(name) or b"")
    except orjson.JSONDecodeError:
        said = None
    claims = said.get("claims") if isinstance(said, dict) else None
    if not isinstance(claims, list) or not all(map(_is_claim, claims)):
        raise RunError(f"{store.uri(name)} says no claims, and this program did not write it; move it away")
    return [_Claim(each["partition"], each["number"], each["since"], tuple(each["files"])) for each in claims]


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
