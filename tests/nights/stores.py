"""A bucket on a service of its own, which the nights reach through a proxy at which requests fail."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import fsspec

from tests import gcs, proxy, s3

BUCKET = "nights"
_SERVICES = {"gs": (gcs.bucket, "STORAGE_EMULATOR_HOST"), "s3": (s3.bucket, "AWS_ENDPOINT_URL")}
_RATES = dict.fromkeys(proxy.KINDS, 0.006)  # of each kind that a request may meet with


@dataclass(frozen=True)
class Store:
    """A bucket, as the tests reach it and as the nights do."""

    fs: fsspec.AbstractFileSystem  # past the proxy
    scheme: str  # gs:// or s3://
    bucket: str
    environ: dict[str, str]  # of processes that are led through the proxy
    faults: proxy.Faults


@contextmanager
def faulty(kind: str, seed: int) -> Iterator[Store]:
    """A bucket of gs or s3. Clients of this process reach it without faults."""
    bucket, variable = _SERVICES[kind]
    with bucket(BUCKET), proxy.before(os.environ[variable], seed) as (url, faults):
        faults.rates = _RATES
        fs = fsspec.filesystem(kind, skip_instance_cache=True, use_listings_cache=False)
        yield Store(fs, f"{kind}://", BUCKET, {variable: url}, faults)
