"""Label text corpora with a BERT-family sequence classifier, and prepare what it is fine-tuned on, on Apache Beam.

Read from the top: a file imports only files above it.

    schema.py        what the batches between stages look like
    config/          every option, once; a file a command
    rows.py          what a row weighs
    storage.py       the few atomic things that are done with files, local or in a bucket
    reading/         files → records
        formats/       bytes of a file → records, one module a format
        units.py       patterns → files → units of work
        records.py     a unit → RECORD batches
    model/           RECORD → PREDICTION
        checkpoints.py which model: found, fetched, checked, named by its digest
        tokens.py      RECORD → TOKENS
        engine/        token ids → logits; with finetuning/ the only place that knows torch
        predictions.py TOKENS → PREDICTION
    runs/            the transaction
        progress.py    how far a run is, told on the way
        parts.py       PREDICTION → the Parquet parts of a unit, and the unit's record
        run.py         a run and its attempt: identity, plan, what is finished
        manifest.py    records of all units → what `_MANIFEST.json` says
        commit.py      parts and manifest → published, all or nothing
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
    evaluation/      answers beside gold labels → metrics
        extras.py      packages that only this and fine-tuning need
        outcomes.py    gold labels and scores of a batch
        sums.py        sums in any order, to the last bit
        moments.py     what metrics of a regression follow from
        histograms.py  log-odds, in cells
        decisions.py   … or one by one, as long as they are few
        sampling.py    bootstrap weights, samples of rows
        calibration.py, groups.py, worst.py   what is counted of rows …
        tally.py       … all of it, additive
        counts.py      counts → precision, recall, F1, for many groups at once
        ranking.py     cells → AUC, average precision, best thresholds
        headline.py    a few metrics, straight from arrays
        metrics.py     a tally → every metric of it
        gold.py        what stands in a column → the model's labels
        account.py     which rows were scored, and what became of the others
        evidence.py    a batch → tally and account
        files.py       shards, and rows with answers → batches
        gates.py       what a metric must be
        formatting.py, plots.py, report.py   what people see
    finetuning/      prepared shards + a base → a checkpoint
        shards.py      shards → flat arrays, mapped into memory
        job.py         a fine-tuning as its processes know it
        agreement.py   one word from the first process to all
        batches.py     which rows make a step, and the batch that they make
        model.py       a base → a model with the right head, and a model → a folder
        trainer.py     what transformers' Trainer is given
        training.py    the training itself
        card.py, curves.py, receipt.py   what is said of it
    transforms/      PTransforms: the one room that knows Beam
        coder.py       how batches travel between workers
        handler.py     the engine as a Beam ModelHandler
        classify.py    classifying as PTransforms
        prepare.py     preparing as a PTransform
        evaluate.py    evaluating as PTransforms

The commands are in `pipelines/`. This package re-exports nothing, so importing one part loads no other.
"""

__version__ = "0.1.0"
