"""Figures as a collector gets them, decoded from the wire; and collectors that are down, slow, or never end."""

import logging
import socket
import ssl
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import groupby
from typing import Any

import pytest

pytest.importorskip("opentelemetry.proto")

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from seqcls_beam.announcing import otlp, posting
from seqcls_beam.announcing.figures import figures
from seqcls_beam.announcing.published import PlatformError
from tests.announcing.collector import certificate, collecting, ok
from tests.announcing.told import COMMON, values, version

OK = ok(ExportMetricsServiceResponse().SerializeToString())
FINISHED = int(datetime(2026, 2, 1, 1, 2, 3, tzinfo=UTC).timestamp()) * 10**9


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """An environment that says nothing, and no waiting."""
    for name in ("ENDPOINT", "HEADERS", "PROTOCOL", "COMPRESSION", "CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"):
        for what in ("", "METRICS_"):
            monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{what}{name}", raising=False)
    for name in ("OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(posting, "PAUSE", 0.01)


@pytest.fixture
def hurried(monkeypatch):
    """A request has a second."""
    monkeypatch.setattr(posting, "SECONDS", 1.0)


def attributes(of: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in of}


def error_of(where: str) -> str:
    with pytest.raises(PlatformError) as error:
        otlp.tell(where, version())
    return str(error.value)


@pytest.mark.parametrize("packing", ["gzip", "none", ""])
def test_a_collector_gets_all_figures(monkeypatch, packing):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", packing)
    with collecting(OK) as collector:
        otlp.tell(collector.url, version())
    (sent,) = collector.sent
    assert sent.path == "/v1/metrics" and sent.headers["content-type"] == "application/x-protobuf"
    assert sent.headers.get("content-encoding") == ("gzip" if packing == "gzip" else None)
    (group,) = sent.request.resource_metrics
    assert attributes(group.resource.attributes) == {
        "service.name": "seqcls_beam",
        "service.version": "0.1.0",
        "seqcls_beam.run_id": "0123456789abcdef0123456789abcdef",
        "seqcls_beam.output": "/data/out",
        "seqcls_beam.kind": "classify",
        "seqcls_beam.partition": "run_date=2026-01-31",
    }
    (scope,) = group.scope_metrics
    found = {}
    for metric in scope.metrics:
        assert metric.WhichOneof("data") == "gauge" and metric.description
        for point in metric.gauge.data_points:
            assert point.time_unix_nano == FINISHED
            own = {name: value for name, value in attributes(point.attributes).items() if name not in COMMON}
            said = ",".join(f"{name}={value}" for name, value in own.items())
            info = metric.name == "seqcls_beam_run_info"
            found[metric.name.removeprefix("seqcls_beam_") + (f"{{{said}}}" if own and not info else "")] = (
                point.as_double
            )
            assert attributes(point.attributes)["output"] == "/data/out"
    assert found == values(version())
    units = {metric.name: metric.unit for metric in scope.metrics}
    assert units["seqcls_beam_stage_seconds"] == "s" and units["seqcls_beam_input_bytes"] == "By"


def test_the_sdk_would_say_it_so():
    encoder = pytest.importorskip("opentelemetry.exporter.otlp.proto.common.metrics_encoder")
    sdk = pytest.importorskip("opentelemetry.sdk.metrics.export")
    of = pytest.importorskip("opentelemetry.sdk.util.instrumentation")
    resources = pytest.importorskip("opentelemetry.sdk.resources")
    metrics = []
    for name, same in groupby(figures(version()), lambda figure: figure.name):
        told = list(same)
        points = [sdk.NumberDataPoint({k: v for k, v in each.labels if v}, None, FINISHED, each.value) for each in told]
        metrics.append(sdk.Metric(name, told[0].help, told[0].unit, sdk.Gauge(points)))
    scope = sdk.ScopeMetrics(of.InstrumentationScope("seqcls_beam", "0.1.0"), metrics, "")
    ours = ExportMetricsServiceRequest.FromString(otlp.message(version()))
    resource = resources.Resource(attributes(ours.resource_metrics[0].resource.attributes))
    theirs = encoder.encode_metrics(sdk.MetricsData([sdk.ResourceMetrics(resource, [scope], "")]))
    assert theirs == ours


def test_told_again_it_is_the_same(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with collecting(OK) as collector:
        otlp.tell(collector.url, version())
        time.sleep(1.1)
        otlp.tell(collector.url, version())
    assert collector.sent[0] == collector.sent[1]


@pytest.mark.parametrize("where", ["env", "{}", "{}/", "{}/v1/metrics"])
def test_where_and_with_which_keys(monkeypatch, where):
    with collecting(OK) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{collector.url}/")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b%2C, Authorization = Bearer%20x ,")
        otlp.tell(where.format(collector.url), version())
    (sent,) = collector.sent
    assert sent.path == "/v1/metrics"
    assert (sent.headers["api-key"], sent.headers["authorization"]) == ("a b,", "Bearer x")


def test_what_is_said_of_metrics_goes_first(monkeypatch):
    with collecting(OK) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{collector.url}/own/path")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "a=1")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=2")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "nights")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=prod%20eu,service.name=other")
        otlp.tell("env", version())
    (sent,) = collector.sent
    assert (sent.path, sent.headers["a"], sent.headers["content-encoding"]) == ("/own/path", "2", "gzip")
    found = attributes(sent.request.resource_metrics[0].resource.attributes)
    assert (found["service.name"], found["deployment.environment"]) == ("nights", "prod eu")


def test_the_default_is_that_of_the_standard():
    assert otlp._way("env").url == "http://localhost:4318/v1/metrics"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ok(b"no", "500 Internal Server Error"), "answers 500 Internal Server Error: it cannot take figures now"),
        (ok(b"", "401 secret"), "answers 401 Unauthorized: give it a key that it knows in OTEL_EXPORTER_OTLP_HEADERS"),
        (ok(b"", "404 Not Found"), "answers 404 Not Found: name the collector's address for OTLP over HTTP, without"),
        (ok(b"", "400 Bad Request"), "answers 400 Bad Request: it does not take figures as they are sent"),
        (ok(b"", "599 x"), "answers 599: it cannot take figures now"),
        (b"SSH-2.0-OpenSSH_9\r\n", "what it answers is no HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500, "what it answers is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 10**6, "what it answers is no HTTP"),
    ],
)
def test_what_is_no_yes(answer, said):
    with collecting(answer) as collector:
        assert error_of(collector.url).startswith(
            f"{collector.url}/v1/metrics{'' if 'answers ' in said[:8] else ':'} {said}"
        )
    assert len(collector.sent) == 1


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_nobody_is_sent_on_with_a_key(monkeypatch, status):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret")
    with collecting(OK) as elsewhere, collecting(ok(b"", status, f"Location: {elsewhere.url}/v1/metrics")) as collector:
        assert "name the address that it leads to" in error_of(collector.url)
    assert (len(collector.sent), len(elsewhere.sent)) == (1, 0)


@pytest.mark.parametrize(
    "first",
    [
        None,
        b"",
        ok(b"", "503 Unavailable"),
        ok(b"", "429 Too Many Requests", "Retry-After: 0"),
        ok(b"", "502 Bad Gateway"),
    ],
)
def test_what_passes_is_asked_again_once(first):
    with collecting(first, OK) as collector:
        otlp.tell(collector.url, version())
    assert len(collector.sent) == 2 and collector.sent[0] == collector.sent[1]
    with collecting(first) as collector:
        error_of(collector.url)
    assert len(collector.sent) == 2


def test_what_comes_late_is_not_waited_for():
    tomorrow = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    for said in ("100000", "9" * 400, tomorrow, "soon", "-1"):
        began = time.monotonic()
        with collecting(ok(b"", "503 Unavailable", f"Retry-After: {said}")) as collector:
            assert "announce again later" in error_of(collector.url)
        assert len(collector.sent) == 1 and time.monotonic() - began < 25
    past = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    with collecting(ok(b"", "503 Unavailable", f"Retry-After: {past}"), OK) as collector:
        otlp.tell(collector.url, version())


@pytest.mark.parametrize("answer", ["hang", "headers", [b"HTTP/1.1 100 Continue\r\n\r\n"] * 100])
def test_what_does_not_answer_is_left(hurried, answer):
    began = time.monotonic()
    with collecting(answer) as collector:
        said = error_of(collector.url)
        took = time.monotonic() - began
    assert said == (
        f"{collector.url}/v1/metrics: it does not answer in time; see that a collector runs there, and announce again"
    )
    assert 0.9 < took < 25 and len(collector.sent) == 1


def test_all_tries_and_connections_have_one_limit(hurried, monkeypatch):
    """A name that is looked up without an end, addresses that answer nothing, a server that asks for a pause."""
    monkeypatch.setattr(posting, "PAUSE", 0.5)
    with collecting(ok(b"", "503 Unavailable"), "hang") as collector:
        began = time.monotonic()
        error_of(collector.url)
        assert time.monotonic() - began < 1.5 and len(collector.sent) == 2
    with collecting(ok(b"", "503 Unavailable", "Retry-After: 2"), OK) as collector:
        began = time.monotonic()
        assert "announce again later" in error_of(collector.url)
        assert time.monotonic() - began < 1 and len(collector.sent) == 1, "there is no time for that pause"
    looking = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: looking.wait(20) or [])
    began = time.monotonic()
    assert "does not answer in time" in error_of("http://collector.invalid:4318")
    assert time.monotonic() - began < 1.5
    looking.set()


@pytest.mark.parametrize("answer", ["drip", "endless"])
def test_a_yes_without_an_end_is_a_yes(hurried, answer):
    began = time.monotonic()
    with collecting(answer) as collector:
        otlp.tell(collector.url, version())
        assert time.monotonic() - began < 25


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert ": nothing listens there; see that a collector runs there" in error_of(f"http://127.0.0.1:{port}")
    assert ": there is no host of that name;" in error_of("http://nowhere.invalid:4318")


def test_what_was_not_taken_is_said():
    partial = ExportMetricsPartialSuccess(rejected_data_points=3, error_message="too\n old\x1b[1m password=hunter22")
    body = ExportMetricsServiceResponse(partial_success=partial).SerializeToString()
    with collecting(ok(body)) as collector:
        said = error_of(collector.url)
    assert said == f"{collector.url}/v1/metrics did not take 3 of the figures: too old\\x1b[1m password=..."
    for body in (b"\xff\xff", b"<html>", b"{}"):
        with collecting(ok(body)) as collector:
            otlp.tell(collector.url, version())


@pytest.mark.parametrize("call", [otlp.ensure, lambda where: otlp.tell(where, version())])
@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("localhost:4318", "no address of a collector"),
        ("grpc://host:4317", "no address of a collector"),
        ("http://", "no address of a collector"),
        ("http://host:99999", "no address of a collector"),
        ("http://host:0", "no address of a collector"),
        ("http://[::1", "no address of a collector"),
        ("http://ho st", "no address of a collector"),
        ("http://höst", "no address of a collector"),
        ("http://host\r\nA: b", "no address of a collector"),
        ("file:///etc/passwd", "no address of a collector"),
        ("http://me:hunter22@host:4318", "more than a host and a path: give keys in OTEL_EXPORTER_OTLP_HEADERS"),
        ("https://host/otlp?api_key=hunter22", "more than a host and a path: give keys"),
        ("https://host/otlp#hunter22", "more than a host and a path: give keys"),
    ],
)
def test_what_is_no_collector(monkeypatch, call, where, said):
    with pytest.raises(PlatformError, match=said) as error:
        call(where)
    assert "\n" not in str(error.value) and ("hunter22" not in str(error.value) or "#" in where)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", where)
    with pytest.raises(PlatformError, match=f" in OTEL_EXPORTER_OTLP_ENDPOINT .*{said}"):
        call("env")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HEADERS", "hunter22", "OTEL_EXPORTER_OTLP_HEADERS is not NAME=VALUE,NAME=VALUE"),
        ("HEADERS", "a=hunter22%0d%0aB:c", "OTEL_EXPORTER_OTLP_HEADERS is not NAME=VALUE"),
        ("HEADERS", "a=hunter22\u20ac", "OTEL_EXPORTER_OTLP_HEADERS is not NAME=VALUE"),
        ("HEADERS", "a b=hunter22", "OTEL_EXPORTER_OTLP_HEADERS is not NAME=VALUE"),
        ("COMPRESSION", "deflate", "OTEL_EXPORTER_OTLP_COMPRESSION is 'deflate': write gzip or none"),
        ("PROTOCOL", "grpc", "is spoken to in 'grpc', as OTEL_EXPORTER_OTLP_PROTOCOL has it"),
        ("CERTIFICATE", "/nowhere.pem", "/nowhere.pem, which OTEL_.* cannot be read .No such file or directory.: name"),
        ("CLIENT_CERTIFICATE", "/dev/null", "/dev/null, which OTEL_.* cannot be read .*: name files of PEM"),
    ],
)
def test_an_environment_that_says_what_cannot_be(monkeypatch, name, value, said):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://host:4318")
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    with pytest.raises(PlatformError, match=said) as error:
        otlp.ensure("env")
    assert "hunter22" not in str(error.value)


def test_keys_of_another_file_are_not_sent(monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hunter22\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with collecting(OK) as collector:
        otlp.tell(collector.url, version())
    assert "authorization" not in collector.sent[0].headers


def test_a_proxy_of_the_environment_is_asked(monkeypatch):
    with collecting(OK) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        otlp.tell("http://collector.invalid:4318", version())
    assert proxy.sent[0].path == "http://collector.invalid:4318/v1/metrics"


@pytest.fixture
def certified(tmp_path):
    """A certificate for 127.0.0.1, and its key."""
    return certificate(str(tmp_path))


def test_tls_with_an_authority_of_ones_own(monkeypatch, certified):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certified)
    with collecting(OK, "headers", tls=context) as collector:
        with pytest.raises(PlatformError, match="its certificate is not trusted: self-signed certificate"):
            otlp.tell(collector.url, version())
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", certified[0])
        otlp.tell(collector.url, version())
        monkeypatch.setattr(posting, "SECONDS", 1.0)
        assert "does not answer in time" in error_of(collector.url)
    assert len(collector.sent) == 2


def test_a_manifest_without_a_time_is_no_point():
    for said in (None, "yesterday", "1960-01-01T00:00:00Z", "2400-01-01T00:00:00Z", 5, "2026-02-01T01:02:03"):
        with pytest.raises(PlatformError, match="version 1 of /data/out does not say when it was finished"):
            otlp.tell("http://127.0.0.1:9", version(finished=said))


def test_nothing_is_left_behind(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    before = set(threading.enumerate())
    with collecting(None) as collector:
        error_of(collector.url)
    assert set(threading.enumerate()) == before
    assert not caplog.records and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("call", [otlp.ensure, lambda where: otlp.tell(where, version())])
def test_without_its_package(monkeypatch, call):
    monkeypatch.setitem(sys.modules, "opentelemetry.proto.collector.metrics.v1", None)
    with pytest.raises(
        PlatformError, match=r"opentelemetry-proto is not installed \(pip install 'seqcls_beam\[otlp\]'"
    ):
        call("http://127.0.0.1:9")
