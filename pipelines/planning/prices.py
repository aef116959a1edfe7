"""What an hour of a worker costs, by a table with a date."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import orjson

from seqcls_beam import storage

_PACKAGED = "prices.json"
_KEYS = ("date", "source", "currency", "batch", "gpus", "machines")
_RATES = ("vcpu_hour", "memory_gb_hour", "disk_gb_hour")


@dataclass(frozen=True)
class Worker:
    """A machine that is paid for."""

    machine: str
    disk_gb: float
    gpu: str | None = None  # as Google Cloud names it
    gpus: int = 0


class Prices:
    """A table of prices."""

    def __init__(self, file: str | None) -> None:
        """Read a file, or the table that came with the package. Raises `ValueError` for no such table, `OSError`."""
        self.file = file or str(files("pipelines.planning") / _PACKAGED)
        self.option = f"--prices={storage.without_password(self.file)}"
        data = storage.read(storage.absolute(file)) if file else (files("pipelines.planning") / _PACKAGED).read_bytes()
        try:
            said = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"{self.option} is no JSON: {error}") from error
        lacking = [key for key in _KEYS if not isinstance(said, dict) or key not in said]
        if lacking:
            raise ValueError(f"{self.option} has no {lacking[0]!r}: copy the table of docs/plan.md, and edit it")
        self._said: dict[str, Any] = said
        self.date, self.source, self.currency = str(said["date"]), str(said["source"]), str(said["currency"])
        self.region = str(said.get("region", ""))

    def gpus(self, machine: str) -> tuple[str | None, int]:
        """The GPUs that a machine always has."""
        said = self._said["machines"].get(machine) or {}
        return said.get("gpu"), int(said.get("gpus", 0))

    def hour(self, worker: Worker) -> float | str:
        """What an hour of a batch worker costs, or which price is not known. Raises `ValueError` for what is none."""
        machine = self._said["machines"].get(worker.machine)
        if machine is None:
            return self._unknown(f"machines.{worker.machine}")
        amounts = (machine["vcpus"], machine["memory_gb"], worker.disk_gb)
        rates = self._said["batch"]
        parts = [(f"batch.{rate}", rates.get(rate), amount) for rate, amount in zip(_RATES, amounts, strict=True)]
        if worker.gpu:
            parts.append((f"gpus.{worker.gpu}", self._said["gpus"].get(worker.gpu), worker.gpus))
        for name, price, _ in parts:
            if price is None:
                return self._unknown(name)
            if isinstance(price, bool) or not isinstance(price, int | float) or not price >= 0:
                raise ValueError(f"{self.option}: {name} is {price!r}, and not a price an hour")
        return float(sum(price * amount for _, price, amount in parts))

    def _unknown(self, name: str) -> str:
        return f"price not known: fill in {name} in {storage.without_password(self.file)}, or in a copy for --prices"
