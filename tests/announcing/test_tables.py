"""Which Iceberg tables were told of an output: written down once, by many at once, and read like any other input."""

import json
import os
import threading
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog, load_catalog

from pipelines import approve
from seqcls_beam import storage
from seqcls_beam.announcing import platforms, tables
from seqcls_beam.announcing.published import PlatformError
from seqcls_beam.runs import cleaning
from seqcls_beam.runs.nights import new_files
from seqcls_beam.runs.publication import follow
from seqcls_beam.runs.run import Run
from seqcls_beam.runs.table import open_labels, published, settled
from seqcls_beam.schema import UNIT
from tests.announcing.tables import WHERE, catalog, killed_night, newest_of, night

OTHER = "nights:others.reviews"
MONDAY, TUESDAY = "run_date=2026-01-26", "run_date=2026-01-27"


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def lake(tmp_path, monkeypatch) -> Catalog:
    return load_catalog("nights", **catalog(monkeypatch, tmp_path / "catalog"))


def files(lake: Catalog, where: str) -> set[str]:
    """The files that a table names; each is opened, too."""
    table = lake.load_table(where.partition(":")[2])
    table.scan().to_arrow()
    return {each.file.file_path for each in table.scan().plan_files()}


def parts(out: Path) -> set[str]:
    return {f"file://{each}" for each in (out / "labels").rglob("*.parquet")}


def tell(out: Path, partition: str = "", **named: str) -> dict[str, str | None]:
    """As `announce` and a run do."""
    announced = newest_of(out, partition)
    where, doubts = platforms.believed(str(out), announced.manifest, named)
    assert not doubts
    return dict(platforms.tell(where, announced))


def test_tables_are_written_down_once_and_in_order(out):
    assert tables.known(str(out)) == []
    for where in ("a.labels", WHERE, "a.labels"):
        tables.remember(str(out), where)
    assert tables.known(str(out)) == ["a.labels", WHERE]
    said = json.loads((out / "_TABLES.json").read_text())
    assert said == {"format_version": 1, "kind": "tables", "tables": ["a.labels", WHERE]}


def test_the_last_one_may_be_taken_out(out, lake):
    assert (night(out, "a"), tell(out, iceberg=WHERE))[1] == {"iceberg": None}
    (out / "_TABLES.json").write_text(json.dumps({"format_version": 1, "kind": "tables", "tables": []}))
    assert (night(out, "b"), tell(out))[1] == {} and len(lake.load_table("sentiment.reviews").snapshots()) == 1
    tables.remember(str(out), OTHER)
    assert tables.known(str(out)) == [OTHER]


def test_of_many_at_once_each_is_written_down(out):
    out.mkdir()
    names = [f"a.labels{number}" for number in range(tables.MOST)]
    many = [threading.Thread(target=tables.remember, args=(str(out), name)) for name in names]
    for each in many:
        each.start()
    for each in many:
        each.join(60)
    assert sorted(tables.known(str(out))) == names
    with pytest.raises(PlatformError, match=r"_TABLES\.json has 8 Iceberg tables, which is all that it may have"):
        tables.remember(str(out), "a.more")
    tables.remember(str(out), names[0])


@pytest.mark.parametrize(
    "said",
    ["", "{", "[]", "5", "{}", '{"format_version": 1, "kind": "tables"}',
     *(json.dumps({"format_version": 1, "kind": "tables", "tables": each}) for each in
       (5, "a.b", "", [5], ["labels"], ["a.b\u001b[2J"], [["a.b"]], [None], ["a.b"] * 9, ["a." + "b" * 2000])),
     json.dumps({"format_version": 2, "kind": "tables", "tables": ["a.b"]})],
)  # fmt: skip
def test_a_list_that_no_command_wrote_is_a_sentence(out, lake, said):
    out.mkdir()
    (out / "_TABLES.json").write_text(said)
    for ask in (tables.known, partial(tables.remember, where="a.b")):
        with pytest.raises(PlatformError, match=r"_TABLES\.json is none of this program's, and says which") as error:
            ask(str(out))
        assert "\n" not in str(error.value) and "\x1b" not in str(error.value)
    (why,) = (night(out, "a"), tell(out))[1].values()
    assert why and "is none of this program's" in why


def test_a_pipe_is_not_waited_for(out):
    out.mkdir()
    os.mkfifo(out / "_TABLES.json")
    with pytest.raises(PlatformError, match="is a pipe, a socket or a device"):
        tables.known(str(out))


@pytest.mark.parametrize("then", ["overwrite", "remove"])
def test_a_table_that_came_later_lets_go_of_files_before_they_are_removed(out, lake, then):
    """No manifest names it: it was told by `announce`, or by a run that was published already."""
    night(out, "a", MONDAY)
    night(out, "a", TUESDAY)
    for each in (MONDAY, TUESDAY):
        assert tell(out, each, iceberg=WHERE) == {"iceberg": None}
    seen = []

    def placed(*version):
        platforms.placed(str(out), *version)
        seen.append((files(lake, WHERE), list((out / "labels" / MONDAY).glob("*-v1-*"))))

    if then == "overwrite":
        night(out, "b", MONDAY, 3, placed)
    else:
        found = cleaning.look(str(out), "2026-01-27")
        assert [why for _, why in cleaning.remove(str(out), found, placed)] == [None]
    ((named, old),) = seen
    assert len(old) == 2 and named == parts(out)
    assert tell(out, MONDAY) == {"iceberg": None}


def test_a_night_that_was_taken_away_and_is_labelled_again_is_there(out, lake):
    placed = partial(platforms.placed, str(out))
    for each in (MONDAY, TUESDAY):
        night(out, "a", each)
        assert tell(out, each, iceberg=WHERE) == {"iceberg": None}
    for _ in cleaning.remove(str(out), cleaning.look(str(out), "2026-01-27"), placed):
        pass
    assert files(lake, WHERE) == parts(out)
    night(out, "b", MONDAY, placed=placed)
    assert files(lake, WHERE) == parts(out) and len(parts(out)) == 4


@pytest.mark.parametrize("by", ["another night", "the same one", "announce", "approve"])
def test_whoever_finishes_what_a_dead_night_left_has_the_table_let_go_first(out, lake, by, monkeypatch):
    night(out, "a", MONDAY)
    assert tell(out, MONDAY, iceberg=WHERE) == {"iceberg": None}
    killed_night(out, "b", MONDAY)
    seen, was = [], platforms.placed

    def placed(*version):
        was(*version)
        seen.append((files(lake, WHERE), list((out / "labels" / MONDAY).glob("*-v1-*"))))

    monkeypatch.setattr(platforms, "placed", placed)
    if by == "announce":
        platforms.newest_of(str(out), MONDAY)
    elif by == "approve":
        assert approve.main([str(out), "--max_rejected=1"]) == 0
    else:
        mine = TUESDAY if by == "another night" else MONDAY
        run = follow(Run(str(out), "c" * 32, True, partition=mine, placed=partial(platforms.placed, str(out))))
        new_files(run, pa.RecordBatch.from_pylist([], schema=UNIT), {})
    ((named, old),) = seen
    assert len(old) == 2 and named == parts(out), "and then those before are removed"


def test_who_only_reads_takes_nothing_from_the_table(out, lake):
    night(out, "a", MONDAY)
    assert tell(out, MONDAY, iceberg=WHERE) == {"iceberg": None}
    before = files(lake, WHERE)
    killed_night(out, "b", MONDAY)
    assert open_labels(str(out)).count_rows() == 19 and settled(next(iter(published(str(out))))).version.number == 2
    assert files(lake, WHERE) == before, "each was opened"
    new_files(follow(Run(str(out), "c" * 32, partition=TUESDAY)), pa.RecordBatch.from_pylist([], schema=UNIT), {})
    assert not list((out / "labels" / MONDAY).glob("*-v1-*")), "who writes removes what was replaced"
    assert tell(out, MONDAY) == {"iceberg": None} and files(lake, WHERE) == parts(out)


def test_a_run_that_names_another_table_tells_the_first_one_too(out, lake):
    night(out, "a")
    assert tell(out, iceberg=WHERE) == {"iceberg": None}
    night(out, "b", placed=partial(platforms.placed, str(out)))
    assert tell(out, iceberg=OTHER) == {"iceberg": None}
    assert files(lake, WHERE) == files(lake, OTHER) == parts(out)
    assert tables.known(str(out)) == [WHERE, OTHER]


def test_a_table_is_written_down_before_it_is_told(out, lake, monkeypatch):
    """So one that a process died over is known."""
    from seqcls_beam.announcing import iceberg

    night(out, "a")
    seen: list[list[str]] = []
    monkeypatch.setattr(iceberg, "tell", lambda *_, **__: seen.append(tables.known(str(out))))
    assert tell(out, iceberg=WHERE) == {"iceberg": None} and seen == [[WHERE]]


def test_a_table_that_nobody_would_remember_is_not_told(out, lake, monkeypatch):
    def update(uri: str, change: object) -> None:
        raise OSError("it can only be read")

    night(out, "a")
    monkeypatch.setattr(storage, "update", update)
    ((_, why),) = tell(out, iceberg=WHERE).items()
    assert why and why.startswith(f"--iceberg={WHERE}: {out}/_TABLES.json cannot be written (it can only be read)")
    assert lake.list_namespaces() == []


def test_the_list_makes_no_table_and_touches_none_of_another_output(out, tmp_path, lake):
    """As where a table was dropped, or an output was copied with its list."""
    night(out, "a")
    tables.remember(str(out), WHERE)
    assert tell(out) == {"iceberg": None} and lake.list_namespaces() == []
    other = tmp_path / "other"
    night(other, "b")
    assert tell(other, iceberg=WHERE) == {"iceberg": None}
    night(out, "b", placed=partial(platforms.placed, str(out)))
    assert tell(out) == {"iceberg": None}
    assert files(lake, WHERE) == parts(other)
    ((_, why),) = tell(out, iceberg=WHERE).items()
    assert why and f"has the rows of file://{other}" in why


def test_what_one_table_says_keeps_nothing_from_another(out, lake, monkeypatch):
    night(out, "a")
    assert tell(out, iceberg=WHERE) == {"iceberg": None}
    monkeypatch.setenv("PYICEBERG_CATALOG__AWAY__URI", "sqlite:////nowhere/at/all/catalog.db")
    ((_, why),) = tell(out, iceberg="away:a.b").items()
    assert why and why.startswith("--iceberg=away:a.b: ") and WHERE not in why
    night(out, "b")
    ((_, why),) = tell(out).items()
    assert why and why.startswith("--iceberg=away:a.b: ") and files(lake, WHERE) == parts(out)


def test_an_output_by_another_name_is_the_same(out, tmp_path, lake):
    link = tmp_path / "link"
    link.symlink_to(out)
    night(out, "a")
    assert tell(out, iceberg=WHERE) == {"iceberg": None}
    night(link, "b", placed=partial(platforms.placed, str(link)))
    assert files(lake, WHERE) == parts(out)
    assert tell(link) == {"iceberg": None} == tell(out)
    assert len(lake.load_table(WHERE.partition(":")[2]).snapshots()) == 2
    assert lake.load_table(WHERE.partition(":")[2]).scan().to_arrow().num_rows == open_labels(str(out)).count_rows()
