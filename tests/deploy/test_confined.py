"""A night as the manifests run it: a user that no file knows, no capability, and nothing to write to but /tmp."""

import os
import subprocess
import sys

import pytest

from tests.deploy.scripted import NIGHTLY

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(250)]

# A private /tmp, all else read-only; then the user. Its namespace has no capability outside itself.
_CONFINED = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /tmp
awk '{print $5}' /proc/self/mountinfo | while read -r where; do
    case $where in /tmp | /proc* | /sys* | /dev*) ;; *) mount -o remount,bind,ro "$where" ;; esac
done
mkdir /tmp/inbox
printf '{"text": "I love this book"}\\n{"text": "it was cold"}\\n' >/tmp/inbox/2026-11-20.jsonl
printf '{"text": "a fine film", "label": "positive"}\\n{"text": "a dull film", "label": "negative"}\\n' >/tmp/gold.jsonl
cd /
exec env -i "PATH=$PATH" "PYTHON=$PYTHON" "PYTHONPATH=$ROOT" HOME=/tmp unshare --user --map-user=65532 \\
    --map-group=65532 /bin/bash -c '
        id --user; sed -n "s/^CapEff:.//p" /proc/self/status
        touch "$PYTHONPATH/written" 2>&1
        exec "$@"' confined "$@"
"""


def test_a_night_writes_nowhere_else():
    root = NIGHTLY.parent.parent
    words = ["2026-11-20", "--input=/tmp/inbox/{date}.jsonl", "--output=/tmp/labels", "--threads=1"]
    gold = ["--gold", "--input=/tmp/gold.jsonl", "--min_accuracy=0.5"]
    done = subprocess.run(
        ["unshare", "--mount", "/bin/bash", "-c", _CONFINED, "confined", str(NIGHTLY), *words, *gold],
        env={"PATH": os.environ["PATH"], "PYTHON": sys.executable, "ROOT": str(root)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    user, capabilities, refused = done.stdout.splitlines()[:3]
    assert (user, int(capabilities, 16)) == ("65532", 0)
    assert refused.endswith("Read-only file system"), "it is confined"
    assert done.returncode == 0, done.stderr
    assert "2 in, 2 labelled" in done.stdout and "approved up to run_date=2026-11-20" in done.stderr
