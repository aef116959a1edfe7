"""First stage: a unit of records → cleaned, labelled, tokenised examples, by the partition of their key."""

import time
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam import storage
from seqcls_beam.model.tokens import encode
from seqcls_beam.preparation import labels, spellings, splits
from seqcls_beam.preparation.blocks import offsets_of
from seqcls_beam.preparation.clean import clean
from seqcls_beam.preparation.exchange import SpillWriter, gather
from seqcls_beam.preparation.grouping import groups
from seqcls_beam.preparation.job import Job, Source, label_type
from seqcls_beam.preparation.keys import digests, duplicate_key, pair_up
from seqcls_beam.preparation.rejects import Rejects
from seqcls_beam.reading.records import read_unit
from seqcls_beam.rows import decoded_bytes
from seqcls_beam.runs import progress
from seqcls_beam.schema import Mark

MAX_NAME_BYTES = 2**16
"""Of an id, and of the labels of a row: rows of a partition have theirs in memory at once, several times over."""
_JUDGED = 40  # characters from which a language can be told


def example(job: Job) -> pa.Schema:
    """EXAMPLE: one row per good record, as it travels between stages."""
    return pa.schema(
        [
            ("order", pa.uint64()),  # first half of the key's digest: the place of the row in the output
            ("chance", pa.uint64()),  # second half: what its split is drawn from
            ("source", pa.string()),
            ("position", pa.int64()),
            ("id", pa.string()),  # null where no id column was named
            ("split", pa.int8()),  # as splits.NAMES, or NONE, or REFERENCE
            ("label", label_type(job.problem)),
            ("groups", pa.list_(pa.uint64())),  # digests of the values of the columns that group
            ("text", pa.string()),
            *([("text_pair", pa.string())] if job.pairs else []),
            ("input_ids", pa.list_(pa.int32())),
            *([("token_type_ids", pa.list_(pa.int8()))] if job.tokenizer.typed(job.pairs) else []),
            ("whole", pa.int32()),  # tokens it would have without a limit
        ]
    )


def read_examples(unit: pa.RecordBatch, job: Job) -> dict[str, Any]:
    """UNIT → EXAMPLE in the exchange, and the unit's record."""
    began = time.perf_counter()
    mark = Mark.of(unit)
    source = job.source(mark.unit)
    found: Counter[tuple[str, str]] = Counter()
    changed: Counter[str] = Counter()
    with (
        Rejects(job, "read", mark.unit) as rejects,
        SpillWriter(job.exchange, f"examples-{mark.unit:05d}", example(job), job.memory) as spill,
    ):
        for batch in read_unit(unit, source.layout):
            mark = Mark.of(batch)
            made = _Rows(batch, source, job, rejects, changed).examples()
            spill.write(made, job.partition(made["order"].to_numpy()))
            found.update(_label_counts(made, job))
            labels.refuse_many({name for _, name in found}, f"--label_column={job.label_columns[0]}", labels.NUMBER)
            progress.report(job.run.progress)  # a file that cannot be cut may take hours
        written = spill.close()
        left_out = rejects.close()
    return {
        "unit": mark.unit,
        "units": mark.units,
        "rows": mark.rows,
        "reference": source.split == splits.REFERENCE,
        "spill": written,
        "rejects": left_out,
        "changed": dict(changed),
        "label_counts": [[*key, count] for key, count in sorted(found.items())],
        "inputs": [{**piece, "path": storage.without_password(piece["path"])} for piece in mark.inputs],
        "seconds": time.perf_counter() - began,
    }


def load_examples(job: Job, partition: int) -> pa.RecordBatch:
    """All EXAMPLE rows of a partition, in the order of the units, with labels in one spelling."""
    rows = gather(job.exchange, job.pieces("read", "spill", partition), example(job))
    if job.names or job.problem == "regression":
        return rows
    at = rows.schema.get_field_index("label")
    names = spellings.one_spelling(job.found())
    return rows.set_column(at, rows.schema.field(at), spellings.spelled(rows["label"], names))


def _label_counts(made: pa.RecordBatch, job: Job) -> Counter[tuple[str, str]]:
    """How many rows of a split have a label, by (split, label)."""
    if job.problem == "regression":
        return Counter()
    found: Counter[tuple[str, str]] = Counter()
    for split in pc.unique(made["split"]).to_pylist():
        if split == splits.REFERENCE:
            continue
        some = made["label"].filter(pc.equal(made["split"], split))
        if job.problem == "multi_label":
            some = some.flatten()
        for each in pc.value_counts(some).to_pylist():
            if each["values"] is not None:
                found[str(split), each["values"]] += each["counts"]
    return found


class _Rows:
    """The rows of a RECORD batch, fewer step by step."""

    def __init__(
        self, batch: pa.RecordBatch, source: Source, job: Job, rejects: Rejects, changed: Counter[str]
    ) -> None:
        self._job, self._source, self._rejects, self._changed = job, source, rejects, changed
        bad = pc.is_valid(batch["reject"])
        some = batch.filter(bad)
        names = pa.array(
            [storage.without_password(each) for each in batch["source"].dictionary.to_pylist()], pa.string()
        )
        rejects.add_columns([names.take(some["source"].indices), some["position"], *some["reject"].flatten()])
        good = batch.filter(pc.invert(bad))
        kept = (
            dict(zip(good["keep"].type.names, good["keep"].flatten(), strict=True)) if len(source.layout.keep) else {}
        )
        columns = {
            "source": names.take(good["source"].indices),
            "position": good["position"],
            "raw": good["text"],
            "text": good["text"],
            **({"text_pair": good["text_pair"]} if job.pairs else {}),
            **{f"kept {name}": column for name, column in kept.items()},
        }
        self._rows = pa.RecordBatch.from_pydict(columns)

    def examples(self) -> pa.RecordBatch:
        """What is left of them when all steps are done."""
        self._refuse_long_ids()
        self._split()
        self._label()
        self._clean()
        return self._finish()

    def _drop(self, rows: pa.Array, reason: str, detail: str | list[str]) -> None:
        rows = pc.fill_null(rows, False)
        if pc.any(rows, min_count=0).as_py():
            self._rejects.add(self._rows.filter(rows), reason, detail)
            self._rows = self._rows.filter(pc.invert(rows))

    def _add(self, name: str, column: pa.Array) -> None:
        self._rows = self._rows.append_column(name, column)

    def _kept(self, name: str) -> pa.Array:
        return self._rows[f"kept {name}"]

    def _refuse_long_ids(self) -> None:
        name = self._source.layout.options.id_column
        if name is not None:
            self._drop_long(_as_strings(self._kept(name)), name)

    def _drop_long(self, names: pa.Array, column: str) -> None:
        """Reject rows whose id, or whose labels, are too long to be names."""
        long = decoded_bytes(names) > MAX_NAME_BYTES + 8  # what it counts for each value
        self._drop(pa.array(long), "record_too_large", [f"{column} has more than {MAX_NAME_BYTES} bytes"] * long.sum())

    def _split(self) -> None:
        given, name = self._source.split, self._job.config.splits.split_column
        if name is None or given != splits.NONE:
            self._add("split", pa.array(np.full(len(self._rows), given, np.int8)))
            return
        said = pc.utf8_lower(pc.utf8_trim_whitespace(self._kept(name).cast(pa.string())))
        said = pc.if_else(pc.equal(said, ""), None, said)
        place = pc.index_in(said, pa.array(list(splits.ALIASES)))
        codes = pa.array(list(splits.ALIASES.values()), pa.int8()).take(place)
        self._add("split", pc.fill_null(codes, pa.scalar(splits.NONE, pa.int8())))
        wrong = pc.and_(pc.is_valid(said), pc.is_null(place))
        self._drop(wrong, "unknown_split", f"--split_column={name} names none of train, validation, test")

    def _label(self) -> None:
        job = self._job
        if self._source.split == splits.REFERENCE:
            self._add("label", pa.nulls(len(self._rows), label_type(job.problem)))
            return
        known = job.names
        values, missing, wrong = job.form.read(self._label_column(), job.problem, known)
        if job.problem == "single_label":
            tested = pc.equal(self._rows["split"], splits.TEST)
            if known and "-1" not in known:  # GLUE writes -1 for the labels of a test set that it keeps to itself
                hidden = pc.and_(tested, pc.fill_null(pc.equal(values, "-1"), False))
                values = pc.if_else(hidden, None, values)
            missing = pc.and_not(missing, tested)
        self._add("label", values)
        strange = pa.array([row in wrong for row in range(len(values))], pa.bool_())
        self._drop(strange, "unknown_label", [wrong[row] for row in sorted(wrong)])
        where = ",".join(job.label_columns)
        self._drop(missing.filter(pc.invert(strange)), "missing_label", f"{where} holds none that can be read")
        self._drop_long(self._rows["label"], where)
        if known:
            self._rename(known)

    def _label_column(self) -> pa.Array:
        """The column of labels, or a struct of those that hold one each; nulls in a test set that comes without."""
        job = self._job
        if not set(job.label_columns) <= set(self._source.layout.keep.names):
            return pa.nulls(len(self._rows), pa.string())
        if not job.form.columns:
            return self._kept(job.config.labels.label_column)
        return pa.StructArray.from_arrays([self._kept(name) for name in job.label_columns], job.label_columns)

    def _rename(self, names: dict[str, str]) -> None:
        """Values of the data → the names that were given to them; other values are rejected."""
        values = self._rows["label"]
        flat = values.flatten() if self._job.problem == "multi_label" else values
        there = pa.array(list(names), pa.string())
        # A whole number may be written as 1.0.
        place = pc.coalesce(pc.index_in(flat, there), pc.index_in(labels.whole(flat), there))
        unknown = pc.and_(pc.is_valid(flat), pc.is_null(place))
        named = pa.array(list(names.values()), pa.string()).take(place)
        if self._job.problem == "multi_label":
            counts = pc.fill_null(pc.list_value_length(values), 0).to_numpy()
            rows = np.repeat(np.arange(len(values)), counts)
            bad = np.zeros(len(values), bool)
            bad[rows[unknown.to_numpy(zero_copy_only=False)]] = True
            named = pa.ListArray.from_arrays(pa.array(offsets_of(counts), pa.int32()), named)
            unknown = pa.array(bad)
        at = self._rows.schema.get_field_index("label")
        told = self._rows.filter(unknown)["label"].to_pylist()
        details = [
            f"{each if isinstance(each, str) else ', '.join(each)} is none of the labels that were named"
            for each in told
        ]
        self._rows = self._rows.set_column(at, "label", named)
        self._drop(unknown, "unknown_label", details)

    def _clean(self) -> None:
        options = self._job.config.clean
        for name in self._job.text_columns:
            cleaned, changed = clean(self._rows[name], self._job.cleaning)
            self._changed.update(changed)
            self._rows = self._rows.set_column(self._rows.schema.get_field_index(name), name, cleaned)
        for name in self._job.text_columns:
            sizes = pc.utf8_length(self._rows[name])
            empty = pc.equal(sizes, 0)
            self._drop(empty, "empty_text", "nothing is left of the text after cleaning")
            sizes = sizes.filter(pc.invert(empty))
            short = pc.less(sizes, options.min_chars)
            self._drop(short, "too_short", f"--min_chars={options.min_chars}")
            sizes = sizes.filter(pc.invert(short))
            if options.max_chars:
                self._drop(pc.greater(sizes, options.max_chars), "too_long", f"--max_chars={options.max_chars}")
        if options.languages:
            spoken = [_language(text) for text in self._rows["text"].to_pylist()]
            wrong = [each is not None and each not in options.languages for each in spoken]
            said = [f"the text seems to be {each}" for each, bad in zip(spoken, wrong, strict=True) if bad]
            self._drop(pa.array(wrong, pa.bool_()), "wrong_language", said)

    def _finish(self) -> pa.RecordBatch:
        job, config = self._job, self._job.config
        texts = [self._rows[name] for name in job.text_columns]
        encoded, failures = encode(texts, job.tokenizer, job.max_length, job.threads)
        if failures:
            failed = np.zeros(len(self._rows), bool)
            failed[list(failures)] = True
            self._drop(pa.array(failed), "model_error", [failures[row] for row in sorted(failures)])
        rows = self._rows
        key = key_of(rows, job)
        order, chance = digests(key, config.splits.seed).T
        reference = self._source.split == splits.REFERENCE
        grouping = [] if reference else [self._kept(each) for each in config.splits.group_by or ()]
        id_column = self._source.layout.options.id_column
        made = {
            "order": pa.array(order),
            "chance": pa.array(chance),
            "source": rows["source"],
            "position": rows["position"],
            "id": pa.nulls(len(rows), pa.string()) if id_column is None else _as_strings(self._kept(id_column)),
            "split": rows["split"],
            "label": rows["label"],
            "groups": groups(grouping, config.splits.seed) if grouping else pa.nulls(len(rows), pa.list_(pa.uint64())),
            **{name: rows[name] for name in job.text_columns},
            "input_ids": encoded.input_ids,
            "token_type_ids": encoded.token_type_ids,
            "whole": pa.array(encoded.lengths.astype(np.int32)),
        }
        schema = example(job)
        return pa.RecordBatch.from_arrays([made[name] for name in schema.names], schema=schema)


def key_of(rows: pa.RecordBatch, job: Job) -> pa.Array:
    """The duplicate key of rows with `text`, and `text_pair` where a row is two."""
    keys = [duplicate_key(rows[name], job.key_steps) for name in job.text_columns]
    return pair_up(*keys) if job.pairs else keys[0]


def _as_strings(values: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values.cast(pa.string())


def _language(text: str) -> str | None:
    if len(text) < _JUDGED:
        return None
    from py3langid import classify

    return str(classify(text)[0])
