"""Description: config and tokenizer of a folder → the fields of `Checkpoint` that speak of the model."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from seqcls_beam.importing import IMPORTING
from seqcls_beam.model.checkpoints.errors import CheckpointError, panics_raised, told
from seqcls_beam.model.checkpoints.files import check_weights, read_json
from seqcls_beam.model.checkpoints.problems import problem_of
from seqcls_beam.model.checkpoints.tensors import Shapes, largest, outputs_of, shapes

# Families that number positions from padding_idx + 1, so that a table of 514 holds 512 tokens
# (create_position_ids_from_input_ids in transformers/models/*/modeling_*.py, 5.23).
_OFFSET_POSITIONS = {
    *("camembert", "data2vec-text", "esm", "ibert", "longformer", "luke", "mpnet", "roberta"),
    *("roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
}
# What settings of tokenizers treat apart: case, accents, ligatures, scripts, special tokens, blanks of all kinds.
_PROBE = (
    "The  Quick caf\u00e9, na\u00efve STRASSE \u00df don't \u201cquote\u201d 3.14 #tag [MASK] <mask> "
    "a\u0301 \ufb01 \u0130 \u6771\u4eac \u043f\u0440\u0438 \U0001f642\t\n"
)
_FIELDS: dict[str, Any] = {
    "architectures": list,
    "model_type": str,
    "problem_type": str,
    "id2label": dict,
    "label2id": dict,
    "num_labels": int,
    "max_position_embeddings": int,
    "type_vocab_size": int,
    "pad_token_id": int,
}
"""Fields of config.json that are read here → their types; null is as good as absent."""
_ELSEWHERE = {
    "config.json": ("transformers_weights", "configuration_files"),
    "tokenizer_config.json": ("fast_tokenizer_files",),
}
"""What names other files to load in the place of the usual ones, by the file that says it."""
_ATTENTION = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
_WIDTHS = (
    *("vocab_size", "hidden_size", "intermediate_size", "d_model", "d_ff", "dim", "hidden_dim", "n_embd"),
    "embedding_size",
)
_DEPTHS = (
    *("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers"),
    "num_decoder_layers",
)
"""Numbers in a config that are a dimension of some weights, and those that count layers."""
_MOST_LAYERS = 1_000  # that share weights; every other one has some of its own
_INPUTS = ("input_ids", "token_type_ids", "attention_mask")
"""What a classifier is given here; the last follows from the first."""
_OTHER_HEADS = ("ForTokenClassification", "ForMultipleChoice")
"""Heads whose last layer is called as a classifier's, and which answer no question about a whole text."""
_SEGMENTS = ("xlnet",)
"""Families that read token_type_ids, and count the kinds of them nowhere in their config."""
_EXPECTED = {list: "a list", str: "a string", dict: "an object", int: "a whole number"}
_MOST_LABELS = 1_000_000  # transformers makes up a name for each where the config has none
_NO_LIMIT = 1_000_000  # transformers writes 1e30 into tokenizer_config.json for "no limit"
_USUAL_LIMIT = 512  # for relative positions, where neither config nor tokenizer sets a limit


def describe(folder: Path, name: str, problem_type: str | None = None) -> dict[str, Any]:
    """A sequence classifier; raises `CheckpointError` for what cannot be used as one.

    `problem_type` is what its outputs are, whatever its config says.
    """
    raw, tensors = _checked(folder, name)
    _check_head(raw, tensors, name)
    _check_names(raw, name)
    config = _config(folder, name)
    names = {number: str(label) for number, label in config.id2label.items()}
    if sorted(names) != list(range(len(names))) or not names:
        raise CheckpointError(f"{name}: id2label must number the labels from 0, and has {sorted(names)}")
    # Blanks at the ends of a label are not seen, and prepared labels have none.
    twice = [label for label, count in Counter(label.strip() for label in names.values()).items() if count > 1]
    if twice:
        raise CheckpointError(f"{name}: two labels are called {twice[0]!r}; give each a name of its own in config.json")
    outputs = None if tensors is None else outputs_of(tensors)
    if outputs not in (None, len(names)):
        raise CheckpointError(
            f"{name}: config.json names {len(names)} labels, and the weights have {outputs} outputs: name all of them "
            "in id2label, or take the config.json that belongs to the weights"
        )
    problem, reading, contested = problem_of(raw, len(names), name, problem_type)
    return {
        "model_type": config.model_type,
        "labels": tuple(names[i] for i in range(len(names))),
        "problem": problem.removesuffix("_classification"),
        "reading": reading,
        "contested": contested,
        **_reading(folder, name, config),
    }


def _checked(folder: Path, name: str) -> tuple[dict[str, Any], Shapes | None]:
    """(what config.json says, the shapes of the weights), which fit together; raises `CheckpointError`."""
    tensors = shapes(check_weights(folder, name))
    raw = read_json(folder / "config.json", name)
    _check_fields(raw, name)
    if tensors is not None:
        _check_sizes(raw, tensors, name)
    return raw, tensors


def _is_classifier(raw: dict[str, Any], tensors: Shapes | None) -> bool:
    """Whether there is a head: weights tell, and where their names do not, or mean another, what the config says."""
    named = str((raw.get("architectures") or [""])[0])
    if named.endswith(_OTHER_HEADS):
        return False
    return named.endswith("ForSequenceClassification") or (tensors is not None and outputs_of(tensors) is not None)


def _check_head(raw: dict[str, Any], tensors: Shapes | None, name: str) -> None:
    """Raise `CheckpointError` where there is no head: one that lacks a part is refused when it is loaded."""
    # Weights that are no safetensors show nothing before they are loaded.
    if not _is_classifier(raw, tensors) and (tensors is not None or raw.get("architectures")):
        it = (raw.get("architectures") or ["model of no named architecture"])[0]
        raise CheckpointError(f"{name}: has no classification head, it is a {it}; fine-tune it first")


def _check_sizes(raw: dict[str, Any], tensors: Shapes, name: str) -> None:
    """Raise `CheckpointError` for a config of a model that is larger than its weights, before anybody builds it."""
    for fields, most, what in (
        (_WIDTHS, largest(tensors), "no dimension of the weights is as large"),
        (_DEPTHS, max(_MOST_LAYERS, len(tensors)), f"the weights are {len(tensors)} tensors"),
    ):
        for field in fields:
            value = raw.get(field)
            if isinstance(value, int) and value > most:
                raise CheckpointError(
                    f"{name}: {field} in config.json is {value}, and {what}: take the config.json that belongs to them"
                )


def _check_files(folder: Path, name: str) -> None:
    """Raise `CheckpointError` where other files are named than those that are read, or code from elsewhere."""
    for file, fields in _ELSEWHERE.items():
        said = read_json(folder / file, name) if (folder / file).is_file() else {}
        for field in fields:
            if said.get(field) is not None:
                raise CheckpointError(
                    f"{name}: {field} in {file} names other files than the usual ones ({said[field]!r:.200}), which "
                    "are not read: give them the usual names, and leave it out"
                )
        for field in _ATTENTION if file == "config.json" else ():
            used = said.get(field)
            if any("/" in str(each) for each in (used.values() if isinstance(used, dict) else [used])):
                raise CheckpointError(
                    f"{name}: {field} in {file} is {used!r:.200}, which is code from the Hugging Face Hub and never "
                    "run: leave it out"
                )


def _check_fields(raw: dict[str, Any], name: str) -> None:
    """Raise `CheckpointError` for a field of the config that is of another type than the one it is read as."""
    for field, kind in _FIELDS.items():
        value = raw.get(field)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise CheckpointError(f"{name}: {field} in config.json is {value!r:.200}: expected {_EXPECTED[kind]}")


def _check_names(raw: dict[str, Any], name: str) -> None:
    """Raise `CheckpointError` where the config counts and names its labels differently, or some name is none."""
    count, named = raw.get("num_labels"), raw.get("id2label")
    if count is not None and not 1 <= count <= _MOST_LABELS:
        raise CheckpointError(f"{name}: config.json has num_labels {count}: expected 1 to {_MOST_LABELS:,}")
    for label in (named or {}).values():
        if not isinstance(label, str | int) or isinstance(label, bool):
            raise CheckpointError(f"{name}: a label in id2label of config.json is {label!r:.200}: expected its name")
    if count is not None and named is not None and count != len(named):
        raise CheckpointError(
            f"{name}: config.json has num_labels {count} and an id2label of {len(named)}: leave num_labels out, or "
            "name all labels"
        )
    numbered = raw.get("label2id") or {}
    alike = {label.strip().casefold(): number for label, number in numbered.items()}
    for number, label in (named or {}).items():
        other = numbered.get(str(label), alike.get(str(label).strip().casefold(), number))
        if str(other) != str(number):
            raise CheckpointError(
                f"{name}: config.json calls output {number} {label!r} in id2label, and says in label2id that {label!r} "
                f"is output {other}: make both say the same"
            )


def describe_tokenizer(folder: Path, name: str) -> dict[str, Any]:
    """A tokenizer, whatever model stands beside it; raises `CheckpointError`."""
    config = _config(folder, name)
    return {"model_type": config.model_type, "labels": (), "problem": "", **_reading(folder, name, config)}


def describe_base(folder: Path, name: str) -> dict[str, Any]:
    """A model with any head, or none; raises `CheckpointError`."""
    raw, tensors = _checked(folder, name)
    config = _config(folder, name)
    names = config.id2label if _is_classifier(raw, tensors) else {}
    return {
        "model_type": config.model_type,
        "labels": tuple(str(names[i]) for i in sorted(names)),
        "problem": (config.problem_type or "").removesuffix("_classification"),
        **_reading(folder, name, config),
    }


def load_tokenizer(folder: Path, name: str) -> Any:
    """The tokenizer of a folder, as AutoTokenizer makes it; raises `CheckpointError`, which calls it `name`."""
    _check_files(folder, name)
    with IMPORTING:
        from transformers import AutoTokenizer

    try:
        with IMPORTING, panics_raised():  # it imports the module of its class
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise CheckpointError(f"{name}: its tokenizer does not load ({told(error)})") from error
    _check_tokenizer(tokenizer, name)
    return tokenizer


def _check_tokenizer(tokenizer: Any, name: str) -> None:
    """Raise `CheckpointError` for a setting of the tokenizer that is of another type than the one it is read as."""
    limit, inputs = tokenizer.model_max_length, tokenizer.model_input_names
    where = "in tokenizer_config.json is"
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not limit >= 1 or limit % 1 > 0:
        raise CheckpointError(f"{name}: model_max_length {where} {limit!r:.200}: expected a number of tokens")
    if not isinstance(inputs, list | tuple) or "input_ids" not in inputs:
        raise CheckpointError(
            f"{name}: model_input_names {where} {inputs!r:.200}: expected a list of names, input_ids among them"
        )


def _config(folder: Path, name: str) -> Any:
    raw = read_json(folder / "config.json", name)
    _check_fields(raw, name)
    _check_files(folder, name)
    with IMPORTING:
        from transformers import AutoConfig
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    family = raw.get("model_type")
    if family not in CONFIG_MAPPING_NAMES:
        why = "needs its own Python code, which is never run" if "auto_map" in raw else "is unknown to transformers"
        raise CheckpointError(f"{name}: model_type {family!r} {why}")
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise CheckpointError(f"{name}: config.json is not valid ({told(error)})") from error
    return config


def _reading(folder: Path, name: str, config: Any) -> dict[str, Any]:
    """How texts are read."""
    tokenizer = load_tokenizer(folder, name)
    _check_inputs(tokenizer, name)
    several = config.model_type in _SEGMENTS or (getattr(config, "type_vocab_size", None) or 0) > 1
    reads_types = several and "token_type_ids" in tokenizer.model_input_names
    return {
        "max_length": _limit(config, tokenizer.model_max_length),
        "sentence_ids": reads_types,
        "numbered": reads_types and any(tokenizer("a")["token_type_ids"]),
        "reads": _fingerprint(tokenizer),
    }


def _check_inputs(tokenizer: Any, name: str) -> None:
    """Raise `CheckpointError` for a tokenizer that makes more of a text than a classifier is given here."""
    try:
        with panics_raised():
            made = tokenizer("a")
    except Exception as error:
        raise CheckpointError(f"{name}: its tokenizer fails on a text ({told(error)})") from error
    # Tapas has seven kinds of types: lists of them.
    if others := [each for each, values in made.items() if each not in _INPUTS or isinstance([*values, 0][0], list)]:
        raise CheckpointError(
            f"{name}: its tokenizer gives the model {' and '.join(others)} of a form that is not read here: take a "
            "checkpoint that reads texts alone"
        )


def _fingerprint(tokenizer: Any) -> str:
    """A digest that tokenizers share where they have one vocabulary and take the probes apart alike.

    Files do not tell: those of one tokenizer may differ in names, limits and order, and the same tokenizer.json is
    another tokenizer under other settings beside it.
    """
    made: list[Any] = []
    for texts in ((_PROBE,), ("Ä b", "c D")):
        try:
            with panics_raised():
                made.append(tokenizer(*texts, truncation=False)["input_ids"])
        except Exception as error:  # one without an unknown token raises on words that it does not know
            made.append(str(error))
    said = json.dumps([sorted(tokenizer.get_vocab().items()), made])
    return hashlib.blake2b(said.encode(), digest_size=16).hexdigest()


def _limit(config: Any, tokenizer_limit: int) -> int:
    """The most tokens of a sequence, special ones included."""
    positions = getattr(config, "max_position_embeddings", None) or 0
    if config.model_type in _OFFSET_POSITIONS:
        positions -= (1 if config.pad_token_id is None else config.pad_token_id) + 1
    return int(min((each for each in (positions, tokenizer_limit) if 0 < each < _NO_LIMIT), default=_USUAL_LIMIT))
