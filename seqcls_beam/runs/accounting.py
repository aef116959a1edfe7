"""What became of every row of the input: read, or lost with what could not be read; and when that is too much.

A loss is weighed by its rows: those a footer tells of, else what its bytes are worth in rows of the file as far as it
was read, or, of a file of which nothing was read, of the files that are most like it. What is worth so is an estimate.
What is missing behind the end of an archive that was cut has no weight: such a file counts with those that cannot be
read.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from seqcls_beam import storage
from seqcls_beam.config.classify import LossOptions
from seqcls_beam.reading.formats.pieces import InputChanged, Piece
from seqcls_beam.reading.formats.witness import Read
from seqcls_beam.runs.run import RunError

_CURES = {
    "invalid_utf8": "are they in another encoding? name it with --encoding, such as latin-1",
    "ragged_row": "are the fields separated by another character? name it with --delimiter; in tsv, are they quoted? "
    "say --quote='\"'",
    "nul_byte": "are they in UTF-16 without a mark? name it with --encoding, such as utf-16-le",
    "unbalanced_quote": "are quotes just text? say so with --quote=''",
}
"""What most often is the reason for a reason, where files are read: with options that read them."""

PREFIX = {"counted": "", "estimated": "about ", "at_least": "at least "}
"""How the number of lost rows is known → what stands before it."""

_TOLD = 3  # files that a message names
_MOST = 2**53  # rows or bytes that somebody may have: many such numbers can be added, and written as JSON


def limits(options: LossOptions) -> LossOptions:
    """The limits among the options of a command."""
    return LossOptions(**{each.name: getattr(options, each.name) for each in fields(LossOptions)})


@dataclass
class _Of:
    """A file, from its pieces."""

    path: str
    size: int
    version: str
    kind: tuple[str, str]  # format and compression: rows of one kind weigh alike
    rows: int = 0
    losses: list[dict[str, Any]] = field(default_factory=list)

    @property
    def read_bytes(self) -> int:
        return max(self.size - sum(each["bytes"] for each in self.losses), 0)


def by_file(pieces: Iterable[dict[str, Any]], checked: bool = False) -> list[dict[str, Any]]:
    """The `Mark.inputs` of all units → what stands in a manifest of each file, in order.

    `path` without a password, `size` in bytes, `version`; `rows` read, rejected ones among them, and `rows_lost`;
    `bytes` read and `bytes_lost`; where rows were lost also `losses`, {reason, detail, rows,
    bytes, weight} each: how `rows` are known, a key of `PREFIX`. Raises `RunError` for what no reader has written, and
    where the pieces of a file are not of one version of it; files may be read for that, unless an earlier call has
    `checked` these pieces.
    """
    files: dict[str, _Of] = {}
    cut: dict[str, list[dict[str, Any]]] = {}
    for piece in pieces:
        if not _is_piece(piece):
            raise RunError(
                f"a record of the unfinished run tells of its input {piece!r:.80}, which no reader wrote; remove the "
                "run's folder under _attempts, and start again"
            )
        kind = (piece["format"], piece["compression"])
        file = files.setdefault(piece["path"], _Of(piece["path"], piece["size"], piece["version"], kind))
        file.rows += piece["rows"]
        file.losses += piece["losses"]
        if "seen" in piece:
            cut.setdefault(piece["path"], []).append(piece)
    if not checked:
        _refuse_mixed(list(cut.values()))
    means = _means(files.values())
    return [_told(file, means) for file in files.values()]


def _refuse_mixed(files: list[list[dict[str, Any]]]) -> None:
    """Raise `RunError` where the pieces of one of the files have bytes that do not stand in one version of it.

    Each was of one version when it was read. A disk tells whether anything was done to the file between two of them;
    whether that was more than a change of its mode, or a copy that was brought back, its bytes tell, read once more.
    """
    touched = (pieces for pieces in files if len({piece["seen"]["state"] for piece in pieces}) > 1)
    storage.each(_compare, [piece for pieces in touched for piece in pieces])


def _compare(piece: dict[str, Any]) -> None:
    """Raise `RunError` where the bytes of a piece are not those that were read."""
    try:
        own = Piece(**{part.name: piece[part.name] for part in fields(Piece)})
        own.compare([Read(*read) for read in piece["seen"]["reads"]])
    except (InputChanged, FileNotFoundError) as error:
        name = storage.without_password(piece["path"])
        raise RunError(
            f"{name} was changed between the units that read it, and has the size and the time of before: touch it and "
            f"start again, for a new run that takes it as it is now ({error})"
        ) from error


def _means(files: Iterable[_Of]) -> dict[tuple[str, str] | None, float]:
    """Input bytes of a row, by kind of file and, under None, of all."""
    rows: Counter[tuple[str, str] | None] = Counter()
    size: Counter[tuple[str, str] | None] = Counter()
    for file in files:
        for kind in (file.kind, None):
            rows[kind] += file.rows
            size[kind] += file.read_bytes
    return {kind: size[kind] / count for kind, count in rows.items() if count and size[kind]}


def _told(file: _Of, means: dict[tuple[str, str] | None, float]) -> dict[str, Any]:
    own = file.read_bytes / file.rows if file.rows and file.read_bytes else None
    mean = own or means.get(file.kind) or means.get(None)
    losses = []
    for each in file.losses:
        rows, weight = each["rows"], each["weight"]
        if rows is None:
            rows = max(1, math.ceil(each["bytes"] / mean) if mean else 1)
            weight = weight if mean else "at_least"
        losses.append({**each, "rows": rows, "weight": weight})
    return {
        "path": storage.without_password(file.path),
        "size": file.size,
        "version": file.version,
        "rows": file.rows,
        "rows_lost": sum(each["rows"] for each in losses),
        "bytes": file.read_bytes,
        "bytes_lost": file.size - file.read_bytes,
        **({"losses": losses} if losses else {}),
    }


def lost(files: list[dict[str, Any]]) -> dict[str, Any]:
    """Files as `by_file` has them → {lost: rows, lost_weight: the least sure of how they are known, lost_by_reason}."""
    losses = [each for file in files for each in file.get("losses", ()) if each["rows"]]
    reasons: Counter[str] = Counter()
    for each in losses:
        reasons[each["reason"]] += each["rows"]
    return {
        "lost": sum(reasons.values()),
        "lost_weight": max((each["weight"] for each in losses), key=list(PREFIX).index, default="counted"),
        "lost_by_reason": dict(reasons.most_common()),
    }


def unreadable(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The files of which nothing could be read."""
    return [file for file in files if file.get("rows_lost") and not file["rows"]]


def unbounded(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The files that were read, and of which nobody knows how many rows are missing."""
    return [file for file in files if file["rows"] and _unbounded(file)]


def _unbounded(file: dict[str, Any]) -> dict[str, Any] | None:
    """The first loss whose rows nobody knows."""
    return next((each for each in file.get("losses", ()) if each["weight"] == "at_least"), None)


def without_rows(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The files that have bytes, and no row."""
    return [file for file in files if file["size"] and not file.get("rows", 1) and not file.get("rows_lost")]


def is_file(file: Any) -> bool:
    """Whether what stands among a manifest's inputs is as `by_file` has it, or a file of which less is told."""
    return (
        isinstance(file, dict)
        and all(isinstance(file.get(key), str) for key in ("path", "version"))
        and _is_count(file.get("size"))
        and all(_is_count(file[key]) for key in ("rows", "rows_lost") if key in file)
        and ("rows" in file or not file.get("rows_lost"))
        and _are_losses(file.get("losses", []))
        and all(each["rows"] is not None for each in file.get("losses", []))
    )


def _is_piece(piece: Any) -> bool:
    return (
        isinstance(piece, dict)
        and all(isinstance(piece.get(key), str) for key in ("path", "format", "compression"))
        and isinstance(piece.get("version"), str | None)
        and all(_is_count(piece.get(key)) for key in ("size", "rows"))
        and _are_losses(piece.get("losses"))
        and ("seen" not in piece or _is_seen(piece["seen"]))
    )


def _is_seen(seen: Any) -> bool:
    """Whether it is as `Piece.verify` tells it."""
    return (
        isinstance(seen, dict)
        and isinstance(seen.get("state"), str)
        and isinstance(seen.get("reads"), list)
        and all(isinstance(read, list) and len(read) == len(Read._fields) for read in seen["reads"])
        and all(_is_count(at) and _is_count(size) and isinstance(digest, str) for at, size, digest in seen["reads"])
    )


def _are_losses(losses: Any) -> bool:
    return isinstance(losses, list) and all(
        isinstance(each, dict)
        and all(isinstance(each.get(key), str) for key in ("reason", "detail"))
        and each.get("weight") in tuple(PREFIX)
        and "rows" in each
        and (each["rows"] is None or _is_count(each["rows"]))
        and _is_count(each.get("bytes"))
        for each in losses
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST


def refuse(limits: LossOptions, files: list[dict[str, Any]], rejected: dict[str, int], where: str) -> None:
    """Raise `RunError` where less was read than the run allows: files, rows, or the share of good rows.

    `rejected` are rows by reason, without those of `schema.LOSSES`; `where` says where the rejects lie.
    """
    rows = sum(file["rows"] for file in files)
    end = f"; nothing was published{where}"
    refuse_unread(limits, files, rows, end)
    refuse_share(limits, rows, rejected, lost(files), end=end + cure(rejected))


def cure(rejected: dict[str, int]) -> str:
    """What to try where files that were read have rows rejected so, as the end of a sentence; nothing for others."""
    cures = [_CURES[reason] for reason in rejected if reason in _CURES]
    return f". {cures[0].capitalize()}" if cures else ""


def refuse_unread(limits: LossOptions, files: list[dict[str, Any]], rows: int, end: str = "") -> None:
    """Raise `RunError` where fewer files could be read to their end than the run allows, or fewer `rows`.

    `end` is what the sentence ends with.
    """
    gone, cut = unreadable(files), unbounded(files)
    if len(gone) + len(cut) > limits.max_unreadable:
        told = [f"of {named(gone)} nothing could be read ({_why(gone[0]['losses'][0])})"] if gone else []
        if cut:
            loss = _unbounded(cut[0])
            assert loss is not None
            ends = "ends early" if len(cut) == 1 else "end early"
            told.append(f"{named(cut)} {ends}: nobody knows how many rows are missing ({_why(loss)})")
        raise RunError(f"{', and '.join(told)}, more files than --max_unreadable={limits.max_unreadable} allows{end}")
    least = limits.min_rows if limits.min_rows is not None else int(any(file["size"] for file in files))
    if rows < least:
        empty = without_rows(files)
        told = [f": {named(empty)} {'have' if len(empty) > 1 else 'has'} none"] if empty else []
        told += [f" ({_why(loss)})" for loss in (empty[0].get("losses", []) if empty else [])[:1]]
        raise RunError(f"{rows:,} rows were read, less than --min_rows={least:,}{''.join(told)}{end}")


def refuse_share(
    limits: LossOptions,
    rows: int,
    rejected: dict[str, int],
    missing: dict[str, Any],
    more: str = "",
    end: str = "",
) -> None:
    """Raise `RunError` where too many of the rows that are there were rejected or lost.

    `rows` were read, `rejected` are among them, by reason; `missing` is as `lost` tells it. `more` is said behind the
    reasons, `end` is what the sentence ends with.
    """
    bad, there = sum(rejected.values()) + missing["lost"], rows + missing["lost"]
    share = bad / there if there else 0.0
    if share > limits.max_rejected:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in rejected.items())
        about = PREFIX[missing["lost_weight"]]
        lost_ = ", ".join(f"{about}{count:,} {reason}" for reason, count in missing["lost_by_reason"].items())
        raise RunError(
            f"{bad:,} of {there:,} rows were {'rejected' if rejected else 'lost'}"
            f"{' or lost' if rejected and lost_ else ''} ({share:.1%}: {', '.join(filter(None, [reasons, lost_]))}"
            f"{more}), more than --max_rejected={limits.max_rejected:g} allows{end}"
        )


def named(files: list[dict[str, Any]]) -> str:
    """The first names of some files, and how many more there are."""
    names = ", ".join(file["path"] for file in files[:_TOLD])
    return names + (f" and {len(files) - _TOLD:,} more" if len(files) > _TOLD else "")


def _why(loss: dict[str, Any]) -> str:
    return f"{loss['reason']}: {loss['detail']}"
