"""How commands end: the screen has no part in the code, a signal is a sentence, and a fault is told once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forked, tiny
from tests.corpora import labels, texts, write_jsonl

pytestmark = pytest.mark.engine

FULL = "/dev/full"
PIPE = "import os; ends = os.pipe(); os.close(ends[0]); os.dup2(ends[1], 1)"
"""What makes the standard output a pipe that nobody reads."""
SLOW = """
import time
import seqcls_beam.transforms.classify as classify
read = classify.read_unit_again
def slow(unit, layout):
    for batch in read(unit, layout):
        yield batch
        time.sleep(60)
classify.read_unit_again = slow
"""
PLANNING = """
import sys, time
import pipelines.labelling as labelling
def plan(*_):
    print("planning", file=sys.stderr, flush=True)
    time.sleep(60)
labelling.plan = plan
"""
FAULT = "import pipelines.labelling as labelling; labelling.plan = lambda *_: [][{n}]"
DISK = """
import pipelines.labelling as labelling
def plan(*_):
    raise OSError(5, "Input/output error", "/in/file")
labelling.plan = plan
"""
LIBRARY = """
import logging
import pipelines.labelling as labelling
def plan(*_):
    try:
        [][7]
    except IndexError:
        logging.getLogger("some.library").warning("nothing could be renewed\\nfor now", exc_info=True)
        logging.getLogger("apache_beam.some.module").error("a step failed", exc_info=True)
    raise OSError(5, "Input/output error", "/in/file")
labelling.plan = plan
"""
IN_WORKER = """
import seqcls_beam.transforms.classify as classify
def read(unit, layout):
    raise {what}
classify.read_unit_again = read
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("endings")
    (made / "tmp").mkdir()
    tiny.checkpoint(made / "model")
    rows = [{"text": text, "label": ("negative", "positive")[i % 2]} for i, text in enumerate(texts(60))]
    write_jsonl(made / "in.jsonl", rows)
    return made


@pytest.fixture(scope="module")
def warm(folder: Path) -> Iterator[forked.Warm]:
    with forked.Warm(folder / "said", TMPDIR=str(folder / "tmp"), PYTHONWARNINGS="ignore") as made:
        yield made


def classify(folder: Path, out: Path) -> list[str]:
    given = [f"--input={folder}/in.jsonl", f"--model={folder}/model", f"--output={out}"]
    return ["classify", *given, "--threads=1", "--dtype=float32", "--unit_bytes=2000"]


@pytest.fixture(scope="module")
def published(warm: forked.Warm, folder: Path) -> dict[str, list[str]]:
    """Commands that have published, by their names: called again they show it."""
    source = [f"--input={folder}/in.jsonl", f"--model={folder}/model"]
    made = {
        "classify": classify(folder, folder / "labelled"),
        "prepare": ["prepare", *source, f"--output={folder}/prepared", "--num_shards=1"],
        "evaluate": ["evaluate", *source, f"--output={folder}/evaluated", "--bootstrap=0", "--threads=1"],
    }
    for words in made.values():
        done = warm.run(words)
        assert done.code == 0, done.err
    return made | {
        "approve": ["approve", f"{folder}/labelled"],
        "clean": ["clean", f"{folder}/labelled"],
        "compare": ["compare", f"{folder}/labelled", f"{folder}/labelled"],
    }


@pytest.mark.parametrize("name", ["classify", "prepare", "evaluate", "approve", "clean", "compare"])
def test_the_screen_never_decides_the_code_of_what_is_published(warm, published, name):
    words = published[name]
    shows = name != "approve" and name != "clean"  # these say what they have to say on the standard error
    assert warm.run(words, PYTHONIOENCODING="ascii").code == 0
    for how, why in (({"out": FULL}, "No space left on device"), ({"setup": PIPE}, "Broken pipe")):
        done = warm.run(words, **how)
        assert done.code == (1 if name == "compare" else 0), done.err
        assert "Traceback" not in done.err and "Exception ignored" not in done.err
        told = [line for line in done.err.splitlines() if "the standard output takes nothing more" in line]
        assert len(told) == shows and all(f"({why})" in line for line in told), done.err
    for how in ({"out": forked.CLOSED}, {"err": FULL}, {"err": forked.CLOSED}, {"out": FULL, "err": FULL}):
        assert warm.run(words, **how).code == (1 if name == "compare" and how.get("out") == FULL else 0), how
    silent = warm.run(words, err=forked.CLOSED)
    assert "seqcls_beam:" not in silent.out, "what is for the standard error came to the other one"


@pytest.mark.parametrize(
    ("number", "how"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "told to end (SIGTERM)"),
        (signal.SIGHUP, "told to end (SIGHUP)"),
    ],
)
@pytest.mark.parametrize(("setup", "until", "lines"), [(SLOW, "seqcls_beam: run ", 2), (PLANNING, "planning", 2)])
def test_a_signal_ends_a_command_in_one_sentence(warm, folder, tmp_path, setup, until, lines, number, how):
    command = warm.start(classify(folder, tmp_path / "out"), setup=setup)
    command.until(until)
    time.sleep(0.5)
    command.signal(number)
    done = command.wait()
    assert done.code == 128 + number
    assert done.err.count("\n") == lines
    assert done.err.endswith(f"seqcls_beam: {how}: start the run again and it goes on where it stopped\n")
    assert list((folder / "tmp").glob("seqcls_beam-*")) == list((folder / "tmp").glob("beam-*")) == []


def test_a_signal_in_a_destructor_ends_a_command_too(warm, folder, tmp_path):
    """Python passes over what is raised there."""
    setup = SLOW.replace("        time.sleep(60)", "        End()\n        time.sleep(60)")
    setup += "import signal\nclass End:\n    def __del__(self):\n        signal.raise_signal(signal.SIGTERM)\n"
    done = warm.start(classify(folder, tmp_path / "out"), setup=setup).wait(40)
    assert done.code == 143
    assert done.err.endswith(
        "seqcls_beam: told to end (SIGTERM): start the run again and it goes on where it stopped\n"
    )


def test_a_signal_while_a_command_begins_or_tells_its_end(warm, folder, tmp_path):
    words = classify(folder, tmp_path / "out")
    send = "import signal, pipelines.{m} as m; was = m.{name}; "
    send += "m.{name} = lambda *said: (signal.raise_signal(signal.SIGINT), was(*said))[1]\n"
    done = warm.run(words, setup=send.format(m="failures", name="log_to_stderr"))
    said = "seqcls_beam: interrupted: start the run again and it goes on where it stopped\n"
    assert (done.code, done.err) == (130, said)
    done = warm.run(words, setup=DISK + send.format(m="failures", name="show"))
    assert (done.code, done.err) == (1, "seqcls_beam: Input/output error: /in/file\n")
    second = (
        "calls = iter((0, 1)); raised = signal.raise_signal; signal.raise_signal = lambda n: next(calls) and raised(n)"
    )
    done = warm.run(words, setup=send.format(m="terminal.standard", name="lost") + second)
    assert done.code == 0 and labels(tmp_path / "out").num_rows == 60


@pytest.mark.parametrize("name", ["classify", "prepare", "evaluate"])
def test_a_signal_while_what_is_published_is_shown_changes_no_code(warm, published, tmp_path, name):
    send = f"import signal, pipelines.terminal.{name} as m; was = m.summary\n"
    send += "m.summary = lambda *said, **how: (signal.raise_signal(signal.SIGTERM), was(*said, **how))[1]\n"
    assert warm.run(published[name], setup=send).code == 0
    anew = [f"--output={tmp_path}" if word.startswith("--output=") else word for word in published[name]]
    done = warm.run(anew, setup=send)
    assert done.code == 0 and "told to end" not in done.err
    assert "already published" in warm.run(anew).err


@pytest.mark.parametrize("name", ["classify", "prepare"])
def test_a_signal_while_a_page_is_written_changes_no_code(warm, published, tmp_path, name):
    send = "import signal, seqcls_beam.reports.writing as m; was = m.write\n"
    send += "m.write = lambda *said: (signal.raise_signal(signal.SIGTERM), was(*said))[1]\n"
    anew = [f"--output={tmp_path}" if word.startswith("--output=") else word for word in published[name]]
    done = warm.run(anew, setup=send)
    assert (done.code, "told to end" in done.err) == (0, False)
    page = tmp_path / "_report" / "report.html"
    written = page.stat().st_mtime_ns

    # A start again writes the page of a run that was killed before it was, and no other.
    assert warm.run(anew).code == 0 and page.stat().st_mtime_ns == written
    page.write_bytes(b"of an earlier run")
    assert f"file://{page}" in warm.run(anew).out and page.stat().st_size > 10_000
    page.unlink()
    assert warm.run(anew).code == 0 and page.exists()


def test_an_evaluation_that_is_told_to_end_leaves_nothing(warm, folder):
    words = ["evaluate", f"--input={folder}/in.jsonl", f"--model={folder}/model", "--threads=1"]
    command = warm.start(words, setup=SLOW)
    command.until("evaluating")
    time.sleep(0.5)
    command.signal(signal.SIGTERM)
    done = command.wait()
    assert done.code == 143 and done.err.endswith("seqcls_beam: told to end (SIGTERM): nothing was written\n")
    assert list((folder / "tmp").glob("seqcls_beam-*")) == []


def test_a_second_signal_ends_at_once():
    code = """
import sys, time
from pipelines.ending import exit_code
def command(_):
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("ending", flush=True)
        time.sleep(60)
sys.exit(exit_code(command, []))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as it:
        assert it.stdout is not None
        for said in ("begun\n", "ending\n"):
            assert it.stdout.readline() == said
            time.sleep(0.2)  # what is interrupted while it is written is written again
            it.send_signal(signal.SIGINT)
        assert it.communicate(timeout=30)[1] == "seqcls_beam: SIGINT came: ended at once\n"
        assert it.returncode == 130


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="nothing says how far Python is")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_while_what_works_is_imported(number, times, tmp_path):
    (tmp_path / "a.txt").write_text("a text\n")
    words = [sys.executable, "-m", "pipelines.classify", f"--input={tmp_path}/a.txt", f"--output={tmp_path}/out"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=forked.ROOT) as it:
        while "pyarrow" not in Path(f"/proc/{it.pid}/maps").read_text():
            assert it.poll() is None, it.communicate()
            time.sleep(0.01)
        for _ in range(times):
            it.send_signal(number)
            time.sleep(0.05)  # two of them at once are one
        said = it.communicate(timeout=60)
    how = "interrupted" if number == signal.SIGINT else "told to end (SIGTERM)"
    how = (
        f"{how}: start the run again and it goes on where it stopped"
        if times == 1
        else f"{number.name} came: ended at once"
    )
    assert it.returncode == 128 + number and said == ("", f"seqcls_beam: {how}\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_a_command_begins(number):
    """As `python -m` has it: the package is imported, and the command is being imported."""
    code = (
        "import os, signal, sys; sys.argv = ['-m']; import pipelines; sys.argv = ['classify', '--help']\n"
        f"os.kill(os.getpid(), {int(number)}); import pipelines.classify; pipelines.classify.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=forked.ROOT, timeout=60)
    assert (done.returncode, done.stdout) == (128 + number, "")
    assert done.stderr == f"seqcls_beam: {number.name} came: ended at once\n"


def test_a_fault_is_one_sentence_and_debug_shows_where(warm, folder, tmp_path):
    words = classify(folder, tmp_path / "out")
    done = warm.run(words, setup=FAULT.format(n=7))
    said = "seqcls_beam: IndexError: list index out of range (a fault of the program; --debug shows where)\n"
    assert (done.code, done.err) == (1, said)
    done = warm.run([*words, "--debug"], setup=FAULT.format(n=7))
    assert done.code == 1 and done.err.startswith("Traceback (most recent call last):") and done.err.endswith(said)
    done = warm.run(words, setup=DISK)
    assert (done.code, done.err) == (1, "seqcls_beam: Input/output error: /in/file\n")


def test_of_a_traceback_that_a_library_logs_its_first_line_is_shown(warm, folder, tmp_path):
    words = classify(folder, tmp_path / "out")
    done = warm.run(words, setup=LIBRARY)
    said = "some.library: nothing could be renewed: IndexError: list index out of range\n"
    assert done.err == f"{said}seqcls_beam: Input/output error: /in/file\n"
    done = warm.run([*words, "--debug"], setup=LIBRARY)
    assert "for now\nTraceback" in done.err and "a step failed\nTraceback" in done.err


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("OSError(5, 'Input/output error', '/in/file')", "Input/output error: /in/file"),
        ("OSError(28, 'No space left on device', '/f')", "No space left on device: /f; make room and start it again"),
        ("MemoryError", "this process gets no more memory, or threads: give it more (ulimit -v"),
        ('RuntimeError("can\'t start new thread")', "this process gets no more memory, or threads: give it more"),
        ("KeyError('text')", 'KeyError: "text" (a fault of the program; --debug shows where)'),
    ],
)
def test_a_failure_of_a_worker_is_told_once_by_who_started_it(warm, folder, tmp_path, what, said):
    words = classify(folder, tmp_path / "out")
    done = warm.run(words, setup=IN_WORKER.format(what=what))
    begun, told = done.err.splitlines()
    assert done.code == 1 and begun.startswith("seqcls_beam: run ") and told.startswith(f"seqcls_beam: {said}")
    done = warm.run([*words, "--debug"], setup=IN_WORKER.format(what=what))
    assert done.code == 1 and "Traceback (most recent call last):" in done.err
    assert done.err.splitlines()[-1] == told


@pytest.mark.slow
@pytest.mark.parametrize(("number", "seconds"), [(signal.SIGHUP, 1.0), (signal.SIGTERM, 1.0), (signal.SIGINT, 15.0)])
def test_worker_processes_end_with_the_command(folder, tmp_path, number, seconds):
    """All of a terminal's processes get a Ctrl-C or a hang-up; a SIGTERM comes to one."""
    write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in texts(20_000)])
    words = [*classify(folder, tmp_path / "out"), f"--input={tmp_path}/in.jsonl", "--direct_num_workers=2"]
    words += ["--direct_running_mode=multi_processing"]
    it = subprocess.Popen(
        [sys.executable, "-m", "pipelines.classify", *words[1:]],
        stderr=subprocess.PIPE, text=True, cwd=forked.ROOT, start_new_session=True,
        env={**os.environ, "TMPDIR": str(folder / "tmp")},
    )  # fmt: skip
    with it:
        assert it.stderr is not None and it.stderr.readline().startswith("seqcls_beam: run ")
        time.sleep(seconds)
        (os.kill if number == signal.SIGTERM else os.killpg)(it.pid, number)
        said = it.communicate(timeout=60)[1].splitlines()
    assert it.returncode == 128 + number and "Traceback" not in "".join(said)
    assert "start the run again and it goes on where it stopped" in said[-1]
    assert list((folder / "tmp").glob("seqcls_beam-*")) == []
    with pytest.raises(ProcessLookupError):
        time.sleep(1)
        os.killpg(it.pid, 0)


@pytest.mark.slow
def test_several_worker_processes_say_nothing_of_their_own(folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.classify", *classify(folder, tmp_path / "out")[1:],
         "--direct_running_mode=multi_processing", "--direct_num_workers=2"],
        capture_output=True, text=True, timeout=240, cwd=forked.ROOT,
    )  # fmt: skip
    told = [line for line in done.stderr.splitlines() if not line.startswith(("loading the model", "labelled "))]
    assert done.returncode == 0 and all(line.startswith("seqcls_beam: ") for line in told), done.stderr
    assert labels(tmp_path / "out").num_rows == 60
