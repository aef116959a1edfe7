"""Which client a URI means, and what to install where it is not there."""

from typing import Any

import fsspec
from fsspec.archive import AbstractArchiveFileSystem
from fsspec.implementations.chained import ChainedFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import known_implementations
from fsspec.utils import get_protocol

from seqcls_beam.storage.discretion import without_password
from seqcls_beam.storage.faults import MissingPackage, told
from seqcls_beam.storage.names import is_local, is_web, local_path
from seqcls_beam.storage.remote import Remote

_DISK = LocalFileSystem()
_GOOGLE, _AMAZON = ("gs", "gcs"), ("s3", "s3a")
_EXTRAS = {**dict.fromkeys(_GOOGLE, "gcp"), **dict.fromkeys(_AMAZON, "s3")}
_KEYS = {
    **dict.fromkeys(_GOOGLE, "set GOOGLE_APPLICATION_CREDENTIALS, or log in with gcloud"),
    **dict.fromkeys(_AMAZON, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
}
"""Where the client of a protocol looks for them."""

_PACKAGES = {
    **dict.fromkeys(("http", "https"), "aiohttp"),
    **dict.fromkeys(("sftp", "ssh"), "paramiko"),
    "hdfs": "pyarrow",
    "smb": "smbprotocol",
}
"""What clients of fsspec's own stand on."""


def connect(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it. Listings are not cached: other processes write there too.

    Raises `ValueError` for a protocol that nobody knows, or keys that nobody would read, and `MissingPackage` where
    what opens it is not there. A store that fails is a `StoreError`, here and in all calls of the file system and of
    its files.
    """
    if is_local(uri):
        return _DISK, local_path(uri)
    protocol = get_protocol(uri)
    if protocol in _KEYS and (shown := without_password(uri)) != uri:
        raise ValueError(f"{shown}: keys in front of a bucket are not read; {_KEYS[protocol]}")
    try:
        return _elsewhere(uri, protocol)
    except ImportError as error:
        raise MissingPackage(_missing(uri, protocol, error)) from error


def _elsewhere(uri: str, protocol: str) -> tuple[Remote, str]:
    if is_web(uri):
        from seqcls_beam.storage.web import Web  # its package comes with extras only

        return Remote(Web()), uri
    kind = fsspec.get_filesystem_class(protocol)
    if "::" in uri and issubclass(kind, (ChainedFileSystem, AbstractArchiveFileSystem)):
        with told(uri):
            chained, path = fsspec.core.url_to_fs(uri, use_listings_cache=False)
        return Remote(chained), path
    # Not `url_to_fs`, which takes a:: in any name for a chain of file systems.
    options = kind._get_kwargs_from_urls(uri)
    if "#" in uri:
        options.pop("version_aware", None)  # a # is a sign like others, and no generation of an object
    path = kind._strip_protocol(uri)
    if protocol == "memory" and path:
        path = f"/{path.lstrip('/')}"
    as_seen = Remote
    if protocol in _GOOGLE:
        from seqcls_beam.storage.google import STALLED, Google

        as_seen, options = Google, {**options, "requests_timeout": STALLED}
    if protocol in _AMAZON:
        from seqcls_beam.storage.amazon import Amazon

        as_seen = Amazon
    with told(uri):  # credentials are looked for
        return as_seen(kind(**options, use_listings_cache=False)), path


def _missing(uri: str, protocol: str, error: ImportError) -> str:
    """What to install for a protocol whose client cannot be imported, a sentence."""
    own = known_implementations.get(protocol, {}).get("class", "fsspec").partition(".")[0]
    package = _PACKAGES.get(protocol) or (own if own != "fsspec" else "")
    lacks = package or error.name or getattr(error.__cause__, "name", None) or f"for {protocol}:// ({error})"
    what = f"'seqcls_beam[{_EXTRAS[protocol]}]'" if protocol in _EXTRAS else lacks
    cure = f" (pip install {what})" if " " not in what else ""
    return f"{without_password(uri)}: the package {lacks} is not installed{cure}"
