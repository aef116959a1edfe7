"""What --dtype=fastest settled for a run when it was started first: its next start goes on in that precision."""

from seqcls_beam import storage
from seqcls_beam.config.classify import PRECISIONS
from seqcls_beam.runs.job import Job
from seqcls_beam.runs.plan import in_precision
from seqcls_beam.runs.publication import current
from seqcls_beam.runs.run import attempts, read_own
from seqcls_beam.runs.store import store_of


def settled(job: Job) -> Job | None:
    """The job in the precision in which it is published, or its attempt was begun; None where it never started.

    An attempt that somebody began by naming a precision is none of those: it may have been refused. Raises `RunError`
    where what an attempt says of itself is damaged.
    """
    now, folder = current(job.run), attempts(job.run.partition)
    store = store_of(job.run.output)
    begun = store.names(folder)
    for dtype in PRECISIONS:
        found = in_precision(job, dtype)
        if now is not None and now.version.run_id == found.run.run_id:
            return found
        for name in begun:
            said = store.uri(f"{folder}/{name}/run.json")
            if name.startswith(f"{found.run.run_id}-v") and storage.exists(said):
                why = read_own(found.run, said).get("fastest")
                if isinstance(why, dict):
                    return in_precision(job, dtype, why)
    return None
