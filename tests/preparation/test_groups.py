"""What must not be in two splits: an independent look at what random corpora became, without Beam."""

import random
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqcls_beam.preparation import findings, shares
from tests.corpora import write_jsonl
from tests.preparation.jobs import carry_out, planned
from tests.prepared import sentences

pytestmark = pytest.mark.engine
RANK = {"train": 0, "validation": 1, "test": 2}
TRIVIAL = ["Good", "good", "Nice", "ok then", "Very good indeed"]
LONG = sentences(12, 30)


def prepared(
    folder: Path, rows: list[dict[str, Any]], splits: dict[str, Any], clean: dict[str, Any], **read: Any
) -> tuple[dict[str, tuple[str, str]], list[dict[str, Any]], dict[str, Any]]:
    """({id: (split, text)} of the rows that stay, rejects, what the stage assign says)."""
    columns = {name for row in rows for name in row}
    source = write_jsonl(folder / "in.jsonl", rows)
    options = {
        "read": {"id_column": "id", **read},
        "labels": {"conflicts": clean.pop("conflicts", None)},
        "clean": clean,
        "splits": {"split_column": "part" if "part" in columns else None, **splits},
        "shards": {"num_shards": 1, "partition_bytes": 2**16},
    }
    job, units = planned(folder / "out", source, options)
    carry_out(job, units)
    found, gone = {}, []
    for path in Path(job.run.attempt, "data").glob("*.parquet"):
        for row in pq.read_table(path).to_pylist():
            assert row["id"] not in found
            found[row["id"]] = path.name.split("-")[0], row["text"]
    for path in Path(job.run.attempt, "rejects").glob("*.parquet"):
        gone += pq.read_table(path).to_pylist()
    return found, gone, job.index("assign")[0]


def key(text: str) -> str:
    return " ".join(text.casefold().split())


def near(one: str, other: str) -> bool:
    """By the definition; a text of under 5 bytes is near to itself alone."""
    windows = [{each[i : i + 5] for i in range(len(each) - 4)} for each in (key(one).encode(), key(other).encode())]
    return bool(all(windows)) and len(windows[0] & windows[1]) / len(windows[0] | windows[1]) >= 0.8


def tied(one: dict[str, Any], other: dict[str, Any], near_too: bool) -> bool:
    """Whether two rows that stay must be in one split."""
    common = any(one.get(name) is not None and one.get(name) == other.get(name) for name in ("author", "thread"))
    return common or key(one["text"]) == key(other["text"]) or (near_too and near(one["text"], other["text"]))


def components(rows: list[dict[str, Any]], near_too: bool) -> list[list[dict[str, Any]]]:
    parent = list(range(len(rows)))

    def root(node: int) -> int:
        while parent[node] != node:
            node = parent[node]
        return node

    for one, other in combinations(range(len(rows)), 2):
        if tied(rows[one], rows[other], near_too):
            parent[root(one)] = root(other)
    together = defaultdict(list)
    for node, row in enumerate(rows):
        together[root(node)].append(row)
    return list(together.values())


def corpus(chance: random.Random, parts: tuple[str | None, ...]) -> list[dict[str, Any]]:
    """Authors and threads with trivial texts in common, near-duplicates, conflicts, and splits that are given."""
    rows = []
    for number in range(chance.randint(20, 60)):
        kind = chance.random()
        text = chance.choice(TRIVIAL if kind < 0.4 else LONG)
        if kind > 0.8:
            text = f"{text[:-1]}{chance.choice('xyz')}"  # near to each other, and to the text itself
        elif kind > 0.55:
            text = sentences(1, 8, seed=chance.randrange(10**6))[0]
        row = {
            "id": f"r{number}",
            "text": text,
            "label": chance.choice("ab" if chance.random() < 0.2 else "a"),
            "author": chance.choice([None, *(f"author {i}" for i in range(12))]),
            "thread": f"t{number // 3}" if chance.random() < 0.2 else None,
        }
        rows.append({**row, "part": chance.choice(parts)} if parts else row)
    return rows


POLICY = st.fixed_dictionaries(
    {},
    optional={
        "duplicates": st.just("keep"),
        "near_duplicates": st.sampled_from(["drop", "off"]),
        "conflicts": st.sampled_from(["keep", "drop"]),
    },
)
PARTS = st.sampled_from([(), (None, "train", "test"), ("train", "validation", "test", None, None)])


@settings(max_examples=10)
@given(st.integers(0, 2**32), PARTS, POLICY, st.sampled_from(["hash", "stratified"]))
def test_no_tie_is_cut_and_none_is_made_by_what_goes(seed, parts, policy, split):
    chance = random.Random(seed)
    rows = corpus(chance, parts)
    shares = {"validation_fraction": 0.2, "test_fraction": 0.2}
    splits = {"group_by": ("author", "thread"), "split": split, **(shares if not parts else {})}
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        found, gone, told = prepared(Path(one), rows, splits, dict(policy))
        assert len(found) + len(gone) == len(rows)
        stay = [{**row, "split": found[row["id"]][0]} for row in rows if row["id"] in found]
        near_too = policy.get("near_duplicates") != "off"
        groups = components(stay, near_too)
        assert all(len({row["split"] for row in group}) == 1 for group in groups)
        if not parts:
            assert told["shares"]["groups"] == len(groups), "as many as there can be"
            assert told["shares"]["largest_group"]["rows"] == max(map(len, groups))
            assert told["shares"]["got"] == {**dict.fromkeys(RANK, 0), **Counter(row["split"] for row in stay)}
        went = {row["position"] for row in gone if row["reason"] == "group_leak"}
        for position, row in enumerate(rows):
            if row["id"] in found:
                assert not row.get("part") or found[row["id"]][0] == row["part"]
            if position in went:
                copies = [each for each in rows if key(each["text"]) == key(row["text"])]
                higher = [each for each in stay if RANK[each["split"]] > RANK[row["part"] or "train"]]
                assert any(
                    copy[name] is not None and copy[name] == each[name]
                    for copy in copies
                    for each in higher
                    for name in ("author", "thread")
                ), "a text goes only where its own author, or thread, is in a higher split"
        chance.shuffle(rows)
        again, _, _ = prepared(Path(other), rows, splits, dict(policy), unit_bytes=1500, batch_rows=7)
        assert again == found


def test_copies_that_go_tie_no_authors(tmp_path):
    rows = [
        {"id": f"{author} {i}", "text": text, "label": "a", "author": f"a{author}"}
        for author in range(200)
        for i, text in enumerate([sentences(1, 9, seed=author)[0], "Good", "Nice"])
    ]
    splits = {"group_by": ("author",)}
    found, gone, told = prepared(tmp_path, rows, splits, {})
    assert len(found) == 202 and Counter(row["reason"] for row in gone) == {"duplicate": 398}
    holders = {row["author"] for row in rows if row["id"] in found and row["text"] in ("Good", "Nice")}
    assert told["shares"]["groups"] == 200, "each has its own text"
    assert told["shares"]["largest_group"]["rows"] == (2 if len(holders) == 2 else 3)


def test_a_near_duplicate_that_goes_joins_no_others(tmp_path):
    rows = []
    for number, words in enumerate(text.split() for text in sentences(12, 50)):
        chain = [words, [*words[:-4], *"wxyz"], [*"abcd", *words[4:-4], *"wxyz"]]
        rows += [{"id": f"{number} {i}", "text": " ".join(each), "label": "aab"[i]} for i, each in enumerate(chain)]
    assert near(rows[0]["text"], rows[1]["text"]) and near(rows[1]["text"], rows[2]["text"])
    assert not near(rows[0]["text"], rows[2]["text"])
    found, _, told = prepared(tmp_path, rows, {}, {"near_duplicates": "drop"})
    groups = components([row for row in rows if row["id"] in found], near_too=True)
    assert told["shares"]["groups"] == len(groups) > 12


def test_a_row_that_leaks_takes_nobody_with_it(tmp_path):
    some = sentences(4, 40)
    rows: list[dict[str, Any]] = [
        {"id": "given", "text": some[0], "label": "a", "author": "x", "part": "test"},
        {"id": "leak", "text": some[1], "label": "a", "author": "x", "part": "train"},
        {"id": "near to it", "text": f"{some[1]} z", "label": "a", "author": "y", "part": "train"},
        {"id": "beside that", "text": some[2], "label": "a", "author": "y", "part": "train"},
        {"id": "joins", "text": some[3], "label": "a", "author": "x", "part": None},
    ]
    found, gone, _ = prepared(tmp_path, rows, {"group_by": ("author",)}, {})
    assert {id_: split for id_, (split, _) in found.items()} == {
        "given": "test", "joins": "test", "near to it": "train", "beside that": "train",
    }  # fmt: skip
    assert [row["reason"] for row in gone] == ["group_leak"]


def test_the_row_that_was_given_its_split_stays_before_one_that_joins_it(tmp_path):
    rows = [
        {"id": f"{i} {part}", "text": text, "label": "a", "author": f"{i} {part}", "part": part}
        for i, text in enumerate(sentences(20))
        for part in (None, "test")
    ]
    found, gone, _ = prepared(tmp_path, rows, {"group_by": ("author",)}, {})
    assert sorted(found) == sorted(f"{i} test" for i in range(20))
    assert {row["reason"] for row in gone} == {"duplicate"}


def test_a_group_that_spoils_the_shares_is_named(tmp_path):
    rows = [
        {"id": f"{author} {i}", "text": text, "label": "a", "author": f" the  author {author}"}
        for author in range(100)
        for i, text in enumerate([sentences(1, 9, seed=author)[0], "So\tgood & well", "other"][: 1 + author % 2])
    ]
    rows += [{"id": f"x{i}", "text": text, "label": "a", "author": "author x"} for i, text in enumerate(sentences(30))]
    rows[-1]["text"] = "So good & well"
    _, _, told = prepared(tmp_path, rows, {"group_by": ("author",)}, {"duplicates": "keep"}, unit_bytes=2000)
    group = told["shares"]["largest_group"]
    assert group["rows"] == 130 and group["values"] == 51
    assert group["value"] == {"column": "author", "value": "author x", "texts": 30}
    assert group["joined_by"] == {"by": "text", "text": "So good & well", "joins": 51}
    said = findings.sentence(told["shares"])
    assert said is not None
    assert f"the largest, in {group['split']}, has 130 rows, author 'author x' in 30 of its 80 texts" in said
    assert "beside 50 other values; one text in 51 values: 'So good & well'" in said


def test_a_sentence_that_spoils_the_shares_is_named(tmp_path):
    some = sentences(80)
    rows = [{"id": f"{i}", "text": text, "b": "The Same", "label": "a"} for i, text in enumerate(some)]
    _, _, told = prepared(tmp_path, rows, {"group_sentences": True}, {}, text_pair_column="b")
    assert told["shares"]["groups"] == 1
    assert told["shares"]["largest_group"]["joined_by"] == {"by": "sentence", "text": "The Same", "joins": 80}
    assert "one sentence in 80 texts: 'The Same'" in (findings.sentence(told["shares"]) or "")


def test_near_duplicates_that_spoil_the_shares_are_named(tmp_path):
    text = sentences(1, 40)[0]
    rows = [{"id": f"{i}", "text": f"{text} {i}", "label": "a"} for i in range(40)]
    rows += [{"id": f"o{i}", "text": each, "label": "a"} for i, each in enumerate(sentences(10, seed=1))]
    _, _, told = prepared(tmp_path, rows, {}, {})
    joint = told["shares"]["largest_group"]["joined_by"]
    assert (joint["by"], joint["joins"]) == ("near-duplicates", 40) and joint["text"][:80] == text[:80]
    assert "near-duplicates of one text in 40 texts" in (findings.sentence(told["shares"]) or "")


def test_a_value_whose_file_is_gone_is_left_out(tmp_path, monkeypatch):
    def gone(*_: Any) -> Any:
        raise FileNotFoundError("in.jsonl")

    rows = [{"id": f"{i}", "text": text, "label": "a", "author": 7} for i, text in enumerate(sentences(40))]
    monkeypatch.setattr(shares, "read_unit", gone)
    _, _, told = prepared(tmp_path, rows, {"group_by": ("author",)}, {})
    assert told["shares"]["largest_group"]["value"] is None and told["shares"]["largest_group"]["values"] == 1


@pytest.mark.parametrize(
    ("rows", "got", "names"),
    [
        (1000, (800, 100, 100), []),
        (1000, (795, 121, 84), ["validation"]),
        (1000, (800, 120, 80), []),
        (1000, (640, 180, 180), ["validation", "test"]),
        (1000, (600, 200, 200), ["train", "validation", "test"]),
    ],
)
def test_a_share_is_far_by_more_than_a_fifth(rows, got, names):
    told = {
        "rows": rows,
        "asked": dict(zip(RANK, (0.8, 0.1, 0.1), strict=True)),
        "got": dict(zip(RANK, got, strict=True)),
    }
    assert findings.far(told) == names


def test_small_shares_are_far_by_more_than_a_point():
    asked, got = {"train": 0.98, "validation": 0.02, "test": 0.0}, {"train": 971, "validation": 29, "test": 0}
    assert findings.far({"rows": 1000, "asked": asked, "got": got}) == []
    got |= {"train": 969, "validation": 31}
    assert findings.far({"rows": 1000, "asked": asked, "got": got}) == ["validation"]


def test_chance_is_told_from_groups():
    asked, got = {"train": 0.8, "validation": 0.1, "test": 0.1}, {"train": 74, "validation": 12, "test": 14}
    told: dict[str, Any] = {"rows": 100, "asked": asked, "got": got, "split": "hash", "effective_groups": 98.0}
    assert findings.sentence(told) == (
        "test has 14 of 100 rows, 14.0% where 10.0% were asked: each row is drawn by chance (--split=stratified meets "
        "shares as far as rows can)"
    )
    assert "of a class with too few rows" in (findings.sentence({**told, "split": "stratified"}) or "")
