"""The model: from a base to one with the head that the data need, and from there to a folder."""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from seqcls_beam.finetuning.job import Job
from seqcls_beam.model.checkpoints import tokenizer_files

_PROBLEMS = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


def begin(job: Job, attention: str | None) -> Any:
    """The base in float32, with one of transformers' implementations of attention, or the one that it would choose.

    Its head stays where it is one for the same labels; else it is drawn anew, from torch's random state.
    """
    folder, keep = job.base.local(), job.keeps_head
    names = {} if keep else {"id2label": dict(enumerate(job.label_names))}
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **names)
    config.label2id = {name: i for i, name in config.id2label.items()}
    if job.config.train.dropout is not None:
        for name, value in config.to_dict().items():
            if "dropout" in name and (value is None or isinstance(value, float | int)):
                setattr(config, name, job.config.train.dropout)
    config.problem_type = _PROBLEMS[job.prepared.problem]
    config.output_hidden_states = config.output_attentions = False  # nobody reads them, and they fill the memory
    model = AutoModelForSequenceClassification.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,
        attn_implementation=attention,
    )
    if job.base.labels and not keep:
        # transformers draws a head of another size anew by itself; one of the same size is of other labels.
        fresh = AutoModelForSequenceClassification.from_config(config).state_dict()
        body = f"{model.base_model_prefix}."
        model.load_state_dict({name: each for name, each in fresh.items() if not name.startswith(body)}, strict=False)
    return model


def save(model: Any, job: Job, folder: Path) -> None:
    """Write the weights as safetensors, in the dtype that was asked for, the config, and the base's tokenizer as it is.

    The config says float32: that is what the weights are computed in unless someone asks otherwise.
    """
    shutil.rmtree(folder, ignore_errors=True)
    dtype = getattr(torch, job.config.train.stored_dtype)
    weights = {
        name: (each.to(dtype) if each.is_floating_point() else each).cpu().contiguous()
        for name, each in model.state_dict().items()
    }
    model.save_pretrained(folder, state_dict=weights)
    usual = (folder / "config.json").stat().st_mode
    for path in folder.glob("*.safetensors"):
        path.chmod(usual)  # safetensors makes them private, whatever the umask says
    source = job.base.local()
    for name in tokenizer_files(path.name for path in source.iterdir()):
        if name != "config.json":
            shutil.copyfile(source / name, folder / name)


def round_weights(model: Any, job: Job) -> None:
    """Give the model in memory the weights as they are stored."""
    for each in model.parameters():
        each.data = each.data.to(getattr(torch, job.config.train.stored_dtype)).to(torch.float32)
