"""What asks Dataflow to launch a template: `launch_request.py TEMPLATE --templates=… --job=… [NAME=VALUE …]` prints it.

Parameters are checked as Dataflow would check them, so that what is wrong is said at once. Needs nothing but Python.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).parent / "templates"
_JOB = re.compile(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?")

ENVIRONMENT: dict[str, type] = {
    **dict.fromkeys(("numWorkers", "maxWorkers", "diskSizeGb"), int),
    **dict.fromkeys(("enableStreamingEngine", "enableLauncherVmSerialPortLogging"), bool),
    **dict.fromkeys(("additionalExperiments", "additionalPipelineOptions"), list),
    **dict.fromkeys(
        (
            *("machineType", "launcherMachineType", "workerRegion", "workerZone", "zone", "autoscalingAlgorithm"),
            *("network", "subnetwork", "ipConfiguration", "serviceAccountEmail", "kmsKeyName"),
            *("tempLocation", "stagingLocation", "sdkContainerImage", "flexrsGoal", "streamingMode"),
        ),
        str,
    ),
}
"""What may be said of the workers, and where things are put, by Dataflow's own names."""


class Refused(ValueError):
    """What is wrong, in a sentence."""


def request(template: str, words: Sequence[str]) -> dict[str, Any]:
    """The body of `flexTemplates:launch`. Raises `Refused` for what Dataflow, or the command, would not take."""
    flags: dict[str, str] = {}
    environment: dict[str, Any] = {}
    parameters: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name == "--with" and equals:
            _set(environment, *value.split("=", 1))
        elif name in ("--templates", "--job") and value:
            flags[name] = value
        elif word in ("--update", "--validate"):
            flags[name] = "yes"
        elif name.startswith("-") or not equals:
            raise Refused(f"{word}: expected NAME=VALUE of a parameter, --with=FIELD=VALUE, --update or --validate")
        elif name in parameters:
            raise Refused(f"{name} is given twice, and a template takes one value")
        else:
            parameters[name] = value
    for name in ("--templates", "--job"):
        if name not in flags:
            raise Refused(f"{name} is missing")
    if not _JOB.fullmatch(flags["--job"]):
        raise Refused(
            f"--job={flags['--job']}: expected a name of small letters, digits and dashes, with a letter first"
        )
    metadata = json.loads((TEMPLATES / f"{template}.json").read_text())
    if "--update" in flags and not metadata["streaming"]:
        raise Refused(f"--update replaces a stream that runs, and {template} ends by itself")
    _check(template, metadata, parameters)
    return {
        "launchParameter": {
            "jobName": flags["--job"],
            "containerSpecGcsPath": f"{flags['--templates'].rstrip('/')}/{template}.json",
            "parameters": parameters,
            "environment": environment,
            **({"update": True} if "--update" in flags else {}),
        },
        **({"validateOnly": True} if "--validate" in flags else {}),
    }


def _set(environment: dict[str, Any], field: str, value: str = "") -> None:
    kind = ENVIRONMENT.get(field)
    if kind is None:
        raise Refused(f"--with={field}: Dataflow has {', '.join(ENVIRONMENT)}")
    if kind is list:
        environment.setdefault(field, []).append(value)
    elif kind is bool and value in ("true", "false"):
        environment[field] = value == "true"
    elif kind is int and re.fullmatch("[0-9]{1,9}", value):
        environment[field] = int(value)
    elif kind is str and value:
        environment[field] = value
    else:
        expected = {bool: "true or false", int: "a number"}.get(kind, "a value")
        raise Refused(f"--with={field}={value}: expected {expected}")


def _check(template: str, metadata: dict[str, Any], parameters: dict[str, str]) -> None:
    known = {each["name"]: each for each in metadata["parameters"]}
    for name, value in parameters.items():
        if name not in known:
            raise Refused(
                f"{name}: {template} has {', '.join(known)}; what Dataflow itself takes is --with=FIELD=VALUE"
            )
        told = known[name]
        if not all(re.fullmatch(pattern, value) for pattern in told["regexes"]):
            choices = [each["value"] for each in told.get("enumOptions", ())]
            expected = f"one of {', '.join(choices)}" if choices else f"what matches {' and '.join(told['regexes'])}"
            raise Refused(f"{name}={value}: expected {expected}")
    missing = [name for name, told in known.items() if not told["isOptional"] and name not in parameters]
    if missing:
        raise Refused(f"{template} needs {', '.join(f'{name}=…' for name in missing)}")


def main(argv: Sequence[str]) -> int:
    """Print the body; 0, or 2 with a sentence."""
    try:
        print(json.dumps(request(argv[0], argv[1:]), indent=2))
    except Refused as error:
        print(f"launch: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
