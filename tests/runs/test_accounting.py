"""What became of the input, in rows and bytes by file, and when it is too much."""

import pytest

from seqcls_beam.config.classify import LossOptions
from seqcls_beam.runs.accounting import by_file, lost, named, refuse, unreadable, without_rows
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
        "losses": [{"reason": "corrupt_file", "detail": "no", "rows": None, "bytes": 0, **loss} for loss in losses],
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
        ([piece("a", rows=30, losses=[{"bytes": 0}])], 1, "at_least"),
        # Nothing was read: what rows of files of the same kind weigh, 50 bytes.
        (
            [piece("a", losses=[{"bytes": 1000}]), piece("b", rows=20), piece("c", rows=1, compression="gz")],
            20,
            "estimated",
        ),
        # None of the kind: what all rows weigh, 100 bytes.
        ([piece("a", losses=[{"bytes": 1000}], format="csv"), piece("b", rows=10)], 10, "estimated"),
        # Nothing at all is known.
        ([piece("a", losses=[{"bytes": 1000}])], 1, "estimated"),
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
