"""What ties rows: one value however it is written, each of a list, and nothing where nothing stands."""

from datetime import date
from decimal import Decimal

import pyarrow as pa
import pytest

from seqcls_beam.preparation.grouping import check_groups, groups, value_of, values
from tests.corpora import write_jsonl
from tests.prepared import all_rows, manifest, run, sentences

FLAGS = ["--keep_text", "--near_duplicates=off", "--validation_fraction=0.3", "--test_fraction=0.3"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["7", "7.0", " 7 ", "7.5", "x  y", "", " ", None]), ["7", "7", "7", "7.5", "x y", None, None, None]),
        (pa.array([7, None]), ["7", None]),
        (pa.array([7.0, 7.5, float("nan")]), ["7", "7.5", None]),
        (pa.array([Decimal("7.00")], pa.decimal128(5, 2)), ["7"]),
        (pa.array(["a", None, "7.0"]).dictionary_encode(), ["a", None, "7"]),
        (pa.array([date(2026, 1, 2), None]), ["2026-01-02", None]),
        (pa.array(["[x]", "(b)", "a [b]", "[deleted]"]), ["[x]", "(b)", "a [b]", "[deleted]"]),
    ],
    ids=str,
)
def test_one_value(column, expected):
    assert values(column) == [[] if each is None else [each.encode()] for each in expected]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([["x3", "u83"], [], None, [None, " x3 "]]),
        pa.array([["x3", "u83"], [], None, [None, " x3 "]], pa.list_view(pa.string())),
        pa.array(["['x3', 'u83']", "[]", None, '["x3"]']),
    ],
    ids=str,
)
def test_each_value_of_a_list(column):
    assert values(column) == [[b"x3", b"u83"], [], [], [b"x3"]]


def test_values_of_different_columns_are_different():
    columns = [pa.array(["a", None]), pa.array([["a", "b"], []])]
    (one, two, three), none = groups(columns, 1).to_pylist()
    assert len({one, two, three}) == 3 and none == []
    assert [value_of(columns, each, 1) for each in (one, two, three, 5)] == [(0, "a"), (1, "a"), (1, "b"), None]
    assert (
        groups([pa.array(["7.0"]), pa.array(["z"])], 0)[0].as_py()
        == groups([pa.array([7]), pa.array(["z"])], 0)[0].as_py()
    )


@pytest.mark.parametrize("kind", [pa.struct([("a", pa.int8())]), pa.list_(pa.list_(pa.int8())), pa.list_(pa.date32())])
def test_what_groups_nothing_is_refused(kind):
    with pytest.raises(ValueError, match=r"--group_by=author holds .*: rows are grouped by strings"):
        check_groups(pa.schema([("author", kind)]), ("author",))


def splits_of(out):
    """Text → split."""
    return {row["text"]: split for split, rows in all_rows(out).items() for row in rows}


def test_authors_that_pandas_wrote_with_gaps_stay_together(tmp_path):
    texts, files = sentences(120), []
    for name, ending, some in (("a", "", texts[:60]), ("b", ".0", texts[60:])):
        files.append(tmp_path / f"{name}.csv")
        lines = [f"{text},{i % 2},{'' if i % 4 == 3 else f'{i % 10}{ending}'}" for i, text in enumerate(some)]
        files[-1].write_text("\n".join(["text,label,author", *lines]) + "\n")
    out = run(None, tmp_path / "out", "--input", *map(str, files), "--group_by=author", *FLAGS)
    where = splits_of(out)
    found = [
        {where[text] for i, text in enumerate(texts) if i % 60 % 4 != 3 and i % 10 == author} for author in range(10)
    ]
    assert all(len(each) == 1 for each in found)
    assert manifest(out)["shares"]["groups"] == 10 + 30, "30 rows have no author, and are each for themselves"


def test_papers_that_share_an_author_stay_together(tmp_path):
    texts = sentences(400)
    rows = [{"text": t, "label": "ab"[i // 40 % 2], "author": [f"x{i % 40}", f"u{i}"]} for i, t in enumerate(texts)]
    out = run(write_jsonl(tmp_path / "in.jsonl", rows), tmp_path / "out", "--group_by=author", *FLAGS)
    where = splits_of(out)
    assert all(len({where[text] for text in texts[author::40]}) == 1 for author in range(40))
    shares = manifest(out)["shares"]
    assert shares["groups"] == 40 and shares["largest_group"]["values"] == 11
    # Each group is drawn for test with 0.3, however many values it has: 9 of 10 such draws are of 8 to 16 of 40.
    assert 80 <= shares["got"]["test"] <= 160


def test_one_group_for_all_is_told(tmp_path, capfd):
    rows = [{"text": t, "label": "ab"[i % 2], "author": "a"} for i, t in enumerate(sentences(30))]
    for seed in range(12):
        flags = ["--group_by=author", "--validation_fraction=0.1", "--test_fraction=0.8", f"--seed={seed}"]
        run(rows, tmp_path / f"out{seed}", *flags, code=1)
        said = capfd.readouterr().err
        if "no row is left to train with" in said:
            assert "test has 30 of 30 rows, 100.0% where 80.0% were asked: no group is cut, and the largest" in said
            return
    pytest.fail("no seed draws the group for test")
