"""Each operation of a native program against float64, at odd sizes and extreme values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from auricle.layers import cache as cache_module
from auricle.layers import native
from auricle.layers.cache import SlotCache
from auricle.quant.packed import PackedLinear
from auricle.quant.table import Int4Table, Int8Table, PackedTable
from tests.quant import exact
from tests.quant.kernel_checks import (
    BF16,
    DTYPES,
    KINDS,
    TABLES,
    Attention,
    Recorded,
    check_dense,
    check_gated,
    check_gelu_product,
    check_layer_norm,
    check_lookup,
    check_rescore,
    check_rms_norm,
    check_rotate,
    check_soft_cap,
    layer,
    numbers,
    rows_of,
    table,
)

NAN, INF = float("nan"), float("inf")

pytestmark = pytest.mark.skipif(native.missing() is not None, reason="no kernels here")


# --- linears


@pytest.mark.parametrize("rows", [1, 8, 9, 40])
def test_linears_of_one_input_into_columns(rows: int) -> None:
    """Of different bits, each to its place, from the middle of a buffer; what is beside them stays."""
    recorded, x = Recorded(40), numbers(rows, 70)
    source, (to, _) = recorded.buffer("x", 80), recorded.buffer("y", 140)
    made = [layer(kind, out, 70) for kind, out in zip(KINDS, (33, 64), strict=True)]
    matrices = [(native.matrix(linear), (to, column)) for linear, column in zip(made, (1, 50), strict=True)]
    recorded.program.linear((source[0], 7), matrices)
    recorded["y"][:] = -1.0
    recorded["x"][:rows, 7:77] = x
    recorded.run(rows)
    for linear, column in zip(made, (1, 50), strict=True):
        exact.linear(linear, x).check(recorded["y"][:rows, column : column + linear.out_features])
    beside = torch.ones(140, dtype=torch.bool)
    beside[1:34] = beside[50:114] = False
    assert bool((recorded["y"][:rows, beside] == -1.0).all())
    assert bool((recorded["y"][rows:] == -1.0).all())


def test_a_row_that_is_not_finite_is_spoilt_alone() -> None:
    recorded, x = Recorded(9), numbers(9, 70)
    recorded.program.linear(
        recorded.buffer("x", 70), [(native.matrix(layer(KINDS[0], 33, 70)), recorded.buffer("y", 33))]
    )
    x[4, 69] = NAN
    recorded.put("x", x)
    recorded.run(9)
    assert recorded["y"].isnan().all(1).tolist() == [row == 4 for row in range(9)]
    assert recorded["y"].isnan().any(1).tolist() == [row == 4 for row in range(9)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 8, 9, 40])
@pytest.mark.parametrize(("width", "inner"), [(64, 96), (70, 200), (33, 1), (16, 17), (40, 80), (32, 300)])
def test_gated(kind: type[PackedLinear], rows: int, width: int, inner: int) -> None:
    check_gated(kind, width, inner, rows)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 32])
@pytest.mark.parametrize(("width", "out"), [(32, 1), (96, 33), (256, 70)])
@pytest.mark.parametrize(("biased", "add"), [(False, False), (True, True)])
def test_dense(dtype: torch.dtype, width: int, out: int, rows: int, biased: bool, add: bool) -> None:
    check_dense(dtype, width, out, rows, biased=biased, add=add)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_no_number_spoils_its_row_of_a_dense_product_alone(dtype: torch.dtype) -> None:
    recorded, x = Recorded(5), numbers(5, 64)
    weight = numbers(40, 64, seed=1, dtype=dtype)
    recorded.program.dense(recorded.buffer("x", 64), weight, None, recorded.buffer("y", 40), (0.0, INF), False)
    x[2, 63] = NAN
    recorded.put("x", x)
    recorded.run(5)
    assert recorded["y"].isnan().all(1).tolist() == [row == 2 for row in range(5)]
    assert recorded["y"].isnan().any(1).tolist() == [row == 2 for row in range(5)]


# --- norms, gates, rotary embedding, soft caps


@pytest.mark.parametrize("width", [1, 12, 16, 17, 70, 1536])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("weighted", "add", "scale"), [(True, False, 1.0), (False, False, 1.0), (True, True, 0.7)])
def test_rms_norm(width: int, groups: int, weighted: bool, add: bool, scale: float) -> None:
    check_rms_norm(width, groups, weighted=weighted, add=add, scale=scale)


def normed(x: Tensor) -> Tensor:
    recorded = Recorded(len(x))
    place = recorded.buffer("x", x.shape[1])
    recorded.program.rms_norm(place, place, x.shape[1], 1, None, 1e-6, False, 1.0)
    recorded.put("x", x)
    recorded.run(len(x))
    return recorded["x"].clone()


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-3, 1e15])
def test_rms_norm_of_small_and_large_numbers(size: float) -> None:
    x = numbers(2, 70) * size
    value = exact.rms_norm(x, None, 1e-6)
    exact.Bounded(value, 1e-6 * value.abs()).check(normed(x))


def test_rms_norm_of_what_is_no_number() -> None:
    x = numbers(2, 70)
    x[1, 69] = NAN
    assert normed(x).isnan().all(1).tolist() == [False, True]


@pytest.mark.parametrize("width", [1, 12, 16, 17, 70, 1536])
@pytest.mark.parametrize(("size", "shift"), [(0.0, 0.0), (0.0, 7.0), (1e-6, 0.0), (3.0, 20.0), (1e12, 0.0)])
def test_layer_norm(width: int, size: float, shift: float) -> None:
    check_layer_norm(numbers(3, width) * size + shift)


def test_layer_norm_of_what_is_no_number() -> None:
    x = numbers(2, 70)
    x[1, 69] = NAN
    recorded = Recorded(2)
    place, ones = recorded.buffer("x", 70), torch.ones(70)
    recorded.program.layer_norm(place, place, ones, ones, 1e-5)
    recorded.put("x", x)
    recorded.run(2)
    assert recorded["x"].isnan().all(1).tolist() == [False, True]


@pytest.mark.parametrize("width", [1, 15, 16, 17, 2047, 2048, 2049, 5000])
def test_gelu_product(width: int) -> None:
    check_gelu_product(3 * numbers(3, width), numbers(3, width, seed=1))


def test_gelu_product_of_every_size() -> None:
    near, far = torch.linspace(-12, 12, 2000), torch.tensor([0.0, -0.0, 50.0, -50.0, 1e10, -1e10, 1e38, -1e38, 1e-38])
    x = torch.cat([near, far])[None]
    check_gelu_product(x, torch.ones_like(x))


def test_gelu_product_of_what_is_no_number() -> None:
    recorded = Recorded(1)
    gate, up, to = (recorded.buffer(name, 4) for name in ("gate", "up", "to"))
    recorded.program.gelu_product(gate, up, to, 4)
    recorded.put("gate", torch.tensor([[NAN, 1.0, INF, 1.0]]))
    recorded.put("up", torch.tensor([[1.0, NAN, 1.0, 1.0]]))
    recorded.run(1)
    assert recorded["to"][0].isfinite().tolist() == [False, False, False, True]


@pytest.mark.parametrize("dim", [2, 24, 40, 64, 256, 512])
@pytest.mark.parametrize("start", [0, 4000])
def test_rotate(dim: int, start: int) -> None:
    check_rotate(3, dim, start=start)


@pytest.mark.parametrize("width", [1, 15, 17, 2048, 2049, 5000])
@pytest.mark.parametrize("size", [0.0, 1e-6, 1.0, 100.0, 1e30])
def test_soft_cap(width: int, size: float) -> None:
    check_soft_cap(numbers(2, width) * size, 30.0)


def test_soft_cap_of_what_is_not_finite() -> None:
    recorded = Recorded(1)
    recorded.program.soft_cap(recorded.buffer("x", 20), 20, 30.0)
    recorded.put("x", torch.tensor([[NAN, INF, -INF, *[1.0] * 17]]))
    recorded.run(1)
    assert recorded["x"][0].isnan().tolist() == [True] + [False] * 19
    assert recorded["x"][0, 1:3].tolist() == [30.0, -30.0]


# --- tables


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("absent", [-1, 0, 8])
def test_lookup(kind: type[PackedTable], absent: int) -> None:
    """Without text, the row of `absent`; where there is none, what was there stays."""
    check_lookup(table(kind, 9, 96), [8, 0, -1, 5, -7], 9.8125, absent)


@pytest.mark.parametrize("width", [1, 15, 16, 17, 33, 100])
def test_lookup_of_odd_widths(width: int) -> None:
    check_lookup(table(Int8Table, 9, width), [3, 8], 0.1, -1)


def test_every_byte_is_looked_up() -> None:
    every = torch.arange(256)
    for made, weight in (
        (Int4Table(16, 32, 1.0), every.to(torch.uint8)),
        (Int8Table(1, 256, 1.0), every.to(torch.int8)),
    ):
        made.weight, made.scales = weight.view_as(made.weight), numbers(*made.scales.shape).to(made.scales.dtype)
        check_lookup(made, list(range(made.size)), 1.0, -1)


def test_a_token_outside_of_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="a table has no row for a token"):
        check_lookup(table(Int8Table, 9, 96), [8, 9], 1.0, -1)


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("count", [1, 7, 49, 50, 51, 200])
@pytest.mark.parametrize("rows", [1, 3])
def test_rescore(kind: type[PackedTable], count: int, rows: int) -> None:
    check_rescore(table(kind, 50, 96), count, rows)


@pytest.mark.parametrize("count", [1, 32, 300, 999])
@pytest.mark.parametrize("size", [255, 256, 257, 1000])
def test_rescore_of_many(size: int, count: int) -> None:
    check_rescore(table(Int8Table, size, 32), count)


@pytest.mark.parametrize("order", ["rising", "falling", "equal"])
def test_rescore_finds_the_highest_in_any_order(order: str) -> None:
    made, recorded = table(Int8Table, 50, 96), Recorded(1)
    recorded.program.rescore(recorded.buffer("x", 96), recorded.buffer("logits", 50), rows_of(made), 5)
    logits = {"rising": torch.arange(50.0), "falling": -torch.arange(50.0), "equal": torch.zeros(50)}[order]
    recorded.put("logits", logits[None])
    recorded["x"][:] = 0.0
    recorded["logits"][0, 20] = 99.0
    recorded.run(1)
    changed = (recorded["logits"][0] != logits).nonzero().flatten().tolist()
    assert set(changed) - {0, 20} == set({"rising": range(46, 50), "falling": range(1, 4), "equal": []}[order])
    assert float(recorded["logits"][0, 20]) == 0.0


# --- attention


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [2, 24, 40, 48, 64, 256, 512])
@pytest.mark.parametrize("kv_heads", [1, 2])
@pytest.mark.parametrize("group", [1, 3, 4, 8])
def test_attention_of_any_head(dtype: torch.dtype, dim: int, kv_heads: int, group: int) -> None:
    """A prompt, a position alone, another piece of several."""
    Attention(dim=dim, kv_heads=kv_heads, group=group, dtype=dtype, rows=40).check(37, 1, 1, 3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [0, 1, 15, 16, 17, 64, 100])
@pytest.mark.parametrize("pieces", [[1] * 120, [20] * 12, [7, 1, 1, 33, 2, 1, 64, 64, 64, 1, 1]])
def test_attention_over_windows(
    dtype: torch.dtype, window: int, pieces: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ring of a window is gone round at least once, and never grows."""
    monkeypatch.setattr(cache_module, "SLACK", max(pieces))
    checked = Attention(dim=24, kv_heads=2, group=3, dtype=dtype, window=window, rows=max(pieces))
    checked.check(*pieces)
    if window:
        assert checked.cache.capacity < window + max(pieces) + 15 < sum(pieces)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [0, 100])
def test_attention_over_many_positions(dtype: torch.dtype, window: int) -> None:
    """A full cache grows; one position's attention is cut in many parts, and many positions are taken in several."""
    Attention(dim=16, group=8, dtype=dtype, window=window, rows=300).check(300, 1, 299, 1, 300, 1, 300, 1)


@pytest.mark.parametrize("threads", [2, 3])
def test_attention_cut_for_more_threads(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        Attention(dim=40, group=4, kv_heads=2, rows=200).check(200, 1, 1, 150, 1)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0.0, 1e-20, 100.0, 1e4])
def test_attention_that_is_flat_or_peaked(dtype: torch.dtype, size: float) -> None:
    """Queries of zeros see all positions alike; long ones see one alone."""
    Attention(dim=32, group=4, dtype=dtype).check(40, 1, 64, 1, size=size)


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("part", ["q", "k", "v"])
def test_attention_of_what_is_no_number(rows: int, part: str) -> None:
    """Whoever sees it has no number: all from the position on that brought it, or its query alone."""
    checked = Attention(dim=32, group=2)
    checked.check(20, rows)
    recorded = checked.recorded
    recorded[part][rows - 1] = NAN
    recorded["out"][:] = 0.0
    checked.cache.reserve(20 + rows)
    place = [checked.cache.keys.data_ptr(), checked.cache.values.data_ptr(), checked.cache.capacity]
    recorded.run(rows, start=20, caches=np.array([place]))
    assert bool(recorded["out"][rows - 1].isnan().all())


# --- what is recorded, and what is refused


@pytest.mark.parametrize("wanted", [[], [4], [0], [0, 3], [1, 2, 4], [0, 1, 2, 3, 4]])
def test_after_keep_only_the_wanted_rows_count(wanted: list[int]) -> None:
    recorded = Recorded(5, wanted=5)
    x, y = recorded.buffer("x", 20), recorded.buffer("y", 20, last=True)
    recorded.program.soft_cap(x, 20, 1.0)
    recorded.program.keep([x[0]])
    recorded.program.gelu_product(x, x, y, 20)
    given = numbers(5, 20)
    recorded.put("x", given)
    recorded["y"][:] = 7.0
    recorded.run(5, wanted=[row in wanted for row in range(5)])
    kept = given[wanted].tanh().double()
    assert torch.allclose(recorded["y"][: len(wanted)].double(), exact.gelu(kept) * kept, atol=2e-6)
    assert bool((recorded["y"][len(wanted) :] == 7.0).all())
    assert torch.allclose(recorded["x"][len(wanted) :], given[len(wanted) :].tanh(), atol=2e-6)


def test_more_wanted_rows_than_there_is_room_for() -> None:
    recorded = Recorded(5, wanted=2)
    recorded.program.keep([recorded.buffer("x", 20)[0]])
    with pytest.raises(ValueError, match="at most max_wanted rows"):
        recorded.run(5, wanted=[True] * 3 + [False] * 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [0, 20])
def test_requests_in_one_pass_compute_what_each_computes_alone(dtype: torch.dtype, window: int) -> None:
    """Steps and stretches of several requests, in any mix: the same bits."""
    size, heads, kv_heads = 32, 4, 2
    random = np.random.default_rng(0)

    def begun() -> tuple[Recorded, list[SlotCache]]:
        recorded = Recorded(64)
        q, out = (recorded.buffer(name, heads * size) for name in ("q", "out"))
        k, v = (recorded.buffer(name, kv_heads * size) for name in ("k", "v"))
        recorded.program.store(k, v, kv_heads, size, 0, dtype == BF16)
        recorded.program.attend(q, out, heads, kv_heads, size, 0, dtype == BF16, window, 0.3)
        return recorded, [SlotCache(kv_heads, size, dtype, window=window or None) for _ in range(4)]

    def read(recorded: Recorded, caches: list[SlotCache], shares: list[tuple[int, int, int]]) -> Tensor:
        """Rows of (request, first position, how many)."""
        places, inputs = [], []
        for request, start, count in shares:
            caches[request].reserve(start + count)
            places += [(request, position) for position in range(start, start + count)]
            inputs += [numbers(1, (heads + 2 * kv_heads) * size, seed=1000 * request + p) for _, p in places[-count:]]
        widths = (heads * size, kv_heads * size, kv_heads * size)
        for name, part in zip("qkv", torch.cat(inputs).split(widths, dim=1), strict=True):
            recorded.put(name, part)
        held = np.array([[[c.keys.data_ptr(), c.values.data_ptr(), c.capacity or 16]] for c in caches])
        recorded.run(len(places), places=places, caches=held)
        return recorded["out"][: len(places)].clone()

    (together, shared), (apart, own) = begun(), begun()
    lengths = [0] * 4
    for _ in range(30):
        shares = []
        for request in random.permutation(4)[: random.integers(1, 5)]:
            count = int(random.choice([1, 1, 1, 2, 7, 16]))
            shares.append((int(request), lengths[request], count))
            lengths[request] += count
        given = read(together, shared, shares)
        expected = torch.cat([read(apart, own, [share]) for share in shares])
        assert torch.equal(given, expected)


def test_a_new_buffer_has_its_rows_and_columns() -> None:
    recorded = Recorded(5)
    recorded.buffer("x", 17)
    recorded.buffer("last", 3, last=True)
    assert (recorded["x"].shape, recorded["last"].shape) == ((5, 17), (2, 3))


def test_a_program_may_be_run_for_fewer_rows_than_it_has_but_not_for_more_or_none() -> None:
    recorded = Recorded(5)
    for rows in (0, 6):
        with pytest.raises(ValueError, match="a pass has 1 to max_rows rows"):
            recorded.run(rows)


def dense(program: Any, x: Any, weight: Tensor, bias: Tensor | None = None) -> None:
    """Into columns from 16 on of where x is."""
    program.dense(x, weight, bias, (x[0], 15), (-INF, INF), False)


WRONG: dict[str, tuple[Any, str]] = {
    "columns": (lambda p, x: p.soft_cap((x[0], 1), 20, 1.0), "columns outside of a buffer"),
    "negative columns": (lambda p, x: p.soft_cap((x[0], -1), 2, 1.0), "columns outside of a buffer"),
    "columns past all counting": (lambda p, x: p.soft_cap((x[0], 2**31 - 1), 2, 1.0), "columns outside of a buffer"),
    "buffer": (lambda p, x: p.soft_cap((99, 0), 2, 1.0), "there is no such buffer"),
    "heads": (lambda p, x: p.attend(x, x, 3, 2, 4, 0, False, 0, 1.0), "heads don't divide"),
    "no heads": (lambda p, x: p.attend(x, x, 0, 1, 4, 0, False, 0, 1.0), "heads don't divide"),
    "odd heads": (lambda p, x: p.store(x, x, 1, 5, 0, False), "an even number of dimensions"),
    "no matrices": (lambda p, x: p.linear(x, []), "a product needs a matrix"),
    "weight": (lambda p, x: p.rms_norm(x, x, 20, 1, torch.ones(19), 1e-6, False, 1.0), "a norm's weight has its width"),
    "norm's bias": (lambda p, x: p.layer_norm(x, x, torch.ones(20), torch.ones(19), 1e-6), "the width of its weight"),
    "dense width": (lambda p, x: dense(p, x, torch.ones(5, 20)), "a multiple of 32 inputs"),
    "dense columns": (lambda p, x: dense(p, x, torch.ones(5, 32)), "columns outside of a buffer"),
    "dense bias": (lambda p, x: dense(p, x, torch.ones(5, 32), torch.ones(4)), "one number for each output"),
    "dense type": (lambda p, x: dense(p, x, torch.ones(5, 32).half()), "must be float32 or bfloat16"),
    "dense in place": (lambda p, x: dense(p, (p.buffer(47), 0), torch.ones(16, 32)), "can't write over what it reads"),
    "absent": (lambda p, x: p.lookup(rows_of(table(Int8Table, 9, 20)), x, 1.0, 9), "the table has no such row"),
    "table": (lambda p, x: p.lookup((*rows_of(table(Int8Table, 9, 20))[:3], 10, 8), x, 1.0, 0), "of another size"),
    "matrix": (
        lambda p, x: p.linear(x, [((*native.matrix(layer(KINDS[0], 5, 20))[:2], 50, 20, 4), x)]),
        "weights of another size",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_refused_when_it_is_recorded(what: str) -> None:
    recorded = Recorded(2)
    record, message = WRONG[what]
    with pytest.raises(ValueError, match=message):
        record(recorded.program, recorded.buffer("x", 20))


def test_caches_have_to_be_there_and_of_whole_sixteens() -> None:
    checked = Attention(dim=8, dtype=BF16)
    with pytest.raises(ValueError, match="too few caches"):
        checked.recorded.run(1)
    cache = np.array([[1 << 20, 1 << 20, 16]])
    for place in ((1, 0), (-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="a row belongs to no request"):
            checked.recorded.run(1, caches=cache, places=[place])
    with pytest.raises(ValueError, match="slots are a multiple of 16"):
        checked.recorded.run(1, caches=np.array([[0, 0, 24]]))
