"""Checks of the native kernels against float64, each of one case.

`python -m tests.quant.kernel_checks` runs some of each kind, with the kernels that AURICLE_KERNELS names: so every
instruction set that a processor has is tried, each in a process of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from auricle.layers import native
from auricle.layers.cache import SlotCache
from auricle.quant import int4
from auricle.quant.int4 import Int4Linear
from auricle.quant.int8 import Int8Linear
from auricle.quant.packed import PackedLinear
from auricle.quant.table import Int4Table, Int8Table, PackedTable
from tests.quant import exact

KINDS: list[type[PackedLinear]] = [Int4Linear, Int8Linear]
TABLES: list[type[PackedTable]] = [Int4Table, Int8Table]
DTYPES = [torch.float32, torch.bfloat16]

F32, BF16 = DTYPES


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = F32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@cache
def layer(kind: type[PackedLinear], out: int, width: int, bias: bool = False) -> PackedLinear:
    return packed(kind, numbers(out, width, seed=out + width), numbers(out, seed=1) if bias else None)


def packed(kind: type[PackedLinear], weight: Tensor, bias: Tensor | None = None) -> PackedLinear:
    made = kind(weight.shape[1], weight.shape[0], bias=bias is not None)
    tensors = kind.pack(weight)
    if bias is not None:
        tensors["bias"] = bias
    made.load_state_dict(tensors, assign=True)
    return made.requires_grad_(False)


@cache
def table(kind: type[PackedTable], rows: int, width: int) -> PackedTable:
    made = kind(rows, width, 1.0)
    made.load_state_dict(kind.pack(numbers(rows, width, seed=rows + width)), assign=True)
    return made


def check_linear(layers: Sequence[PackedLinear], x: Tensor) -> None:
    """Several linears of one input."""
    for made, given in zip(layers, native.linear(x, layers), strict=True):
        assert given.dtype == x.dtype
        exact.linear(made, x).check(given)


# --- a program's operations


class Recorded:
    """A program, with its buffers by name."""

    def __init__(self, rows: int, wanted: int = 2) -> None:
        self.program = native.ready().Program(rows, wanted)
        self.places: dict[str, tuple[int, int]] = {}

    def buffer(self, name: str, width: int, *, last: bool = False) -> tuple[int, int]:
        self.places[name] = self.program.buffer(width, last), 0
        return self.places[name]

    def __getitem__(self, name: str) -> Tensor:
        """The buffer itself, `(rows, width)`: what is written here is there."""
        return torch.from_numpy(self.program.view(self.places[name][0]))

    def put(self, name: str, x: Tensor) -> None:
        self[name][: len(x)] = x

    def run(
        self,
        rows: int,
        *,
        start: int = 0,
        ids: list[int] | None = None,
        caches: Any = None,
        places: list[tuple[int, int]] | None = None,
        wanted: list[bool] | None = None,
    ) -> None:
        """One pass.

        Args:
            start: the position of the first row, in the only request; `places` says it of each row, for several.
            caches: `(requests, layers, 3)`, or of the only request `(layers, 3)`.
            wanted: which rows are; unless given, the last one.
        """
        held = np.zeros((1, 0, 3), dtype=np.int64) if caches is None else caches.reshape(-1, *caches.shape[-2:])
        where = [(0, start + row) for row in range(rows)] if places is None else places
        flags = [row == rows - 1 for row in range(rows)] if wanted is None else wanted
        self.program.run(
            np.array(ids if ids is not None else [0] * rows, dtype=np.int64),
            np.array(where, dtype=np.int64).reshape(-1, 2),
            held,
            np.array(flags, dtype=np.uint8),
        )


def rows_of(made: PackedTable) -> tuple[Tensor, Tensor, int, int, int]:
    return made.weight, made.scales, made.size, made.width, made.bits


class Attention:
    """Stores and attends in pieces, as a decoder layer does, and compares each piece with all that was read."""

    def __init__(
        self,
        *,
        dim: int,
        kv_heads: int = 1,
        group: int = 1,
        dtype: torch.dtype = F32,
        window: int = 0,
        scale: float = 0.3,
        rows: int = 64,
    ) -> None:
        self.dim, self.heads, self.kv_heads = dim, group * kv_heads, kv_heads
        self.dtype, self.window, self.scale = dtype, window, scale
        self.cache = SlotCache(kv_heads, dim, dtype, window=window or None)
        self.recorded = Recorded(rows)
        q, out = (self.recorded.buffer(name, self.heads * dim) for name in ("q", "out"))
        k, v = (self.recorded.buffer(name, kv_heads * dim) for name in ("k", "v"))
        program, bf16 = self.recorded.program, dtype == BF16
        program.store(k, v, kv_heads, dim, 0, bf16)
        program.attend(q, out, self.heads, kv_heads, dim, 0, bf16, window, scale)
        self.k, self.v = torch.empty(0, kv_heads, dim), torch.empty(0, kv_heads, dim)

    def check(self, *pieces: int, size: float = 1.0) -> None:
        for piece in pieces:
            self._check(piece, size)

    def _check(self, rows: int, size: float) -> None:
        start = len(self.k)
        q = numbers(rows, self.heads, self.dim, seed=3 * start) * size
        k, v = (numbers(rows, self.kv_heads, self.dim, seed=3 * start + i) for i in (1, 2))
        self.k, self.v = torch.cat([self.k, k]), torch.cat([self.v, v])
        for name, part in (("q", q), ("k", k), ("v", v)):
            self.recorded.put(name, part.flatten(1))
        self.cache.reserve(start + rows)
        place = [self.cache.keys.data_ptr(), self.cache.values.data_ptr(), self.cache.capacity]
        self.recorded.run(rows, start=start, caches=np.array([place]))
        given = self.recorded["out"][:rows].unflatten(1, (self.heads, self.dim))
        exact.attend(q, self.k, self.v, self.window, self.scale, self.dtype).check(given)


def check_rms_norm(width: int, groups: int = 1, *, weighted: bool, add: bool, scale: float = 1.0) -> None:
    recorded, x, before = Recorded(3), numbers(3, groups * width) * 3, numbers(3, groups * width, seed=1)
    weight = numbers(width, seed=2) if weighted else None
    places = recorded.buffer("x", groups * width), recorded.buffer("y", groups * width)
    recorded.program.rms_norm(*places, width, groups, weight, 1e-6, add, scale)
    recorded.put("x", x)
    recorded.put("y", before)
    recorded.run(3)
    normed = exact.rms_norm(x.view(3, groups, width), weight, 1e-6).flatten(1)
    value = (normed + (before.double() if add else 0)) * scale
    exact.Bounded(value, 1e-6 * (normed.abs() + before.abs()) * scale).check(recorded["y"])


def check_layer_norm(x: Tensor) -> None:
    """To another place, and to its own."""
    recorded, width = Recorded(len(x)), x.shape[1]
    weight, bias = (numbers(width, seed=seed) for seed in (2, 3))
    places = recorded.buffer("x", width), recorded.buffer("y", width)
    for to in reversed(places):
        recorded.program.layer_norm(places[0], to, weight, bias, 1e-5)
    recorded.put("x", x)
    recorded.run(len(x))
    value = F.layer_norm(x.double(), (width,), weight.double(), bias.double(), 1e-5)
    spread = x.double().abs().amax(1, keepdim=True) / (x.double().var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    bound = 1e-6 * ((1 + spread) * weight.double().abs() + bias.double().abs())
    for name in ("x", "y"):
        exact.Bounded(value, bound).check(recorded[name])


def check_dense(dtype: torch.dtype, width: int, out: int, rows: int, *, biased: bool, add: bool) -> None:
    """From the middle of a buffer to the middle of another, negative outputs clipped; what is beside them stays."""
    recorded, x, before = Recorded(rows), numbers(rows, width), numbers(rows, out + 9, seed=1)
    weight = numbers(out, width, seed=2, dtype=dtype)
    bias = numbers(out, seed=3) if biased else None
    source, to = recorded.buffer("x", width + 5), recorded.buffer("y", out + 9)
    recorded.program.dense((source[0], 5), weight, bias, (to[0], 4), (0.0, float("inf")), add)
    recorded["x"][:, 5:] = x
    recorded.put("y", before)
    recorded.run(rows)
    read, weights = x.to(dtype).double(), weight.double()
    shift = torch.zeros(out, dtype=torch.float64) if bias is None else bias.double()
    here = before[:, 4 : 4 + out].double() * add
    value = (read @ weights.T + shift).clamp(min=0) + here
    size = read.abs() @ weights.abs().T + shift.abs() + here.abs()
    exact.Bounded(value, 2e-6 * size).check(recorded["y"][:, 4 : 4 + out])
    assert torch.equal(recorded["y"][:, :4], before[:, :4])
    assert torch.equal(recorded["y"][:, 4 + out :], before[:, 4 + out :])


def check_gelu_product(x: Tensor, up: Tensor) -> None:
    recorded, width = Recorded(len(x)), x.shape[1]
    places = [recorded.buffer(name, width) for name in ("gate", "up", "to")]
    recorded.program.gelu_product(*places, width)
    recorded.put("gate", x)
    recorded.put("up", up)
    recorded.run(len(x))
    size = (x.double() * up.double()).abs()
    exact.Bounded(exact.gelu(x) * up.double(), 2e-6 * size + exact.TINY).check(recorded["to"])


def check_rotate(heads: int, dim: int, *, start: int = 0, rows: int = 3) -> None:
    recorded, x = Recorded(rows), numbers(rows, heads, dim)
    inverse = torch.rand(dim // 2, generator=torch.Generator().manual_seed(1))
    places = recorded.buffer("x", heads * dim), recorded.buffer("angles", dim)
    recorded.program.angles(places[1], inverse)
    recorded.program.rotate(places[0], heads, dim, places[1])
    recorded.put("x", x.flatten(1))
    recorded.run(rows, start=start)
    angles = torch.arange(start, start + rows, dtype=F32)[:, None] * inverse  # rounded to float32, as torch's are
    value = exact.rotate(x, angles).flatten(1)
    exact.Bounded(value, torch.full_like(value, 2e-6)).check(recorded["x"])


def check_soft_cap(x: Tensor, cap: float) -> None:
    recorded, width = Recorded(len(x)), x.shape[1]
    recorded.program.soft_cap(recorded.buffer("x", width), width, cap)
    recorded.put("x", x)
    recorded.run(len(x))
    value = (x.double() / cap).tanh() * cap
    exact.Bounded(value, torch.full_like(value, 1e-6 * cap)).check(recorded["x"])


def check_gated(kind: type[PackedLinear], width: int, inner: int, rows: int) -> None:
    """Exactly what its operations give one by one, which are checked for themselves."""
    gate, up, down = layer(kind, inner, width), packed(kind, numbers(inner, width, seed=7)), layer(kind, width, inner)
    together, apart = Recorded(rows), Recorded(rows)
    for recorded in (together, apart):
        recorded.buffer("x", width)
        recorded.buffer("y", width)
        recorded.put("x", numbers(rows, width))
    matrices = [native.matrix(part) for part in (gate, up, down)]
    together.program.gated(together.places["x"], *matrices, together.places["y"])
    gates, ups = apart.buffer("gate", inner), apart.buffer("up", inner)
    apart.program.linear(apart.places["x"], [(matrices[0], gates), (matrices[1], ups)])
    apart.program.gelu_product(gates, ups, gates, inner)
    apart.program.linear(gates, [(matrices[2], apart.places["y"])])
    together.run(rows)
    apart.run(rows)
    assert torch.equal(together["y"], apart["y"])
    exact.linear(down, apart["gate"]).check(apart["y"])


def check_packing(grouped: Tensor) -> None:
    """The kernels' search finds as good scales as torch's operators do, and nearly always the same."""
    q, scales = native.pack_groups(grouped, int4.DIVISORS)
    other_q, other_scales = int4._search(grouped, int4.DIVISORS)

    def errors(q: Tensor, scales: Tensor) -> Tensor:
        return (q.double() * scales.double()[..., None] - grouped.double()).square().sum(-1)

    assert bool((errors(q, scales) <= 1.001 * errors(other_q, other_scales) + exact.TINY).all())
    assert float((scales == other_scales).float().mean()) > 0.98
    assert int(q.min()) >= -8
    assert int(q.max()) <= 7


def check_lookup(made: PackedTable, ids: list[int], factor: float, absent: int) -> None:
    recorded = Recorded(len(ids))
    recorded.program.lookup(rows_of(made), recorded.buffer("x", made.width), factor, absent)
    before = numbers(len(ids), made.width)
    recorded.put("x", before)
    recorded.run(len(ids), ids=ids)
    whole = made.unpack(made.weight, made.scales, made.size, made.width).double() * factor
    value = before.double()
    for row, id in enumerate(ids):
        if id >= 0 or absent >= 0:
            value[row] = whole[id if id >= 0 else absent]
    exact.Bounded(value, 3e-7 * value.abs()).check(recorded["x"])


def check_rescore(made: PackedTable, count: int, rows: int = 2) -> None:
    recorded, state, logits = Recorded(rows), numbers(rows, made.width), numbers(rows, made.size, seed=1)
    places = recorded.buffer("x", made.width), recorded.buffer("logits", made.size)
    recorded.program.rescore(*places, rows_of(made), count)
    recorded.put("x", state)
    recorded.put("logits", logits)
    recorded.run(rows)
    best = logits.topk(min(count, made.size)).indices
    whole = made.unpack(made.weight, made.scales, made.size, made.width).double()
    again, size = state.double() @ whole.T, state.double().abs() @ whole.abs().T
    value = logits.double().scatter(1, best, again.gather(1, best))
    bound = torch.zeros_like(value).scatter(1, best, 1e-6 * size.gather(1, best))  # the others are not touched
    exact.Bounded(value, bound).check(recorded["logits"])


def check_spoilt(made: PackedLinear, rows: int, value: float, dtype: torch.dtype = F32) -> None:
    """A number that is infinite or none makes the results of its row no numbers, and touches no other row."""
    x = numbers(rows, made.in_features)
    plain = native.linear(x.to(dtype), [made])[0]
    x[rows // 2, made.in_features // 2] = value
    given = native.linear(x.to(dtype), [made])[0]
    assert bool(given[rows // 2].isnan().all()), given[rows // 2]
    others = torch.arange(rows) != rows // 2
    assert torch.equal(given[others], plain[others])


def some_of_each_kind() -> None:
    for kind in KINDS:
        for dtype in DTYPES:
            for rows in (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 31):
                layers = [layer(kind, out, 70, bias=True) for out in (1, 17, 80)]
                check_linear(layers, numbers(rows, 70, dtype=dtype))
            check_linear([layer(kind, 65, 330)], numbers(12, 330, dtype=dtype) * 1e30)
        full = packed(kind, torch.where(numbers(20, 1024) > 0, 127.0, -127.0))
        for rows in (1, 12):
            check_linear([full], 127 * numbers(rows, 1024).sign())
            check_gated(kind, 70, 200, rows)
    for dtype in DTYPES:
        for dim, kv_heads, group in ((24, 2, 3), (64, 1, 4), (256, 1, 8)):
            Attention(dim=dim, kv_heads=kv_heads, group=group, dtype=dtype).check(40, 1, 64, 1, 1)
            Attention(dim=dim, kv_heads=kv_heads, group=group, dtype=dtype, window=33).check(40, 1, 64, 1, 1)
    check_packing(numbers(5, 100, 32))
    check_rms_norm(70, 2, weighted=True, add=True, scale=0.5)
    check_layer_norm(numbers(3, 70) + 20)
    for dtype in DTYPES:
        for rows in (1, 3, 7):
            check_dense(dtype, 96, 33, rows, biased=True, add=True)
    check_gelu_product(torch.linspace(-12, 12, 4100).view(2, -1), numbers(2, 2050))
    check_rotate(3, 40, start=1000)
    check_soft_cap(numbers(2, 2050) * 100, 30.0)
    for made in TABLES:
        check_lookup(table(made, 9, 96), [8, 0, -3, 5], 9.5, 2)
        check_rescore(table(made, 50, 96), 7)
        check_rescore(table(made, 1000, 32), 20)
    for rows in (1, 3, 12):
        for value in (torch.nan, torch.inf, -torch.inf):
            check_spoilt(layer(Int4Linear, 17, 70), rows, value)


if __name__ == "__main__":
    some_of_each_kind()
    print(native.describe())
