"""An Arrow column that came from elsewhere → the column that is read or kept, under its type."""

import pyarrow as pa

from seqcls_beam.reading.formats.columns import cast, invalid_rows, misfits, nulled, plain, shown, stringy, valid_utf8


def fitted(
    values: pa.Array,
    name: str,
    type: pa.DataType | None,
    rejects: dict[int, tuple[str, str]],
    text: bool = False,
    where: str = "this file",
) -> pa.Array:
    """A column under a type, None: its own; rows that do not fit it are added to the rejects, and null.

    A `text` must be one: a number that could be cast to a string is none. Raises `ArrowInvalid` for what is no array.
    """
    found = plain(values.type)
    if isinstance(values.type, pa.BaseExtensionType):
        values = values.storage
    if isinstance(values.type, pa.DictionaryType) or values.type in (pa.string_view(), pa.binary_view()):
        values = values.cast(found)
    # Strings are promised to be UTF-8; nobody checks it but the reader.
    if stringy(found) and not valid_utf8(values):
        bad = invalid_rows(values.cast(pa.binary()).to_pylist())
        rejects.update({each: ("invalid_utf8", f"{shown(name)} is not UTF-8") for each in bad})
        values = nulled(values, bad)
    if pa.types.is_nested(found) and (bad := _undecodable(values)):
        rejects.update({each: ("invalid_utf8", f"{shown(name)} holds what is not UTF-8") for each in bad})
        values = nulled(values, bad)
    type = type or found
    values, unfit = misfits(values, type) if text and not stringy(found) else cast(values, type)
    for each in unfit:
        rejects.setdefault(each, ("wrong_type", f"{shown(name)} is {found} in {where} and no {type}"))
    return values


def _undecodable(values: pa.Array) -> list[int]:
    """Rows of a nested column that hold strings which are no UTF-8."""
    try:
        values.validate(full=True)
        return []
    except pa.ArrowInvalid:
        bad = []
        for row, value in enumerate(values):
            try:
                value.as_py()
            except UnicodeDecodeError:
                bad.append(row)
        if not bad:
            raise
        return bad
