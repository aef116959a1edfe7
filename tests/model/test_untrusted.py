"""A checkpoint from anywhere is data: whatever lies in its folder, no code of it is run."""

import json
import os
import pickle
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from seqcls_beam.finetuning.weights import begin
from seqcls_beam.model.checkpoints import CheckpointError, resolve, resolve_base
from seqcls_beam.model.engine.loading import load
from tests import tiny

CPU = torch.device("cpu")


class Planted:
    """What makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def planted(tmp_path):
    """A sign that code of the checkpoint was run: a folder that is not there as long as none was."""
    sign = tmp_path / "planted"
    pickle.loads(pickle.dumps(Planted(sign)))
    assert sign.exists()  # unpickled without care it works
    sign.rmdir()
    yield sign
    assert not sign.exists()


@pytest.fixture
def folder(tmp_path):
    return tiny.checkpoint(tmp_path / "model")


def as_zip(file, planted):
    torch.save({"classifier.weight": Planted(planted)}, file)


def as_pickle(file, planted):
    file.write_bytes(pickle.dumps({"classifier.weight": Planted(planted)}, protocol=2))  # as torch.save once did


@pytest.mark.parametrize("write", [as_zip, as_pickle])
def test_weights_that_are_pickled_run_nothing(write, folder, planted):
    write(tiny.only_bin(folder) / "pytorch_model.bin", planted)
    with pytest.raises(CheckpointError, match=r"does not load .*holds more than weights") as failure:
        load(resolve(str(folder)), CPU)
    said = str(failure.value)  # torch says how to run it all the same
    assert "\n" not in said and "weights_only" not in said and "trust" not in said


def test_what_does_not_fit_together_is_said_in_a_line(folder, caplog, capsys):
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(said | {"intermediate_size": said["intermediate_size"] + 1}))
    needs, has = said["intermediate_size"] + 1, said["intermediate_size"]
    with pytest.raises(
        CheckpointError, match=rf"has the shape \({has},\) in the weights, and \({needs},\) by"
    ) as failure:
        load(resolve(str(folder)), CPU)
    (folder / "config.json").write_text(json.dumps(said | {"hidden_size": "many"}))
    with pytest.raises(CheckpointError, match=r"config\.json is not valid .*hidden_size") as wrong:
        resolve(str(folder))
    (folder / "config.json").write_text(json.dumps(said | {"num_hidden_layers": said["num_hidden_layers"] - 1}))
    load(resolve(str(folder)), CPU)
    (line,) = [each.getMessage() for each in caplog.records]
    assert "of the weights 16 have no place in the model, such as bert.encoder.layer." in line
    for each in (str(failure.value), str(wrong.value), line):
        assert "\n" not in each
    assert "REPORT" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("write", [as_zip, as_pickle])
def test_a_base_to_begin_with_runs_nothing(write, folder, planted):
    write(tiny.only_bin(folder) / "pytorch_model.bin", planted)
    asked = SimpleNamespace(train=SimpleNamespace(dropout=None))
    data = SimpleNamespace(problem="single_label")
    job: Any = SimpleNamespace(base=resolve_base(str(folder)), keeps_head=True, config=asked, prepared=data)
    with pytest.raises(pickle.UnpicklingError):
        begin(job, None)


def test_modules_that_a_config_names_are_not_imported(folder, planted):
    (folder / "mine.py").write_text(f"import os\nos.mkdir({str(planted)!r})\n")
    named = {"AutoConfig": "mine.Config", "AutoModelForSequenceClassification": "mine.Model"}
    for name, more in (("config.json", named), ("tokenizer_config.json", {"AutoTokenizer": ["mine.T", "mine.T"]})):
        said = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**said, "auto_map": more}))
    assert load(resolve(str(folder)), CPU).config.num_labels == 2
