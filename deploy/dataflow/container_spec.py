"""A template's file, for a bucket: `container_spec.py IMAGE METADATA.json` prints it.

Needs nothing but Python: whoever puts a template into a bucket may have nothing else of this project.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_IMAGE = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._:/@]*")


def container_spec(image: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """ContainerSpec, as Google's JSON has it: the image launches the job, and its workers are started from it, too."""
    return {
        "image": image,
        "metadata": metadata,
        "sdkInfo": {"language": "PYTHON"},
        "defaultEnvironment": {"sdkContainerImage": image},
    }


def main(argv: Sequence[str]) -> int:
    """Print the file; 0, or 2 with a sentence."""
    try:
        print(json.dumps(container_spec(*_read(argv)), indent=2))
    except ValueError as error:
        print(f"container_spec: {error}", file=sys.stderr)
        return 2
    return 0


def _read(argv: Sequence[str]) -> tuple[str, dict[str, Any]]:
    if len(argv) != 2:
        raise ValueError(f"{len(argv)} words: expected IMAGE METADATA.json")
    image, name = argv
    if not _IMAGE.fullmatch(image):
        raise ValueError(f"{image!r}: expected an image, such as REGISTRY/REPOSITORY/NAME@sha256:DIGEST")
    expected = f"expected a template's metadata, such as {Path(__file__).parent / 'templates' / 'classify.json'}"
    try:
        metadata = json.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{name}: {error}; {expected}") from error
    if not isinstance(metadata, dict) or "parameters" not in metadata:
        raise ValueError(f"{name} has no parameters: {expected}")
    return image, metadata


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
