"""What a scheduled run takes of the files that it finds, and what is told of the others."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.runs import claims
from seqcls_beam.runs.columns import Shape
from seqcls_beam.runs.covered import Covered, Key, Names, key_of
from seqcls_beam.runs.publication import current, unpublishable, writing
from seqcls_beam.runs.run import Run, RunError
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.versions import read_version


class Night(NamedTuple):
    """What is new to a run."""

    run: Run  # the same, which may replace a partition whose parts are gone
    files: pa.RecordBatch  # UNIT rows of whole files
    claimed: bool  # whether the files were claimed just now
    said: tuple[str, ...]  # sentences about the others, and about files that are read again
    there: dict[str, Shape]  # partition → what its rows look like, for who plans the run


def new_files(run: Run, files: pa.RecordBatch, read: dict[str, Any], claim: bool = True) -> Night:
    """Claim the files, UNIT rows, that no version under the output covers and no living run works on.

    None is, where the partition was labelled already and is not to be replaced, even if its rows were taken away since:
    a date is labelled once. `read` says how files are read. Raises `RunError`, with nothing claimed, where the run
    could not be published, or where parts of the partition are gone and files that it was made of are, too. Who only
    asks does not `claim`, and then nothing is written.
    """
    store, keys = store_of(run.output), [key_of(row) for row in files.to_pylist()]
    before = made_of(run)
    names = Names(before)
    there = {name for key in keys for name in (key, names.of(key))}
    done = bool(before)
    if done and not run.overwrite:
        known = Covered(store, read, carry_out=claim, placed=run.placed)
        if run.partition not in known.gone:
            new = sum(key not in known for key in keys)
            return Night(run, files.slice(0, 0), False, (*_late(run, new), *_gone(known)), known.shapes)
        _refuse_partial(run, known.gone[run.partition], before, there)
        run = replace(run, overwrite=True)
    if reason := unpublishable(run):
        raise RunError(reason)
    with writing(run.output):
        take = claims.take if claim else claims.look
        out = run.partition if done else None
        taken = take(run, keys, lambda: Covered(store, read, out, claim, run.placed))
    known = taken.covered
    of_files = (_again, _changed, _known, _moved)
    said = [*(each for say in of_files for each in say(keys, taken.files, known)), *_gone(known), *_held(taken.held)]
    lacking = [key[0] for key in before if key not in there] if run.overwrite else []
    if lacking:
        said.append(
            f"{_count(len(lacking))} that {run.partition} was made of, such as {lacking[0]}, changed since or "
            f"{'is' if len(lacking) == 1 else 'are'} not among --input: the rows of before go"
        )
    if taken.late:
        said.append(f"{_count(taken.late)} came after this run was first started: left to the next one")
    return Night(run, files.filter(pa.array(taken.files, pa.bool_())), taken.fresh, tuple(said), known.shapes)


def made_of(run: Run) -> list[Key]:
    """The files that the partition covers, even if their rows were taken away; none where no night labelled any."""
    if not run.follows:
        return []
    manifest = read_version(store_of(run.output), run.partition, run.follows)[1]
    return [key_of(each) for each in manifest.get("inputs", [])]


def _refuse_partial(run: Run, part: str, before: list[Key], there: set[Key]) -> None:
    lacking = [key[0] for key in before if key not in there]
    if lacking:
        more = f" and {len(lacking) - 1:,} more" if len(lacking) > 1 else ""
        raise RunError(
            f"{part} is gone, and of the files that {run.partition} was made of {lacking[0]}{more} changed since, or "
            "--input does not find it: give --overwrite to label what there is"
        )


def _late(run: Run, new: int) -> Iterator[str]:
    if new:
        yield (
            f"{run.partition} {_state(run)}; {_count(new)} came since: a later date takes them (of a dated inbox one "
            "whose --catch_up reaches so far), or this one, labelled again, with --overwrite"
        )


def _state(run: Run) -> str:
    return "is published" if current(run) is not None else "was published, and its rows taken away"


def _gone(known: Covered) -> Iterator[str]:
    for partition, part in known.gone.items():
        date = partition.partition("=")[2]
        yield f"{part} is gone, and a version names it: start that night again, with --run_date={date}"


def _held(held: dict[str, int]) -> Iterator[str]:
    for partition, files in held.items():
        yield (
            f"{_count(files)} left to the run that labels them for {partition}; where that one failed, start it again, "
            "or any other date ten minutes later"
        )


def _again(keys: list[Key], taken: list[bool], known: Covered) -> Iterator[str]:
    """What is said of files that an earlier run could not read whole, and that are read otherwise now."""
    again = [
        name for key, ours in zip(keys, taken, strict=True) if ours and (name := known.names.of(key)) in known.files
    ]
    unread = [key[0] for key in again if key in known.unread]
    if unread:
        yield f"{_count(len(unread))} of which nothing could be read before, such as {unread[0]}: tried again"
    paths = [key[0] for key in again if key not in known.unread]
    if paths:
        yield (
            f"{_count(len(paths))} of which an earlier run lost rows, such as {paths[0]}, "
            "are read otherwise now, and whole: rows of them that it labelled are labelled again"
        )


def _changed(keys: list[Key], taken: list[bool], known: Covered) -> Iterator[str]:
    """What is said of files that are called as one that was labelled, and have another size or version."""
    changed = [
        (key[0], partition)
        for key, ours in zip(keys, taken, strict=True)
        if ours
        and known.names.of(key) not in known.files
        and (partition := known.by_path.get(key[0]) or known.by_path.get(storage.resolved(key[0])))
    ]
    if changed:
        path, partition = changed[0]
        yield (
            f"{_count(len(changed))} that an earlier run labelled changed since, such as {path} (labelled in "
            f"{partition}): labelled whole again; the rows of before stay where they are"
        )


def _known(keys: list[Key], taken: list[bool], known: Covered) -> Iterator[str]:
    """What is said of files that an earlier run labelled under another name."""
    others = [
        (key[0], name)
        for key, ours in zip(keys, taken, strict=True)
        if not ours and key in known and (name := known.names.of(key)) != key
    ]
    if others:
        path, name = others[0]
        yield (
            f"{_count(len(others))} left out that an earlier run labelled under another name, such as {path}, which is "
            f"{name[0]} (labelled in {known.by_path[name[0]]})"
        )


def _moved(keys: list[Key], taken: list[bool], known: Covered) -> Iterator[str]:
    """What is said of files that may have been labelled under a name that leads nowhere now."""
    others = [
        (key[0], moved[0])
        for key, ours in zip(keys, taken, strict=True)
        if ours and key not in known and key[0] not in known.by_path and (moved := known.names.moved(key))
    ]
    if others:
        path, name = others[0]
        yield (
            f"{_count(len(others))} labelled that may have been labelled before, such as {path}: it has the size and "
            f"time of {name} (labelled in {known.by_path[name]}), which is gone, and a file that is moved is a new one"
        )


def _count(files: int) -> str:
    return f"{files:,} file{'s'[: files != 1]}"
