"""One word from the first process to all, before they train.

Processes that looked for themselves whether there is anything to do could see different things, since the first one may
be publishing at that moment; then some would wait for others that are gone.
"""

import functools
import os
from datetime import timedelta
from typing import Any

from torch.distributed.rendezvous import rendezvous

# The others wait while the first process finishes a publication that was interrupted: of a large model, into a bucket.
LONGEST = timedelta(hours=6)


def agree(word: str | None) -> str:
    """The word that the first process gives; the others give None, and wait.

    Through the store that torchrun set up for the processes to meet.
    """
    store = _store()
    key = f"seqcls_beam/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    if word is not None:
        store.set(key, word)
    said: str = store.get(key).decode()
    return said


@functools.cache  # without torchrun the store is of the first process, and is gone for all when that lets go of it
def _store() -> Any:
    store, _, __ = next(iter(rendezvous("env://", timeout=LONGEST)))
    return store
