"""What a person calls a labelling → the version that is meant, and its manifest.

OUT                                       the newest version, where OUT has no partitions or one
OUT/labels/run_date=2026-11-20            the newest version of a partition
OUT/_versions/[run_date=…/]00000002.json  this very version, be it the newest or not
"""

import re

from seqcls_beam import storage
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.shapes import checked
from seqcls_beam.runs.store import Store, store_of
from seqcls_beam.runs.table import Published, partitions, read_newest
from seqcls_beam.runs.versions import FOLDER, read_version

_FILE = re.compile(rf"(?P<output>.*)/{FOLDER}/(?:(?P<partition>[^/]+=[^/]+)/)?(?P<number>\d{{8,}})\.json")
_PARTITION = re.compile(r"(?P<output>.*)/labels/(?P<partition>[^/=]+=[^/]+)")
_SHOWN = 4


def labelling(name: str) -> Published:
    """A published labelling, by one of the names above, local or of any fsspec protocol; its manifest is `checked`.

    Raises `RunError`, without a password, where nothing is published there, or no labels are, where several partitions
    are meant, and where a version is damaged.
    """
    try:
        return _labelling(storage.absolute(name))
    except RunError as error:
        raise RunError(storage.without_secrets(str(error))) from None


def _labelling(path: str) -> Published:
    if file := _FILE.fullmatch(path):
        version, manifest = read_version(store_of(file["output"]), file["partition"] or "", int(file["number"]))
        found: Published | None = Published(store_of(file["output"]), version, manifest)
        if manifest["kind"] == "nothing":
            raise RunError(f"{path} says that nothing is published: its rows were taken away")
    elif path.endswith(".json"):
        raise RunError(f"{path} is no version: a manifest is OUT/{FOLDER}/[PARTITION/]00000001.json")
    elif folder := _PARTITION.fullmatch(path):
        found = read_newest(store_of(folder["output"]), folder["partition"])
    else:
        found = _only(path)
    if found is None:
        raise RunError(_unpublished(path))
    if found.manifest["kind"] != "classify":
        raise RunError(f"{path} holds no labels, but the output of pipelines.{found.manifest['kind']}")
    checked(found.manifest, found.store.uri(found.version.name))
    return found


def _only(path: str) -> Published | None:
    """What is published in an output folder, or in its folder of labels."""
    store = store_of(path)
    known = partitions(store)
    if not known and path.endswith("/labels") and (above := partitions(store_of(path.removesuffix("/labels")))):
        store, known = store_of(path.removesuffix("/labels")), above
    if len(known) > 1:
        raise RunError(f"{path} has {len(known):,} partitions, and one is to be compared: {_listed(store, known)}")
    return read_newest(store, *known)


def _listed(store: Store, known: list[str]) -> str:
    """The first and the last of some partitions, as they are to be named."""
    folders = [store.uri("/".join(filter(None, ["labels", each]))) for each in known]
    if len(folders) <= _SHOWN:
        return ", ".join(folders)
    return ", ".join([folders[0], "…", *folders[1 - _SHOWN :]])


def _unpublished(path: str) -> str:
    found = _PARTITION.fullmatch(path)
    store, partition = (store_of(found["output"]), found["partition"]) if found else (store_of(path), "")
    if store.names("/".join(filter(None, ["_attempts", partition]))):
        return f"{path} is not published: a run is at work there, or was interrupted; start it again, or wait for it"
    known = partitions(store) if found else []
    others = f"; there are {_listed(store, known)}" if known else ""
    return f"{path} holds no published run{others}"
