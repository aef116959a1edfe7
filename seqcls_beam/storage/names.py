"""How files are named, on the local disk and elsewhere.

On the local disk a name is any bytes. Where they are not UTF-8 the URI is bytes://PATH, with %FF for a byte that is no
part of a character and %25 for a percent sign; every other local name stands for itself, whatever signs are in it.
"""

import os
import re
from functools import lru_cache

from fsspec.implementations.local import make_path_posix
from fsspec.utils import get_protocol

_PROTOCOL = re.compile(r"([A-Za-z][\w+.-]*)(?:://|::(?=.*://))", re.DOTALL)
_LOCAL = ("file", "local", "bytes")
_WEB = ("http", "https")
_ESCAPED = re.compile("%(25|[89A-F][0-9A-F])", re.IGNORECASE)
_UNDECODED = re.compile("[%\udc80-\udcff]")  # as Python has bytes of a name that are not UTF-8

STANDARD_INPUT = "seqcls_beam-stdin-"
"""How the name of a file begins that holds a standard input; its digest follows, 32 digits."""


def is_local(uri: str) -> bool:
    """Whether a URI is on this machine's disks, where folders can be renamed at once."""
    # By name: connecting to a store can take seconds.
    protocol = _PROTOCOL.match(uri)
    return protocol is None or protocol[1] in _LOCAL


def is_web(uri: str) -> bool:
    """Whether a URI is one of HTTP: a single file, without folders beside it."""
    return not is_local(uri) and get_protocol(uri) in _WEB


def absolute(uri: str) -> str:
    """A URI that means the same file in any working folder; no slash at the end. Raises `ValueError` for no name."""
    if not uri:
        raise ValueError("an empty name is no file and no folder (an unset variable?); . is the working folder")
    if is_local(uri):
        return named(os.path.abspath(local_path(uri)))
    return uri if is_web(uri) else uri.rstrip("/")


def named(path: str) -> str:
    """A path of the local disk, or a pattern of them, as a URI that is UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "bytes://" + _UNDECODED.sub(lambda sign: f"%{ord(sign[0]) & 0xFF:02X}", path)
    return path


def local_path(uri: str) -> str:
    """A URI of the local disk → the path, absolute, as the functions of `os` take it."""
    protocol = re.match(r"(?:file|local|bytes)://|(?:file|local):(?=/)", uri)
    path = uri[protocol.end() :] if protocol else uri
    if protocol and protocol[0] == "bytes://":
        signs = _ESCAPED.sub(lambda sign: "%" if sign[1] == "25" else chr(0xDC00 + int(sign[1], 16)), path)
        path = os.fsdecode(os.fsencode(signs))
    path = make_path_posix(path)
    if not path.startswith("/"):  # a name that begins with ~ and is no user's
        path = f"{os.getcwd()}/{path}"
    # Two slashes at the beginning are one: POSIX leaves it open, and no system tells them apart.
    return re.sub("^/+", "/", path.rstrip("/") or "/")


def is_gone(uri: str) -> bool:
    """Whether an absolute name of the local disk leads nowhere; of a store nothing is asked."""
    return uri.startswith(("/", "bytes://")) and not os.path.exists(local_path(uri))


def resolved(uri: str) -> str:
    """An absolute name of the local disk without the links in it; any other as it is."""
    return named(os.path.realpath(local_path(uri))) if uri.startswith(("/", "bytes://")) else uri


def join(folder: str, *names: str) -> str:
    """A URI below a folder."""
    return "/".join([folder.rstrip("/"), *names])


def lies_in(uri: str, folder: str) -> bool:
    """Whether a file lies in a folder, at any depth, whatever links to folders lead there."""
    if is_local(uri) and is_local(folder):
        uri, folder = f"{_real(os.path.dirname(local_path(uri)))}/", _real(local_path(folder))
    return uri.startswith(f"{folder.rstrip('/')}/")


@lru_cache(1024)
def _real(path: str) -> str:
    return os.path.realpath(path)
