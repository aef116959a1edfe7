"""The contract between stages: every PCollection of rows is a `pa.RecordBatch` with one of these schemas.

    UNIT → ReadRecords → RECORD → Tokenize → TOKENS → Classify → PREDICTION → WriteLabeled → LABELED, REJECT

Row for row: a stage never adds, drops or reorders rows. A row that cannot be labelled keeps its place and gets a
value in its `reject` column; later stages skip it, and the writer files it under `_rejects/`. That is why
`rows read = rows labelled + rows rejected` needs no bookkeeping.

A batch also carries a `Mark` in its schema metadata: which unit of the run it belongs to, and where in it. A unit's
batches come in input order; a unit without rows is one batch without rows.

A step of your own between two stages is a function annotated `(pa.RecordBatch) -> pa.RecordBatch`: where Beam does not
know the type, as of a lambda, it pickles batches.

- It returns the rows it was given, in their order, and in every batch the same columns of the same types.
- It keeps the schema's metadata, as `set_column` and `append_column` do, and a batch built anew does not.
- What it wants written it puts into `keep`, as another field beside those of the schema, whose metadata name classes:
  of other columns only those below reach the files. A text that is kept stands there, too, so a change of `text`
  changes what the model reads and not what is written.
- It rejects a row by a value in `reject`, with a stage and a reason of its own, and leaves rows alone that have one.

A step that raises fails the run. This file knows Arrow types and nothing else: no files, no Beam, no torch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import orjson
import pyarrow as pa

__all__ = [
    "LOSSES",
    "PREDICTION",
    "PREDICTION_MULTI_LABEL",
    "REASONS",
    "REJECT",
    "REJECT_VALUE",
    "TOKENS",
    "UNIT",
    "Mark",
    "labeled",
    "record",
]

REJECT_VALUE = pa.struct(
    [
        ("stage", pa.string()),  # "read", "tokenize" or "classify"; where data is prepared also "exact" or "assign"
        ("reason", pa.string()),  # one of REASONS
        ("detail", pa.string()),  # a sentence for people
        # The record's bytes as read: of Parquet the columns that are read, as JSON; of a file whose data end early or
        # break the line under way; of FromRows the row, as JSON; of more than 64 MiB the first MiB. Past the reader the
        # text, in UTF-8; of a message always the payload.
        ("raw", pa.binary()),
    ]
)
"""What stands in the column `reject` of a row that cannot be labelled."""

REASONS = {
    # the reader
    "invalid_json": "the line is not one JSON object (RFC 8259: no NaN, no Infinity)",
    "duplicate_key": "a JSON object has a key of a column that is read more than once",
    "missing_text": "the text column is absent or null",
    "wrong_type": "the text is not a string, or a kept column does not fit its type",
    "invalid_utf8": "the bytes are not UTF-8",
    "invalid_encoding": "the bytes are not of the encoding that was named",
    "lone_surrogate": "a JSON escape names half of a surrogate pair, which is no character",
    "nul_byte": "the text contains U+0000",
    "empty_text": "the text is empty or white space",
    "record_too_large": "the record is larger than the reader accepts",
    "ragged_row": "the row has more or fewer fields than the header",
    "unbalanced_quote": "a quoted field is not closed, or has text behind its closing quote",
    "truncated_file": "the compressed file ends early; the rows before the cut were read",
    "corrupt_file": "the file, or a row group of it, cannot be decoded; the rows before, and other groups, were read",
    "unreadable_file": "the file is not of its format (no Parquet footer, UTF-16 text …)",
    "missing_column": "the file lacks a column that is read, or has it twice",
    "invalid_timestamp": "the message lacks the attribute that says when it was, or that is no time",
    # Tokenize and Classify
    "model_error": "the tokenizer or the model raised on this row alone",
    # preparing and evaluating
    "missing_label": "the row has no label",
    "unknown_label": "the label is none of those that were named",
    "missing_answer": "the row has no answer that could be evaluated",
    # preparing
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
"""Why a row was rejected."""

LOSSES = ("truncated_file", "corrupt_file", "unreadable_file", "missing_column")
"""Reasons that speak of a file: one rejected row, where reading ended, stands for all rows that could not be read.

How many those are is known or estimated from their bytes; it stands in the manifest, by file.
"""

UNIT = pa.schema(
    [
        ("path", pa.string()),  # URI of the file, as fsspec opens it
        ("format", pa.string()),  # a key of seqcls_beam.reading.formats.FORMATS
        ("compression", pa.string()),  # "", "gz", "bz2", "xz" or "zst"
        ("start", pa.int64()),  # the first byte, or of Parquet the first row group, from 0
        ("end", pa.int64()),  # one past the last; -1: to the end of the file
        ("size", pa.int64()),  # bytes of the whole file
        ("version", pa.string()),  # etag or generation where the store has one, else the modification time
    ]
)
"""A unit is one batch of these rows, the pieces of files that are read together, in order."""

REJECT = pa.schema([("source", pa.string()), ("position", pa.int64()), *REJECT_VALUE])
"""The files under `_rejects/`. `source` and `position` as in RECORD, `source` without a password."""


_CLASSES = b"seqcls_beam.classes"
"""In the metadata of a field of `keep`, and so of the column of LABELED: what its class numbers are called."""

_FEW = 10


def with_classes(field: pa.Field, names: Sequence[str] | None) -> pa.Field:
    """A field whose values are class numbers from 0 with these names; None: they have none, or are no such numbers."""
    return field.remove_metadata() if names is None else field.with_metadata({_CLASSES: orjson.dumps(names)})


def classes_of(field: pa.Field) -> tuple[str, ...] | None:
    """What class numbers from 0 of a column are called, one or a list of them in a row; None where nothing says it."""
    names = orjson.loads((field.metadata or {}).get(_CLASSES, b"null"))
    return tuple(map(str, names)) if isinstance(names, list) else None


def told(names: Sequence[str]) -> str:
    """What class numbers from 0 are called, as a sentence has it: each beside its name, of many the first ten."""
    some = ", ".join(f"{number} {name!r}" for number, name in enumerate(names[:_FEW]))
    return some + " …" * (len(names) > _FEW)


def record(keep: pa.Schema, pair: bool) -> pa.Schema:
    """RECORD: one row per input record, in input order.

    source     URI of the file it came from; never null; a dictionary of the batch's own
    position   byte offset of its first byte in the (decompressed) file, or of Parquet its row number in the file, from
               0, or of FromRows and of messages the row's event time in microseconds; never null
    text       null in a rejected row, and in no other
    text_pair  the second sentence, likewise; only where `pair`
    keep       the input's columns that pass through, under their own names and types, never null itself; where the
               reader rejected a row, every field is null but MESSAGE and a message's attributes. The schema's field
               has what class numbers are called in its metadata (`classes_of`)
    reject     null in a good row

    Behind these stands PAYLOAD where rows come as messages, and ATTRIBUTES where rejected ones are published.
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


PAYLOAD = pa.field("payload", pa.binary())
"""A message's payload, until the model has answered: what is `raw` of a row that a later step rejects.

A message that is acknowledged exists nowhere else, and its text is not all of it.
"""

ATTRIBUTES = pa.field("attributes", pa.map_(pa.string(), pa.string()))
"""All attributes of a message, in every row: who mends a rejected message publishes it again as it was."""

TOKENS = [
    # A row's windows, each one sequence for the model, special tokens included: one, or with `--overflow=window` as
    # many as the text needs. A rejected row has none, an empty list; those of one that a later step rejects are not
    # read. The inner list is the packed layout: its values are the flat ids and its offsets the cumulative lengths.
    pa.field("input_ids", pa.list_(pa.list_(pa.int32()))),
    # Same shape as input_ids; only where pairs are read and the checkpoint tells sentences apart.
    pa.field("token_type_ids", pa.list_(pa.list_(pa.int8()))),
    pa.field("tokens", pa.int32()),  # length of all windows, with special tokens and with what windows share
    pa.field("truncated", pa.bool_()),  # the text did not fit, and a part of it stands in no window
]
"""What Tokenize adds to RECORD, behind its columns. `tokens` and `truncated` are null in a rejected row."""

PREDICTION = [
    pa.field("label", pa.dictionary(pa.int32(), pa.string())),  # the most probable label; of a regression its only one
    pa.field("score", pa.float32()),  # its probability, 0 to 1; of a regression the predicted value
    pa.field("scores", pa.list_(pa.float32())),  # of every label, in the checkpoint's id2label order
]
"""What Classify adds for a single-label or regression checkpoint, null in a rejected row.

Before these stand `source`, `position`, `keep` and `reject` of RECORD, `tokens` and `truncated` of TOKENS, ATTRIBUTES
where RECORD has it, and no more: the texts and the ids are dropped.
"""

PREDICTION_MULTI_LABEL = [
    pa.field("labels", pa.list_(pa.string())),  # those at or above the threshold, most probable first; may be empty
    pa.field("scores", pa.list_(pa.float32())),  # probability of every label, 0 to 1 each, in id2label order
]
"""What Classify adds for a multi-label checkpoint, in place of PREDICTION."""


PARTITION = "run_date"
"""The column that folders such as `run_date=2026-11-20` give a table; no file has it."""

WINDOW = "window"
"""The same of a stream's table, whose folders are windows of event time: `window=20261120T100000Z`."""


SOURCE = [
    pa.field("source_file", pa.string()),  # `source` of RECORD, without a password
    pa.field("source_position", pa.int64()),  # `position` of RECORD
]
"""What LABELED says of where a row came from, behind all other columns: of text files, and where it is asked for."""


PUBSUB = "pubsub"
"""`source` of RECORD for messages: not the subscription, since two of one topic give the same rows."""

MESSAGE = [
    pa.field("message_id", pa.string()),  # Pub/Sub's
    pa.field("event_time", pa.timestamp("us", "UTC")),
    pa.field("publish_time", pa.timestamp("us", "UTC")),
]
"""Of a row that came as a message: the last fields of `keep`, filled in rejected rows, too."""

MESSAGE_KEY = pa.field("message_key", pa.string())
"""Behind MESSAGE where messages have an attribute that tells them apart: its value, null where a message lacks it.

A message is known by its key if it has one, else by its id.
"""


MODEL = pa.field("model", pa.string())
"""What LABELED says of the model, behind TOKENS: `model_name`."""


def model_name(engine: dict[str, Any]) -> str:
    """What labelled a row (`Mark.engine`) → the value of MODEL: the first 12 digits of the checkpoint's digest.

    Of a model with several labels the threshold stands behind them, which decides what they are: 0123456789ab@0.5.
    """
    name, threshold = str(engine.get("checkpoint", ""))[:12], engine.get("threshold")
    return name if threshold is None else f"{name}@{threshold}"


def labeled(keep: pa.Schema, multi_label: bool, sourced: bool = False, streamed: bool = False) -> pa.Schema:
    """LABELED, the files under `labels/`: the kept columns of the good rows, what the model said, MODEL, then SOURCE.

    `label` is a plain string here. A kept column that is named like one of ours, like the partition, or like one before
    it, is renamed, as `renamed` does. A stream's folder may have rows of models of both kinds, so there none is named
    like a column that only the other kind has. The order of `scores` stands in the files' metadata:
    `seqcls_beam.labels`, a JSON list of names. So does in that of a column of class numbers what they are called:
    `seqcls_beam.classes`.
    """
    ours = [
        *(PREDICTION_MULTI_LABEL if multi_label else [pa.field("label", pa.string()), *PREDICTION[1:]]),
        *TOKENS[2:],
        MODEL,
        *(SOURCE if sourced else []),
    ]
    others = [*PREDICTION, *PREDICTION_MULTI_LABEL, pa.field(WINDOW, pa.string()), pa.field("reject", REJECT_VALUE)]
    taken = [*(each.name for each in [*ours, *(others if streamed else [])]), *([] if streamed else [PARTITION])]
    return pa.schema([*renamed(keep, taken), *ours])


def renamed(fields: Iterable[pa.Field], taken: Iterable[str]) -> list[pa.Field]:
    """Fields under names of their own: one that is named like a taken one, or like one before it, as `input_<name>`.

    So it is renamed as often as that is taken. Names are compared without case, since query engines do not tell `Label`
    from `label`.
    """
    given = list(fields)
    others = {each.name.casefold() for each in given}
    used = {name.casefold() for name in taken}
    made = []
    for each in given:
        name = each.name
        while name.casefold() in used or (name != each.name and name.casefold() in others):
            name = f"input_{name}"
        used.add(name.casefold())
        made.append(each.with_name(name))
    return made


@dataclass(frozen=True)
class Mark:
    """Where a batch stands in its run, and what is known of it that is no column."""

    unit: int  # the unit it belongs to, from 0 …
    units: int  # … of how many; 0: of none, as rows that came by FromRows
    sequence: int = 0  # number of the batch in its unit, from 0
    last: bool = False  # no batch of the unit follows
    rows: int = 0  # rows of the unit up to and including this batch, rejected ones among them
    bytes: int = 0  # input bytes that the rows of this batch took, near enough to show progress
    # With `last`, the unit's pieces as in UNIT, each also with `rows`, how many were read from it, rejected ones among
    # them, and `losses`, what could not be read: {reason, detail, rows (None: not known), bytes, weight} each.
    inputs: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # wall time spent on this batch, by stage
    sourced: bool = False  # LABELED has SOURCE
    # What classified it: model, device, dtype, threads … The writer needs `labels`, in the order of `scores`.
    engine: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> Self:
        """Read the mark of a batch; raises `ValueError` where there is none."""
        packed = (batch.schema.metadata or {}).get(_MARK)
        if packed is None:
            raise ValueError(
                "a batch carries no mark of its unit: it was made without ReadRecords or FromRows, or a step between "
                f"lost the schema's metadata (keep batch.schema.metadata); its columns are {batch.schema.names}"
            )
        return cls(**orjson.loads(packed))

    def on(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same batch, carrying this mark."""
        return batch.replace_schema_metadata({**(batch.schema.metadata or {}), _MARK: orjson.dumps(asdict(self))})

    def spent(self, stage: str, seconds: float) -> Self:
        """This mark with `seconds` added to `stage`."""
        return replace(self, seconds={**self.seconds, stage: self.seconds.get(stage, 0.0) + seconds})


_MARK = b"seqcls_beam.mark"
