from __future__ import annotations

import torch

from auricle.layers.norms import RMSNorm


def test_the_weight_multiplies_as_it_is() -> None:
    """Not as 1 + weight, as in earlier Gemmas."""
    norm = RMSNorm(4, eps=0.0)
    norm.weight.data = torch.tensor([0.0, 1.0, 2.0, -1.0])
    assert torch.allclose(norm(torch.tensor([3.0, 3.0, -3.0, 3.0])), torch.tensor([0.0, 1.0, -2.0, -1.0]))


def test_without_a_weight_it_only_divides() -> None:
    norm = RMSNorm(2, eps=0.0, scaled=False)
    assert not list(norm.parameters())
    assert torch.allclose(norm(torch.tensor([3.0, 4.0])), torch.tensor([3.0, 4.0]) / 12.5**0.5)


def test_half_precision_is_normed_in_float32() -> None:
    """300 squared is beyond float16."""
    norm = RMSNorm(2).half()
    out = norm(torch.tensor([300.0, 300.0], dtype=torch.float16))
    assert out.dtype == torch.float16
    assert torch.equal(out, torch.ones(2, dtype=torch.float16))


def test_silence_stays_finite() -> None:
    assert torch.equal(RMSNorm(3)(torch.zeros(3)), torch.zeros(3))
