"""What topics get of a stream: PREDICTION → letters, each the data and the attributes of a message of Pub/Sub.

A labelled row becomes a JSON object with the columns of LABELED, under the names that they have in the stream's table.
A rejected row becomes the message that it was, and says why in attributes of its own.

The service takes no message with more than 100 attributes, none with a name above 256 bytes or a value above 1,024, no
name that begins with "goog", and nothing above 10 MB. What is ours is cut to that. Attributes of a message that do not
fit are left out whole, of too many the last ones by name, and of a message that would be too large with them all; a
letter that is too large then is not made. Whatever that leaves out stands in the output folder.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from seqcls_beam.model.answers import answers
from seqcls_beam.rows import in_python
from seqcls_beam.runs import windows
from seqcls_beam.schema import ATTRIBUTES, MESSAGE_KEY, MODEL, WINDOW, Mark, labeled, model_name

MAX_ATTRIBUTES = 100
MAX_NAME = 256
"""Bytes of an attribute's name in UTF-8."""
MAX_VALUE = 1024
"""Bytes of its value."""
MAX_LETTER = 9_990_000
"""Bytes, as `size` has them: a request has 10,000,000 at most, and names its topic, too."""

OURS = "seqcls_beam."
"""Begins the names of what a rejected message says; attributes of this name that it came with are those of an earlier
time, and are replaced."""
LEFT_OUT = f"{OURS}attributes_left_out"
_RESERVED = "goog"


class Letter(NamedTuple):
    """A message to be published."""

    data: bytes
    attributes: dict[str, str]

    @property
    def size(self) -> int:
        """Bytes that it takes in a request, or some more."""
        named = sum([len(name.encode()) + len(value.encode()) + 12 for name, value in self.attributes.items()])
        return len(self.data) + named + 16


class Letters(NamedTuple):
    """Those of a batch, and how many rows have none since it would be too large."""

    made: list[Letter]
    too_large: int


def of_labelled(predictions: pa.RecordBatch, window: int) -> Letters:
    """PREDICTION rows with the fields of MESSAGE in `keep` → a letter for each labelled one, in their order.

    `window` is the length of windows in seconds. Times are RFC 3339, and what JSON has not is a string, but for numbers
    that are none or infinite: they are null. Attributes are `message_id`, MESSAGE_KEY where the row has one, `model`,
    `window` as the table has it, and `event_time`.
    """
    good = predictions.filter(predictions["reject"].is_null())
    if not len(good):
        return Letters([], 0)
    said = answers(good)
    kept = pa.schema(list(good.schema.field("keep").type))
    names = labeled(kept, "labels" in good.schema.names, streamed=True).names
    keep = good["keep"]
    model = model_name(Mark.of(good).engine)
    ids = keep.field("message_id").to_pylist()
    keyed = MESSAGE_KEY.name in kept.names
    keys = keep.field(MESSAGE_KEY.name).to_pylist() if keyed else [None] * len(good)
    times = windows.microseconds(keep.field("event_time")).tolist()
    places = [""] * len(good)
    for name, rows in windows.cut(keep.field("event_time"), window):
        for row in rows.tolist():
            places[row] = name.removeprefix(f"{WINDOW}=")
    made = []
    for number, values in enumerate(zip(*map(in_python, said.columns), strict=True)):
        row = dict(zip(names, values, strict=True))
        attributes = {"message_id": ids[number], MODEL.name: model, WINDOW: places[number]}
        attributes["event_time"] = windows.told(times[number])
        if keys[number] is not None:
            attributes[MESSAGE_KEY.name] = keys[number]
        made.append(Letter(orjson.dumps(row, _plain, orjson.OPT_UTC_Z), _cut(attributes)))
    return _that_fit(made)


def of_rejected(predictions: pa.RecordBatch) -> Letters:
    """PREDICTION rows with ATTRIBUTES → a letter for each rejected one: its payload, and all its attributes that fit.

    Beside these `seqcls_beam.message_id`, `seqcls_beam.stage`, `seqcls_beam.reason` and `seqcls_beam.detail`; where
    attributes are left out, `seqcls_beam.attributes_left_out` is their number.
    """
    bad = predictions.filter(predictions["reject"].is_valid())
    rejects = bad["reject"].to_pylist()
    ids = bad["keep"].field("message_id").to_pylist()
    made = []
    for id, reject, came in zip(ids, rejects, bad[ATTRIBUTES.name].to_pylist(), strict=True):
        said = {"message_id": id, **{each: reject[each] or "" for each in ("stage", "reason", "detail")}}
        own = _cut({f"{OURS}{name}": value for name, value in said.items()})
        made.append(_as_it_came(reject["raw"] or b"", dict(came or ()), own))
    return _that_fit(made)


def _as_it_came(data: bytes, came: Mapping[str, str], own: dict[str, str]) -> Letter:
    """A message with what it says of itself before what it came with, as much as the service takes."""
    theirs = {name: value for name, value in came.items() if not name.startswith(OURS)}
    room = MAX_ATTRIBUTES - len(own) - 1
    fitting = {name: theirs[name] for name in sorted(filter(None, theirs)) if _fits(name, theirs[name])}
    kept = {name: fitting[name] for name in [*fitting][:room]}
    if Letter(data, own | kept).size > MAX_LETTER:
        kept = {}
    left = len(theirs) - len(kept)
    return Letter(data, kept | own | ({LEFT_OUT: str(left)} if left else {}))


def _fits(name: str, value: str) -> bool:
    return not name.startswith(_RESERVED) and len(name.encode()) <= MAX_NAME and len(value.encode()) <= MAX_VALUE


def _cut(attributes: Mapping[str, str]) -> dict[str, str]:
    """Values of our own attributes, none too long and none with a part of a character."""
    return {name: value.encode()[:MAX_VALUE].decode(errors="ignore") for name, value in attributes.items()}


def _that_fit(letters: Iterable[Letter]) -> Letters:
    all_ = [*letters]
    made = [each for each in all_ if each.size <= MAX_LETTER]
    return Letters(made, len(all_) - len(made))


def _plain(value: Any) -> Any:
    """What JSON has not."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
