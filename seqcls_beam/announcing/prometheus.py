"""Figures as a file in the folder that node_exporter's textfile collector reads.

    FOLDER/seqcls_beam_<name>_<digest>.prom

One file an output, and a key of partitions: of its nights the newest is told, each in the place of the one before. A
version that comes after a newer one (of an older night that was labelled again) changes nothing. Samples have no times
of their own, which node_exporter refuses; when a version was published is a figure. Of an output that was removed, and
is made anew from earlier nights on, the file must be removed, too.
"""

import hashlib
import math
import os
import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

from seqcls_beam import storage
from seqcls_beam.announcing.figures import Figure, figures
from seqcls_beam.announcing.patience import Late, within
from seqcls_beam.announcing.published import Announced, PlatformError

SECONDS = 10.0
"""For a file that another process may hold."""
_READABLE = 0o644
"""node_exporter is another user."""


def ensure(where: str) -> None:
    """See that a folder can be told of versions. Raises `PlatformError`."""
    _client()
    folder = _folder(where)
    try:
        storage.ensure_puts(storage.join(folder, "seqcls_beam.prom"))
    except OSError as error:
        raise _unwritable(folder, error) from error


def tell(where: str, announced: Announced) -> None:
    """Write the figures of a version into a folder of this machine, unless they are there, or newer ones.

    Raises `PlatformError`.
    """
    _client()
    folder = _folder(where)
    uri = storage.join(folder, file_name(announced))
    made = text(figures(announced))
    mine = _told(made)

    def change(old: bytes | None) -> bytes | None:
        there = None if old is None else _told(old)
        return None if there and mine and there.is_newer(mine) else made

    def write() -> None:
        storage.update(uri, change)
        os.chmod(storage.local_path(uri), _READABLE)

    try:
        within(SECONDS, write)
    except Late:
        raise PlatformError(
            f"{uri} was not written in {SECONDS:.0f} seconds: its disk does not answer, or another process holds it; "
            "announce again later"
        ) from None
    except OSError as error:
        raise _unwritable(folder, error) from error


def file_name(announced: Announced) -> str:
    """One for each output and key of partitions, however alike they look."""
    key = announced.partition.partition("=")[0]
    output = storage.without_password(announced.output)
    digest = hashlib.blake2b(f"{output}\0{key}".encode(errors="surrogatepass"), digest_size=6).hexdigest()
    name = re.sub(r"[^a-z0-9]+", "_", output.rstrip("/").rpartition("/")[2].lower()).strip("_")[:40]
    return "_".join(filter(None, ["seqcls_beam", name, digest])) + ".prom"


def text(told: list[Figure]) -> bytes:
    """Figures, those of a name beside each other → Prometheus' text format."""
    client, registry = _client(), _client().CollectorRegistry()
    registry.register(_Figures(told))
    return bytes(client.generate_latest(registry))


class _Figures:
    """Figures as the client asks for them."""

    def __init__(self, told: list[Figure]) -> None:
        self._told = told

    def collect(self) -> Iterator[Any]:
        """Each name once."""
        from prometheus_client.core import GaugeMetricFamily

        for name, of in groupby(self._told, lambda figure: figure.name):
            same = list(of)
            family = GaugeMetricFamily(name, same[0].help, labels=[label for label, _ in same[0].labels])
            for each in same:
                family.add_metric([value for _, value in each.labels], each.value)
            yield family


class _Told(NamedTuple):
    """Which version a file tells of."""

    partition: str
    version: float
    published: float

    def is_newer(self, other: "_Told") -> bool:
        """Dates and windows are written so that their names are in order; an output made anew begins at version 1."""
        if self.partition != other.partition:
            return self.partition > other.partition
        return self.version > other.version and self.published >= other.published


def _told(written: bytes) -> _Told | None:
    """None for a file that was not written here, which is replaced."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        samples = [each for family in text_string_to_metric_families(written.decode()) for each in family.samples]
        found = {each.name: each for each in samples}
        partition = found["seqcls_beam_run_info"].labels.get("partition", "")
        published = found.get("seqcls_beam_published_timestamp_seconds")
        version = found["seqcls_beam_published_version"].value
        return _Told(partition, version, published.value if published else -math.inf)
    except (ValueError, KeyError, IndexError):
        return None


def _folder(where: str) -> str:
    shown = storage.without_password(where)
    if not where or not storage.is_local(where):
        raise PlatformError(
            f"{shown!r} is no folder of this machine, and node_exporter reads no other: name the one that it was given "
            "as --collector.textfile.directory"
        )
    folder = storage.absolute(where)
    if not os.path.isdir(storage.local_path(folder)):
        raise PlatformError(
            f"there is no folder {shown}: make it, and give it to node_exporter as --collector.textfile.directory"
        )
    return folder


def _unwritable(folder: str, error: OSError) -> PlatformError:
    why = error.strerror or str(error)
    return PlatformError(
        f"figures cannot be written to {folder} ({why}): let this user write there, and announce again"
    )


def _client() -> Any:
    try:
        import prometheus_client
    except ImportError as error:
        raise PlatformError(
            "the package prometheus_client is not installed (pip install 'seqcls_beam[prometheus]')"
        ) from error
    return prometheus_client
