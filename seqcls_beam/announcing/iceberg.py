"""The versions of an output's table → an Iceberg table that has exactly the published parts.

    --iceberg=NAMESPACE.TABLE    --iceberg=CATALOG:NAMESPACE.TABLE

A catalog is configured as pyiceberg has it: in `.pyiceberg.yaml`, or by variables, PYICEBERG_CATALOG__NIGHTS__URI and
the like, so no password stands in a flag. Without a name it is the one that pyiceberg calls the default. A namespace
may have several levels, with dots between them; it and the table are made with the first version that has rows.

    iceberg_table.py     each version as one snapshot
    iceberg_files.py     parts as files of a table
    iceberg_columns.py   columns and their types
"""

import os
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus, unquote

from seqcls_beam import storage
from seqcls_beam.announcing.patience import Answer, Late, within
from seqcls_beam.announcing.published import Announced, PlatformError, Unread, brief
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.versions import newest

PATIENCE = 25.0
"""Seconds that a catalog is waited for in all."""

SPELLED = re.compile(r"(?:([\w-]+):)?([\w-]+(?:\.[\w-]+)+)")
_MISSING = "the package pyiceberg is not installed (pip install 'seqcls_beam[iceberg]')"
_SECRET = re.compile("(?i)token|credential|secret|pass|key|auth|sas|signature|cookie")
_PASSWORD = re.compile("://[^/?#]*?:([^/?#]*)@")
_SHORTEST = 4  # signs of a secret: fewer are in any word
_NO_WAREHOUSE = "No default path is set"  # as pyiceberg has it
_UNNAMEABLE = re.compile(r"[?#\x00-\x1f]|://.*@|^bytes:")
"""What of an output's name a reader of Iceberg takes for something else."""


class Place(NamedTuple):
    """A table, as a flag names it."""

    catalog: str
    config: dict[str, Any]  # as pyiceberg has it; may hold secrets
    name: tuple[str, ...]  # namespace …, table


def ensure(where: str) -> None:
    """Raise `PlatformError` where a table is misspelled, its catalog not configured, or pyiceberg not installed.

    The catalog itself is not asked: whether it is there is of no matter to a run.
    """
    _place(where)


def tell(
    where: str,
    announced: Announced,
    makes: bool = True,
    seconds: float | None = None,
    read: "Reading | None" = None,
) -> None:
    """Let the table have exactly the parts of this version in its partition, by one snapshot that says its run.

    Where there is none it is made, unless it `makes` none: then that is said. `seconds` are for the catalog, `PATIENCE`
    where there is no other; `read` has the parts where other tables need them, too. A local output is known by its real
    path, however it was named.

    To be called when every part has its name, and before parts of the version that it replaces are removed, or any time
    later. Nothing is done where the table has this version already, or a newer one is published. Raises
    `PlatformError`, a `NotThere` for a table without rows of this output, an `Unread`, and the table is as it was.
    """
    shown = f"--iceberg={where}"
    manifest = announced.manifest
    if manifest.get("kind") not in ("classify", "nothing"):
        raise PlatformError(f"{shown}: a table has labelled rows, and this is the output of {manifest.get('kind')}")
    place = _place(where)
    output = _real(storage.absolute(announced.output))
    if found := _UNNAMEABLE.search(output):
        raise PlatformError(f"{shown}: {output} has {found[0]!r} in it, which readers of Iceberg cannot open")
    # Here and not above: most runs have no such table, and most machines not the package.
    from seqcls_beam.announcing import iceberg_files, iceberg_table

    patience = _Patience(shown, place, PATIENCE if seconds is None else seconds)
    store = store_of(_real(announced.opened))
    telling = iceberg_table.Telling(
        shown,
        place.catalog,
        place.config,
        place.name,
        announced,
        iceberg_files.absolute(output),
        lambda: newest(store, announced.partition),
        patience.is_over,
        makes,
    )
    if patience.waits(telling.is_told):
        return
    try:
        parts = (read or Reading(announced)).parts
    except Unread:
        if newest(store, announced.partition) != announced.version:
            return  # replaced meanwhile
        raise
    patience.waits(lambda: telling.tell(parts))


class Reading:
    """The parts of a version, of which the footers are read once, however many tables ask; and how long that took."""

    def __init__(self, announced: Announced) -> None:
        self._announced, self.seconds = announced, 0.0

    @cached_property
    def parts(self) -> list[Any]:
        """Each an `iceberg_files.Part`. Raises `Unread`."""
        began = time.monotonic()
        try:
            return _read(self._announced)
        finally:
            self.seconds += time.monotonic() - began


def _read(announced: Announced) -> list[Any]:
    from seqcls_beam.announcing import iceberg_files  # as above

    output, opened = _real(storage.absolute(announced.output)), _real(announced.opened)
    try:
        return within(announced.reading, lambda: iceberg_files.parts(opened, output, announced.manifest["parts"]))
    except Late:
        raise Unread(
            f"the parts of {output} were not read in {announced.reading:.0f} seconds; look whether its disk or store "
            "is well, and announce the run again"
        ) from None
    except (iceberg_files.Damaged, OSError) as error:
        raise Unread(f"{error}; put the file back, or label its rows again") from error


def _place(where: str) -> Place:
    spelled = SPELLED.fullmatch(where)
    if spelled is None:
        raise PlatformError(f"--iceberg={where} is no table: expected NAMESPACE.TABLE or CATALOG:NAMESPACE.TABLE")
    try:
        from pyiceberg.utils.config import Config
    except ImportError as error:
        raise PlatformError(f"--iceberg={where}: {_MISSING}") from error
    try:
        known = Config()
        catalog = spelled[1] or known.get_default_catalog_name()
        config = known.get_catalog_config(catalog)
    except Exception as error:  # of a file that somebody wrote
        said = f"the configuration of pyiceberg cannot be read ({_told(error)})"
        raise PlatformError(f"--iceberg={where}: {said}; see .pyiceberg.yaml") from error
    variable = f"PYICEBERG_CATALOG__{catalog.upper()}__URI"
    if not config:
        raise PlatformError(
            f"--iceberg={where}: no catalog {catalog!r} is configured; say where it is in .pyiceberg.yaml or {variable}"
        )
    if not str(config.get("uri", "no")).strip():
        raise PlatformError(f"--iceberg={where}: the catalog {catalog!r} has an empty uri; set it, as {variable}")
    return Place(catalog, dict(config), tuple(spelled[2].split(".")))


class _Patience:
    """How long a catalog is waited for, over several questions.

    What asks a catalog may hang anywhere, and is left behind when the time is over. What it still does is what was to
    be done.
    """

    def __init__(self, shown: str, place: Place, seconds: float) -> None:
        self._shown, self._place, self._seconds, self._left = shown, place, seconds, seconds
        self._given_up = False

    def is_over(self) -> bool:
        """Whether nobody waits any more."""
        return self._given_up

    def waits(self, do: Callable[[], Answer]) -> Answer:
        """What a question is answered. Raises `PlatformError` where it is not, or not in time."""
        began = time.monotonic()
        try:
            return within(self._left, do)
        except PlatformError:
            raise
        except Late:
            self._given_up = True
            said = f"the catalog gave no answer in {self._seconds:.0f} seconds; announce the run again later"
            raise PlatformError(f"{self._shown}: {said}") from None
        except Exception as error:
            if _NO_WAREHOUSE in str(error):
                name = self._place.catalog
                raise PlatformError(
                    f"{self._shown}: the catalog {name!r} does not say where tables lie: set its warehouse, "
                    f"PYICEBERG_CATALOG__{name.upper()}__WAREHOUSE"
                ) from error
            said = f"the table could not be told ({_told(error, _secrets(self._place.config))})"
            raise PlatformError(f"{self._shown}: {said}; announce the run again") from error
        finally:
            self._left -= time.monotonic() - began


def _real(output: str) -> str:
    return os.path.realpath(storage.local_path(output)) if storage.is_local(output) else output


def _told(error: Exception, secrets: Iterable[str] = ()) -> str:
    """The first line of what a library says, without secrets: a catalog may say what it was sent."""
    said = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
    for each in secrets:
        said = said.replace(each, "...")
    return brief(said)


def _secrets(config: Mapping[str, Any], of: str = "") -> list[str]:
    """What of a catalog's properties is secret, in each form in which it is sent, longest first."""
    found: set[str] = set()
    for name, value in config.items():
        if isinstance(value, Mapping):
            found.update(_secrets(value, f"{of}{name}."))
            continue
        found_in = _PASSWORD.search(str(value))
        secret = found_in[1] if found_in else str(value) if _SECRET.search(f"{of}{name}") else ""
        for each in (secret, unquote(secret)):
            basic = b64encode(each.encode(errors="surrogatepass")).decode()
            found |= {each, basic, quote(each, safe=""), quote_plus(each), *each.split(), each.partition(":")[2]}
    return sorted((each for each in found if len(each) >= _SHORTEST), key=len, reverse=True)
