"""The device that an option names, and whose it is."""

import logging
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from seqcls_beam.model import cards
from seqcls_beam.model.engine.devices import cuda_devices, resolve_device
from seqcls_beam.model.engine.errors import EngineError
from tests.model.test_cards import TAKES

UUIDS = [f"0f3bb2c4-0000-0000-0000-00000000000{card}" for card in range(3)]


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A folder for the locks of this test, in a process that holds none yet."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(cards, "_held", {})
    yield tmp_path
    for file in cards._held.values():
        os.close(file)


@pytest.fixture
def three_cards(own_folder, monkeypatch):
    """A machine with three GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(UUIDS))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda card: SimpleNamespace(uuid=UUIDS[card]))
    return own_folder


def test_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")
    assert cuda_devices() == 0
    for name in ("cuda", "cuda:0", "cuda:1"):
        with pytest.raises(EngineError, match=re.escape(f"--device={name}: there is no CUDA device here")):
            resolve_device(name)


def test_a_process_takes_a_card_that_no_other_has_and_keeps_it(three_cards):
    # The other one sees two of the three.
    command = [sys.executable, "-c", TAKES, UUIDS[0], UUIDS[2]]
    pipe, where = subprocess.PIPE, {**os.environ, "TMPDIR": str(three_cards)}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=where) as other:
        assert other.stdout and other.stdout.readline() == "0\n"
        for name in ("auto", "cuda", "auto"):
            assert resolve_device(name) == torch.device("cuda:1")
    assert resolve_device("auto") == torch.device("cuda:1"), "although the first is free now"
    assert cuda_devices() == 3


def test_a_card_that_is_named_is_given_and_counts(three_cards):
    for _ in range(2):
        assert resolve_device("cuda:2") == torch.device("cuda:2")
    assert resolve_device("auto") == torch.device("cuda:2"), "one process, one card"
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(EngineError, match=r"--device=cuda:3: there is no such CUDA device here \(torch .* sees 3\)"):
        resolve_device("cuda:3")
    assert {path.name for path in three_cards.iterdir()} == {f"seqcls_beam-{UUIDS[card]}-0" for card in (0, 2)}


def test_where_nothing_can_be_locked_it_is_the_first(three_cards, monkeypatch, caplog):
    monkeypatch.setattr("tempfile.tempdir", str(three_cards / "none"))
    with caplog.at_level(logging.WARNING):
        assert resolve_device("auto") == torch.device("cuda:0")
    assert "none can be locked: [Errno 2] No such file or directory" in caplog.text


@pytest.mark.gpu
def test_a_real_card_has_a_name_to_be_locked_by(own_folder):
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda:0")
    (lock,) = own_folder.iterdir()
    assert re.fullmatch(r"seqcls_beam-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-0", lock.name)
    assert cuda_devices() >= 1
