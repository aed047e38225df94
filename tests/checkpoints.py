"""Tiny random Gemma 4 checkpoints, written by the reference library: what every test of the runtime loads.

Nothing in them stands at its neutral value: norms, layer scalars, per-dimension scales and clipping ranges are all
random, so that leaving one of them out changes the numbers and a test notices. They load in milliseconds.

    make_checkpoint(tmp_path / "e2b")                                     # shared keys and values, a double-wide MLP
    make_checkpoint(tmp_path / "e4b", family="e4b", shards=3)             # other numbers, two key-value heads
    make_checkpoint(tmp_path / "short", max_position_embeddings=100)      # any field of the text config
    make_checkpoint(tmp_path / "deaf", audio=False)
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

SLIDING, FULL = "sliding_attention", "full_attention"

VOCABULARY = 320
CONTROL = {  # id -> token, as Gemma 4 spells them; 0 to 3 as in the released tokenizers
    0: "<pad>",
    1: "<eos>",
    2: "<bos>",
    3: "<unk>",
    300: "<|turn>",
    301: "<turn|>",
    302: "<|audio>",  # begin of audio
    303: "<|audio|>",  # placeholder, one for each audio token
    304: "<audio|>",  # end of audio
    305: "<|channel>",
    306: "<channel|>",
    307: "<|image>",
    308: "<|image|>",
    309: "<image|>",
    310: "<|video|>",
}
IDS = {token: id for id, token in CONTROL.items()}

TEXT: dict[str, dict[str, Any]] = {
    # As E2B: one key-value head, the last layers share keys and values and have an MLP twice as wide.
    "e2b": {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 8,
        "layer_types": [SLIDING, SLIDING, FULL, SLIDING, FULL, SLIDING, SLIDING, FULL],
        "num_kv_shared_layers": 3,
        "use_double_wide_mlp": True,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "global_head_dim": 32,
        "hidden_size_per_layer_input": 8,
        "sliding_window": 16,
    },
    # As E4B: two key-value heads, an MLP of one width; the last layer that owns keys and values is a sliding one.
    "e4b": {
        "hidden_size": 96,
        "intermediate_size": 128,
        "num_hidden_layers": 6,
        "layer_types": [SLIDING, FULL, SLIDING, SLIDING, SLIDING, FULL],
        "num_kv_shared_layers": 2,
        "use_double_wide_mlp": False,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 24,
        "global_head_dim": 40,
        "hidden_size_per_layer_input": 12,
        "sliding_window": 24,
    },
}
AUDIO: dict[str, dict[str, Any]] = {
    "e2b": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "output_proj_dims": 24},
    "e4b": {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2, "output_proj_dims": 40},
}


def make_checkpoint(
    folder: Path,
    *,
    seed: int = 0,
    audio: bool = True,
    shards: int = 1,
    dtype: str = "float32",
    family: str = "e2b",
    **overrides: Any,
) -> Path:
    """Writes a checkpoint: config, weights, tokenizer, generation settings; no chat template.

    Args:
        folder: made if need be.
        seed: of the weights.
        audio: False leaves out the audio tower.
        shards: over how many safetensors files the weights are spread.
        dtype: of the weights: "float32", "bfloat16", "float16".
        family: "e2b" or "e4b", whose proportions it copies.
        overrides: fields of the text config; `audio_config={...}` holds fields of the audio config.

    Returns:
        `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = reference_model(seed=seed, audio=audio, dtype=dtype, family=family, **overrides)
    model.save_pretrained(folder)
    if shards > 1:
        _split(folder, shards)
    make_tokenizer(folder)
    return folder


def reference_model(
    *, seed: int = 0, audio: bool = True, dtype: str = "float32", family: str = "e2b", **overrides: Any
) -> Any:
    """The model of `make_checkpoint` in memory, as the reference library's own class."""
    from transformers import Gemma4Config, Gemma4ForConditionalGeneration

    audio_settings = {"subsampling_conv_channels": [128, 8], **AUDIO[family], **overrides.pop("audio_config", {})}
    text_settings = {
        "vocab_size": VOCABULARY,
        "vocab_size_per_layer_input": VOCABULARY,
        "final_logit_softcapping": 30.0,
        "max_position_embeddings": 4096,
        **TEXT[family],
        **overrides,
    }
    config = Gemma4Config(
        text_config=text_settings,
        audio_config=audio_settings if audio else None,
        vision_config=None,
        boa_token_id=IDS["<|audio>"],
        audio_token_id=IDS["<|audio|>"],
        eoa_token_index=IDS["<audio|>"],
        boi_token_id=IDS["<|image>"],
        image_token_id=IDS["<|image|>"],
        eoi_token_id=IDS["<image|>"],
        video_token_id=IDS["<|video|>"],
    )
    model = Gemma4ForConditionalGeneration(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            tensor.copy_(_random(name, tensor, generator))
        # As in a trained model, greedy decoding never writes a placeholder, nor thinks.
        never = [IDS[token] for token in ("<|audio|>", "<|image|>", "<|video|>", "<|channel>", "<channel|>")]
        model.get_input_embeddings().weight[never] = 0
    model.generation_config.eos_token_id = [IDS["<eos>"], IDS["<turn|>"]]
    model.generation_config.pad_token_id = IDS["<pad>"]
    return model.to(getattr(torch, dtype))


def make_tokenizer(folder: Path) -> Path:
    """Writes a byte-level BPE tokenizer with Gemma 4's control tokens at the ids that the config names."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(CONTROL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator(["What does the speaker say? Which is louder? the other sound, the end."] * 4, trainer)
    learnt = json.loads(trained.to_str())["model"]
    pieces = sorted(learnt["vocab"], key=learnt["vocab"].__getitem__)
    free = (id for id in range(VOCABULARY) if id not in CONTROL)
    vocabulary = {**IDS, **dict(zip(pieces, free, strict=False))}

    tokenizer = Tokenizer(models.BPE(vocabulary, [tuple(pair) for pair in learnt["merges"]]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in IDS])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def _random(name: str, tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Values of the size that trained ones have: activations stay near 1, so that parity bounds mean something."""

    def normal(scale: float, offset: float = 0.0) -> torch.Tensor:
        return torch.randn(tensor.shape, generator=generator) * scale + offset

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(tensor.shape, generator=generator) * (high - low) + low

    if name.endswith(("input_min", "output_min")):  # different for q, k and v, and cutting off a few per cent
        return uniform(-2.5, -1.5)
    if name.endswith(("input_max", "output_max")):
        return uniform(1.5, 2.5)
    if name.endswith("layer_scalar"):
        return uniform(0.5, 0.9)
    if name.endswith("per_dim_scale"):
        return normal(0.5)
    if name.endswith(("q_norm.weight", "k_norm.weight")):  # attention's scale is 1: these set how peaked it is
        return normal(0.1, 0.6)
    if "norm" in name:
        return normal(0.25, 1.0)
    if name.endswith("bias"):
        return normal(0.3)
    if name.endswith(("embed_tokens.weight", "embed_tokens_per_layer.weight", "lm_head.weight")):
        return normal(0.25)
    fan_in = math.prod(tensor.shape[1:])
    return normal(1.2 * fan_in**-0.5)


def _split(folder: Path, shards: int) -> None:
    """Deals the tensors of model.safetensors out to several files, with the index that names them."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {name: f"model-{i % shards + 1:05}-of-{shards:05}.safetensors" for i, name in enumerate(sorted(tensors))}
    for file in sorted(set(places.values())):
        part = {name: tensor for name, tensor in tensors.items() if places[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
