"""What a job has staged: its graph, what is pickled in it, and a worker that runs it.

A worker here is a process that knows nothing but the graph: Beam's local runner, with each environment of the graph,
which asks for a container, replaced by the process itself.
"""

import base64
import bz2
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

_PICKLED = re.compile(rb"QlpoO[A-Za-z0-9+/=]{40,}")
"""Base64 of what bz2 has compressed, which is how Beam pickles."""


def graph(data: bytes) -> beam_runner_api_pb2.Pipeline:
    """The graph in the bytes of a staged `pipeline.pb`."""
    return beam_runner_api_pb2.Pipeline.FromString(data)


def pickles(data: bytes) -> Iterator[bytes]:
    """All that is pickled in a graph, unpacked."""
    for found in _PICKLED.findall(data):
        yield bz2.decompress(base64.b64decode(found[: len(found) // 4 * 4]))


def hints(pipeline: beam_runner_api_pb2.Pipeline) -> dict[str, str]:
    """Resource hints that any environment of a graph has, by their names."""
    return {
        urn: value.decode()
        for environment in pipeline.components.environments.values()
        for urn, value in environment.resource_hints.items()
    }


def work(file: str, report: str) -> int:
    """Run a graph, and write the counters of its steps; 0. Raises what the graph raises."""
    pipeline = graph(Path(file).read_bytes())
    for environment in pipeline.components.environments.values():
        assert environment.urn == common_urns.environments.DOCKER.urn, environment.urn
        environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
        del environment.dependencies[:]
    result = FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([]))
    result.wait_until_finish()
    Path(report).write_text(json.dumps(_counted(result)))
    return 0


def _counted(result: Any) -> list[dict[str, Any]]:
    found = result.metrics().query()
    counters = [{"scalar": each.committed} for each in found["counters"]]
    spread = [
        {"distribution": {name: getattr(each.committed, name) for name in ("count", "sum", "min", "max")}}
        for each in found["distributions"]
    ]
    keys = [each.key for kind in ("counters", "distributions") for each in found[kind]]
    return [
        {"step": key.step, "namespace": key.metric.namespace, "name": key.metric.name, **value}
        for key, value in zip(keys, counters + spread, strict=True)
    ]
