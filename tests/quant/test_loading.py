"""A packed folder loaded and asked; and everything that can be wrong with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from auricle.api import load
from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError
from auricle.layers import native
from auricle.models.family import Family, open_family, read_one
from auricle.quant.report import read_costs
from auricle.types import Audio
from tests.checkpoints import IDS
from tests.quant import reference

WEIGHTS = "model.safetensors"
HEAD, TABLE = "language_model.lm_head", "language_model.embed_tokens"
UP = "model.language_model.layers.1.mlp.up_proj"
CPU = torch.device("cpu")


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
        return read_one(family, ids, heard, family.new_cache(), wanted=1 if last_only else len(ids)).float()


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
def test_a_decoder_that_is_no_program_says_so(packed: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auricle.models.gemma4.family.missing", lambda decoder: "not all weights are packed")
    (note,) = load(str(packed["int4"])).backend.notes
    assert note.endswith("runs layer by layer, slower than it could: not all weights are packed")


def test_a_trace_sees_every_layer(e2b: Path, packed: dict[str, Path]) -> None:
    traces = [load(str(folder)).ask(sound(), "?", max_tokens=2, trace=True).trace for folder in (e2b, packed["int4"])]
    names = [[activation["name"] for activation in trace["activations"]] for trace in traces if trace is not None]
    assert names[0] == names[1]
    assert any("language_model.layers" in name for name in names[0])


@pytest.mark.skipif(native.missing() is not None, reason="no kernels here")
def test_a_dtype_that_they_do_not_know(packed: dict[str, Path]) -> None:
    (note,) = load(str(packed["int8"]), dtype="float16").backend.notes
    assert "can't run it here (they know no float16)" in note


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
