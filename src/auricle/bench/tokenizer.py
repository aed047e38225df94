"""A tokenizer for models of random weights: every id the model has, and a prompt as long as the released one's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

Made = tuple[
    Tokenizer, dict[str, Any], dict[str, Any]
]  # and what tokenizer_config.json and generation_config.json hold

# Gemma 4's: id -> token, as in the released tokenizer; everything else is bytes and fillers.
CONTROL = {0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>", 105: "<|turn>", 106: "<turn|>"}
FIRST_BYTE = 238
# Words that are one token each, as in the released one, so that a prompt has as many tokens there as here.
WORDS = ("\n", "user", "model", "What", " does", " the", " speaker", " say", " in", " this", " recording", "?")
FIRST_WORD = FIRST_BYTE - len(WORDS)


def files(config: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """tokenizer.json and what stands beside it, for a config.json: each name with its content."""
    made, special, generation = _MAKERS[config["model_type"]](config)
    yield "tokenizer.json", made.to_str(pretty=True).encode()
    yield "tokenizer_config.json", _json({"tokenizer_class": "PreTrainedTokenizerFast", **special})
    yield "generation_config.json", _json(generation)


def _qwen2_audio(config: dict[str, Any]) -> Made:
    """Byte-level, with Qwen's control tokens where the released tokenizer has them, and fillers."""
    names = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
    first = config["audio_token_index"] - names.index("<|AUDIO|>")
    control = {first + number: name for number, name in enumerate(names)}
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    size = config["text_config"]["vocab_size"]
    written = {**dict(enumerate(letters)), **control}
    tokenizer = Tokenizer(models.BPE({written.get(id, f"<unused{id}>"): id for id in range(size)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in names])
    stops = [first + names.index(token) for token in ("<|im_end|>", "<|endoftext|>")]
    special = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    return tokenizer, special, {"eos_token_id": stops, "pad_token_id": first}


def _gemma4(config: dict[str, Any]) -> Made:
    special = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
    return _tokenizer(config), special, {"bos_token_id": 2, "eos_token_id": [1, 106], "pad_token_id": 0}


def _tokenizer(config: dict[str, Any]) -> Tokenizer:
    """Control tokens at the ids that config.json names, a few words, bytes for all other text, and fillers."""
    control = {
        **CONTROL,
        config["boa_token_id"]: "<|audio>",
        config["audio_token_id"]: "<|audio|>",
        config["eoa_token_index"]: "<audio|>",
    }
    written = {FIRST_BYTE + byte: f"<0x{byte:02X}>" for byte in range(256)}
    written |= {FIRST_WORD + i: word for i, word in enumerate(WORDS)} | control
    size = config["text_config"]["vocab_size"]
    vocabulary = {written.get(id, f"<unused{id}>"): id for id in range(size)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in control.values()])
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in WORDS])
    return tokenizer


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


_MAKERS: dict[str, Callable[[dict[str, Any]], Made]] = {"gemma4": _gemma4, "qwen2_audio": _qwen2_audio}
