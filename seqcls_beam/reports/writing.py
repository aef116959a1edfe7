"""Which pages of an output folder are written, and where.

    OUT/_report/report.html                       a run
    OUT/_report/run_date=2026-11-20/report.html   a night
    OUT/_report/day=2026-11-20/report.html        the windows of a day of a stream
    OUT/_report/index.html                        nights, or days, beside each other

A page is written whole or not at all. Nothing that is published is touched, and no reader of the table looks there.
"""

from dataclasses import replace
from typing import Any

import orjson

from seqcls_beam import storage
from seqcls_beam.evaluation import document
from seqcls_beam.reports import classify, evaluate, finetune, found, nights, prepare
from seqcls_beam.reports.found import Folder
from seqcls_beam.reports.merging import merged
from seqcls_beam.reports.pages import Page, rows_of
from seqcls_beam.reports.rendering import html
from seqcls_beam.reports.sample import Sample, rejects, sample
from seqcls_beam.runs.approval import Approval, approval
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.shapes import as_written
from seqcls_beam.runs.table import Published
from seqcls_beam.runs.versions import FOLDER as VERSIONS
from seqcls_beam.schema import PARTITION

FOLDER = "_report"
_INDEX = "index.html"
DAYS = 7
"""Of a stream whose pages are written at a time."""
_USUAL = 7  # nights before that say what is usual
_DAY = "day="
_WINDOWS = 2000  # whose manifests are read for the index of a stream


def write(output: str, which: str = "", texts: bool = True) -> str:
    """Write the page of a folder, and where it has partitions also the index; where the page is.

    `which` is a partition, or `day=2026-11-20` of a stream; by default the last there is. Raises `RunError` where
    nothing is published there, `OSError` where it cannot be written.
    """
    return write_in(found.look(output), which, texts)


def write_in(folder: Folder, which: str = "", texts: bool = True) -> str:
    """`write`, of a folder that was looked into."""
    which = which or last(folder)
    place = _write(folder, which, texts)
    if which:
        _write_index(folder)
    return place


def there(output: str, partition: str, run_id: str) -> str | None:
    """Where the page of a run is; None where that, or of a night its place in the index, is of an earlier one."""
    uri = storage.absolute(output)
    place = _place(uri, partition)
    told = {place: run_id, **({storage.join(uri, FOLDER, _INDEX): f"{partition}/"} if partition else {})}
    try:
        whole = all(word.encode() in storage.read(page) for page, word in told.items())
    except FileNotFoundError:
        return None
    return place if whole else None


def write_days(output: str, windows: set[str], texts: bool = True) -> str:
    """Write the pages of the days of some windows of a stream, and the index; where that is. Raises as `write`.

    Of many days these are the last `DAYS`: a stream that catches up with a year is not held up by its pages.
    """
    folder = found.look(output)
    days = [day for day, names in sorted(found.days(folder).items()) if not windows.isdisjoint(names)]
    for day in days[-DAYS:]:
        _write(folder, f"{_DAY}{day}", texts)
    return _write_index(folder)


def _write(folder: Folder, which: str, texts: bool) -> str:
    place = _place(folder.uri, which)
    storage.put(place, page(folder, which, texts).encode())
    return place


def _place(uri: str, which: str) -> str:
    return storage.join(uri, FOLDER, *filter(None, [which]), "report.html")


def _write_index(folder: Folder) -> str:
    place = storage.join(folder.uri, FOLDER, _INDEX)
    with as_written(storage.without_password(storage.join(folder.uri, VERSIONS))):
        beside = html(index(folder))
    storage.put(place, beside.encode())
    return place


def last(folder: Folder) -> str:
    """What is the newest in a folder: its last partition, the last day of a stream, or "", which is all there is."""
    days = found.days(folder)
    return f"{_DAY}{max(days)}" if days else max(folder.partitions)


def page(folder: Folder, which: str, texts: bool = True) -> str:
    """The page of what is in a folder. Raises `RunError` where nothing is published there."""
    with as_written(storage.without_password(storage.join(folder.uri, VERSIONS, which))):
        if which.startswith(_DAY):
            return html(_day(folder, which.removeprefix(_DAY), texts))
        if which not in folder.partitions:
            raise _unknown(folder, which, list(folder.partitions))
        run = found.current(folder, which)
        if run is None:
            raise RunError(f"{which or folder.name} holds nothing: there is nothing to tell of")
        return html(_PAGES[run.manifest["kind"]](folder, run, texts and found.report_texts(run.manifest)))


def _classify(folder: Folder, run: Published, texts: bool) -> Page:
    """The page of a table, or of a night, which is measured against the night before it."""
    partition = run.version.partition
    before, usual = found.replaced(folder, run), []
    name = f"version {before.version.number}" if before is not None else ""
    for each in found.earlier(folder, partition, _USUAL) if partition else []:
        night = found.current(folder, each)
        if night is None:
            continue
        usual.append(night.manifest["rows"]["in"])
        if len(usual) == 1:
            before, name = night, _date(each)
    return classify.page(
        run,
        " ".join(filter(None, [folder.name, _date(partition)])),
        sample([run], texts),
        classify.Before(before, name) if before is not None else None,
        usual,
        _why(approval(folder.store), run),
        texts,
        (("all nights", f"../{_INDEX}"),) if partition else (),
    )


def _prepare(folder: Folder, run: Published, texts: bool) -> Page:
    return prepare.page(run, folder.name, Sample(rejects=rejects(run.uris("rejects")) if texts else []))


def _evaluate(folder: Folder, run: Published, texts: bool) -> Page:
    told = _read(run, document.NAME)
    if not texts:
        for row in told["worst"]:
            row.pop("text", None)
            row.pop("text_pair", None)
    return evaluate.page(told)


def _finetune(folder: Folder, run: Published, texts: bool) -> Page:
    history = _read(run, "metrics.json").get("history", [])
    return finetune.page(run.manifest, history, folder.name, f"version {run.version.number}")


def _read(run: Published, name: str) -> dict[str, Any]:
    """A file of JSON among those that a version names."""
    names = [each["path"] for each in run.manifest["parts"]]
    place = run.locations()[names.index(name)]
    told: dict[str, Any] = orjson.loads(storage.read(run.store.uri(place)))
    return told


_PAGES = {"classify": _classify, "prepare": _prepare, "evaluate": _evaluate, "finetune": _finetune}


def _day(folder: Folder, day: str, texts: bool) -> Page:
    """The page of a day of a stream: its windows together, measured against the day before it."""
    days = found.days(folder)
    if day not in days:
        raise _unknown(folder, f"{_DAY}{day}", [f"{_DAY}{each}" for each in days])
    windows = _windows(folder, days[day])
    earlier = [each for each in sorted(days, reverse=True) if each < day][:1]
    before = _windows(folder, days[earlier[0]]) if earlier else []
    made = classify.page(
        _together(windows),
        f"{folder.name} {day}",
        sample(windows, texts),
        classify.Before(_together(before), earlier[0]) if before else None,
        texts=texts,
        links=(("all days", f"../{_INDEX}"),),
    )
    told = tuple(each for each in made.made if each[0] != "version")  # each window has its own
    return replace(made, command=f"A day of a stream, {rows_of(len(windows), 'window')}", made=told)


def _unknown(folder: Folder, which: str, names: list[str]) -> RunError:
    there = sorted(filter(None, names))
    told = f": it has {there[0]}" + f" … {there[-1]}" * (len(there) > 1) if there else ", and no partitions at all"
    return RunError(f"{folder.name} holds no {which}{told}")


def _windows(folder: Folder, names: list[str]) -> list[Published]:
    runs = storage.each(lambda name: found.current(folder, name), names)
    there = [run for run in runs if run is not None]
    if not there:
        raise RunError(f"the windows of that day in {folder.name} hold nothing")
    return there


def _together(windows: list[Published]) -> Published:
    return replace(windows[-1], manifest=merged(windows))


def index(folder: Folder) -> Page:
    """The page that has all nights, or all days of a stream, beside each other."""
    days = found.days(folder)
    pages = set(storage.names(storage.join(folder.uri, FOLDER)))
    judged = approval(folder.store)
    made = []
    names = sorted(days or [name for name in folder.partitions if name.startswith(f"{PARTITION}=")])
    for name in _last_of(names, days):  # one after the other: manifests of large runs are large
        run = _together(_windows(folder, days[name])) if days else found.current(folder, name)
        own = f"{_DAY}{name}" if days else name
        place = f"{own}/report.html" if own in pages else None
        if run is not None:
            made.append(nights.night(_date(name), run.manifest, _why(judged, run), place))
    if not made:
        raise RunError(f"{folder.name} has no nights")
    return nights.page(folder.name, made, len(names), "day" if days else "night")


def _last_of(names: list[str], days: dict[str, list[str]]) -> list[str]:
    """As many of the last nights, or days, as are shown; of days no more than have `_WINDOWS` windows together."""
    few, left = names[-nights.MOST :], _WINDOWS
    for place in range(len(few) - 1, 0, -1):
        left -= len(days.get(few[place], ()))
        if left <= 0:
            return few[place:]
    return few


def _why(judged: Approval, run: Published) -> list[str]:
    """Why a version did not pass, where that was judged."""
    partition, number = run.version.partition, run.version.number
    return judged.failed[partition][1] if judged.refuses(partition, number) else []


def _date(partition: str) -> str:
    """What people call a partition."""
    return partition.rpartition("=")[2]
