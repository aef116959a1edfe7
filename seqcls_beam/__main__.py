"""The commands by one name: `seqcls-beam classify …`, or `python -m seqcls_beam classify …`, in any folder.

`python -m pipelines.classify` is the same, but where a folder of one's own is called pipelines Python finds that one.
"""

import ast
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import TextIO

from seqcls_beam.version import __version__

BESIDE = Path(__file__).parents[1]
"""Where this package lies, and the package of the commands beside it."""

COMMANDS = ("classify", "prepare", "finetune", "evaluate", "seal", "compare", "approve", "report", "announce", "clean")

_NAME = "seqcls-beam"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that is named first; its exit code, and 2 where there is none of that name."""
    command, *rest = [*(sys.argv[1:] if argv is None else argv)] or [""]
    if command in ("--help", "-h"):
        return _show(_help(), sys.stdout, 0)
    if command == "--version":
        return _show(f"seqcls_beam {__version__}", sys.stdout, 0)
    if command.partition("=")[0] == "--completion":
        return _completion(command.partition("=")[2] or " ".join(rest))
    if command not in COMMANDS:
        return _show(_refusal(command), sys.stderr, 2)
    # Workers that this process starts do not take modules of the working folder for Python's own, or for Beam's.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    _load_commands()
    importlib.import_module("pipelines.interrupts").end_at_once()
    importlib.import_module("pipelines.called").call_by_script()
    return int(importlib.import_module(f"pipelines.{command}").main(rest))


def _completion(shell: str) -> int:
    """Print the script by which a shell completes flags; the exit code."""
    _load_commands()
    importlib.import_module("pipelines.called").call_by_script()
    completion = importlib.import_module("pipelines.completion")
    if shell not in completion.SHELLS:
        known = ", ".join(completion.SHELLS)
        return _show(f"seqcls_beam: --completion={shell}: expected one of {known}", sys.stderr, 2)
    return _show(completion.script(shell, COMMANDS).rstrip("\n"), sys.stdout, 0)


def _show(text: str, stream: TextIO | None, code: int) -> int:
    """Print on what may be closed, full, or unable to show every sign; the code, which that does not change."""
    if stream is None:
        return code
    signs = stream.encoding or "utf-8"
    try:
        print(text.encode(signs, errors="backslashreplace").decode(signs), file=stream, flush=True)
    except OSError:
        # Python would try once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


def _load_commands() -> None:
    """Import `pipelines` from beside this package, whatever else has that name on Python's path."""
    found = PathFinder.find_spec("pipelines", [str(BESIDE)])
    if found is None or found.loader is None:
        raise ModuleNotFoundError(f"the commands are not beside this package, in {BESIDE}: install seqcls_beam again")
    sys.modules["pipelines"] = module = module_from_spec(found)
    found.loader.exec_module(module)


def _help() -> str:
    lines = [f"usage: {_NAME} COMMAND [options]", ""]
    for name in COMMANDS:
        said = ast.get_docstring(ast.parse((BESIDE / "pipelines" / f"{name}.py").read_text(encoding="utf-8")))
        lines.append(f"  {name:9} {(said or '').partition(chr(10))[0].replace('pipelines.', f'{_NAME} ')}")
    end = f"{_NAME} COMMAND --help lists the options of one; {_NAME} --version; {_NAME} --completion=bash, zsh or fish"
    return "\n".join([*lines, "", end])


def _refusal(command: str) -> str:
    known = f"{', '.join(COMMANDS)}; {_NAME} --help says what each does"
    if not command:
        return f"seqcls_beam: which command? {known}"
    near = difflib.get_close_matches(command, COMMANDS, 1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return f"seqcls_beam: there is no command {command!r}{meant}: {known}"


if __name__ == "__main__":
    sys.exit(main())
