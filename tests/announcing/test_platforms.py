"""Platforms as flags and manifests name them, and telling each, whatever becomes of the others."""

import json
import logging
import os
import pickle
import socket
import subprocess
import sys
from functools import partial

import pytest

from seqcls_beam.announcing import platforms
from seqcls_beam.announcing import tables as listed
from seqcls_beam.announcing.published import PlatformError
from seqcls_beam.config.announce import PlatformOptions, TellOptions
from seqcls_beam.runs import cleaning
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import open_labels
from tests.announcing import tables
from tests.announcing.told import version

OUT = "/there/is/no/such/output"


@pytest.fixture
def closed() -> str:
    """A URL of this machine where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def named(output: str = "out", **flags: str) -> dict[str, str]:
    return platforms.named(PlatformOptions(**flags), output)


def test_none_is_named_by_default():
    assert platforms.named(PlatformOptions(), "out") == platforms.named(TellOptions(), "out") == {}
    assert platforms.NAMES == ("openlineage", "prometheus", "otlp", "iceberg", "bigquery")


def test_places_on_a_disk_are_the_same_in_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "figures").mkdir()
    found = named(prometheus="figures", openlineage="events.jsonl", otlp="http://host:4318")
    assert found == {
        "openlineage": f"{tmp_path}/events.jsonl",
        "prometheus": f"{tmp_path}/figures",
        "otlp": "http://host:4318",
    }
    monkeypatch.setenv("OPENLINEAGE_URL", "http://host:5000")
    assert named(openlineage="env") == {"openlineage": "env"}, "what the environment says is not remembered"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"openlineage": "http://me:secret@host:5000"}, "--openlineage=http://host:5000 holds a password or a key"),
        ({"otlp": "http://host:4318?api_key=secret"}, "--otlp=http://host:4318?api_key=... holds a password or a key"),
        ({"openlineage": "gs://bucket/events"}, "--openlineage=gs://bucket/events: "),
        ({"prometheus": "gs://bucket/figures"}, "--prometheus=gs://bucket/figures: "),
        ({"prometheus": "nowhere/figures"}, "nowhere/figures: "),
        ({"otlp": "host:4318"}, "--otlp=host:4318"),
        ({"iceberg": "labels"}, "--iceberg=labels is no table"),
        ({"bigquery": "labels", "output": "gs://bucket/out"}, "--bigquery=labels: expected PROJECT.DATASET.TABLE"),
        ({"bigquery": "a-project.some.labels"}, "BigQuery loads from gs:// alone, and --output=out is not there"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(flags, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as error:
        named(**flags)
    assert said in str(error.value) and "secret" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("flags", "module", "extra"),
    [
        ({"openlineage": "http://host:5000"}, "openlineage", "openlineage"),
        ({"prometheus": "."}, "prometheus_client", "prometheus"),
        ({"otlp": "http://host:4318"}, "opentelemetry", "otlp"),
        ({"iceberg": "lake:a.labels"}, "pyiceberg", "iceberg"),
    ],
)
def test_an_extra_that_is_missing_is_named(flags, module, extra):
    """In a process of its own: what is imported stays so."""
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {module!r}: raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from seqcls_beam.announcing import platforms\n"
        "from seqcls_beam.config.announce import PlatformOptions\n"
        "try:\n"
        f"    platforms.named(PlatformOptions(**{flags!r}), 'out')\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert f"(pip install 'seqcls_beam[{extra}]')" in done.stdout and done.stdout.count("\n") == 1, done


@pytest.mark.parametrize(
    "said",
    [None, [], "openlineage", 5, {"nobody": "x"}, {"otlp": 4318}, {"otlp": ""}, {"otlp": None}, {"otlp": "x" * 5000},
     {"\x1b[2J": "http://host"}, {"otlp": {"url": "http://host"}}],
)  # fmt: skip
def test_a_manifest_that_no_command_wrote_is_said(said):
    with pytest.raises(PlatformError) as error:
        platforms.remembered({"platforms": said})
    assert "which no command wrote" in str(error.value) and "\x1b" not in str(error.value)
    assert len(str(error.value)) < 300


def test_a_manifest_remembers_in_one_order():
    assert platforms.remembered({}) == {}
    said = {"iceberg": "a.b", "openlineage": "http://host"}
    assert list(platforms.remembered({"platforms": said}).items()) == [*reversed(said.items())]


def test_iceberg_tables_are_told_whoever_is_named(tmp_path):
    out = str(tmp_path / "out")
    before = {"kind": "classify", "platforms": {"iceberg": "a.labels", "otlp": "http://host:4318"}}
    assert platforms.with_tables(out, {}, before) == {"iceberg": "a.labels"}
    both = {"iceberg": "a.others", "prometheus": "/p"}
    assert platforms.with_tables(out, both, before) == both
    assert platforms.with_tables(out, {"prometheus": "/p"}, {"kind": "classify"}) == {"prometheus": "/p"}
    assert platforms.with_tables(out, {}, {"kind": "classify", "platforms": 5}) == {}
    listed.remember(out, "a.labels")
    for kind, told in {"classify": {"iceberg": ""}, "nothing": {"iceberg": ""}, "prepare": {}}.items():
        assert platforms.with_tables(out, {}, {"kind": kind}) == told
        assert platforms.believed(out, {"kind": kind}, {}) == (told, [])


def test_one_that_fails_keeps_nothing_from_the_others(tmp_path, closed):
    (tmp_path / "figures").mkdir()
    where = {
        "openlineage": closed,
        "prometheus": f"{tmp_path}/figures",
        "otlp": closed,
        "iceberg": "no table",
        "bigquery": "none",
    }
    became = dict(platforms.tell(where, version(output=str(tmp_path / "out"))))
    assert list(became) == list(where) and became["prometheus"] is None
    for name, why in became.items():
        assert name == "prometheus" or (why and "\n" not in why), (name, why)
    (figures,) = (tmp_path / "figures").iterdir()
    assert "seqcls_beam_run_info" in figures.read_text()


def test_a_fault_of_a_platform_is_a_sentence_too(tmp_path, monkeypatch):
    from seqcls_beam.announcing import prometheus

    def tell(where: str, announced: object) -> None:
        raise KeyError("http://me:secret@host/\nand more")

    monkeypatch.setattr(prometheus, "tell", tell)
    ((_, why),) = platforms.tell({"prometheus": str(tmp_path)}, version())
    assert why and why.startswith("KeyError: ") and "secret" not in why and "\n" not in why


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        ({"kind": "classify", "parts": [{}]}, [*platforms.NAMES]),
        ({"kind": "classify", "parts": []}, [*platforms.NAMES]),
        ({"kind": "prepare", "parts": [{}]}, ["openlineage", "prometheus", "otlp"]),
        ({"kind": "finetune", "parts": [{}]}, ["openlineage", "prometheus", "otlp"]),
        ({"kind": "evaluate", "parts": [{}]}, ["openlineage", "prometheus", "otlp"]),
        ({"kind": "nothing", "parts": []}, ["iceberg", "bigquery"]),
        ({"kind": ["classify"]}, ["openlineage", "prometheus", "otlp"]),
    ],
)
def test_tables_are_of_labelled_rows(manifest, told):
    where = {name: name.upper() for name in reversed(platforms.NAMES)}
    assert list(platforms.due(where, manifest).items()) == [(name, name.upper()) for name in told]
    assert platforms.due({}, manifest) == {}


def test_no_key_goes_where_a_manifest_alone_says(tmp_path, monkeypatch):
    """Who may write OUT before a command reads it is not trusted."""
    there = {"openlineage": "http://host:5000", "otlp": "http://host:4318", "iceberg": "a.labels"}
    manifest = {"platforms": there}
    assert platforms.believed(OUT, manifest, {}) == (there, [])
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "the-key")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=the-key")
    found, doubts = platforms.believed(OUT, manifest, {})
    assert found == {"iceberg": "a.labels"} and "the-key" not in str(doubts)
    assert doubts == [
        f"its manifest names --{name}={there[name]}, and {key} would be used there: if that is meant, give the flag"
        for name, key in (("openlineage", "OPENLINEAGE_API_KEY"), ("otlp", "OTEL_EXPORTER_OTLP_HEADERS"))
    ]
    assert platforms.believed(OUT, manifest, there) == (there, [])
    assert platforms.believed(OUT, {"platforms": {"openlineage": "env"}}, {}) == ({"openlineage": "env"}, [])


@pytest.mark.parametrize("line", ["alias a=b\n", "\n", "{}"])
def test_no_file_of_another_kind_is_added_to(tmp_path, line):
    file = tmp_path / "events"
    manifest = {"platforms": {"openlineage": str(file)}}
    assert platforms.believed(OUT, manifest, {})[0] == manifest["platforms"], "it is made"
    announced = version(output=str(tmp_path / "out"))
    assert dict(platforms.tell(manifest["platforms"], announced)) == {"openlineage": None}
    assert platforms.believed(OUT, manifest, {})[0] == manifest["platforms"], "it is one of events"
    file.write_text(line)
    found, (doubt,) = platforms.believed(OUT, manifest, {})
    assert not found and f"--openlineage={file}, and what is there is no file of events" in doubt
    assert platforms.believed(OUT, manifest, manifest["platforms"]) == (manifest["platforms"], [])


def test_a_pipe_that_nobody_reads_holds_nobody_up(tmp_path):
    os.mkfifo(tmp_path / "events")
    manifest = {"platforms": {"openlineage": f"{tmp_path}/events"}}
    found, (doubt,) = platforms.believed(OUT, manifest, {})
    assert not found and "what is there is no file of events" in doubt


@pytest.mark.parametrize("of", ["", "METRICS_"])
@pytest.mark.parametrize("what", ["CLIENT_CERTIFICATE", "CLIENT_KEY"])
def test_nobody_shows_who_he_is_where_a_manifest_alone_says(monkeypatch, of, what):
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{of}{what}", "/own.pem")
    found, (doubt,) = platforms.believed(OUT, {"platforms": {"otlp": "https://host:4318"}}, {})
    assert not found and f"OTEL_EXPORTER_OTLP_{of}{what} would be used there" in doubt
    assert platforms.believed(OUT, {}, {"otlp": "https://host:4318"}) == ({"otlp": "https://host:4318"}, [])


@pytest.mark.parametrize("before", [0, 30, 40, 50, 55, 60, 65, 70])
def test_what_is_cut_of_a_manifest_shows_no_secret(before):
    said = "x" * before + " http://me:hunter2-and-so-on-for-some-signs@host/"
    for manifest in ({"platforms": [said]}, {"platforms": {"nobody": said}}, {"platforms": {said: "x"}}):
        with pytest.raises(PlatformError) as error:
            platforms.remembered(manifest)
        assert "hunter" not in str(error.value)


def remembering(monkeypatch, **where: str) -> None:
    """Have what is published from now on remember platforms."""
    from seqcls_beam.runs import commit

    was = commit.publish

    def publish(store, version, manifest, *more):
        return was(store, version, {**manifest, "platforms": where}, *more)

    monkeypatch.setattr(commit, "publish", publish)


def rows(catalog) -> dict[str | None, int]:
    """Rows of the Iceberg table by partition, as its files are read, not as it counts them."""
    table = catalog.load_table(tables.WHERE.partition(":")[2])
    found = table.scan().to_arrow().to_pylist()
    return {each: sum(row.get("run_date") == each for row in found) for each in {row.get("run_date") for row in found}}


@pytest.fixture
def catalog(tmp_path, monkeypatch):
    from pyiceberg.catalog import load_catalog

    return load_catalog("nights", **tables.catalog(monkeypatch, tmp_path / "catalog"))


def test_the_table_lets_go_of_files_before_they_are_removed(tmp_path, monkeypatch, catalog):
    """At the moment at which a sweep begins, the table names the new files and no other."""
    out = tmp_path / "out"
    remembering(monkeypatch, iceberg=tables.WHERE)
    first = tables.night(out, "a", "run_date=2026-01-31")
    assert [why for _, why in platforms.tell({"iceberg": tables.WHERE}, first)] == [None]
    seen = []

    def placed(*version):
        platforms.placed(str(out), *version)
        files = {each.file.file_path for each in catalog.load_table("sentiment.reviews").scan().plan_files()}
        old = sorted((out / "labels" / "run_date=2026-01-31").glob("*-v1-*"))
        seen.append((files, old))

    second = tables.night(out, "b", "run_date=2026-01-31", 3, placed)
    ((files, old),) = seen
    assert files == {f"file://{out}/{part['path']}" for part in second.manifest["parts"]}
    assert len(old) == 2, "what was replaced was still there"
    assert not list((out / "labels" / "run_date=2026-01-31").glob("*-v1-*"))
    assert rows(catalog) == {"2026-01-31": open_labels(str(out)).count_rows()}


def test_a_table_that_cannot_be_told_keeps_nothing_from_being_published(tmp_path, monkeypatch, catalog, caplog):
    out = tmp_path / "out"
    remembering(monkeypatch, iceberg=tables.WHERE)
    first = tables.night(out, "a")
    assert [why for _, why in platforms.tell({"iceberg": tables.WHERE}, first)] == [None]
    monkeypatch.setenv("PYICEBERG_CATALOG__NIGHTS__URI", f"sqlite:///{tmp_path}/no/catalog.db")
    with caplog.at_level(logging.WARNING):
        second = tables.night(out, "b", placed=partial(platforms.placed, str(out)))
    assert second.version == 2 and open_labels(str(out)).count_rows() == 19
    (said,) = [each.getMessage() for each in caplog.records if each.name == "seqcls_beam.runs.commit"]
    assert said.startswith(f"{out} is published, but iceberg was not told of its files: --iceberg={tables.WHERE}: ")
    tables.catalog(monkeypatch, tmp_path / "catalog")
    told = platforms.newest_of(str(out), "")
    assert told is not None and dict(platforms.tell(platforms.remembered(told.manifest), told)) == {"iceberg": None}
    assert rows(catalog) == {None: 19}


def test_a_worker_without_the_package_publishes_all_the_same(tmp_path, monkeypatch, catalog):
    """The hook comes as bytes into a process that lacks what it needs: the commit goes on, with one warning."""
    out = tmp_path / "out"
    remembering(monkeypatch, iceberg=tables.WHERE)
    tables.night(out, "a")
    code = (
        "import logging, pickle, sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'pyiceberg': raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "logging.basicConfig(format='%(message)s')\n"
        "from pathlib import Path\n"
        "import pytest\n"
        "from tests.announcing import tables, test_platforms\n"
        f"test_platforms.remembering(pytest.MonkeyPatch(), iceberg={tables.WHERE!r})\n"
        f"hook = pickle.loads({pickle.dumps(partial(platforms.placed, str(out)))!r})\n"
        f"print(tables.night(Path({str(out)!r}), 'b', placed=hook).version)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{out} is published, but iceberg was not told of its files: ")
    assert "the package pyiceberg is not installed (pip install 'seqcls_beam[iceberg]')" in line
    assert done.stdout == "2\n" and not list((out / "labels").glob("*-v1-*"))
    assert open_labels(str(out)).count_rows() == 19


def test_no_table_is_made_on_the_word_of_a_manifest(tmp_path, monkeypatch, catalog):
    """Who wrote a manifest is not known; the catalog is asked with this user's keys."""
    out = tmp_path / "out"
    remembering(monkeypatch, iceberg=tables.WHERE)
    placed = partial(platforms.placed, str(out))
    first = tables.night(out, "a")
    alone, doubts = platforms.believed(OUT, first.manifest, {})
    assert alone == {"iceberg": tables.WHERE} and not doubts
    ((_, why),) = platforms.tell(alone, first)
    assert why == (
        f"--iceberg={tables.WHERE}: a manifest alone names this table, and it is not there: if it is to be made, give "
        "the flag"
    )
    second = tables.night(out, "b", placed=placed)  # who is not there need not let go of anything
    assert platforms.with_tables(str(out), {}, second.manifest) == alone and catalog.list_namespaces() == []
    ((_, why),) = platforms.tell(platforms.with_tables(str(out), {}, second.manifest), second)
    assert why and catalog.list_namespaces() == []
    by_flag, _ = platforms.believed(OUT, second.manifest, alone | {"iceberg": tables.WHERE})
    assert dict(platforms.tell(by_flag, second)) == {"iceberg": None}
    third = tables.night(out, "a", placed=placed)
    assert dict(platforms.tell(platforms.with_tables(str(out), {}, third.manifest), third)) == {"iceberg": None}
    assert rows(catalog) == {None: open_labels(str(out)).count_rows()}


def test_a_first_version_is_told_when_it_is_published(tmp_path, monkeypatch, catalog):
    remembering(monkeypatch, iceberg=tables.WHERE)
    tables.night(tmp_path / "out", "a", placed=partial(platforms.placed, str(tmp_path / "out")))
    assert catalog.list_namespaces() == []


def test_a_night_that_is_taken_away_leaves_the_table(tmp_path, monkeypatch, catalog):
    out = tmp_path / "out"
    remembering(monkeypatch, iceberg=tables.WHERE)
    for letter, date in (("a", "2026-01-30"), ("b", "2026-01-31")):
        night = tables.night(out, letter, f"run_date={date}")
        assert [why for _, why in platforms.tell({"iceberg": tables.WHERE}, night)] == [None]
    monkeypatch.undo()
    tables.catalog(monkeypatch, tmp_path / "catalog")
    found = cleaning.look(str(out), "2026-01-31")
    assert [why for _, why in cleaning.remove(str(out), found, partial(platforms.placed, str(out)))] == [None]
    assert rows(catalog) == {"2026-01-31": 19}
    gone = platforms.newest_of(str(out), "run_date=2026-01-30")
    assert gone is not None and gone.manifest["kind"] == "nothing"
    assert platforms.remembered(gone.manifest) == {} and listed.known(str(out)) == [tables.WHERE]


def test_what_a_dead_process_left_is_carried_out_before_it_is_told(tmp_path):
    out = tmp_path / "out"
    tables.killed_night(out, "a")
    assert list((out / "_attempts").glob("publish-*")), "it was killed in the middle"
    found = platforms.newest_of(str(out), "")
    assert found is not None and found.version == 1 and not list((out / "_attempts").glob("publish-*"))
    assert platforms.newest_of(str(out), "run_date=2026-01-31") is None


def test_an_evaluation_brings_its_document(tmp_path):
    store = store_of(str(tmp_path))
    assert platforms.told_of(store, {"kind": "classify"}) == {"kind": "classify"}
    (tmp_path / "evaluation.json").write_text(json.dumps({"kind": "evaluate", "format_version": 1, "rows": {"in": 3}}))
    told = platforms.told_of(store, {"kind": "evaluate", "format_version": 2, "run_id": "a"})
    assert told == {"kind": "evaluate", "format_version": 2, "run_id": "a", "rows": {"in": 3}}
    for bad in ("", "[]", "{", "null"):
        (tmp_path / "evaluation.json").write_text(bad)
        with pytest.raises(RunError, match=r"evaluation\.json is no evaluation of this project"):
            platforms.told_of(store, {"kind": "evaluate"})


def test_telling_again_is_as_telling_once(tmp_path, catalog):
    announced = tables.night(tmp_path / "out", "a")
    (tmp_path / "figures").mkdir()
    where = {"prometheus": f"{tmp_path}/figures", "iceberg": tables.WHERE}
    assert set(dict(platforms.tell(where, announced)).values()) == {None}
    (figures,) = (tmp_path / "figures").iterdir()
    snapshots, once = catalog.load_table("sentiment.reviews").snapshots(), figures.read_bytes()
    assert set(dict(platforms.tell(where, announced)).values()) == {None}
    assert catalog.load_table("sentiment.reviews").snapshots() == snapshots
    assert figures.read_bytes() == once
