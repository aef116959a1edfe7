"""A run is a transaction: files are written aside, checked, and published together or not at all.

    progress   tells how far a run is
    parts      writes the files of one unit of labelled rows
    run        what a run is called, where its unfinished work lies, which of its units are done
    manifest   what is said of a published run
    commit     publishes whatever has files and a manifest, prepared data and checkpoints as well
    job, plan  what is known of a labelling before it starts, and the options → that

Knows no Beam and no torch.
"""

from seqcls_beam.runs.run import Run, RunError

__all__ = ["Run", "RunError"]
