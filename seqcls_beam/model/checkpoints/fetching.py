"""Fetching: the files of a URI or of a Hub id, brought into a folder of this machine."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from seqcls_beam import storage
from seqcls_beam.cache import cache
from seqcls_beam.model.checkpoints.errors import CheckpointError, of_the_system
from seqcls_beam.model.checkpoints.files import Indexed, named_in

Pick = Callable[[Iterable[str], Indexed], list[str]]
"""The file names that are there, and what an index of weights names → those that are wanted."""


@contextlib.contextmanager
def fetched(uri: str, pick: Pick) -> Iterator[Path]:
    """The files of a URI in a new folder of the cache, to be renamed there; it is gone afterwards if it was not.

    Raises `CheckpointError`.
    """
    folder = Path(tempfile.mkdtemp(prefix="fetching-", dir=cache()))
    try:
        shown = storage.without_password(uri)
        try:
            files, root = storage.connect(uri)
            root = root.rstrip("/")
            there = [each.rpartition("/")[2] for each in files.ls(root, detail=False)]
            for each in pick(there, lambda index: named_in(files.cat_file(f"{root}/{index}"), index, shown)):
                if storage.is_local(uri):
                    storage.ensure_file(storage.join(uri, each))  # a pipe would be waited for
                files.get_file(f"{root}/{each}", str(folder / each))
        except (storage.MissingPackage, CheckpointError):
            raise
        except Exception as error:
            said = storage.without_secrets(str(error))
            passing = isinstance(error, storage.StoreError) or (isinstance(error, OSError) and of_the_system(error))
            raise CheckpointError(f"{shown}: cannot be fetched ({type(error).__name__}: {said})", passing) from error
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def from_hub(model: str, revision: str | None, pick: Pick, names: list[str] | None = None) -> tuple[Path, str]:
    """(Hub id, revision) → (folder in the Hub's own cache, commit); where the Hub is silent that cache will do.

    `names` are the files, where they are known beforehand: then `pick` is not asked, and the Hub only where the cache
    lacks one of them. Raises `CheckpointError`.
    """
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    config = try_to_load_from_cache(model, "config.json", revision=revision)
    cached = Path(config).parent if isinstance(config, str) else None
    if cached and names and all((cached / each).exists() for each in names):
        return cached, cached.name
    try:
        if names is None:
            found = HfApi().model_info(model, revision=revision)
            there = [each.rfilename for each in found.siblings or ()]

            def indexed(index: str) -> list[str]:
                return named_in(Path(hf_hub_download(model, index, revision=found.sha)).read_bytes(), index, model)

            names = pick(there, indexed)
        folder = Path(snapshot_download(model, revision=revision, allow_patterns=names))
    except CheckpointError:
        raise
    except Exception as error:
        unknown = isinstance(error, RepositoryNotFoundError | RevisionNotFoundError)
        if cached is None or unknown or names is not None:
            why = "no such model or revision, or no access to it" if unknown else "no answer"
            raise CheckpointError(
                f"{model}: no such folder here ({Path(model).absolute()}), and from the Hugging Face Hub {why} "
                f"(revision {revision or 'main'}; {type(error).__name__}: {' '.join(str(error).split())})"
            ) from error
        folder = cached
    return folder, folder.name
