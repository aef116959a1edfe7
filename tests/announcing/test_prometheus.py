"""Figures in the folder of node_exporter, read by Prometheus' own parser, its linter, and node_exporter."""

import fcntl
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqcls_beam.announcing import prometheus
from seqcls_beam.announcing.published import PlatformError
from tests.announcing.told import values, version

parser = pytest.importorskip("prometheus_client.parser")


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value
        for family in parser.text_string_to_metric_families(text)
        for each in family.samples
    }


def told(folder: Path) -> str:
    (file,) = folder.iterdir()
    return file.read_text()


def partition(folder: Path) -> tuple[str, float]:
    found = {name: (dict(labels), value) for (name, labels), value in samples(told(folder)).items()}
    return found["seqcls_beam_run_info"][0]["partition"], found["seqcls_beam_published_version"][1]


def test_all_figures_are_there_and_nothing_else(tmp_path):
    announced = version(label_counts={'a "b"\\': 1, "c\nd": 2, "é, {}=#": 3})
    prometheus.tell(str(tmp_path), announced)
    found = samples(told(tmp_path))
    assert len(found) == len(values(announced))
    base = {"output": "/data/out", "kind": "classify", "partition_key": "run_date"}
    assert found["seqcls_beam_rows", tuple(sorted({**base, "outcome": "labeled"}.items()))] == 90
    labels = {dict(labels)["label"]: value for (name, labels), value in found.items() if name.endswith("label_rows")}
    assert labels == {'a "b"\\': 1, "c\\nd": 2, "é, {}=#": 3}
    families = list(parser.text_string_to_metric_families(told(tmp_path)))
    assert {family.type for family in families} == {"gauge"} and all(family.documentation for family in families)
    assert not any(each.timestamp for family in families for each in family.samples)


def test_the_file_is_readable_whatever_the_mask_says(tmp_path):
    before = os.umask(0o077)
    try:
        prometheus.tell(str(tmp_path), version())
    finally:
        os.umask(before)
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644 and file.suffix == ".prom"


def test_told_again_nothing_is_written(tmp_path):
    prometheus.tell(str(tmp_path), version())
    (file,) = tmp_path.iterdir()
    before = file.stat()
    prometheus.tell(str(tmp_path), version())
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize(
    ("first", "second", "stays"),
    [
        (("run_date=2026-01-31", 1, "02"), ("run_date=2026-02-01", 1, "03"), False),
        (("run_date=2026-02-01", 1, "03"), ("run_date=2026-01-31", 7, "04"), True),  # an older night labelled again
        (("run_date=2026-01-31", 2, "03"), ("run_date=2026-01-31", 1, "02"), True),  # told late
        (("run_date=2026-01-31", 1, "02"), ("run_date=2026-01-31", 2, "03"), False),
        (("run_date=2026-01-31", 1, "03"), ("run_date=2026-01-31", 2, "02"), False),  # by a clock that is behind
        (("run_date=2026-01-31", 9, "02"), ("run_date=2026-01-31", 1, "03"), False),  # removed, and made anew
        (("window=20260131T235500Z", 1, "02"), ("window=20260131T235000Z", 3, "03"), True),
        (("", 2, "02"), ("", 3, "03"), False),
    ],
)
def test_the_newest_partition_is_told(tmp_path, first, second, stays):
    for part, number, hour in (first, second):
        prometheus.tell(str(tmp_path), version(partition=part, number=number, finished=f"2026-02-01T{hour}:00:00Z"))
    assert partition(tmp_path) == (first if stays else second)[:2]


def test_outputs_that_look_alike_have_files_of_their_own(tmp_path):
    names = [
        "/data/out",
        "/data/out.",
        "/data/OUT",
        "s3://data/out",
        "/data/öut",
        "/data/" + "o" * 300,
        "/",
        "/data/\udcff",
    ]
    made = [version(output=name, partition=part) for name in names for part in ("run_date=2026-01-31", "window=x", "")]
    for each in made:
        prometheus.tell(str(tmp_path), each)
    files = list(tmp_path.iterdir())
    assert len(files) == len(made) and all(len(each.name) < 80 and each.name.isascii() for each in files)
    found = [key for each in files for key in samples(each.read_text())]
    assert len(set(found)) == len(found)  # no series twice, which node_exporter refuses


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"x{", b"seqcls_beam_run_info 1\n", b'a{b="c} 1\n', b"a b c d\n"]
)
def test_what_nobody_wrote_here_is_replaced(tmp_path, content):
    (tmp_path / prometheus.file_name(version())).write_bytes(content)
    prometheus.tell(str(tmp_path), version())
    assert partition(tmp_path) == ("run_date=2026-01-31", 1)


def test_of_many_at_once_the_newest_stays(tmp_path):
    made = [version(partition=f"run_date=2026-01-{day:02d}") for day in range(1, 25)]
    threads = [threading.Thread(target=prometheus.tell, args=(str(tmp_path), each)) for each in made[::-1] + made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert partition(tmp_path) == ("run_date=2026-01-24", 1)


@pytest.mark.parametrize("call", [prometheus.ensure, lambda where: prometheus.tell(where, version())])
@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("gs://bucket/metrics", "'gs://bucket/metrics' is no folder of this machine"),
        ("http://me:secret@host:9091", "'http://host:9091' is no folder of this machine"),
        ("", "'' is no folder of this machine"),
        ("{tmp}/nowhere", "there is no folder {tmp}/nowhere: make it"),
        ("{tmp}/file", "there is no folder {tmp}/file: make it"),
    ],
)
def test_a_folder_that_is_none(tmp_path, call, where, said):
    (tmp_path / "file").touch()
    with pytest.raises(PlatformError) as error:
        call(where.format(tmp=tmp_path))
    assert str(error.value).startswith(said.format(tmp=tmp_path)) and "secret" not in str(error.value)


@pytest.mark.parametrize("call", [prometheus.ensure, lambda where: prometheus.tell(where, version())])
def test_a_folder_that_takes_no_file(call):
    where = "/proc/self/fdinfo"  # of nobody, not even of root
    with pytest.raises(PlatformError, match=rf"^figures cannot be written to {where} \([^)]+\): let this user write"):
        call(where)


def test_a_folder_in_the_place_of_the_file(tmp_path):
    (tmp_path / prometheus.file_name(version())).mkdir()
    with pytest.raises(PlatformError, match="is a folder, where a file is due: move it away"):
        prometheus.tell(str(tmp_path), version())


def test_a_file_that_another_process_holds_is_not_waited_for(tmp_path, monkeypatch):
    assert prometheus.SECONDS <= 10
    others = set(threading.enumerate())
    monkeypatch.setattr(prometheus, "SECONDS", 0.5)
    prometheus.tell(str(tmp_path), version())
    before = told(tmp_path)
    (path,) = tmp_path.iterdir()
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        began = time.monotonic()
        with pytest.raises(PlatformError, match=r"was not written in 0 seconds: .* another process holds it") as error:
            prometheus.tell(str(tmp_path), version(number=2))
        assert time.monotonic() - began < 5 and str(path) in str(error.value)
        assert told(tmp_path) == before
    for each in set(threading.enumerate()) - others:
        each.join(20)
    assert told(tmp_path) != before, "what was left behind did what was to be done"


def test_looking_leaves_nothing(tmp_path):
    prometheus.ensure(str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", [prometheus.ensure, lambda where: prometheus.tell(where, version())])
def test_without_its_package(tmp_path, monkeypatch, call):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(
        PlatformError, match=r"prometheus_client is not installed \(pip install 'seqcls_beam\[prometheus"
    ):
        call(str(tmp_path))


def test_its_linter_has_nothing_to_say(tmp_path):
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed")
    everything = version(
        splits={"train": {"rows": 1, "tokens": 2, "truncated_rows": 3, "label_counts": {"a": 1}}},
        metrics={"accuracy": {"value": 0.5, "ci": [0.4, 0.6]}},
        gates=[{"gate": "min_accuracy", "passed": True}],
        messages={"distinct": 1, "duplicates": 2, "last": "2026-01-31T00:00:00Z"},
    )
    prometheus.tell(str(tmp_path), everything)
    done = subprocess.run(
        [promtool, "check", "metrics"], input=told(tmp_path), capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def exporter(tmp_path) -> Iterator[str]:
    """The URL of a node_exporter that reads the folder, and nothing else."""
    if (command := shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")) is None:
        pytest.skip("node_exporter is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = [f"--web.listen-address={address}", f"--collector.textfile.directory={tmp_path}"]
    with subprocess.Popen(
        [command, *options, "--collector.disable-defaults", "--collector.textfile"], stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield f"http://{address}/metrics"
        finally:
            process.terminate()


def scraped(url: str) -> str:
    over = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > over:
                raise
            time.sleep(0.1)


def test_a_node_exporter_gives_what_was_told(tmp_path, exporter):
    model = version({"kind": "finetune", "run_id": "r", "finished": "2026-01-31T00:00:00Z"}, "/data/model", "")
    for each in (version(), version(output="s3://bucket/out", partition="window=20260131T000000Z"), model):
        prometheus.tell(str(tmp_path), each)
    found = samples(scraped(exporter))
    assert found["node_textfile_scrape_error", ()] == 0
    there = [samples(file.read_text()) for file in tmp_path.iterdir()]
    assert len(there) == 3
    for (name, labels), value in (item for each in there for item in each.items()):
        kept = tuple(item for item in labels if item[1])  # an empty label is none
        given = {tuple(i for i in key[1] if i[1]): number for key, number in found.items() if key[0] == name}
        assert given[kept] == value
