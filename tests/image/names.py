"""What the Dockerfile asks for by default."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
CONSTRAINTS = (ROOT / "constraints.txt").read_text()


def instructions() -> list[tuple[str, str]]:
    """(INSTRUCTION, the rest), with lines that go on joined."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.M))
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in joined.splitlines() if line.strip()]


def arguments() -> dict[str, str]:
    """ARG → its default, with those before it put in."""
    found: dict[str, str] = {}
    for name, rest in instructions():
        if name == "ARG":
            key, _, value = shlex.split(rest)[0].partition("=")
            found[key] = re.sub(r"\$\{(\w+)\}", lambda match: found[match[1]], value)
    return found


def pinned(package: str) -> str:
    """The version of a package in `constraints.txt`."""
    (found,) = re.findall(rf"^{package}==(.*)$", CONSTRAINTS, re.M)
    return str(found)
