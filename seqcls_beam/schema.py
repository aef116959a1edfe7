"""The contract between stages: every PCollection of rows is a `pa.RecordBatch` with one of these schemas.

    UNIT → ReadRecords → RECORD → Tokenize → TOKENS → Classify → PREDICTION → WriteLabeled → LABELED, REJECT

Row for row: a stage never adds, drops or reorders rows. A row that cannot be labelled keeps its place and gets a
value in its `reject` column; later stages skip it, and the writer files it under `rejects/`. That is why
`rows in = rows labelled + rows rejected` needs no bookkeeping.

A batch also carries a `Mark` in its schema metadata: which unit of the run it belongs to, and where in it.
This file knows Arrow types and nothing else: no files, no Beam, no torch.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import orjson
import pyarrow as pa

REJECT_VALUE = pa.struct(
    [
        ("stage", pa.string()),  # "read", "tokenize" or "classify"
        ("reason", pa.string()),  # one of REASONS
        ("detail", pa.string()),  # a sentence for people
        ("raw", pa.binary()),  # the record's bytes as read; past the reader, the UTF-8 bytes of its text
    ]
)

REASONS = {
    "invalid_json": "the line is not one JSON object (RFC 8259: no NaN, no Infinity)",
    "duplicate_key": "a JSON object names a column that is read twice",
    "missing_text": "the text column is absent or null",
    "wrong_type": "the text is not a string, or a kept column does not fit its type",
    "invalid_utf8": "the bytes are not UTF-8",
    "lone_surrogate": "a JSON escape names half of a surrogate pair, which is no character",
    "nul_byte": "the text contains U+0000",
    "empty_text": "the text is empty or white space",
    "record_too_large": "the record is larger than the reader accepts",
    "ragged_row": "the row has more or fewer fields than the header",
    "unbalanced_quote": "a quoted field is not closed, or has text behind its closing quote",
    "truncated_file": "the compressed file ends early; the rows before the cut were read",
    "corrupt_file": "the file, or a row group of it, cannot be decoded; the rows before were read",
    "unreadable_file": "the file is not of its format (no Parquet footer, UTF-16 text …)",
    "missing_column": "the file lacks a column that the others have, or has it twice",
    "vanished_file": "the file was listed when the run was planned and is gone",
    "model_error": "the tokenizer or the model raised on this row alone",
    "missing_label": "the row has no label",
    "unknown_label": "the label is none of those that were named",
    "unknown_split": "the split column names no split",
    "too_short": "the cleaned text has fewer characters than were asked for",
    "too_long": "the cleaned text has more characters than were asked for",
    "wrong_language": "the text is in none of the languages that were asked for",
    "duplicate": "the same text with the same label is there already",
    "conflicting_labels": "the same text is there with another label",
    "leak": "the same text is in a split of higher priority",
    "near_leak": "a near-duplicate is in a split of higher priority",
    "group_leak": "a row of the same group, or with the same sentence, is in a split of higher priority",
    "near_duplicate": "a near-duplicate stays in its place",
    "contaminated": "the text is, or nearly is, one that must not be learned from",
}
"""Why a row was rejected. A reason that speaks of a file rejects it as one row, at the position where reading ended."""

UNIT = pa.schema(
    [
        ("path", pa.string()),  # URI of the file, as fsspec opens it
        ("format", pa.string()),  # a key of seqcls_beam.reading.formats.FORMATS
        ("compression", pa.string()),  # "", "gz", "bz2", "xz" or "zst"
        ("start", pa.int64()),  # bytes, or row groups of Parquet: the first
        ("end", pa.int64()),  # … and one past the last; -1: to the end of the file
        ("size", pa.int64()),  # bytes of the whole file
        ("version", pa.string()),  # etag or generation where the store has one, else the modification time
    ]
)
"""A unit is one batch of these rows, the pieces of files that are read together, in order."""

REJECT = pa.schema([("source", pa.string()), ("position", pa.int64()), *REJECT_VALUE])
"""The files under `rejects/`. `position` as in RECORD."""


def record(keep: pa.Schema, pair: bool) -> pa.Schema:
    """RECORD: one row per input record.

    source     URI of the file it came from
    position   byte offset of its first byte in the (decompressed) file; for Parquet the row number in the file
    text       null where `reject` is not
    text_pair  the second sentence; only where pairs are read
    keep       the input's columns that pass through, under their own names and types
    reject     null for good rows
    """
    return pa.schema(
        [
            ("source", pa.dictionary(pa.int32(), pa.string())),
            ("position", pa.int64()),
            ("text", pa.string()),
            *([("text_pair", pa.string())] if pair else []),
            ("keep", pa.struct(list(keep))),
            ("reject", REJECT_VALUE),
        ]
    )


TOKENS = [
    # A row's windows, each one sequence for the model, special tokens included. The inner list is the packed layout:
    # its values are the flat ids and its offsets the cumulative sequence lengths. A truncated text has one window,
    # a rejected row none.
    pa.field("input_ids", pa.list_(pa.list_(pa.int32()))),
    # Same shape as input_ids; only where pairs are read and the checkpoint tells sentences apart.
    pa.field("token_type_ids", pa.list_(pa.list_(pa.int8()))),
    pa.field("tokens", pa.int32()),  # tokens of the whole text that were fed to the model, over all windows
    pa.field("truncated", pa.bool_()),  # the text did not fit and its end was not read
]
"""What Tokenize adds to RECORD. `tokens` and `truncated` are null for a rejected row."""

PREDICTION = [
    pa.field("label", pa.dictionary(pa.int32(), pa.string())),  # name of the most probable label
    pa.field("score", pa.float32()),  # its probability; for a regression the predicted value
    pa.field("scores", pa.list_(pa.float32())),  # probability of every label, in the checkpoint's id2label order
]
"""What Classify adds for a single-label or regression checkpoint, in place of `input_ids` and `token_type_ids`."""

PREDICTION_MULTI_LABEL = [
    pa.field("labels", pa.list_(pa.string())),  # names of the labels at or above the threshold, most probable first
    pa.field("scores", pa.list_(pa.float32())),  # probability of every label, each on its own
]
"""What Classify adds for a multi-label checkpoint."""


def labeled(keep: pa.Schema, multi_label: bool) -> pa.Schema:
    """LABELED, the files under `labels/`: the kept columns, then what the model said.

    A kept column whose name, in any case, is one of ours is renamed `input_<name>`: query engines do not tell
    `Label` from `label`.
    """
    ours = [
        *(PREDICTION_MULTI_LABEL if multi_label else [pa.field("label", pa.string()), *PREDICTION[1:]]),
        *TOKENS[2:],
    ]
    taken = {f.name for f in ours}
    others = {f.name.casefold() for f in keep}
    kept = []
    for each in keep:
        name = each.name
        while name.casefold() in taken or (name != each.name and name.casefold() in others):
            name = f"input_{name}"
        taken.add(name.casefold())
        kept.append(each.with_name(name))
    return pa.schema([*kept, *ours])


@dataclass(frozen=True)
class Mark:
    """Where a batch stands in its run, and what is known of it that is no column."""

    unit: int  # the unit it belongs to …
    units: int  # … of how many
    sequence: int = 0  # number of the batch in its unit, from 0
    last: bool = False  # no batch of the unit follows; a unit without rows is one empty batch
    rows: int = 0  # rows of the unit up to and including this batch
    bytes: int = 0  # input bytes that the rows of this batch took, near enough to show progress
    inputs: list[dict[str, Any]] = field(default_factory=list)  # with `last`: the unit's pieces, as in UNIT
    seconds: dict[str, float] = field(default_factory=dict)  # spent on this batch, by stage
    engine: dict[str, Any] = field(default_factory=dict)  # what classified it: model, labels, device, dtype, threads …

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> Self:
        """Read the mark of a batch; raises `ValueError` where there is none."""
        packed = (batch.schema.metadata or {}).get(_MARK)
        if packed is None:
            raise ValueError(
                "a batch carries no mark of its unit: it was made without ReadRecords, or a step between lost the "
                f"schema's metadata (keep batch.schema.metadata); its columns are {batch.schema.names}"
            )
        return cls(**orjson.loads(packed))

    def on(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same batch, carrying this mark."""
        return batch.replace_schema_metadata({**(batch.schema.metadata or {}), _MARK: orjson.dumps(asdict(self))})

    def spent(self, stage: str, seconds: float) -> Self:
        """This mark with `seconds` added to `stage`."""
        return replace(self, seconds={**self.seconds, stage: self.seconds.get(stage, 0.0) + seconds})


_MARK = b"seqcls_beam.mark"
