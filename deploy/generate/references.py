"""Pages of reference beside those of options: exit codes, reasons of rejected rows, keys of manifests."""

import contextlib
import io
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module

from deploy.generate import STAMP
from deploy.generate.pages import in_table
from seqcls_beam.__main__ import COMMANDS
from seqcls_beam.evaluation.document import DOCUMENT
from seqcls_beam.finetuning.receipt import MANIFEST as FINETUNE
from seqcls_beam.preparation.manifest import MANIFEST as PREPARE
from seqcls_beam.preparation.manifest import REMOVED
from seqcls_beam.runs.manifest import CLASSIFY
from seqcls_beam.runs.sealing import WINDOW
from seqcls_beam.schema import LOSSES, REASONS

_CODES = re.compile(r"exit codes: (.*?)(?=\n\n|\Z)", re.DOTALL)
_CODE = re.compile(r"(\d+(?:, \d+ (?:and|or) \d+)?) (.+?)(?=[;,] \d|$)")
_LINK = re.compile(r"\\\[([^]]*)\\\](\([\w.]+\))")

_OF_CODES = """\
A scheduler can go by them: 0 is good; after 1 start the command again; after 2 change it; after 3 look at the report.
129, 130 and 143 are the ends by a signal, and 137 is a kill, most often for want of memory. Whether what a command
prints can be shown has no part in its code. `deploy/nightly.sh` has [a table of its own](../../deploy/README.md).\
"""

_OF_REASONS = """\
The column `reason` of the files under `_rejects/`, and the keys of `rejected_by_reason` in manifests. The column
`detail` beside it is a sentence about the very row, and `raw` has what was read.\
"""

_OF_MANIFESTS = """\
A manifest is the receipt of a run: JSON, published with it. A word in capitals stands for any name, `[]` for each
entry of a list; an object whose keys are not listed may have others in a later version. What a run has not is left
out, or null.\
"""

MANIFESTS = {
    "classify": ("A labelling", "`OUT/_versions/[run_date=…/]N.json`, the greatest N", CLASSIFY),
    "stream": ("A window of a stream", "`OUT/_versions/window=…/N.json`, the greatest N", WINDOW),
    "prepare": ("Prepared data", "`OUT/_versions/N.json`", PREPARE),
    "finetune": ("A fine-tuned model", "`OUT/_versions/N.json`", FINETUNE),
    "evaluate": ("An evaluation", "`OUT/evaluation.json`", DOCUMENT),
}
"""What writes a manifest → (what it is of, where it lies, its keys)."""


def exit_codes() -> str:
    """What every command's `--help` says of its exit codes."""
    lines = _head("Exit codes")
    lines += [
        _OF_CODES,
        "",
        "| command | code | what it says |",
        "|---|---|---|",
    ]
    for command in COMMANDS:
        lines += [f"| `{command}` | {code} | {in_table(meaning)} |" for code, meaning in codes(command)]
    return "\n".join([*lines, ""])


@cache
def codes(command: str) -> list[tuple[str, str]]:
    """(code, meaning) as the `--help` of a command has them."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        import_module(f"pipelines.{command}").main(["--help"])
    return [
        (code, f"{of}{meaning}")
        for paragraph, of in zip(_CODES.findall(said.getvalue()), ("", "of a stream: "), strict=False)
        for code, meaning in _CODE.findall(" ".join(paragraph.split()))
    ]


def reasons() -> str:
    """Why rows are rejected."""
    lines = _head("Reasons of rejected rows")
    lines += [
        _OF_REASONS,
        "",
        "| reason | what it means | |",
        "|---|---|---|",
    ]
    for name, meaning in REASONS.items():
        of_file = "stands for the rest of a file" if name in LOSSES else ""
        lines += [f"| `{name}` | {in_table(meaning)} | {'removed by `prepare`' if name in REMOVED else of_file} |"]
    return "\n".join([*lines, ""])


def manifests() -> str:
    """What stands in the manifest of each command."""
    lines = _head("Manifests")
    lines += [_OF_MANIFESTS]
    for what, where, keys in MANIFESTS.values():
        lines += ["", f"## {what}", "", where, "", "| key | type | meaning |", "|---|---|---|", *_rows(keys)]
    return "\n".join([*lines, ""])


def _rows(keys: Mapping[str, tuple[str, str]]) -> Iterable[str]:
    for key, (kind, meaning) in keys.items():
        said = _LINK.sub(r"[\1]\2", in_table(meaning))
        yield f"| `{key}` | {kind} | {said} |"


def _head(title: str) -> list[str]:
    return [f"<!-- {STAMP} -->", "", f"# {title}", ""]
