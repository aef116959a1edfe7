"""A run is a transaction: files are written aside, checked, and published together or not at all.

    progress   tells how far a run is
    parts      writes the files of one unit of labelled rows
    run        what a run is called, where its unfinished work lies, which of its units are done
    store, versions, commit   the protocol by which anything is published, prepared data and checkpoints as well
    table      what readers find
    manifest   what is said of a labelling; shapes   what stands in the manifest of each command
    publication   what a run publishes, over what, and what is refused
    job, plan  what is known of a labelling before it starts, and the options → that

Knows no Beam and no torch.
"""

from seqcls_beam.runs.run import Run, RunError

__all__ = ["Run", "RunError"]
