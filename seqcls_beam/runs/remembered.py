"""What a stream's folder remembers: what all jobs that append to it must agree on, and what they left word of.

    OUT/_pieces/stream.json                     what the job that began it said: windows, topic, attributes
    OUT/_pieces/stream-1.json                   what of this a later one said first; and so on
    OUT/_pieces/columns/<digest>.arrow          columns that rows have
    OUT/_pieces/models/<model>-<digest>.json    what labelled rows; `model` as in the column of this name

Each of these files is written once, and whoever comes second reads it.
"""

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from itertools import count
from typing import Any

import orjson
import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.store import Store
from seqcls_beam.schema import WINDOW, model_name
from seqcls_beam.version import __version__

FOLDER = "_pieces"
SCRATCH = f"{FOLDER}/scratch"
STREAM = f"{FOLDER}/stream.json"
_COLUMNS, _MODELS = f"{FOLDER}/columns", f"{FOLDER}/models"
_FORMAT_VERSION = 1

Facts = dict[str, Any]
"""`window`, the seconds of one; `topic`; `timestamp_attribute` and `id_attribute`, None where messages have none. What
is not known is not there."""

_OPTIONS = {
    WINDOW: "a row would be in two windows",
    "timestamp_attribute": "a message that comes again would be in two windows",
    "id_attribute": "two messages would be one, or one be two",
}
"""Facts that are options, and what would happen if jobs had different ones."""


def begun(store: Store) -> Facts:
    """What was said when the stream began, the window at least; nothing where none did. Raises `RunError`."""
    data = store.read(STREAM)
    return {} if data is None else _facts(store, 0, data)


def known(store: Store) -> Facts:
    """What anybody has said of the stream. Raises `RunError` where a file is none of this program's."""
    said: Facts = {}
    for number in count():
        data = store.read(_name(number))
        if data is None:
            break
        said = {**_facts(store, number, data), **said}
    return said


def agree(store: Store, output: str, mine: Facts) -> set[str]:
    """Say what nobody has said yet; of which facts that was after the stream had begun.

    Raises `RunError` where somebody has said something else, and as `known`.
    """
    said: Facts = {}
    late: set[str] = set()
    for number in count():
        new = {name: fact for name, fact in mine.items() if name not in said}
        data = store.read(_name(number))
        if data is None:
            if not new:
                break
            data = orjson.dumps({"format_version": _FORMAT_VERSION, **new})
            if not storage.put_if_absent(store.uri(_name(number)), data, store.uri(SCRATCH)):
                data = store.read(_name(number)) or b""
            elif number:
                late.update(new)
        said = {**_facts(store, number, data), **said}
        differ(output, said, mine)
    return late


def differ(output: str, said: Facts, mine: Facts) -> None:
    """Raise `RunError` where two say something else of one fact."""
    for name, why in _OPTIONS.items():
        if name in said and name in mine and said[name] != mine[name]:
            there, here = said[name], mine[name]
            raise RunError(
                f"{'no ' if here is None else ''}--{name}{'' if here is None else f'={here}'}: {output} was begun "
                f"{f'without --{name}' if there is None else f'with --{name}={there}'}, and {why}; "
                f"{f'leave out --{name}' if there is None else f'give --{name}={there}'}, or name another folder"
            )
    there, here = said.get("topic"), mine.get("topic")
    if there and here and there != here:
        raise RunError(
            f"--output={output} has messages of {there}, and the subscription is of {here}: two messages of two "
            "topics may have one id, and one of them would be dropped as a copy; name another folder"
        )


def missing(store: Store) -> str:
    """A sentence for a folder with windows whose stream.json is gone."""
    return (
        f"{store.uri(STREAM)} is gone, which said how long the windows are that are there: put it back, or write "
        f'{{"format_version": {_FORMAT_VERSION}, "window": SECONDS}} into it, with the --window of the jobs before'
    )


def leave_columns(store: Store, output: str, columns: pa.Schema) -> None:
    """Leave word of the columns of LABELED. Raises `RunError` as `same_types`, and then leaves none."""
    data = columns.remove_metadata().serialize().to_pybytes()
    name = f"{hashlib.blake2b(data, digest_size=8).hexdigest()}.arrow"
    uri = store.uri(f"{_COLUMNS}/{name}")
    # Written before others are read: of two jobs that begin at once one at least sees the other.
    new = name not in store.names(_COLUMNS) and storage.put_if_absent(uri, data, store.uri(SCRATCH))
    try:
        same_types(store, output, columns, name)
    except RunError:
        if new:
            storage.remove_file(uri)
        raise


def same_types(store: Store, output: str, columns: pa.Schema, but: str = "") -> None:
    """Raise `RunError` where a column has another type than in rows that are there, or a name that only case tells
    apart. The file `but` is not looked at."""
    for name in store.names(_COLUMNS):
        data = None if name == but else store.read(f"{_COLUMNS}/{name}")
        if data is None:
            continue
        try:
            found = {each.name.casefold(): each for each in pa.ipc.read_schema(pa.py_buffer(data))}
        except (pa.ArrowException, OSError) as error:
            raise RunError(
                f"{store.uri(f'{_COLUMNS}/{name}')} is damaged, which says what columns rows of the stream have: put "
                "it back, or remove it where all jobs keep the same columns"
            ) from error
        for field in columns:
            there = found.get(field.name.casefold(), field)
            if (there.name, there.type) != (field.name, field.type):
                raise RunError(
                    f"--output={output}: column {field.name!r} would be {field.type}, and the stream there has "
                    f"{there.name!r} as {there.type}: give the column that name and type, or name another folder"
                )


def leave_model(store: Store, engine: dict[str, Any]) -> None:
    """Leave word of what labels, a `Mark.engine`."""
    said = {**engine, "model": storage.without_password(str(engine.get("model", ""))), **_versions()}
    data = orjson.dumps({"format_version": _FORMAT_VERSION, **said}, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)
    name = f"{_MODELS}/{model_name(engine)}-{hashlib.blake2b(data, digest_size=8).hexdigest()}.json"
    if not store.exists(name):
        storage.put_if_absent(store.uri(name), data, store.uri(SCRATCH))


def models(store: Store, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Values of the column `model` → what a manifest says of them; without those that no job left word of.

    {"model": {"name", "revision", "digest", "problem", "labels"}, "threshold": None but with several labels, "engines":
    all that ran this model for the folder}. Raises `RunError` where a file is damaged.
    """
    wanted = {*names}
    found: dict[str, dict[str, Any]] = {}
    for file in store.names(_MODELS):
        name = file.rpartition("-")[0]
        data = store.read(f"{_MODELS}/{file}") if name in wanted else None
        if data is None:
            continue
        engine = _said(store.uri(f"{_MODELS}/{file}"), data)
        of = {"name": "model", "revision": "revision", "digest": "checkpoint", "problem": "problem", "labels": "labels"}
        model = {key: engine.get(said) for key, said in of.items()}
        threshold = engine.get("threshold")
        known = found.setdefault(name, {"model": model, "threshold": threshold, "engines": []})
        known["engines"].append({key: value for key, value in engine.items() if key != "format_version"})
    return found


@cache
def _versions() -> dict[str, str]:
    """The installed versions of what `Mark.engine` does not name."""
    return {"seqcls_beam": __version__, **{name: metadata.version(name) for name in ("apache-beam", "pyarrow")}}


def _name(number: int) -> str:
    return f"{FOLDER}/stream-{number}.json" if number else STREAM


def _facts(store: Store, number: int, data: bytes) -> Facts:
    uri = store.uri(_name(number))
    said = _said(uri, data)
    window = said.get(WINDOW)
    if (WINDOW in said or not number) and (type(window) is not int or window < 1):
        raise RunError(f"{uri} is none of this program's: it must say how long windows are")
    for name in ("topic", "timestamp_attribute", "id_attribute"):
        if not isinstance(said.get(name), str | None):
            raise RunError(f"{uri} is none of this program's: {name} is no string there")
    return {name: said[name] for name in (*_OPTIONS, "topic") if name in said and (name, said[name]) != ("topic", None)}


def _said(uri: str, data: bytes) -> dict[str, Any]:
    """What a file of this program says. Raises `RunError` where it is none, or a newer program's."""
    try:
        said = orjson.loads(data)
    except orjson.JSONDecodeError:
        said = None
    version = said.get("format_version") if isinstance(said, dict) else None
    if type(version) is not int or version < 1:
        raise RunError(f"{uri} is none of this program's, or damaged")
    if version > _FORMAT_VERSION:
        raise RunError(
            f"{uri} has format {version}, of a newer version of this program, which knows {_FORMAT_VERSION}: use that "
            "version, or name another folder"
        )
    return dict(said)
