"""What became of the input, in rows and bytes by file, and when it is too much."""

import hashlib
import threading
from typing import Any

import pytest

from seqcls_beam.config.classify import LossOptions
from seqcls_beam.reading.formats.pieces import Piece
from seqcls_beam.runs.accounting import by_file, is_file, lost, named, refuse, unbounded, unreadable, without_rows
from seqcls_beam.runs.run import RunError


def piece(path, size=1000, rows=0, losses=(), format="jsonl", compression=""):
    return {
        "path": path,
        "format": format,
        "compression": compression,
        "start": 0,
        "end": -1,
        "size": size,
        "version": "v",
        "rows": rows,
        "losses": [
            {
                "reason": "corrupt_file",
                "detail": "no",
                "rows": None,
                "bytes": 0,
                "weight": "counted" if loss.get("rows") is not None else "estimated",
                **loss,
            }
            for loss in losses
        ],
    }


def test_pieces_of_a_file_are_one_file():
    (file,) = by_file([piece("a", rows=3), piece("a", rows=4)])
    assert file == {
        "path": "a",
        "size": 1000,
        "version": "v",
        "rows": 7,
        "rows_lost": 0,
        "bytes": 1000,
        "bytes_lost": 0,
    }


@pytest.mark.parametrize(
    ("pieces", "rows_lost", "weight"),
    [
        # Known rows are themselves, whatever their bytes.
        ([piece("a", rows=10, losses=[{"rows": 2000, "bytes": 5}])], 2000, "counted"),
        # 600 of 1,000 bytes gave 30 rows, 20 bytes each: 400 are worth 20.
        ([piece("a", rows=30, losses=[{"bytes": 400}])], 20, "estimated"),
        # The record at a cut is one, and how much was behind it nobody knows.
        ([piece("a", rows=30, losses=[{"weight": "at_least"}])], 1, "at_least"),
        # Of 1,000 bytes 400 are behind what could be decoded, worth 20 rows; and more is missing.
        ([piece("a", rows=30, losses=[{"bytes": 400, "weight": "at_least"}])], 20, "at_least"),
        # As far as the reader could tell.
        ([piece("a", rows=30, losses=[{"rows": 7, "weight": "estimated"}])], 7, "estimated"),
        # Nothing was read: what rows of files of the same kind weigh, 50 bytes.
        (
            [piece("a", losses=[{"bytes": 1000}]), piece("b", rows=20), piece("c", rows=1, compression="gz")],
            20,
            "estimated",
        ),
        # None of the kind: what all rows weigh, 100 bytes.
        ([piece("a", losses=[{"bytes": 1000}], format="csv"), piece("b", rows=10)], 10, "estimated"),
        # Nothing at all is known.
        ([piece("a", losses=[{"bytes": 1000}])], 1, "at_least"),
        # Two losses of one file, one known.
        ([piece("a", rows=10, losses=[{"rows": 5, "bytes": 100}, {"bytes": 400}])], 5 + 8, "estimated"),
    ],
)
def test_a_loss_weighs_what_it_costs(pieces, rows_lost, weight):
    files = by_file(pieces)
    assert files[0]["rows_lost"] == rows_lost
    assert files[0]["bytes"] + files[0]["bytes_lost"] == files[0]["size"]
    assert lost(files) == {
        "lost": rows_lost,
        "lost_weight": weight,
        "lost_by_reason": {"corrupt_file": rows_lost},
    }


def test_no_password_is_told():
    (file,) = by_file([piece("https://user:secret@host/a.jsonl", rows=1)])
    assert file["path"] == "https://host/a.jsonl"


def test_files_are_unreadable_or_empty_or_neither():
    files = by_file(
        [piece("read", rows=1), piece("gone", losses=[{}]), piece("bare"), piece("nothing", size=0), piece("header", 9)]
    )
    assert [each["path"] for each in unreadable(files)] == ["gone"]
    cut = by_file([piece("cut", rows=9, losses=[{"weight": "at_least"}]), piece("part", rows=9, losses=[{"rows": 1}])])
    assert [each["path"] for each in unbounded(cut)] == ["cut"]
    assert [each["path"] for each in unbounded(files)] == []
    assert [each["path"] for each in without_rows(files)] == ["bare", "header"]
    assert named(files) == "read, gone, bare and 2 more"


@pytest.mark.parametrize(
    ("pieces", "rejected", "limits", "said"),
    [
        ([piece("a", rows=100)], {"invalid_json": 5}, {}, None),
        ([piece("a", rows=100)], {"invalid_json": 6}, {}, "6 of 100 rows were rejected (6.0%: 6 invalid_json), more"),
        ([piece("a", rows=100)], {"invalid_json": 6}, {"max_rejected": 0.06}, None),
        # 1,000 rows are read and 2,000 lost: two thirds, not one of 1,001.
        (
            [piece("a", rows=1000, losses=[{"rows": 2000}])],
            {},
            {},
            "2,000 of 3,000 rows were lost (66.7%: 2,000 corrupt_file)",
        ),
        ([piece("a", rows=95, losses=[{"rows": 5}])], {}, {}, None),
        (
            [piece("a", rows=95, losses=[{"rows": 5}])],
            {"ragged_row": 1},
            {},
            "6 of 100 rows were rejected or lost (6.0%: 1 ragged_row, 5 corrupt_file)",
        ),
        ([piece("a", rows=99), piece("b", losses=[{}])], {}, {}, "of b nothing could be read (corrupt_file: no)"),
        ([piece("a", rows=99), piece("b", losses=[{"rows": 1}])], {}, {"max_unreadable": 1}, None),
        (
            [piece("a", rows=99), piece("b", losses=[{"bytes": 1000}])],
            {},
            {"max_unreadable": 1},
            "99 of 198 rows were lost (50.0%: about 99 corrupt_file)",
        ),
        # However little the one row weighs that was cut.
        (
            [piece("a", rows=1000, losses=[{"reason": "truncated_file", "weight": "at_least"}])],
            {},
            {},
            "a ends early: nobody knows how many rows are missing (truncated_file: no), more files than "
            "--max_unreadable=0 allows",
        ),
        (
            [piece(name, rows=100, losses=[{"weight": "at_least"}]) for name in "ab"] + [piece("c", losses=[{}])],
            {},
            {"max_unreadable": 2},
            "of c nothing could be read (corrupt_file: no), and a, b end early: nobody knows how many rows are missing",
        ),
        ([piece("a", rows=1000, losses=[{"weight": "at_least"}])], {}, {"max_unreadable": 1}, None),
        ([piece("a", rows=9, losses=[{"weight": "at_least"}])], {}, {"max_unreadable": 1}, "at least 1 corrupt_file"),
        # A loss of no row says why there are none.
        ([piece("a", losses=[{"rows": 0}])], {}, {}, "less than --min_rows=1: a has none (corrupt_file: no)"),
        ([piece("a"), piece("b")], {}, {}, "0 rows were read, less than --min_rows=1: a, b have none"),
        ([piece("a")], {}, {"min_rows": 0}, None),
        ([piece("a", size=0)], {}, {}, None),
        ([piece("a", size=0)], {}, {"min_rows": 1}, "0 rows were read, less than --min_rows=1"),
        ([piece("a", rows=9)], {}, {"min_rows": 10}, "9 rows were read, less than --min_rows=10"),
        ([piece("a", rows=9)], {"invalid_utf8": 9}, {}, "Are they in another encoding? name it with --encoding"),
        ([piece("a", rows=9)], {"ragged_row": 9}, {}, "--delimiter"),
    ],
)
def test_a_run_is_refused_where_too_little_was_read(pieces, rejected, limits, said):
    files = by_file(pieces)
    if said is None:
        refuse(LossOptions(**limits), files, rejected, "")
        return
    with pytest.raises(RunError) as error:
        refuse(LossOptions(**limits), files, rejected, "")
    assert said in str(error.value)


ODD: list[Any] = [None, [], {}, "7", -1, 2**63, 10**30, 1.5, True, [{}], ["a"], {"a": 1}]


@pytest.mark.parametrize("key", ["path", "version", "size", "rows", "rows_lost", "losses"])
def test_what_no_command_wrote_is_no_file_of_a_manifest(key):
    (file,) = by_file([piece("a", rows=9, losses=[{"rows": 1}])])
    assert is_file(file)
    assert [odd for odd in ODD if is_file({**file, key: odd})] == {
        "path": ["7"],
        "version": ["7"],
        "losses": [[]],
    }.get(key, [])
    assert not is_file([file])


@pytest.mark.parametrize("key", ["reason", "detail", "rows", "bytes", "weight"])
def test_what_no_command_wrote_is_no_loss(key):
    good = piece("a", rows=9, losses=[{"rows": 1}])
    (file,) = by_file([good])
    allowed = {"reason": ["7"], "detail": ["7"]}.get(key, [])
    for odd in ODD:
        assert is_file({**file, "losses": [{**file["losses"][0], key: odd}]}) == (odd in allowed)
        bad = {**good, "losses": [{**good["losses"][0], key: odd}]}
        if odd in allowed or (key == "rows" and odd is None):
            by_file([bad])
        else:
            with pytest.raises(RunError, match="which no reader wrote; remove the run's folder"):
                by_file([bad])
    others: list[Any] = [None, [], "x", {}, {**good, "size": "9"}, {**good, "losses": {}}, {**good, "path": ["a"]}]
    seen = {"state": "1 2", "reads": [[0, 5, "ab"]]}
    by_file([{**good, "seen": seen}])
    for reads in (None, 7, [7], [[0, 5]], [[0, "5", "ab"]], [[-1, 5, "ab"]], [[0, 5, 7]]):
        others.append({**good, "seen": {**seen, "reads": reads}})
    others += [{**good, "seen": each} for each in (None, 7, {}, {**seen, "state": 7})]
    for odd in others:
        with pytest.raises(RunError, match="no reader wrote"):
            by_file([odd])


def test_pieces_of_a_file_that_was_touched_are_read_again(tmp_path):
    """The digests are those of the bytes that are there, whatever the disk says of when."""
    path = tmp_path / "a.jsonl"
    data = bytes(range(200)) * 50
    path.write_bytes(data)

    def read(state: str, start: int, past: int, of: bytes = data) -> dict[str, Any]:
        digest = hashlib.blake2b(of[start:past], digest_size=16).hexdigest()
        own = {"start": start, "end": past, "version": str(path.stat().st_mtime)}
        seen = {"state": state, "reads": [[start, past - start, digest]]}
        return {**piece(str(path), size=len(data), rows=1), **own, "seen": seen}

    by_file([read("1 1", 0, 4000), read("1 2", 4000, 10000)])
    by_file([read("1 1", 0, 4000, b"x" * 9999), read("1 1", 4000, 10000)])  # one state: no second look
    with pytest.raises(RunError, match=r"a\.jsonl was changed between the units .* others from byte 0 to 4000 now"):
        by_file([read("1 1", 0, 4000, b"x" * 9999), read("1 2", 4000, 10000)])
    first = read("1 1", 0, 4000), read("2 1", 4000, 10000)
    path.write_bytes(data + b"x")
    with pytest.raises(RunError, match=r"a\.jsonl was changed .* 10001 bytes"):
        by_file(first)
    path.unlink()
    with pytest.raises(RunError, match=r"a\.jsonl was changed"):
        by_file(first)
    assert [each["rows"] for each in by_file(first, checked=True)] == [2]  # no file is looked at


def test_pieces_that_are_read_again_are_read_several_at_once(monkeypatch):
    """Of one file and of several: each waits for the others."""
    together = threading.Barrier(4, timeout=20)
    monkeypatch.setattr(Piece, "compare", lambda piece, reads: together.wait())
    seen = [{"state": state, "reads": [[0, 1, "ab"]]} for state in ("1", "2")]
    by_file([{**piece(name, rows=1), "seen": each} for name in "ab" for each in seen])
    assert not together.broken
