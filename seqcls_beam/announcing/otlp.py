"""Figures to a collector of OpenTelemetry, as OTLP over HTTP.

Points are gauges at the moment at which the run had done its work, so telling them again tells the same. The messages
are built here and sent by `posting`: the exporter of the SDK follows redirects with its keys, reads answers to their
end, and goes on trying. The variables of the standard hold: OTEL_EXPORTER_OTLP_ENDPOINT, …_HEADERS, …_COMPRESSION,
…_CERTIFICATE, …_CLIENT_CERTIFICATE and …_CLIENT_KEY, each also as OTEL_EXPORTER_OTLP_METRICS_…, which goes first;
OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME. A key stands in none but HEADERS.
"""

import gzip
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from urllib.parse import unquote, urlsplit

from seqcls_beam import storage
from seqcls_beam.announcing.figures import common_labels, figures, moment, package_version
from seqcls_beam.announcing.posting import PASSING, Answer, Unanswered, identity, post
from seqcls_beam.announcing.published import Announced, PlatformError, brief
from seqcls_beam.signs import one_line, shown

_PATH = "/v1/metrics"
_BASE = "http://localhost:4318"


@dataclass(frozen=True)
class _Way:
    """Where figures go, and how."""

    url: str
    headers: Mapping[str, str]
    packed: bool
    tls: ssl.SSLContext | None


def ensure(where: str) -> None:
    """See that a collector is spelled right: http://HOST:4318, or env for what the environment says.

    Raises `PlatformError`; asks nobody.
    """
    _messages()
    _way(where)


def tell(where: str, announced: Announced) -> None:
    """Send the figures of a version. Raises `PlatformError`."""
    way = _way(where)
    body = message(announced)
    headers = {**way.headers, "Content-Type": "application/x-protobuf"}
    if way.packed:
        body, headers["Content-Encoding"] = gzip.compress(body, mtime=0), "gzip"
    try:
        answer = post(way.url, body, headers, way.tls)
    except Unanswered as error:
        raise PlatformError(f"{way.url}: {error}; see that a collector runs there, and announce again") from error
    if answer.is_taken:
        _ensure_all_taken(way, answer)
        return
    raise PlatformError(f"{way.url} answers {answer.line}: {_cure(answer.status)}")


def message(announced: Announced) -> bytes:
    """The figures of a version as an ExportMetricsServiceRequest. Raises `PlatformError`."""
    ended = moment(announced.manifest.get("finished"))
    if ended is None or not 0 <= ended < 2**63 / 1e9:
        raise PlatformError(
            f"the manifest of version {announced.version} of {announced.output} does not say when it was finished, and "
            "figures without a time are no points: announce another version"
        )
    request = _messages().ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    _put(group.resource.attributes, _resource(announced))
    scope = group.scope_metrics.add()
    scope.scope.name = "seqcls_beam"
    scope.scope.version = package_version(announced.manifest)
    for name, of in groupby(figures(announced), lambda figure: figure.name):
        same = list(of)
        metric = scope.metrics.add(name=name, description=same[0].help, unit=same[0].unit)
        for each in same:
            point = metric.gauge.data_points.add(time_unix_nano=round(ended * 1e6) * 1000, as_double=each.value)
            _put(point.attributes, dict(each.labels))
    return bytes(request.SerializeToString(deterministic=True))


def _resource(announced: Announced) -> dict[str, str]:
    labels = common_labels(announced)
    run_id = announced.manifest.get("run_id")
    own = {
        "service.version": package_version(announced.manifest),
        "seqcls_beam.run_id": shown(run_id) if isinstance(run_id, str) else "",
        "seqcls_beam.output": labels["output"],
        "seqcls_beam.kind": labels["kind"],
        "seqcls_beam.partition": shown(announced.partition),
    }
    said = _pairs("OTEL_RESOURCE_ATTRIBUTES", os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    if name := os.environ.get("OTEL_SERVICE_NAME"):
        said["service.name"] = name
    return {"service.name": "seqcls_beam", **said, **own}


def _put(attributes: Any, values: Mapping[str, str]) -> None:
    """Those that are not empty: an empty one is none to Prometheus, either."""
    for key, value in values.items():
        if value:
            attributes.add(key=key).value.string_value = value


def _ensure_all_taken(way: _Way, answer: Answer) -> None:
    """Raise `PlatformError` where the collector says that it took not all."""
    from google.protobuf.message import DecodeError

    try:
        said = _messages().ExportMetricsServiceResponse.FromString(answer.body).partial_success
    except DecodeError:  # an answer that is none of OTLP: its status is what counts
        return
    if said.rejected_data_points > 0:
        why = one_line(brief(said.error_message, 200)) or "it does not say why"
        raise PlatformError(f"{way.url} did not take {said.rejected_data_points:,} of the figures: {why}")


def _cure(status: int) -> str:
    if status in (401, 403, 407):
        return "give it a key that it knows in OTEL_EXPORTER_OTLP_HEADERS, and announce again"
    if 300 <= status < 400:
        return "name the address that it leads to, where no key is sent otherwise"
    if status in (404, 405):
        return f"name the collector's address for OTLP over HTTP, without {_PATH}"
    if status in PASSING or status >= 500:
        return "it cannot take figures now; announce again later"
    return "it does not take figures as they are sent: see what it logs"


def _way(where: str) -> _Way:
    """Raises `PlatformError` for what cannot be meant."""
    url, source = _url(where)
    shown_url = storage.without_password(url)
    try:
        parts = urlsplit(url)
        told = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        told = False
    if not told or not url.isascii() or re.search(r"[\0-\x20\x7f]", url):
        raise PlatformError(f"{shown_url!r}{source} is no address of a collector: write http://HOST:4318")
    if parts.username is not None or parts.query or parts.fragment:
        raise PlatformError(
            f"{shown_url}{source} has more than a host and a path: give keys in OTEL_EXPORTER_OTLP_HEADERS"
        )
    protocol, packing = _said("PROTOCOL") or "http/protobuf", _said("COMPRESSION") or "none"
    if source and protocol != "http/protobuf":
        raise PlatformError(
            f"{shown_url}{source} is spoken to in {protocol!r}, as OTEL_EXPORTER_OTLP_PROTOCOL has it, and figures go "
            "by http/protobuf alone: name the collector's address for that"
        )
    if packing not in ("none", "gzip"):
        raise PlatformError(f"OTEL_EXPORTER_OTLP_COMPRESSION is {packing!r}: write gzip or none")
    tls = _tls() if parts.scheme.lower() == "https" else None
    return _Way(url, _headers(), packing == "gzip", tls)


def _url(where: str) -> tuple[str, str]:
    """Where to, and in some words who says so."""
    if where in ("", "env"):
        if whole := os.environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"):
            return whole, " in OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
        if where := os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""):
            return f"{where.rstrip('/')}{_PATH}", " in OTEL_EXPORTER_OTLP_ENDPOINT"
        where = _BASE
    where = where.rstrip("/")
    return (where if where.endswith(_PATH) else f"{where}{_PATH}"), ""


def _said(name: str) -> str:
    """A variable of the standard: that of metrics, or else that of all."""
    return os.environ.get(f"OTEL_EXPORTER_OTLP_METRICS_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") or ""


def _headers() -> dict[str, str]:
    found = _pairs("OTEL_EXPORTER_OTLP_HEADERS", _said("HEADERS"))
    for name, value in found.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(
            r"[\t\x20-\x7e\xa0-\xff]*", value
        ):
            raise _no_pairs("OTEL_EXPORTER_OTLP_HEADERS")
    return found


def _pairs(variable: str, said: str) -> dict[str, str]:
    """NAME=VALUE,NAME=VALUE with %20 for signs such as blanks. Raises `PlatformError`, which shows no value."""
    found = {}
    for pair in filter(str.strip, said.split(",")):
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise _no_pairs(variable)
        found[unquote(name.strip())] = unquote(value.strip())
    return found


def _no_pairs(variable: str) -> PlatformError:
    return PlatformError(f"{variable} is not NAME=VALUE,NAME=VALUE with %20 for a blank, and so on: write it so")


def _tls() -> ssl.SSLContext:
    authority, certificate, key = _said("CERTIFICATE"), _said("CLIENT_CERTIFICATE"), _said("CLIENT_KEY")
    try:
        return identity(authority, certificate, key)
    except (OSError, ValueError) as error:
        named = ", ".join(filter(None, [authority, certificate, key]))
        why = getattr(error, "strerror", None) or "not what they must be"
        raise PlatformError(
            f"{named}, which OTEL_EXPORTER_OTLP_…CERTIFICATE and …CLIENT_KEY name, cannot be read ({why}): name files "
            "of PEM, without a password"
        ) from error


def _messages() -> Any:
    try:
        from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
    except ImportError as error:
        raise PlatformError(
            "the package opentelemetry-proto is not installed (pip install 'seqcls_beam[otlp]')"
        ) from error
    return metrics_service_pb2
