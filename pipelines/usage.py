"""What is said of flags that are wrong: with the value that came, what was expected, and what may be meant."""

import difflib
import re
from collections.abc import Collection, Sequence


class UsageError(ValueError):
    """Wrong flags; exit code 2."""


_EXPECTED = {"int": "a whole number", "float": "a number"}


def said_of_value(message: str) -> str:
    """What argparse says of a value, as every other sentence has it: the flag with its value, and what was expected."""
    if found := re.fullmatch(r"argument ([^:]+): invalid (\w+) value: '(.*)'", message, re.DOTALL):
        return f"{found[1]}={found[3]}: expected {_EXPECTED.get(found[2], found[2])}"
    if found := re.fullmatch(r"argument ([^:]+): invalid choice: '(.*)' \(choose from (.*)\)", message, re.DOTALL):
        return f"{found[1]}={found[2]}: expected one of {found[3]}"
    return message.removeprefix("argument ")


_DASHES = "-\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{FIGURE DASH}\N{EN DASH}\N{EM DASH}\N{HORIZONTAL BAR}\N{MINUS SIGN}"


def unknown_flag(words: Sequence[str], known: Collection[str], whose: str = "") -> str:
    """A sentence on words that are none of the known flags, with the one that may be meant; `whose` these are."""
    # Dashes of an editor or a web page, and a flag without any.
    flags = [word for word in words if word.startswith(tuple(_DASHES)) or f"--{word.partition('=')[0]}" in known]
    if not flags:
        meant = f": did you mean --input={words[0]}?" if "--input" in known else ""
        return f"{' '.join(words)} is no flag{meant or ': --help lists the flags'}"
    name, equals, _ = flags[0].partition("=")
    written = "--" + re.sub(f"[{_DASHES}]", "_", name.strip(_DASHES))
    near = [written] if written in known else difflib.get_close_matches(written, known, 1, 0.7)
    meant = f"did you mean {near[0]}{equals}?" if near else "--help lists the flags"
    return f"unknown flag {' '.join(words)}{whose}{';' if whose else ':'} {meant}"
