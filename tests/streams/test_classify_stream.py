"""`pipelines.classify --subscription` as a user starts it, on a real broker: nothing lost, nothing double."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import classify
from seqcls_beam.runs.sealing import seal
from tests import broker, tiny
from tests.corpora import plain_scores, texts, version_digests

pytestmark = [pytest.mark.streams, broker.needs_go]

BASE = datetime(2026, 11, 20, 10, tzinfo=UTC)
WINDOW = 300
KEYED = ("--keep_columns=id:int64", "--timestamp_attribute=at", "--id_attribute=key")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A checkpoint that raises on one word, which its embeddings lack."""
    from transformers import AutoTokenizer

    folder = tiny.checkpoint(tmp_path_factory.mktemp("model"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["unembeddable"])
    tokenizer.save_pretrained(folder)
    return folder


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

    def __init__(self, model, subscription, out, address, *flags, program="pipelines.classify", fault=()):
        self.out = out
        self.said = out.parent / f"{out.name}-{time.monotonic_ns()}.txt"
        command = [sys.executable, "-m", program, *fault, f"--subscription={subscription}", f"--output={out}"]
        command += [f"--model={model}", "--threads=1", f"--window={WINDOW}", "--max_latency=1", *flags]
        with self.said.open("wb") as file:
            self.process = subprocess.Popen(
                command, env=broker.environment(address), stdout=file, stderr=subprocess.STDOUT
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

    def until_said(self, sentence, timeout=240):
        """Wait for a sentence on the screen."""
        deadline = time.monotonic() + timeout
        while sentence not in self.said.read_text():
            assert time.monotonic() < deadline and self.process.poll() is None, self.said.read_text()
            time.sleep(0.02)

    def until(self, pieces, timeout=240):
        """Wait until so many pieces were written by anybody."""
        deadline = time.monotonic() + timeout
        while len(pieces_of(self.out)) < pieces and self.process.poll() is None:
            assert time.monotonic() < deadline, self.said.read_text()
            time.sleep(0.02)
        return self


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
    undisturbed, disturbed = subscribe(2)
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
    for each in (first, again):
        service.publish(subscribe.topic, each)
    assert len(first) + len(again) == 10_000

    flags = (*KEYED, "--allowed_lateness=7200", "--until_idle=4", "--batch_rows=500")
    whole = Job(model, undisturbed, tmp_path / "whole", service.address, *flags)
    whole.end()
    out = tmp_path / "killed"
    with broker.proxied(service) as way:
        for kill in range(kills):
            job = Job(model, disturbed, out, way.address, *flags).until(len(pieces_of(out)) + chance.randint(1, 40))
            if kill in (1, kills - 1):
                way.cut()
                time.sleep(1)
                way.restore()
            time.sleep(chance.uniform(0, 0.5))
            job.process.kill()
            job.process.wait()
        Job(model, disturbed, out, way.address, *flags).end()

    labels, rejects = sealed(out)
    said = dict(zip(labels["id"].to_pylist(), labels["window"].to_pylist(), strict=True))
    times = {i: datetime.fromisoformat(good[i][1]["at"]) for i in range(len(rows)) if i != poison}
    assert len(labels) == len(said) == len(rows) - 1
    assert said == {i: window_of(at) for i, at in times.items()}
    assert Counter((row["reason"], row["raw"], row["window"]) for row in rejects.to_pylist()) == Counter(
        [
            *(("invalid_json", data, window_of(datetime.fromisoformat(at["at"]))) for data, at in malformed),
            ("model_error", rows[poison].encode(), window_of(datetime.fromisoformat(good[poison][1]["at"]))),
        ]
    )
    some = labels.slice(0, 64)
    scores = plain_scores(model, [rows[i] for i in some["id"].to_pylist()])
    np.testing.assert_allclose(np.array(some["scores"].to_pylist()), scores, atol=1e-5)

    sealed(whole.out)
    assert version_digests(out) == version_digests(whole.out)


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


def test_a_batch_that_takes_longer_than_its_lease_comes_once(tmp_path, model, service, subscribe):
    (subscription,) = subscribe(deadline=2)
    ids = service.publish(subscribe.topic, keyed(texts(20), 1))
    slow = {"program": "tests.streams.faulty", "fault": ("slow", "10")}
    job = Job(model, subscription, tmp_path / "out", service.address, *KEYED, "--until_idle=3", **slow)
    said = job.end()
    assert "20 labelled" in said  # of 20 that were written, so none was twice
    labels, _ = sealed(tmp_path / "out")
    assert sorted(labels["message_id"].to_pylist()) == sorted(ids)
    assert service.pull(subscription, 3) == []


def test_two_jobs_share_a_subscription_and_one_is_killed(tmp_path, model, service, subscribe):
    (subscription,) = subscribe(deadline=2)
    rows = texts(3_000, longest=60)
    service.publish(subscribe.topic, keyed(rows, 1))
    out = tmp_path / "out"
    flags = (*KEYED, "--batch_rows=100", "--max_outstanding=400", "--until_idle=6")
    jobs = [Job(model, subscription, out, service.address, *flags) for _ in range(2)]
    jobs[0].until(20)
    jobs[0].process.kill()
    jobs[0].process.wait()
    jobs[1].end()
    labels, rejects = sealed(out)
    assert sorted(labels["id"].to_pylist()) == list(range(len(rows)))
    assert len(rejects) == 0


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
    assert {"raising": "the model is broken", "ENOSPC": "no space is left", "EIO": "injected"}[fault] in said
    labels, rejects = sealed(tmp_path / "out")
    assert sorted(labels["id"].to_pylist()) == list(range(len(rows)))
    assert len(rejects) == 0


def test_what_fails_again_and_again_ends_with_a_sentence(tmp_path, model, service, subscribe):
    (subscription,) = subscribe(deadline=60)
    ids = service.publish(subscribe.topic, keyed(texts(60), 1))
    broken = {"program": "tests.streams.faulty", "fault": ("ENOSPC", "999999")}
    said = Job(model, subscription, tmp_path / "out", service.address, *KEYED, **broken).end(1)
    assert "6 tries in a row labelled no message: no space is left on a disk" in said
    assert sorted(service.pull(subscription, 5)) == sorted(ids)


def test_windows_are_sealed_as_they_are_over(tmp_path, model, service, subscribe):
    (subscription,) = subscribe()
    rows = texts(400)
    spread = sorted(keyed(rows, 1, span=600), key=lambda each: each[1]["at"])
    late = (json.dumps({"id": 400, "text": "late"}).encode(), {"key": "late", "at": BASE.isoformat()})
    wrong = (json.dumps({"id": 401, "text": "wrong"}).encode(), {"key": "wrong", "at": "2099-01-01T00:00:00Z"})
    old = (json.dumps({"id": 402, "text": "old"}).encode(), {"key": "old", "at": "1970-01-01T00:00:01Z"})
    service.publish(subscribe.topic, [wrong, *spread, old])
    out = tmp_path / "out"
    first = out / "_versions" / window_of(BASE, 50)
    job = Job(model, subscription, out, service.address, *KEYED, "--window=50", "--allowed_lateness=100")
    job.until_there(first / "00000001.json")
    service.publish(subscribe.topic, [late])
    job.until_there(first / "00000002.json")
    job.process.send_signal(signal.SIGTERM)
    said = job.end()
    last = max(datetime.fromisoformat(each[1]["at"]) for each in spread)
    over = {window_of(BASE + timedelta(seconds=50 * i), 50) for i in range(12)}
    over = {each for each in over if each <= window_of(last - timedelta(seconds=100 + 50), 50)}
    done = {path.name for path in (out / "labels").iterdir()}
    # A message dated 2099 moves nothing; its own window, and those that are not over, wait for pipelines.seal.
    assert done == over | {"window=19700101T000000Z"}
    assert "1 of them amended" in said
    labels, _ = sealed(out)
    assert sorted(labels["id"].to_pylist()) == list(range(403))


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
