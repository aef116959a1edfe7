"""How batches travel between workers: Arrow IPC, registered for `pa.RecordBatch`.

Without it Beam pickles, and a pickled slice carries the whole batch it was cut from. The coder is used only where
the element type is known to Beam: every function between stages is annotated.
"""

import pyarrow as pa
from apache_beam.coders.coders import Coder, ListCoder
from apache_beam.coders.typecoders import registry

from seqcls_beam.transforms.overlap import Gathered


class RecordBatchCoder(Coder):
    """`pa.RecordBatch` ↔ one Arrow IPC stream: schema with metadata, then the rows and nothing beside them."""

    def encode(self, value: pa.RecordBatch) -> bytes:
        """Batch → bytes."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as stream:
            stream.write_batch(value)
        return sink.getvalue().to_pybytes()

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        """Bytes → batch, without a copy."""
        return pa.ipc.open_stream(encoded).read_next_batch()

    def estimate_size(self, value: pa.RecordBatch) -> int:
        """Bytes that the rows take; Beam asks for its metrics, and encoding to find out would cost."""
        return int(value.nbytes)

    def is_deterministic(self) -> bool:
        """Equal batches need not have equal bytes: dictionaries and offsets may differ."""
        return False

    def to_type_hint(self) -> type:
        """The type this coder is registered for."""
        return pa.RecordBatch


class GatheredCoder(Coder):
    """`Gathered` ↔ its batches as Arrow IPC streams, one after the other."""

    def __init__(self) -> None:
        self._list = ListCoder(RecordBatchCoder())

    def encode(self, value: Gathered) -> bytes:
        """Batches → bytes."""
        return self._list.encode(value.batches)

    def decode(self, encoded: bytes) -> Gathered:
        """Bytes → batches."""
        return Gathered(self._list.decode(encoded))

    def estimate_size(self, value: Gathered) -> int:
        """As that of one batch."""
        return value.nbytes

    def is_deterministic(self) -> bool:
        """No more than one batch."""
        return False

    def to_type_hint(self) -> type:
        """The type this coder is registered for."""
        return Gathered


registry.register_coder(pa.RecordBatch, RecordBatchCoder)
registry.register_coder(Gathered, GatheredCoder)
