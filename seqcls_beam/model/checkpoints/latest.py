"""A folder of checkpoints, and the file LATEST in it, whose one line says which of them is meant.

    models/sentiment/LATEST             2026-11-20
    models/sentiment/2026-11-19/        config.json, model.safetensors, tokenizer.json …
    models/sentiment/2026-11-20/

Locally or at any URI of files; only web servers and chains of URIs (`zip://…::…`) are not looked into for one.
"""

from seqcls_beam import storage
from seqcls_beam.model.checkpoints.errors import CheckpointError, of_the_system

LATEST = "LATEST"
_LONGEST = 1024  # bytes of a name


def version_in(folder: str) -> str | None:
    """The name that LATEST says, relative to a folder or URI; None where there is no such file.

    Raises `CheckpointError` where it holds no name of a folder below or cannot be read, and where the folder is a
    checkpoint itself.
    """
    if storage.is_web(folder) or "::" in folder:
        return None
    uri, shown = storage.join(folder, LATEST), storage.without_password(folder)
    try:
        said = _said(uri)
        checkpoint = storage.exists(storage.join(folder, "config.json"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except storage.MissingPackage:
        raise
    except Exception as error:
        why = storage.without_secrets(str(error))
        passing = isinstance(error, storage.StoreError) and not storage.is_local(folder)
        passing = passing or (isinstance(error, OSError) and of_the_system(error))
        raise CheckpointError(f"{shown}: cannot be fetched ({type(error).__name__}: {why})", passing) from error
    if checkpoint:
        raise CheckpointError(
            f"{shown} has a {LATEST} and is a checkpoint itself, so that both may be meant: remove one of {LATEST} and "
            "config.json"
        )
    return _name(said, f"{shown}/{LATEST}")


class Moved(CheckpointError):
    """LATEST says another name than the one that was to be replaced."""


def promote(model: str, *, instead_of: tuple[str | None, ...] = ()) -> str:
    """A checkpoint's folder X/NAME, local or a URI → the URI of X/LATEST, which says NAME from now on.

    The file is replaced whole: a reader sees the old name or the new one. With `instead_of` only where it says NAME
    already or one of these names, None for no file, by compare-and-swap: else `Moved` is raised. Raises
    `CheckpointError` as `place`, and `OSError` where nothing can be written.
    """
    folder, name = place(model)
    uri = storage.join(folder, LATEST)
    line = f"{name}\n".encode(errors="surrogateescape")

    def change(said: bytes | None) -> bytes | None:
        now = None if said is None else _name(said, storage.without_password(uri))
        if now != name and now not in instead_of:
            raise Moved(f"{storage.without_password(uri)} says {now or 'nothing'} by now")
        return line

    if instead_of:
        storage.update(uri, change)
    else:
        storage.put(uri, line)
    return uri


def place(model: str) -> tuple[str, str]:
    """A checkpoint's folder X/NAME, local or a URI → X, in which a LATEST may name it, and NAME.

    Raises `CheckpointError` where there is no checkpoint, or X is one itself.
    """
    whole = storage.absolute(model)
    folder, _, name = whole.rpartition("/")
    shown = storage.without_password(model)
    if storage.is_web(whole) or "::" in whole or folder.endswith((":/", ":")):
        raise CheckpointError(f"{shown}: it lies in no folder that a {LATEST} could be written into")
    if not storage.exists(storage.join(whole, "config.json")):
        raise CheckpointError(f"{shown}: no checkpoint to promote, since it has no config.json ({whole})")
    folder = folder or "/"
    if storage.exists(storage.join(folder, "config.json")):
        raise CheckpointError(f"{shown}: the folder it lies in is a checkpoint itself: move it into one of its own")
    _name(f"{name}\n".encode(errors="surrogateescape"), storage.join(folder, LATEST))
    return folder, name


def _said(uri: str) -> bytes:
    """What stands in a LATEST; of one that is too long the beginning, which tells that it is."""
    fs, path = storage.connect(uri)
    if storage.is_local(uri):
        storage.ensure_file(uri)
        with open(path, "rb") as file:
            return file.read(_LONGEST + 1)
    if (storage.size(uri) or 0) > _LONGEST:
        return bytes(fs.cat_file(path, start=0, end=_LONGEST + 1))
    return storage.read(uri)  # not by its range: an empty file has none


def _name(said: bytes, where: str) -> str:
    """What stands in a LATEST, if it is a relative, normal name; raises `CheckpointError`."""
    try:
        name = said.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        name = ""
    parts = name.split("/")
    if len(said) > _LONGEST or not name.isprintable() or any(each.strip() in ("", ".", "..") for each in parts):
        raise CheckpointError(
            f"{where} holds {said[:60]!r}: expected one line, the name of a folder beside it, such as 2026-11-20"
        )
    if any(each != each.strip() for each in parts):
        raise CheckpointError(
            f"{where} holds {name!r}: a blank at an end of a name is not taken for part of it: remove it"
        )
    if "\\" in name or ":" in parts[0]:
        raise CheckpointError(f"{where} holds {name!r}: expected a name below its folder, with / between folders")
    return name
