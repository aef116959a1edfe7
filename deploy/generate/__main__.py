"""`python -m deploy.generate [--check]`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.generate import __doc__ as usage
from deploy.generate import references
from deploy.generate.pages import page
from deploy.generate.templates import TEMPLATES, written
from deploy.generate.terraform import MODULES, variables
from seqcls_beam.__main__ import COMMANDS

ROOT = Path(__file__).parents[2]
_ALL = ("deploy/dataflow/templates/*.json", "deploy/terraform/modules/*/variables_generated.tf", "docs/*/*.md")


def files() -> dict[str, str]:
    """Every file, by its path from the root of the repository."""
    return {
        **{f"deploy/dataflow/templates/{name}.json": written(template) for name, template in TEMPLATES.items()},
        **{f"deploy/terraform/modules/{name}/variables_generated.tf": variables(name) for name in MODULES},
        **{f"docs/options/{command}.md": page(command) for command in COMMANDS},
        "docs/reference/exit_codes.md": references.exit_codes(),
        "docs/reference/reasons.md": references.reasons(),
        "docs/reference/manifests.md": references.manifests(),
    }


def differing(root: Path) -> list[str]:
    """The files below a root that are not what they would be made, are missing, or would not be made."""
    wanted = files()
    there = {str(path.relative_to(root)) for pattern in _ALL for path in root.glob(pattern)}
    return sorted(
        name
        for name in {*wanted, *there}
        if name not in wanted or name not in there or (root / name).read_text() != wanted[name]
    )


def main(argv: Sequence[str]) -> int:
    """Write them, or with --check say which are not as they would be; the exit code."""
    if list(argv) not in ([], ["--check"]):
        print(usage, file=sys.stderr)
        return 2
    names = differing(ROOT)
    if argv:
        for name in names:
            print(f"{name} is not what the code says: run `make generate`", file=sys.stderr)
        return 1 if names else 0
    wanted = files()
    for name in names:
        path = ROOT / name
        if name in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[name])
        else:
            path.unlink()
        print(f"{'written' if name in wanted else 'removed'}: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
