"""What of a graph a running job is compared with when another one is to take its place: names, coders, state, timers.

What is pickled in it is not: it may change from one version to the next.
"""

from typing import Any

from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.pipeline_context import PipelineContext

_PARDO = common_urns.primitives.PAR_DO.urn
_PUBSUB = common_urns.composites.PUBSUB_READ.urn


def shape(pipeline: beam_runner_api_pb2.Pipeline) -> dict[str, Any]:
    """Steps and what flows between them, by their names, as JSON has it."""
    found, context = pipeline.components, PipelineContext(pipeline.components)
    # A PCollection's own name has the step's and numbers before it.
    flows = {
        output: f"{each.unique_name}.{tag}"
        for each in found.transforms.values()
        if not each.subtransforms
        for tag, output in each.outputs.items()
    }

    def coder(id: str) -> str:
        each = found.coders[id]
        own = each.spec.urn.removeprefix("beam:coder:").removesuffix(":v1")
        if own == "pickled_python":
            kind = type(context.coders.get_by_id(id))
            own = f"{kind.__module__}.{kind.__qualname__}"
        inner = ", ".join(map(coder, each.component_coder_ids))
        return f"{own}({inner})" if inner else own

    def step(each: beam_runner_api_pb2.PTransform) -> dict[str, Any]:
        made: dict[str, Any] = {
            "urn": each.spec.urn,
            "inputs": sorted(flows[id] for id in each.inputs.values()),
            "outputs": sorted(flows[id] for id in each.outputs.values()),
        }
        if each.spec.urn == _PUBSUB:
            read = beam_runner_api_pb2.PubSubReadPayload.FromString(each.spec.payload)
            made["source"] = {field.name: value for field, value in read.ListFields()}
        if each.spec.urn == _PARDO:
            work = beam_runner_api_pb2.ParDoPayload.FromString(each.spec.payload)
            made["state"] = {name: state(spec) for name, spec in sorted(work.state_specs.items())}
            made["timers"] = {
                name: [
                    beam_runner_api_pb2.TimeDomain.Enum.Name(spec.time_domain),
                    coder(spec.timer_family_coder_id),
                ]
                for name, spec in sorted(work.timer_family_specs.items())
            }
        return made

    def state(spec: beam_runner_api_pb2.StateSpec) -> list[str]:
        kind = str(spec.WhichOneof("spec"))
        own = getattr(spec, kind)
        return [kind, *(coder(value) for field, value in own.ListFields() if field.name.endswith("coder_id"))]

    def windowing(id: str) -> dict[str, Any]:
        each = found.windowing_strategies[id]
        return {
            "windows": each.window_fn.urn,
            "coder": coder(each.window_coder_id),
            "trigger": each.trigger.WhichOneof("trigger"),
            "allowed_lateness": each.allowed_lateness,
        }

    return {
        "steps": {
            each.unique_name: step(each)
            for each in sorted(found.transforms.values(), key=_name)
            if each.spec.urn  # all but the one that has all others in it
        },
        "between": {
            flows[id]: {
                "coder": coder(each.coder_id),
                "bounded": each.is_bounded == beam_runner_api_pb2.IsBounded.BOUNDED,
                "windowing": windowing(each.windowing_strategy_id),
            }
            for id, each in sorted(found.pcollections.items(), key=lambda each: flows[each[0]])
        },
    }


def _name(each: beam_runner_api_pb2.PTransform) -> str:
    return each.unique_name
