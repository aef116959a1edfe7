"""`--watch_model`: for streams, in place of `--model`, and a folder or a URI."""

import shutil

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import classify, streaming
from seqcls_beam.model.checkpoints import promote
from tests import tiny

STREAM = ("--subscription=projects/some-project/subscriptions/sub",)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--input=x.jsonl",), "--watch_model is of a stream: it needs --subscription"),
        (("--text", "a film"), "--text is a quick look at texts of the command line"),
        ((*STREAM, "--model=sentiment"), "--model and --watch_model both say which model it is: leave one out"),
        ((*STREAM, "--revision=main"), "--revision and --watch_model both say which model it is"),
        ((*STREAM, "--dtype=int8"), "--dtype=int8 is fitted to the first rows"),
        ((*STREAM, "--watch_model="), "--watch_model is empty"),
        ((*STREAM, "--watch_model=sentiment"), "sentiment: no folder here"),
        ((*STREAM, "--watch_model=org/model"), "org/model: no folder here"),
        ((*STREAM, "--watch_model=https://a:b@c.d/model"), "https://c.d/model: a web server does not tell what has"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(flags, said, tmp_path, capsys):
    flags = flags if "--text" in flags else (*flags, f"--output={tmp_path / 'out'}")
    assert classify.main([f"--watch_model={tmp_path}", *flags]) == 2
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told
    assert not (tmp_path / "out" / "labels").exists()


def test_a_stream_begins_with_what_its_latest_names(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQCLS_BEAM_CACHE", str(tmp_path / "cache"))
    shutil.copytree(tiny.resolved().local(), tmp_path / "models" / "v1")
    promote(str(tmp_path / "models" / "v1"))
    given = {
        **{name: {} for name in ("read", "model", "windows", "end", "topics")},
        "source": {"subscription": STREAM[0].partition("=")[2]},
        "run": {"output": str(tmp_path / "out")},
        "watch": {"watch_model": str(tmp_path / "models")},
    }
    stream = streaming.plan(given, "FnApiRunner", PipelineOptions([]))
    assert stream.checkpoint.name == stream.config.model.model == str(tmp_path / "models")
    assert stream.checkpoint.digest == tiny.resolved().digest
    # A copy: what is done to the files has no part in what runs.
    assert stream.checkpoint.local().parent == tmp_path / "cache"
