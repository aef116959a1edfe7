"""Which Iceberg tables were told of an output, so that whoever replaces its rows tells them: `OUT/_TABLES.json`.

    {format_version, kind, tables: [CATALOG:NAMESPACE.TABLE, …]}

A table is written down before it is told for the first time, by compare-and-swap, and is told of all that is published
from then on. Who wrote the file is not known: it makes no table, and one that has no rows of the output is left alone.
"""

import orjson

from seqcls_beam import storage
from seqcls_beam.announcing.iceberg import SPELLED
from seqcls_beam.announcing.patience import Late, within
from seqcls_beam.announcing.published import PlatformError

NAME = "_TABLES.json"
FORMAT_VERSION = 1
MOST = 8
"""Tables of an output: each is asked whenever something is published."""
SECONDS = 10.0
"""For a store, or another process that holds the file."""
_LONGEST = 1000  # signs of a name


def known(output: str) -> list[str]:
    """The tables that were told of an output. Raises `PlatformError` where that cannot be read."""
    try:
        return _parsed(output, within(SECONDS, lambda: _read(output)))
    except (OSError, Late) as error:
        why = storage.without_secrets(str(error)) or "its disk or store does not answer"
        raise PlatformError(f"{_shown(output)} cannot be read, which names Iceberg tables: {why}") from error


def remember(output: str, where: str) -> None:
    """Write down that a table is told. Raises `PlatformError` where that cannot be, and it is not to be told then."""

    def change(data: bytes | None) -> bytes | None:
        tables = _parsed(output, data)
        if where in tables:
            return None
        if len(tables) >= MOST:
            raise PlatformError(
                f"{_shown(output)} has {MOST} Iceberg tables, which is all that it may have: take out of it those that "
                "are gone"
            )
        said = {"format_version": FORMAT_VERSION, "kind": "tables", "tables": [*tables, where]}
        return orjson.dumps(said, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    if where in known(output):  # of a folder that can only be read
        return
    try:
        within(SECONDS, lambda: storage.update(_uri(output), change))
    except (OSError, Late) as error:
        why = storage.without_secrets(str(error)) or "another process holds it"
        raise PlatformError(
            f"--iceberg={where}: {_shown(output)} cannot be written ({why}), so nobody who replaces rows would tell "
            "the table: let this user write there"
        ) from error


def _read(output: str) -> bytes | None:
    try:
        return storage.read(_uri(output))
    except FileNotFoundError:
        return None


def _parsed(output: str, data: bytes | None) -> list[str]:
    if data is None:
        return []
    try:
        said = orjson.loads(data)
        tables = said["tables"]
        if said["format_version"] != FORMAT_VERSION or said["kind"] != "tables" or not isinstance(tables, list):
            raise ValueError
        if len(tables) > MOST or not all(len(each) <= _LONGEST and SPELLED.fullmatch(each) for each in tables):
            raise ValueError
    except (ValueError, KeyError, TypeError):  # orjson's own is a ValueError
        raise PlatformError(
            f"{_shown(output)} is none of this program's, and says which Iceberg tables are to be told: put it back, "
            "or remove it where there are none"
        ) from None
    return list(tables)


def _uri(output: str) -> str:
    return storage.join(storage.absolute(output), NAME)


def _shown(output: str) -> str:
    return storage.without_password(_uri(output))
