"""Random weights: the same numbers for everybody who asks, in memory or not, and a tokenizer that fits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from auricle.bench import random_weights
from auricle.bench.making import make
from auricle.bench.random_weights import RandomCheckpoint
from auricle.checkpoint import Checkpoint
from auricle.models.text import TextCodec

UP = "model.language_model.layers.0.mlp.up_proj.weight"
CLIP = "model.audio_tower.layers.0.self_attn.q_proj.input_"


def test_numbers_are_what_a_checkpoint_has() -> None:
    source = RandomCheckpoint("small")
    weights = source.tensor(UP).float()
    assert (source.tensors[UP].shape, source.tensors[UP].dtype) == (tuple(weights.shape), "BF16") == ((128, 64), "BF16")
    assert abs(weights.std() - 0.02) < 0.001
    assert abs(weights.mean()) < 0.001
    assert (source.tensor(f"{CLIP}min").item(), source.tensor(f"{CLIP}max").item()) == (-9984, 9984)  # 1e4 in bfloat16
    assert torch.equal(source.tensor("model.language_model.norm.weight"), torch.ones(64, dtype=torch.bfloat16))


def test_a_tensor_depends_on_its_name_and_the_seed_alone() -> None:
    first, second = RandomCheckpoint("small"), RandomCheckpoint("small")
    for name in ("model.language_model.layers.1.mlp.up_proj.weight", UP):
        first.tensor(name)
    assert torch.equal(first.tensor(UP), second.tensor(UP))
    assert not torch.equal(first.tensor(UP), first.tensor(UP.replace("0", "1")))
    assert not torch.equal(first.tensor(UP), RandomCheckpoint("small", seed=1).tensor(UP))


def test_pieces_are_not_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_weights, "PIECE", 1000)
    pieces = list(RandomCheckpoint("small").pieces(UP))
    assert [len(piece) for piece in pieces] == [1000] * 8 + [192]
    assert not torch.equal(pieces[0], pieces[1])


def test_a_large_tensor_is_mapped_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = RandomCheckpoint("small").tensor(UP)
    monkeypatch.setattr(random_weights, "IN_MEMORY", 1000)
    mapped = RandomCheckpoint("small", scratch=tmp_path).tensor(UP)
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(mapped, expected)


def test_the_full_preset_has_the_released_size() -> None:
    tensors = RandomCheckpoint("gemma-4-e2b").tensors
    numbers = sum(info.bytes for info in tensors.values()) / 2
    assert numbers == pytest.approx(4.94e9, rel=0.01)  # 5.1e9 with what isn't read: the vision tower, unused keys
    table = tensors["model.language_model.embed_tokens_per_layer.weight"]
    assert table.shape == (262_144, 35 * 256)


def test_the_tokenizer_has_control_tokens_words_and_bytes(tmp_path: Path) -> None:
    codec = TextCodec(Checkpoint(make("small", "bf16", tmp_path)))
    text = "<|turn>user\nWhat does the speaker say?é<|audio|>"
    ids = codec.encode(text)
    assert ids[0] == 105
    assert ids[-1] == 501
    assert len(ids) == 1 + 2 + 6 + 2 + 1  # control, words, bytes
    assert codec.decode(ids) == "user\nWhat does the speaker say?é"
