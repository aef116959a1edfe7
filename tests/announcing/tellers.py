"""Processes that tell an Iceberg table of versions, and die at a step of it. Configured by the environment."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog

from seqcls_beam.announcing import iceberg
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import partitions
from tests.announcing.tables import WHERE, newest_of, night


def die(*_: Any) -> None:
    """As a machine does that loses its power."""
    os.kill(os.getpid(), signal.SIGKILL)


def dying(function: str, after: bool) -> None:
    """From now on this process dies before, or after, a function of the catalog."""
    do = getattr(SqlCatalog, function)

    def once(self: SqlCatalog, *args: Any, **more: Any) -> Any:
        if after:
            do(self, *args, **more)
        die()

    setattr(SqlCatalog, function, once)


def main(do: str, out: Path, *args: str) -> None:
    match do, args:
        case "tell", (function, when):
            dying(function, when == "after")
            for partition in partitions(store_of(str(out))):
                iceberg.tell(WHERE, newest_of(out, partition))
        case "overwrite", (partition,):  # and die when the new parts have their names
            night(out, "b", partition, units=3, placed=die)
        case "nights", days:
            for day in days:
                iceberg.tell(WHERE, night(out, "a", f"run_date={day}"))
        case "all", ():
            for partition in partitions(store_of(str(out))):
                iceberg.tell(WHERE, newest_of(out, partition))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
