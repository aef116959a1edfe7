"""All tasks assign what one task assigns: the same bytes, whatever joins texts, and however they lie in partitions."""

import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from seqcls_beam.preparation import splits, tasks
from seqcls_beam.preparation.assign import PLACED, pieces_of
from seqcls_beam.preparation.examples import load_examples
from seqcls_beam.preparation.exchange import gather
from seqcls_beam.preparation.job import Job
from seqcls_beam.runs.run import RunError
from tests.corpora import write_jsonl
from tests.preparation.jobs import carry_out, planned
from tests.prepared import sentences

pytestmark = pytest.mark.engine
PARTS = (None, "train", "train", "validation", "test")
LONG = sentences(6, 30)


def outcome(job: Job) -> dict[str, Any]:
    """All that follows from the stage assign: places, what is said, and the bytes of shards and rejects."""
    job = job.anew()
    tasks.complete(job, "shards")
    said = {name: value for name, value in job.index("assign")[0].items() if name != "placed"}
    placed = [gather(job.exchange, pieces_of(job, each), PLACED).to_pydict() for each in range(job.partitions)]
    shards = [each["shards"] for each in job.index("shards")]
    digests = {part["path"]: part["sha256"] for each in shards for part in each.values()}
    parts = [each["rejects"]["part"] for each in job.index("shards")]
    return {
        "said": list(said.items()),  # the manifest has them in their order
        "leaks": [list(said[name].items()) for name in ("near_leaks", "sentences")],
        "placed": placed,
        "shards": digests,
        "rejects": [part and part["sha256"] for part in parts],
    }


def same(rows: list[dict[str, Any]], options: dict[str, dict[str, Any]], **cut: Any) -> Any:
    """Prepare rows in both ways, the work cut as said, and compare; what one task found."""
    with TemporaryDirectory() as folder, patch("os.fsync"):
        source = write_jsonl(Path(folder, "in.jsonl"), rows)
        if any("decontaminate" in each for each in options.values()):
            bad = write_jsonl(Path(folder, "bad.jsonl"), [{"text": each, "b": each[:30]} for each in LONG[:2]])
            options = {**options, "clean": {**options["clean"], "decontaminate": (str(bad),)}}
        found: list[Any] = []
        for shared in (False, True):
            job, units = planned(Path(folder, f"out {shared}"), source, options)
            job = replace(job, shared=shared, **(cut if shared else {"partitions": cut["partitions"]}))
            try:
                carry_out(job, units)
                found.append(outcome(job))
            except RunError as error:
                found.append(str(error))
        assert found[0] == found[1]
        return found[0]


def corpus(chance: random.Random, kind: str, skew: str) -> list[dict[str, Any]]:
    rows = []
    for number in range(chance.randint(15, 45)):
        drawn = chance.random()
        text = chance.choice([*LONG, "Good", "So nice"])
        if drawn > 0.7:
            text = f"{text[:-1]}{chance.choice('xyz')}"
        elif drawn > 0.4:
            text = sentences(1, 8, seed=chance.randrange(10**6))[0]
        label: Any = chance.choice("a" if skew == "class" else "aaabc")
        if kind == "multi_label":
            label = chance.sample("abc", chance.randint(1, 3))
        elif kind == "regression":
            label = chance.choice([0.5, 1.25, 3.0])
        rows.append(
            {
                "text": f"{LONG[0]} {number}" if skew == "cluster" and chance.random() < 0.7 else text,
                "b": chance.choice(["one", "another", "third", *LONG[:3], sentences(1, 3, seed=number)[0]]),
                "label": label,
                "author": "all" if skew == "value" else chance.choice([None, *map(str, range(8))]),
                "topics": chance.sample(range(30), chance.randint(0, 2)),
                "part": chance.choice(PARTS),
            }
        )
    return rows


def option(**values: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(some) for name, some in values.items()})


CLEAN = option(
    near_duplicates=["drop", "off"],
    linkage=["leader"],
    duplicates=["keep"],
    profile=["benchmark"],
    decontaminate=[()],
)
SPLITS = option(
    split=["stratified"],
    group_by=[("author",), ("author", "topics")],
    split_column=["part"],
    validation_fraction=[0.3],
    test_fraction=[0.0, 0.3],
)


@settings(max_examples=15, phases=[Phase.generate])  # to shrink takes minutes
@given(
    st.integers(0, 2**32),
    st.sampled_from(["single_label", "multi_label", "regression"]),
    st.sampled_from(["none", "class", "cluster", "value"]),
    CLEAN,
    SPLITS,
    st.sampled_from(["", "pairs", "sentences"]),
    st.sampled_from(
        [
            {"partitions": 1},
            {"partitions": 4, "rounds": 1},
            {"partitions": 20},
            {"partitions": 20, "rounds": 2, "most_pieces": 60},
        ]
    ),
)
def test_all_tasks_find_what_one_finds(seed, kind, skew, clean, drawn, pairs, cut):
    if kind == "regression":
        drawn = {**drawn, "split": "hash"}
    same(
        corpus(random.Random(seed), kind, skew),
        {
            "read": {"unit_bytes": 500, **({"text_pair_column": "b"} if pairs else {})},
            "labels": {"problem": kind, "labels": None if kind == "regression" else ("a", "b", "c")},
            "clean": clean,
            "splits": {**drawn, "group_sentences": pairs == "sentences"},
        },
        **cut,
    )


def chain(links: int) -> list[dict[str, Any]]:
    """Texts each near to its neighbours alone, in any order of their digests, and others."""
    words = " ".join(sentences(links // 4, 30, seed=5)).split()
    texts = [" ".join(words[3 * i : 3 * i + 60]) for i in range(links)]
    return [{"text": each, "label": "ab"[i % 2]} for i, each in enumerate([*texts, *sentences(30)])]


def links_of(job: Job, stage: str) -> int:
    return len(list(Path(job.run.attempt, "records", stage.replace(" ", "-")).glob("*.json")))


@pytest.mark.parametrize(("rounds", "rest"), [(2, 1), (8, 0)])
def test_rounds_end_when_nothing_changes_and_one_task_joins_what_they_left(tmp_path, rounds, rest):
    source = write_jsonl(tmp_path / "in.jsonl", chain(120))
    found = []
    for shared in (False, True):
        job, units = planned(tmp_path / f"{shared}", source, {})
        job = replace(job, shared=shared, partitions=9, rounds=rounds)
        carry_out(job, units)
        found.append(outcome(job))
    assert found[0] == found[1]
    assert dict(found[0]["said"])["largest_cluster"] == 120
    assert links_of(job, "rest") == rest
    done = [links_of(job, f"{kind} {number + 1}") for number in range(rounds) for kind in ("large", "small")]
    assert done[0] == 9 and sorted(done, reverse=True) == done, "no round after one that had nothing to do"
    assert (done[-1] == 0) == (rest == 0)
    assert all(tasks.done(job, stage) == count for stage, count in tasks.stages(job).items())


def test_an_id_of_two_rows_is_told_wherever_they_lie(tmp_path):
    rows = [{"text": text, "label": "a", "id": f"{i % 35}"} for i, text in enumerate(sentences(40))]
    said = same(rows, {"read": {"id_column": "id"}, "labels": {}}, partitions=6)
    assert said.startswith("--id_column: 5 ids are those of several rows that stay")


@pytest.mark.parametrize("first", [False, True])
def test_a_run_that_was_begun_one_way_is_ended_the_other_way(tmp_path, first):
    source = write_jsonl(tmp_path / "in.jsonl", corpus(random.Random(3), "single_label", "none"))
    options = {"splits": {"group_by": ("author",), "split": "stratified"}}
    found = []
    for name, ways in (("twice", (first, not first)), ("once", (not first,))):
        job, units = planned(tmp_path / name, source, options)
        for way, until in zip(ways, ("assign", "shards") if len(ways) == 2 else ("shards",), strict=True):
            carry_out(replace(job, shared=way, partitions=5), units, until)
        found.append(outcome(replace(job, shared=ways[-1], partitions=5)))
    assert found[0] == found[1]


def test_a_file_of_a_stage_that_is_gone_is_made_again(tmp_path):
    source = write_jsonl(tmp_path / "in.jsonl", corpus(random.Random(4), "single_label", "none"))
    job, units = planned(tmp_path / "out", source, {"splits": {"group_by": ("author",), "split": "stratified"}})
    job = replace(job, shared=True, partitions=12, most_pieces=60)
    carry_out(job, units)
    before = outcome(job)
    for prefix in ("ties", "large-1", "owned", "groups", "draw", "sent-0", "placed", "fold-exact"):
        next(Path(job.exchange).glob(f"{prefix}*")).unlink()
        carry_out(job, units)
        assert list(Path(job.exchange).glob(f"{prefix}*")) and outcome(job) == before


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2), st.integers(1, 5)), max_size=40),
    st.lists(st.integers(0, 31), max_size=3),
    st.sampled_from([0.0, 0.1, 0.45]),
    st.sampled_from([0.0, 0.2, 0.5]),
)
def test_quotas_are_met_range_by_range(groups, cuts, validation, test):
    drawn, classes, sizes = (np.array([each[i] for each in groups], np.int64) for i in range(3))
    together = splits.stratified(drawn.astype(np.uint64), classes, sizes, validation, test)
    ends = [0, *sorted(cuts), 32]
    for low, high in pairwise(ends):
        some = (low <= drawn) & (drawn < high)
        before = np.array([sizes[(classes == each) & (drawn < low)].sum() for each in classes[some]], np.int64)
        total = np.array([sizes[classes == each].sum() for each in classes[some]], np.int64)
        apart = splits.stratified(
            drawn[some].astype(np.uint64), classes[some], sizes[some], validation, test, (before, total)
        )
        assert apart.tolist() == together[some].tolist()


def test_pieces_are_bounded_by_files_that_are_joined(tmp_path):
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text, "label": "a"} for text in sentences(400)])
    job, units = planned(tmp_path / "out", source, {"read": {"unit_bytes": 600}})
    job = replace(job, partitions=16, most_pieces=200)
    assert job.units * job.partitions > 600
    carry_out(job, units, "exact")
    pieces = [each for partition in range(16) for each in job.pieces("read", "spill", partition)]
    assert 16 <= sum(len(each.batches or ()) for each in pieces) <= 200
    rows = [len(load_examples(job, each)) for each in range(16)]
    assert sum(rows) == 400 and min(rows) > 0


def test_how_it_is_assigned_changes_no_run_id(tmp_path, monkeypatch):
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text, "label": "a"} for text in sentences(30)])
    jobs = {way: planned(tmp_path / "out", source, {"shards": {"assign": way}})[0] for way in ("auto", "one", "all")}
    assert len({job.run.run_id for job in jobs.values()}) == 1
    assert {way: job.shared for way, job in jobs.items()} == {"auto": False, "one": False, "all": True}
    monkeypatch.setattr("seqcls_beam.preparation.plan._SHARED", source.stat().st_size)
    assert planned(tmp_path / "out", source, {})[0].shared
    monkeypatch.setattr("seqcls_beam.preparation.plan._SHARED", source.stat().st_size + 1)
    assert not planned(tmp_path / "out", source, {})[0].shared
