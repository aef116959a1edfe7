"""The whole command: every test is a failure of some other system that prepares data."""

import json
import os
import random
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from pipelines import prepare
from pipelines.command import flags as flags_of
from pipelines.options import parse, parser
from seqcls_beam.model.checkpoints import PACKAGED
from tests.corpora import write_jsonl
from tests.prepared import all_rows, digests, labelled, lasting, manifest, rejected, rows, run, sentences
from tests.reports.reading import parsed

pytestmark = pytest.mark.engine
ALL_TRAIN = ["--validation_fraction=0", "--test_fraction=0"]


def reasons(out):
    return dict(Counter(row["reason"] for row in rejected(out)))


def test_rows_are_split_numbered_counted_and_none_is_lost(tmp_path):
    source = labelled(sentences(1000))
    out = run(source, tmp_path / "out", "--id_column=id", "--keep_text")
    found = all_rows(out)
    told = manifest(out)
    assert sorted(row["id"] for each in found.values() for row in each) == sorted(row["id"] for row in source)
    expected = {row["id"]: (row["text"], row["label"]) for row in source}
    assert all(expected[row["id"]] == (row["text"], row["label"]) for each in found.values() for row in each)
    assert told["rows"] == {
        "in": 1000, "kept": 1000, "rejected": 0, "rejected_by_reason": {}, "removed": 0, "removed_by_reason": {},
        "lost": 0, "lost_weight": "counted", "lost_by_reason": {}, "reference": 0, "reference_rejected": {},
    }  # fmt: skip
    for name, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        assert told["splits"][name]["rows"] == len(found[name])
        assert abs(len(found[name]) - 1000 * share) < 40
        counts = Counter(row["label"] for row in found[name])
        assert told["splits"][name]["label_counts"] == {"no": counts["no"], "yes": counts["yes"]}
        files = sorted((out / "data").glob(f"{name}-*"))
        assert [file.name for file in files] == [f"{name}-{i:05d}-of-00004.parquet" for i in range(4)]
        sizes = [pq.ParquetFile(file).metadata.num_rows for file in files]
        assert max(sizes) - min(sizes) <= 1
    lengths = sorted(row["length"] for row in found["train"])
    assert told["splits"]["train"]["length"]["p50"] == lengths[(len(lengths) + 1) // 2 - 1]
    assert told["splits"]["train"]["length"]["max"] == lengths[-1]
    assert not (out / "_attempts").exists()


def test_token_ids_are_those_of_the_tokenizer(tmp_path):
    texts = [*sentences(60, 30), "Déjà vu 👩‍👧 naïve " * 9, "x", "ein Wort " * 40]
    out = run(labelled(texts), tmp_path / "out", *ALL_TRAIN, "--max_length=32", "--keep_text")
    tokenizer = AutoTokenizer.from_pretrained(PACKAGED["sentiment"])
    found = rows(out, "train")
    assert len(found) == len(texts)
    for row in found:
        assert row["input_ids"] == tokenizer(row["text"], truncation=True, max_length=32)["input_ids"]
        assert row["length"] == len(row["input_ids"])
    whole = [len(tokenizer(row["text"])["input_ids"]) for row in found]
    told = manifest(out)["splits"]["train"]
    assert told["truncated_rows"] == sum(each > 32 for each in whole)
    assert told["truncated_tokens"] == sum(each - 32 for each in whole if each > 32)
    assert told["length"]["max"] == max(whole)


def test_pairs_are_cut_longest_first(tmp_path):
    chance = random.Random(0)
    one, other = sentences(50, 20), sentences(50, 20, seed=1)
    source = [
        {
            **{name: " ".join(text.split()[: chance.randint(1, 20)]) for name, text in zip("ab", both, strict=True)},
            "label": i % 2,
        }
        for i, both in enumerate(zip(one, other, strict=True))
    ]
    out = run(
        source,
        tmp_path / "out",
        *ALL_TRAIN,
        "--max_length=33",
        "--keep_text",
        "--text_column=a",
        "--text_pair_column=b",
    )
    tokenizer = AutoTokenizer.from_pretrained(PACKAGED["sentiment"])
    found = rows(out, "train")
    assert len(found) == 50
    for row in found:
        made = tokenizer(row["text"], row["text_pair"], truncation="longest_first", max_length=33)
        assert (row["input_ids"], row["token_type_ids"]) == (made["input_ids"], made["token_type_ids"])


def test_short_texts_are_no_duplicates_of_each_other(tmp_path):
    texts = ["a b c d", "a b c d", "e f g h", "no", "no", "so", "x", "y"]
    source = [{"text": text, "label": "one"} for text in texts]
    source += labelled(sentences(20))
    out = run(source, tmp_path / "out", *ALL_TRAIN, "--keep_text")
    kept = Counter(row["text"] for row in rows(out, "train"))
    assert {text: kept[text] for text in texts} == dict.fromkeys(texts, 1)
    assert reasons(out) == {"duplicate": 2}


def test_empty_texts_are_rejected_and_never_one_duplicate(tmp_path):
    source = [*labelled(sentences(90)), *({"text": text, "label": "yes"} for text in ("", "  \t", "\u200b", "<br />"))]
    out = run(source, tmp_path / "out", "--max_rejected=0.1")
    assert reasons(out) == {"empty_text": 4}
    assert manifest(out)["rows"]["kept"] == 90


CONFLICT = [
    *({"text": "One text.", "label": "yes"} for _ in range(2)),
    {"text": "one  TEXT.", "label": "no"},
    {"text": "a tie", "label": "yes"},
    {"text": "a tie", "label": "no"},
]


@pytest.mark.parametrize(
    ("policy", "kept", "gone"),
    [
        ("majority", {"yes": 1}, {"conflicting_labels": 3, "duplicate": 1}),
        ("drop", {}, {"conflicting_labels": 5}),
        ("keep", {"yes": 2, "no": 2}, {"duplicate": 1}),
    ],
)
def test_one_text_with_two_labels(tmp_path, policy, kept, gone):
    source = [*labelled(sentences(40)), *CONFLICT]
    out = run(source, tmp_path / "out", *ALL_TRAIN, f"--conflicts={policy}", "--keep_text")
    mine = [row for row in rows(out, "train") if row["text"].lower() in ("one text.", "a tie")]
    assert Counter(row["label"] for row in mine) == kept
    assert reasons(out) == gone
    assert manifest(out)["duplicates"]["conflict_groups"] == 2
    assert manifest(out)["duplicates"]["duplicate_rows"] == 3
    assert len({row["id"] for row in rows(out, "train")}) == len(rows(out, "train"))


def test_a_conflict_can_fail_the_run(tmp_path, capfd):
    run([*labelled(sentences(40)), *CONFLICT], tmp_path / "out", "--conflicts=fail", code=1)
    said = capfd.readouterr().err
    assert "texts of a part of the data have several labels (--conflicts=fail)" in said
    assert not (tmp_path / "out" / "data").exists()


def near(text, chance):
    """The text with one word replaced by another: a near-duplicate of a long one."""
    parts = text.split()
    parts[chance.randrange(len(parts))] = "changed"
    return " ".join(parts)


def test_near_duplicates_with_two_labels_stay_and_share_a_split(tmp_path):
    chance = random.Random(0)
    texts = sentences(150, 40)
    source = labelled(texts) + [
        {"id": f"n{i}", "text": near(text, chance), "label": ("yes", "no")[i % 2]} for i, text in enumerate(texts)
    ]
    out = run(source, tmp_path / "out", "--id_column=id")
    found = all_rows(out)
    place = {row["id"]: split for split, each in found.items() for row in each}
    clusters = {row["id"]: row["cluster"] for each in found.values() for row in each}
    assert len(place) == 300
    assert all(place[f"r{i}"] == place[f"n{i}"] for i in range(150))
    assert all(clusters[f"r{i}"] == clusters[f"n{i}"] is not None for i in range(150))
    assert len(set(clusters.values())) == 150
    told = manifest(out)["duplicates"]
    assert (told["clusters"], told["near_pairs"], told["near_pairs_with_other_labels"]) == (150, 150, 150)


def test_near_duplicates_can_be_dropped(tmp_path):
    chance = random.Random(0)
    texts = sentences(60, 40)
    source = labelled(texts) + labelled([near(text, chance) for text in texts])
    out = run(source, tmp_path / "out", "--near_duplicates=drop")
    assert manifest(out)["rows"]["kept"] == 60
    assert reasons(out) == {"near_duplicate": 60}


@pytest.mark.parametrize(("linkage", "kept"), [("component", 1), ("leader", 2)])
def test_a_chain_of_near_duplicates(tmp_path, linkage, kept):
    words = sentences(1, 40)[0].split()
    chain = [words, [*words[:-3], "x", "y", "z"], ["x", "y", "z", *words[3:-3], "x", "y", "z"]]
    source = [{"text": " ".join(each), "label": "a"} for each in chain]
    out = run(
        [*source, *labelled(sentences(30, seed=9))], tmp_path / "out", *ALL_TRAIN, "--near_duplicates=drop",
        f"--linkage={linkage}", "--keep_text", "--similarity=0.85",
    )  # fmt: skip
    mine = {" ".join(each) for each in chain} & {row["text"] for row in rows(out, "train")}
    assert len(mine) in (kept, 1), "of a chain led from its middle one stays"
    assert linkage == "leader" or len(mine) == 1


def test_a_leak_goes_from_the_lower_split(tmp_path):
    texts = sentences(200, 40)
    chance = random.Random(1)
    files = {
        "train": labelled([*texts[:100], texts[150].upper(), texts[160], near(texts[155], chance)]),
        "validation": labelled([*texts[100:150], texts[151]]),
        "test": labelled(texts[150:]),
    }
    flags = [f"--input_{split}={write_jsonl(tmp_path / f'{split}.jsonl', each)}" for split, each in files.items()]
    out = run(None, tmp_path / "out", *flags, "--keep_text")
    found = {split: {row["text"] for row in each} for split, each in all_rows(out).items()}
    assert found == {"train": set(texts[:100]), "validation": set(texts[100:150]), "test": set(texts[150:])}
    assert reasons(out) == {"leak": 3, "near_leak": 1}
    leaks = manifest(out)["leaks"]
    assert {pair: counts["rows"] for pair, counts in leaks["exact"].items()} == {
        "test in train": 2,
        "test in validation": 1,
    }
    assert leaks["near"] == {"test in train": 1}
    shown = parsed((out / "_report" / "report.html").read_text())
    assert shown.alerts()["leaks"] == "act"
    assert {pair: int(cells[0]) for pair, cells in shown.section("Leaks").table().items()} == {
        pair: counts["rows"] for pair, counts in leaks["exact"].items()
    }
    told = manifest(out)["rows"]
    went = {name: int(cells[0]) for name, cells in shown.section("Where the rows went").table().items()}
    assert went == {**told["removed_by_reason"], "kept": told["kept"]} and sum(went.values()) == told["in"]
    samples = shown.section("Rows that were left out").all("li")
    assert len(samples) == told["removed"] and {each.all("strong")[0].text for each in samples} == {
        *told["removed_by_reason"]
    }


def test_the_benchmark_profile_keeps_bytes_rows_and_splits(tmp_path):
    odd = ["Ã© kept  as <br /> it is ", "twice", "twice", "one", "one"]
    files = {
        "train": [{"text": text, "label": label} for text, label in zip(odd, "aabab", strict=True)],
        "test": [{"text": "twice", "label": "b"}, {"text": "other", "label": "a"}],
    }
    flags = [f"--input_{split}={write_jsonl(tmp_path / f'{split}.jsonl', each)}" for split, each in files.items()]
    out = run(None, tmp_path / "out", *flags, "--profile=benchmark", "--keep_text")
    for split, each in files.items():
        assert Counter((row["text"], row["label"]) for row in rows(out, split)) == Counter(
            (row["text"], row["label"]) for row in each
        )
    told = manifest(out)
    assert told["leaks"]["exact"]["test in train"] == {"rows": 1, "texts_with_other_labels": 1}
    assert (told["duplicates"]["duplicate_rows"], told["duplicates"]["conflict_groups"]) == (3, 2)
    assert "cluster" not in rows(out, "train")[0]


def test_the_same_bytes_from_any_order_of_rows_and_files(tmp_path):
    chance = random.Random(3)
    texts = sentences(400, 30)
    source = labelled(texts + [near(text, chance) for text in texts[:100]] + texts[:50])
    source += [{"id": "c", "text": texts[7], "label": "no"}, {"id": "d", "text": texts[7].title(), "label": "no"}]
    for row in source:
        row["author"] = f"author {chance.randint(0, 300)}"
    flags = ["--group_by=author", "--split=stratified", "--keep_text", "--decontaminate", str(tmp_path / "ref.jsonl")]
    write_jsonl(tmp_path / "ref.jsonl", [{"text": near(texts[200], chance)}, {"text": texts[201]}])
    one = run(source, tmp_path / "one", *flags)
    chance.shuffle(source)
    half = tmp_path / "two"
    half.mkdir()
    write_jsonl(half / "b.jsonl", source[:333])
    write_jsonl(half / "a.jsonl", source[333:])
    other = run(half, tmp_path / "other", *flags, "--unit_bytes=9000", "--partition_bytes=65536", "--batch_rows=50")
    assert digests(one) == digests(other)
    assert lasting(one) == lasting(other)
    assert manifest(one)["rows"]["removed_by_reason"].keys() >= {"duplicate", "conflicting_labels", "contaminated"}


@pytest.fixture(scope="module")
def on_one_thread(tmp_path_factory):
    """A corpus of several units and partitions, and what the engine of this process makes of it."""
    folder, flags = tmp_path_factory.mktemp("engines"), ["--unit_bytes=9000", "--partition_bytes=65536"]
    return run(labelled(sentences(200, 30) + sentences(40, 30)), folder / "one", *flags), flags


@pytest.mark.parametrize(
    "engine",
    [
        ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
        ["--direct_running_mode=multi_threading", "--direct_num_workers=2"],
        ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"],
    ],
    ids=["multi_processing", "multi_threading", "LOOPBACK"],
)
def test_the_same_bytes_on_any_engine(tmp_path, on_one_thread, engine):
    one, flags = on_one_thread
    other = run(one.with_name("one.jsonl"), tmp_path / "other", *flags, *engine)
    assert digests(one) == digests(other)
    assert lasting(one) == lasting(other)
    assert len(list((one / "_rejects").iterdir())) > 1


def test_a_seed_moves_rows_and_another_size_of_shards_does_not(tmp_path):
    source = write_jsonl(tmp_path / "in.jsonl", labelled(sentences(300)))
    ids = {}
    for name, flags in (("a", []), ("b", ["--seed=1"]), ("c", ["--num_shards=2"])):
        found = all_rows(run(source, tmp_path / name, "--id_column=id", *flags))
        ids[name] = {split: [row["id"] for row in each] for split, each in found.items()}
    assert ids["a"] == ids["c"]
    assert set(ids["a"]["test"]) != set(ids["b"]["test"])
    assert ids["a"]["train"] != [row["id"] for row in labelled(sentences(300)) if row["id"] in ids["a"]["train"]]


def test_a_row_stays_in_its_split_when_others_come(tmp_path):
    texts = sentences(500)
    source = [{**row, "author": f"a{i % 100}" if i % 3 else None} for i, row in enumerate(labelled(texts))]
    before = all_rows(run(source[:250], tmp_path / "before", "--id_column=id", "--group_by=author"))
    after = all_rows(run(source, tmp_path / "after", "--id_column=id", "--group_by=author"))
    place = {row["id"]: split for split, each in after.items() for row in each}
    assert all(place[row["id"]] == split for split, each in before.items() for row in each)
    assert {split for split, each in before.items() if each} == {"train", "validation", "test"}


def test_groups_are_in_one_split(tmp_path):
    chance = random.Random(2)
    source = labelled(sentences(400))
    for row in source:
        row["author"], row["thread"] = chance.randint(0, 150), f"t{chance.randint(0, 400)}"
    out = run(source, tmp_path / "out", "--id_column=id", "--group_by=author,thread", "--seed=1")
    place = {row["id"]: split for split, each in all_rows(out).items() for row in each}
    for name in ("author", "thread"):
        splits: dict = {}
        for row in source:
            splits.setdefault(row[name], set()).add(place[row["id"]])
        assert all(len(each) == 1 for each in splits.values()), name


def test_pairs_with_a_common_sentence_are_in_one_split(tmp_path):
    chance = random.Random(2)
    some, others = sentences(300), sentences(150, seed=1)
    source = [{"id": f"{i}", "a": one, "b": chance.choice(others), "label": i % 2} for i, one in enumerate(some)]
    flags = ["--id_column=id", "--text_column=a", "--text_pair_column=b", "--group_sentences"]
    out = run(source, tmp_path / "out", *flags)
    place = {row["id"]: split for split, each in all_rows(out).items() for row in each}
    splits: dict = {}
    for row in source:
        splits.setdefault(row["b"], set()).add(place[row["id"]])
    assert all(len(each) == 1 for each in splits.values())


def test_stratified_splits_meet_the_quota_of_every_class(tmp_path):
    source = [{"text": text, "label": "rare" if i % 20 == 0 else "usual"} for i, text in enumerate(sentences(600))]
    out = run(source, tmp_path / "out", "--split=stratified", "--test_fraction=0.2", "--validation_fraction=0.1")
    told = {split: each["label_counts"] for split, each in manifest(out)["splits"].items()}
    assert told == {
        "train": {"rare": 21, "usual": 399},
        "validation": {"rare": 3, "usual": 57},
        "test": {"rare": 6, "usual": 114},
    }


def test_a_split_column_is_kept_and_the_rest_is_split(tmp_path):
    named = ["train", "Dev", "TEST", "validation", "", None]
    source = [{**row, "part": named[i % 6]} for i, row in enumerate(labelled(sentences(300)))]
    source.append({"id": "odd", "text": "another text", "label": "no", "part": "holdout"})
    flags = ["--split_column=part", "--id_column=id", "--test_fraction=0.3"]
    out = run(source, tmp_path / "out", *flags)
    place = {row["id"]: split for split, each in all_rows(out).items() for row in each}
    for i, row in enumerate(source[:-1]):
        if i % 6 in (1, 2, 3):
            assert place[row["id"]] == ("", "validation", "test", "validation")[i % 6]
        else:
            assert place[row["id"]] in ("train", "test")
    assert reasons(out) == {"unknown_split": 1}


def test_what_must_not_be_learned_from_is_removed(tmp_path):
    texts = sentences(100, 40)
    reference = write_jsonl(
        tmp_path / "ref.jsonl", [{"text": texts[3].upper()}, {"text": near(texts[4], random.Random(0))}]
    )
    out = run(labelled(texts), tmp_path / "out", "--id_column=id", f"--decontaminate={reference}", "--keep_text")
    kept = {row["id"] for each in all_rows(out).values() for row in each}
    assert kept == {f"r{i}" for i in range(100)} - {"r3", "r4"}
    assert reasons(out) == {"contaminated": 2}
    assert any(f"{reference}" in row["detail"] for row in rejected(out)), "the reference is named"
    told = manifest(out)
    assert told["rows"]["in"] == 100 and told["rows"]["reference"] == 2


def splits_of(tmp_path, name, files, *flags, code=0):
    """Prepare rows that are split already."""
    given = [
        f"--input_{split}={write_jsonl(tmp_path / f'{name}-{split}.jsonl', each)}" for split, each in files.items()
    ]
    return run(None, tmp_path / name, *given, "--keep_text", *flags, code=code)


def test_a_leak_takes_its_copies_and_not_their_whole_group(tmp_path):
    texts, chance = sentences(60, 40), random.Random(0)
    rows_of = lambda part, author: [{**row, "author": author} for row in labelled(part)]  # noqa: E731
    train = rows_of([*texts[:20], near(texts[40], chance)], "a") + rows_of(texts[20:30], "b")
    test = rows_of(texts[40:50], "c")
    out = splits_of(tmp_path, "near", {"train": train, "test": test}, "--group_by=author")
    assert reasons(out) == {"near_leak": 1} and len(rows(out, "train")) == 30
    reference = write_jsonl(tmp_path / "reference.jsonl", [{"text": near(texts[3], chance)}])
    out = run(rows_of(texts, "a"), tmp_path / "ref", *ALL_TRAIN, "--group_by=author", f"--decontaminate={reference}")
    assert reasons(out) == {"contaminated": 1}
    assert "similarity 0.9" in rejected(out)[0]["detail"]
    assert manifest(out)["leaks"]["near"] == {"reference in data": 1}
    out = splits_of(tmp_path, "group", {"train": train, "test": rows_of(texts[50:], "b")}, "--group_by=author")
    assert reasons(out) == {"group_leak": 10}


@pytest.mark.parametrize("linkage", ["component", "leader"])
def test_no_near_duplicate_of_a_test_row_is_learned_from(tmp_path, linkage):
    test, train = [], []
    for text in sentences(8, 40):
        words = text.split()
        test += [text, " ".join([*words[:-3], "x", "y", "z"])]
        train.append(" ".join(["x", "y", "z", *words[3:-3], "x", "y", "z"]))  # near to the second, not to the first
    files = {"train": labelled([*train, *sentences(20, seed=9)]), "test": labelled(test)}
    out = splits_of(tmp_path, "out", files, f"--linkage={linkage}", "--similarity=0.85")
    assert reasons(out) == {"near_leak": 8}


def test_clusters_found_by_all_workers_are_those_found_by_one(tmp_path, capfd):
    texts = sentences(40, 40)
    words = " ".join(texts).split()
    chain = [" ".join(words[i : i + 60]) for i in range(0, 300, 3)]  # each near to its neighbours alone
    source = labelled([*texts, *chain, *(near(text, random.Random(0)) for text in texts)])
    flags = ["--partition_bytes=65536"]
    one = run(source, tmp_path / "one", *flags)
    assert manifest(one)["duplicates"]["largest_cluster"] > 50
    all_workers = run(tmp_path / "one.jsonl", tmp_path / "all", *flags, "--assign=all")
    assert digests(one) == digests(all_workers) and lasting(one) == lasting(all_workers)


def test_near_duplicates_with_another_label_are_not_dropped(tmp_path):
    chance = random.Random(0)
    texts = sentences(60, 40)
    source = [{"text": text, "label": "a"} for text in texts] + [
        {"text": near(text, chance), "label": "b"} for text in texts
    ]
    out = run(source, tmp_path / "out", "--near_duplicates=drop")
    assert manifest(out)["rows"]["kept"] == 120 and reasons(out) == {}


@pytest.mark.parametrize("profile", ["clean", "benchmark"])
def test_a_row_without_a_split_joins_its_copies(tmp_path, profile):
    texts = sentences(60)
    source = [{**row, "part": ("train", "test")[i // 2 % 2]} for i, row in enumerate(labelled(texts))]
    copies = [{**row, "part": None} for row in source]
    out = run([*source, *copies], tmp_path / "out", "--split_column=part", "--keep_text", f"--profile={profile}")
    found = {split: Counter(row["text"] for row in each) for split, each in all_rows(out).items()}
    times = 2 if profile == "benchmark" else 1
    assert found["train"] == {row["text"]: times for row in source if row["part"] == "train"}
    assert found["test"] == {row["text"]: times for row in source if row["part"] == "test"}
    assert reasons(out) == ({} if profile == "benchmark" else {"duplicate": 60})
    assert manifest(out)["leaks"]["exact"] == {}


def test_a_row_without_a_label_is_no_conflict(tmp_path):
    test = [{"text": "one text", "label": "yes"}, {"text": "one text", "label": None}, {"text": "other", "label": None}]
    for policy in ("majority", "drop"):
        files = {"train": labelled(sentences(40)), "test": test}
        out = splits_of(tmp_path, policy, files, f"--conflicts={policy}")
        assert Counter((row["text"], row["label"]) for row in rows(out, "test")) == {
            ("one text", "yes"): 1,
            ("other", None): 1,
        }
        assert reasons(out) == {"duplicate": 1} and manifest(out)["duplicates"]["conflict_groups"] == 0


def test_an_id_may_come_again_with_a_row_that_goes(tmp_path):
    texts, chance = sentences(40, 40), random.Random(0)
    source = [*labelled(texts), {**labelled(texts)[3], "text": near(texts[3], chance)}]
    run(source, tmp_path / "grouped", "--id_column=id", code=1)
    assert (
        len(rows(run(source, tmp_path / "out", "--id_column=id", "--near_duplicates=drop", *ALL_TRAIN), "train")) == 40
    )


def test_rows_without_an_id_are_named_by_their_content(tmp_path):
    source = labelled(sentences(60))
    for row in source[::2]:
        row["id"] = None
    ids = [row["id"] for each in all_rows(run(source, tmp_path / "out", "--id_column=id")).values() for row in each]
    assert len(set(ids)) == 60 and None not in ids
    assert {row["id"] for row in source[1::2]} < set(ids)


@pytest.mark.parametrize("flags", [["--near_duplicates=off"], ["--profile=benchmark"], []])
def test_a_reference_counts_for_itself(tmp_path, flags):
    texts = sentences(60)
    reference = write_jsonl(tmp_path / "ref.jsonl", [{"text": text} for text in [texts[0], *[""] * 30, texts[0]]])
    out = run(labelled(texts), tmp_path / "out", f"--decontaminate={reference}", *flags)
    told = manifest(out)
    assert (told["rows"]["in"], told["rows"]["kept"], told["rows"]["rejected"]) == (60, 59, 0)
    assert told["rows"]["removed_by_reason"] == {"contaminated": 1}
    assert told["rows"]["reference"] == 32 and told["rows"]["reference_rejected"] == {"empty_text": 30}
    assert told["leaks"]["exact"]["reference in data"]["rows"] == 1


def test_hidden_test_labels_with_pinned_names(tmp_path):
    files = {
        "train": [{"text": text, "label": i % 2} for i, text in enumerate(sentences(40))],
        "test": [{"text": text, "label": -1} for text in sentences(10, seed=3)],
    }
    out = splits_of(tmp_path, "out", files, "--labels=0:bad,1:good")
    assert {row["labels"] for row in rows(out, "test")} == {-1} and len(rows(out, "test")) == 10


def test_numbers_that_float32_does_not_hold_are_no_labels(tmp_path):
    source = [{"text": text, "label": i / 8} for i, text in enumerate(sentences(40))]
    source[7]["label"] = 1e300
    out = run(source, tmp_path / "out", "--problem=regression", *ALL_TRAIN)
    assert reasons(out) == {"unknown_label": 1}
    large = [{"text": text, "label": 1e20 * (1 + i % 2)} for i, text in enumerate(sentences(40))]
    assert len(manifest(run(large, tmp_path / "large", *ALL_TRAIN))["labels"]) == 2


def test_nothing_of_another_origin_is_overwritten(tmp_path, capfd):
    source = write_jsonl(tmp_path / "in.jsonl", labelled(sentences(60)))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("mine")
    run(source, tmp_path / "out", code=1)
    assert "README.md is not of a run" in capfd.readouterr().err
    assert (tmp_path / "out" / "README.md").read_text() == "mine"


def test_several_labels_a_row(tmp_path):
    chance = random.Random(0)
    source = [{"text": text, "tags": chance.sample(["b", "a", "c"], chance.randint(0, 3))} for text in sentences(120)]
    flags = ["--label_column=tags", "--keep_text"]
    out = run(source, tmp_path / "out", *flags)
    found = {row["text"]: row["labels"] for each in all_rows(out).values() for row in each}
    assert found == {row["text"]: [float(name in row["tags"]) for name in "abc"] for row in source}
    assert pq.read_schema(out / "data" / "train-00000-of-00004.parquet").field("labels").type == pa.list_(pa.float32())
    joined = [{**row, "tags": "|".join(row["tags"])} for row in source if row["tags"]]
    out = run(joined, tmp_path / "joined", *flags, "--label_separator=|")
    again = {row["text"]: row["labels"] for each in all_rows(out).values() for row in each}
    assert again == {text: labels for text, labels in found.items() if any(labels)}


def test_a_number_to_predict(tmp_path):
    source = [{"text": text, "label": i / 8} for i, text in enumerate(sentences(80))]
    out = run(source, tmp_path / "out", "--problem=regression", "--keep_text")
    found = {row["text"]: row["labels"] for each in all_rows(out).values() for row in each}
    assert found == {row["text"]: row["label"] for row in source}
    told = manifest(out)["splits"]["train"]["target"]
    values = [row["labels"] for row in rows(out, "train")]
    assert np.isclose(told["mean"], np.mean(values)) and np.isclose(told["standard_deviation"], np.std(values))


def test_pinned_labels_rename_and_refuse(tmp_path):
    source: list[dict] = [{"text": text, "label": i % 3} for i, text in enumerate(sentences(90))]
    out = run(source, tmp_path / "out", "--labels=1:good,0:bad", "--max_rejected=0.5", "--keep_text")
    assert manifest(out)["labels"] == ["good", "bad"]
    found = {row["text"]: row["label"] for each in all_rows(out).values() for row in each}
    assert found == {row["text"]: ("bad", "good")[row["label"]] for row in source if row["label"] < 2}
    assert reasons(out) == {"unknown_label": 30}


def test_a_test_set_may_come_without_labels(tmp_path):
    train = write_jsonl(
        tmp_path / "train.jsonl", [{"text": text, "label": i % 2} for i, text in enumerate(sentences(50))]
    )
    test = write_jsonl(tmp_path / "test.jsonl", [{"text": text, "label": -1} for text in sentences(10, seed=5)])
    bare = write_jsonl(tmp_path / "bare.jsonl", [{"text": text} for text in sentences(10, seed=5)])
    for file in (test, bare):
        out = run(None, tmp_path / file.stem, f"--input_train={train}", f"--input_test={file}")
        assert manifest(out)["labels"] == ["0", "1"]
        assert {row["labels"] for row in rows(out, "test")} == {-1}
        assert manifest(out)["splits"]["test"]["unlabelled_rows"] == 10


def test_datasets_sees_splits_names_and_types(tmp_path):
    import datasets

    out = run(labelled(sentences(100)), tmp_path / "out", "--keep_text")
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {split: len(each) for split, each in loaded.items()} == {
        split: each["rows"] for split, each in manifest(out)["splits"].items()
    }
    features = loaded["train"].features
    assert isinstance(features["labels"], datasets.ClassLabel) and features["labels"].names == ["no", "yes"]
    assert loaded["train"][0]["input_ids"] == rows(out, "train")[0]["input_ids"]
    source = [{"text": text, "label": ["a"] if i % 2 else ["a", "b"]} for i, text in enumerate(sentences(60))]
    loaded = datasets.load_dataset(str(run(source, tmp_path / "two")), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].features["labels"] == datasets.List(datasets.Value("float32"))


RANK = """
import json, sys
import datasets, torch.distributed as dist
from datasets.distributed import split_dataset_by_node
dist.init_process_group("gloo")
rank, ranks = dist.get_rank(), dist.get_world_size()
for world in (2, 3):
    ids = []
    if rank < world:
        rows = datasets.load_dataset(sys.argv[1], split="train", streaming=True, cache_dir=sys.argv[2])
        for batch in split_dataset_by_node(rows, rank, world).batch(16):
            ids.append(batch["id"])
    gathered = [None] * ranks
    dist.all_gather_object(gathered, ids)
    if rank == 0:
        print(json.dumps(gathered[:world]))
dist.destroy_process_group()
"""


def test_every_rank_of_a_training_job_reads_its_own_rows(tmp_path):
    """Of a job of two ranks and of one of three, which the same three processes are in turn."""
    out = run(labelled(sentences(320)), tmp_path / "out", *ALL_TRAIN, "--num_shards=8")
    (tmp_path / "rank.py").write_text(RANK)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=3", str(tmp_path / "rank.py")]
    done = subprocess.run(
        [sys.executable, *command, str(out), str(tmp_path / "cache")],
        capture_output=True, text=True, timeout=200, env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    two, three = (json.loads(line) for line in done.stdout.strip().splitlines()[-2:])
    expected = sorted(row["id"] for row in rows(out, "train"))
    for gathered, ranks in ((two, 2), (three, 3)):
        assert len(gathered) == ranks
        assert sorted(row for batches in gathered for batch in batches for row in batch) == expected
        steps = [len(batches) for batches in gathered]
        assert max(steps) - min(steps) <= (0 if ranks == 2 else 1), "320 rows, 8 shards, batches of 16"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read the peak of memory from")
def test_twenty_thousand_texts_of_one_set_of_windows(tmp_path):
    source = [{"text": "ab" * i + "cd" * j, "label": "x"} for i in range(5, 147) for j in range(5, 147)]
    assert (
        len({frozenset(text[i : i + 5] for i in range(len(text) - 4)) for text in (row["text"] for row in source)}) == 1
    )
    write_jsonl(tmp_path / "in.jsonl", [*source, *labelled(sentences(50))])
    code = (
        "import re, sys; from pipelines import prepare; code = prepare.main(sys.argv[1:]); "
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]); sys.exit(code)"
    )
    flags = [f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out", *ALL_TRAIN, "--max_length=16"]
    done = subprocess.run(
        [sys.executable, "-c", code, *flags], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    told = manifest(tmp_path / "out")["duplicates"]
    assert told["clusters"] == 1 and told["clustered_texts"] == len(source) == 20_164
    assert told["compared_pairs"] < 40 * len(source)
    assert int(done.stdout.split()[-1]) < 1_500_000, "KiB, of which 500,000 are what is imported"


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--label_column=missing"], 2, "missing"),
        (["--id_column=twice"], 1, "an id must name one row"),
        (["--label_column=many"], 1, "more than 10,000 different"),
        (["--labels=a:x,b:x"], 2, "the name 'x' is there twice"),
        (["--problem=multi_label"], 2, "name a --label_separator"),
        (["--max_length=100000"], 2, "reads at most"),
        (["--min_chars=1000"], 1, "were rejected"),
        (["--clean=soap"], 2, "--clean=soap"),
        (["--test_fraction=0.6", "--validation_fraction=0.5"], 2, "nothing to train with"),
        (["--test_fraction=0.00001"], 1, "the test split is empty"),
        (["--conflicts=maybe"], 2, "conflicts"),
        (["--keep_columns=id"], 2, "unknown flag"),
        (["--model=nowhere"], 2, "nowhere"),
        (["--languages=en,tlh", "--max_rejected=0"], 1, "wrong_language"),
    ],
)
def test_wrong_data_and_wrong_flags_end_in_one_sentence(tmp_path, capfd, monkeypatch, flags, code, said):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("seqcls_beam.preparation.labels.MOST_NAMES", 100)
    source = [{**row, "twice": i // 2, "many": f"label {i}"} for i, row in enumerate(labelled(sentences(200)))]
    expected = said.replace("10,000", "100")
    run(source, tmp_path / "out", *flags, code=code)
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("seqcls_beam: ")]
    assert expected in lines[-1]
    assert not (tmp_path / "out" / "data").exists()


def test_a_class_that_vanished_ends_the_run(tmp_path, capfd):
    source = [
        *labelled(sentences(50)),
        {"text": "a lonely text", "label": "rare"},
        {"text": "A lonely text", "label": "no"},
    ]
    run(source, tmp_path / "out", *ALL_TRAIN, code=1)
    assert "no training row has the label 'rare'" in capfd.readouterr().err
    run(source, tmp_path / "other", *ALL_TRAIN, "--labels=no,yes,rare")


def test_labels_without_training_rows_are_named_with_what_became_of_them(tmp_path, capfd):
    texts, chance = sentences(60, 40), random.Random(0)
    train = [*labelled(texts[:40]), *({"text": text, "label": "two labels"} for text in texts[:2])]
    train += [{"text": near(texts[50], chance), "label": "leaks"}, {"text": texts[51], "label": "leaks"}]
    test = [*labelled(texts[50:]), *({"text": text, "label": "tested"} for text in texts[40:43])]
    splits_of(tmp_path, "out", {"train": train, "test": test}, code=1)
    said = capfd.readouterr().err
    assert (
        "no training row has the label 'leaks' (of 2 rows 1 left out as leak, 1 left out as near_leak), nor 'tested' "
        "(of 3 rows 3 in test), nor 'two labels' (of 2 rows 2 left out as conflicting_labels); nothing was published. "
        "Name the labels that count with --labels\n"
    ) in said
    rows_ = [*labelled(texts), *({"text": f"row {i} of its kind", "label": f"rare {i}"} for i in range(9))]
    run(rows_, tmp_path / "drawn", "--test_fraction=0.8", code=1)
    said = capfd.readouterr().err
    assert "'rare 0' (of 1 row 1 in test)" in said and "nor 3 others; nothing" in said
    assert "--labels, or share out every class with --split=stratified\n" in said


def test_the_command_of_the_manifest_runs_again(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, seed in (("-it's train.jsonl", 1), ("a b.jsonl", 2)):
        rows_ = [
            {"my text": row["text"], "-l": row["label"], "$a, b": "x"} for row in labelled(sentences(40, seed=seed))
        ]
        write_jsonl(tmp_path / name, rows_)
    flags = ["--input_train=-it's train.jsonl", "--input_test=a b.jsonl", "--text_column=my text", "--label_column=-l"]
    out = run(
        None, tmp_path / "an out", *flags, "--clean=", "--duplicate_key=", "--labels=no,yes: maybe", "--keep_text"
    )
    words = shlex.split(manifest(out)["command"])
    assert words[:3] == ["python", "-m", "pipelines.prepare"]
    assert prepare.main(words[3:]) == 0
    assert "already published" in capfd.readouterr().err


@pytest.mark.parametrize(
    "given",
    [
        [
            "--input=a",
            "--input=-b",
            "--input",
            "c d",
            "--input_test",
            "e",
            "f",
            "--quote=",
            "--column_names=-x,y z",
        ],
        ["--input_train=x", "--quote=-", "--labels=a b:c,'d\"", "--clean=", "--validation_fraction=1e-05"],
        ["--input=a\nb", "--label_separator= ", "--group_by=$(x),`y`", "--decontaminate=-r", "--similarity=0.85"],
    ],
)
def test_flags_of_options_are_the_options(given):
    made = parser("pipelines.prepare", "", "", prepare.GROUPS)
    config = prepare.configured(parse(made, ["--output=-o", *given], prepare.GROUPS)[0])
    again = prepare.configured(parse(made, shlex.split(" ".join(flags_of(config))), prepare.GROUPS)[0])
    assert again == config


def test_shares_far_from_what_was_asked_are_said_with_their_cause(tmp_path, capsys):
    source = [
        {**row, "author": f"a|{i % 40}" if i < 80 else "<b>*one*"} for i, row in enumerate(labelled(sentences(200)))
    ]
    out = run(source, tmp_path / "out", "--group_by=author", "--seed=3")
    shares, told = manifest(out)["shares"], manifest(out)["splits"]
    assert shares["got"] == {split: each["rows"] for split, each in told.items()}
    cause = "no group is cut, and the largest, in train, has 120 rows, author '<b>*one*'"
    assert cause in " ".join(capsys.readouterr().out.split())
    assert "author '\\<b\\>\\*one\\*'" in (out / "README.md").read_text()


def test_no_input_and_no_output(tmp_path, capfd):
    assert prepare.main([f"--output={tmp_path}"]) == 2
    assert "--input is missing" in capfd.readouterr().err
    assert prepare.main(["--input=x.jsonl"]) == 2
    assert "--output is missing" in capfd.readouterr().err


def test_the_same_run_again_does_nothing_and_another_is_refused(tmp_path, capfd):
    source = write_jsonl(tmp_path / "in.jsonl", labelled(sentences(60)))
    out = run(source, tmp_path / "out")
    before = digests(out)
    run(source, out)
    assert "already published" in capfd.readouterr().err
    run(source, out, "--seed=4", code=1)
    assert "holds another run" in capfd.readouterr().err and digests(out) == before
    run(source, out, "--seed=4", "--num_shards=2", "--overwrite")
    assert len(digests(out)) == 6 and manifest(out)["tokenizer"]["max_length"] == 512
    assert "| train |" in (out / "README.md").read_text()


def test_splits_that_differ_are_pointed_out(tmp_path, capsys):
    from scipy.spatial.distance import jensenshannon

    files = {
        "train": [{"text": text, "label": ("a", "b")[i % 2]} for i, text in enumerate(sentences(100, 8))],
        "test": [{"text": text, "label": ("a", "b")[i % 5 > 0]} for i, text in enumerate(sentences(50, 60, seed=3))],
    }
    out = splits_of(tmp_path, "out", files)
    skew = manifest(out)["skew"]["test"]
    assert skew["labels"] == 0.3
    bins = [
        np.bincount([row["length"].bit_length() for row in rows(out, split)], minlength=12)
        for split in ("train", "test")
    ]
    assert np.isclose(skew["lengths"], jensenshannon(*bins, base=2) ** 2, atol=1e-6)
    assert "labels of test and train differ by 0.30" in " ".join(capsys.readouterr().out.split())


def test_the_summary_says_what_was_done(tmp_path, capsys):
    texts = sentences(100)
    run([*labelled(texts), *labelled(texts[:1]), {"text": "", "label": "no"}], tmp_path / "out")
    said = capsys.readouterr().out
    for part in ("102 in, 100 kept, 1 removed, 1 rejected", "duplicate 1", "empty_text 1", "leaks", "class weights",
                 "majority class", "length p50 / p99 / max"):  # fmt: skip
        assert part in said


def test_ids_and_labels_that_are_too_long_to_be_names_are_rejected(tmp_path):
    source = labelled(sentences(60))
    for row, size in zip(source, (2**16, 2**16 + 1), strict=False):
        row["id"] = "i" * size
    source[2]["label"] = "l" * (2**16 + 1)
    out = run(source, tmp_path / "out", "--id_column=id", *ALL_TRAIN)
    assert [(row["reason"], row["detail"].split()[0]) for row in rejected(out)] == [
        ("record_too_large", "id"),
        ("record_too_large", "label"),
    ]
    assert source[0]["id"] in {row["id"] for row in rows(out, "train")}
