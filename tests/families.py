"""Tiny checkpoints of every family that transformers has a sequence classifier for.

Random weights, and a tokenizer of the family's own class, trained on a few lines, where that class can be had without a
file of somebody else's; else one of the form that its checkpoints have. Nothing is downloaded.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.tiny import CORPUS, tokenizer

LONGEST = 96  # tokens
LABELS = ("bad", "fair", "good")

_LAYERS = 2
_SIZES: dict[str, Any] = {
    # far apart, so that no fault hides in answers that are all alike
    **dict.fromkeys(("initializer_range", "init_std", "embed_init_std"), 0.3),
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "word_embed_proj_dim"), 32),
    **dict.fromkeys(("out_hidden_size", "pooler_hidden_size", "embedding_size", "prediction_head_size"), 32),
    **dict.fromkeys(("intermediate_size", "d_ff", "d_inner", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim"), 64),
    **dict.fromkeys(("hidden_dim", "dff", "ffn_hidden_size", "feed_forward_size", "n_inner"), 64),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers"), _LAYERS),
    **dict.fromkeys(("decoder_layers", "num_decoder_layers", "depth"), _LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "index_n_heads", "linear_num_value_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "linear_num_key_heads"), 2),
    **dict.fromkeys(("head_dim", "d_head", "d_kv", "kv_channels", "attention_head_size", "index_head_dim"), 8),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "v_head_dim", "qk_nope_head_dim"), 8),
    **dict.fromkeys(("qk_rope_head_dim", "rotary_dim"), 4),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank", "gated_norm_rank", "adapter_rank"), 8),
    "qk_head_dim": 12,
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "original_max_position_embeddings"), 128),
    **dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token"), 2),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace", "num_random_blocks"), 1),
    # Shorter than the longer ones of the texts.
    **dict.fromkeys(("sliding_window", "attention_window", "local_attention", "window_size", "index_topk"), 16),
    **dict.fromkeys(("keep_window_size", "lsh_attn_chunk_length", "local_attn_chunk_length"), 16),
    "block_size": 4,
    **dict.fromkeys(("shape_vocab_size", "pronunciation_vocab_size", "entity_vocab_size"), 50),
    **dict.fromkeys(("shape_embed_dim", "pronunciation_embed_dim", "entity_emb_size"), 16),
    **dict.fromkeys(("image_size", "input_size"), 32),
}
"""Sizes by their names, for the configs that have them."""
_LATENT = {"head_dim": 4, "num_key_value_heads": 4}  # as multi-head latent attention has them
_EIGHT = {"head_dim": 8}
_OWN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk1", "axk2", "deepseek_v3", "minicpm3"), _LATENT),
    **dict.fromkeys(("hunyuan_v1_dense", "hunyuan_v1_moe", "ministral"), _EIGHT),
    "deepseek_v2": _LATENT | {"num_experts_per_tok": 2},
    "mistral4": _LATENT | {"head_dim": 12},
    "nemotron": {"head_dim": 8, "num_key_value_heads": 2},
    "cohere_compass_text": {
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 1, 1]}
        }
    },
    "perceiver": {"d_latents": 32, "num_latents": 8, "num_self_attends_per_block": 2, "num_blocks": 1},
    "zamba": {"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2},
    "esmc": {"num_key_value_heads": 4},
    "funnel": {"block_sizes": [1, 1], "block_repeats": [1, 1]},
    "layoutlmv3": {"coordinate_size": 6, "shape_size": 4},
    "lilt": {"hidden_size": 48},
    "reformer": {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 16], "pad_token_id": 0},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "canine": {"local_transformer_stride": 16},
    "xmod": {"default_language": "en_XX"},
}
"""What only one family's config needs."""
_OF_LAYERS = ("layer_types", "_layers", "_block_type")
"""How lists end that have an entry a layer."""
_FORMS = {
    **dict.fromkeys(("bigbird_pegasus", "umt5"), "T5Tokenizer"),
    **dict.fromkeys(("plbart", "xlm", "flaubert", "biogpt"), "RobertaTokenizer"),
    **dict.fromkeys(("roformer", "esm"), "BertTokenizer"),
    **dict.fromkeys(("modernbert", "modernbert-decoder", "modernvbert", "nystromformer", "eurobert"), "modernbert"),
    **dict.fromkeys(("ultrabert", "ultravbert"), "modernbert"),
    "ctrl": "GPT2Tokenizer",
    **dict.fromkeys(("llama", "mistral", "mixtral", "gpt_oss", "t5gemma2"), "GemmaTokenizer"),
    "xlm-roberta-xl": "XLMRobertaTokenizer",
}
"""Classes of tokenizers where transformers names none for a family, or one that needs files or other packages."""
_OF_FILES = ("TapasTokenizer", "RoCBertTokenizer")
_DECODERS = "GPT2Tokenizer"  # bytes, no special tokens, and none to pad with
_TYPED = ("xlnet", "funnel")  # as their checkpoints' tokenizers have it, [CLS] is of a type of its own


def families() -> list[str]:
    """Those of the installed transformers."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

    return sorted(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)


def checkpoint(folder: Path, family: str) -> Path:
    """Write a checkpoint of a family; return its folder."""
    import torch
    import transformers as hf

    words = words_of(family)
    words.model_max_length = LONGEST
    words.save_pretrained(folder)
    config = config_of(family, words)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = hf.AutoModelForSequenceClassification.from_config(config)
    model.save_pretrained(folder)
    return folder


def words_of(family: str) -> Any:
    """A tokenizer as the family's checkpoints have one."""
    import transformers as hf
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    known = TOKENIZER_MAPPING_NAMES.get(family) or _DECODERS
    kind = _FORMS.get(family, _DECODERS if known == "TokenizersBackend" else known)
    if kind == "modernbert":
        return tokenizer("modernbert")
    if kind in _OF_FILES:
        return _of_files(kind)
    empty = hf.MarkupLMTokenizer(tags_dict={"p": 0}) if kind == "MarkupLMTokenizer" else getattr(hf, kind)()
    if not empty.is_fast or kind.startswith(("Layout", "Markup")):  # these learn from no plain texts
        return empty
    made = empty.train_new_from_iterator([CORPUS * 4], vocab_size=400, show_progress=False)
    if family in _TYPED:
        made.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return made


def _of_files(kind: str) -> Any:
    """A tokenizer in Python that reads a list of words and, of each, its shape and its sound."""
    import transformers as hf

    known = tokenizer("bert").get_vocab()
    words = sorted(known, key=lambda word: known[word])
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, numbers = Path(folder, "vocab.txt"), Path(folder, "numbers.json")
        vocabulary.write_text("\n".join(words))
        numbers.write_text(json.dumps({word: len(word) for word in words}))
        others = [str(numbers)] * 2 if kind == "RoCBertTokenizer" else []
        return getattr(hf, kind)(str(vocabulary), *others)


def config_of(family: str, words: Any) -> Any:
    """A tiny config with everything else as the family has it by default."""
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    ids = {f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("pad", "bos", "eos", "cls", "sep")}
    ids["bos_token_id"] = ids["cls_token_id"] if ids["bos_token_id"] is None else ids["bos_token_id"]
    ids["eos_token_id"] = ids["sep_token_id"] if ids["eos_token_id"] is None else ids["eos_token_id"]
    start = ids["pad_token_id"] if ids["bos_token_id"] is None else ids["bos_token_id"]
    ids["pad_index"] = ids["pad_token_id"]
    ids["vocab_size"] = 0x110000 if family == "canine" else len(words)
    default = CONFIG_MAPPING[family]().to_dict()
    tiny = _shrunk(default, ids) | _OWN.get(family, {})
    if default.get("is_encoder_decoder"):
        tiny["decoder_start_token_id"] = start
    named = {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}
    return AutoConfig.for_model(family, **tiny, **named)


def _shrunk(default: dict[str, Any], ids: dict[str, Any]) -> dict[str, Any]:
    """The fields of a config that become tiny, and those of the configs within it."""
    made: dict[str, Any] = {}
    for name, value in default.items():
        if isinstance(value, dict) and "model_type" in value:
            made[name] = value | _shrunk(value, ids)
        elif isinstance(value, list) and len(value) > _LAYERS and name.endswith(_OF_LAYERS):
            kinds = list(dict.fromkeys(value))
            made[name] = [*kinds, *kinds[-1:] * _LAYERS][: max(_LAYERS, len(kinds))]
            made["num_hidden_layers"] = len(made[name])
        elif name in ids:
            made[name] = ids[name]
        elif name in _SIZES and value is not None:
            made[name] = _SIZES[name]
    return made
