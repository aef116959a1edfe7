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
NAMES = sorted(path.stem for path in TEMPLATES.glob("*.json"))
_JOB = re.compile(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?")
_LABEL = re.compile(r"([a-z][a-z0-9_-]{0,62})=([a-z0-9_-]{0,63})")
FOLDER = re.compile(r"gs://[a-z0-9][-_.a-z0-9]+[a-z0-9](/[-A-Za-z0-9._~+=,:@]+)*/?")
"""Where Dataflow reads templates, or where jobs put what they need."""
WORD = re.compile(r"[!-~]+")
"""A name of Google's, of a machine, a network, an account, a key or an image."""

Kind = type | tuple[str, ...] | re.Pattern[str]

ENVIRONMENT: dict[str, Kind] = {
    **dict.fromkeys(("numWorkers", "maxWorkers", "diskSizeGb"), int),
    **dict.fromkeys(("enableStreamingEngine", "enableLauncherVmSerialPortLogging"), bool),
    **dict.fromkeys(("additionalExperiments", "additionalPipelineOptions"), list),
    "additionalUserLabels": dict,
    "autoscalingAlgorithm": ("AUTOSCALING_ALGORITHM_NONE", "AUTOSCALING_ALGORITHM_BASIC"),
    "flexrsGoal": ("FLEXRS_SPEED_OPTIMIZED", "FLEXRS_COST_OPTIMIZED"),
    "ipConfiguration": ("WORKER_IP_PUBLIC", "WORKER_IP_PRIVATE"),
    "streamingMode": ("STREAMING_MODE_EXACTLY_ONCE", "STREAMING_MODE_AT_LEAST_ONCE"),
    **dict.fromkeys(
        (
            *("machineType", "launcherMachineType", "workerRegion", "workerZone", "zone"),
            *("network", "subnetwork", "serviceAccountEmail", "kmsKeyName", "sdkContainerImage"),
        ),
        WORD,
    ),
    **dict.fromkeys(("tempLocation", "stagingLocation"), FOLDER),
}
"""What may be said of the workers, and where things are put, by Dataflow's own names: its kind, choices or pattern."""

APART = {"stream": {"watch_model": ("model", "revision")}}
"""Template → parameter → those that the command refuses beside it."""


class Refused(ValueError):
    """What is wrong, in a sentence."""


def request(template: str, words: Sequence[str]) -> dict[str, Any]:
    """The body of `flexTemplates:launch`. Raises `Refused` for what Dataflow, or the command, would not take."""
    for word in (template, *words):
        _refuse_bytes(word)
    if template not in NAMES:
        raise Refused(f"{template}: expected a template, one of {', '.join(NAMES)}")
    flags: dict[str, str] = {}
    environment: dict[str, Any] = {}
    parameters: dict[str, str] = {}
    renamed: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name == "--with" and equals:
            _set(environment, *value.split("=", 1))
        elif name == "--rename" and equals:
            _rename(renamed, *value.split("=", 1))
        elif (name in ("--templates", "--job") and value) or word in ("--update", "--validate"):
            if name in flags:
                raise Refused(f"{name} is given twice")
            flags[name] = value
        elif name.startswith("-") or not equals:
            raise Refused(
                f"{word}: expected NAME=VALUE of a parameter, --with=FIELD=VALUE, --update, --rename=OLD=NEW or "
                "--validate"
            )
        elif name in parameters:
            raise Refused(f"{name} is given twice, and a template takes one value")
        else:
            parameters[name] = value
    for name in ("--templates", "--job"):
        if name not in flags:
            raise Refused(f"{name} is missing")
    if not _JOB.fullmatch(flags["--job"]):
        raise Refused(
            f"--job={flags['--job']}: expected a name of small letters, digits and dashes, with a letter first and no "
            "dash last"
        )
    if not FOLDER.fullmatch(flags["--templates"]):
        raise Refused(f"--templates={flags['--templates']}: expected {_EXPECTED[FOLDER]}, where build.sh put them")
    metadata = json.loads((TEMPLATES / f"{template}.json").read_text(encoding="utf-8"))
    if "--update" in flags and not metadata["streaming"]:
        raise Refused(f"--update replaces a stream that runs, and {template} ends by itself")
    if renamed and "--update" not in flags:
        raise Refused("--rename is of a stream that is replaced: it needs --update")
    _check(template, metadata, parameters)
    return {
        "launchParameter": {
            "jobName": flags["--job"],
            "containerSpecGcsPath": f"{flags['--templates'].rstrip('/')}/{template}.json",
            "parameters": parameters,
            "environment": environment,
            **({"update": True} if "--update" in flags else {}),
            **({"transformNameMappings": renamed} if renamed else {}),
        },
        **({"validateOnly": True} if "--validate" in flags else {}),
    }


def _refuse_bytes(word: str) -> None:
    try:
        word.encode()
    except UnicodeEncodeError as error:
        shown = word.encode(errors="backslashreplace").decode()
        raise Refused(f"{shown}: expected Unicode, and it has bytes that are none") from error


def _set(environment: dict[str, Any], field: str, value: str = "") -> None:
    kind = ENVIRONMENT.get(field)
    if kind is None:
        raise Refused(f"--with={field}: Dataflow has {', '.join(ENVIRONMENT)}")
    read = _read(kind, value)
    if read is None:
        expected = f"one of {', '.join(kind)}" if isinstance(kind, tuple) else _EXPECTED[kind]
        raise Refused(f"--with={field}={value}: expected {expected}")
    before = environment.get(field)
    if isinstance(before, dict):
        twice, read = not before.keys().isdisjoint(read), {**before, **read}
    elif isinstance(before, list):
        twice, read = value in before, [*before, value]
    else:
        twice = before is not None
    if twice:
        what = f"the label {value.partition('=')[0]}" if kind is dict else value if kind is list else field
        raise Refused(f"--with={field}={value}: {what} is given twice")
    environment[field] = read


def _read(kind: Kind, value: str) -> Any:
    """What Dataflow is told, or None for what is not of the kind."""
    if isinstance(kind, re.Pattern):
        return value if kind.fullmatch(value) else None
    if isinstance(kind, tuple):
        return value if value in kind else None
    if kind is bool:
        return {"true": True, "false": False}.get(value)
    if kind is int:
        return int(value) if re.fullmatch("[1-9][0-9]{0,8}", value) else None
    if kind is list:
        return [value] if value.strip() else None
    label = _LABEL.fullmatch(value)
    return {label[1]: label[2]} if label else None


_EXPECTED: dict[Kind, str] = {
    FOLDER: "a folder in a bucket, gs://BUCKET/FOLDER, without blanks and patterns",
    WORD: "a value without blanks",
    bool: "true or false",
    int: "a whole number, 1 or more",
    list: "a value",
    dict: "a label of the job, NAME=VALUE, in small letters, digits, - and _, with a letter first",
}


def _rename(renamed: dict[str, str], old: str, new: str = "") -> None:
    if not old or not new:
        raise Refused(f"--rename={old}: expected OLD=NEW, the names of a step before and after")
    if old in renamed:
        raise Refused(f"--rename={old}={new}: {old} is renamed twice")
    renamed[old] = new


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
    for name, others in APART.get(template, {}).items():
        beside = [other for other in others if other in parameters]
        if name in parameters and beside:
            raise Refused(f"{beside[0]} and {name}: one stands in place of the other; leave one out")
    missing = [name for name, told in known.items() if not told["isOptional"] and name not in parameters]
    if missing:
        raise Refused(f"{template} needs {', '.join(f'{name}=…' for name in missing)}")


def main(argv: Sequence[str]) -> int:
    """Print the body; 0, or 2 with a sentence."""
    try:
        if not argv:
            raise Refused(f"which template? {', '.join(NAMES)}")
        print(json.dumps(request(argv[0], argv[1:]), indent=2))
    except Refused as error:
        print(f"launch: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
