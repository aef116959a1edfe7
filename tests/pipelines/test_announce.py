"""Platforms, told by whole commands: what is published, its beginning, its failure; and told again."""

import json
import os
import re
import shlex
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pyiceberg.catalog import Catalog, load_catalog

from pipelines import announce, approve, classify, clean, evaluate, finetune, prepare, seal
from seqcls_beam.announcing import tables
from seqcls_beam.runs.table import open_labels, read_manifest
from tests import forked, shown, tiny
from tests.announcing.listening import Listener, listening
from tests.corpora import texts, write_jsonl
from tests.messages import Message
from tests.prepared import labelled
from tests.runs.streams import append
from tests.runs.streams import prepared as stream

pytestmark = pytest.mark.engine

TABLE = "lake:reviews.labels"
SLOW = """
import time
import seqcls_beam.transforms.classify as classify
read = classify.read_unit_again
def slow(unit, layout):
    for batch in read(unit, layout):
        yield batch
        time.sleep(60)
classify.read_unit_again = slow
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("announce")
    (made / "tmp").mkdir()
    tiny.checkpoint(made / "model")
    tiny.checkpoint(made / "other", labels=("bad", "good"))
    rows = labelled(texts(60, longest=8))
    for row in rows:
        row["label"] = {"no": "negative", "yes": "positive"}[row["label"]]
    write_jsonl(made / "in.jsonl", [*rows, {"id": "bad", "text": None}])
    return made


@pytest.fixture(scope="module")
def warm(folder: Path) -> Iterator[forked.Warm]:
    with forked.Warm(folder / "said", TMPDIR=str(folder / "tmp"), PYTHONWARNINGS="ignore") as made:
        yield made


@pytest.fixture
def server() -> Iterator[Listener]:
    with listening() as made:
        yield made


@pytest.fixture
def catalog(tmp_path, monkeypatch) -> Catalog:
    (tmp_path / "lake").mkdir()
    told = {"uri": f"sqlite:///{tmp_path}/lake/catalog.db", "warehouse": f"file://{tmp_path}/lake/warehouse"}
    for key, value in told.items():
        monkeypatch.setenv(f"PYICEBERG_CATALOG__LAKE__{key.upper()}", value)
    return load_catalog("lake", **told)


def words(folder: Path, out: Path, *flags: str, model: str = "model") -> list[str]:
    return [f"--input={folder}/in.jsonl", f"--model={folder}/{model}", f"--output={out}", "--threads=1", *flags]


def run(folder: Path, out: Path, *flags: str, code: int = 0, model: str = "model") -> dict[str, Any]:
    """Label, and the document of that."""
    said = out.parent / "said.json"
    assert classify.main([*words(folder, out, *flags, model=model), f"--json={said}"]) == code
    return dict(json.loads(said.read_text()))


def manifest(out: Path, partition: str = "") -> dict[str, Any]:
    found = read_manifest(str(out), partition)
    assert found is not None
    return found


def rows(catalog: Catalog, table: str = TABLE) -> list[tuple[str, str]]:
    """Of an Iceberg table, by reading its files."""
    found = catalog.load_table(table.partition(":")[2]).scan().to_arrow()
    return sorted(zip(found["id"].to_pylist(), found["label"].to_pylist(), strict=True))


def published(out: Path) -> list[tuple[str, str]]:
    table = open_labels(str(out)).to_table()
    return sorted(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))


def figure(place: Path, name: str) -> float:
    """A figure without labels of its own, of the one file in a folder."""
    (file,) = place.glob("*.prom")
    families = text_string_to_metric_families(file.read_text())
    (value,) = [each.value for family in families for each in family.samples if each.name == name]
    return float(value)


def commanded(said: str) -> list[str]:
    """The words behind `announce` in a sentence that says how to tell platforms again."""
    (found,) = re.findall(r"python -m pipelines\.announce (.*?) tells it again", said)
    return shlex.split(found)


def nowhere() -> str:
    """A URL where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


IDS = ["--id_column=id", "--keep_columns="]


def test_the_page_runs_as_it_stands(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inbox").mkdir()
    write_jsonl(tmp_path / "inbox" / "a.jsonl", [{"text": text} for text in texts(12)])
    (block,) = [each for each in shown.blocks(forked.ROOT / "docs" / "platforms.md") if each.language == "sh"]
    said = shown.run(block.body, shown.environment(tmp_path))
    assert "warning" not in said and said.count("run_date=2026-11-20  version 1: openlineage, prometheus, iceberg") == 1
    counts = {name: int(number) for name, number in re.findall(r"^(negative|positive) +(\d+)$", said, re.MULTILINE)}
    table = open_labels("labelled").to_table()["label"].to_pylist()
    assert counts == {name: table.count(name) for name in set(table)} and len(table) == 12
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 2


def test_every_platform_is_told_and_told_again(folder, tmp_path, monkeypatch, server, catalog, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "figures").mkdir()
    out, places = tmp_path / "out", {"openlineage": server.url, "otlp": server.url, "iceberg": TABLE}
    flags = [*IDS, *(f"--{name}={where}" for name, where in places.items()), "--prometheus=figures"]
    said = run(folder, out, *flags)
    told = dict.fromkeys(("openlineage", "prometheus", "otlp", "iceberg"), "told")
    assert said["runs"][0]["platforms"] == told and said["warnings"] == []
    made = manifest(out)
    assert made["platforms"] == {**places, "prometheus": f"{tmp_path}/figures"}, "in any folder it is the same one"
    plain = run(folder, tmp_path / "plain", *IDS)
    assert plain["runs"][0]["run_id"] == made["run_id"] and "platforms" not in plain["runs"][0]
    assert "platforms" not in manifest(tmp_path / "plain")

    start, complete = server.events
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"] and start["eventTime"] == made["started"]
    (name,) = [each["name"] for each in start["inputs"] if each["name"].endswith("in.jsonl")]
    assert name == f"{folder}/in.jsonl"
    output = next(each for each in complete["outputs"] if each["name"] == str(out))
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 60
    assert [path for path, _ in server.got].count("/v1/metrics") == 1
    assert figure(tmp_path / "figures", "seqcls_beam_published_version") == 1
    assert rows(catalog) == published(out) and len(rows(catalog)) == 60

    (file,) = (tmp_path / "figures").iterdir()
    figures, snapshots = file.read_bytes(), catalog.load_table("reviews.labels").snapshots()
    metrics = [body for path, body in server.got if path == "/v1/metrics"]
    capsys.readouterr()
    monkeypatch.chdir("/")
    assert announce.main([str(out)]) == 0, "without a flag: the manifest knows"
    assert "the table without partitions  version 1: openlineage, prometheus, otlp, iceberg" in capsys.readouterr().out
    again = [each for each in server.events[2:] if each["eventType"] == "COMPLETE"]
    assert again == [complete] and file.read_bytes() == figures
    assert [body for path, body in server.got if path == "/v1/metrics"] == metrics * 2
    assert catalog.load_table("reviews.labels").snapshots() == snapshots

    count = len(server.got)
    assert run(folder, out, *IDS)["runs"][0]["platforms"] == {"iceberg": "told"}, "a table that has its rows"
    assert len(server.got) == count, "nobody asked for the others"
    again = run(folder, out, *IDS, f"--otlp={server.url}")["runs"][0]
    assert again["platforms"] == {"otlp": "told", "iceberg": "told"} and again["already_published"]
    assert len(server.got) == count + 1
    assert catalog.load_table("reviews.labels").snapshots() == snapshots


@pytest.mark.parametrize(
    ("main", "flags", "said"),
    [
        (classify.main, ["--openlineage=nowhere/at/all/events"], "--openlineage="),
        (classify.main, ["--iceberg=labels"], "--iceberg=labels is no table"),
        (classify.main, ["--bigquery=labels"], "--bigquery=labels: BigQuery loads from gs:// alone"),
        (classify.main, ["--otlp=http://a:b@host"], "--otlp=http://host holds a password"),
        (prepare.main, ["--prometheus=/nowhere"], "--prometheus=/nowhere: there is no folder /nowhere"),
        (evaluate.main, ["--prometheus=/nowhere"], "--prometheus=/nowhere: there is no folder /nowhere"),
        (prepare.main, ["--iceberg=a.b"], "unknown flag --iceberg=a.b"),
    ],
)
def test_what_is_misspelled_ends_a_command_before_its_work(folder, tmp_path, capsys, main, flags, said):
    given = [f"--input={folder}/in.jsonl", f"--output={tmp_path}/out"]
    assert main([*given, *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and not (tmp_path / "out").exists()


def test_a_platform_that_is_down_is_told_later(folder, tmp_path, monkeypatch, catalog, capsys):
    """The table of a catalog whose disk is away, and a server that nobody answers for: a warning, and code 0."""
    uri, out = os.environ["PYICEBERG_CATALOG__LAKE__URI"], tmp_path / "out"
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__URI", f"sqlite:///{tmp_path}/away/catalog.db")
    (tmp_path / "figures").mkdir()
    flags = [*IDS, f"--iceberg={TABLE}", f"--otlp={nowhere()}", f"--prometheus={tmp_path}/figures"]
    said = run(folder, out, *flags)
    became = said["runs"][0]["platforms"]
    assert (
        became["prometheus"] == "told" and "sqlite" in became["iceberg"] and "nothing listens there" in became["otlp"]
    )
    (warning,) = said["warnings"]
    assert "otlp was not told: " in warning and "; iceberg was not told: " in warning
    assert commanded(warning) == [str(out), f"--otlp={flags[-2].partition('=')[2]}", f"--iceberg={TABLE}"]
    assert capsys.readouterr().err.count("warning: ") == 1
    assert len(published(out)) == 60
    assert announce.main([str(out), f"--json={tmp_path}/again.json"]) == 1
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["versions"][0]["platforms"].keys() == became.keys() and len(again["warnings"]) == 2
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__URI", uri)
    with listening() as server:
        assert announce.main([str(out), f"--otlp={server.url}", f"--iceberg={TABLE}"]) == 0, "a flag in its place"
        assert len(server.got) == 1
    assert rows(catalog) == published(out)


def test_a_run_that_is_killed_before_it_tells_is_told_by_announce(folder, tmp_path, warm, server, catalog, capsys):
    out, flags = tmp_path / "out", [*IDS, f"--openlineage={server.url}", f"--iceberg={TABLE}"]
    setup = "import os; from pipelines import labelling; labelling.published = lambda *_: os._exit(9)"
    assert warm.run(["classify", *words(folder, out, *flags)], setup=setup, **lake()).code == 9
    assert server.kinds == ["START"] and len(published(out)) == 60 and catalog.list_namespaces() == []
    assert announce.main([str(out)]) == 1, "a manifest alone makes no table"
    assert announce.main(commanded(capsys.readouterr().err)) == 0
    assert server.kinds[-1] == "COMPLETE" and rows(catalog) == published(out)
    assert {each["run"]["runId"] for each in server.events} == {server.events[0]["run"]["runId"]}


def dying(when: str) -> str:
    """Before or after the table is told, while old files are still there."""
    return f"""
import os, signal
from seqcls_beam.announcing import platforms
was = platforms.placed
def placed(output, partition, number, manifest):
    if "{when}" == "after":
        was(output, partition, number, manifest)
    os.kill(os.getpid(), signal.SIGKILL)
platforms.placed = placed
"""


def lake() -> dict[str, str]:
    """The catalog, for another process."""
    return {name: value for name, value in os.environ.items() if name.startswith("PYICEBERG_")}


@pytest.mark.parametrize("then", ["announce", "again", "relabel", "clean", "approve", "other"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_is_killed_as_it_replaces_another(folder, tmp_path, warm, catalog, when, then):
    """Whatever is started next leaves the one right state, though it names no table."""
    out = tmp_path / "out"
    run(folder, out, *IDS, f"--iceberg={TABLE}")
    before = rows(catalog)
    again = words(folder, out, *IDS, "--overwrite", model="other")
    assert warm.run(["classify", *again], setup=dying(when), **lake()).code == -signal.SIGKILL
    assert list((out / "labels").glob("*-v1-*")), "nothing was swept"
    seen = rows(catalog)
    assert seen == (before if when == "before" else published(out)), "one or the other, whole"
    match then:
        case "announce":
            assert announce.main([str(out)]) == 0
        case "again":
            assert run(folder, out, *IDS, "--overwrite", model="other")["runs"][0]["already_published"]
        case "relabel":
            assert "runs" not in run(folder, out, *IDS, "--relabel", model="other"), "there is nothing to label"
        case "clean":
            assert clean.main([str(out), "--remove"]) == 0
        case "approve":
            assert approve.main([str(out), "--max_rejected=1"]) == 0
        case "other":  # a run that fails: what was published before it is whole
            run(folder, out, *IDS, "--overwrite", "--max_rejected=0", code=1)
    assert rows(catalog) == published(out) != before
    assert not list((out / "labels").glob("*-v1-*"))
    numbers = [each.summary["seqcls_beam.version"] for each in catalog.load_table("reviews.labels").snapshots()]
    assert numbers == ["1", "2"], "one snapshot each"


def test_a_night_that_is_taken_away_by_a_process_that_is_killed(folder, tmp_path, warm, catalog):
    out = tmp_path / "out"
    for date in ("2026-01-30", "2026-01-31"):
        run(folder, out, *IDS, f"--iceberg={TABLE}", f"--run_date={date}")
    remove = [str(out), "--before=2026-01-31", "--remove"]
    assert warm.run(["clean", *remove], setup=dying("before"), **lake()).code == -signal.SIGKILL
    assert len(rows(catalog)) == 120
    assert clean.main(remove) == 0
    assert rows(catalog) == published(out) and len(rows(catalog)) == 60


@pytest.mark.parametrize("night", ["", "2026-01-31"])
def test_what_is_said_of_a_table_is_said_once_and_leads_there(folder, tmp_path, catalog, monkeypatch, capsys, night):
    out, flags = tmp_path / "out", [*IDS, *([f"--run_date={night}"] if night else [])]
    run(folder, out, *flags, f"--iceberg={TABLE}")
    with monkeypatch.context() as away:
        away.setenv("PYICEBERG_CATALOG__LAKE__URI", f"sqlite:///{tmp_path}/away/catalog.db")
        (warning,) = run(folder, out, *flags, "--overwrite", model="other")["warnings"]
    assert warning.startswith("iceberg was not told: ") and capsys.readouterr().err.count("iceberg was not told") == 1
    assert commanded(warning) == [str(out), *([f"--run_date={night}"] if night else [])], "OUT knows its tables"
    assert announce.main(commanded(warning)) == 0
    assert rows(catalog) == published(out)
    if night:
        with monkeypatch.context() as away:
            away.setenv("PYICEBERG_CATALOG__LAKE__URI", f"sqlite:///{tmp_path}/away/catalog.db")
            assert clean.main([str(out), "--before=2026-02-01", "--remove"]) == 0
        said = capsys.readouterr().err
        assert said.count("iceberg was not told") == 1 and f"warning: run_date={night}: iceberg was not told" in said
        assert announce.main(commanded(said)) == 0
        assert rows(catalog) == []


def test_the_command_that_is_printed_tells_what_a_key_keeps_away(folder, tmp_path, monkeypatch, capsys):
    """A server that was down, and gets a key: of a manifest alone it is not told."""
    out, url = tmp_path / "out", nowhere()
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "the-key")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=the-key")
    said = run(folder, out, *IDS, f"--openlineage={url}", f"--otlp={url}")["warnings"][-1]
    assert announce.main([str(out)]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert commanded(said) == commanded(last) == [str(out), f"--openlineage={url}", f"--otlp={url}"]
    with listening(port=int(url.rpartition(":")[2])) as server:
        assert announce.main(commanded(last)) == 0
        assert server.kinds == ["START", "COMPLETE"] and len(server.got) == 3


def test_what_replaces_rows_of_a_table_goes_there_too(folder, tmp_path, catalog):
    out = tmp_path / "out"
    run(folder, out, *IDS, f"--iceberg={TABLE}")
    said = run(folder, out, *IDS, "--overwrite", model="other")
    assert said["runs"][0]["platforms"] == {"iceberg": "told"} and said["warnings"] == []
    assert "platforms" not in manifest(out) and tables.known(str(out)) == [TABLE]
    assert rows(catalog) == published(out) and {label for _, label in rows(catalog)} <= {"bad", "good"}
    table = catalog.load_table("reviews.labels")
    assert [each.summary["seqcls_beam.version"] for each in table.snapshots()] == ["1", "2"]


def test_nights_are_told_each_and_one_without_rows_too(folder, tmp_path, server, catalog, capsys):
    out = tmp_path / "out"
    flags = [*IDS, "--only_new", f"--openlineage={server.url}", f"--iceberg={TABLE}"]
    run(folder, out, *flags, "--run_date=2026-01-30..2026-01-31")
    assert server.kinds == ["START", "COMPLETE", "START", "COMPLETE"]
    times = [each["run"]["facets"]["nominalTime"]["nominalStartTime"][:10] for each in server.events]
    assert times == ["2026-01-30"] * 2 + ["2026-01-31"] * 2
    assert manifest(out, "run_date=2026-01-31")["rows"]["in"] == 0
    assert rows(catalog) == published(out) and len(rows(catalog)) == 60
    run(folder, out, "--relabel", *IDS, model="other")
    assert rows(catalog) == published(out) and {label for _, label in rows(catalog)} <= {"bad", "good"}
    count = len(server.got)
    assert announce.main([str(out), "--run_date=2026-01-30"]) == 0
    assert len(server.got) == count, "what was labelled again named the table alone, which goes on"
    assert announce.main([str(out), "--run_date=2026-02-01"]) == 1
    assert f"{out} has no run_date=2026-02-01: the first is run_date=2026-01-30" in capsys.readouterr().err
    assert announce.main([str(out), "--run_date=yesterday"]) == 2


def edit(out: Path, partition: str, **keys: Any) -> None:
    """Change what a version says."""
    (file,) = (out / "_versions" / partition).glob("*.json")
    file.chmod(0o644)
    file.write_text(json.dumps({**json.loads(file.read_text()), **keys}))


def test_a_manifest_that_is_broken_stops_none_of_the_others(folder, tmp_path, capsys):
    (tmp_path / "figures").mkdir()
    out = tmp_path / "out"
    for day in range(1, 5):
        run(folder, out, *IDS, f"--run_date=2026-01-0{day}", f"--openlineage={tmp_path}/events")
    edit(out, "run_date=2026-01-01", platforms={"otlp": ["http://host"]})
    edit(out, "run_date=2026-01-02", rows=[5], label_counts="x", finished=7, seconds=None, versions=3)
    edit(out, "run_date=2026-01-03", format_version=99)
    (tmp_path / "events").unlink()
    capsys.readouterr()
    assert announce.main([str(out), f"--prometheus={tmp_path}/figures"]) == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.err and len(said.err.splitlines()) == 4
    assert "run_date=2026-01-01: `platforms` of the manifest has otlp: ['http://host'], which no command" in said.err
    assert "run_date=2026-01-02: openlineage was not told: " in said.err
    assert "run_date=2026-01-03 is told nobody: " in said.err and "its format_version is 99" in said.err
    assert "run_date=2026-01-04  version 1: openlineage, prometheus" in said.out
    assert "run_date=2026-01-01  version 1: prometheus" in said.out
    lines = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert {each["run"]["facets"]["nominalTime"]["nominalStartTime"][:10] for each in lines} == {"2026-01-04"}


def test_a_platform_that_is_down_is_not_waited_for_at_every_night(folder, tmp_path, capsys):
    out = tmp_path / "out"
    for day in range(1, 5):
        run(folder, out, *IDS, f"--run_date=2026-01-0{day}")
    capsys.readouterr()
    assert announce.main([str(out), f"--otlp={nowhere()}", f"--openlineage={tmp_path}/events"]) == 1
    said = capsys.readouterr().err
    assert said.count("otlp was not told: ") == 2 and said.count("otlp was left out") == 2
    assert len((tmp_path / "events").read_text().splitlines()) == 8, "the other one was told of all"


def test_who_names_nobody_tells_nobody(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert announce.main([str(out)]) == 1
    assert "holds nothing that a command published" in capsys.readouterr().err
    run(folder, out, *IDS)
    assert announce.main([str(out)]) == 2
    assert f"no platform is named, and none is remembered in {out}" in capsys.readouterr().err


def test_a_table_that_came_after_a_run_goes_on_with_what_replaces_it(folder, tmp_path, catalog):
    """By a run that was published already, and by `announce`; no manifest names either."""
    out, other = tmp_path / "out", f"{TABLE}2"
    days = [f"--run_date=2026-01-{day}" for day in (30, 31)]
    for day in days:
        run(folder, out, *IDS, day)
        assert run(folder, out, *IDS, day, f"--iceberg={TABLE}")["runs"][0]["already_published"]
    assert announce.main([str(out), f"--iceberg={other}"]) == 0
    assert "platforms" not in manifest(out, "run_date=2026-01-31")
    assert run(folder, out, *IDS, days[1], "--overwrite", model="other")["warnings"] == []
    assert rows(catalog) == published(out) == rows(catalog, other) and len(published(out)) == 120
    assert clean.main([str(out), "--before=2026-01-31", "--remove"]) == 0
    assert rows(catalog) == published(out) == rows(catalog, other) and len(published(out)) == 60
    assert "platforms" in run(folder, out, *IDS, days[0], model="other")["runs"][0]
    assert rows(catalog) == published(out) == rows(catalog, other) and len(published(out)) == 120


def test_nothing_that_a_platform_is_told_of_is_no_mistake(folder, tmp_path, capsys):
    out = tmp_path / "out"
    run(folder, out, *IDS, "--run_date=2026-01-30")
    assert clean.main([str(out), "--before=2026-01-31", "--remove"]) == 0
    capsys.readouterr()
    assert announce.main([str(out), f"--openlineage={tmp_path}/events", f"--otlp={nowhere()}"]) == 0
    assert capsys.readouterr().err.splitlines() == [f"seqcls_beam: nothing in {out} is for openlineage, otlp"]
    assert announce.main([str(out)]) == 2


ODD = """
import warnings
from pyiceberg.catalog import Catalog
from seqcls_beam.announcing import iceberg
warnings.resetwarnings()
was = iceberg.tell
def tell(*args, **more):
    for module in ("pyiceberg.io", "sqlalchemy.sql"):
        warnings.warn_explicit("odd", UserWarning, "a.py", 1, module)
    was(*args, **more)
iceberg.tell = tell
"""


def test_a_catalog_s_own_warnings_are_not_shown(folder, tmp_path, monkeypatch, warm):
    """Its reason is: once, and with what it was to do."""
    out = tmp_path / "out"
    run(folder, out, *IDS)
    bad = {"PYICEBERG_CATALOG__BAD__PY_CATALOG_IMPL": "nowhere.Catalog"}
    for more, logged in (([], False), (["--log_level=INFO"], True)):
        done = warm.run(["announce", str(out), "--iceberg=bad:a.b", *more], setup=ODD, **bad)
        assert done.code == 1 and "iceberg was not told: --iceberg=bad:a.b: " in done.err
        assert ("pyiceberg.catalog: Could not initialize" in done.err) == logged and "odd" not in done.err


def test_a_signal_is_told_as_a_failure(folder, tmp_path, warm, server):
    it = warm.start(["classify", *words(folder, tmp_path / "out", f"--openlineage={server.url}")], setup=SLOW)
    it.until("seqcls_beam: run ")
    while not server.got:
        time.sleep(0.05)
    time.sleep(0.5)
    it.signal(signal.SIGTERM)
    done = it.wait()
    assert done.code == 143 and done.err.splitlines()[-1].startswith("seqcls_beam: told to end (SIGTERM): start the")
    assert server.kinds == ["START", "FAIL"]
    assert server.events[0]["run"]["runId"] == server.events[1]["run"]["runId"]
    assert server.events[1]["run"]["facets"]["errorMessage"]["message"] == "told to end (SIGTERM)"
    assert warm.run(["classify", *words(folder, tmp_path / "out", f"--openlineage={server.url}")]).code == 0
    assert server.kinds == ["START", "FAIL", "START", "COMPLETE"], "the same run goes on"
    assert len({each["run"]["runId"] for each in server.events}) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_no_server_that_hangs(folder, tmp_path, warm, number):
    with listening(hangs=True) as server:
        it = warm.start(["classify", *words(folder, tmp_path / "out", f"--openlineage={server.url}")], setup=SLOW)
        it.until("seqcls_beam: run ")
        while not server.got:
            time.sleep(0.05)
        began = time.monotonic()
        it.signal(number)
        done = it.wait()
        assert done.code == 128 + number and time.monotonic() - began < 10, done.err


HANGS = """
import sys, time
from seqcls_beam.announcing import platforms
def placed(*_):
    print("placing", file=sys.stderr, flush=True)
    time.sleep(40)
platforms.placed = placed
"""
"""What is to have a table let go of files."""


def test_a_signal_while_what_another_left_is_finished_says_what_was_not_told(folder, tmp_path, warm, catalog):
    out = tmp_path / "out"
    run(folder, out, *IDS, f"--iceberg={TABLE}")
    again = words(folder, out, *IDS, "--overwrite", model="other")
    assert warm.run(["classify", *again], setup=dying("before"), **lake()).code == -signal.SIGKILL
    it = warm.start(["approve", str(out), "--max_rejected=1"], setup=HANGS, **lake())
    it.until("placing")
    began = time.monotonic()
    it.signal(signal.SIGINT)
    done = it.wait()
    assert done.code == 130 and time.monotonic() - began < 10, done.err
    assert "iceberg was not told of its files: the command was told to end before it answered" in done.err
    assert announce.main(commanded(done.err)) == 0 and rows(catalog) == published(out)


@pytest.mark.parametrize("workers", [[], ["--direct_running_mode=multi_threading", "--direct_num_workers=2"]])
def test_a_signal_waits_for_no_catalog_that_hangs_while_files_are_replaced(folder, tmp_path, warm, catalog, workers):
    """It is decided: the code is 0, and the table is told when all is done."""
    out = tmp_path / "out"
    run(folder, out, *IDS, f"--iceberg={TABLE}")
    it = warm.start(
        ["classify", *words(folder, out, *IDS, "--overwrite", *workers, model="other")], setup=HANGS, **lake()
    )
    it.until("placing")
    began = time.monotonic()
    it.signal(signal.SIGINT)
    done = it.wait()
    assert done.code == 0 and time.monotonic() - began < 20, done.err
    assert ("told to end before it answered" in done.err) == bool(workers) and "Traceback" not in done.err
    assert rows(catalog) == published(out) and not list((out / "labels").glob("*-v1-*"))


def test_a_signal_while_a_server_hangs_over_what_is_published(folder, tmp_path, warm):
    """It is published: the code is 0, and the warning says what to do."""
    out = tmp_path / "out"
    with listening(hangs=True) as server:
        it = warm.start(["classify", *words(folder, out, f"--otlp={server.url}", f"--prometheus={tmp_path}")])
        while not server.got:
            time.sleep(0.05)
        began = time.monotonic()
        it.signal(signal.SIGTERM)
        done = it.wait()
        assert done.code == 0 and time.monotonic() - began < 10, done.err
    assert commanded(done.err) == [str(out), f"--otlp={server.url}"] and "otlp was not told: " in done.err
    assert open_labels(str(out)).count_rows() == 60


def test_a_run_that_fails_says_why(folder, tmp_path, server, capsys):
    flags = [f"--openlineage={server.url}", "--max_rejected=0"]
    assert classify.main(words(folder, tmp_path / "out", *flags)) == 1
    assert server.kinds == ["START", "FAIL"]
    message = server.events[1]["run"]["facets"]["errorMessage"]["message"]
    assert "max_rejected" in message and message in capsys.readouterr().err


def test_an_evaluation_is_told_from_its_beginning(folder, tmp_path, server, monkeypatch, capsys):
    (tmp_path / "figures").mkdir()
    given = [f"--input={folder}/in.jsonl", f"--model={folder}/model", "--bootstrap=0", "--threads=1"]
    where = [f"--openlineage={server.url}", f"--prometheus={tmp_path}/figures"]
    assert evaluate.main([*given, *where]) == 2
    assert "--openlineage needs --output" in capsys.readouterr().err
    out = f"--output={tmp_path}/out"
    assert evaluate.main([*given, *where, out, "--max_rejected=0"]) == 1
    assert server.kinds == ["START", "FAIL"]
    assert evaluate.main([*given, *where, out]) == 0
    assert server.kinds[2:] == ["START", "COMPLETE"]
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert "platforms" not in document and manifest(tmp_path / "out")["platforms"]["openlineage"] == server.url
    assert document["metrics"]["accuracy"]["value"] in _values(tmp_path / "figures")
    assert announce.main([f"{tmp_path}/out"]) == 0
    assert server.events[-1] == server.events[3]


def _values(place: Path) -> list[float]:
    (file,) = place.glob("*.prom")
    families = text_string_to_metric_families(file.read_text())
    return [each.value for family in families for each in family.samples]


def inputs(event: dict[str, Any]) -> set[str]:
    return {each["name"] for each in event["inputs"]}


def test_an_evaluation_of_labels_says_from_the_beginning_what_it_reads(folder, tmp_path, server):
    write_jsonl(tmp_path / "in.jsonl", [{"text": row["text"], "truth": "positive"} for row in labelled(texts(20))])
    given = [f"--input={tmp_path}/in.jsonl", f"--model={folder}/model", "--threads=1", "--keep_columns=truth"]
    assert classify.main([*given, f"--output={tmp_path}/labels"]) == 0
    given = [f"--labeled={tmp_path}/labels", "--label_column=truth", "--bootstrap=0", f"--output={tmp_path}/out"]
    assert evaluate.main([*given, f"--openlineage={server.url}"]) == 0
    start, complete = server.events
    assert inputs(start) == inputs(complete) and f"{tmp_path}/labels" in inputs(start)
    assert start["eventTime"] == json.loads((tmp_path / "out" / "evaluation.json").read_text())["started"]


def test_an_evaluation_is_published_whoever_can_be_told(folder, tmp_path, monkeypatch, capsys):
    from seqcls_beam.announcing import platforms

    def newest_of(output: str, partition: str) -> None:
        raise OSError(5, "Input/output error", f"{output}/evaluation.json")

    monkeypatch.setattr(platforms, "newest_of", newest_of)
    (tmp_path / "figures").mkdir()
    given = [f"--input={folder}/in.jsonl", f"--model={folder}/model", "--bootstrap=0", "--threads=1"]
    assert evaluate.main([*given, f"--output={tmp_path}/out", f"--prometheus={tmp_path}/figures"]) == 0
    said = capsys.readouterr().err
    assert "warning: platforms were not told: " in said and (tmp_path / "out" / "evaluation.json").exists()
    assert commanded(said) == [f"{tmp_path}/out", f"--prometheus={tmp_path}/figures"]
    monkeypatch.undo()
    assert announce.main(commanded(said)) == 0


def test_preparing_and_training_are_told(folder, tmp_path, server, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = [f"--openlineage={server.url}", f"--otlp={server.url}"]
    write_jsonl(tmp_path / "rows.jsonl", labelled(texts(80, longest=8)))
    given = [f"--input={tmp_path}/rows.jsonl", f"--model={folder}/model", "--num_shards=1"]
    assert prepare.main([*given, "--output=prepared", *where]) == 0
    assert server.kinds == ["START", "COMPLETE"] and manifest(tmp_path / "prepared")["platforms"]["otlp"] == server.url
    assert prepare.main([*given, "--output=plain"]) == 0
    assert manifest(tmp_path / "plain")["run_id"] == manifest(tmp_path / "prepared")["run_id"]
    data = [f"--data={tmp_path}/prepared", f"--model={folder}/model", "--epochs=0.2", "--device=cpu", "--threads=1"]
    assert finetune.main([*data, "--output=model", *where]) == 0
    assert server.kinds == ["START", "COMPLETE"] * 2
    start, complete = server.events[2:]
    assert start["eventTime"] == manifest(tmp_path / "model")["started"] and inputs(start) == inputs(complete)
    assert {f"{tmp_path}/prepared", f"{folder}/model"} <= inputs(start)
    assert manifest(tmp_path / "model")["platforms"] == {"openlineage": server.url, "otlp": server.url}
    assert [each["job"]["name"].partition(":")[0] for each in server.events] == ["prepare"] * 2 + ["finetune"] * 2
    assert [path for path, _ in server.got].count("/v1/metrics") == 2


def test_windows_are_told_as_they_are_sealed(tmp_path, server, catalog, capsys):
    out = stream(tmp_path / "out")
    append(out, Message("a", 0, text="a"), Message("b", 400_000_000, text="b"))
    assert seal.main([out, f"--openlineage={server.url}", f"--iceberg={TABLE}"]) == 0
    assert server.kinds == ["START", "COMPLETE"] * 2
    table = catalog.load_table("reviews.labels")
    assert sorted(table.scan().to_arrow()["message_id"].to_pylist()) == ["a", "b"]
    append(out, Message("c", 1, text="c"))
    assert seal.main([out]) == 0, "a window remembers who is told of it"
    assert server.kinds == ["START", "COMPLETE"] * 3
    assert sorted(table.refresh().scan().to_arrow()["message_id"].to_pylist()) == ["a", "b", "c"]
    append(out, Message("d", 2, text="d"), Message("e", 400_000_001, text="e"), Message("f", 800_000_000, text="f"))
    capsys.readouterr()
    url = nowhere()
    assert seal.main([out, f"--otlp={url}"]) == 0
    said = capsys.readouterr().err
    assert said.count("warning: otlp was not told: ") == 1
    assert "platforms were not told of 3 windows; " in said and commanded(said) == [out, f"--otlp={url}"]


def test_a_table_that_came_after_windows_goes_on_with_those_that_are_sealed(tmp_path, catalog, capsys):
    out = stream(tmp_path / "out")
    append(out, Message("a", 0, text="a"))
    assert seal.main([out]) == 0 and announce.main([out, f"--iceberg={TABLE}"]) == 0
    append(out, Message("late", 1_000_000, text="b"), Message("b", 400_000_000, text="c"))
    assert seal.main([out]) == 0
    assert "warning" not in capsys.readouterr().err
    found = catalog.load_table("reviews.labels").scan().to_arrow()
    assert (
        sorted(found["message_id"].to_pylist())
        == ["a", "b", "late"]
        == sorted(open_labels(out).to_table()["message_id"].to_pylist())
    )
