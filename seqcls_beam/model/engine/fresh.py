"""A model as it was loaded: what a pass leaves behind in it is seen, and put back.

BigBird goes over to full attention for good when it meets a short text, by putting other modules in the place of its
own; Funnel keeps tables of positions. A text's answer must not depend on those before it.
"""

from collections.abc import Iterator
from typing import Any

from torch import nn

_PLAIN = (int, float, complex, str, bytes)
_CONTAINERS = ("_modules", "_parameters", "_buffers")


class OverwrittenError(RuntimeError):
    """A pass overwrote numbers of the model, of which there is no copy."""


class Fresh:
    """What the modules of a model hold when this is made, by identity: no number is copied."""

    def __init__(self, model: nn.Module) -> None:
        self._kept = [(held, dict(held)) for held in _held(model)]
        self._config = model.config.__dict__ if hasattr(model, "config") else {}
        self._said = dict(self._config)
        self._written = [(each, each._version) for each in (*model.parameters(), *model.buffers())]

    def put_back(self) -> bool:
        """Whether something else was held; it is as before now.

        Raises `OverwrittenError`.
        """
        changed = [held for held, kept in [*self._kept, (self._config, self._said)] if _differs(held, kept)]
        for held, kept in [*self._kept, (self._config, self._said)] if changed else ():
            held.clear()
            held.update(kept)
        if any(each._version != version for each, version in self._written):
            raise OverwrittenError(
                "a pass overwrites the model's own numbers, so that texts change each other's answers"
            )
        return bool(changed)


def _held(model: nn.Module) -> Iterator[dict[str, Any]]:
    for module in model.modules():
        yield module.__dict__
        yield from (module.__dict__[name] for name in _CONTAINERS)


def _differs(held: dict[str, Any], kept: dict[str, Any]) -> bool:
    """By identity; of plain values, of which there may be equal ones, by what they are."""
    return len(held) != len(kept) or any(
        value is not (before := kept.get(name, _CONTAINERS)) and not (isinstance(value, _PLAIN) and value == before)
        for name, value in held.items()
    )
