"""The transformer of both halves, under the names that VALL-E's checkpoints have.

Two things are not as in a plain `nn.TransformerEncoder`: positions can turn queries and keys (rotary), and the NAR
half's norms take their weight and bias from the stage that is being predicted. There is no dropout on attention's
weights: with it a CPU has no fused kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auricle.audiolm.model.attention import Seen, attended, seen
from auricle.audiolm.model.cache import Cache
from auricle.audiolm.model.heads import THETA, Rotary, angles, laid_out
from auricle.layers.linear import product


@dataclass(frozen=True)
class Wanted:
    """The tokens whose results are read: the last layer computes keys and values of the others, and nothing more."""

    of: Callable[[Tensor], Tensor]  # (rows, tokens, ...) -> (rows, wanted, ...)
    mask: Tensor | None  # what they see, as `Transformer`'s


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x W^T + b`; where nothing is learned, with the help that bfloat16 has from `auricle.layers.linear`."""
    return F.linear(x, weight, bias) if torch.is_grad_enabled() else product(x, weight, bias)


def product_of(x: Tensor, module: nn.Module) -> Tensor:
    """The same by a module's weight, be it a linear's or a table's."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return linear(x, weight)


class Table(nn.Module):
    """A lookup table, `(size, width)`."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(size, width)

    @property
    def weight(self) -> Tensor:
        return self.word_embeddings.weight

    def forward(self, ids: Tensor) -> Tensor:
        """`(...)` -> `(..., width)`."""
        return self.word_embeddings(ids)


def summed(tables: Iterable[nn.Module], codes: Tensor) -> Tensor:
    """The first codebook's embedding by the first table, and so on, all added: `(..., codebooks)` -> `(..., width)`."""
    return reduce(torch.add, (table(codes[..., k]) for k, table in enumerate(tables)))


class SinePosition(nn.Module):
    """Sines and cosines of the position, one after the other, times a learned number."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.alpha = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """`(rows, tokens, width)` at `(rows, tokens)` -> the same shape."""
        steps = torch.arange(0, self.width, 2, device=x.device, dtype=torch.float32)
        angles = positions[..., None].float() * torch.exp(steps * (-math.log(THETA) / self.width))
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)
        return x + self.alpha * waves.to(x.dtype)


class AdaptiveNorm(nn.Module):
    """A layer norm whose result is multiplied by a weight, and moved by a bias, that a condition gives."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project_layer = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """`(rows, tokens, width)`, under a condition `(1, width)`."""
        weight, bias = linear(condition, self.project_layer.weight, self.project_layer.bias)[0].chunk(2)
        # weight * (n * w + b) + bias, with both affine maps made one: a single pass over x.
        scale = self.norm.weight * weight.to(self.norm.weight.dtype)
        shift = torch.addcmul(bias.to(scale.dtype), self.norm.bias, weight.to(scale.dtype))
        return F.layer_norm(x, (x.shape[-1],), scale, shift, self.norm.eps)


def normed(norm: nn.Module, x: Tensor, condition: Tensor | None) -> Tensor:
    """By a norm of either kind."""
    return norm(x) if condition is None else norm(x, condition)


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        rotary: Rotary | None,
        sight: Seen,
        cache: Cache | None,
        index: int,
        wanted: Wanted | None = None,
    ) -> Tensor:
        """`(rows, tokens, width)` -> the same, or of those wanted.

        Args:
            index: whose keys and values the cache is to take and give.
        """
        q, k, v = self._projected(x, rotary) if wanted is None else self._projected_apart(x, rotary, wanted)
        if cache is not None:
            k, v = cache.extended(index, k, v)
        return linear(attended(q, k, v, sight), self.out_proj.weight, self.out_proj.bias)

    def _projected(self, x: Tensor, rotary: Rotary | None) -> tuple[Tensor, ...]:
        return laid_out(self._parts(x, slice(None)), rotary, turned=2)

    def _projected_apart(self, x: Tensor, rotary: Rotary | None, wanted: Wanted) -> tuple[Tensor, ...]:
        """Queries of those wanted alone."""
        width = x.shape[2]
        asking = None if rotary is None else (wanted.of(rotary[0]), wanted.of(rotary[1]))
        queries = laid_out(self._parts(wanted.of(x), slice(width)), asking, turned=1)
        return *queries, *laid_out(self._parts(x, slice(width, None)), rotary, turned=1)

    def _parts(self, x: Tensor, rows: slice) -> Tensor:
        """By rows of the projection: `(rows, tokens, parts, heads, head_dim)`."""
        made = linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])
        return made.view(*x.shape[:2], -1, self.heads, x.shape[2] // self.heads)


class Layer(nn.Module):
    """Attention and a feed-forward of four times the width, each with a norm before it, or after its sum."""

    def __init__(self, width: int, heads: int, *, norm_first: bool, adaptive: bool, dropout: float) -> None:
        super().__init__()
        kind = AdaptiveNorm if adaptive else nn.LayerNorm
        self.norm_first, self.dropout = norm_first, dropout
        self.self_attn = Attention(width, heads)
        self.linear1 = nn.Linear(width, 4 * width)
        self.linear2 = nn.Linear(4 * width, width)
        self.norm1, self.norm2 = kind(width), kind(width)

    def forward(
        self,
        x: Tensor,
        rotary: Rotary | None,
        sight: Seen,
        cache: Cache | None,
        index: int,
        condition: Tensor | None,
        wanted: Wanted | None = None,
    ) -> Tensor:
        """`(rows, tokens, width)` -> the same, or of those wanted."""
        read = normed(self.norm1, x, condition) if self.norm_first else x
        heard = self.self_attn(read, rotary, sight, cache, index, wanted)
        x = x if wanted is None else wanted.of(x)
        if self.norm_first:
            x = x + self._dropped(heard)
            return x + self._dropped(self._fed(normed(self.norm2, x, condition)))
        x = normed(self.norm1, x + self._dropped(heard), condition)
        return normed(self.norm2, x + self._dropped(self._fed(x)), condition)

    def _fed(self, x: Tensor) -> Tensor:
        wide = linear(x, self.linear1.weight, self.linear1.bias)
        return linear(F.relu(wide, inplace=not torch.is_grad_enabled()), self.linear2.weight, self.linear2.bias)

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.training and self.dropout else x


class Transformer(nn.Module):
    """So many layers, and a last norm where norms come first."""

    def __init__(
        self, width: int, heads: int, layers: int, *, norm_first: bool, adaptive: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        options = {"norm_first": norm_first, "adaptive": adaptive}
        self.layers = nn.ModuleList([Layer(width, heads, dropout=dropout, **options) for _ in range(layers)])
        self.norm = (AdaptiveNorm if adaptive else nn.LayerNorm)(width) if norm_first else None
        self.heads, self.head_dim = heads, width // heads

    def forward(
        self,
        x: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        cache: Cache | None = None,
        condition: Tensor | None = None,
        wanted: Wanted | None = None,
    ) -> Tensor:
        """
        Args:
            x: `(rows, tokens, width)`.
            positions: `(rows, tokens)`, by which queries and keys are turned; None: they aren't.
            mask: bool, `(rows or 1, 1, tokens or 1, keys)`, true for what is seen; None: everything.
            cache: takes the tokens' keys and values, and gives those of all before them too.
            condition: `(1, width)`, for the norms.
            wanted: None: all tokens.

        Returns:
            `(rows, tokens or wanted, width)`.
        """
        rotary = None if positions is None else angles(positions, self.head_dim, x)
        tokens, *before = x.shape[1], *self.layers[:-1]
        sight = seen(x, mask, causal)
        for index, layer in enumerate(before):
            x = layer(x, rotary, sight, cache, index, condition)
        if wanted is not None:
            sight = seen(x, wanted.mask, False)
        x = self.layers[-1](x, rotary, sight, cache, len(before), condition, wanted)
        if cache is not None:
            cache.advance(tokens)
        return x if self.norm is None else normed(self.norm, x, condition)


def prenet(width: int) -> nn.Sequential:
    """Three linears through a waist of 256."""
    waist = 256
    return nn.Sequential(
        *(nn.Linear(width, waist), nn.ReLU(), nn.Dropout(0.25)),
        *(nn.Linear(waist, waist), nn.ReLU(), nn.Dropout(0.25)),
        nn.Linear(waist, width),
    )


@torch.no_grad()
def initialise(model: nn.Module) -> None:
    """Weights deviate by 0.02, by less where they add to the stream; adaptive norms begin nearly as plain ones."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, Attention):
            nn.init.normal_(module.in_proj_weight, std=0.02)
            nn.init.zeros_(module.in_proj_bias)
    for module in model.modules():
        if isinstance(module, Transformer):
            for name, weight in module.named_parameters():
                if name.endswith(("out_proj.weight", "linear2.weight")):
                    nn.init.normal_(weight, std=0.02 / math.sqrt(2 * len(module.layers)))
        if isinstance(module, AdaptiveNorm):
            nn.init.ones_(module.project_layer.bias[: module.norm.weight.shape[0]])
