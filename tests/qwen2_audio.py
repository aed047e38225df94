"""Tiny random Qwen2-Audio checkpoints, written by the reference library; see `tests/checkpoints.py` for Gemma 4's.

make_qwen2_audio(tmp_path / "instruct")
make_qwen2_audio(tmp_path / "base", instruct=False)
make_qwen2_audio(tmp_path / "grouped", num_key_value_heads=2)       # any field of the text config
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

BYTES = 256
CONTROL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|audio_bos|>",
    "<|AUDIO|>",
    "<|audio_eos|>",
]
IDS = {token: BYTES + number for number, token in enumerate(CONTROL)}
VOCABULARY = 272  # a few more than the tokenizer knows, as in the released ones


def make_qwen2_audio(
    folder: Path, *, seed: int = 0, instruct: bool = True, dtype: str = "float32", **overrides: Any
) -> Path:
    """Writes a checkpoint: config, weights, tokenizer, feature extractor, generation settings; no chat template.

    Args:
        overrides: fields of the text config; `audio_config={...}` holds fields of the audio config.
    """
    from transformers import WhisperFeatureExtractor

    folder.mkdir(parents=True, exist_ok=True)
    model = reference_model(seed=seed, instruct=instruct, dtype=dtype, **overrides)
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=model.config.audio_config.num_mel_bins).save_pretrained(folder)
    _tokenizer().save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>" if instruct else "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "audio_token": "<|AUDIO|>",
        "audio_bos_token": "<|audio_bos|>",
        "audio_eos_token": "<|audio_eos|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def reference_model(*, seed: int = 0, instruct: bool = True, dtype: str = "float32", **overrides: Any) -> Any:
    """The model of `make_qwen2_audio` in memory, as the reference library's own class."""
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration

    audio = {
        "d_model": 48,
        "encoder_layers": 3,
        "encoder_attention_heads": 4,
        "encoder_ffn_dim": 80,
        "num_mel_bins": 128,
        **overrides.pop("audio_config", {}),
    }
    text = {
        "model_type": "qwen2",
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "tie_word_embeddings": False,
        **overrides,
    }
    config = Qwen2AudioConfig(audio_config=audio, text_config=text, audio_token_index=IDS["<|AUDIO|>"])
    model = Qwen2AudioForConditionalGeneration(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            tensor.copy_(_random(name, tensor, generator))
        model.lm_head.weight[[IDS["<|AUDIO|>"]]] = 0  # as in a trained model, greedy decoding never writes one
    stops = ["<|im_end|>", "<|endoftext|>"] if instruct else ["<|endoftext|>"]
    model.generation_config.eos_token_id = [IDS[token] for token in stops]
    model.generation_config.pad_token_id = IDS["<|endoftext|>"]
    return model.to(getattr(torch, dtype))


def _tokenizer() -> Tokenizer:
    """Byte-level, without a merge."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: id for id, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL])
    assert made.token_to_id(CONTROL[-1]) == IDS[CONTROL[-1]]
    return made


def _random(name: str, tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Values of the size that trained ones have; nothing stands at its neutral value."""

    def normal(scale: float, offset: float = 0.0) -> torch.Tensor:
        return torch.randn(tensor.shape, generator=generator) * scale + offset

    if "norm" in name and name.endswith("weight"):
        return normal(0.25, 1.0)
    if name.endswith("bias"):
        return normal(0.3)
    if name.endswith(("embed_tokens.weight", "embed_positions.weight")):
        return normal(0.7)
    return normal(1.2 * math.prod(tensor.shape[1:]) ** -0.5)
