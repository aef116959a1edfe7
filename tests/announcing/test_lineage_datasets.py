"""How OpenLineage names what is read and written, and how a million files become few datasets."""

import pytest

from seqcls_beam.announcing.lineage_datasets import Name, Source, of_files, of_model, of_topic, of_uri


@pytest.mark.parametrize(
    ("uri", "namespace", "name"),
    [
        # As the tables of https://openlineage.io/docs/spec/naming have it.
        ("gs://bucket/a/b.jsonl", "gs://bucket", "a/b.jsonl"),
        ("gs://bucket", "gs://bucket", "/"),
        ("gs://bucket/a/", "gs://bucket", "a"),
        ("s3a://bucket/a/b", "s3://bucket", "a/b"),
        ("/data/in/a.csv", "file", "/data/in/a.csv"),
        ("file:///data/a.csv", "file", "/data/a.csv"),
        ("/", "file", "/"),
        ("bytes:///data/caf%E9", "file", "/data/caf%E9"),
        ("hdfs://node:8020/a/b", "hdfs://node:8020", "/a/b"),
        ("abfs://box@account.dfs.core.windows.net/a", "abfss://box@account.dfs.core.windows.net", "a"),
        ("https://host/a/b.csv", "https://host", "/a/b.csv"),
        ("zip://inner.csv::gs://bucket/a.zip", "gs://bucket", "a.zip"),
        # No secret is in it.
        ("sftp://me:secret@host/a", "sftp://host", "/a"),
        ("https://host/a.csv?X-Amz-Signature=0123456789abcdef", "https://host", "/a.csv?X-Amz-Signature=..."),
    ],
)
def test_names(uri, namespace, name):
    found = of_uri(uri)
    assert found.namespace.replace("sftp://...@", "sftp://") == namespace and found.name == name


def test_a_model_is_a_folder_or_of_the_hub():
    assert of_model("org/name", "0" * 40) == ("https://huggingface.co", "org/name")
    assert of_model("gs://bucket/models/1", None) == ("gs://bucket", "models/1")
    assert of_model("/models/1", None) == ("file", "/models/1")
    assert of_model("sentiment", None) == ("seqcls_beam", "sentiment")


def test_topics():
    assert of_topic("projects/p/topics/t") == ("pubsub", "topic:p:t")
    assert of_topic("projects/p/subscriptions/s") == ("pubsub", "subscription:p:s")
    assert of_topic("t") is None


def test_files_of_a_folder_are_one_dataset_and_one_alone_is_itself():
    files = [
        {"path": "gs://b/in/1.jsonl", "size": 10, "bytes": 9, "rows": 3},
        {"path": "gs://b/in/2.jsonl", "size": 20, "bytes": 20, "rows": 4},
        {"path": "gs://b/other/3.jsonl", "size": 5, "bytes": 5, "rows": 1},
    ]
    assert of_files(files) == (
        [
            Source(Name("gs://b", "in"), files=2, rows=7, bytes=29),
            Source(Name("gs://b", "other/3.jsonl"), files=1, rows=1, bytes=5),
        ],
        0,
    )


def test_before_a_run_only_sizes_are_known():
    assert of_files([{"path": "/a/1", "size": 3}, {"path": "/a/2", "size": 4}]) == (
        [Source(Name("file", "/a"), files=2, rows=None, bytes=7)],
        0,
    )


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("folder", ["labels", "labels/run_date=2026-01-31"])
def test_parts_that_this_project_published_are_their_table(folder, parts):
    files = [
        {"path": f"gs://b/out/{folder}/part-0000{i}-of-00002-v1-0123abcd.parquet", "size": 1} for i in range(parts)
    ]
    assert of_files(files) == ([Source(Name("gs://b", "out"), files=parts, bytes=parts)], 0)


def test_a_hundred_thousand_files_are_few_datasets_and_none_is_lost():
    files = [
        {"path": f"gs://b/raw/year={2000 + i % 20}/day={i % 365}/{i}.jsonl", "size": 1, "rows": 2, "bytes": 1}
        for i in range(100_000)
    ]
    found, left = of_files(files)
    assert [source.name.name for source in found] == [f"raw/year={2000 + i}" for i in range(20)]
    assert left == 0 and sum(source.files or 0 for source in found) == 100_000
    assert {(source.rows, source.bytes) for source in found} == {(10_000, 5_000)}


def test_places_that_have_nothing_in_common_are_counted_the_smallest_first():
    files = [{"path": f"gs://bucket{i:03}/{j}.jsonl", "size": i + 1} for i in range(150) for j in range(2)]
    found, left = of_files(files)
    assert [source.name.namespace for source in found] == [f"gs://bucket{i:03}" for i in range(50, 150)]
    assert left == 100 and {source.files for source in found} == {2}


def test_folding_goes_on_to_the_root():
    files = [{"path": f"/{i}/a/b/{i}.jsonl", "size": 1} for i in range(101)]
    assert of_files(files) == ([Source(Name("file", "/"), files=101, bytes=101)], 0)
