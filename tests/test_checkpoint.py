"""Checkpoint folders: what is read of them, and one line for everything that can be wrong with one."""

from __future__ import annotations

import json
import resource
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def message(action: Callable[[], Any]) -> str:
    """The error's one line."""
    with pytest.raises(CheckpointError) as caught:
        action()
    assert caught.value.exit_status == 2
    text = str(caught.value)
    assert "\n" not in text
    return text


def rewrite_header(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes a safetensors file's header, its tensors' bytes staying as they are."""
    content = file.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    change(header)
    written = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(written)) + written + content[8 + length :])


# --- what is read


def test_tensors_are_listed_from_headers_alone(e2b: Path) -> None:
    tensors = Checkpoint(e2b).tensors
    expected = load_file(e2b / WEIGHTS)
    assert {name: info.shape for name, info in tensors.items()} == {k: tuple(v.shape) for k, v in expected.items()}
    assert {info.dtype for info in tensors.values()} == {"F32"}
    assert sum(info.bytes for info in tensors.values()) == sum(4 * v.numel() for v in expected.values())


def test_tensors_are_the_file_s(e2b: Path) -> None:
    checkpoint = Checkpoint(e2b)
    for name, expected in load_file(e2b / WEIGHTS).items():
        assert torch.equal(checkpoint.tensor(name), expected)


def test_tensors_are_mapped_not_read(e2b: Path) -> None:
    """A tensor's memory is the file's own: nothing is read before it is touched, nothing counts as the process's."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc/self/maps on this system")
    checkpoint = Checkpoint(e2b)
    tensor = checkpoint.tensor("model.language_model.embed_tokens_per_layer.weight")
    assert mapped_file(maps, tensor.data_ptr()) == str((e2b / WEIGHTS).resolve())


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "float16", "bfloat16", "float32", "int64", "float64"])
def test_every_type_of_numbers(tmp_path: Path, dtype: str) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "any"}')
    numbers = (torch.arange(24).view(2, 3, 4) % 7).to(getattr(torch, dtype))
    saved = {"a": numbers, "scalar": numbers[1, 2, 3].clone(), "empty": numbers[:0].clone()}
    save_file(saved, tmp_path / WEIGHTS)
    checkpoint = Checkpoint(tmp_path)
    for name, expected in saved.items():
        assert checkpoint.tensor(name).dtype == expected.dtype
        assert torch.equal(checkpoint.tensor(name), expected)


def test_tensors_that_are_not_aligned_are_read_all_the_same(tmp_path: Path) -> None:
    """The safetensors library writes none such; others may."""
    (tmp_path / "config.json").write_text('{"model_type": "any"}')
    numbers = torch.arange(5, dtype=torch.float32)
    header = json.dumps(
        {
            "odd": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
            "numbers": {"dtype": "F32", "shape": [5], "data_offsets": [3, 23]},
        }
    ).encode()
    content = struct.pack("<Q", len(header)) + header + bytes([1, 2, 3]) + numbers.numpy().tobytes()
    (tmp_path / WEIGHTS).write_bytes(content)
    found = Checkpoint(tmp_path).tensor("numbers")
    assert torch.equal(found, numbers)
    assert found.data_ptr() % 4 == 0


def test_what_is_written_to_a_tensor_does_not_reach_the_file(copied: Path) -> None:
    before = (copied / WEIGHTS).read_bytes()
    tensor = Checkpoint(copied).tensor("model.language_model.norm.weight")
    tensor.fill_(7.0)
    assert (copied / WEIGHTS).read_bytes() == before
    assert not torch.equal(Checkpoint(copied).tensor("model.language_model.norm.weight"), tensor)


def test_a_thousand_tensors_take_a_few_file_descriptors(tmp_path: Path) -> None:
    """A process may have 1024; those of a released model are 2,000."""
    here = Path("/proc/self/fd")
    if not here.exists():
        pytest.skip("no /proc/self/fd on this system")
    (tmp_path / "config.json").write_text('{"model_type": "any"}')
    saved = {f"model.{part}.layers.{i}.x": torch.full((3,), float(i)) for i in range(600) for part in "ab"}
    save_file(saved, tmp_path / WEIGHTS)
    checkpoint, before = Checkpoint(tmp_path), len(list(here.iterdir()))
    tensors = {name: checkpoint.tensor(name) for name in saved}
    assert len(list(here.iterdir())) - before < 8
    assert all(torch.equal(tensors[name], expected) for name, expected in saved.items())


def test_a_part_that_nobody_uses_is_not_mapped(tmp_path: Path) -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc/self/maps on this system")
    (tmp_path / "config.json").write_text('{"model_type": "any"}')
    large, small = torch.ones(500_000), torch.ones(10)
    save_file({"model.a.small": small, "model.b.large": large, "model.c.small": small * 2}, tmp_path / WEIGHTS)
    checkpoint = Checkpoint(tmp_path)
    kept = [checkpoint.tensor("model.a.small"), checkpoint.tensor("model.c.small")]
    assert mapped_bytes(maps, tmp_path / WEIGHTS) <= 4 * resource.getpagesize()
    kept.append(checkpoint.tensor("model.b.large"))
    assert mapped_bytes(maps, tmp_path / WEIGHTS) >= large.nbytes


def mapped_bytes(maps: Path, file: Path) -> int:
    """How much of a file this process has mapped."""
    spans = [line.split()[0] for line in maps.read_text().splitlines() if line.endswith(str(file.resolve()))]
    return sum(int(span.split("-")[1], 16) - int(span.split("-")[0], 16) for span in spans)


def mapped_file(maps: Path, address: int) -> str:
    """The file behind an address of this process; empty for memory of its own."""
    for line in maps.read_text().splitlines():
        span, _, _, _, _, *path = line.split(maxsplit=5)
        low, high = (int(end, 16) for end in span.split("-"))
        if low <= address < high:
            return path[0] if path else ""
    return ""


def test_shards(e2b: Path, tmp_path: Path) -> None:
    from tests.checkpoints import make_checkpoint

    sharded = make_checkpoint(tmp_path / "sharded", shards=3)
    assert len(list(sharded.glob("*.safetensors"))) == 3
    whole, parts = Checkpoint(e2b), Checkpoint(sharded)
    assert whole.tensors.keys() == parts.tensors.keys()
    assert all(torch.equal(whole.tensor(name), parts.tensor(name)) for name in whole.tensors)


def test_a_file_that_is_not_there_is_empty_settings(e2b: Path) -> None:
    assert Checkpoint(e2b).json("processor_config.json") == {}


def test_the_files_beside_config_and_weights(copied: Path) -> None:
    """What a folder made from this one needs: not its pictures, nor another copy of the weights."""
    (copied / "chat_template.jinja").write_text("x")
    (copied / "LICENSE.txt").write_text("free")
    for name in ("picture.png", "pytorch_model.bin", "README.md", INDEX, "quantization.json", "more.safetensors"):
        (copied / name).write_bytes(b"{}")
    (copied / "onnx.json").mkdir()
    found = dict(Checkpoint(copied).files())
    assert found.pop("chat_template.jinja") == b"x"
    assert found.pop("LICENSE.txt") == b"free"
    assert found.keys() == {"generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert found["tokenizer.json"] == (copied / "tokenizer.json").read_bytes()


# --- what is wrong


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    text = message(lambda: Checkpoint(tmp_path / "none"))
    assert text == f"{tmp_path}/none is no checkpoint folder: there is no such folder"


def test_a_file(e2b: Path) -> None:
    text = message(lambda: Checkpoint(e2b / WEIGHTS))
    assert text.endswith("model.safetensors is no checkpoint folder: it is a file")


def test_a_folder_without_config(tmp_path: Path) -> None:
    assert "it has no config.json" in message(lambda: Checkpoint(tmp_path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "is not valid JSON"),
        (b"", "is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        (b"[1]", "is not a JSON object"),
        (b"{}", "names no model_type"),
        (b'{"model_type": 4}', "names no model_type"),
    ],
)
def test_a_config_that_is_none(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    assert said in message(lambda: Checkpoint(tmp_path))


def test_no_weights(copied: Path) -> None:
    (copied / WEIGHTS).unlink()
    (copied / "pytorch_model.bin").write_bytes(b"pickle")
    assert "only safetensors weights can be loaded" in message(lambda: Checkpoint(copied).tensors)


@pytest.mark.parametrize("size", [0, 7, 8, 100, -1])
def test_weights_cut_off(copied: Path, size: int) -> None:
    file = copied / WEIGHTS
    file.write_bytes(file.read_bytes()[:size])
    assert str(file) in (text := message(lambda: Checkpoint(copied).tensors))
    assert "fetch it again" in text


def test_weights_with_bytes_too_many(copied: Path) -> None:
    with (copied / WEIGHTS).open("ab") as file:
        file.write(b"x")
    assert "is damaged: its header promises" in message(lambda: Checkpoint(copied).tensors)


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html>Not found</html>" * 100,
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",  # git without git-lfs
        struct.pack("<Q", 10) + b"not json!!" + b"\0" * 50,
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 9) + b'{"a": 12}',
        struct.pack("<Q", 11) + b'{"a": "no"}',
        struct.pack("<Q", 9) + b'{"a": {}}',
        struct.pack("<Q", 1 << 62) + b"{}",
        struct.pack("<Q", 4) + b"\xff\xff\xff\xff",
    ],
    ids=range(9),
)
def test_weights_that_are_something_else(copied: Path, content: bytes) -> None:
    (copied / WEIGHTS).write_bytes(content)
    assert str(copied / WEIGHTS) in message(lambda: Checkpoint(copied).tensors)


def test_a_shape_that_does_not_fit_its_bytes(copied: Path) -> None:
    name = "model.language_model.norm.weight"

    def change(header: dict[str, Any]) -> None:
        header[name]["shape"] = [63]

    rewrite_header(copied / WEIGHTS, change)
    assert f"{name} is (63,) F32 but has 256 bytes" in message(lambda: Checkpoint(copied).tensors)


def test_tensors_that_overlap(copied: Path) -> None:
    first, second = "model.language_model.layers.0.input_layernorm.weight", "model.language_model.norm.weight"

    def change(header: dict[str, Any]) -> None:
        header[first]["data_offsets"] = header[second]["data_offsets"]

    rewrite_header(copied / WEIGHTS, change)
    text = message(lambda: Checkpoint(copied).tensors)
    assert str(copied / WEIGHTS) in text
    assert "is damaged" in text
    assert "what is before it ends at" in text


def test_tensors_with_a_gap_between_them(copied: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        del header["model.language_model.norm.weight"]

    rewrite_header(copied / WEIGHTS, change)
    assert "what is before it ends at" in message(lambda: Checkpoint(copied).tensors)


@pytest.mark.parametrize(
    "offsets", [[-256, 0], [256, 0], [0], [0, 256, 512], [0.0, 256.0], ["0", "256"], None, [True, 2]]
)
def test_offsets_that_are_none(copied: Path, offsets: Any) -> None:
    def change(header: dict[str, Any]) -> None:
        header["model.language_model.norm.weight"]["data_offsets"] = offsets

    rewrite_header(copied / WEIGHTS, change)
    assert str(copied / WEIGHTS) in message(lambda: Checkpoint(copied).tensors)


def test_a_file_that_was_cut_off_after_its_header_was_read(copied: Path) -> None:
    checkpoint = Checkpoint(copied)
    names = list(checkpoint.tensors)
    with (copied / WEIGHTS).open("r+b") as file:
        file.truncate(100)
    assert "can't be mapped" in message(lambda: [checkpoint.tensor(name) for name in names])


def test_an_unknown_type_of_numbers(copied: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        header["model.language_model.norm.weight"]["dtype"] = "F12"

    rewrite_header(copied / WEIGHTS, change)
    text = message(lambda: Checkpoint(copied).tensor("model.language_model.norm.weight"))
    assert "model.language_model.norm.weight has numbers of an unknown type 'F12'" in text


# --- shards


def write_index(folder: Path, weight_map: Any) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_a_missing_shard_is_named(copied: Path) -> None:
    write_index(copied, {"a": WEIGHTS, "b": "model-00002-of-00002.safetensors"})
    text = message(lambda: Checkpoint(copied).tensors)
    assert "lacks 1 of 2 weight files, model-00002-of-00002.safetensors first" in text


@pytest.mark.parametrize("weight_map", [{}, [], None, "x", {"a": 1}, {"a": ["b"]}], ids=str)
def test_an_index_that_is_none(copied: Path, weight_map: Any) -> None:
    write_index(copied, weight_map)
    assert INDEX in message(lambda: Checkpoint(copied).tensors)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd"])
def test_an_index_that_points_out_of_the_folder(copied: Path, name: str) -> None:
    save_file({"x": torch.zeros(1)}, copied.parent / "outside.safetensors")
    write_index(copied, {"x": name})
    assert INDEX in message(lambda: Checkpoint(copied).tensors)


# --- which weights these are


def test_a_folder_is_told_by_what_is_in_it(e2b: Path, copied: Path) -> None:
    first = Checkpoint(e2b).revision()
    assert first.startswith("sha256:")
    assert Checkpoint(copied).revision() == first  # wherever it lies
    config = (copied / "config.json").read_text()
    (copied / "config.json").write_text(config + " ")
    assert Checkpoint(copied).revision() != first
    (copied / "config.json").write_text(config)
    trained = {name: tensor * 1.001 for name, tensor in load_file(e2b / WEIGHTS).items()}
    save_file(trained, copied / WEIGHTS, metadata={"format": "pt"})  # the same header and size
    assert (copied / WEIGHTS).stat().st_size == (e2b / WEIGHTS).stat().st_size
    assert Checkpoint(copied).revision() != first


def test_a_snapshot_of_the_hub_is_told_by_its_commit(e2b: Path, tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--a--b" / "snapshots" / commit
    shutil.copytree(e2b, snapshot)
    assert Checkpoint(snapshot).revision() == commit
