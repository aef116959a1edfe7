"""The work of `pipelines.announce`: the newest version of every partition, told to platforms that are remembered."""

from collections import Counter
from contextlib import suppress

from pipelines import announcing, interrupts, outcome
from pipelines.command import say, warn
from pipelines.failures import sentence
from pipelines.terminal import announce as terminal
from seqcls_beam import storage
from seqcls_beam.announcing import platforms
from seqcls_beam.announcing.platforms import Where
from seqcls_beam.announcing.published import PlatformError
from seqcls_beam.config.announce import AnnounceOptions, PlatformOptions
from seqcls_beam.config.dates import parse_date
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import called, partitions, read_newest
from seqcls_beam.schema import PARTITION

_ENOUGH = 2
"""Versions in a row of which a platform says the same that is wrong: then it is the platform."""


def look(options: AnnounceOptions, named: PlatformOptions) -> tuple[list[str], dict[str, str]]:
    """The partitions to tell of, and the platforms that were named. Raises `RunError` where nothing is published."""
    where = platforms.named(named, options.output)
    store = store_of(storage.absolute(options.output))
    found = partitions(store)
    if not found:
        read_newest(store)  # refuses an output of an earlier layout
        raise RunError(f"{options.output} holds nothing that a command published")
    if options.run_date is None:
        return found, where
    night = f"{PARTITION}={parse_date('run_date', options.run_date)}"
    if night not in found:
        raise RunError(f"{options.output} has no {night}: the first is {found[0]}, the last {found[-1]}")
    return [night], where


def tell(output: str, found: list[str], named: Where) -> int:
    """Tell of each partition, whatever becomes of the others; the exit code."""
    failed = told = 0
    unsaid: set[tuple[str, str]] = set()
    asked = set(named)
    wrong: Counter[tuple[str, str]] = Counter()  # (platform, what it said), as long as it says nothing else
    for partition in found:
        interrupts.check()
        try:
            announced = platforms.newest_of(output, partition)
            if announced is None:
                continue
        except (RunError, OSError) as error:
            failed += 1
            warn(f"{called(partition)} is told nobody: {sentence(error)}")
            continue
        where, doubts = platforms.believed(output, announced.manifest, named)
        down = {name: why for (name, why), count in wrong.items() if count >= _ENOUGH}
        due = platforms.due(where, announced.manifest)
        not_told = announcing.tell({name: place for name, place in due.items() if name not in down}, announced)
        for name in due.keys() - down.keys():
            for key in [each for each in wrong if each != (name, not_told.get(name)) and each[0] == name]:
                del wrong[key]
            if name in not_told:
                wrong[name, not_told[name]] += 1
        left = {name: f"left out, as it said before: {why}" for name, why in down.items() if name in due}
        became = {name: {**left, **not_told}.get(name, announcing.TOLD) for name in due}
        failed += bool(doubts or left or not_told)
        unsaid.update((name, due[name]) for name in {**left, **not_told})
        with suppress(PlatformError):
            there = platforms.remembered(announced.manifest)
            unsaid.update((name, place) for name, place in there.items() if name not in where)
        told += bool(due)
        asked.update(where)
        outcome.append(
            "versions",
            partition=partition,
            version=announced.version,
            run_id=announced.manifest["run_id"],
            platforms=became,
        )
        terminal.told(called(partition), announced.version, [name for name in due if became[name] == announcing.TOLD])
        for doubt in doubts:
            warn(f"{called(partition)}: {doubt}")
        for name, why in not_told.items():
            warn(f"{called(partition)}: {name} was not told: {why}")
        for name in left:
            warn(f"{called(partition)}: {name} was left out, which said the same of {_ENOUGH} versions")
    if failed:
        how = announcing.again(output, announcing.alike(unsaid), found[0] if len(found) == 1 else "")
        return say(f"not all could be told: {how} tells it again", 1)
    if not told and asked:
        return say(f"nothing in {storage.without_password(output)} is for {', '.join(sorted(asked))}", 0)
    if not told:
        return say(
            f"no platform is named, and none is remembered in {storage.without_password(output)}: give one, such as "
            "--openlineage=http://host:5000",
            2,
        )
    return 0
