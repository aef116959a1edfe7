"""A checkpoint that passed every gate is named in LATEST, the file beside it that says which version counts."""

from dataclasses import dataclass
from pathlib import Path

from seqcls_beam import storage
from seqcls_beam.model.checkpoints import PACKAGED, Checkpoint, CheckpointError, resolve_base
from seqcls_beam.model.checkpoints.latest import LATEST, Moved, place, promote, version_in
from seqcls_beam.runs.run import RunError


@dataclass(frozen=True)
class Promotion:
    """What is to be named in LATEST, if it passes."""

    checkpoint: Checkpoint
    folder: str  # that of LATEST and of all versions
    version: str  # the name of the checkpoint's folder in it
    before: str | None  # what LATEST said when the evaluation began, None where it was not there


def intended(checkpoint: Checkpoint) -> Promotion:
    """The promotion of a checkpoint, before it is evaluated.

    Raises `ValueError` for a model that no LATEST can name, `RunError` where the LATEST that is there says nothing that
    can be read, and `OSError` where none can be written.
    """
    shown = storage.without_password(checkpoint.name)
    if checkpoint.revision is not None or checkpoint.name in PACKAGED:
        raise ValueError(f"--promote: {shown} is no folder beside others; give --model a version's, such as MODELS/v2")
    own = checkpoint.name if "://" in checkpoint.name else str(Path(checkpoint.name).expanduser())
    if storage.absolute(checkpoint.location) != storage.absolute(own):
        raise ValueError(
            f"--promote: the {LATEST} of {shown} names {storage.without_password(checkpoint.location)} already; give "
            "--model the folder of another version"
        )
    folder, version = place(checkpoint.location)
    storage.ensure_puts(storage.join(folder, LATEST))
    try:
        before = version_in(folder)
    except CheckpointError as error:
        raise RunError(f"--promote: {error}; remove {LATEST}, or write the name of a folder into it") from error
    return Promotion(checkpoint, folder, version, before)


def carry_out(wanted: Promotion) -> tuple[bool, str]:
    """Have LATEST name the version: whether it does, and a sentence for the user.

    It does not where LATEST says another name than it did before: of two evaluations at once the first one that passes
    counts, and the other moves nothing. Raises `RunError` where the files are not those that were evaluated, or LATEST
    cannot be written.
    """
    shown = storage.without_password(wanted.folder)
    try:
        # Named by its place: whatever LATEST says meanwhile, and whatever this process has of it in its cache.
        if resolve_base(wanted.checkpoint.location).digest != wanted.checkpoint.digest:
            raise RunError(
                f"the files of {storage.without_password(wanted.checkpoint.name)} are not those that were evaluated: "
                f"evaluate them again; {LATEST} was not touched"
            )
        promote(wanted.checkpoint.location, instead_of=(wanted.before,))
    except Moved:
        before = f"said {wanted.before}" if wanted.before else "was not there"
        return False, (
            f"not promoted: {LATEST} in {shown} {before} when this began, and was moved meanwhile; to have "
            f"{wanted.version} all the same, start the evaluation again"
        )
    except CheckpointError as error:
        raise RunError(f"{error}; {LATEST} was not touched") from error
    except storage.StoreError:
        raise
    except OSError as error:
        raise RunError(f"{LATEST} in {shown} cannot be written: {storage.without_secrets(str(error))}") from error
    if wanted.before == wanted.version:
        return True, f"{LATEST} in {shown} names {wanted.version} already"
    return True, f"promoted: {LATEST} in {shown} names {wanted.version}, and before {wanted.before or 'nothing'}"
