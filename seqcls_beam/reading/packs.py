"""Messages as they travel between workers before they are read: some in one batch, whatever the layout of their rows.

So a job that is updated reads what an older one has gathered by its own options.
"""

from collections.abc import Sequence

import pyarrow as pa

from seqcls_beam.reading.messages import Message

PACK = pa.schema(
    [
        ("id", pa.string()),
        ("published", pa.int64()),  # microseconds since 1970, UTC
        ("attributes", pa.map_(pa.string(), pa.string())),
        ("data", pa.binary()),
    ]
)
"""One row per message."""


def weight(message: Message) -> int:
    """Bytes of a message's payload and attributes."""
    return len(message.data) + sum([len(name) + len(value) for name, value in message.attributes.items()])


def pack(messages: Sequence[Message]) -> pa.RecordBatch:
    """Messages → PACK. They take less than 2 GiB."""
    attributes = [[*each.attributes.items()] for each in messages]
    columns = [[each.id for each in messages], [each.published for each in messages], attributes]
    columns.append([each.data for each in messages])
    arrays = [pa.array(column, field.type) for column, field in zip(columns, PACK, strict=True)]
    return pa.record_batch(arrays, schema=PACK)


def unpack(batch: pa.RecordBatch) -> list[Message]:
    """PACK → messages."""
    columns = [column.to_pylist() for column in batch.columns]
    return [Message(id, published, dict(pairs), data) for id, published, pairs, data in zip(*columns, strict=True)]
