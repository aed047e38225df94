"""A checkpoint packed into a folder, and everything that can go wrong on the way."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from auricle.checkpoint import PACKING_REPORT, Checkpoint, TensorInfo
from auricle.errors import AuricleError, CheckpointError, OptionError
from auricle.layers.packing import read_packing
from auricle.models.family import open_family
from auricle.quant import quantize as module
from auricle.quant.int4 import Int4Linear
from auricle.quant.quantize import quantize
from auricle.quant.report import read_costs, total
from auricle.quant.writer import Writer
from tests.checkpoints import make_checkpoint

WEIGHTS = "model.safetensors"
HEAD, TABLE = "language_model.lm_head", "language_model.embed_tokens"
UP = "model.language_model.layers.1.mlp.up_proj"
CPU = torch.device("cpu")


def change(folder: Path, add: dict[str, Tensor] | None = None, remove: tuple[str, ...] = ()) -> None:
    tensors = load_file(folder / WEIGHTS) | (add or {})
    save_file({k: v for k, v in tensors.items() if k not in remove}, folder / WEIGHTS)


# --- what is written


def test_the_folder_is_an_ordinary_one(e2b: Path, packed: dict[str, Path]) -> None:
    names = {path.name for path in packed["int4"].iterdir()}
    assert names == {path.name for path in e2b.iterdir()} | {PACKING_REPORT}
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (packed["int4"] / name).read_bytes() == (e2b / name).read_bytes()


def test_the_config_says_how_and_from_what(e2b: Path, packed: dict[str, Path]) -> None:
    config, source = Checkpoint(packed["int4"]).config, Checkpoint(e2b).config
    assert {key: value for key, value in config.items() if key != "quantization_config"} == source
    packing = read_packing(config, "folder")
    assert packing is not None
    assert packing.scheme == "int4"
    assert packing.provenance["source"] == "e2b"
    assert packing.provenance["source_dtype"] == "float32"
    assert packing.provenance.keys() == {"source", "source_dtype", "auricle", "date"}
    assert str(e2b) not in json.dumps(config), "no absolute path: the folder may travel"


def test_what_is_not_packed_is_the_sources(e2b: Path, packed: dict[str, Path]) -> None:
    found, source = load_file(packed["int4"] / WEIGHTS), load_file(e2b / WEIGHTS)
    kept = found.keys() & source.keys()
    dense = {name for name in kept if found[name].dtype == source[name].dtype}
    assert all(torch.equal(found[name], source[name]) for name in dense)
    for part in ("norm.weight", "layer_scalar", "input_max", "conv.weight", "bias", "per_dim_scale", "conv1d.weight"):
        assert any(name.endswith(part) for name in dense), part
    assert source.keys() - found.keys() == set()
    assert {name.rpartition(".")[2] for name in found.keys() - source.keys()} == {"scales", "weight"}  # the head's


def test_a_packed_tensor_is_what_packing_it_gives(e2b: Path, packed: dict[str, Path]) -> None:
    found, weight = load_file(packed["int4"] / WEIGHTS), load_file(e2b / WEIGHTS)[f"{UP}.weight"]
    for part, tensor in Int4Linear.pack(weight).items():
        assert torch.equal(found[f"{UP}.{part}"], tensor)


def test_the_head_is_packed_from_the_table(e2b: Path, packed: dict[str, Path]) -> None:
    found, table = load_file(packed["int4"] / WEIGHTS), load_file(e2b / WEIGHTS)[f"model.{TABLE}.weight"]
    for part, tensor in Int4Linear.pack(table).items():
        assert torch.equal(found[f"model.{HEAD}.{part}"], tensor)


@pytest.mark.parametrize("piece", [1, 1000, 5000])
def test_however_small_the_pieces_the_file_is_the_same(
    e2b: Path, packed: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(module, "PIECE", piece)
    quantize(Checkpoint(e2b), "int4", tmp_path / "out")
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (packed["int4"] / WEIGHTS).read_bytes()


def test_the_report(e2b: Path, tmp_path: Path) -> None:
    report = quantize(Checkpoint(e2b), "int4", tmp_path / "out")
    assert report.bytes_before == sum(info.bytes for info in Checkpoint(e2b).tensors.values())
    assert report.bytes == sum(info.bytes for info in Checkpoint(tmp_path / "out").tensors.values())
    assert report.bytes == total(report.tensors.values()).bytes
    assert report.bytes_before == total(report.tensors.values()).bytes_before
    up = report.packed[f"{UP}.weight"]
    assert (up.scheme, up.numbers, up.bits) == ("int4", 64 * 96, 4.5)
    assert 0.07 < up.error < 0.09
    assert f"model.{HEAD}.weight" in report.packed
    assert "model.language_model.norm.weight" not in report.packed
    assert read_costs(Checkpoint(tmp_path / "out")) == report.packed


def test_the_error_is_measured(e2b: Path, tmp_path: Path, packed: dict[str, Path]) -> None:
    weight, found = load_file(e2b / WEIGHTS)[f"{UP}.weight"], load_file(packed["int4"] / WEIGHTS)
    back = Int4Linear.unpack(found[f"{UP}.weight"], found[f"{UP}.scales"], *weight.shape)
    cost = read_costs(Checkpoint(packed["int4"]))[f"{UP}.weight"]
    assert cost.error == pytest.approx(float((back - weight).norm() / weight.norm()), rel=1e-5)
    assert cost.norm == pytest.approx(float(weight.norm()), rel=1e-5)


def test_what_is_not_needed_is_left_out_and_told(copied: Path, tmp_path: Path) -> None:
    vision = {f"model.vision_tower.layers.{i}.weight": torch.zeros(10, 10) for i in range(3)}
    change(copied, add={**vision, "lm_head.weight": torch.zeros(320, 64)})
    report = quantize(Checkpoint(copied), "int4", tmp_path / "out")
    assert report.dropped == {"lm_head": (1, 4 * 320 * 64), "vision_tower": (3, 1200)}
    assert not any("vision" in name for name in load_file(tmp_path / "out" / WEIGHTS))


def test_a_table_too_odd_for_4_bits(e4b: Path, tmp_path: Path) -> None:
    report = quantize(Checkpoint(e4b), "int4", tmp_path / "out")
    assert report.notes == (
        "language_model.embed_tokens_per_layer is 72 wide, not a multiple of 32: packed as int8-rows",
    )
    assert report.packed["model.language_model.embed_tokens_per_layer.weight"].scheme == "int8-rows"


def test_the_audio_tower_in_bfloat16(e2b: Path, e4b: Path, tmp_path: Path) -> None:
    """Rounded where the source has more digits, and that is measured as well; as it was otherwise."""
    name = "model.audio_tower.layers.0.self_attn.q_proj.linear.weight"
    for source, scheme, error in ((e2b, "bf16", pytest.approx(0.00167, rel=0.1)), (e4b, "dense", 0.0)):
        out = tmp_path / source.name
        report = quantize(Checkpoint(source), "int4", out, audio="bf16")
        stored = load_file(out / WEIGHTS)[name]
        assert torch.equal(stored, load_file(source / WEIGHTS)[name].bfloat16())
        assert (report.tensors[name].scheme, report.tensors[name].error) == (scheme, error)
        assert Checkpoint(out).tensors["model.audio_tower.output_proj.bias"].dtype == (
            "F32" if source is e2b else "BF16"
        )
        family = open_family(Checkpoint(out))
        family.load(torch.device("cpu"), torch.float32)
        assert family.encode(np.zeros((99, 128), np.float32)).isfinite().all()


def test_progress_ends_with_all(e2b: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    quantize(Checkpoint(e2b), "int4", tmp_path / "out", progress=lambda done, whole: seen.append((done, whole)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == seen[0][1]


def test_a_name_for_provenance(e2b: Path, tmp_path: Path) -> None:
    quantize(Checkpoint(e2b), "int4", tmp_path / "out", name="org/model@abc")
    packing = read_packing(Checkpoint(tmp_path / "out").config, "out")
    assert packing is not None
    assert packing.provenance["source"] == "org/model@abc"


def test_shards_are_read(e2b: Path, packed: dict[str, Path], tmp_path: Path) -> None:
    quantize(Checkpoint(make_checkpoint(tmp_path / "sharded", shards=3)), "int4", tmp_path / "out")
    whole, sharded = load_file(packed["int4"] / WEIGHTS), load_file(tmp_path / "out" / WEIGHTS)
    assert whole.keys() == sharded.keys()
    assert all(torch.equal(whole[name], sharded[name]) for name in whole)
    assert not (tmp_path / "out" / "model.safetensors.index.json").exists()


# --- memory


class Endless(Checkpoint):
    """A checkpoint with a table far larger than its file: the same rows again and again."""

    NAME = "model.language_model.embed_tokens_per_layer.weight"

    def __init__(self, folder: Path, rows: int) -> None:
        super().__init__(folder)
        self.rows = rows
        text = {**self.config["text_config"], "vocab_size_per_layer_input": rows}
        self.config = {**self.config, "text_config": text}
        width = self.tensors[self.NAME].shape[1]
        self.tensors[self.NAME] = TensorInfo(folder / WEIGHTS, "F32", (rows, width), 4 * rows * width)

    def tensor(self, name: str) -> Tensor:
        tensor = Checkpoint(self.folder).tensor(name)  # which knows what is in the file
        return tensor[:1].expand(self.rows, -1) if name == self.NAME else tensor


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc/self/status on this system")
def test_a_table_is_never_in_memory(e2b: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 1 << 16)
    rows, used = 200_000, []
    source = Endless(e2b, rows)
    quantize(source, "int4", tmp_path / "out", progress=lambda done, whole: used.append(anonymous_bytes()))
    table = 4 * rows * 64  # 51 MB, of which 14 MB are written
    assert (tmp_path / "out" / WEIGHTS).stat().st_size > table / 8
    assert max(used) - used[0] < table / 8


def anonymous_bytes() -> int:
    """Memory that is this process's own, not a file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


# --- what can't be quantised


def test_what_is_quantised(packed: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is quantised already \(int4\): quantise the dense model"):
        quantize(Checkpoint(packed["int4"]), "int8", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("settings", [{"quant_method": "gptq"}, {}, "int4"])
def test_what_something_else_has_quantised(copied: Path, tmp_path: Path, settings: Any) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))
    with pytest.raises(CheckpointError, match=r"is quantised already \(by "):
        quantize(Checkpoint(copied), "int4", tmp_path / "out")


def test_another_model_type(copied: Path, tmp_path: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    with pytest.raises(CheckpointError, match="is a 'llama' model; model types that can be quantised are gemma4"):
        quantize(Checkpoint(copied), "int4", tmp_path / "out")


def test_an_unknown_scheme(e2b: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="unknown scheme 'int3': known are int4, int8"):
        quantize(Checkpoint(e2b), "int3", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        (f"{UP}.weight", torch.full((96, 64), torch.nan), "holds numbers that are not finite"),
        (f"{UP}.weight", torch.full((96, 64), 1e9), r"has a number of size 1e\+09, too large for int4"),
        (f"{UP}.weight", torch.zeros(96, 64, dtype=torch.int32), "is stored as I32, and can't be packed"),
        (f"{UP}.weight", torch.zeros(96, 63), r"is \(96, 63\), but config.json makes it \(96, 64\)"),
        ("model.language_model.layers.1.mlp.unknown", torch.zeros(1), "has unknown tensor"),
    ],
)
def test_a_source_that_is_not_sound(copied: Path, tmp_path: Path, name: str, tensor: Tensor, said: str) -> None:
    """Told by name, and nothing is left."""
    change(copied, add={name: tensor})
    with pytest.raises(CheckpointError, match=said) as caught:
        quantize(Checkpoint(copied), "int4", tmp_path / "out")
    assert name in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["copied"]


def test_a_source_that_lacks_a_tensor(copied: Path, tmp_path: Path) -> None:
    change(copied, remove=(f"{UP}.weight",))
    with pytest.raises(CheckpointError, match=rf"lacks tensor {UP}\.weight"):
        quantize(Checkpoint(copied), "int4", tmp_path / "out")


def test_its_own_folder_is_no_place_for_the_result(copied: Path) -> None:
    with pytest.raises(OptionError, match="is there and not empty"):
        quantize(Checkpoint(copied), "int4", copied)


# --- what goes wrong while writing


def failing(error: BaseException, after: int) -> Callable[..., None]:
    """Instead of `Writer.write`: writes so many pieces, then fails."""
    write, written = Writer.write, []

    def fail(self: Writer, name: str, piece: Tensor) -> None:
        written.append(name)
        if len(written) > after:
            raise error
        write(self, name, piece)

    return fail


@pytest.mark.parametrize("after", [0, 20])
def test_a_full_disk(e2b: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    monkeypatch.setattr(Writer, "write", failing(OSError(errno.ENOSPC, "No space left on device"), after))
    with pytest.raises(AuricleError, match=r"is too full: .* are needed; nothing was left there"):
        quantize(Checkpoint(e2b), "int4", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("after", [0, 20])
def test_an_interruption(e2b: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    monkeypatch.setattr(Writer, "write", failing(KeyboardInterrupt(), after))
    with pytest.raises(KeyboardInterrupt):
        quantize(Checkpoint(e2b), "int4", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_room_is_asked_for_before_anything_is_written(
    e2b: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not much more than is needed."""
    report = quantize(Checkpoint(e2b), "int4", tmp_path / "first")
    size = sum(path.stat().st_size for path in (tmp_path / "first").iterdir())
    asked: list[int] = []
    place = module.new_folder
    monkeypatch.setattr(module, "new_folder", lambda out, needed: (asked.append(needed), place(out, needed))[1])
    quantize(Checkpoint(e2b), "int4", tmp_path / "second")
    assert report.bytes < size <= asked[0] < size + 400_000
