"""First bytes of a file → what it is, where that is no text whatever the file is called."""

import re

_COMPRESSED = {
    rb"\x1f\x8b\x08": "gz",
    rb"BZh[1-9]1AY&SY": "bz2",
    rb"\xfd7zXZ\x00": "xz",
    rb"\x28\xb5\x2f\xfd": "zst",
}
_PARQUET, _ZIP = re.compile(rb"PAR1\x15"), re.compile(rb"PK\x03\x04")  # behind PAR1 a Thrift struct, and no letter


def compression_of(head: bytes) -> str:
    """How what begins with these bytes is compressed: a value of `COMPRESSIONS`, or ""."""
    return next((name for signature, name in _COMPRESSED.items() if re.match(signature, head)), "")


def no_text(head: bytes, compression: str) -> str:
    """What begins with these bytes and is read as text → what it is and what to do, "" where it may be text.

    `compression` is what was undone already.
    """
    if found := compression_of(head):
        if compression:
            return f"what is compressed in it is {found} again: decompress it once"
        return f"it is compressed: give its name the ending .{found}, or decompress it"
    if _PARQUET.match(head):
        return "it is a Parquet file: give its name the ending .parquet" + (" and decompress it" if compression else "")
    return "it is a zip archive: unpack it, and name the files that were in it" if _ZIP.match(head) else ""


def no_parquet(head: bytes) -> str:
    """What begins with these bytes and is read as Parquet → what it is and what to do; "" where it may be Parquet."""
    if head.startswith((b"PAR1", b"PARE")):
        return ""
    if found := compression_of(head):
        return f"it is compressed ({found}): decompress it"
    if _ZIP.match(head):
        return "it is a zip archive: unpack it, and name the files that were in it"
    return "it does not begin as one: say with --input_format what it is, or give its name the ending of that"
