"""Parts of the decoder by themselves. That the whole is right is in tests/parity."""

from __future__ import annotations

import torch

from auricle.layers.table import Table


def table(dtype: torch.dtype) -> Table:
    made = Table(5, 96, scale=96**0.5)
    made.weight.data = torch.randn(5, 96, generator=torch.Generator().manual_seed(0)).to(dtype)
    return made


def test_the_embedding_scale_is_rounded_to_the_type_that_is_computed_in() -> None:
    """As the reference's is: in bfloat16 the root of 96 is 9.8125, in float32 9.7980."""
    ids = torch.tensor([[0, 4]])
    in_half = table(torch.bfloat16)
    assert torch.equal(in_half(ids, torch.bfloat16), in_half.weight[ids] * torch.tensor(9.8125, dtype=torch.bfloat16))
    assert torch.equal(in_half(ids, torch.float32), in_half.weight[ids].float() * 96**0.5)


def test_a_table_is_the_head_too() -> None:
    made = table(torch.bfloat16)
    x = torch.randn(2, 96, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(made.project(x), x @ made.weight.float().T, atol=1e-5)
