"""deploy/terraform/modules/monitoring: what is watched, and what its alerts say."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.deploy.hcl import EXAMPLE, README, ROOT, local_values, module, named, of, resource

TEXT = (ROOT / "modules" / "monitoring" / "main.tf").read_text()


def kept(source: str) -> Iterator[tuple[str, str]]:
    """(namespace, name) of each counter that a file makes, with its name, or with several in a generator."""
    tree = ast.parse(source)
    calls = [each for each in ast.walk(tree) if isinstance(each, ast.Call)]
    several = {id(each.elt): each.generators[0] for each in ast.walk(tree) if isinstance(each, ast.GeneratorExp)}
    for call in (each for each in calls if ast.unparse(each.func) == "Metrics.counter"):
        namespace, name = call.args
        names = ast.literal_eval(several[id(call)].iter if isinstance(name, ast.Name) else name)
        for each in (names,) if isinstance(names, str) else names:
            yield ast.literal_eval(namespace), each


def test_counters_are_found():
    source = """
Metrics.counter("a", "one")
(Metrics.counter("b", name) for name in ("two", "three"))
Metrics.distribution("b", "four")
"""
    assert {*kept(source)} == {("a", "one"), ("b", "two"), ("b", "three")}


@pytest.mark.parametrize(
    ("of_whom", "namespace", "names"),
    [
        ("of_stream", "seqcls_beam.AppendWindows", {"rows", "rows-rejected"}),
        ("of_night", "seqcls_beam.WriteLabeled", {"rows-labeled", "rows-rejected"}),
    ],
)
def test_counters_that_are_watched_are_kept_by_the_step_that_writes(of_whom, namespace, names):
    watched = {*re.findall(r'metric_name\\"=\\"([\w-]+)\\"', local_values(of("monitoring"))[of_whom])}
    folder = ROOT.parents[1] / "seqcls_beam" / "transforms"
    counters = {each for path in folder.glob("*.py") for each in kept(path.read_text())}
    assert watched == names
    assert {(namespace, each) for each in watched} <= counters


def test_messages_that_are_rejected_are_counted_as_they_come():
    """Those that lie in a subscription lie there for a month, and would ring once."""
    rejected = local_values(of("monitoring"))["rejected"]
    assert "topic/send_request_count" in rejected and '"ALIGN_DELTA"' in rejected
    (strategy,) = resource("monitoring", "google_monitoring_alert_policy", "thresholds")["alert_strategy"]
    assert strategy["auto_close"] == '${each.value.aligner == "ALIGN_DELTA" ? "1800s" : "604800s"}'
    called = named(module(EXAMPLE), "module")["monitoring"]
    assert called["rejected_topic"] == "${module.pubsub.rejected_topic}"


def test_the_readme_says_what_to_do_on_each_alert():
    policies = re.findall(r'^ +name += "(.+)"$', TEXT, re.M)
    assert len(policies) == 9
    section = README.partition("## Alerts, and what to do")[2].partition("\n## ")[0]
    assert all(each in section for each in [*policies, "A schedule could not start its work"])
    reasons = {*re.findall(r"reason: (\w+)", (ROOT / "modules" / "night" / "night.yaml").read_text())}
    assert reasons == {*re.findall(r"^\| `(\w+)` \|", section, re.M)}
