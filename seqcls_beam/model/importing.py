"""Heavy libraries are imported by one thread at a time.

Steps of a pipeline run in several threads of a worker. Of two that import transformers at once, one of them through
torch, each waits for a module that the other has begun; Python ends that by handing one of them half a module.
"""

import os
import threading

os.environ.setdefault("USE_HUB_KERNELS", "NO")  # transformers would fetch native code where it finds `kernels`

IMPORTING = threading.RLock()
"""Held by whoever imports transformers, or what of this package does, from within a function."""
