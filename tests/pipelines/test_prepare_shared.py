"""What a correct preparation finds in real data: counts that were made by other means, and are known."""

import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from seqcls_beam.model.checkpoints import PACKAGED
from tests.prepared import all_rows, manifest, run

pytestmark = [pytest.mark.engine, pytest.mark.shared]


def test_sst2(tmp_path, shared):
    flags = [f"--input_train={shared}/sst2/train_full.tsv", f"--input_validation={shared}/sst2/dev.tsv"]
    told = manifest(run(None, tmp_path / "out", *flags, "--text_column=sentence"))
    assert told["rows"]["in"] == 68_221
    assert (told["duplicates"]["duplicate_rows"], told["duplicates"]["conflict_groups"]) == (371, 5)
    assert told["leaks"]["exact"] == {}


def test_sst2_without_punctuation(tmp_path, shared):
    flags = [f"--input_train={shared}/sst2/train_full.tsv", f"--input_validation={shared}/sst2/dev.tsv"]
    key = "--duplicate_key=nfkc,casefold,whitespace,punctuation"
    told = manifest(run(None, tmp_path / "out", *flags, "--text_column=sentence", key, "--near_duplicates=off"))
    assert told["leaks"]["exact"]["validation in train"]["rows"] == 2


GOEMOTIONS = [
    "--column_names=text,labels,id",
    "--label_column=labels",
    "--label_separator=,",
    "--id_column=id",
    "--quote=",
]


def test_goemotions(tmp_path, shared):
    parts = {"train": "train", "validation": "dev", "test": "test"}
    flags = [f"--input_{split}={shared}/goemotions/{name}.tsv" for split, name in parts.items()]
    out = run(None, tmp_path / "out", *flags, *GOEMOTIONS)
    told = manifest(out)
    leaks = told["leaks"]["exact"]
    assert leaks["test in train"]["rows"] == 42 and leaks["validation in train"]["rows"] == 49
    assert told["duplicates"]["conflict_groups"] == 81 and told["duplicates"]["duplicate_rows"] == 320
    assert told["rows"]["in"] == 54_263 and len(told["labels"]) == 28
    ids = [row["id"] for rows in all_rows(out).values() for row in rows]
    assert len(set(ids)) == len(ids) == told["rows"]["kept"]


def test_goemotions_as_published(tmp_path, shared):
    parts = {"train": "train", "validation": "dev", "test": "test"}
    flags = [f"--input_{split}={shared}/goemotions/{name}.tsv" for split, name in parts.items()]
    told = manifest(run(None, tmp_path / "out", *flags, *GOEMOTIONS, "--profile=benchmark"))
    assert {split: each["rows"] for split, each in told["splits"].items()} == {
        "train": 43_410,
        "validation": 5_426,
        "test": 5_427,
    }
    assert told["leaks"]["exact"]["test in train"]["rows"] == 42


def test_mrpc_raw_files(tmp_path, shared):
    flags = [f"--input_{split}={shared}/mrpc/msr_paraphrase_{split}.txt" for split in ("train", "test")]
    columns = [
        "--input_format=tsv",
        "--text_column=#1 String",
        "--text_pair_column=#2 String",
        "--label_column=Quality",
    ]
    out = run(None, tmp_path / "out", *flags, *columns, "--profile=benchmark", "--max_length=64", "--keep_text")
    told = manifest(out)
    assert {split: each["rows"] for split, each in told["splits"].items()} == {"train": 4_076, "test": 1_725}
    assert told["leaks"]["sentences"] == {"test in train": 272}
    tokenizer = AutoTokenizer.from_pretrained(PACKAGED["sentiment"])
    for row in all_rows(out)["test"]:
        made = tokenizer(row["text"], row["text_pair"], truncation="longest_first", max_length=64)
        assert (row["input_ids"], row["token_type_ids"]) == (made["input_ids"], made["token_type_ids"])


def test_imdb(tmp_path, shared):
    """Some thousand reviews of each split, among them all that stand in both."""
    whole = {split: pq.read_table(shared / "imdb" / f"{split}.parquet") for split in ("train", "test")}
    both = set(whole["train"]["text"].to_pylist()) & set(whole["test"]["text"].to_pylist())
    some = {}
    for split, table in whole.items():
        taken = [i for i, text in enumerate(table["text"].to_pylist()) if i % 8 == 0 or text in both]
        some[split] = table.take(taken)
        pq.write_table(some[split], tmp_path / f"{split}.parquet")
    flags = [f"--input_{split}={tmp_path}/{split}.parquet" for split in some]
    told = manifest(run(None, tmp_path / "out", *flags, "--max_length=128", "--near_duplicates=off"))
    assert told["leaks"]["exact"]["test in train"]["rows"] >= len(both) > 100
    marked = sum("<br />" in text for table in some.values() for text in table["text"].to_pylist())
    assert told["cleaned"]["html"] >= marked > 3_000
    assert told["splits"]["test"]["truncated_rows"] > 0.8 * told["splits"]["test"]["rows"] > 2_000
