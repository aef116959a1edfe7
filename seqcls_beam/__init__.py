"""Label text corpora with a BERT-family sequence classifier, and prepare what it is fine-tuned on, on Apache Beam.

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
    preparation/     labelled records → shards to fine-tune on
        keys.py        the duplicate key of a text, and its digest
        clean.py       what is repaired in a text
        labels.py      what stands in a column → the numbers a classifier learns
        splits.py      a number drawn for a group → its split
        minhash.py     windows, signatures, bands, exact similarity
        components.py  which texts belong together, found by one worker …
        stars.py       … or by all
        job.py         a preparation as its tasks know it
        exchange.py    rows between stages, through files
        rejects.py     rows that are left out
        examples.py    stage read: a unit → cleaned, tokenised examples
        copies.py      rows of one key: which of them stay
        exact.py       stage exact: examples of a partition → texts, and their bands
        near.py        stages pairs, keys, compare: bands → near-duplicates
        assign.py      stage assign: splits without leaks, and the place of every row
        shards.py      stage shards: rows → Parquet
        manifest.py, card.py   what is said of it
        tasks.py       the stages in their order, and what of them is done
    coder.py         how batches travel between workers
    handler.py       the engine as a Beam ModelHandler
    transforms.py    classifying as PTransforms
    stages.py        preparing as a PTransform

The commands are in `pipelines/`. This package re-exports nothing, so importing one part loads no other.
"""

__version__ = "0.1.0"
