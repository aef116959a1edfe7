"""The primitives of `seqcls_beam.storage` over a dict, one step each: as on a local disk, and as in an object store.

A state is a plain dict that is never changed: a step answers with every (result, next state) that may come of it. Names
are relative to the output folder, whose parents are there. Results are hashable; `Failed` is an `OSError` to be raised.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from seqcls_beam import storage

OUTPUT = "/output"
State = dict[str, Any]
Steps = list[tuple[Any, State]]

READS = frozenset({"exists", "read", "size", "names", "version_of"})


@dataclass(frozen=True)
class Failed:
    """An `OSError` of a step."""

    number: int

    def error(self) -> OSError:
        return OSError(self.number, errno.errorcode[self.number])  # the subclass that the number has


MISSING = Failed(errno.ENOENT)


def below(state: State, folder: str) -> list[str]:
    """Every name below a folder, at any depth."""
    return [name for name in state if name.startswith(f"{folder}/")]


def children(state: State, folder: str) -> tuple[str, ...]:
    """What is directly in a folder ("" for the output folder itself), sorted."""
    start = f"{folder}/" if folder else ""
    found = {name[len(start) :].split("/")[0] for name in state if name.startswith(start) and name[:1] != "?"}
    return tuple(sorted(found))


def is_folder(state: State, name: str) -> bool:
    return not name or (name in state and state[name] is None)


def _no_way(state: State, name: str) -> Failed | None:
    """Why no folder is there that a name could be in."""
    parts = name.split("/")[:-1]
    for depth in range(len(parts)):
        if not is_folder(state, above := "/".join(parts[: depth + 1])):
            return Failed(errno.ENOTDIR) if above in state else MISSING
    return None


class Disk:
    """A tree: name → bytes of a file, None for a folder."""

    local = True

    def step(self, state: State, operation: str, names: tuple[str, ...], data: bytes, writer: str) -> Steps:
        if operation in READS:
            return [(getattr(self, operation)(state, *names), state)]
        changed = dict(state)
        result = getattr(self, operation)(changed, *names, **({"data": data} if operation in ("put", "aside") else {}))
        return [(result, state if isinstance(result, Failed) or changed == state else changed)]

    def content(self, state: State, name: str) -> bytes | None:
        return state.get(name)

    def exists(self, state: State, name: str) -> bool:
        return name in state

    def read(self, state: State, name: str) -> bytes | Failed:
        data = state.get(name, _no_way(state, name) or MISSING)
        return Failed(errno.EISDIR) if data is None else data

    def size(self, state: State, name: str) -> int | None:
        return len(state[name] or b"") if name in state else None

    def names(self, state: State, folder: str) -> tuple[str, ...] | Failed:
        if (failed := _no_way(state, folder)) and failed != MISSING:
            return failed
        return children(state, folder)

    def make_folder(self, state: State, name: str) -> Failed | None:
        parts = name.split("/") if name else []
        for depth in range(len(parts)):
            if not is_folder(state, folder := "/".join(parts[: depth + 1])):
                if folder in state:
                    return Failed(errno.EEXIST if depth + 1 == len(parts) else errno.ENOTDIR)
                state[folder] = None
        return None

    def put(self, state: State, name: str, data: bytes) -> Failed | None:
        if failed := self.make_folder(state, name.rpartition("/")[0]):
            return failed
        if is_folder(state, name):
            return Failed(errno.EISDIR)
        state[name] = data
        return None

    def aside(self, state: State, target: str, aside: str, data: bytes) -> Failed | None:
        """The first half of `put_if_absent`: the bytes, in the scratch folder."""
        return self.make_folder(state, target.rpartition("/")[0]) or self.put(state, aside, data)

    def link(self, state: State, aside: str, target: str) -> bool | Failed:
        """The second half: a second name for them, unless it is taken; the first goes."""
        if aside not in state:
            return MISSING
        data = state.pop(aside)
        if target in state:
            return False
        state[target] = data
        return True

    def rename(self, state: State, source: str, target: str) -> Failed | None:
        if failed := _no_way(state, source) or _no_way(state, target):
            return failed
        if source not in state:
            return MISSING
        if target.startswith(f"{source}/"):
            return Failed(errno.EINVAL)
        if source.startswith(f"{target}/"):
            return Failed(errno.ENOTEMPTY)
        if is_folder(state, source):
            if target in state and not is_folder(state, target):
                return Failed(errno.ENOTDIR)
            if target != source and below(state, target):
                return Failed(errno.ENOTEMPTY)
        elif is_folder(state, target):
            return Failed(errno.EISDIR)
        if target != source:
            for name in [source, *below(state, source)]:
                state[target + name[len(source) :]] = state.pop(name)
        return None

    def remove(self, state: State, name: str) -> None:
        for each in [name, *below(state, name)]:
            state.pop(each, None)

    def remove_if_empty(self, state: State, name: str) -> None:
        if is_folder(state, name) and not below(state, name):
            state.pop(name, None)

    def remove_file(self, state: State, name: str) -> Failed | None:
        if (failed := _no_way(state, name)) and failed != MISSING:
            return failed
        if is_folder(state, name):
            return Failed(errno.EISDIR)
        state.pop(name, None)
        return None


class Bucket:
    """Objects: name → (bytes, generation). A generation is who wrote it in which phase, which nobody does twice.

    Listings may lag: under "?area" stands what a name of that area was before it changed last; a listing shows either.
    With `loses_answers` one creation may be answered as though the file had been there: the request was sent twice.
    """

    local = False

    def __init__(self, lags: bool = True, loses_answers: bool = False) -> None:
        self._lags = lags
        self._loses_answers = loses_answers

    def step(self, state: State, operation: str, names: tuple[str, ...], data: bytes, writer: str) -> Steps:
        if operation == "names":
            shown = {self.names(each, *names): None for each in self._listed(state, names[0])}
            return [(each, state) for each in shown]
        if operation in READS:
            return [(getattr(self, operation)(state, *names), state)]
        if operation == "put_if_absent":
            if names[0] in state:
                return [(False, state)]
            made = self._with(state, names[0], (data, writer))
            lost = [(False, {**made, "?lost": True})] if self._loses_answers and "?lost" not in state else []
            return [(True, made), *lost]
        if operation == "put":
            return [(None, self._with(state, names[0], (data, writer)))]
        if operation == "copy":
            source, target = names
            return [
                (None, self._with(state, target, (state[source][0], writer))) if source in state else (MISSING, state)
            ]
        if operation == "remove_file" or (operation == "remove_version" and state.get(names[0], (0, 0))[1] == names[1]):
            return [(None, self._with(state, names[0], None))]
        if operation == "remove":
            for name in [names[0], *below(state, names[0])]:
                state = self._with(state, name, None)
        elif operation not in ("remove_version", "remove_if_empty"):
            raise AssertionError(f"a store has no {operation}")
        return [(None, state)]

    def content(self, state: State, name: str) -> bytes | None:
        return state[name][0] if name in state else None

    def exists(self, state: State, name: str) -> bool:
        return name in state

    def read(self, state: State, name: str) -> bytes | Failed:
        return state[name][0] if name in state else MISSING

    def size(self, state: State, name: str) -> int | None:
        return len(state[name][0]) if name in state else None

    def version_of(self, state: State, name: str) -> str | None:
        return state[name][1] if name in state else None

    def names(self, state: State, folder: str) -> tuple[str, ...]:
        return children(state, folder)

    def _listed(self, state: State, folder: str) -> Iterator[State]:
        yield state
        if (area := _area(f"{folder}/")) in state:
            name, before = state[area]
            yield _with(state, name, before)

    def _with(self, state: State, name: str, entry: tuple[bytes, str] | None) -> State:
        before = state.get(name)
        if before is None and entry is None:
            return state
        assert not (before and entry and before[1] == entry[1]), f"{entry[1]} writes {name} twice"
        changed = _with(state, name, entry)
        area = _area(name)
        if self._lags and area:
            changed[area] = (name, before)
        return changed


def _with(state: State, name: str, entry: Any) -> State:
    changed = {**state, name: entry}
    if entry is None:
        del changed[name]
    return changed


def _area(name: str) -> str:
    """Where a change is remembered: a folder of what is published."""
    top, _, rest = name.partition("/")
    return f"?{top}" if rest and top not in ("_versions", "_attempts") else ""


Call = Callable[[str, tuple[str, ...], bytes], Any]


@contextmanager
def instead_of_storage(local: bool, call: Call, token: Callable[[], str]) -> Iterator[None]:
    """What touches files in `seqcls_beam.storage` asks `call` (operation, names, data) instead, or fails."""

    def relative(uri: str) -> str:
        assert uri.startswith(f"{OUTPUT}/"), uri
        return uri[len(OUTPUT) + 1 :]

    def one(operation: str) -> Any:
        return lambda uri: call(operation, (relative(uri),), b"")

    def two(operation: str) -> Any:
        return lambda source, target: call(operation, (relative(source), relative(target)), b"")

    def put_if_absent(uri: str, data: bytes, scratch: str | None = None) -> bool:
        if not local:
            return bool(call("put_if_absent", (relative(uri),), data))
        name = relative(uri)
        aside = f"{relative(scratch) if scratch else name.rpartition('/')[0]}/.aside-{token()}"
        call("aside", (name, aside), data)
        try:
            return bool(call("link", (aside, name), b""))
        except FileNotFoundError:  # the scratch folder was removed
            if call("exists", (name,), b""):
                return False
            raise

    reads = {"exists", "read", "size", "version_of", "make_folder", "remove", "remove_file", "remove_if_empty"}
    functions: dict[str, Any] = {
        **{name: one(name) for name in reads},
        **{name: two(name) for name in ("rename", "copy")},
        "names": lambda folder: list(call("names", (relative(folder),), b"")),
        "remove_version": lambda uri, seen: call("remove_version", (relative(uri), seen), b""),
        "put": lambda uri, data, scratch=None: call("put", (relative(uri),), data),
        "put_if_absent": put_if_absent,
        "each": lambda do, items: [do(item) for item in items],
        "is_local": lambda uri: local,
        "absolute": lambda uri: uri,
        "sync": lambda folder: None,
        "token": token,
    }

    def unknown(name: str) -> Any:
        def fail(*_: Any, **__: Any) -> Any:
            raise AssertionError(f"storage.{name} is none of the explorer's primitives")

        return fail

    pure = {"is_name", "join", "version", "without_password"}
    others = {name: unknown(name) for name, each in vars(storage).items() if _touches(each) and name not in pure}
    with mock.patch.multiple(storage, **{**others, **functions}):
        yield


def _touches(each: Any) -> bool:
    return callable(each) and getattr(each, "__module__", "") == storage.__name__ and not isinstance(each, type)
