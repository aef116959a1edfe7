"""Label text corpora with a BERT-family sequence classifier, and prepare what it is fine-tuned on, on Apache Beam.

Read from the top: a room imports only rooms above it.

    version.py       the version of the package
    signs.py         text of anybody, as it may be shown
    importing.py     heavy libraries, imported by one thread at a time
    schema.py        what the batches between stages look like
    config/          every option, once; a file a command
      option.py        one option: help, unit, range, default
      dates.py         dates of nights in options and patterns
      classify.py, prepare.py, finetune.py, evaluate.py, clean.py, seal.py, stream.py   those of a command, in groups
      compare.py, approve.py, report.py   likewise
      announce.py      platforms that are told of what is published
      plan.py          those of what a run would take
      step.py          those of a run that stands still
      debug.py         those of a failure
      screen.py        those of every command: how it speaks, and where its options stand
      dataflow.py      workers of Dataflow, for all commands that have some
    rows.py          what a row weighs, and its values in Python
    storage/         the few atomic things that are done with files, local or in a bucket
      names.py         how files are named
      discretion.py    what of a name may be shown: no password, no key
      sentences.py     the same of a sentence, a log or a traceback, whoever wrote it
      identity.py      what tells a file from its later self, and how it is packed
      arrow.py         a file system as Arrow opens it
      faults.py        what goes wrong at a store, as one kind of error
      retries.py       what is asked again
      remote.py        a store as the rest sees it
      google.py, amazon.py   what is particular of theirs
      web.py           files over HTTP
      stores.py        which of them a URI means
      writing.py       files that are there whole or not at all
      updating.py      one small file that several processes change
    cache.py         this machine's folder for what can be made again

    reading/         files → RECORD
      formats/         bytes of a file → records, one module a format
      footers.py       what a Parquet file says of itself
      matching.py      a pattern → the names that match it
      standard_input.py   the standard input, as a file
      files.py         patterns → files, and what was left out
      folders.py       what the names of folders say of rows
      units.py         files → units of work
      remarks.py       what is worth saying of an input before it is read
      records.py       a unit → RECORD batches
      values.py        values that Python has → Arrow arrays
      rows.py          rows that a program holds → RECORD batches
      messages.py      messages of a stream → RECORD
      packs.py         messages as they travel before they are read
      pubsub.py        calls to Pub/Sub, tried again as long as it may help
      subscription.py  a subscription as this process has it
      clients.py       the one client of each that it has
    model/           RECORD → PREDICTION
      checkpoints/     which model: found, fetched, checked, named by its digest
      words.py         texts as words, each tokenised once
      cutting.py       long texts, tokenised some megabytes at a time
      tokenizer.py     texts → flat ids, and the special tokens round them
      tokens.py        RECORD → TOKENS
      cards.py         which of a machine's GPUs is this process's
      engine/          token ids → logits; with finetuning/ the only place that knows torch
      predictions.py   TOKENS → PREDICTION
      answers.py       PREDICTION → what a program reads of it
      at_work.py       what labels a stream at a time: a checkpoint and its engine
      newer.py         what stands at a model's name now, and how it differs from what was before
      watching.py      a stream's model, replaced by a newer one between two batches

    notebook.py      labelling in plain Python
    runs/            a run is a transaction
      progress.py      how far a run is, told on the way
      accounting.py    what became of every row of the input, and when too much is lost
      histograms.py    scores and lengths of labelled rows, in cells that are always the same
      parts.py         PREDICTION → the Parquet parts of a unit, and the unit's record
      run.py           a run and its attempt: identity, units, what is finished
      lease.py         the sign that a run is alive
      store.py         what a publication does with files, on a disk and in an object store
      versions.py      what counts in an output folder: a chain of versions
      commit.py        the protocol: files and manifest → a version, all or nothing
      shapes.py        what stands in the manifest of each command
      columns.py       which columns a table has over all its partitions
      windows.py       windows of event time, and which rows are in which
      remembered.py    what the jobs of a stream agreed on, and left word of
      pieces.py        PREDICTION of a stream → pieces of windows, durable
      distinct.py      messages in pieces → each once
      unsealed.py      pieces as their readers find them
      table.py         a published output as its readers find it
      approval.py      which versions consumers may read
      meant.py         what a person calls a labelling → the version that is meant
      manifest.py      records of all units → the manifest of a labelling
      publication.py   a run's files → a version, or why not
      letters.py       PREDICTION of a stream → messages for topics
      publisher.py     a topic as this process publishes to it
      gathering.py     rows of pieces → parts of a window
      sealing.py       the pieces of a window → a version
      flow.py          a stream in this process: how much at a time, how far event time is
      cleaning.py      what an output folder has that no version names
      covered.py       which input files a table's versions cover
      claims.py        what one night takes of the input no other night takes
      nights.py        what is new to a scheduled run
      due.py           which nights are to be made, and what of a dated inbox each looks into
      job.py           a labelling as it is known before it starts
      plan.py          the options of a labelling → its job
      settled.py       the precision that a job went on in when it was started before

    preparation/     labelled records → shards to fine-tune on
      keys.py          the duplicate key of a text, and its digest
      clean.py         what is repaired in a text
      written.py       lists that were written into a string
      forms.py         what form labels have in a column, decided once
      sampled.py       what files show of labels before any row is worked on
      labels.py        what stands in a column → the numbers a classifier learns
      spellings.py     one label in several spellings
      splits.py        a number drawn for a group → its split
      blocks.py        rows of any size, in blocks that are worked on at once
      minhash.py       windows, signatures, bands, exact similarity
      components.py    which texts belong together, found by one worker …
      exchange.py      rows between stages, through files
      pieces.py        which of them are whose
      job.py           a preparation as its tasks know it
      plan.py          the options of a preparation → its job
      fold.py          files of several tasks → one, where there are too many
      grouping.py      what --group_by makes of a column: the values that tie rows
      rejects.py       rows that are left out
      examples.py      stage read: a unit → cleaned, tokenised examples
      copies.py        rows of one key: which of them stay
      texts.py         what stays: a text, its key, its bands
      exact.py         stage exact: examples of a partition → which rows stay
      near.py          stages pairs, keys, compare: bands → near-duplicates
      stars.py         … or by all workers
      known.py         what is known of texts when their splits are decided
      islands.py       texts that are joined, brought together: what one task decides on
      clusters.py      edges → which texts are joined, which leads, the cluster's name; what must not be cut
      findings.py      what is said of near-duplicates, leaks and shares, and why a text goes
      decide.py        texts and edges → splits without leaks
      shares.py        whether splits have the shares that were asked for, and which group is the cause
      quotas.py        stratified splits by all tasks
      assign.py        stage assign: splits, and the place of every row, by one task or all
      shards.py        stage shards: rows → Parquet
      statistics.py    what is counted of shards → what is told of a split
      manifest.py, card.py   what is said of it
      tasks.py         the stages in their order, and what of them is done
      prepared.py      prepared data as its readers find it

    evaluation/      answers beside gold labels → metrics
      extras.py        packages that only this and fine-tuning need
      counting/        what is counted of rows, additive
        outcomes.py      gold labels and scores of a batch
        sums.py          sums in any order, to the last bit
        moments.py       what metrics of a regression follow from
        histograms.py    log-odds, in cells
        decisions.py     … or one by one, as long as they are few
        sampling.py      bootstrap weights, samples of rows
        calibration.py, groups.py, worst.py   the rest of what is counted
        tally.py         all of it
      counts.py        counts → precision, recall, F1, for many groups at once
      intervals.py     how far a figure may be off by chance, or why nobody can tell
      smoothing.py     the rows that replicates behind intervals are drawn from
      ranking.py       cells → AUC, average precision, best thresholds
      headline.py      a few metrics, straight from arrays
      cautions.py      what rests on too few rows, in sentences
      metrics.py       a tally → every metric of it
      gold.py          what stands in a column → the model's labels
      account.py       which rows were scored, and what became of the others
      parquet.py       shards, and rows with answers → batches
      evidence.py      a batch → tally and account
      packing.py       those as bytes between machines, in which nothing runs
      gates.py         what a metric must be
      columns.py       which columns may hold gold labels, slices and answers
      job.py           an evaluation as it is known before it starts …
      sources/         … of rows to label, prepared shards, rows with answers
      plan.py          the options of an evaluation → its job
      refusals.py      evidence that must not become a number
      drift.py         how far two samples of rows lie apart, and how far by chance
      sample.py        the manifest of a labelling → what is counted in it
      comparison.py    labellings beside each other, and whether that is within limits
      judging.py       a night → why it is not for consumers
      document.py      a finished evaluation: evaluation.json and its page
      promotion.py     a checkpoint that passed → LATEST
      formatting.py    numbers as people see them

    reports/         what was published → pages for people
      pages.py         what a page is made of, as data
      charts.py        numbers → shapes of a picture
      rendering.py     a page → HTML that needs nothing beside it
      found.py         what a folder holds, and what it held before
      sample.py        some rows of a labelling
      alerts/          what a person should act on
      making.py        how something was made
      answers.py, looks.py, classify.py   a labelling
      prepare.py       prepared data
      figures.py, evaluate.py, finetune.py   how well a model answers
      merging.py       windows of a stream → a day
      nights.py        nights beside each other
      writing.py       which pages are written, and where

    announcing/      what was published → platforms that others look at
      published.py     a published version as platforms are told of it
      columns.py       which columns it has
      platforms.py     which platforms there are, and telling each, whatever becomes of the others
      tables.py        which Iceberg tables were told of an output
      lineage.py       a version → events of OpenLineage
      lineage_events.py   what each of them says
      lineage_datasets.py, lineage_facets.py, lineage_sending.py   names, what is said of each, to whom
      figures.py       a manifest → metrics, once for both …
      prometheus.py    … as a file that node_exporter reads
      otlp.py          … to a collector
      posting.py, patience.py   what is sent over HTTP, and how long anything is waited for
      iceberg.py       the versions of a table → an Iceberg table
      iceberg_table.py, iceberg_files.py, iceberg_columns.py   a version as a snapshot, its parts, their types
      bigquery.py, bigquery_schema.py   a version → the load job of BigQuery

    finetuning/      prepared shards + a base → a checkpoint
      shards.py        shards → flat arrays, mapped into memory
      job.py           a fine-tuning as its processes know it
      recipe.py        the options that made a model, as a file
      plan.py          the options of a fine-tuning → its job
      torchrun.py      which process of a training this is, and that it ends with torchrun
      agreement.py     one word from the first process to all
      batches.py       which rows make a step, and the batch that they make
      weights.py       a base → a model with the right head, and a model → a folder
      packed.py        batches without padding
      trainer.py       what transformers' Trainer is given
      log.py           what is written while it trains
      training.py      the training itself
      card.py, curves.py, receipt.py   what is said of it
      transaction.py   one process at a time; published as a whole
    transforms/      PTransforms: the one room that knows Beam
      overlap.py       texts are tokenised while a GPU computes
      coder.py         how batches travel between workers
      handler.py       the engine as a Beam ModelHandler
      rows.py          rows of anybody's pipeline, in and out
      beam_yaml.py     … and of Beam YAML's
      classify.py      classifying as PTransforms
      stream.py        … and of messages, with other ends
      publish.py       what became of messages, to topics
      messages.py      messages from the source of Dataflow's own
      prepare.py       preparing as a PTransform
      evaluate.py      evaluating as PTransforms
      sight.py         whether workers see what the launcher sees
      worker.py        a worker process of this machine, and when it ends
    __main__.py      the commands by one name

The commands are in `pipelines/`. What is public stands in the doors of the rooms, and in docs/library.md.
"""

from typing import TYPE_CHECKING, Any

from seqcls_beam.version import __version__ as __version__

if TYPE_CHECKING:
    from seqcls_beam.notebook import label
    from seqcls_beam.runs.table import open_labels

__all__ = ["label", "open_labels"]


def __getattr__(name: str) -> Any:
    """Load on first use, so that importing one room loads no other."""
    if name == "label":
        from seqcls_beam.notebook import label

        return label
    if name == "open_labels":
        from seqcls_beam.runs.table import open_labels

        return open_labels
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Names that are loaded on first use among them, for `dir` and `pydoc`."""
    return sorted({*globals(), *__all__})
