"""Rotary embedding: angles, pairs, and that only distances count."""

from __future__ import annotations

import torch

from auricle.layers.rotary import cos_sin, frequencies, rotate


def turned(x: torch.Tensor, position: int, inverse: torch.Tensor) -> torch.Tensor:
    """`(head_dim,)` at one position."""
    cos, sin = cos_sin(torch.tensor([position]), inverse, torch.float32)
    return rotate(x[None, None, None], cos, sin)[0, 0, 0]


def test_the_default_kind_turns_every_pair() -> None:
    inverse = frequencies(8, 10_000.0)
    assert torch.allclose(inverse, torch.tensor([1.0, 0.1, 0.01, 0.001]))


def test_the_proportional_kind_turns_a_part_with_the_exponents_of_the_whole() -> None:
    inverse = frequencies(16, 10_000.0, rotated=0.5)
    assert torch.allclose(inverse, torch.cat([10_000.0 ** -(torch.arange(4) / 8), torch.zeros(4)]))


def test_a_pair_is_a_dimension_and_the_one_half_a_head_further() -> None:
    """As a complex number, dimension i and i + half turn by the position times their frequency."""
    inverse = frequencies(6, 100.0)
    x = torch.randn(6, generator=torch.Generator().manual_seed(0))
    for position in (0, 1, 7, 1000):
        expected = torch.complex(x[:3], x[3:]) * torch.exp(1j * position * inverse)
        assert torch.allclose(turned(x, position, inverse), torch.cat([expected.real, expected.imag]), atol=1e-4)


def test_products_depend_on_the_distance_alone() -> None:
    inverse = frequencies(32, 10_000.0)
    q, k = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    near = turned(q, 5, inverse) @ turned(k, 2, inverse)
    far = turned(q, 405, inverse) @ turned(k, 402, inverse)
    other = turned(q, 5, inverse) @ turned(k, 3, inverse)
    assert torch.isclose(near, far, atol=1e-3)
    assert not torch.isclose(near, other, atol=1e-1)


def test_what_does_not_turn_stays() -> None:
    inverse = frequencies(16, 10_000.0, rotated=0.25)
    x = torch.randn(16, generator=torch.Generator().manual_seed(0))
    still = [2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15]
    assert torch.equal(turned(x, 99, inverse)[still], x[still])


def test_angles_are_rounded_after_they_are_computed() -> None:
    """In bfloat16 position 1001 itself would be 1000: the angle is computed in float32, its cosine rounded."""
    cos, _ = cos_sin(torch.tensor([1001]), frequencies(2, 1.0), torch.bfloat16)
    assert cos.dtype == torch.bfloat16
    assert torch.equal(cos[0, 0], torch.tensor(1001.0).cos().bfloat16())
