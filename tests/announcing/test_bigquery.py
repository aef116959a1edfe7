"""The load job of BigQuery, beside what its own classes and messages take; nothing is sent."""

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.gcp.internal.clients import bigquery as messages
from apitools.base.py import encoding  # type: ignore[import-untyped]
from google.cloud.bigquery import LoadJobConfig, SchemaField
from google.cloud.bigquery_storage_v1.types import TableFieldSchema, TableSchema

from seqcls_beam import storage
from seqcls_beam.announcing import bigquery, bigquery_schema
from seqcls_beam.announcing.published import Announced, PlatformError
from tests import gcs
from tests.reports.outputs import labelling, rows

TABLE = "my-project.reviews.labels"


def column(kind):
    (found,) = bigquery_schema.fields(pa.schema([("c", kind)]))
    assert found.pop("name") == "c"
    return found


def simple(name, mode="NULLABLE"):
    return {"type": name, "mode": mode}


def decimal(name, precision, scale):
    return {**simple(name), "precision": str(precision), "scale": str(scale)}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.bool_(), simple("BOOLEAN")),
        *((kind, simple("INTEGER")) for kind in (pa.int8(), pa.int64(), pa.uint8(), pa.uint32())),
        (pa.float32(), simple("FLOAT")),
        (pa.float64(), simple("FLOAT")),
        *((kind, simple("STRING")) for kind in (pa.string(), pa.large_string(), pa.string_view())),
        *((kind, simple("BYTES")) for kind in (pa.binary(), pa.large_binary(), pa.binary(3))),
        (pa.dictionary(pa.int32(), pa.string()), simple("STRING")),
        (pa.dictionary(pa.int8(), pa.int64()), simple("INTEGER")),
        (pa.list_(pa.float32()), simple("FLOAT", "REPEATED")),
        (pa.large_list(pa.dictionary(pa.int8(), pa.string())), simple("STRING", "REPEATED")),
        (pa.list_(pa.int8(), 3), simple("INTEGER", "REPEATED")),
        (pa.date32(), simple("DATE")),
        (pa.timestamp("us", "UTC"), simple("TIMESTAMP")),
        (pa.timestamp("ms", "Europe/Berlin"), simple("TIMESTAMP")),
        (pa.timestamp("s"), simple("DATETIME")),
        (pa.time32("ms"), simple("TIME")),
        (pa.time64("us"), simple("TIME")),
        (pa.duration("ms"), {**simple("INTEGER"), "description": "a duration, in ms"}),
        # https://cloud.google.com/bigquery/docs/reference/rest/v2/Job, of decimalTargetTypes
        (pa.decimal128(38, 9), decimal("NUMERIC", 38, 9)),
        (pa.decimal256(39, 9), decimal("BIGNUMERIC", 39, 9)),
        (pa.decimal128(38, 10), decimal("BIGNUMERIC", 38, 10)),
        (pa.decimal256(76, 38), decimal("BIGNUMERIC", 76, 38)),
        (pa.decimal128(5, 5), simple("NUMERIC")),  # a precision that is no more than the scale cannot be said
        (
            pa.struct([("a", pa.int32()), ("b", pa.list_(pa.struct([("c", pa.string())])))]),
            {
                **simple("RECORD"),
                "fields": [
                    {"name": "a", **simple("INTEGER")},
                    {
                        "name": "b",
                        **simple("RECORD", "REPEATED"),
                        "fields": [{"name": "c", **simple("STRING")}],
                    },
                ],
            },
        ),
        (
            pa.map_(pa.string(), pa.int64()),
            {
                **simple("RECORD", "REPEATED"),
                "fields": [{"name": "key", **simple("STRING")}, {"name": "value", **simple("INTEGER")}],
            },
        ),
        (pa.uuid(), simple("BYTES")),
    ],
    ids=str,
)
def test_types(kind, expected):
    assert column(kind) == expected
    resource = {"name": "c", **expected}
    assert SchemaField.from_api_repr(resource).to_api_repr() == resource
    _as_proto([resource])


_PROTO = {"BOOLEAN": "BOOL", "INTEGER": "INT64", "FLOAT": "DOUBLE", "RECORD": "STRUCT"}


def _as_proto(fields):
    """The schema as BigQuery's storage API has it; raises for a type or a mode that is none."""
    made = [
        TableFieldSchema(
            name=each["name"],
            type_=TableFieldSchema.Type[_PROTO.get(each["type"], each["type"])],
            mode=TableFieldSchema.Mode[each["mode"]],
            fields=_as_proto(each.get("fields", [])).fields,
            precision=int(each.get("precision", 0)),
            scale=int(each.get("scale", 0)),
        )
        for each in fields
    ]
    return TableSchema(fields=made)


def deep(levels):
    kind = pa.int8()
    for _ in range(levels):
        kind = pa.struct([("a", kind)])
    return kind


def test_records_in_records():
    column(deep(15))
    with pytest.raises(PlatformError, match="to a depth of 15"):
        column(deep(16))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (pa.uint64(), "keep it as int64"),
        (pa.list_(pa.uint64()), "keep it as int64"),
        (pa.float16(), "keep it as float64"),
        (pa.list_(pa.list_(pa.int8())), "no lists of lists"),
        (pa.list_(pa.map_(pa.string(), pa.string())), "no lists of lists"),
        (pa.struct([]), "no record without fields"),
        (pa.timestamp("ns"), "microseconds"),
        (pa.time64("ns"), "microseconds"),
        (pa.decimal256(76, 39), "as a string"),
        (pa.decimal128(5, -2), "as a string"),
        (pa.month_day_nano_interval(), "as a string"),
    ],
    ids=str,
)
def test_types_that_it_has_not(kind, said):
    with pytest.raises(PlatformError, match=r"column 'c' is .*, which BigQuery does not load: ") as error:
        column(kind)
    assert said in str(error.value)


@pytest.mark.parametrize("name", ["a", "_a1", "1a", "größe", "a b", "a-b", "x" * 300])
def test_names(name):
    assert [each["name"] for each in bigquery_schema.fields(pa.schema([(name, pa.int8())]))] == [name]


@pytest.mark.parametrize("name", ["", "a.b", "a[0]", "a`", "_PARTITIONDATE", "_table_x", "x" * 301, "a\nb", "(a)"])
def test_names_that_it_does_not_take(name):
    with pytest.raises(PlatformError, match="BigQuery takes no such name"):
        bigquery_schema.fields(pa.schema([(name, pa.int8())]))
    with pytest.raises(PlatformError, match=r"column 's\."):
        bigquery_schema.fields(pa.schema([("s", pa.struct([(name, pa.int8())]))]))


def test_names_that_only_case_tells_apart():
    with pytest.raises(PlatformError, match="columns 'Label' and 'label' are one to BigQuery"):
        bigquery_schema.fields(pa.schema([("Label", pa.int8()), ("label", pa.int8())]))


def test_columns_without_a_value_are_left_out():
    schema = pa.schema([("a", pa.null()), ("b", pa.string()), ("c", pa.int8())])
    assert [each["name"] for each in bigquery_schema.fields(schema, {"b"})] == ["c"]
    with pytest.raises(PlatformError, match="no table without columns"):
        bigquery_schema.fields(schema, {"b", "c"})


@pytest.mark.parametrize(
    "where", [TABLE, "example.com:my-project.d.t", "my-project.d.my table-1", "my-project.d.größe"]
)
def test_tables(where):
    bigquery.ensure(where)


@pytest.mark.parametrize(
    "where",
    ["labels", "d.t", "My-Project.d.t", "my-project.d.t$20260131", "my-project.d-d.t", "my-project.d.", "p.d.t",
     "my-project.d.t.u", "`my-project.d.t`", "my-project.d." + "x" * 1025],
)  # fmt: skip
def test_what_is_no_table(where):
    with pytest.raises(PlatformError, match=r"expected PROJECT\.DATASET\.TABLE"):
        bigquery.ensure(where)


@pytest.fixture(scope="module")
def bucket():
    with gcs.bucket("corpus") as uri:
        yield uri


def published(bucket, tmp_path, name, partition="", number=1, **more):
    """A version in a bucket."""
    out = tmp_path / name
    manifest = labelling(out, rows(20), partition, number=number, parts=2, **more)
    for file in out.rglob("*.parquet"):
        storage.put(f"{bucket}/{name}/{file.relative_to(out)}", file.read_bytes())
    return Announced(output=f"{bucket}/{name}", partition=partition, version=number, manifest=manifest)


def checked(job):
    """A job, after BigQuery's own messages and classes took all of it."""
    message = encoding.JsonToMessage(messages.Job, json.dumps(job))
    assert json.loads(encoding.MessageToJson(message)) == job
    _all_known(message)
    load = LoadJobConfig.from_api_repr({"load": job["configuration"]["load"]})
    assert [field.to_api_repr() for field in load.schema] == job["configuration"]["load"]["schema"]["fields"]
    assert load.parquet_options.enable_list_inference is True
    return job["configuration"]["load"]


def _all_known(message):
    assert not message.all_unrecognized_fields(), message
    for field in message.all_fields():
        value = getattr(message, field.name)
        for each in value if isinstance(value, list) else [value]:
            # `labels` are names of anybody's.
            if hasattr(each, "all_unrecognized_fields") and not hasattr(each, "additionalProperties"):
                _all_known(each)


def test_a_night_replaces_its_day(bucket, tmp_path):
    announced = published(bucket, tmp_path, "night", "run_date=2026-01-31")
    place = bigquery.tell(TABLE, announced)
    assert place == f"{bucket}/night/_report/bigquery/run_date=2026-01-31.json"
    document = json.loads(storage.read(place))
    assert document["run"] is False and "Not run" in document["description"] and document["rows"] == 20
    load = checked(document["job"])
    assert load["sourceUris"] == [f"{bucket}/night/{part['path']}" for part in announced.manifest["parts"]]
    assert load["sourceFormat"] == "PARQUET" and load["writeDisposition"] == "WRITE_TRUNCATE"
    assert load["destinationTable"] == {
        "projectId": "my-project",
        "datasetId": "reviews",
        "tableId": "labels$20260131",
    }
    assert load["timePartitioning"] == {"type": "DAY"}
    assert "ALLOW_FIELD_ADDITION" in load["schemaUpdateOptions"] and "ignoreUnknownValues" not in load
    assert load["schema"]["fields"] == [
        {"name": "id", "type": "STRING", "mode": "NULLABLE"},
        {"name": "text", "type": "STRING", "mode": "NULLABLE"},
        {"name": "label", "type": "STRING", "mode": "NULLABLE"},
        {"name": "score", "type": "FLOAT", "mode": "NULLABLE"},
        {"name": "scores", "type": "FLOAT", "mode": "REPEATED"},
    ]
    reference = document["job"]["jobReference"]
    assert reference["projectId"] == "my-project"
    assert reference["jobId"].startswith(f"seqcls_beam-{announced.manifest['run_id']}-v1-")
    before = storage.read(place)
    assert bigquery.tell(TABLE, announced) == place and storage.read(place) == before


def test_job_ids(bucket, tmp_path):
    """The same for the same, and another for another version, place or table."""
    announced = published(bucket, tmp_path, "ids")

    def of(where=TABLE, **other):
        told = Announced(**{**{name: getattr(announced, name) for name in vars(announced)}, **other})
        return bigquery.definition(where, told)["job"]["jobReference"]["jobId"]

    found = [of(), of(version=2), of(f"{TABLE}2"), of(manifest={**announced.manifest, "run_id": "r"})]
    assert of() == found[0] and len(set(found)) == 4
    hostile = of(manifest={**announced.manifest, "run_id": "../$\u202e x" * 500})
    assert len(hostile) < 300 and all(sign.isascii() and (sign.isalnum() or sign in "-_") for sign in hostile)


def test_a_table_without_partitions_is_replaced_whole(bucket, tmp_path):
    place = bigquery.tell(TABLE, published(bucket, tmp_path, "whole"))
    assert place == f"{bucket}/whole/_report/bigquery/table.json"
    load = checked(json.loads(storage.read(place))["job"])
    assert load["destinationTable"]["tableId"] == "labels"
    assert "timePartitioning" not in load and "schemaUpdateOptions" not in load


@pytest.mark.parametrize(
    ("end", "table", "kind"),
    [("2026-11-20T11:00:00Z", "labels$2026112010", "HOUR"), ("2026-11-21T00:00:00Z", "labels$20261120", "DAY")],
)
def test_a_window_of_an_hour_or_a_day(bucket, tmp_path, end, table, kind):
    start = "2026-11-20T10:00:00Z" if kind == "HOUR" else "2026-11-20T00:00:00Z"
    window = {"start": start, "end": end, "complete": True}
    announced = published(bucket, tmp_path, f"stream{kind}", "window=20261120T100000Z", window=window)
    load = checked(bigquery.definition(TABLE, announced)["job"])
    assert load["destinationTable"]["tableId"] == table and load["timePartitioning"] == {"type": kind}


@pytest.mark.parametrize(
    ("partition", "more", "said"),
    [
        ("window=20261120T100000Z", {"window": {"start": "2026-11-20T10:00:00Z", "end": "2026-11-20T10:05:00Z"}},
         "is of 300 seconds, and BigQuery replaces hours and days"),
        ("run_date=1959-12-31", {}, "the years 1960 to 2159"),
        ("run_date=2160-01-01", {}, "the years 1960 to 2159"),
        ("country=de", {}, "no partition of time"),
        ("run_date=x", {}, "no command wrote"),
        ("", {"kind": "prepare"}, "holds no labels"),
        ("", {"rows": 7}, "no command wrote"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded(bucket, tmp_path, partition, more, said):
    announced = published(bucket, tmp_path, "none", partition)
    announced = Announced(
        output=announced.output, partition=partition, version=1, manifest={**announced.manifest, **more}
    )
    with pytest.raises(PlatformError) as error:
        bigquery.tell(TABLE, announced)
    assert said in str(error.value)


def test_what_was_taken_away_has_nothing_to_load(bucket, tmp_path):
    announced = published(bucket, tmp_path, "gone", "run_date=2026-01-31")
    gone = replace(announced, version=2, manifest={**announced.manifest, "kind": "nothing", "parts": []})
    place = bigquery.tell(TABLE, gone)
    assert not storage.exists(place), "nothing was loaded before"
    bigquery.tell(TABLE, announced)
    assert json.loads(storage.read(place))["job"] is not None
    for _ in range(2):
        assert bigquery.tell(TABLE, gone) == place
        document = json.loads(storage.read(place))
        assert document["job"] is None and document["run"] is False and document["version"] == 2
        assert (
            "Version 2 of run_date=2026-01-31 in " in document["description"] and "by hand" in document["description"]
        )


def test_a_late_teller_of_an_older_version_changes_nothing(bucket, tmp_path):
    announced = published(bucket, tmp_path, "late")
    place = bigquery.tell(TABLE, replace(announced, version=3))
    before = storage.read(place)
    for kind, parts in (("classify", announced.manifest["parts"]), ("nothing", [])):
        older = replace(announced, version=2, manifest={**announced.manifest, "kind": kind, "parts": parts})
        assert bigquery.tell(TABLE, older) == place and storage.read(place) == before
    storage.put(place, b"[5]")  # of somebody else
    bigquery.tell(TABLE, announced)
    assert json.loads(storage.read(place))["version"] == 1


def test_a_disk_is_no_bucket(tmp_path):
    manifest = labelling(tmp_path, rows(2))
    announced = Announced(output=str(tmp_path), partition="", version=1, manifest=manifest)
    with pytest.raises(PlatformError, match="BigQuery loads from gs:// alone"):
        bigquery.tell(TABLE, announced)
    assert not (tmp_path / "_report").exists()


def test_parts_without_rows_are_left_out_and_one_stays(bucket, tmp_path):
    announced = published(bucket, tmp_path, "some")
    first, second = announced.manifest["parts"]
    for parts, expected in (
        ([{**first, "rows": 0}, second], [second["path"]]),
        ([{**first, "rows": 0}, {**second, "rows": 0}], [first["path"]]),
    ):
        told = Announced(
            output=announced.output, partition="", version=1, manifest={**announced.manifest, "parts": parts}
        )
        load = checked(bigquery.definition(TABLE, told)["job"])
        assert load["sourceUris"] == [f"{bucket}/some/{path}" for path in expected]


def test_more_parts_than_a_job_may_name(bucket, tmp_path):
    announced = published(bucket, tmp_path, "many")
    (first, *_) = announced.manifest["parts"]
    name = first["path"].rpartition("part-00000-of-00002")[2]
    parts = [{**first, "path": f"labels/part-{i:05d}-of-10001{name}"} for i in range(10_001)]
    parts[-1] = {**first, "path": parts[-1]["path"]}
    manifest = {**announced.manifest, "parts": parts}
    storage.copy(f"{bucket}/many/{first['path']}", f"{bucket}/many/{parts[-1]['path']}")
    told = Announced(output=announced.output, partition="", version=1, manifest=manifest)
    load = checked(bigquery.definition(TABLE, told)["job"])
    assert load["sourceUris"] == [f"{bucket}/many/labels/part-*-of-10001{name}"]


def test_columns_without_a_value_are_told(bucket, tmp_path):
    columns = [{"name": "id", "type": "string", "empty": True}, {"name": "text", "type": "string"}]
    announced = published(bucket, tmp_path, "empty", columns=columns)
    document = bigquery.definition(TABLE, announced)
    load = checked(document["job"])
    assert document["left_out"] == ["id"] and load["ignoreUnknownValues"] is True
    assert [each["name"] for each in load["schema"]["fields"]] == ["text", "label", "score", "scores"]


def test_a_window_of_two_shapes_has_the_columns_of_both(bucket, tmp_path):
    announced = published(bucket, tmp_path, "shapes")
    first, second = announced.manifest["parts"]
    other = pa.table({"id": ["x"], "more": pa.array([1], pa.int32())})
    pq.write_table(other, tmp_path / "other.parquet")
    storage.put(f"{bucket}/shapes/{second['path']}", (tmp_path / "other.parquet").read_bytes())
    parts = [{**first, "shape": "a"}, {**second, "shape": "b"}]
    told = Announced(output=announced.output, partition="", version=1, manifest={**announced.manifest, "parts": parts})
    load = checked(bigquery.definition(TABLE, told)["job"])
    assert [each["name"] for each in load["schema"]["fields"]] == ["id", "text", "label", "score", "scores", "more"]
