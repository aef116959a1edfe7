"""A store that refuses, breaks off or talks nonsense: each command ends in a sentence, and may be started again."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import gcsfs
import pytest

from pipelines import classify, clean, evaluate, finetune, prepare, seal
from seqcls_beam import open_labels, storage
from seqcls_beam.runs.table import read_manifest
from tests import gcs, tiny
from tests.corpora import write_jsonl
from tests.messages import Message
from tests.prepared import sentences
from tests.runs.streams import FIRST, append, ids, prepared

pytestmark = pytest.mark.engine

INPUT = "gs://corpus/in.jsonl"
EVERYTHING = "."
READ = "GET .*in.jsonl.*alt=media"
MANIFEST = 'POST /upload.*"name": "[^"]*/_versions/'


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def faults(tmp_path_factory, model):
    rows = [{"text": text, "label": ("negative", "positive")[i % 2]} for i, text in enumerate(sentences(60))]
    source = write_jsonl(tmp_path_factory.mktemp("in") / "in.jsonl", rows)
    with gcs.server("corpus") as service, gcs.failing(service) as (url, faults), pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", url)
        patch.setenv("SEQCLS_BEAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        gcsfs.GCSFileSystem.clear_instance_cache()
        fsspec.filesystem("gs").put_file(str(source), "corpus/in.jsonl")
        assert prepare.main([*PREPARE, f"--input={INPUT}", f"--model={model}", "--output=gs://corpus/prepared"]) == 0
        yield faults
        gcsfs.GCSFileSystem.clear_instance_cache()


@pytest.fixture(autouse=True)
def healed(faults):
    """No fault outlives its test."""
    yield
    faults.__init__()


PREPARE = ["--num_shards=2", "--split=stratified"]
COMMANDS: dict[str, tuple[Callable[[list[str]], int], list[str]]] = {
    "classify": (classify.main, [f"--input={INPUT}", "--threads=1"]),
    "prepare": (prepare.main, [f"--input={INPUT}", *PREPARE]),
    "evaluate": (evaluate.main, [f"--input={INPUT}", "--label_column=label", "--threads=1"]),
    "finetune": (finetune.main, ["--data=gs://corpus/prepared", "--epochs=1", "--threads=1"]),
}
MOMENTS = {
    "classify: planning": (EVERYTHING, "gs://corpus/OUT/_versions"),
    "classify: reading": (READ, INPUT),
    "classify: writing": ("POST /upload.*labels/.*parquet", "gs://corpus/OUT/_attempts/"),
    "classify: publishing": (MANIFEST, "gs://corpus/OUT/_versions/00000001.json"),
    "classify: moving": ("POST .*rewriteTo", "gs://corpus/OUT/_attempts/"),
    "prepare: planning": (EVERYTHING, "gs://corpus/OUT/_versions"),
    "prepare: between stages": ("POST /upload.*exchange", "gs://corpus/OUT/_attempts/"),
    "prepare: writing": ("POST /upload.*data/train", "gs://corpus/OUT/_attempts/"),
    "prepare: publishing": (MANIFEST, "gs://corpus/OUT/_versions/00000001.json"),
    "evaluate: planning": (EVERYTHING, INPUT),
    "evaluate: reading": (READ, INPUT),
    "evaluate: writing": ("POST /upload.*evaluation.json", "gs://corpus/OUT/_attempts/"),
    "evaluate: publishing": (MANIFEST, "gs://corpus/OUT/_versions/00000001.json"),
    "finetune: planning": (EVERYTHING, "gs://corpus/prepared/_versions"),
    "finetune: reading": ("GET .*prepared/data.*alt=media", "gs://corpus/prepared/data/"),
    "finetune: writing": ("POST /upload.*model.safetensors", "gs://corpus/OUT/_attempts/"),
    "finetune: publishing": (MANIFEST, "gs://corpus/OUT/_versions/00000001.json"),
}


def ended(capfd: Any, caplog: Any) -> str:
    """The sentence that a command ended with."""
    told = capfd.readouterr().err
    assert "Traceback" not in told + caplog.text
    assert told.splitlines()[-1].startswith("seqcls_beam: ")
    return str(told.splitlines()[-1])


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_store_that_refuses_ends_a_command_in_a_sentence(faults, model, capfd, caplog, moment):
    where, named = MOMENTS[moment]
    name, _, step = moment.partition(": ")
    main, flags = COMMANDS[name]
    out = f"gs://corpus/{name}-{step}".replace(" ", "-")
    faults.where = where
    assert main([*flags, f"--model={model}", f"--output={out}"]) == 1
    said = ended(capfd, caplog)
    assert faults.failed and "HttpError: no, 401" in said
    assert named.replace("gs://corpus/OUT", out) in said
    faults.where = ""
    # What was decided is published by whoever looks next.
    assert (read_manifest(out) is not None) == (step == "moving")


def test_a_seal_that_fails_loses_nothing(faults, capfd, caplog):
    out = prepared("gs://corpus/stream")
    append(out, Message("a", 0), Message("b", 1))
    for where, named in (
        (EVERYTHING, f"{out}/_pieces/stream.json: HttpError: no, 401"),
        ("GET .*_pieces/window.*alt=media", f"{FIRST} cannot be sealed: {out}/_pieces/{FIRST}/"),
        ("POST /upload.*labels/.*parquet", f"{out}/_attempts/"),
        (MANIFEST, f"{out}/_versions/{FIRST}/00000001.json: HttpError: no, 401"),
    ):
        faults.where, faults.failed = where, 0
        assert seal.main([out]) == 1
        assert named in ended(capfd, caplog) and faults.failed
    faults.where = ""
    assert seal.main([out]) == 0
    assert ids(out) == ["a", "b"]


def test_what_cannot_be_removed_is_told_of(faults, capfd, caplog):
    out = prepared("gs://corpus/left")
    append(out, Message("a", 0))
    assert seal.main([out]) == 0
    (part,) = storage.files(f"{out}/labels/{FIRST}")
    left = re.sub(r"[0-9a-f]{8}\.parquet$", "01234567.parquet", part)
    storage.copy(part, left)
    faults.where = "DELETE .*01234567.parquet"
    assert clean.main([out, "--remove"]) == 1
    told = capfd.readouterr().err
    assert f"stays: StoreError: {left}: HttpError: no, 401" in told
    assert "Traceback" not in told + caplog.text
    faults.where = ""
    assert clean.main([out, "--remove"]) == 0


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (403, b'{"error": {"message": "not you"}}', "OSError: Forbidden: .*not you"),
        (400, b'{"error": {"message": "invalid"}}', "ValueError: Bad Request: .*invalid"),
        (401, b"<html>\n" + b"sign in " * 10_000, r"HttpError: <html> sign in [sign ]{400,500}"),
        (200, b"<html>sign in</html>", "JSONDecodeError: Expecting value: .*"),
        (401, b"see https://me:pass-word@host/?a=1&token=my-token-1", "HttpError: see https://host/.a=1&token=...*"),
        slow(503, b"busy", "HttpError: busy, 503"),
        slow(0, b"", "ServerDisconnectedError: Server disconnected"),
    ],
)
def test_whatever_it_answers_it_is_a_sentence(faults, capfd, caplog, status, body, said):
    faults.where, faults.status, faults.body = EVERYTHING, status, body
    assert clean.main(["gs://corpus/left"]) == 1
    assert re.fullmatch(rf"seqcls_beam: gs://corpus/left/_versions: {said}", ended(capfd, caplog))
    with pytest.raises(OSError, match=r"^gs://corpus/left/_versions") as error:
        open_labels("gs://corpus/left")
    assert "pass-word" not in str(error.value) and "my-token" not in str(error.value)


def test_the_client_logs_no_traceback_either(faults):
    """In a process of its own: here pytest takes what is logged."""
    faults.where = EVERYTHING
    command = [sys.executable, "-m", "pipelines.clean", "gs://corpus/left"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "seqcls_beam: gs://corpus/left/_versions: HttpError: no, 401\n"
