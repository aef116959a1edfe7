"""A pattern → the names that match it, on the local disk, in a store or on the web.

What a pattern names outright is taken as it stands. Below that, names that are known to be no data are left out unless
a part of the pattern asks for them, as _* does. Knows names; of what is in files nothing.
"""

import os
import re
import stat
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from fsspec.utils import glob_translate

from seqcls_beam import storage
from seqcls_beam.reading.formats import COMPRESSIONS, no_data

_SIGNS = re.compile(r"[*?\[]")
_DISK = storage.connect("/")[0]
_NO_FILE = "is a pipe, a socket or a device, and no file"
_ALL = -1  # the state of a walk below a folder that matches: whatever is there does


class Found(NamedTuple):
    """A file that a pattern finds, or what stands in its place."""

    path: str  # URI
    below: str  # the path below what the pattern names outright, or where that is the file its name; a folder ends in /
    info: dict[str, Any] | None  # fsspec's, of what a link leads to; None where it is no file to be read …
    why: str = ""  # … because it cannot be, with the reason; or "": it is known to be no data
    real: str = ""  # the same of all names of a file, whatever links lead there
    link: str = ""  # `below` of the link by way of which it was found, of several the first


def match(pattern: str) -> list[Found]:
    """All that a pattern finds, by name; none where that is nothing. A folder that it finds means the files in it.

    A name is tried as it stands first, so that a file called "a[1].txt" can be named. Raises `ValueError` where it is
    both, the name of a file and a pattern of others, and `OSError` where nobody can say what there is.
    """
    uri = storage.absolute(pattern)
    if storage.is_local(uri):
        path = storage.local_path(uri)
        return _one_reading(pattern, list(_outright(path)), _walk(*split(path)) if has_signs(path) else [])
    try:
        return _elsewhere(pattern, uri)
    except Exception as error:  # what a client of a store raises is its own
        shown, said = storage.without_password(pattern), storage.without_secrets(str(error).strip().partition("\n")[0])
        if shown not in said:
            said = f"{shown} cannot be listed: {said or type(error).__name__}"
        kind = ValueError if isinstance(error, (ValueError, ImportError)) else storage.StoreError
        raise (FileNotFoundError if isinstance(error, FileNotFoundError) else kind)(said) from error


def has_signs(path: str) -> bool:
    """Whether a path can be read as a pattern."""
    return _SIGNS.search(path) is not None


def split(path: str) -> tuple[str, list[str]]:
    """A pattern → the folder that it names outright, with a slash at its end, and the parts behind it."""
    sign = _SIGNS.search(path)
    end = path.rfind("/", 0, sign.start() if sign else len(path)) + 1
    return path[:end], path[end:].split("/")


def links(uri: str) -> int:
    """How many of the names in a path are links; 0 elsewhere than on the disk."""
    path = storage.local_path(uri) if storage.is_local(uri) else ""
    ends = [at for at, sign in enumerate(f"{path}/") if sign == "/"]
    return sum(os.path.islink(path[:end]) for end in ends if end)


@lru_cache(1024)
def regex(pattern: str) -> re.Pattern[str]:
    """A pattern → what matches whole paths; raises `ValueError` where ** is no folder of its own."""
    try:
        return re.compile(glob_translate(pattern))
    except ValueError as error:
        raise ValueError(f"{pattern}: ** is any number of folders, and stands alone between slashes") from error


def _one_reading(pattern: str, outright: list[Found], wider: list[Found]) -> list[Found]:
    """What is found by a name as it stands, else what is found by a pattern."""
    if not outright:
        return wider
    other = next((each for each in wider if each.info and each.path not in {same.path for same in outright}), None)
    if other:
        shown = re.sub(r"([*?\[])", r"[\1]", pattern)
        raise ValueError(
            f"{pattern} is the name of a file or folder, and a pattern that finds others ({other.path}): for that one "
            f"alone write {shown}; for all of them another pattern"
        )
    return outright


def _outright(path: str) -> Iterator[Found]:
    """The file of that name, or the files in the folder."""
    name = path.rsplit("/", 1)[-1]
    try:
        kind = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(path):
            yield _dangling(path, name)
        return
    except OSError as error:  # a folder that may not be entered
        yield Found(storage.named(path), name, None, f"cannot be opened: {error.strerror}")
        return
    if stat.S_ISDIR(kind):
        yield from _walk(f"{path.rstrip('/')}/", ["**"])
    elif stat.S_ISREG(kind):
        yield _file(path, name, os.path.realpath(path), "")
    else:
        yield Found(storage.named(path), name, None, f"{_NO_FILE}: give what comes out of it to the standard input, -")


def _walk(top: str, parts: list[str]) -> list[Found]:
    """All below a folder of the disk whose path matches, by name.

    Links to folders are followed. Each folder is entered once for what may match in it, under its own name where that
    is among them: so a link in a circle ends, and is told as no data.
    """
    found: list[Found] = []
    seen: set[tuple[int, int, frozenset[int]]] = set()
    folders = [(top, "", "", _step(None, parts, ""))] if os.path.isdir(top) else []
    links: list[tuple[str, str, str, frozenset[int]]] = []
    while folders or links:
        path, below, way, states = folders.pop() if folders else links.pop(0)
        try:
            there = os.stat(path)
            if (there.st_dev, there.st_ino, states) in seen:
                found.append(Found(storage.named(path), below, None, "", path))
                continue
            seen.add((there.st_dev, there.st_ino, states))
            with os.scandir(path) as entries:
                inside = sorted(entries, key=_by_name)
        except OSError as error:
            found.append(Found(storage.named(path), below, None, f"cannot be opened: {error.strerror}"))
            continue
        real = os.path.realpath(path).rstrip("/")
        for entry in inside:
            at, name, link = f"{path}{entry.name}", f"{below}{entry.name}", entry.is_symlink()
            after = _step(states, parts, entry.name)
            if not after:
                continue
            folder = os.path.isdir(at) if link else entry.is_dir()
            name = f"{name}/" if folder else name
            by = way or (name if link else "")
            own = os.path.realpath(at) if link else f"{real}/{entry.name}"
            if _left_out(entry.name, parts):
                found.append(Found(storage.named(at), name, None, "", own, by))
            elif folder:
                (links if link else folders).append((f"{at}/", name, by, after))
            elif link and not os.path.exists(at):
                found.append(_dangling(at, name))
            elif _ALL in after:
                found.append(_file(at, name, own, by))
    return sorted(found, key=_by_path)


def _step(states: frozenset[int] | None, parts: list[str], name: str) -> frozenset[int]:
    """Which parts of a pattern may come behind a name, of those that might be it; at the top (None) the first.

    `_ALL` among them says that the name and all that is below matches.
    """
    after = {0} if states is None else set()
    for state in states or ():
        if state == _ALL or parts[state] == "**":
            after.add(state)
        elif regex(parts[state]).match(name):
            after.add(_ALL if state + 1 == len(parts) else state + 1)
    for state in range(len(parts)):  # ** is also no folder at all
        if state in after and parts[state] == "**":
            after.add(_ALL if state + 1 == len(parts) else state + 1)
    return frozenset(after)


def _left_out(name: str, parts: list[str]) -> bool:
    """Whether a name is known to be no data, and no part of the pattern asks for it."""
    return no_data(name) and not any(no_data(part) and regex(part).match(name) for part in parts)


def _file(path: str, below: str, real: str, link: str) -> Found:
    info = _DISK.info(path)
    if info["type"] != "file":
        return Found(storage.named(path), below, None, _NO_FILE, real, link)
    uri = storage.named(path)
    return Found(uri, below, info, "", storage.itself(uri) or real, link)


def _dangling(path: str, below: str) -> Found:
    why = "is not there"
    try:
        os.stat(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        why = f"cannot be opened: {error.strerror}"
    return Found(storage.named(path), below, None, f"is a link to {storage.named(os.readlink(path))}, which {why}")


def _by_path(each: Found) -> str:
    return each.path


def _by_name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _elsewhere(pattern: str, uri: str) -> list[Found]:
    """What a pattern of a store finds, by name, or the one file of a URL."""
    fs, path = storage.connect(uri)
    if storage.is_web(uri):
        return [_page(fs, uri)]
    signs = has_signs(path)
    try:
        there = fs.info(path)["type"]
    except FileNotFoundError:
        there = ""
    except Exception:  # of a pattern that is no name a store may say anything
        if not signs:
            raise
        there = ""
    outright = fs.find(path, detail=True) if there else {}
    wider = dict(fs.glob(path, detail=True)) if signs else {}
    if not path.endswith("**"):
        for folder in [name for name, info in wider.items() if info["type"] == "directory"]:
            wider |= fs.find(folder, detail=True)
    return _one_reading(pattern, _objects(fs, outright, path, f"{path}/", []), _objects(fs, wider, path, *split(path)))


def _objects(fs: Any, listed: dict[str, Any], path: str, stem: str, parts: list[str]) -> list[Found]:
    """A listing → the files in it, as found below `stem`; what is named outright, as `path`, was asked for."""
    found: dict[str, Found] = {}
    for name, info in listed.items():
        if info.get("type", "file") != "file":
            continue
        uri, below = fs.unstrip_protocol(name), name[len(stem) :] if name != path else name.rsplit("/", 1)[-1]
        names = below.split("/")
        hidden = next((i for i, each in enumerate(names) if name != path and _left_out(each, parts)), None)
        if hidden is None:
            found[uri] = Found(uri, below, info, "", uri)
        elif hidden == len(names) - 1:
            found[uri] = Found(uri, below, None, "", uri)
        else:
            folder = "/".join(names[: hidden + 1]) + "/"
            found.setdefault(folder, Found(uri, folder, None, "", folder))
    return sorted(found.values(), key=_by_path)


def _page(fs: Any, url: str) -> Found:
    """The one file of a URL."""
    shown, path = storage.without_password(url), urlsplit(url).path
    if path.endswith("/"):
        raise ValueError(f"{shown} is a folder, and over HTTP nobody can list it: name each file")
    try:
        info = fs.info(url)
    except FileNotFoundError as error:
        hint = " (over HTTP * finds nothing: name each file)" if "*" in path else ""
        raise FileNotFoundError(f"{error}{hint}") from None
    if info["size"] is None:
        raise ValueError(f"{shown}: the server does not say how long the file is: fetch it first, with curl -O, say")
    if info["encoding"] and not path.casefold().endswith(tuple(COMPRESSIONS)):
        raise ValueError(
            f"{shown}: the server packs it on the way ({info['encoding']}): fetch it first, with curl -O, say"
        )
    return Found(url, path.rsplit("/", 1)[-1], info, "", url)
