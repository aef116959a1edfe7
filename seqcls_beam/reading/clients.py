"""The one client that this process has of a subscription, whatever pipelines come and go."""

import threading

from seqcls_beam.config.stream import SourceOptions
from seqcls_beam.reading.subscription import Subscription

_open: dict[str, Subscription] = {}
_lock = threading.Lock()


def opened(source: SourceOptions, pulling: bool = True) -> Subscription:
    """The client of a subscription; it pulls from when it first is to. Raises as `Service.connect`."""
    with _lock:
        subscription = _open.get(source.subscription)
        if subscription is None:
            subscription = Subscription(source.subscription, source.max_outstanding)
            _open[source.subscription] = subscription
        if pulling:
            subscription.start()
        return subscription


def forget(source: SourceOptions, patience: float) -> None:
    """Close a subscription if it is open, as `Subscription.close` does."""
    with _lock:
        subscription = _open.pop(source.subscription, None)
    if subscription is not None:
        subscription.close(patience)
