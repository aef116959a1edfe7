"""One option: its help, unit, range and default, as a field of a dataclass.

Imports nothing of the project.
"""

import types
from dataclasses import MISSING, Field, field, fields
from typing import Any, get_args, get_origin


def option(
    help: str,
    *,
    default: Any = MISSING,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    metavar: str | None = None,
    positional: bool = False,
    may_be_empty: bool = False,
    flag: str | None = None,
    often: bool = False,
    bare: str | None = None,
) -> Any:
    """A dataclass field with what `--help` shows and `check` enforces; `flag` is its name where that is no Python's.

    `often`: `--help` begins with it; `bare` is the value of the flag alone, where that need not have one.
    """
    return field(
        default=default,
        metadata={
            "help": help,
            "choices": choices,
            "minimum": minimum,
            "maximum": maximum,
            "metavar": metavar,
            "positional": positional,
            "may_be_empty": may_be_empty,
            "flag": flag,
            "often": often,
            "bare": bare,
        },
    )


def check(options: Any) -> None:
    """Raise `ValueError` naming the first option that is empty or outside its range, with the value received."""
    for each in fields(options):
        value = getattr(options, each.name)
        if value is None or not each.metadata:
            continue
        # Names that may be left out are none only where nobody gave them: by default.
        nothing = value == "" or (value == () and each.default is None)
        if nothing and not each.metadata["may_be_empty"]:
            raise ValueError(f"--{flag(each)} is empty (an unset variable?): leave it out, or say what it is")
        if isinstance(value, tuple) and each.default is None and not all(value):
            raise ValueError(f"--{flag(each)}={','.join(value)}: a name is empty (an unset variable?)")
        choices, low, high = (each.metadata[key] for key in ("choices", "minimum", "maximum"))
        if choices and value not in choices:
            raise ValueError(f"--{flag(each)}={value}: expected one of {', '.join(choices)}")
        if low is not None and not value >= low:  # so put, nan is out of range
            raise ValueError(f"--{flag(each)}={value}: expected at least {low:g}")
        if high is not None and value > high:
            raise ValueError(f"--{flag(each)}={value}: expected at most {high:g}")


def flag(each: Field[Any]) -> str:
    """What an option is called on the command line, without its dashes."""
    return each.metadata["flag"] or each.name


def option_fields(group: type) -> list[Field[Any]]:
    """The options of a group, in the order `--help` shows them."""
    return [each for each in fields(group) if each.metadata]


def kind_of(each: Field[Any]) -> str:
    """What the values of an option are: text, switch, number (whole), decimal, names (parted by commas) or texts."""
    kind: Any = each.type
    if get_origin(kind) is types.UnionType:
        kind = next(arg for arg in get_args(kind) if arg is not type(None))
    if get_origin(kind) is tuple:
        return "texts" if each.type == tuple[str, ...] else "names"  # the first is given once for each of them
    return {bool: "switch", int: "number", float: "decimal", str: "text"}[kind]
