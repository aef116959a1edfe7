"""Label text corpora with a BERT-family sequence classifier, on Apache Beam.

Read from the top: a file imports only files above it.

    schema.py        what the batches between stages look like
    config.py        every option, once
    rows.py          what a row weighs
    storage.py       the few atomic things that are done with files, local or in a bucket
    units.py         patterns → files → units of work
    formats/         bytes of a file → records, one module a format
    records.py       a unit → RECORD batches
    checkpoints.py   which model: found, fetched, checked, named by its digest
    tokens.py        RECORD → TOKENS
    engine/          token ids → logits; the only place that knows torch
    predictions.py   TOKENS → PREDICTION
    parts.py         PREDICTION → the Parquet parts of a unit, and the unit's record
    runs.py          a run and its attempt: identity, plan, what is finished
    manifest.py      records of all units → what `_MANIFEST.json` says
    commit.py        parts and manifest → published, all or nothing
    coder.py         how batches travel between workers
    handler.py       the engine as a Beam ModelHandler
    transforms.py    all of the above as PTransforms

The commands are in `pipelines/`. This package re-exports nothing, so importing one part loads no other.
"""

__version__ = "0.1.0"
