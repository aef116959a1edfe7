"""A checkpoint from anywhere is data: whatever lies in its folder, no code of it is run."""

import json
import os
import pickle
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from seqcls_beam.finetuning.weights import begin
from seqcls_beam.model.checkpoints import CheckpointError, resolve, resolve_base
from seqcls_beam.model.engine.loading import load
from seqcls_beam.model.tokenizer import tokenizer_of
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


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def sentence(folder):
    """What is said of a checkpoint that is refused before anything of it is loaded."""
    with pytest.raises(CheckpointError) as refused:
        resolve(str(folder))
    said = str(refused.value)
    assert "\n" not in said and str(folder) in said
    return said


def in_files(folder, *names):
    """The weights in files of such names, with an index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    placed = {each: names[i % len(names)] for i, each in enumerate(sorted(weights))}
    for name in names:
        held = {each: weights[each] for each, file in placed.items() if file == name}
        save_file(held, folder / name, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))


@pytest.mark.parametrize("store", ["a folder", "a URI"])
def test_weights_are_of_the_digest_whatever_their_files_are_called(store, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SEQCLS_BEAM_CACHE", str(tmp_path / "cache"))
    in_files(folder, "weights.safetensors", "Ärger 2.safetensors")
    name = str(folder) if store == "a folder" else f"file://{folder}"
    before = resolve(name)
    assert {"weights.safetensors", "Ärger 2.safetensors", "model.safetensors.index.json"} < set(before.files)
    assert load(before, CPU).config.num_labels == 2
    held = load_file(folder / "weights.safetensors")
    save_file({each: held[each] + 1 for each in held}, folder / "weights.safetensors", metadata={"format": "pt"})
    assert resolve(name).digest != before.digest


@pytest.mark.parametrize("name", ["../weights.safetensors", "/etc/passwd", "below/weights.safetensors", "weights.gguf"])
def test_an_index_that_leads_elsewhere_is_refused(name, folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    assert f"weight_map in model.safetensors.index.json names {name!r}" in sentence(folder)


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ("config.json", "transformers_weights", "other.safetensors"),
        ("config.json", "configuration_files", ["config.5.0.0.json"]),
        ("tokenizer_config.json", "fast_tokenizer_files", ["tokenizer.5.0.0.json"]),
        ("config.json", "attn_implementation", "somebody/kernel"),
        ("config.json", "_attn_implementation", "somebody/kernel@v1:function"),
        ("config.json", "attn_implementation", {"": "flash_attention_2|somebody/kernel"}),
    ],
)
def test_a_config_that_names_other_files_or_code_is_refused(file, field, value, folder):
    edit(folder / file, **{field: value})
    said = sentence(folder)
    assert f"{field} in {file}" in said and "leave it out" in said


@pytest.mark.parametrize("name", ["model.safetensors", "chat_template.jinja", "generation_config.json", "vocab.txt"])
def test_what_would_be_waited_for_is_refused(name, folder):
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert f"{name} in {folder} is no file" in sentence(folder)


def test_a_device_behind_a_link_is_refused(folder):
    (folder / "added_tokens.json").symlink_to("/dev/zero")
    assert "added_tokens.json" in sentence(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("num_hidden_layers", each) for each in (2_000_000, 10**30)),
        *((each, 2_000_000_000) for each in ("vocab_size", "hidden_size", "intermediate_size")),
    ],
)
def test_a_model_that_is_larger_than_its_weights_is_not_built(field, value, folder):
    edit(folder / "config.json", **{field: value})
    assert f"{field} in config.json is {value}, and" in sentence(folder)


@pytest.mark.parametrize("field", ["max_position_embeddings", "type_vocab_size"])
def test_a_table_that_the_weights_do_not_have_takes_no_memory(field, folder):
    edit(folder / "config.json", **{field: 2_000_000_000})
    with pytest.raises(CheckpointError, match=r"by config.json the model has [\d,]+ numbers"):
        load(resolve(str(folder)), CPU)


def test_an_adapter_is_refused_with_the_way_to_merge_it(folder):
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    assert "merge it into its base with peft" in sentence(folder)


@pytest.mark.parametrize("architectures", [None, [], ["MyClassifier"], ["BertForMaskedLM"]])
def test_a_head_is_known_by_its_weights(architectures, folder):
    edit(folder / "config.json", architectures=architectures)
    assert load(resolve(str(folder)), CPU).config.num_labels == 2


def test_no_native_code_is_fetched_from_the_hub():
    from transformers.integrations import hub_kernels

    assert not hub_kernels._kernels_enabled


def template(folder, *pieces):
    """Whatever the class of a tokenizer makes of texts, its file says what is round them."""
    for name, said in (
        ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"}),
        ("tokenizer.json", {"post_processor": {"type": "TemplateProcessing", "single": pieces, "pair": PAIR}}),
    ):
        document = json.loads((folder / name).read_text()) | said
        if name == "tokenizer.json":
            document["post_processor"]["special_tokens"] = {}
        (folder / name).write_text(json.dumps(document))
    return folder


def text(name):
    return {"Sequence": {"id": name, "type_id": 0}}


PAIR = [text("A"), text("B")]


def test_a_template_that_reads_another_text_than_the_first_is_refused(folder):
    with pytest.raises(CheckpointError, match=r"its tokenizer fails on a text \(RuntimeError: PanicException: index"):
        resolve(str(template(folder, text("B"))))


@pytest.mark.parametrize("pieces", [(), ("A", "A")])
def test_a_template_without_a_text_or_with_two_is_refused(folder, pieces):
    checkpoint = resolve(str(template(folder, *map(text, pieces))))
    with pytest.raises(CheckpointError, match="puts marks into a text, or repeats it"):
        tokenizer_of(checkpoint, 1)
