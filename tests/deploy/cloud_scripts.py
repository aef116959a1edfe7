"""The scripts of deploy/dataflow as processes, with stand-ins for gcloud and curl that say how they are called."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from google.cloud.dataflow_v1beta3 import types as google

from tests.deploy.scripted import DEPLOY

FOLDER = DEPLOY / "dataflow"
LAUNCH, BUILD = FOLDER / "launch.sh", FOLDER / "build.sh"
# Words of a launch.
WHERE = ["--project=my-project", "--region=us-central1"]
ASK = ["--templates=gs://bucket/templates/", "--job=score-20261120"]
FILES = ["input=gs://corpus/{date}/a, b's *.jsonl", "output=gs://labels/a"]
MESSAGES = ["subscription=projects/p-1/subscriptions/reviews", "output=gs://labels/a"]

_STAND_IN = """\
#!{python} -SE
import json, os, sys

name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
read = {{}}
for flag, value in zip(words, words[1:]):
    if value.startswith("@"):
        read[flag] = open(value[1:]).read()
if words[:2] == ["storage", "cp"]:
    read["-"] = sys.stdin.read()
with open(os.path.join({folder!r}, "calls"), "a") as opened:
    opened.write(json.dumps([name, words, read]) + "\\n")
said = os.environ.get("SAYS_" + name.upper(), "")
if "describe" in words:
    said = words[words.index("describe") + 1].partition(":")[0] + "@sha256:" + words[-2][-7:]
sys.stdout.write(said)
sys.exit(int(os.environ.get("ENDS_" + name.upper(), "0")))
"""


class Scripts:
    """The scripts, in a folder where gcloud and curl only say what they are called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("gcloud", "curl"):
            file = folder / name
            file.write_text(_STAND_IN.format(python=sys.executable, folder=str(folder)))
            file.chmod(0o755)

    def run(self, script: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [script, *words],
            cwd=self.folder,
            env={"PATH": f"{self.folder}:{os.environ['PATH']}", "PYTHON": sys.executable, **environ},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def calls(self) -> list[tuple[str, list[str], dict[str, str]]]:
        """(gcloud or curl, words, what it read: by flag)."""
        file = self.folder / "calls"
        return [tuple(json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []


def recipes(script: Path) -> list[list[str]]:
    """The words of a script's calls in the README."""
    text = (FOLDER / "README.md").read_text()
    found = re.findall(rf"^(deploy/dataflow/{script.name} (?:.*\\\n)*.*)", text, re.M)
    return [shlex.split(each.replace("\\\n", " "))[1:] for each in found]


def read(body: str) -> google.LaunchFlexTemplateRequest:
    """A request, by Google's proto, which refuses fields that it does not know."""
    return google.LaunchFlexTemplateRequest.from_json(body, ignore_unknown_fields=False)
