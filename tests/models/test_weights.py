"""Filling a model: every tensor in its place, none missing, none left over."""

from __future__ import annotations

import json
import mmap
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError
from auricle.models.family import Family, open_family, read_one
from tests.checkpoints import IDS, make_checkpoint

CPU = torch.device("cpu")


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Family:
    family = open_family(Checkpoint(folder))
    family.load(CPU, dtype)
    return family


def change(folder: Path, add: dict[str, Tensor] | None = None, remove: tuple[str, ...] = ()) -> None:
    tensors = load_file(folder / "model.safetensors") | (add or {})
    save_file({k: v for k, v in tensors.items() if k not in remove}, folder / "model.safetensors")


def last_logits(family: Family) -> Tensor:
    with torch.inference_mode():
        return read_one(family, [5, 6, 7, 8], None, family.new_cache())


def same(a: Tensor, b: Tensor) -> bool:
    """But for where tensors lie in memory, on which rounding may depend."""
    return bool((a - b).abs().max() < 1e-4)


def test_a_missing_tensor_is_named(copied: Path) -> None:
    change(copied, remove=("model.language_model.layers.1.layer_scalar",))
    with pytest.raises(CheckpointError, match=r"lacks tensor model\.language_model\.layers\.1\.layer_scalar: "):
        load(copied)


def test_of_several_missing_the_first_is_named_and_the_others_counted(copied: Path) -> None:
    tower = tuple(name for name in load_file(copied / "model.safetensors") if ".audio_tower.layers.1." in name)
    change(copied, remove=tower)
    with pytest.raises(CheckpointError, match=rf"lacks tensor {min(tower)} and {len(tower) - 1} more: "):
        load(copied)


def test_a_tensor_left_over_is_named(copied: Path) -> None:
    change(copied, add={"model.language_model.layers.0.self_attn.q_proj.lora_A": torch.zeros(2)})
    with pytest.raises(CheckpointError, match=r"has unknown tensor model\.language_model.*\.q_proj\.lora_A: "):
        load(copied)


def test_a_layer_too_many_is_left_over(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] -= 1
    config["text_config"]["layer_types"].pop(0)
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"has unknown tensor model\.language_model\.layers\.7\."):
        load(copied)


def test_another_shape_is_named_with_both(copied: Path) -> None:
    change(copied, add={"model.language_model.norm.weight": torch.ones(63)})
    with pytest.raises(CheckpointError, match=r"model\.language_model\.norm\.weight is \(63,\), .* makes it \(64,\)"):
        load(copied)


def test_keys_and_values_of_sharing_layers_are_accepted_and_not_used(e2b: Path, copied: Path) -> None:
    """Released checkpoints carry them."""
    attention = "model.language_model.layers.{}.self_attn.{}"
    spare = {attention.format(i, "k_norm.weight"): torch.ones(16) for i in (5, 6)}
    spare |= {attention.format(i, f"{kind}_proj.weight"): torch.ones(16, 64) for i in (5, 6) for kind in "kv"}
    spare |= {attention.format(7, f"{kind}_proj.weight"): torch.ones(32, 64) for kind in "kv"}
    change(copied, add=spare)
    assert same(last_logits(load(copied)), last_logits(load(e2b)))


def test_but_not_of_a_layer_that_owns_them_twice(copied: Path) -> None:
    change(copied, add={"model.language_model.layers.4.self_attn.v_norm.weight": torch.ones(32)})
    with pytest.raises(CheckpointError, match=r"has unknown tensor .*layers\.4\.self_attn\.v_norm"):
        load(copied)


def test_the_vision_tower_and_the_tied_head_are_not_needed(e2b: Path, copied: Path) -> None:
    parts = ("model.vision_tower.patch_embedder.x", "model.embed_vision.embedding_projection.weight", "lm_head.weight")
    change(copied, add={name: torch.zeros(3) for name in parts})
    assert same(last_logits(load(copied)), last_logits(load(e2b)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_embedding_tables_stay_mapped(tmp_path: Path, dtype: torch.dtype) -> None:
    """Whatever the model computes in, the tables stay the file's memory: one is 4.7 GB in E2B."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc/self/maps on this system")
    folder = make_checkpoint(tmp_path, dtype="bfloat16")
    family = load(folder, dtype)
    last_logits(family)
    decoder = family.model.get_submodule("language_model")
    for name in ("embed_tokens", "embed_tokens_per_layer"):
        table = decoder.get_parameter(f"{name}.weight")
        assert table.dtype == torch.bfloat16
        assert backed_by(maps, table.data_ptr()) == str((folder / "model.safetensors").resolve())


def backed_by(maps: Path, address: int) -> str:
    for line in maps.read_text().splitlines():
        low, high = (int(end, 16) for end in line.split()[0].split("-"))
        if low <= address < high:
            return line.split(maxsplit=5)[5] if len(line.split()) > 5 else ""
    return ""


def test_a_head_in_another_dtype_is_converted_once(tmp_path: Path) -> None:
    """Not at every token: in E2B that would be 400 million numbers each time."""
    family = load(make_checkpoint(tmp_path, dtype="bfloat16"), torch.float32)
    table = family.model.get_submodule("language_model.embed_tokens")
    last_logits(family)
    first = table._copy
    assert isinstance(first, Tensor)
    assert first.dtype == torch.float32
    last_logits(family)
    assert table._copy is first
    assert "language_model.embed_tokens._copy" not in family.model.state_dict()


def test_a_head_in_the_files_own_dtype_is_the_mapped_table(e2b: Path) -> None:
    family = load(e2b)
    last_logits(family)
    assert family.model.get_submodule("language_model.embed_tokens")._copy is None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc/self/status on this system")
def test_memory_of_its_own_does_not_grow_by_a_table(tmp_path: Path) -> None:
    rows = 400_000  # x 8 layers x 8 = 51 MB in bfloat16
    folder = make_checkpoint(tmp_path, dtype="bfloat16", vocab_size_per_layer_input=rows)
    table = rows * 64 * 2
    assert (folder / "model.safetensors").stat().st_size > table
    before = anonymous_bytes()
    family = load(folder, torch.bfloat16)
    audio = family.encode(family.features(np.zeros(16_000, dtype=np.float32)))
    with torch.inference_mode():
        read_one(family, [2, *[IDS["<|audio|>"]] * len(audio), 9], audio, family.new_cache())
    assert anonymous_bytes() - before < table / 2


def anonymous_bytes() -> int:
    """Memory that is this process's own, not a file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


# --- without the language model


def test_without_the_language_model_not_a_byte_of_it_is_mapped(tmp_path: Path) -> None:
    """In the same file stand a tower of 300 kB and a language model of 30 MB."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc/self/maps on this system")
    file = make_checkpoint(tmp_path, vocab_size_per_layer_input=100_000) / "model.safetensors"
    checkpoint = Checkpoint(tmp_path)
    heard = sum(info.bytes for name, info in checkpoint.tensors.items() if ".language_model." not in name)
    assert heard < file.stat().st_size / 20
    family = open_family(checkpoint)
    family.load(CPU, torch.float32, encoder_only=True)
    vectors = family.encode(family.features(np.zeros(16_000, dtype=np.float32)))
    mapped, page = mapped_of(maps, file), mmap.PAGESIZE
    assert 0 < sum(map(len, mapped)) < heard + 2 * page * len(mapped)  # each on whole pages
    for name, info in checkpoint.tensors.items():
        if ".language_model." in name and info.bytes > 2 * page:  # where it ends it may share one
            first, end = info.start + page, info.start + info.bytes - page
            assert not any(part.start < end and first < part.stop for part in mapped), name
    whole = load(tmp_path)
    assert same(vectors, whole.encode(whole.features(np.zeros(16_000, dtype=np.float32))))
    assert sum(map(len, mapped_of(maps, file))) > file.stat().st_size * 0.9  # as is seen when they are


def mapped_of(maps: Path, file: Path) -> list[range]:
    """What parts of a file are mapped in this process."""
    found = []
    for line in maps.read_text().splitlines():
        span, _, offset, _, _, *path = line.split(maxsplit=5)
        if path == [str(file.resolve())]:
            low, high = (int(end, 16) for end in span.split("-"))
            found.append(range(int(offset, 16), int(offset, 16) + high - low))
    return found


@pytest.mark.parametrize("family_name", ["e2b", "e4b"])
def test_without_the_language_model_all_else_is_the_same(tmp_path: Path, family_name: str) -> None:
    folder = make_checkpoint(tmp_path, family=family_name, shards=2)
    whole, half = load(folder), open_family(Checkpoint(folder))
    half.load(CPU, torch.float32, encoder_only=True)
    features = whole.features(np.random.default_rng(0).standard_normal(20_000).astype(np.float32))
    assert torch.equal(half.encode(features), whole.encode(features))
    assert half.prompt([], []) == whole.prompt([], [])


def test_a_tensor_of_the_tower_that_is_missing_is_named_without_the_language_model_too(copied: Path) -> None:
    """Or it would run on whatever stood in memory."""
    change(copied, remove=("model.audio_tower.output_proj.weight",))
    with pytest.raises(CheckpointError, match=r"lacks tensor model\.audio_tower\.output_proj\.weight: "):
        open_family(Checkpoint(copied)).load(CPU, torch.float32, encoder_only=True)
