"""deploy/systemd: the units against systemd itself, and against the commands that they call."""

import re
import shlex
import shutil
import subprocess
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pipelines import approve, classify
from pipelines.options import parse, parse_alone, parser
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.classify import RunOptions
from tests.deploy.scripted import DEPLOY, NIGHTLY

FOLDER = DEPLOY / "systemd"
SERVICE, TIMER = FOLDER / "seqcls-beam-nightly.service", FOLDER / "seqcls-beam-nightly.timer"


def unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """Section → name → values, lines that go on joined."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in path.read_text().replace("\\\n", " ").splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            section.setdefault(name, []).append(value)
    return found


def environment() -> dict[str, str]:
    """What nightly.env says, read as systemd does where values stand between single quotes."""
    lines = [line for line in (FOLDER / "nightly.env").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Z]+='[^']*'", line) for line in lines)
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}


def command(variables: dict[str, str]) -> list[str]:
    """The words of ExecStart, by systemd's rules for `$$`, `${NAME}` and a word that is `$NAME`."""
    (line,) = unit(SERVICE)["Service"]["ExecStart"]
    words: list[str] = []
    for word in shlex.split(line):
        if bare := re.fullmatch(r"\$([A-Z]+)", word):
            words += variables[bare[1]].split()
        else:
            words.append(re.sub(r"\$\{([A-Z]+)\}", lambda found: variables[found[1]], word).replace("$$", "$"))
    return words


def calendar(spec: str, start: str) -> list[datetime]:
    """The next times of a schedule after one, by systemd."""
    words = ["systemd-analyze", "calendar", f"--base-time={start} UTC", "--iterations=3", spec]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env={"TZ": "UTC", "LC_ALL": "C"} | _path())
    assert done.returncode == 0, done.stderr
    found = re.findall(r"(?:Next elapse|Iter\. #\d): \w+ (\S+ \S+) UTC", done.stdout)
    return [datetime.fromisoformat(each).replace(tzinfo=ZoneInfo("UTC")) for each in found]


def _path() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin"}


def test_yesterday_is_labelled(script):
    variables = environment()
    zone = unit(SERVICE)["Service"]["Environment"][0].removeprefix("TZ=")
    words = [str(NIGHTLY) if each.endswith("/nightly.sh") else each for each in command(variables)]
    before = datetime.now(ZoneInfo(zone)).date()
    done = subprocess.run(words, env=script.environ({"TZ": zone}), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    labelled, judged = script.calls()
    given, _ = parse(parser("p", "", "", classify.GROUPS), labelled[1:], classify.GROUPS)
    run = RunOptions(**given["run"])
    today = {before, datetime.now(ZoneInfo(zone)).date()}  # midnight may have passed
    assert date.fromisoformat(str(run.run_date)) + timedelta(days=1) in today
    assert ReadOptions(**given["read"]).input == (variables["INPUT"],)
    assert run.output == variables["OUTPUT"] and ModelOptions(**given["model"]).model == "/srv/seqcls-beam/model"
    limits = parse_alone(parser("p", "", "", approve.GROUPS), judged[1:], approve.GROUPS)["approve"]
    assert limits == {"output": variables["OUTPUT"], "max_rejected": 0.01}


def test_a_path_with_blanks_stays_one_word(script):
    words = command({"INPUT": "/srv/a b/*.jsonl", "OUTPUT": "/srv/o p", "OPTIONS": ""})
    words = [str(NIGHTLY) if each.endswith("/nightly.sh") else each for each in words]
    assert subprocess.run(words, env=script.environ({"TZ": "Etc/UTC"}), timeout=60, capture_output=True).returncode == 0
    assert script.calls()[0][5:] == ["--input=/srv/a b/*.jsonl", "--output=/srv/o p"]
    assert script.calls()[1] == ["approve", "/srv/o p"]


def test_the_timer_counts_days_where_the_service_does():
    (due,) = unit(TIMER)["Timer"]["OnCalendar"]
    assert unit(SERVICE)["Service"]["Environment"][0] == f"TZ={due.split()[-1]}"
    assert unit(TIMER)["Timer"]["Persistent"] == ["true"]
    assert TIMER.stem == SERVICE.stem, "a timer starts the service of its name"


def test_a_gate_fails_the_unit_and_is_not_tried_again():
    service = unit(SERVICE)["Service"]
    assert service["Type"] == ["oneshot"] and "SuccessExitStatus" not in service
    assert service["Restart"] == ["on-failure"]
    assert {"2", "3"} <= set(service["RestartPreventExitStatus"][0].split())


@pytest.mark.deploy
def test_systemd_takes_the_units(tmp_path):
    done = verified(tmp_path)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.deploy
@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [(SERVICE.name, "KillMode=mixed", "KilMode=mixed"), (TIMER.name, "Europe/Berlin", "Europe/Berln")],
)
def test_systemd_does_not_take_a_misspelled_unit(tmp_path, name, right, wrong):
    """So that the test above says something."""
    done = verified(tmp_path, name, right, wrong)
    assert re.search(r"Unknown key (name )?'KilMode'|Failed to parse calendar specification", done.stderr)


def verified(folder: Path, name: str = "", right: str = "", wrong: str = "") -> subprocess.CompletedProcess[str]:
    """What systemd says of the units, one of them spoiled."""
    copies = [Path(shutil.copy(each, folder)) for each in (SERVICE, TIMER)]
    for each in copies:
        if each.name == name:
            assert right in each.read_text()
            each.write_text(each.read_text().replace(right, wrong))
    words = ["systemd-analyze", "verify", "--man=no", *map(str, copies)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


@pytest.mark.deploy
@pytest.mark.parametrize("day", ["2026-03-28", "2026-10-24", "2026-12-30", "2028-02-28"])
def test_the_timer_is_due_once_a_day(day):
    """Also where clocks are put forward and back, at the year's end and on a leap day."""
    (due,) = unit(TIMER)["Timer"]["OnCalendar"]
    first = date.fromisoformat(day)
    expected = [datetime.combine(first + timedelta(days=n), datetime.min.time()) for n in range(3)]
    berlin = [each.replace(hour=3, minute=30, tzinfo=ZoneInfo("Europe/Berlin")) for each in expected]
    assert calendar(due, f"{day} 00:00:00") == berlin


@pytest.mark.deploy
def test_a_time_that_is_missing_is_skipped():
    """Which is why the timer is due at another one."""
    found = calendar("*-*-* 02:30:00 Europe/Berlin", "2026-03-28 12:00:00")
    assert found[0] == datetime(2026, 3, 30, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
