"""A template's file, for a bucket: `container_spec.py IMAGE METADATA.json` prints it.

Needs nothing but Python: whoever puts a template into a bucket may have nothing else of this project.
"""

import json
import sys
from pathlib import Path
from typing import Any


def container_spec(image: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """ContainerSpec, as Google's JSON has it: the image launches the job, and its workers are started from it, too."""
    return {
        "image": image,
        "metadata": metadata,
        "sdkInfo": {"language": "PYTHON"},
        "defaultEnvironment": {"sdkContainerImage": image},
    }


if __name__ == "__main__":
    print(json.dumps(container_spec(sys.argv[1], json.loads(Path(sys.argv[2]).read_text())), indent=2))
