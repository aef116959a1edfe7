"""Which nights are to be made, and which folders of a dated inbox each of them looks into."""

import datetime
import os
import re
from dataclasses import replace

from seqcls_beam import storage
from seqcls_beam.config.classify import ReadOptions, RunOptions
from seqcls_beam.config.dates import filled, for_any_date, has_date, parse_dates
from seqcls_beam.reading.files import Listing, find
from seqcls_beam.reading.matching import match, split
from seqcls_beam.runs.covered import missing
from seqcls_beam.runs.store import Store, store_of
from seqcls_beam.runs.versions import FOLDER, newest, read_version
from seqcls_beam.schema import PARTITION

_NIGHT = re.compile(rf"{PARTITION}=(\d{{4}}-\d{{2}}-\d{{2}})", re.ASCII)


def due(options: RunOptions) -> list[datetime.date]:
    """The nights that a run is to make, in order: those it was asked for, and before them what is to be caught up.

    That is nights of the `catch_up` days before that are not published, or of which parts are gone, from the first one
    on that ever began. Raises `RunError` for a version that is none.
    """
    assert options.run_date is not None
    asked = parse_dates("run_date", options.run_date)
    store = store_of(storage.absolute(options.output))
    days = _days_before(store, asked[0], options.catch_up)
    return [*(day for day in days if not _is_published(store, day, whole=True)), *asked]


def find_dated(read: ReadOptions, run: RunOptions) -> Listing:
    """The files of an input, where {date} stands for the night, which is one.

    With `only_new` there may be none of that date, as long as there are some of any; and files of the `catch_up` days
    before are among them, where the nights of these are published. Raises as `find` does.
    """
    dated = [pattern for pattern in read.input if has_date(pattern)]
    if run.run_date is None or not any(map(has_date, (*read.input, *read.exclude))):
        return find(read)
    (night,) = parse_dates("run_date", run.run_date)
    store = store_of(storage.absolute(run.output))
    # One of which parts are gone keeps the files that it was made of, and late ones are none of these.
    late = [day for day in _days_before(store, night, run.catch_up) if _is_published(store, day)] if dated else []
    nights = [night, *reversed(late)]
    listing = find(
        replace(
            read,
            input=tuple(dict.fromkeys(filled(pattern, day) for day in nights for pattern in read.input)),
            exclude=tuple(dict.fromkeys(filled(pattern, day) for day in nights for pattern in read.exclude)),
        ),
        may_be_idle={filled(pattern, day) for day in nights for pattern in dated} if run.only_new else (),
    )
    listing = listing._replace(unused=tuple(each for each in listing.unused if each in read.exclude))
    for pattern in listing.idle:
        _refuse_lost(pattern)
    for pattern in dated:
        if all(filled(pattern, day) in listing.idle for day in nights):
            _refuse_misspelled(pattern, night)
    return listing


def _refuse_lost(pattern: str) -> None:
    """Raise `FileNotFoundError` where a pattern finds nothing because its folder is none: a disk may be gone."""
    path = storage.absolute(pattern)
    if not storage.is_local(path):
        return
    folder = split(storage.local_path(path))[0].rstrip("/")
    while folder and not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if folder and not os.path.isdir(folder):
        what = "is a link that leads nowhere" if os.path.islink(folder) else "is no folder"
        raise FileNotFoundError(f"--input={pattern} finds nothing: {storage.named(folder)} {what}")


def _refuse_misspelled(pattern: str, night: datetime.date) -> None:
    """Raise `FileNotFoundError` for a pattern that finds no files of any date."""
    if not any(each.info for each in match(for_any_date(pattern))):
        shown = storage.without_password(pattern)
        raise FileNotFoundError(f"--input={shown} matches no file, neither of {night} nor of any other date")


def _days_before(store: Store, night: datetime.date, count: int) -> list[datetime.date]:
    """Days before a night, in order; none before the first night that began."""
    began = [
        found[1]
        for folder in (FOLDER, "_attempts")
        for name in (store.names(folder) if count else ())
        if (found := _NIGHT.fullmatch(name))
    ]
    last = night.toordinal()
    before = map(datetime.date.fromordinal, range(max(1, last - count), last))
    return [day for day in before if began and min(began) <= day.isoformat()]


def _is_published(store: Store, day: datetime.date, whole: bool = False) -> bool:
    """Whether a night is published, or was and its rows were taken away; a version may also say nothing.

    `whole` asks for its parts, too, by their names alone, as `covered` does: a night that was due for another reason
    than the one for which it is made again would come up for ever.
    """
    partition = f"{PARTITION}={day}"
    number = newest(store, partition)
    if not number:
        return False
    version, manifest = read_version(store, partition, number)
    if manifest["kind"] == "nothing":
        return bool(manifest.get("inputs"))
    return not whole or missing(store, version, manifest) is None
