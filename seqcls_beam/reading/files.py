"""Patterns → the files that are read, and what was left out of what they find.

Whatever a pattern finds is read, or is known to be no data and told, or refuses: nothing is passed over in silence.
"""

import os
import shlex
from collections.abc import Container
from typing import Any, NamedTuple

import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading import standard_input
from seqcls_beam.reading.formats import detect
from seqcls_beam.reading.matching import Found, links, match, regex
from seqcls_beam.schema import UNIT


class Listing(NamedTuple):
    """The files of an input, and what was found beside them."""

    files: pa.RecordBatch  # UNIT rows of whole files: pattern by pattern, within a pattern by name, each file once,
    # by a name that takes no link if one of the patterns finds it by such a one
    skipped: tuple[str, ...]  # known to be no data; a folder ends in /
    repeated: tuple[str, ...]  # other names of what is read: links, hard links, folders that are mounted twice
    excluded: int  # files that `exclude` leaves out
    unused: tuple[str, ...]  # patterns of `exclude` that leave out nothing
    idle: tuple[str, ...] = ()  # patterns that find nothing, of those that may


def list_files(options: ReadOptions, option: str = "input") -> pa.RecordBatch:
    """The files of `find`."""
    return find(options, option).files


def find(options: ReadOptions, option: str = "input", may_be_idle: Container[str] = ()) -> Listing:
    """The files that the patterns of `options.input` find; `option` is what that is called on the command line.

    Patterns in `may_be_idle` may find nothing. Raises `FileNotFoundError` naming another one that finds nothing or a
    link that leads nowhere, `ValueError` where there is no pattern or a file is of no known format, and `OSError` where
    a store gives no listing.
    """
    if not options.input:
        raise ValueError(f"--{option} is empty: name at least one file or pattern")
    for pattern in options.input:
        if not pattern.strip():
            raise ValueError(
                f"--{option}={shlex.quote(pattern)} names nothing (an unset variable?); the working folder is ."
            )
    if not all(each.strip() for each in options.exclude):
        raise ValueError("--exclude names nothing (an unset variable?): leave it out")
    options = standard_input.taken(options, option)
    leave_out = _Excludes(options.exclude)
    excluded: set[str] = set()
    found = [(pattern, _sorted_out(pattern, option, leave_out, excluded)) for pattern in options.input]
    best = _best([each for _, those in found for each in those], options)
    rows: list[dict[str, Any]] = []
    skipped: dict[str, None] = {}
    repeated: dict[str, None] = {}
    foreign: list[tuple[str, str]] = []
    none: list[str] = []
    for pattern, those in found:
        if not any(each.info for each in those):
            if pattern not in may_be_idle:
                idle = list({each.real: each for each in those}.values())
                raise FileNotFoundError(_nothing(pattern, option, idle, leave_out))
            none.append(pattern)
        for each in those:
            if best[each.real] is not each:
                if each.path != best[each.real].path:  # else several patterns find it
                    repeated[storage.named(each.link or each.below)] = None
            elif each.info is None:
                skipped[storage.named(each.below)] = None
            else:
                try:
                    rows.append(_row(each, options))
                except ValueError as error:
                    foreign.append(("" if _is(each, pattern) else each.below, str(error)))
    if foreign:
        raise ValueError(_refusal(foreign))
    files = pa.RecordBatch.from_pylist(rows, UNIT)
    return Listing(files, tuple(skipped), tuple(repeated), len(excluded), leave_out.unused(), tuple(none))


def _sorted_out(pattern: str, option: str, leave_out: "_Excludes", excluded: set[str]) -> list[Found]:
    """What a pattern finds and nothing excludes; raises `FileNotFoundError` where some of it cannot be opened."""
    found: list[Found] = []
    for each in match(pattern):
        if leave_out.hold(each.below):
            excluded.add(each.real or each.path)
        elif each.why:
            cure = f"; --exclude={shlex.quote(storage.named(each.below.rstrip('/')))} leaves it out"
            shown = storage.without_password(pattern)
            raise FileNotFoundError(
                f"--{option}={shown}: {each.path} {each.why}{'' if _is(each, pattern) or option == 'labeled' else cure}"
            )
        else:
            found.append(each)
    return found


def _is(file: Found, pattern: str) -> bool:
    """Whether a file is what a pattern names outright."""
    return file.path == storage.absolute(pattern)


def _row(file: Found, options: ReadOptions) -> dict[str, Any]:
    format, compression = detect(file.path, options.input_format, options.txt)
    info = file.info or {}
    return {
        "path": file.path,
        "format": format,
        "compression": compression,
        "start": 0,
        "end": -1,
        "size": int(info["size"]),
        "version": storage.version(info),
    }


class _Excludes:
    """The patterns of `exclude`, and which of them were of use."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._patterns = {pattern: regex(pattern.rstrip("/") or pattern) for pattern in patterns}
        self.used: set[str] = set()

    def hold(self, below: str) -> bool:
        """Whether one of them matches a path, or the name of the file, as it is or as it is told."""
        if not self._patterns:
            return False
        bare = below.rstrip("/")
        parts = bare.split("/")
        above = {"/".join(parts[:count]) for count in range(1, len(parts))}  # a folder means what is in it
        names = {below, bare, parts[-1], *above, *parts[:-1]}
        names |= {storage.named(name) for name in names}
        hit = {pattern for pattern, known in self._patterns.items() if any(map(known.match, names))}
        self.used |= hit
        return bool(hit)

    def unused(self) -> tuple[str, ...]:
        return tuple(pattern for pattern in self._patterns if pattern not in self.used)


def _best(found: list[Found], options: ReadOptions) -> dict[str, Found]:
    """Of several names of a file one that says a format, and takes the fewest links; of these the first."""
    best: dict[str, Found] = {}
    for each in found:
        other = best.setdefault(each.real, each)
        if other.path != each.path and _rank(each, options) < _rank(other, options):
            best[each.real] = each
    return best


def _rank(file: Found, options: ReadOptions) -> tuple[bool, int]:
    try:
        detect(file.path, options.input_format, options.txt)
    except ValueError:  # as of what a link of the Hugging Face cache leads to
        return True, links(file.path)
    return False, links(file.path)


def _nothing(pattern: str, option: str, idle: list[Found], leave_out: _Excludes) -> str:
    """A pattern that finds no file → a sentence."""
    said = []
    if idle:
        some = storage.named(idle[0].below)
        said.append(f"{len(idle)} known to be no data, such as {some}, would be read where they are named")
    if leave_out.used:
        said.append("--exclude leaves files out")
    if "[" in pattern and not said:
        said.append("a [ that stands for itself is written [[]")
    why = f" ({'; '.join(said)})" if said else ""
    return f"--{option}={storage.without_password(pattern)} matches no file{why}"


def _refusal(foreign: list[tuple[str, str]]) -> str:
    """Files of no known format, each as it was found ("" outright) with what is said of it → a sentence."""
    name, said = foreign[0]
    base = name.rsplit("/", 1)[-1]
    extension = os.path.splitext(base)[1]
    leave_out = shlex.quote(storage.named(f"*{extension}" if extension else base))
    cure = f"; --exclude={leave_out} leaves {'such files' if extension else 'it'} out" if name else ""
    others = len(foreign) - 1
    more = f" ({others} more {'files are' if others > 1 else 'file is'} of no known format)" if others else ""
    return f"{said}{cure}{more}"
