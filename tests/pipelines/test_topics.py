"""Topics of a stream as flags, and what a person sees of them; no broker is needed."""

import re
import time

import pytest

from pipelines import classify
from pipelines.terminal import stream as terminal
from seqcls_beam.config.stream import TopicOptions
from seqcls_beam.runs.flow import Flow

NAME = "projects/some-project/subscriptions/sub"
ONE, TWO = "projects/some-project/topics/one", "projects/other:project/topics/two"
STREAM = [f"--subscription={NAME}", "--output=out"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([f"--output_topic={ONE}"], "--output_topic is of a stream: it needs --subscription"),
        ([*STREAM, "--output_topic=one"], "--output_topic=one: expected projects/PROJECT/topics/NAME"),
        ([*STREAM, f"--dead_letter_topic={NAME}"], f"--dead_letter_topic={NAME}: expected projects/PROJECT/topics/"),
        ([*STREAM, "--output_topic="], "--output_topic is empty"),
        ([*STREAM, f"--output_topic={ONE}", f"--dead_letter_topic={ONE}"], f"are both {ONE}"),
    ],
)
def test_flags_of_topics(flags, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert classify.main(flags) == 2
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said
    assert not [*tmp_path.iterdir()]


def test_topics_that_are_named():
    assert TopicOptions().named == {}
    assert TopicOptions(dead_letter_topic=TWO).named == {"dead_letter_topic": TWO}
    assert TopicOptions(output_topic=ONE, dead_letter_topic=TWO).named == {
        "output_topic": ONE,
        "dead_letter_topic": TWO,
    }


def test_what_topics_have_is_shown_where_there_are_any(capsys):
    flow = Flow()
    terminal.summary(flow, 0, 1.0, "out")
    assert "published" not in capsys.readouterr().out
    flow.told(rows=3_000, sent=2_000, dead_lettered=998, too_large=2)
    flow.told(rows=1_000, sent=1_000, dead_lettered=0, too_large=0)
    terminal.summary(flow, 0, 1.0, "out")
    assert "3,000 published, 998 to the dead letters, 2 too large" in capsys.readouterr().out
    meter = terminal._Meter(flow, lambda: None, lambda: None)
    assert "0 rejected; 3,000 published, 998 to the dead letters, 2 too large; windows: 0 open" in meter.line()


def test_a_stream_waits_until_a_message_is_in_hand():
    begun = time.time() - 7
    assert terminal._Meter(Flow(), lambda: None, lambda: None).line() == "waiting for messages: none has come yet"
    first = terminal._Meter(Flow(), lambda: int(begun * 1e6), lambda: None).line()
    assert re.match(r"0 messages/s, the oldest in hand [78] s old; 0 labelled", first)
    assert "Pub/Sub away since" in terminal._Meter(Flow(), lambda: None, lambda: begun).line()
