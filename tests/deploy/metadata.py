"""The templates that are there, and the commands that they launch."""

import argparse
import json
import re
from functools import cache
from importlib import import_module

from deploy.generate.templates import TEMPLATES
from pipelines.options import parser
from tests.deploy.scripted import DEPLOY

FOLDER = DEPLOY / "dataflow" / "templates"
NAMES = ["classify", "prepare", "stream"]
METADATA = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in NAMES}
PARAMETERS = [(name, each) for name in NAMES for each in METADATA[name]["parameters"]]
SUBSCRIPTION = "projects/p-1/subscriptions/reviews"
NEEDED = {"input": ("gs://corpus/*.jsonl",), "output": "gs://labels/a", "subscription": SUBSCRIPTION}


def groups(template: str) -> dict[str, type]:
    return import_module(f"pipelines.{TEMPLATES[template].command}").GROUPS


@cache
def parser_of(template: str) -> argparse.ArgumentParser:
    return parser("p", "", "", groups(template))


def matches(template: str, name: str, value: str) -> bool:
    (told,) = [each for each in METADATA[template]["parameters"] if each["name"] == name]
    return all(re.fullmatch(pattern, value) for pattern in told["regexes"])
