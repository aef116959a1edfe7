"""What an hour of a worker costs, by a table with a date."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import orjson

from pipelines.planning import documents
from seqcls_beam import storage

_PACKAGED = "prices.json"
_KEYS = ("date", "source", "currency", "batch", "gpus", "machines")
_RATES = ("vcpu_hour", "memory_gb_hour", "disk_gb_hour")
_SIZES = {"vcpus": "a number of processors", "memory_gb": "gigabytes"}
_EDIT = "copy the table of docs/plan.md, and edit it"
_MOST = 1e9
"""Above which no number of the table is a price an hour, or the size of a machine."""


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
        """Read a file, or the table that came with the package. Raises as `documents.read` does."""
        packaged = files("pipelines.planning") / _PACKAGED
        self.file = file or str(packaged)
        self.option = documents.named("prices", self.file)
        said = documents.read("prices", file) if file else orjson.loads(packaged.read_bytes())
        if not isinstance(said, dict):
            raise ValueError(f"{self.option} holds no object: {_EDIT}")
        lacking = [key for key in _KEYS if key not in said]
        if lacking:
            raise ValueError(f"{self.option} has no {lacking[0]!r}: {_EDIT}")
        self._said: dict[str, Any] = said
        self.date, self.source, self.currency = (self._text(key) for key in ("date", "source", "currency"))
        self.region = self._text("region") if "region" in said else ""
        for part in ("batch", "gpus"):
            for name, price in self._object(part, said[part]).items():
                self._number(f"{part}.{name}", price, "a price an hour")
        for name, machine in self._object("machines", said["machines"]).items():
            if machine is not None:
                self._machine(f"machines.{name}", machine)

    def _machine(self, name: str, machine: Any) -> None:
        """Raise `ValueError` for what is no machine; what is missing or null is not known, and no fault."""
        self._object(name, machine)
        for size, what in _SIZES.items():
            self._number(f"{name}.{size}", machine.get(size), what, some=True)
        gpu, gpus = machine.get("gpu"), machine.get("gpus")
        if gpu is not None and not (isinstance(gpu, str) and gpu):
            raise self._wrong(f"{name}.gpu", gpu, "an accelerator, such as 'nvidia-l4'")
        whole = isinstance(gpus, int) and not isinstance(gpus, bool) and (gpu is not None) <= gpus <= _MOST
        if not (whole or (gpu is None and gpus is None)):
            raise self._wrong(f"{name}.gpus", gpus, "how many of its GPU the machine has")

    def _text(self, key: str) -> str:
        if not isinstance(self._said[key], str):
            raise self._wrong(key, self._said[key], "a text")
        return str(self._said[key])

    def _object(self, name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._wrong(name, value, 'an object, {"NAME": …}')
        return value

    def _number(self, name: str, value: Any, what: str, some: bool = False) -> None:
        """Raise `ValueError` for what is no number from 0 on, or with `some` above it; null is not known."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and 0 <= value <= _MOST and (value or not some)):
            raise self._wrong(name, value, what)

    def _wrong(self, name: str, value: Any, what: str) -> ValueError:
        return ValueError(f"{self.option}: {name} is {documents.shown(value)}: expected {what}")

    def gpus(self, machine: str) -> tuple[str | None, int]:
        """The GPUs that a machine always has."""
        said = self._said["machines"].get(machine) or {}
        return said.get("gpu"), said.get("gpus") or 0

    def hour(self, worker: Worker) -> float | str:
        """What an hour of a batch worker costs, or what is not known for it."""
        name = f"machines.{worker.machine}"
        machine = self._said["machines"].get(worker.machine)
        if machine is None:
            return self._unknown(name)
        rates = self._said["batch"]
        paid = {f"batch.{rate}": rates.get(rate) for rate in _RATES}
        amounts = {f"{name}.{size}": machine.get(size) for size in _SIZES} | {"disk_gb": worker.disk_gb}
        if worker.gpu:
            paid[f"gpus.{worker.gpu}"] = self._said["gpus"].get(worker.gpu)
            amounts["gpus"] = worker.gpus
        missing = [of for of, value in (*amounts.items(), *paid.items()) if value is None]
        if missing:
            return self._unknown(" and ".join(missing))
        return float(sum(price * amount for price, amount in zip(paid.values(), amounts.values(), strict=True)))

    def _unknown(self, name: str) -> str:
        return f"price not known: fill in {name} in {storage.without_password(self.file)}, or in a copy for --prices"
