"""Answers beside gold labels → additive statistics → metrics.

    columns, job, sources/, plan      what is evaluated: found, and checked to fit, before anything is read
    parquet, gold, evidence, account  a batch is read: its gold labels, its answers, and what became of every row
    counting/                         what is counted of its rows: a tally, and batches add up in any order
    packing                           the two as bytes that travel between machines
    metrics                           a tally → every metric, by …
        counts, ranking, headline     (this one also straight from arrays, for a training)
        intervals, smoothing          how far each may be off by chance, or why nobody can tell
        cautions                      what rests on too few rows
    refusals, gates                   evidence that is not good enough, metrics that are not
    document, formatting, report, plots   what is written and shown
    drift, sample, comparison         labellings beside each other, from what their manifests count
    extras                            packages that only this and fine-tuning need

Knows no Beam and no torch: whoever made the answers, here they are counted, judged and told.
"""
