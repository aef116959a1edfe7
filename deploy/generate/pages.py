"""A page of options for each command: what `--help` says, as tables."""

import re
from dataclasses import MISSING, Field
from importlib import import_module
from typing import Any

from deploy.generate import STAMP
from deploy.generate.parameters import defaults_of, plain
from seqcls_beam.config.option import flag, kind_of, option_fields
from seqcls_beam.config.screen import COMMON

_WRAPPED = re.compile(r" ?\(default: (.*)\)$")
_METAVARS = {"number": "N", "decimal": "X"}


def page(command: str) -> str:
    """The page of a command, in Markdown."""
    module = import_module(f"pipelines.{command}")
    what, _, calls = (module.__doc__ or "").strip().partition("\n\n")
    lines = [
        f"<!-- {STAMP} -->",
        "",
        f"# Options of {command}",
        "",
        in_table(what),
        "",
        "```sh",
        *calls.splitlines(),
        "```",
    ]
    for group in (module.GROUPS | COMMON).values():
        fields = option_fields(group)
        title = (group.__doc__ or "").rstrip(".")
        lines += ["", f"## {title}", "", "| option | what it is | values | default |", "|---|---|---|---|"]
        lines += [_row(each, module) for each in fields]
    return "\n".join([*lines, ""])


def _row(each: Field[Any], module: Any) -> str:
    facts, kind = each.metadata, kind_of(each)
    default = defaults_of(module).get(each.name, each.default)
    told = _WRAPPED.search(facts["help"])
    cells = [
        f"`{_called(each, kind)}`",
        in_table(_WRAPPED.sub("", facts["help"])),
        _values(each, kind),
        in_table(told[1]) if told else _default(default),
    ]
    return f"| {' | '.join(cells)} |"


def _called(each: Field[Any], kind: str) -> str:
    facts = each.metadata
    if facts["positional"]:
        return str(facts["metavar"])
    value = facts["metavar"] or ("VALUE" if facts["choices"] else _METAVARS.get(kind, "NAME"))
    given = "" if kind == "switch" else f"[={value}]" if facts["bare"] else f"={value}"
    return f"--{flag(each)}{given}"


def _values(each: Field[Any], kind: str) -> str:
    facts = each.metadata
    if facts["choices"]:
        return ", ".join(f"`{choice}`" for choice in facts["choices"])
    low, high = plain(facts["minimum"]), plain(facts["maximum"])
    if low is not None:
        return f"{low} to {high}" if high is not None else f"{low} or more"
    return {"names": "comma-separated"}.get(kind, "")


def _default(default: Any) -> str:
    if default is MISSING or default is False or default in (None, ()):
        return ""
    return f"`{plain(default) if isinstance(default, int | float) else default}`"


def in_table(text: str) -> str:
    """A text whose signs mean nothing in a table."""
    return re.sub(r"([|*<>\[\]])", r"\\\1", " ".join(text.split()))
