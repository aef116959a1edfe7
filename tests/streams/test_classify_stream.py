"""`pipelines.classify --subscription` as a user starts it, on a real broker: nothing lost, nothing double."""

import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import gcsfs
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import classify, epochs
from seqcls_beam import open_labels
from seqcls_beam.model.engine import Classifier
from seqcls_beam.runs.sealing import seal
from tests import broker, gcs, tiny
from tests.corpora import plain_scores, texts, version_digests

pytestmark = [pytest.mark.streams, broker.needs_go]

BASE = datetime(2026, 11, 20, 10, tzinfo=UTC)
WINDOW = 300
KEYED = ("--keep_columns=id:int64", "--timestamp_attribute=at", "--id_attribute=key")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.raising(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def service():
    with broker.running(deadline=2) as running:
        yield running


class Subscribe:
    """Subscriptions of a topic that nobody else has."""

    def __init__(self, service, name):
        self.service = service
        self.topic = f"t-{blake2b(name.encode(), digest_size=8).hexdigest()}"

    def __call__(self, number=1, deadline=10):
        names = [f"{self.topic}-{each}" for each in range(number)]
        return self.service.topic(self.topic, *names, deadline=deadline)


@pytest.fixture
def subscribe(service, request):
    return Subscribe(service, request.node.name)


class Job:
    """The command in a process of its own."""

    def __init__(
        self, model, subscription, out, address, *flags, program="pipelines.classify", fault=(), terminal=False
    ):
        self.out = out
        self.said = out.parent / f"{out.name}-{time.monotonic_ns()}.txt"
        command = [sys.executable, "-m", program, *fault, f"--subscription={subscription}", f"--output={out}"]
        command += [f"--model={model}", "--threads=1", f"--window={WINDOW}", "--max_latency=1", *flags]
        if terminal:
            command = ["script", "--quiet", "--return", "--command", shlex.join(command), "/dev/null"]
        with self.said.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                env={**broker.environment(address), "COLUMNS": "200"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def end(self, code=0, timeout=240):
        try:
            assert self.process.wait(timeout) == code, self.said.read_text()
        finally:
            self.process.kill()
        return self.said.read_text()

    def until_there(self, path, timeout=240):
        """Wait for a file."""
        deadline = time.monotonic() + timeout
        while not path.exists():
            assert time.monotonic() < deadline and self.process.poll() is None, self.said.read_text()
            time.sleep(0.05)

    def kill(self):
        """By a signal, while it is at work."""
        self.process.kill()
        assert self.process.wait() == -signal.SIGKILL, self.said.read_text()

    def until_said(self, sentence, timeout=240):
        """Wait for a sentence on the screen."""
        deadline = time.monotonic() + timeout
        while sentence not in self.said.read_text():
            assert time.monotonic() < deadline and self.process.poll() is None, self.said.read_text()
            time.sleep(0.02)

    def until(self, pieces, timeout=240):
        """Wait until so many pieces were written by anybody."""
        deadline = time.monotonic() + timeout
        while len(pieces_of(self.out)) < pieces:
            assert time.monotonic() < deadline and self.process.poll() is None, self.said.read_text()
            time.sleep(0.02)
        return self

    def until_more_versions(self, more, timeout=240):
        """Wait until so many more versions of windows were published by anybody."""
        deadline = time.monotonic() + timeout
        enough = len([*self.out.glob("_versions/window=*/*.json")]) + more
        while len([*self.out.glob("_versions/window=*/*.json")]) < enough:
            assert time.monotonic() < deadline and self.process.poll() is None, self.said.read_text()
            time.sleep(0.02)


def until(what, seconds=120):
    """Whether something becomes true within some time."""
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.1)
    return bool(what())


def pieces_of(out: Path) -> list[Path]:
    return [path for path in (out / "_pieces").glob("window=*/*.parquet") if path.name[0] != "."]


def sealed(out: Path) -> tuple[pa.Table, pa.Table]:
    """Seal all; (labels, rejects) with the column `window`."""
    assert [each.fault for each in seal(str(out)) if each.fault] == []
    assert pieces_of(out) == []
    tables = []
    for folder in ("labels", "_rejects"):
        found = []
        for path in sorted((out / folder).rglob("*.parquet")):
            table = pq.read_table(path, partitioning=None)
            found.append(table.append_column("window", pa.array([path.parent.name] * len(table))))
        tables.append(pa.concat_tables(found, promote_options="default") if found else pa.table({"message_id": []}))
    return tables[0], tables[1]


def window_of(at: datetime, length: int = WINDOW) -> str:
    start = datetime.fromtimestamp(at.timestamp() // length * length, UTC)
    return f"window={start:%Y%m%dT%H%M%SZ}"


def keyed(rows: list[str], seed: int, span: float = 3600.0) -> list[tuple[bytes, dict[str, str]]]:
    """Messages with event times in disorder over an hour."""
    chance = random.Random(seed)
    return [
        (
            json.dumps({"id": i, "text": text}).encode(),
            {"key": f"k{i}", "at": (BASE + timedelta(seconds=round(chance.uniform(0, span), 3))).isoformat()},
        )
        for i, text in enumerate(rows)
    ]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_every_message_is_one_row_of_its_window_whatever_happens(tmp_path, model, service, subscribe, kills):
    chance = random.Random(kills)
    undisturbed, disturbed = subscribe(2, deadline=2)
    rows = texts(9_600, seed=kills, longest=12)
    poison = 4_711
    rows[poison] = "good unembeddable film"
    good = keyed(rows, kills)
    malformed = [
        (b'{"id": %d, "te' % i, {"key": f"m{i}", "at": (BASE + timedelta(seconds=30 * i)).isoformat()})
        for i in range(100)
    ]
    first = good + malformed
    chance.shuffle(first)
    again = [(json.dumps({"id": -1, "text": "published again"}).encode(), good[i][1]) for i in range(0, 9_000, 30)]
    sent = first + again
    assert len(sent) == 10_000

    flags = (*KEYED, "--allowed_lateness=7200", "--until_idle=4", "--batch_rows=500")
    out = tmp_path / "killed"
    whole = tmp_path / "whole"
    shares = [len(sent) * each // kills for each in range(kills + 1)]
    with broker.proxied(service) as way:
        for kill, (start, end) in enumerate(pairwise(shares), 1):
            service.publish(subscribe.topic, sent[start:end])
            # Pieces that it wrote itself: there is nobody else.
            job = Job(model, disturbed, out, way.address, *flags).until(len(pieces_of(out)) + chance.randint(1, 24))
            if kill in (2, kills):
                way.cut()
                time.sleep(1)
                assert job.process.poll() is None, job.said.read_text()
                way.restore()
            time.sleep(chance.uniform(0, 0.5))
            job.kill()
            if kill % 7 == 0 or kill == kills:  # this broker forgets what has waited for ten minutes
                # The leases of the last one that was killed end within the silence that these wait for.
                Job(model, disturbed, out, way.address, *flags).end()
                Job(model, undisturbed, whole, service.address, *flags).end()
    assert service.pull(disturbed, 3) == []

    labels, rejects = sealed(out)
    said = dict(zip(labels["id"].to_pylist(), labels["window"].to_pylist(), strict=True))
    times = {i: datetime.fromisoformat(good[i][1]["at"]) for i in range(len(rows)) if i != poison}
    assert len(labels) == len(said) == len(rows) - 1
    assert said == {i: window_of(at) for i, at in times.items()}
    assert Counter((row["reason"], row["raw"], row["window"]) for row in rejects.to_pylist()) == Counter(
        [
            *(("invalid_json", data, window_of(datetime.fromisoformat(at["at"]))) for data, at in malformed),
            ("model_error", good[poison][0], window_of(datetime.fromisoformat(good[poison][1]["at"]))),
        ]
    )
    some = labels.slice(0, 64)
    scores = plain_scores(model, [rows[i] for i in some["id"].to_pylist()])
    np.testing.assert_allclose(np.array(some["scores"].to_pylist()), scores, atol=1e-5)

    sealed(whole)
    assert version_digests(out) == version_digests(whole)


def test_told_to_end_it_finishes_what_is_in_hand_and_gives_back_the_rest(tmp_path, model, service, subscribe):
    (subscription,) = subscribe(deadline=60)
    ids = service.publish(subscribe.topic, keyed(texts(6_000, longest=200), 1))
    job = Job(model, subscription, tmp_path / "out", service.address, *KEYED, "--batch_rows=100").until(3)
    job.process.send_signal(signal.SIGTERM)
    said = job.end()
    assert "SIGTERM came: no more messages are pulled" in said
    assert "acknowledged" in said and "Traceback" not in said
    labels, _ = sealed(tmp_path / "out")
    # What was given back is there at once, not when the lease of a minute ends.
    rest = service.pull(subscription, 5)
    done = labels["message_id"].to_pylist()
    assert sorted([*done, *rest]) == sorted(ids)
    assert f"{len(done):,} labelled" in said


def test_told_twice_it_ends_at_once(tmp_path, model, service, subscribe):
    (subscription,) = subscribe()
    service.publish(subscribe.topic, keyed(texts(100), 1))
    slow = {"program": "tests.streams.faulty", "fault": ("slow", "60")}
    job = Job(model, subscription, tmp_path / "out", service.address, *KEYED, "--max_outstanding=100", **slow)
    job.until_said("a slow batch begins")
    job.process.send_signal(signal.SIGINT)
    job.until_said("SIGINT came")
    assert job.process.poll() is None
    begun = time.monotonic()
    job.process.send_signal(signal.SIGTERM)
    assert "ended at once" in job.end(143)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(("deadline", "seconds"), [(2, 10), pytest.param(10, 40, marks=pytest.mark.slow)])
def test_a_batch_that_takes_longer_than_its_lease_comes_once(tmp_path, model, service, subscribe, deadline, seconds):
    (subscription,) = subscribe(deadline=deadline)
    ids = service.publish(subscribe.topic, keyed(texts(20), 1))
    slow = {"program": "tests.streams.faulty", "fault": ("slow", f"{seconds}")}
    # It holds all that it may, so whatever comes again goes to the other puller.
    flags = (*KEYED, "--until_idle=3", "--max_outstanding=20")
    job = Job(model, subscription, tmp_path / "out", service.address, *flags, **slow)
    job.until_said("a slow batch begins")
    assert service.pull(subscription, seconds - 1) == []
    assert pieces_of(tmp_path / "out") == []
    said = job.end()
    assert "20 labelled" in said  # of 20 that were written, so none was twice
    labels, _ = sealed(tmp_path / "out")
    assert sorted(labels["message_id"].to_pylist()) == sorted(ids)
    assert service.pull(subscription, deadline + 1) == []


def test_two_jobs_share_a_subscription_and_one_is_killed(tmp_path, model, service, subscribe):
    (subscription,) = subscribe(deadline=2)
    rows = texts(4_000, longest=60)
    messages = keyed(rows, 1)
    service.publish(subscribe.topic, messages[:300])
    out = tmp_path / "out"
    flags = (*KEYED, "--batch_rows=100", "--max_outstanding=400")
    first = Job(model, subscription, out, service.address, *flags).until(5)
    second = Job(model, subscription, out, service.address, *flags, "--until_idle=12")
    second.until_said("message")  # how far it is
    service.publish(subscribe.topic, messages[300:])  # each takes 400 at once
    first.until(len(pieces_of(out)) + 20)
    first.kill()
    second.end()
    labels, rejects = sealed(out)
    assert sorted(labels["id"].to_pylist()) == list(range(len(rows)))
    assert len(rejects) == 0


@pytest.mark.slow
def test_two_jobs_seal_and_each_is_halted_for_longer_than_a_lease(tmp_path, model, service, subscribe):
    (subscription,) = subscribe(deadline=2)
    rows = texts(6_000, longest=30)
    messages = sorted(keyed(rows, 1), key=lambda each: each[1]["at"])
    out = tmp_path / "out"
    flags = (*KEYED, "--window=60", "--allowed_lateness=0", "--batch_rows=100", "--max_outstanding=300")
    jobs = [Job(model, subscription, out, service.address, *flags, "--until_idle=15") for _ in range(2)]
    parts = 6
    for part, each in enumerate(range(0, len(messages), len(messages) // parts)):
        service.publish(subscribe.topic, messages[each : each + len(messages) // parts])
        halted, other = jobs[part % 2], jobs[1 - part % 2]
        other.until_more_versions(1 + part % 3)
        halted.process.send_signal(signal.SIGSTOP)
        time.sleep(3)
        assert other.process.poll() is None
        halted.process.send_signal(signal.SIGCONT)
    for job in jobs:
        job.end()
    labels, rejects = sealed(out)
    assert dict(zip(labels["id"].to_pylist(), labels["window"].to_pylist(), strict=True)) == {
        orjson.loads(data)["id"]: window_of(datetime.fromisoformat(at["at"]), 60) for data, at in messages
    }
    assert len(labels) == len(rows) and len(rejects) == 0


def test_a_store_that_answers_503_for_a_while(tmp_path, model, service, subscribe, monkeypatch):
    """What was acknowledged and is not in the store would be a row that is missing."""
    (subscription,) = subscribe()
    rows = texts(600)
    messages = keyed(rows, 1)
    service.publish(subscribe.topic, messages[:300])
    with gcs.bucket("streams") as bucket, gcs.failing(os.environ["STORAGE_EMULATOR_HOST"]) as (url, faults):
        out = f"{bucket}/out"
        with monkeypatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", url)
            flags = (*KEYED, f"--output={out}", "--window=3600", "--batch_rows=50", "--until_idle=8")
            job = Job(model, subscription, tmp_path / "out", service.address, *flags)
        assert until(lambda: len(gcsfs.GCSFileSystem().glob(f"{out}/_pieces/window=*/*.parquet")) >= 2)
        faults.status, faults.body, faults.where = 503, b"", "."
        service.publish(subscribe.topic, messages[300:])
        assert until(lambda: faults.failed >= 3)
        time.sleep(10)
        assert job.process.poll() is None
        faults.where = ""
        said = job.end()
        assert "Traceback" not in said
        assert [each.fault for each in seal(out) if each.fault] == []
        table = open_labels(out).to_table()
    assert sorted(table["id"].to_pylist()) == list(range(len(rows)))
    assert service.pull(subscription, 11) == []


@pytest.mark.parametrize("fault", ["raising", "ENOSPC", "EIO"])
def test_after_a_failure_the_job_goes_on(tmp_path, model, service, subscribe, fault):
    (subscription,) = subscribe()
    rows = texts(60)
    service.publish(subscribe.topic, keyed(rows, 1))
    job = Job(
        model,
        subscription,
        tmp_path / "out",
        service.address,
        *KEYED,
        "--until_idle=4",
        program="tests.streams.faulty",
        fault=(fault, "17" if fault == "raising" else "1"),  # one more row than may fail alone
    )
    said = job.end()
    assert said.count("nothing of this is acknowledged, and it is tried again in 1 s") == 1
    assert {"raising": "the model is broken", "ENOSPC": "make room and start it again", "EIO": "injected"}[
        fault
    ] in said
    assert "Traceback" not in said
    labels, rejects = sealed(tmp_path / "out")
    assert sorted(labels["id"].to_pylist()) == list(range(len(rows)))
    assert len(rejects) == 0


def test_what_fails_again_and_again_ends_with_a_sentence(tmp_path, model, service, subscribe):
    (subscription,) = subscribe(deadline=60)
    ids = service.publish(subscribe.topic, keyed(texts(60), 1))
    broken = {"program": "tests.streams.faulty", "fault": ("ENOSPC", "999999")}
    said = Job(model, subscription, tmp_path / "out", service.address, *KEYED, **broken).end(1)
    assert "6 tries in a row labelled no message: injected: " in said and "; make room and start it again" in said
    assert "Traceback" not in said
    assert sorted(service.pull(subscription, 5)) == sorted(ids)


def test_what_no_sentence_explains_ends_with_its_traceback_where_that_is_asked_for(
    tmp_path, model, service, subscribe, capsys, caplog, monkeypatch
):
    (subscription,) = subscribe()
    service.publish(subscribe.topic, keyed(texts(60), 1))

    def raising(self, *args):
        raise RuntimeError("the model is broken")

    monkeypatch.setattr(Classifier, "logits", raising)
    monkeypatch.setattr(epochs, "_FAILURES", 2)
    flags = [f"--subscription={subscription}", f"--output={tmp_path}", f"--model={model}", "--debug"]
    with broker.leading(service.address):
        assert classify.main(flags) == 1
    said = capsys.readouterr().err
    assert said.count("it is tried again in 1 s: ") == 1 and "2 tries in a row labelled no message: " in said
    (told,) = [each for each in caplog.records if each.exc_info]
    assert told.name == epochs.__name__ and "predictions.py" in caplog.text


def test_a_network_that_is_gone_is_no_silence(tmp_path, model, service, subscribe):
    (subscription,) = subscribe()
    rows = texts(40)
    service.publish(subscribe.topic, keyed(rows, 1)[:20])
    with broker.proxied(service) as way:
        job = Job(model, subscription, tmp_path / "out", way.address, *KEYED, "--until_idle=4").until(1)
        way.cut()
        job.until_said("Pub/Sub does not answer, and is asked again until it does; it was last heard at 20")
        job.until_said("Pub/Sub away since ")
        time.sleep(8)
        assert job.process.poll() is None
        service.publish(subscribe.topic, keyed(rows, 1)[20:])
        way.restore()
        said = job.end()
    assert said.count("does not answer") == said.count("Pub/Sub answers again, after ") == 1
    assert said.index("answers again") < said.index("no message came for 4 s")
    labels, _ = sealed(tmp_path / "out")
    assert sorted(labels["id"].to_pylist()) == list(range(len(rows)))


@pytest.mark.parametrize("by", ["--for=3", "SIGTERM"])
def test_where_there_is_no_service_it_can_be_ended(tmp_path, model, service, subscribe, by):
    (subscription,) = subscribe()
    flags = ["--for=3"] if by == "--for=3" else []
    with broker.proxied(service) as way:
        way.cut()
        job = Job(model, subscription, tmp_path / "out", way.address, *flags)
        job.until_said("does not answer")
        if not flags:
            job.process.send_signal(signal.SIGTERM)
        said = job.end()
    assert "0 labelled, 0 rejected" in said
    assert not (tmp_path / "out" / "_pieces" / "stream.json").exists()  # nobody knows of which topic it would be


def test_a_stream_of_another_topic_is_refused(tmp_path, model, service, subscribe, capsys):
    (first,) = subscribe()
    service.publish(subscribe.topic, keyed(texts(3), 1))
    other = f"{subscribe.topic}-other"
    (second,) = service.topic(other, f"{other}-0")
    ids = service.publish(other, keyed(texts(5), 2))
    flags = [f"--output={tmp_path}", f"--model={model}", "--until_idle=1"]
    with broker.leading(service.address):
        assert classify.main([f"--subscription={first}", *flags]) == 0
        assert "is not known" not in capsys.readouterr().err
        assert classify.main([f"--subscription={second}", *flags]) == 1
    said = capsys.readouterr().err
    path = f"{broker.PROJECT}/topics"
    assert f"has messages of {path}/{subscribe.topic}, and the subscription is of {path}/{other}: two" in said
    assert "name another folder" in said and "Traceback" not in said
    assert sorted(service.pull(second, 1)) == sorted(ids)  # and nothing of it was pulled
    # A topic may be deleted while there is a backlog: then nobody knows any more, and that is told.
    service.delete(subscribe.topic)
    with broker.leading(service.address):
        assert classify.main([f"--subscription={first}", *flags]) == 0
    said = capsys.readouterr().err
    assert said.count(f"{first} is of a topic that is deleted, or that this account may not see") == 1
    assert orjson.loads((tmp_path / "_pieces" / "stream.json").read_bytes())["topic"] == f"{path}/{subscribe.topic}"


def test_whoever_may_not_see_the_topic_is_told_once(tmp_path, model, capsys):
    with broker.running(GetSubscription="PERMISSION_DENIED") as own, broker.leading(own.address):
        (subscription,) = own.topic("unseen", "unseen-0")
        own.publish("unseen", keyed(texts(3), 1))
        flags = [f"--subscription={subscription}", f"--output={tmp_path}", f"--model={model}", "--until_idle=1"]
        assert classify.main(flags) == 0
    said = capsys.readouterr()
    assert said.err.count("let no other topic in") == 1 and "3 labelled" in said.out
    assert "topic" not in orjson.loads((tmp_path / "_pieces" / "stream.json").read_bytes())


def test_rejects_alone_are_sealed_as_they_are_over(tmp_path, model, service, subscribe):
    (subscription,) = subscribe()
    service.publish(subscribe.topic, [(b"{", {"at": (BASE + timedelta(seconds=i)).isoformat()}) for i in range(40)])
    out = tmp_path / "out"
    job = Job(model, subscription, out, service.address, *KEYED, "--window=50", "--allowed_lateness=100").until(1)
    # Published years after it, and without a time of its own.
    service.publish(subscribe.topic, [(b"{", {})])
    job.until(2)
    time.sleep(6)  # windows that are over are looked for every five seconds
    assert not (out / "_versions").exists()
    service.publish(subscribe.topic, [(b"{", {"at": (BASE + timedelta(seconds=151)).isoformat()})])
    job.until_there(out / "_versions" / window_of(BASE, 50) / "00000001.json")
    job.process.send_signal(signal.SIGTERM)
    job.end()
    assert {path.name for path in (out / "_versions").iterdir()} == {window_of(BASE, 50)}
    _, rejects = sealed(out)
    assert len(rejects) == 42


def test_windows_are_sealed_as_they_are_over(tmp_path, model, service, subscribe):
    (subscription,) = subscribe()
    rows = texts(400)
    spread = sorted(keyed(rows, 1, span=600), key=lambda each: each[1]["at"])
    late = (json.dumps({"id": 400, "text": "late"}).encode(), {"key": "late", "at": BASE.isoformat()})
    wrong = (json.dumps({"id": 401, "text": "wrong"}).encode(), {"key": "wrong", "at": "2099-01-01T00:00:00Z"})
    old = (json.dumps({"id": 402, "text": "old"}).encode(), {"key": "old", "at": "1970-01-01T00:00:01Z"})
    service.publish(subscribe.topic, [wrong, *spread, old])
    out = tmp_path / "out"
    first = out / "_versions" / window_of(BASE, 20)
    job = Job(model, subscription, out, service.address, *KEYED, "--window=20", "--allowed_lateness=100")
    job.until_there(first / "00000001.json")
    service.publish(subscribe.topic, [late])
    job.until_there(first / "00000002.json")
    job.process.send_signal(signal.SIGTERM)
    said = job.end()
    last = max(datetime.fromisoformat(each[1]["at"]) for each in spread)
    over = {window_of(BASE + timedelta(seconds=20 * i), 20) for i in range(30)}
    over = {each for each in over if each <= window_of(last - timedelta(seconds=100 + 20), 20)}
    done = {path.name for path in (out / "labels").iterdir()}
    # A message dated 2099 moves nothing; its own window, and those that are not over, wait for pipelines.seal.
    assert done == over | {"window=19700101T000000Z"}
    # One more where the broker sent what is sorted in disorder.
    versions = [*out.glob("_versions/window=*/*.json")]
    (amended,) = re.findall(r", (\d+) amendments?, ", said)
    assert int(amended) == len(versions) - len(done) >= 1
    labels, _ = sealed(out)
    assert sorted(labels["id"].to_pylist()) == list(range(403))


NEWS = re.compile(
    r"([\d,]+) messages/s(?:, the oldest in hand ([\d,]+) s old)?; ([\d,]+) labelled, ([\d,]+) rejected; "
    r"windows: ([\d,]+) open, ([\d,]+) sealed(?:, (\d+) amendments?)?"
)
"""Rate, age (none if nothing waits), labelled, rejected, windows that are open, sealed, and amendments."""


@pytest.mark.parametrize("screen", ["file", "terminal"])
def test_what_a_person_sees_while_it_runs(tmp_path, model, service, subscribe, screen):
    """Every ten seconds a line, and on a terminal one that changes; the first batch takes 14 s."""
    (subscription,) = subscribe()
    times = [BASE + timedelta(seconds=10 * i) for i in range(30)]
    payloads = [b"{" if i % 10 == 0 else b'{"id": %d, "text": "a film"}' % i for i in range(30)]
    begun = time.monotonic()
    service.publish(subscribe.topic, [(data, {"at": at.isoformat()}) for data, at in zip(payloads, times, strict=True)])
    flags = (*KEYED, "--window=50", "--allowed_lateness=100", "--until_idle=14")
    slow = {"program": "tests.streams.faulty", "fault": ("slow", "14")}
    mode = {"terminal": screen == "terminal"}
    said = Job(model, subscription, tmp_path / "out", service.address, *flags, **slow, **mode).end()
    found = [tuple(int((each or "-1").replace(",", "")) for each in news) for news in NEWS.findall(said)]
    assert len(found) >= 2

    # At work on the first batch: nothing is done, and the oldest message gets older.
    (rate, age, *done) = max((each for each in found if each[2] == 0), key=lambda each: each[1])
    assert (rate, done) == (0, [0, 0, 0, 0, -1]) and 5 <= age <= time.monotonic() - begun
    # Then it is, once: over ten seconds three a second, or over what it runs by then fewer.
    assert any(1 <= rate <= 30 for rate, *_ in found)
    over = [at for at in times[:-1:5] if at + timedelta(seconds=50 + 100) <= times[-1]]
    assert len(over) == 3  # of six
    assert found[-1][1:] == (-1, 27, 3, 3, 3, -1)
    assert "27 labelled, 3 rejected in" in said and "3 sealed, 3 open" in said


@pytest.mark.parametrize("by", ["--for=2", "--until_idle=2"])
def test_it_ends_by_itself_where_nothing_comes(tmp_path, model, service, subscribe, by, capsys):
    (subscription,) = subscribe()
    with broker.leading(service.address):
        assert classify.main([f"--subscription={subscription}", f"--output={tmp_path}", f"--model={model}", by]) == 0
    assert "0 labelled, 0 rejected" in capsys.readouterr().out


def test_a_subscription_that_is_not_there_ends_with_a_sentence(tmp_path, model, service, capsys):
    absent = f"--subscription={broker.PROJECT}/subscriptions/absent"
    with broker.leading(service.address):
        assert classify.main([absent, f"--output={tmp_path}", f"--model={model}"]) == 1
    said = capsys.readouterr().err
    assert "there is no such subscription" in said
    assert "Traceback" not in said


def test_too_many_rejects_are_told_and_stop_nothing(tmp_path, model, service, subscribe, capsys):
    (subscription,) = subscribe()
    service.publish(subscribe.topic, [(b"{", {})] * 60 + keyed(texts(60), 1))
    flags = [f"--subscription={subscription}", f"--output={tmp_path}", f"--model={model}", "--until_idle=3"]
    with broker.leading(service.address):
        assert classify.main(flags) == 0
    said = capsys.readouterr()
    assert "60 of 120 messages were rejected, more than --max_rejected=0.05" in said.err
    assert "60 labelled, 60 rejected" in said.out
