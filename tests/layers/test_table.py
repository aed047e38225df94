"""Embedding tables, dense and packed, and the head's second look."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from auricle.errors import CheckpointError
from auricle.layers.linear import Linear, replace
from auricle.layers.table import Lookup, Table, rescored
from auricle.quant.table import Int4Table, Int8Table, PackedTable

ROOT = 96**0.5


def numbers(rows: int = 5) -> Tensor:
    return torch.randn(rows, 96, generator=torch.Generator().manual_seed(0))


def table(dtype: torch.dtype) -> Table:
    made = Table(5, 96, scale=ROOT)
    made.weight.data = numbers().to(dtype)
    return made


def packed(kind: type[PackedTable], rows: int = 5) -> PackedTable:
    made = kind(rows, 96, ROOT)
    made.load_state_dict(kind.pack(numbers(rows)), assign=True)
    return made


def test_the_embedding_scale_is_rounded_to_the_type_that_is_computed_in() -> None:
    """As the reference's is: in bfloat16 the root of 96 is 9.8125, in float32 9.7980."""
    ids = torch.tensor([[0, 4]])
    in_half = table(torch.bfloat16)
    assert torch.equal(in_half(ids, torch.bfloat16), in_half.weight[ids] * torch.tensor(9.8125, dtype=torch.bfloat16))
    assert torch.equal(in_half(ids, torch.float32), in_half.weight[ids].float() * ROOT)


def test_a_table_is_the_head_too() -> None:
    made = table(torch.bfloat16)
    x = torch.randn(2, 96, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(made.project(x), x @ made.weight.float().T, atol=1e-5)


@pytest.mark.parametrize("kind", [Int4Table, Int8Table])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_table_gives_the_rows_it_was_made_from(kind: type[PackedTable], dtype: torch.dtype) -> None:
    made, ids = packed(kind), torch.tensor([[[0, 4, 4], [1, 2, 0]]])
    whole = kind.unpack(made.weight, made.scales, 5, 96)
    given = made(ids, dtype)
    assert (given.dtype, given.shape) == (dtype, (1, 2, 3, 96))
    assert torch.equal(given, whole[ids].to(dtype) * torch.tensor(ROOT, dtype=dtype))
    assert torch.equal(made.rows(ids, torch.float32), whole[ids])


@pytest.mark.parametrize("kind", [Int4Table, Int8Table])
def test_no_ids_and_wrong_ids(kind: type[PackedTable]) -> None:
    made = packed(kind)
    assert made(torch.zeros(1, 0, dtype=torch.long), torch.float32).shape == (1, 0, 96)
    with pytest.raises(IndexError):
        made(torch.tensor([5]), torch.float32)


@pytest.mark.parametrize(("scheme", "kind"), [("int4-rows", Int4Table), ("int8-rows", Int8Table), ("dense", Table)])
def test_the_registry_leads_here(scheme: str, kind: type[Lookup]) -> None:
    model = nn.ModuleDict({"table": Table(7, 64, 3.0)})
    replace(model, {"table": scheme})
    made = model["table"]
    assert type(made) is kind
    assert (made.size, made.width, made.scale) == (7, 64, 3.0)


def test_a_linear_is_no_table_and_a_table_no_linear() -> None:
    model = nn.ModuleDict({"table": Table(7, 64, 1.0), "up": Linear(64, 64)})
    with pytest.raises(
        CheckpointError, match="table is packed as 'int4'; known schemes are dense, int8-rows, int4-rows"
    ):
        replace(model, {"table": "int4"})
    with pytest.raises(CheckpointError, match="up is packed as 'int4-rows'; known schemes are dense, bf16, int8, int4"):
        replace(model, {"up": "int4-rows"})


# --- the second look


def test_the_likeliest_are_scored_again_and_no_other() -> None:
    made = packed(Int8Table, rows=50)
    x = torch.randn(3, 96, generator=torch.Generator().manual_seed(2))
    exact = x @ made.rows(torch.arange(50), torch.float32).T
    rough = exact + torch.randn(3, 50, generator=torch.Generator().manual_seed(3))
    again = rescored(rough, x, made, candidates=4)
    best = rough.topk(4).indices
    assert torch.allclose(again.gather(1, best), exact.gather(1, best), atol=1e-4)
    changed = torch.zeros_like(rough).scatter(1, best, 1).bool()
    assert torch.equal(again[~changed], rough[~changed])
    assert not torch.equal(again, rough)


def test_a_wrong_order_is_put_right() -> None:
    made = packed(Int8Table, rows=50)
    x = made.rows(torch.tensor(17), torch.float32)  # nearest to itself
    rough = x @ made.rows(torch.arange(50), torch.float32).T
    rough[[17, 20]] = torch.tensor([90.0, 95.0])
    assert int(rough.argmax()) == 20
    assert int(rescored(rough, x, made).argmax()) == 17


def test_in_bfloat16_it_is_scored_in_float32() -> None:
    made = packed(Int8Table, rows=50)
    x = torch.randn(96, generator=torch.Generator().manual_seed(2)).bfloat16()
    again = rescored(torch.zeros(50), x, made, candidates=50)
    assert torch.allclose(again, made.rows(torch.arange(50), torch.float32) @ x.float(), atol=1e-4)


def test_of_a_small_vocabulary_all_are_candidates() -> None:
    made = packed(Int8Table)
    x = torch.randn(2, 96, generator=torch.Generator().manual_seed(2))
    exact = x @ made.rows(torch.arange(5), torch.float32).T
    assert torch.allclose(rescored(torch.zeros(2, 5), x, made), exact, atol=1e-4)
