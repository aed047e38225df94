"""A checkpoint packed, loaded again and asked; and everything that can be wrong on the way."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from auricle.api import load
from auricle.checkpoint import PACKING_REPORT, Checkpoint, TensorInfo
from auricle.errors import AuricleError, CheckpointError, OptionError
from auricle.hub import ModelName, find
from auricle.layers import native
from auricle.layers.packing import read_packing
from auricle.models.family import Family, open_family
from auricle.quant import quantize as module
from auricle.quant.int4 import Int4Linear
from auricle.quant.quantize import quantize
from auricle.quant.report import read_costs, total
from auricle.quant.writer import Writer
from auricle.types import Audio
from tests.checkpoints import IDS, make_checkpoint
from tests.quant import reference

WEIGHTS = "model.safetensors"
HEAD, TABLE = "language_model.lm_head", "language_model.embed_tokens"
UP = "model.language_model.layers.1.mlp.up_proj"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def e4b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoints") / "e4b", family="e4b", dtype="bfloat16")


@pytest.fixture(scope="module")
def packed(e2b: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """e2b in both schemes."""
    parent = tmp_path_factory.mktemp("packed")
    for scheme in ("int4", "int8"):
        quantize(Checkpoint(e2b), scheme, parent / scheme)
    return {scheme: parent / scheme for scheme in ("int4", "int8")}


@pytest.fixture
def int4(packed: dict[str, Path], tmp_path: Path) -> Path:
    """A packed folder of the test's own, to damage."""
    return Path(shutil.copytree(packed["int4"], tmp_path / "int4"))


@pytest.fixture
def no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "missing", lambda: "switched off for this test")


def opened(folder: Path, dtype: torch.dtype = torch.float32) -> Family:
    family = open_family(Checkpoint(folder))
    family.load(CPU, dtype)
    return family


def logits(family: Family, *, last_only: bool = False) -> Tensor:
    """Of a prompt with half a second of noise in it."""
    noise = np.random.default_rng(0).standard_normal(8000).astype(np.float32) * 0.1
    with torch.inference_mode():
        heard = family.encode(family.features(noise))
        ids = [2, 9, 40, 50, *[IDS["<|audio|>"]] * len(heard), 60, 70, 80]
        return family.read(ids, heard, family.new_cache(), last_only=last_only).float().clone()


def apart(given: Tensor, exact: Tensor) -> float:
    return float((given - exact).norm() / exact.norm())


def sound(seconds: float = 1.0) -> Audio:
    random = np.random.default_rng(1)
    return Audio((random.standard_normal(round(seconds * 16_000)) * 0.1).astype(np.float32), 16_000, "noise.wav")


def change(folder: Path, add: dict[str, Tensor] | None = None, remove: tuple[str, ...] = ()) -> None:
    tensors = load_file(folder / WEIGHTS) | (add or {})
    save_file({k: v for k, v in tensors.items() if k not in remove}, folder / WEIGHTS)


def configure(folder: Path, **settings: Any) -> None:
    """Changes settings of the packing."""
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"].update(settings)
    (folder / "config.json").write_text(json.dumps(config))


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
    assert cost.error == pytest.approx(apart(back, weight), rel=1e-5)
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
        assert opened(out).encode(np.zeros((99, 128), np.float32)).isfinite().all()


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
        tensor = super().tensor(name)
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


# --- loaded again


def restored(source: Path, folder: Path) -> Family:
    """The dense model with the numbers that a packed folder stands for, as the slow reader of its bytes gives them."""
    family, tensors, costs = opened(source), load_file(folder / WEIGHTS), read_costs(Checkpoint(folder))
    readers = {"int4": reference.int4, "int8": reference.int8}
    readers |= {"int4-rows": reference.int4_rows, "int8-rows": reference.int8_rows}
    held = dict(family.model.named_parameters())
    for stored, cost in costs.items():
        name = stored.removeprefix("model.")
        if name.startswith(HEAD):
            continue
        parts = {part: tensors[stored.removesuffix("weight") + part] for part in ("weight", "scales")}
        numbers = readers[cost.scheme](parts, *held[name].shape)
        held[name].data = torch.from_numpy(numbers).float()
    return family


@pytest.mark.usefixtures("no_kernels")
def test_it_computes_with_the_numbers_that_the_bytes_stand_for(e2b: Path, packed: dict[str, Path]) -> None:
    """In 8 bits, the head's are the table's to the bit."""
    assert apart(logits(opened(packed["int8"])), logits(restored(e2b, packed["int8"]))) < 1e-4


@pytest.mark.usefixtures("no_kernels")
def test_and_in_4_bits(e2b: Path, packed: dict[str, Path]) -> None:
    """The head's are not, but of the likeliest tokens, whose logits are the table's."""
    given, exact = logits(opened(packed["int4"])), logits(restored(e2b, packed["int4"]))
    best = given.topk(5).indices
    assert apart(given.gather(1, best), exact.gather(1, best)) < 1e-4
    assert 0.01 < apart(given, exact) < 0.2


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A trained model, dense and in both schemes: a random one magnifies every error."""
    parent, dense = tmp_path_factory.mktemp("tiny"), find(ModelName("tiny"))
    for scheme in ("int4", "int8"):
        quantize(Checkpoint(dense), scheme, parent / scheme)
    return {"dense": dense, "int4": parent / "int4", "int8": parent / "int8"}


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize(("scheme", "bound"), [("int4", 0.06), ("int8", 0.012)])
def test_logits_are_near_the_dense_ones(
    tiny: dict[str, Path], scheme: str, bound: float, kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernels:
        monkeypatch.setattr(native, "missing", lambda: "switched off for this test")
    assert apart(logits(opened(tiny[scheme])), logits(opened(tiny["dense"]))) < bound


@pytest.mark.parametrize("scheme", ["int4", "int8"])
def test_tiny_keeps_its_answers(tiny: dict[str, Path], scheme: str) -> None:
    examples = Path(__file__).parents[2] / "examples"
    dense, packed = load(str(tiny["dense"])), load(str(tiny[scheme]))
    for name in ("question", "sentence", "piano"):
        assert packed.ask(examples / f"{name}.wav").text == dense.ask(examples / f"{name}.wav").text


@pytest.mark.parametrize("scheme", ["int4", "int8"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_it_answers_in_any_dtype(packed: dict[str, Path], scheme: str, dtype: str) -> None:
    model = load(str(packed[scheme]), dtype=dtype)
    answer = model.ask(sound(), "What?", max_tokens=8)
    assert len(answer.tokens) == 8
    assert model.ask(sound(), "What?", max_tokens=8).tokens == answer.tokens


@pytest.mark.usefixtures("no_kernels")
@pytest.mark.parametrize("scheme", ["int4", "int8"])
def test_the_last_position_alone_is_the_last_of_all(packed: dict[str, Path], scheme: str) -> None:
    family = opened(packed[scheme])
    assert torch.allclose(logits(family, last_only=True)[0], logits(family)[-1], atol=1e-4)


@pytest.mark.usefixtures("no_kernels")
def test_the_likeliest_of_a_4_bit_head_are_scored_by_the_table(packed: dict[str, Path]) -> None:
    decoder = opened(packed["int4"]).model.get_submodule("language_model")
    x = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    rough, table = decoder.lm_head(x), decoder.embed_tokens.rows(torch.arange(320), torch.float32)
    given = torch.atanh(decoder.logits(x).double() / 30) * 30
    best = rough.topk(32).indices
    assert torch.allclose(given.gather(1, best), (x @ table.T).double().gather(1, best), atol=1e-3)
    others = torch.ones(2, 320).scatter(1, best, 0).bool()
    assert torch.allclose(given[others], rough[others].double(), atol=1e-3)


@pytest.mark.usefixtures("no_kernels")
def test_an_8_bit_head_is_left_as_it_is(packed: dict[str, Path]) -> None:
    decoder = opened(packed["int8"]).model.get_submodule("language_model")
    x = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(decoder.logits(x), torch.tanh(decoder.lm_head(x) / 30) * 30)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_tensors_stay_mapped_and_keep_their_types(packed: dict[str, Path], dtype: torch.dtype) -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc/self/maps on this system")
    family, stored = opened(packed["int4"], dtype), Checkpoint(packed["int4"]).tensors
    held = family.model.state_dict()
    kinds = {"U8": torch.uint8, "I8": torch.int8, "F16": torch.float16, "F32": torch.float32}
    for name in read_costs(Checkpoint(packed["int4"])):
        for part in ("weight", "scales"):
            key = name.removeprefix("model.").removesuffix("weight") + part
            assert held[key].dtype == kinds[stored["model." + key].dtype]
            assert backed_by(maps, held[key].data_ptr()) == str((packed["int4"] / WEIGHTS).resolve()), key
        assert held[name.removeprefix("model.")].data_ptr() % 64 == 0
    assert held["language_model.norm.weight"].dtype == dtype


def backed_by(maps: Path, address: int) -> str:
    for line in maps.read_text().splitlines():
        low, high = (int(end, 16) for end in line.split()[0].split("-"))
        if low <= address < high:
            return line.split(maxsplit=5)[5] if len(line.split()) > 5 else ""
    return ""


def test_parameters_count_the_models_numbers(e2b: Path, packed: dict[str, Path]) -> None:
    """By which bfloat16 is chosen: a packed model is as large as the dense one."""
    assert open_family(Checkpoint(packed["int4"])).parameters() == open_family(Checkpoint(e2b)).parameters()


# --- whether kernels run it


def test_where_kernels_run_there_is_nothing_to_say(packed: dict[str, Path], e2b: Path) -> None:
    assert load(str(e2b)).backend.notes == ()
    if native.missing() is None:
        assert load(str(packed["int4"])).backend.notes == ()


@pytest.mark.usefixtures("no_kernels")
def test_where_they_do_not_a_note_says_why(packed: dict[str, Path], e2b: Path) -> None:
    (note,) = load(str(packed["int4"])).backend.notes
    assert "is packed in int4 and the kernels can't run it here (switched off for this test): torch's own" in note
    assert load(str(e2b)).backend.notes == ()


@pytest.mark.skipif(native.missing() is not None, reason="no kernels here")
def test_a_dtype_that_they_do_not_know(packed: dict[str, Path]) -> None:
    (note,) = load(str(packed["int8"]), dtype="float16").backend.notes
    assert "can't run it here (they know no float16)" in note


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


# --- a packed folder that is not sound


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"version": 2}, "is quantised in version 2 "),
        ({"quant_method": "gptq"}, "is quantised by 'gptq'"),
        ({"group_size": 64}, "with groups of 64"),
        ({"rules": [["language_model.layers.*", "int3"]]}, r"mlp\S* is packed as 'int3'|is packed as 'int3'; known"),
        ({"rules": "int4"}, "quantization_config of config.json can't be read"),
        ({"rules": [["language_model.*", "int4"]]}, "embed_tokens is packed as 'int4'; known schemes are dense, int8-"),
        ({"rules": []}, "lacks tensor|has unknown tensor"),
    ],
)
def test_a_description_that_is_not_understood(int4: Path, settings: dict[str, Any], said: str) -> None:
    configure(int4, **settings)
    with pytest.raises(CheckpointError, match=said) as caught:
        opened(int4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [f"{UP}.scales", f"{UP}.weight", f"model.{HEAD}.scales", f"model.{TABLE}.scales"])
def test_a_tensor_that_is_missing(int4: Path, name: str) -> None:
    change(int4, remove=(name,))
    with pytest.raises(CheckpointError, match=f"lacks tensor {name}: "):
        opened(int4)


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        (f"{UP}.scales", torch.zeros(6, 3, 16).half(), r"is \(6, 3, 16\), but config.json makes it \(6, 2, 16\)"),
        (f"{UP}.scales", torch.zeros(6, 2, 16), "is stored as F32, but config.json makes it F16"),
        (f"{UP}.weight", torch.zeros(6, 2, 256).to(torch.int8), "is stored as I8, but config.json makes it U8"),
        (f"model.{TABLE}.weight", torch.zeros(320, 64).to(torch.uint8), "is stored as U8, but config.json makes it I8"),
    ],
)
def test_a_tensor_of_another_shape_or_type(int4: Path, name: str, tensor: Tensor, said: str) -> None:
    change(int4, add={name: tensor})
    with pytest.raises(CheckpointError, match=said) as caught:
        opened(int4)
    assert name in str(caught.value)


def test_a_file_that_is_cut_off(int4: Path) -> None:
    content = (int4 / WEIGHTS).read_bytes()
    (int4 / WEIGHTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="fetch it again"):
        opened(int4)


def test_a_packed_table_that_is_the_head_as_well(int4: Path) -> None:
    """Ours have a head of their own; a table packed by row can't be one."""
    rules = Checkpoint(int4).config["quantization_config"]["rules"]
    configure(int4, rules=[rule for rule in rules if rule[0] != HEAD])
    change(int4, remove=(f"model.{HEAD}.weight", f"model.{HEAD}.scales"))
    with pytest.raises(
        CheckpointError, match=r"packs language_model\.embed_tokens and names no language_model\.lm_head"
    ):
        opened(int4)
