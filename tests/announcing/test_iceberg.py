"""An Iceberg table has exactly the rows that are published: told once or twice, early, late, or after a crash."""

import http.server
import json
import os
import shutil
import socket
import sys
import threading
import time
from pathlib import Path

import pandas
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.table import Table

from seqcls_beam.announcing import iceberg, published
from seqcls_beam.announcing.published import PlatformError
from seqcls_beam.runs import cleaning
from seqcls_beam.runs.commit import bar
from seqcls_beam.runs.publication import follow, publish_empty
from seqcls_beam.runs.run import Run
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.versions import NOTHING, stage_name
from tests.announcing import tables
from tests.announcing.tables import WHERE, by_id, newest_of, night, rows_of, version_of

MONDAY, TUESDAY = "run_date=2026-01-26", "run_date=2026-01-27"


@pytest.fixture
def catalog(tmp_path, monkeypatch):
    told = tables.catalog(monkeypatch, tmp_path / "catalog")
    with load_catalog("nights", **told) as opened:
        yield opened


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


def table(catalog: Catalog) -> Table:
    return catalog.load_table("sentiment.reviews")


def summaries(catalog: Catalog) -> list[dict[str, str]]:
    return [each.summary.additional_properties for each in table(catalog).snapshots() if each.summary]


def files(found: Table) -> list[str]:
    return sorted(task.file.file_path for task in found.scan().plan_files())


def parts(out: Path) -> list[str]:
    """The files that lie in the table's folder, by a listing."""
    return sorted(f"file://{each}" for each in (out / "labels").rglob("*.parquet"))


def telling(out: Path):
    return lambda partition, number, manifest: iceberg.tell(WHERE, version_of(out, partition, number))


def test_the_rows_are_those_that_pandas_and_pyarrow_read(out, catalog):
    for letter, partition in (("a", MONDAY), ("b", TUESDAY)):
        iceberg.tell(WHERE, night(out, letter, partition))
    rows = table(catalog).scan().to_arrow()
    there = ds.dataset(
        out / "labels", partitioning=ds.partitioning(pa.schema([("run_date", pa.string())]), flavor="hive")
    )
    assert by_id(rows) == by_id(there.to_table().select(rows.column_names)) and len(rows) == 38
    frame = pandas.read_parquet(out / "labels")
    assert rows.num_rows == len(frame) and set(rows.column_names) == set(frame.columns)
    assert sum(rows["id"].to_pylist()) == frame["id"].sum()
    assert files(table(catalog)) == parts(out)


def test_each_version_is_one_snapshot_that_says_its_run(out, catalog):
    iceberg.tell(WHERE, night(out, "a", MONDAY))
    night(out, "b", MONDAY, units=3, placed=telling(out))
    said = summaries(catalog)
    mine = ("seqcls_beam.run_id", "seqcls_beam.version", "seqcls_beam.partition")
    assert [tuple(each[key] for key in mine) for each in said] == [("a" * 32, "1", MONDAY), ("b" * 32, "2", MONDAY)]
    counted = ("added-data-files", "deleted-data-files", "added-records", "deleted-records", "total-records")
    assert [tuple(each.get(key) for key in counted) for each in said] == [
        ("2", None, "19", None, "19"),
        ("3", "2", "29", "19", "29"),
    ]
    assert files(table(catalog)) == parts(out)


@pytest.mark.parametrize("times", [2, 3])
def test_told_again_is_told_once(out, catalog, times):
    told = night(out, "a", MONDAY)
    iceberg.tell(WHERE, told)
    first = table(catalog).metadata_location
    for _ in range(times):
        iceberg.tell(WHERE, told)
    assert table(catalog).metadata_location == first and len(table(catalog).snapshots()) == 1


def test_the_table_lets_go_of_files_before_they_are_removed(out, catalog):
    iceberg.tell(WHERE, night(out, "a", MONDAY))
    seen = []

    def placed(partition, number, manifest):
        before = files(table(catalog))
        iceberg.tell(WHERE, newest_of(out, partition))
        seen.append((before, files(table(catalog)), parts(out)))

    night(out, "b", MONDAY, placed=placed)
    ((before, after, there),) = seen
    assert set(before) | set(after) == set(there) and not set(before) & set(after)
    assert table(catalog).scan().to_arrow().num_rows == 19


def test_a_version_that_is_not_the_newest_is_not_told(out, catalog):
    first = night(out, "a", MONDAY)
    second = night(out, "b", MONDAY)
    iceberg.tell(WHERE, first)
    assert not catalog.table_exists("sentiment.reviews")
    iceberg.tell(WHERE, second)
    iceberg.tell(WHERE, first)
    assert files(table(catalog)) == parts(out) and len(table(catalog).snapshots()) == 1


def test_other_partitions_stay_as_they_are(out, catalog):
    for letter, partition in (("a", MONDAY), ("b", TUESDAY)):
        iceberg.tell(WHERE, night(out, letter, partition))
    night(out, "c", MONDAY, units=1, placed=telling(out))
    rows = table(catalog).scan().to_arrow().to_pylist()
    counts = {day: sum(row["run_date"] == day for row in rows) for day in ("2026-01-26", "2026-01-27")}
    assert counts == {"2026-01-26": 9, "2026-01-27": 19}
    assert table(catalog).scan(row_filter="run_date = '2026-01-27'").to_arrow().num_rows == 19


@pytest.mark.parametrize("partition", ["", "window=20260126T100000Z"])
def test_tables_without_partitions_and_of_windows(out, catalog, partition):
    iceberg.tell(WHERE, night(out, "a", partition))
    night(out, "b", partition, units=1, placed=telling(out))
    rows = table(catalog).scan().to_arrow()
    assert len(rows) == 9 and files(table(catalog)) == parts(out)
    if partition:
        assert set(rows["window"].to_pylist()) == {"20260126T100000Z"}
    assert [each.name for each in table(catalog).spec().fields] == ["window"] * bool(partition)


def test_files_that_a_version_keeps_stay_and_only_what_is_new_is_added(out, catalog):
    """As where messages came late for a window: the next version names the parts that were there, and others."""
    first = rows_of(out, "a", [pa.table({"id": [1, 2]})], MONDAY)
    iceberg.tell(WHERE, first)
    kept = dict(first.manifest["parts"][0])
    second = rows_of(out, "b", [pa.table({"id": [3]})], MONDAY, keep=[kept])
    iceberg.tell(WHERE, second)
    assert sorted(table(catalog).scan().to_arrow()["id"].to_pylist()) == [1, 2, 3]
    summary = summaries(catalog)[-1]
    assert (summary["added-data-files"], summary.get("deleted-data-files")) == ("1", None)
    assert files(table(catalog)) == parts(out)


def test_a_version_without_rows_takes_the_old_ones_out(out, catalog):
    for letter, partition in (("a", MONDAY), ("b", TUESDAY)):
        iceberg.tell(WHERE, night(out, letter, partition))
    run = follow(Run(str(out), "c" * 32, True, partition=MONDAY, placed=telling(out)))
    publish_empty(run, {})
    assert files(table(catalog)) == parts(out) and "run_date=2026-01-26" not in "".join(parts(out))
    assert table(catalog).properties[f"seqcls_beam.version.{MONDAY}"] == f"2 {'c' * 32}"
    assert len(table(catalog).snapshots()) == 3


def test_a_night_that_was_taken_away_leaves(out, catalog):
    iceberg.tell(WHERE, night(out, "a", MONDAY))
    iceberg.tell(WHERE, night(out, "b", TUESDAY))
    found = [each for each in cleaning.look(str(out), "2026-01-27") if each.whole_partition]
    assert [why for _, why in cleaning.remove(str(out), found, telling(out))] == [None]
    assert set(table(catalog).scan().to_arrow()["run_date"].to_pylist()) == {"2026-01-27"}


def test_a_first_version_without_rows_makes_no_table(out, catalog):
    publish_empty(follow(Run(str(out), "a" * 32, partition=MONDAY)), {})
    iceberg.tell(WHERE, newest_of(out, MONDAY))
    assert not catalog.table_exists("sentiment.reviews")
    iceberg.tell(WHERE, night(out, "b", TUESDAY))
    iceberg.tell(WHERE, newest_of(out, MONDAY))
    assert table(catalog).properties[f"seqcls_beam.version.{MONDAY}"] == f"1 {'a' * 32}"
    assert len(table(catalog).snapshots()) == 1 and files(table(catalog)) == parts(out)


def test_a_version_that_bars_another_is_no_snapshot(out, catalog):
    iceberg.tell(WHERE, night(out, "a", MONDAY))
    assert bar(store_of(str(out)), MONDAY, 1, stage_name(MONDAY, 2), NOTHING)
    iceberg.tell(WHERE, newest_of(out, MONDAY))
    assert len(table(catalog).snapshots()) == 1
    assert table(catalog).properties[f"seqcls_beam.version.{MONDAY}"] == f"2 {'a' * 32}"


def test_an_output_that_was_made_anew_replaces_all_of_a_partition(out, catalog):
    night(out, "a", MONDAY)
    iceberg.tell(WHERE, night(out, "b", MONDAY))
    shutil.rmtree(out)
    iceberg.tell(WHERE, night(out, "c", MONDAY, units=1))
    assert files(table(catalog)) == parts(out) and table(catalog).scan().to_arrow().num_rows == 9


def test_rows_that_somebody_wrote_into_a_partition_leave_with_it(out, catalog):
    iceberg.tell(WHERE, night(out, "a", MONDAY))
    iceberg.tell(WHERE, night(out, "b", TUESDAY))
    found = table(catalog)
    found.append(found.scan(row_filter="id = 3").to_arrow())  # of both
    night(out, "c", MONDAY, placed=telling(out))
    rows = table(catalog).scan().to_arrow().to_pylist()
    assert [row["run_date"] for row in rows if row["id"] == 3].count("2026-01-26") == 1
    assert [row["run_date"] for row in rows if row["id"] == 3].count("2026-01-27") == 2


def test_files_without_what_is_looked_for_are_left_out(out, catalog):
    for letter, partition in (("a", MONDAY), ("b", TUESDAY)):
        iceberg.tell(WHERE, night(out, letter, partition, units=3))

    def looked_at(where: str) -> int:
        return len(list(table(catalog).scan(row_filter=where).plan_files()))

    assert looked_at("run_date = '2026-01-26'") == 3
    assert looked_at("id >= 20") == 2  # the last part of each night
    assert looked_at("run_date = '2026-01-26' and id = 12") == 1
    assert looked_at("label = 'unknown'") == 0
    assert looked_at("text > 'text 9'") == 0 and looked_at("score > 0.25") == 2
    assert table(catalog).scan(row_filter="id = 12 and run_date > '2026-01-26'").to_arrow().num_rows == 1


def test_dropping_or_purging_the_table_is_told_to_leave_files(out, catalog):
    iceberg.tell(WHERE, night(out, "a", MONDAY))
    assert table(catalog).properties["gc.enabled"] == "false"
    assert not any(key.startswith("commit.retry") for key in table(catalog).properties)


@pytest.mark.parametrize(
    "name", ["reviews", "nights:reviews", "a.b.", ":a.b", "nights:a b.c", "a.b:c.d", "", "s3://a/b.c"]
)
def test_what_is_no_table_is_refused(name, catalog):
    with pytest.raises(PlatformError) as error:
        iceberg.ensure(name)
    assert str(error.value) == f"--iceberg={name} is no table: expected NAMESPACE.TABLE or CATALOG:NAMESPACE.TABLE"


def test_a_catalog_is_configured_or_the_default_one(catalog, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    iceberg.ensure(WHERE)
    with pytest.raises(PlatformError) as error:
        iceberg.ensure("days:sentiment.reviews")
    assert str(error.value) == (
        "--iceberg=days:sentiment.reviews: no catalog 'days' is configured; say where it is in .pyiceberg.yaml or "
        "PYICEBERG_CATALOG__DAYS__URI"
    )
    with pytest.raises(PlatformError, match="no catalog 'default' is configured"):
        iceberg.ensure("sentiment.reviews")
    monkeypatch.setenv("PYICEBERG_DEFAULT_CATALOG", "nights")
    iceberg.ensure("sentiment.reviews")


def test_the_default_catalog_and_namespaces_of_several_levels(out, catalog, monkeypatch):
    monkeypatch.setenv("PYICEBERG_DEFAULT_CATALOG", "nights")
    iceberg.tell("company.sentiment.reviews", night(out, "a", MONDAY))
    assert catalog.load_table("company.sentiment.reviews").scan().to_arrow().num_rows == 19


def test_a_file_of_pyiceberg_s_own_is_read(out, catalog, tmp_path, monkeypatch):
    (tmp_path / ".pyiceberg.yaml").write_text(
        f"catalog:\n  days:\n    uri: sqlite:///{tmp_path}/days.db\n    warehouse: file://{tmp_path}/days\n"
    )
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    iceberg.tell("days:a.b", night(out, "a"))
    assert (tmp_path / "days.db").exists()


def test_without_the_package(monkeypatch):
    for name in [each for each in sys.modules if each.partition(".")[0] == "pyiceberg"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyiceberg", None)
    with pytest.raises(PlatformError) as error:
        iceberg.ensure("a.b")
    assert str(error.value) == (
        "--iceberg=a.b: the package pyiceberg is not installed (pip install 'seqcls_beam[iceberg]')"
    )


def test_a_table_of_somebody_else_s_is_left_alone(out, catalog):
    catalog.create_namespace("sentiment")
    theirs = catalog.create_table("sentiment.reviews", pa.schema([("id", pa.int64())]))
    with pytest.raises(PlatformError) as error:
        iceberg.tell(WHERE, night(out, "a", MONDAY))
    assert str(error.value) == (
        f"--iceberg={WHERE}: the table is there, and was not made by this program; name another one for file://{out}"
    )
    assert table(catalog).metadata_location == theirs.metadata_location


def test_a_table_of_another_output_is_left_alone(tmp_path, out, catalog):
    iceberg.tell(WHERE, night(out, "a", MONDAY))
    before = table(catalog).metadata_location
    with pytest.raises(PlatformError, match=f"has the rows of file://{out}; name another one for file://{tmp_path}/b$"):
        iceberg.tell(WHERE, night(tmp_path / "b", "b", MONDAY))
    shutil.rmtree(out)
    with pytest.raises(PlatformError, match=f"not partitioned by no column, as file://{out} is"):
        iceberg.tell(WHERE, night(out, "c"))
    assert table(catalog).metadata_location == before


def test_only_labelled_rows_are_a_table(out, catalog):
    told = night(out, "a")
    other = type(told)(output=told.output, partition="", version=1, manifest={**told.manifest, "kind": "prepare"})
    with pytest.raises(PlatformError, match="a table has labelled rows, and this is the output of prepare"):
        iceberg.tell(WHERE, other)


@pytest.mark.parametrize("name", ["what?", "num#ber", "two\nlines"])
def test_names_that_readers_would_cut_are_refused(tmp_path, catalog, name):
    with pytest.raises(PlatformError, match="which readers of Iceberg cannot open"):
        iceberg.tell(WHERE, night(tmp_path / name, "a"))


@pytest.mark.parametrize("name", ["two words", "100%25", "größe", "a+b&c=d", "it's"])
def test_other_names_are_those_of_the_files(tmp_path, catalog, name):
    out = tmp_path / name
    iceberg.tell(WHERE, night(out, "a", MONDAY))
    assert table(catalog).scan().to_arrow().num_rows == 19 and files(table(catalog)) == parts(out)


@pytest.mark.parametrize("harm", ["gone", "cut", "other"])
def test_a_part_that_is_not_what_was_published(out, catalog, harm):
    told = night(out, "a", MONDAY)
    one, other = sorted((out / "labels" / MONDAY).glob("*.parquet"))
    if harm == "gone":
        one.unlink()
    else:
        one.write_bytes(one.read_bytes()[:-9] if harm == "cut" else other.read_bytes())
    with pytest.raises(PlatformError) as error:
        iceberg.tell(WHERE, told)
    said = {"gone": "is gone", "cut": "is damaged: ", "other": "has 10 rows in "}[harm]
    assert str(error.value).startswith(f"{one} {said}") and "label its rows again" in str(error.value)
    assert not catalog.table_exists("sentiment.reviews")


def test_a_catalog_that_is_down(out, catalog, monkeypatch):
    told = night(out, "a", MONDAY)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("PYICEBERG_CATALOG__NIGHTS__URI", f"http://me:hidden@127.0.0.1:{port}/hidden?token=hidden")
    began = time.monotonic()
    with pytest.raises(PlatformError) as error:
        iceberg.tell(WHERE, told)
    said = str(error.value)
    assert said.startswith(f"--iceberg={WHERE}: the table could not be told (ConnectionError: ")
    assert (
        said.endswith("; announce the run again") and "\n" not in said and "hidden" not in said.replace("/hidden", "")
    )
    assert time.monotonic() - began < iceberg.PATIENCE


def test_a_secret_that_would_be_cut_is_not_shown(out, catalog, monkeypatch):
    """At any place of what a library says: what is left of a password is one, too."""
    from seqcls_beam.announcing import iceberg_table

    told = night(out, "a", MONDAY)
    for before in range(240, 300, 3):
        message = "x" * before + " postgresql://me:hunter2-of-the-catalog@db.example/lake"

        def load(name, message=message, **config):
            raise RuntimeError(message)

        monkeypatch.setattr(iceberg_table, "load_catalog", load)
        with pytest.raises(PlatformError) as error:
            iceberg.tell(WHERE, told)
        assert "hunter" not in str(error.value) and "xxx" in str(error.value)


def test_a_catalog_that_answers_nothing(out, catalog, monkeypatch):
    told = night(out, "a", MONDAY)
    assert iceberg.PATIENCE <= 30
    monkeypatch.setattr(iceberg, "PATIENCE", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections, as the kernel does for it
        monkeypatch.setenv("PYICEBERG_CATALOG__NIGHTS__URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(PlatformError) as error:
            iceberg.tell(WHERE, told)
        spent = time.monotonic() - began
        assert str(error.value) == (
            f"--iceberg={WHERE}: the catalog gave no answer in 2 seconds; announce the run again later"
        )
        assert 1.9 < spent < 10
        waiting = [each for each in threading.enumerate() if each.name == "platform"]
        assert waiting and all(each.daemon for each in waiting)
    for each in waiting:
        each.join(20)


def test_a_catalog_whose_file_is_locked(out, catalog, tmp_path, monkeypatch):
    import sqlite3

    told = night(out, "a", MONDAY)
    monkeypatch.setattr(iceberg, "PATIENCE", 3.0)
    holder = sqlite3.connect(tmp_path / "catalog" / "catalog.db")
    holder.execute("begin exclusive")
    with pytest.raises(PlatformError):
        iceberg.tell(WHERE, told)
    holder.rollback()
    holder.close()
    for each in threading.enumerate():
        if each.name == "platform":
            each.join(20)
    iceberg.tell(WHERE, told)
    assert table(catalog).scan().to_arrow().num_rows == 19 and len(table(catalog).snapshots()) == 1


def test_a_catalog_without_a_warehouse(out, tmp_path, monkeypatch):
    monkeypatch.setenv("PYICEBERG_CATALOG__BARE__URI", f"sqlite:///{tmp_path}/bare.db")
    with pytest.raises(PlatformError, match="'bare' does not say where tables lie: set its warehouse") as error:
        iceberg.tell("bare:a.b", night(out, "a"))
    assert "PYICEBERG_CATALOG__BARE__WAREHOUSE" in str(error.value)
    monkeypatch.setenv("PYICEBERG_CATALOG__BARE__URI", " ")
    with pytest.raises(PlatformError, match="the catalog 'bare' has an empty uri; set it, as PYICEBERG_CATALOG__BARE"):
        iceberg.ensure("bare:a.b")


def test_a_part_that_is_a_pipe_is_not_waited_for(out, catalog):
    told = night(out, "a", MONDAY)
    part = out / told.manifest["parts"][1]["path"]
    part.unlink()
    os.mkfifo(part)
    began = time.monotonic()
    with pytest.raises(PlatformError) as error:
        iceberg.tell(WHERE, told)
    assert time.monotonic() - began < 5
    assert str(error.value).startswith(f"{part} is no file; put the file back")


def test_footers_that_are_not_read_in_time(out, catalog, monkeypatch):
    from seqcls_beam.announcing import iceberg_files

    told, over = night(out, "a", MONDAY), threading.Event()
    monkeypatch.setattr(iceberg_files, "_part", lambda *_: over.wait(20))
    monkeypatch.setattr(published, "FOOTERS", 0.5)
    with pytest.raises(PlatformError, match=r"the parts of .*/out were not read in 0 seconds; look whether its disk"):
        iceberg.tell(WHERE, told)
    over.set()


class Echo(http.server.BaseHTTPRequestHandler):
    """A catalog that says what it was sent."""

    def do_GET(self) -> None:
        sent = f"{self.headers['Authorization']} / {self.headers['X-Own']}"
        said = {"error": {"message": f"no such key: {sent}", "type": "NotAuthorizedException", "code": 401}}
        body = json.dumps(said).encode()
        self.send_response(401, f"no {sent}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


def test_a_catalog_that_says_what_it_was_sent(out, catalog, monkeypatch):
    told = night(out, "a", MONDAY)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PYICEBERG_CATALOG__ECHO__URI", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("PYICEBERG_CATALOG__ECHO__TYPE", "rest")
        monkeypatch.setenv("PYICEBERG_CATALOG__ECHO__TOKEN", "short-tok")
        monkeypatch.setenv("PYICEBERG_CATALOG__ECHO__HEADER__X_OWN", "plain")
        with pytest.raises(PlatformError) as error:
            iceberg.tell("echo:a.b", told)
        server.shutdown()
    assert "no such key: Bearer ... /" in str(error.value) and "short-tok" not in str(error.value)


@pytest.mark.parametrize(
    ("config", "said", "shown"),
    [
        ({"token": "sesame-1"}, "bad sesame-1", "bad ..."),
        ({"credential": "me:open%20sesame"}, "me:open%20sesame or open%20sesame or open sesame", "... or ... or ..."),
        ({"uri": "postgresql://me:sesame@h/l"}, "for me the word sesame", "for me the word ..."),
        ({"header.Authorization": "Basic bWU6c2U="}, "got bWU6c2U=", "got ..."),
        ({"auth": {"type": "basic", "basic": {"username": "mine", "password": "sesame"}}}, "not sesame", "not ..."),
        ({"s3.secret-access-key": "abc+/def=="}, "no abc%2B%2Fdef%3D%3D", "no ..."),
        ({"warehouse": "s3://lake", "uri": "http://host"}, "no lake at host", "no lake at host"),
        ({"token": ""}, "nothing", "nothing"),
    ],
)  # fmt: skip
def test_secrets_of_a_catalog_are_not_shown_in_any_form(config, said, shown):
    assert iceberg._told(ValueError(said), iceberg._secrets(config)) == f"ValueError: {shown}"
