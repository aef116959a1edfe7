"""A worker process of Beam's local runner that lives as long as who started it wants: `python -m … FILE`.

Beam itself waits for a process that is not connected yet, and one whose starter was killed waits for it.
"""

import os
import sys
import threading
import time

from apache_beam.runners.worker import sdk_worker_main

_SECONDS = 0.2


def _watch(file: str, parent: int) -> None:
    """End this process, without a word, where the file or the parent is gone."""
    while os.path.exists(file) and os.getppid() == parent:
        time.sleep(_SECONDS)
    os._exit(0)


def main(file: str) -> None:
    """Work until the file, or folder, is gone."""
    threading.Thread(target=_watch, args=(file, os.getppid()), daemon=True).start()
    try:
        sdk_worker_main.main(sys.argv)
    except Exception:  # Beam has logged it
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
