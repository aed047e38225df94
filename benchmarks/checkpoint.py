"""A Gemma 4 checkpoint of random weights: speed doesn't depend on their values, so none has to be downloaded.

It is an ordinary folder of the hub, sharded as released ones are, and both engines read it as such. Tensors are drawn
and written piece by piece, so that making 10 GB takes no more than a few hundred megabytes of memory.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

from auricle.models.gemma4.config import Gemma4Config
from auricle.models.gemma4.model import Gemma4

SHARD_BYTES = 2_000_000_000
PIECE = 8 << 20  # numbers drawn at a time
CLIP = 1e4  # the clipped linears' ranges: never met, but the work is done

PATTERN = [*["sliding_attention"] * 4, "full_attention"]
# id -> token, as in the released tokenizer; everything else is bytes and fillers.
CONTROL = {0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>", 105: "<|turn>", 106: "<turn|>"}
FIRST_BYTE = 238
# Words that are one token each, as in the released one, so that a prompt has as many tokens there as here.
WORDS = ("\n", "user", "model", "What", " does", " the", " speaker", " say", " in", " this", " recording", "?")
FIRST_WORD = FIRST_BYTE - len(WORDS)

E2B: dict[str, Any] = {
    "vocab_size": 262_144,
    "vocab_size_per_layer_input": 262_144,
    "hidden_size": 1536,
    "hidden_size_per_layer_input": 256,
    "intermediate_size": 6144,
    "use_double_wide_mlp": True,
    "num_hidden_layers": 35,
    "num_kv_shared_layers": 20,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "global_head_dim": 512,
    "layer_types": PATTERN * 7,
    "sliding_window": 512,
    "final_logit_softcapping": 30.0,
    "max_position_embeddings": 131_072,
}
# The same shape of model, small enough to try the benchmark itself.
SMALL: dict[str, Any] = {
    **E2B,
    "vocab_size": 512,
    "vocab_size_per_layer_input": 512,
    "hidden_size": 64,
    "hidden_size_per_layer_input": 16,
    "intermediate_size": 128,
    "num_hidden_layers": 15,
    "num_kv_shared_layers": 5,
    "head_dim": 16,
    "global_head_dim": 32,
    "layer_types": PATTERN * 3,
}
SIZES: dict[str, dict[str, Any]] = {
    "e2b": {
        "text_config": E2B,
        "audio_config": {},
        "boa_token_id": 256_000,
        "audio_token_id": 258_881,
        "eoa_token_index": 258_883,
    },
    "small": {
        "text_config": SMALL,
        "audio_config": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "output_proj_dims": 64},
        "boa_token_id": 500,
        "audio_token_id": 501,
        "eoa_token_index": 502,
    },
}


def make(folder: Path, size: str, seed: int = 0) -> None:
    """Writes a checkpoint of one of `SIZES` into `folder`; one that is there and complete is left as it is."""
    settings = _settings(SIZES[size])
    done = folder / "config.json"  # written last
    if done.is_file() and json.loads(done.read_text()) == settings:
        return
    folder.mkdir(parents=True, exist_ok=True)
    done.unlink(missing_ok=True)
    _write_tokenizer(folder, settings)
    _write_weights(folder, _shapes(settings), torch.Generator().manual_seed(seed))
    _write_json(folder / "generation_config.json", {"bos_token_id": 2, "eos_token_id": [1, 106], "pad_token_id": 0})
    _write_json(done, settings)


def _settings(size: dict[str, Any]) -> dict[str, Any]:
    return {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "model_type": "gemma4",
        "dtype": "bfloat16",
        "tie_word_embeddings": True,
        "vision_config": None,
        **size,
        "text_config": {"model_type": "gemma4_text", "tie_word_embeddings": True, **size["text_config"]},
        "audio_config": {"model_type": "gemma4_audio", **size["audio_config"]},
    }


def _shapes(settings: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor of the checkpoint, from a model without storage."""
    with torch.device("meta"):
        model = Gemma4(Gemma4Config.from_dict(settings))
    return {model.checkpoint_name(name): tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _write_weights(folder: Path, shapes: dict[str, tuple[int, ...]], generator: torch.Generator) -> None:
    shards = list(_shards(shapes))
    places = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        places.update(dict.fromkeys(names, file))
        _write_shard(folder / file, {name: shapes[name] for name in names}, generator)
    total = sum(_bytes(shape) for shape in shapes.values())
    _write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": places})


def _shards(shapes: dict[str, tuple[int, ...]]) -> Iterator[list[str]]:
    """Names in order, as many to a shard as it holds; a tensor is never split."""
    names: list[str] = []
    held = 0
    for name, shape in shapes.items():
        if names and held + _bytes(shape) > SHARD_BYTES:
            yield names
            names, held = [], 0
        names.append(name)
        held += _bytes(shape)
    yield names


def _write_shard(path: Path, shapes: dict[str, tuple[int, ...]], generator: torch.Generator) -> None:
    """The safetensors format by hand: 8 bytes of length, a JSON header padded to 8, the tensors one after the other."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + _bytes(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    packed = json.dumps(header).encode()
    packed += b" " * (-len(packed) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(packed)) + packed)
        for name, shape in shapes.items():
            for piece in _values(name, shape, generator):
                stream.write(piece.bfloat16().view(torch.uint8).numpy())


def _values(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Iterator[torch.Tensor]:
    """A tensor's numbers, flat, in pieces: norms one, clip ranges wide, weights normal."""
    count = torch.Size(shape).numel()
    if "norm" in name or name.endswith("layer_scalar"):
        yield torch.ones(count)
    elif name.endswith(("_min", "_max")):
        yield torch.full((count,), CLIP if name.endswith("_max") else -CLIP)
    else:
        for start in range(0, count, PIECE):
            yield torch.randn(min(PIECE, count - start), generator=generator) * 0.02


def _bytes(shape: tuple[int, ...]) -> int:
    return 2 * torch.Size(shape).numel()


def _write_tokenizer(folder: Path, settings: dict[str, Any]) -> None:
    """Control tokens at the ids that config.json names, a few words, bytes for all other text, and fillers."""
    control = {
        **CONTROL,
        settings["boa_token_id"]: "<|audio>",
        settings["audio_token_id"]: "<|audio|>",
        settings["eoa_token_index"]: "<audio|>",
    }
    written = {FIRST_BYTE + byte: f"<0x{byte:02X}>" for byte in range(256)}
    written |= {FIRST_WORD + i: word for i, word in enumerate(WORDS)} | control
    size = settings["text_config"]["vocab_size"]
    vocabulary = {written.get(id, f"<unused{id}>"): id for id in range(size)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in control.values()])
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in WORDS])
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "pad_token": "<pad>",
        },
    )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
