"""The transformer against torch's own, and what torch's has not."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from auricle.audiolm.model import attention
from auricle.audiolm.model.attention import attended, seen
from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.cache import Cache
from auricle.audiolm.model.heads import angles, laid_out
from auricle.audiolm.model.layers import AdaptiveNorm, SinePosition, Transformer, Wanted, initialise
from auricle.audiolm.model.masks import behind_mask, key_mask, prefix_mask
from auricle.audiolm.model.packing import Packing
from auricle.audiolm.model.prompt import Prompt


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_transformer_without_positions_is_torchs(norm_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(32, 4, 128, 0.0, batch_first=True, norm_first=norm_first)
    last = nn.LayerNorm(32) if norm_first else None
    theirs = nn.TransformerEncoder(layer, 3, last, enable_nested_tensor=False)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight += 0.1 * torch.randn_like(weight)
    ours = Transformer(32, 4, 3, norm_first=norm_first)
    ours.load_state_dict(theirs.state_dict())  # the same names
    x, mask = torch.randn(2, 9, 32), prefix_mask(torch.tensor([4]), 9)
    assert torch.allclose(ours(x, mask=mask), theirs(x, mask=~mask[0, 0]), atol=1e-5)
    causal = torch.ones(9, 9, dtype=torch.bool).triu(1)
    assert torch.allclose(ours(x, causal=True), theirs(x, mask=causal), atol=1e-5)


def test_adaptive_norm_multiplies_and_moves_the_norm() -> None:
    norm = AdaptiveNorm(8)
    with torch.no_grad():
        for weight in norm.parameters():
            weight += torch.randn_like(weight)
    x, condition = torch.randn(2, 3, 8), torch.randn(1, 8)
    weight, bias = norm.project_layer(condition).chunk(2, dim=-1)
    assert torch.allclose(norm(x, condition), weight * norm.norm(x) + bias, atol=1e-5)


def test_adaptive_norm_begins_nearly_as_a_plain_one() -> None:
    norm = AdaptiveNorm(64)
    initialise(norm)
    x = torch.randn(2, 3, 64)
    plain = F.layer_norm(x, (64,))
    assert (norm(x, 0.02 * torch.randn(1, 64)) - plain).abs().max() < 0.1


def test_rotary_products_depend_on_the_distance_alone() -> None:
    x = torch.randn(1, 1, 2, 1, 16)

    def product(query: int, key: int) -> float:
        q = laid_out(x, angles(torch.tensor([[query]]), 16, x), turned=2)[0]
        k = laid_out(x, angles(torch.tensor([[key]]), 16, x), turned=2)[1]
        return float(q[0, 0, 0] @ k[0, 0, 0])

    assert math.isclose(product(7, 3), product(107, 103), abs_tol=1e-4)
    assert len({round(product(7, key), 2) for key in range(7)}) > 3
    assert math.isclose(product(5, 5), float(x[0, 0, 0, 0] @ x[0, 0, 1, 0]), abs_tol=1e-5)


def test_turned_as_complex_numbers_there_and_back() -> None:
    """Pairs (i, i + half) are complex numbers, multiplied by e^(i angle); what isn't to turn is as it was."""
    torch.manual_seed(0)
    x = torch.randn(2, 5, 3, 4, 8, dtype=torch.float64, requires_grad=True)
    positions = torch.randint(0, 50, (2, 5))
    rotary = tuple(part.double() for part in angles(positions, 8, torch.empty(0)))
    found = laid_out(x, rotary, turned=2)  # type: ignore[arg-type]
    turns = torch.polar(torch.ones(2, 5, 1, 4).double(), torch.atan2(rotary[1], rotary[0]))
    for number, part in enumerate(found):
        true = x[:, :, number].detach()
        if number < 2:
            turned = torch.complex(true[..., :4].contiguous(), true[..., 4:].contiguous()) * turns
            true = torch.cat([turned.real, turned.imag], dim=-1)
        assert torch.allclose(part, true.transpose(1, 2), atol=1e-6)
    assert torch.autograd.gradcheck(lambda one: laid_out(one, rotary, turned=2), (x,))  # type: ignore[arg-type]


def test_sine_positions() -> None:
    position = SinePosition(6)
    with torch.no_grad():
        position.alpha.fill_(0.5)
    found = position(torch.zeros(1, 2, 6), torch.tensor([[0, 11]]))[0].detach()
    for row, time in enumerate((0, 11)):
        for pair in range(3):
            angle = time / 10_000 ** (2 * pair / 6)
            assert math.isclose(float(found[row, 2 * pair]), 0.5 * math.sin(angle), abs_tol=1e-5)
            assert math.isclose(float(found[row, 2 * pair + 1]), 0.5 * math.cos(angle), abs_tol=1e-5)


def test_the_cache_gives_what_one_pass_gives() -> None:
    ours = Transformer(32, 4, 2, norm_first=True).eval()
    initialise(ours)
    x, time = torch.randn(2, 7, 32), torch.arange(7).expand(2, -1)
    with torch.no_grad():
        whole = ours(x, positions=time, mask=prefix_mask(torch.tensor([3]), 7))
        cache = Cache(2, 2, 4, 7, 8, dtype=torch.float32, device=torch.device("cpu"))
        parts = [ours(x[:, :3], positions=time[:, :3], cache=cache)]
        parts += [ours(x[:, at : at + 1], positions=time[:, at : at + 1], cache=cache) for at in range(3, 7)]
    assert cache.filled == 7
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)


def test_prefix_mask() -> None:
    mask = prefix_mask(torch.tensor([2, 0]), 4)
    assert mask.shape == (2, 1, 4, 4)
    assert mask[0, 0].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert mask[1, 0].int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]


def test_key_mask() -> None:
    assert key_mask(torch.tensor([1, 3]), 3)[:, 0, 0].int().tolist() == [[1, 0, 0], [1, 1, 1]]


def a_batch(prompts: list[int], targets: list[int]) -> Batch:
    """Of one codebook, its numbers counting from 1 in each prompt and from 11 in each target."""
    codes = [[torch.arange(first, first + n)[:, None] for n in lens] for first, lens in ((1, prompts), (11, targets))]
    none = torch.zeros(0, 1, dtype=torch.int64)
    return Batch.of([Prompt(left=left, right=none, style=none) for left in codes[0]], codes[1])


@pytest.mark.parametrize("more", [0, 1])
def test_packing_leaves_no_padding_before_a_target(more: int) -> None:
    batch = a_batch([2, 0, 3], [1, 4, 1])
    x = torch.cat([batch.prompt_codes, F.pad(batch.target_codes, (0, 0, 0, more), value=99)], dim=1)
    packing = Packing(batch, 4 + more)
    found = packing.packed(x)[..., 0].tolist()
    assert packing.longest == 4 + more
    assert found[0][:3] == [1, 2, 11]
    assert found[1][:4] == [11, 12, 13, 14]
    assert found[2][:4] == [1, 2, 3, 11]
    targets = packing.targets(packing.packed(x))[..., 0].tolist()
    assert [row[:length] for row, length in zip(targets, (1, 4, 1), strict=True)] == [[11], [11, 12, 13, 14], [11]]
    assert packing.lens.tolist() == [3 + more, 4 + more, 4 + more]


def test_prompts_of_one_length_stay_as_they_are() -> None:
    batch = a_batch([3, 3], [1, 4])
    x, packing = torch.cat([batch.prompt_codes, batch.target_codes], dim=1), Packing(batch, 4)
    assert packing.packed(x) is x
    assert torch.equal(packing.targets(x), batch.target_codes)
    assert (packing.longest, packing.lens.tolist(), packing.prompt_lens.tolist()) == (7, [4, 7], [3])


def test_what_targets_see_is_the_prefix_masks() -> None:
    lens = torch.tensor([2, 0, 3])
    whole, behind = prefix_mask(lens, 7), behind_mask(lens, 4, 7)
    for row, first in enumerate(lens.tolist()):
        assert torch.equal(behind[row, 0], whole[row, 0, first : first + 4])


@pytest.mark.parametrize("norm_first", [True, False])
def test_only_what_is_wanted_is_computed(norm_first: bool) -> None:
    ours = Transformer(32, 4, 2, norm_first=norm_first).eval()
    initialise(ours)
    x, lens = torch.randn(2, 7, 32), torch.tensor([3])
    time = torch.arange(7).expand(2, -1)
    whole = ours(x, positions=time, mask=prefix_mask(lens, 7))[:, 3:]
    wanted = Wanted(lambda x: x[:, 3:], behind_mask(lens, 4, 7))
    assert torch.allclose(ours(x, positions=time, mask=prefix_mask(lens, 7), wanted=wanted), whole, atol=1e-5)


@pytest.mark.parametrize("masked", ["prefix", "keys", "causal", "all"])
@pytest.mark.parametrize("queries", [1, 6])
def test_attention_written_out_is_torchs(masked: str, queries: int) -> None:
    q, k, v = (torch.randn(2, 3, count, 8, requires_grad=True) for count in (queries, 6, 6))
    lens = torch.tensor([2, 3])
    mask = {
        "prefix": prefix_mask(lens, 6)[:, :, -queries:],
        "keys": key_mask(lens + 3, 6),
        "causal": torch.ones(6, 6, dtype=torch.bool).tril()[-queries:][None, None],
        "all": None,
    }[masked]
    wanted = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
    towards = torch.randn_like(wanted)
    gradients = torch.autograd.grad(wanted, (q, k, v), towards)
    half = torch.zeros(2, queries, 24, dtype=torch.bfloat16)
    causal = masked == "causal" and queries == 6
    sight = seen(half, None if causal else mask, causal)
    assert sight.written
    found = attended(*(one.bfloat16() for one in (q, k, v)), sight)
    assert (found.float() - wanted).abs().max() < 0.03
    for one, other in zip(torch.autograd.grad(found, (q, k, v), towards.bfloat16()), gradients, strict=True):
        assert (one - other).abs().max() < 0.06
    with torch.no_grad():
        assert torch.allclose(attended(q, k, v, seen(half.float(), mask, False)), wanted, atol=1e-5)


def test_attention_too_large_to_write_out_goes_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_MOST", 10)
    q, k, v = torch.randn(3, 1, 2, 4, 8).bfloat16()
    sight = seen(q[0], None, True)
    wanted = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=True)
    assert (attended(q, k, v, sight).float() - wanted.transpose(1, 2).flatten(2)).abs().max() < 0.03
