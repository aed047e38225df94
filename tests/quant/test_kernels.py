"""The native kernels: packed products against float64, and every instruction set that this processor has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from auricle.layers import native
from auricle.quant.int4 import DIVISORS, Int4Linear
from auricle.quant.int8 import Int8Linear
from auricle.quant.packed import PackedLinear
from tests.quant import exact
from tests.quant.kernel_checks import (
    BF16,
    DTYPES,
    F32,
    KINDS,
    check_linear,
    check_packing,
    check_spoilt,
    layer,
    numbers,
    packed,
)

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(native.missing() is not None, reason="no kernels here")


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


# --- shapes


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 31, 257])
def test_any_shape(kind: type[PackedLinear], dtype: torch.dtype, rows: int) -> None:
    for width in (1, 31, 32, 33, 70, 1536):
        x = numbers(rows, width, seed=rows, dtype=dtype)
        for out in (1, 15, 16, 17, 63, 64, 65, 100):
            check_linear([layer(kind, out, width)], x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 5, 30])
def test_several_of_one_input(dtype: torch.dtype, rows: int) -> None:
    """Of different bits and sizes, with a bias and without."""
    layers = [layer(kind, out, 70, bias) for kind in KINDS for out, bias in ((1, True), (200, False), (33, True))]
    check_linear(layers, numbers(rows, 70, dtype=dtype))
    for together, made in zip(native.linear(numbers(rows, 70), layers), layers, strict=True):
        assert torch.equal(together, native.linear(numbers(rows, 70), [made])[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_does_not_depend_on_those_beside_it(kind: type[PackedLinear]) -> None:
    """Exactly so while few rows are multiplied: many take sums in another order."""
    made, x = layer(kind, 100, 330), numbers(8, 330)
    whole = native.linear(x, [made])[0]
    for row in range(8):
        assert torch.equal(native.linear(x[row : row + 1], [made])[0][0], whole[row])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(70,), (1, 70), (2, 3, 70), (2, 1, 5, 70), (0, 70), (3, 0, 70)])
def test_leading_dimensions_and_empty_ones(kind: type[PackedLinear], shape: tuple[int, ...]) -> None:
    x = numbers(*shape)
    given = native.linear(x, [layer(kind, 17, 70), layer(kind, 1, 70)])
    assert [part.shape for part in given] == [(*shape[:-1], 17), (*shape[:-1], 1)]
    check_linear([layer(kind, 17, 70)], x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_that_are_not_contiguous(kind: type[PackedLinear], dtype: torch.dtype) -> None:
    whole = numbers(12, 140, dtype=dtype)
    for x in (whole[:, ::2], whole[:, 3:73], whole[::2, :70], whole.T[:70].T, whole[:1, :70].expand(9, 70)):
        assert torch.equal(
            native.linear(x, [layer(kind, 17, 70)])[0], native.linear(x.clone(), [layer(kind, 17, 70)])[0]
        )
        check_linear([layer(kind, 17, 70)], x)


def test_an_input_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="x has another width than the matrix"):
        native.linear(numbers(2, 71), [layer(Int4Linear, 17, 70)])


# --- values


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [0.0, 1e-45, 1e-41, 1e-38, 1e-36, 1e-30, 1e-10, 1e10, 1e30])
@pytest.mark.parametrize("rows", [2, 9])
def test_any_size(kind: type[PackedLinear], dtype: torch.dtype, scale: float, rows: int) -> None:
    check_linear([layer(kind, 17, 70)], (numbers(rows, 70) * scale).to(dtype))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 12])
@pytest.mark.parametrize("outlier", [1e4, -1e4, 1e35, -1e35])
def test_an_outlier_blurs_its_own_group_only(kind: type[PackedLinear], rows: int, outlier: float) -> None:
    x = numbers(rows, 96)
    x[0, 40] = outlier
    check_linear([packed(kind, 1e-3 * numbers(17, 96))], x)
    left = exact.rounded(x)[0]
    assert int(left[32:64].count_nonzero()) == 1
    assert int(left[:32].count_nonzero()) > 28


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 8, 9, 40])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_spoils_its_row(
    kind: type[PackedLinear], dtype: torch.dtype, rows: int, value: float
) -> None:
    for width in (1, 17, 31, 96):
        check_spoilt(layer(kind, 40, width), rows, value, dtype)


@pytest.mark.parametrize("rows", [1, 4, 9, 30])
@pytest.mark.parametrize("signs", ["equal", "opposite", "mixed"])
def test_the_largest_integers_do_not_saturate(rows: int, signs: str) -> None:
    """127 times 127 over a long row: the sum of two such products just fits into 16 bits, where AVX2 has them."""
    sign = numbers(16, 2048).sign()
    x = 127 * {"equal": sign[:1], "opposite": -sign[:1], "mixed": numbers(1, 2048, seed=1).sign()}[signs]
    weight = 127 * sign
    made = packed(Int8Linear, weight)
    assert torch.equal(made.dense(F32), weight)
    check_linear([made], x.expand(rows, -1))
    whole = (x.double() @ weight.double().T).expand(rows, -1)
    assert torch.allclose(native.linear(x.expand(rows, -1), [made])[0].double(), whole, rtol=1e-6, atol=0.5)


@pytest.mark.parametrize("rows", [1, 4, 9, 30])
def test_the_lowest_of_four_bits(rows: int) -> None:
    """-8 has no counterpart: each row's peak is there."""
    made = packed(Int4Linear, torch.full((17, 512), -8.0))
    assert int((made.weight != 0x00).sum()) == made.weight.numel() // 32 * 15, "the rows that fill up the second block"
    check_linear([made], 127 * numbers(rows, 512).sign())


# --- what is clipped


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 12])
def test_inputs_and_outputs_are_clipped(kind: type[PackedLinear], dtype: torch.dtype, rows: int) -> None:
    made, x = layer(kind, 40, 70, bias=True), numbers(rows, 70, dtype=dtype)
    given = native.linear(x, [made], (-0.5, 0.75), (-3.0, 2.5))[0]
    whole = exact.linear(made, x.clamp(-0.5, 0.75))
    exact.Bounded(whole.value.clamp(-3.0, 2.5), whole.bound).check(given)
    assert float(given.min()) == -3.0
    assert float(given.max()) == 2.5


def test_clipping_makes_what_is_infinite_finite_but_nothing_of_what_is_no_number() -> None:
    made, x = layer(Int8Linear, 17, 70), numbers(2, 70)
    x[0, 5], x[1, 5] = torch.inf, torch.nan
    given = native.linear(x, [made], (-1.0, 1.0), (-1.0, 1.0))[0]
    assert bool(given[0].isfinite().all())
    assert bool(given[1].isnan().all())


# --- norms


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1,), (1, 15), (3, 16), (2, 17, 33), (40, 1536), (0, 8)])
@pytest.mark.parametrize("weighted", [False, True])
def test_rms_norm(dtype: torch.dtype, shape: tuple[int, ...], weighted: bool) -> None:
    x = numbers(*shape, dtype=dtype) * 3
    weight = numbers(shape[-1], seed=1) if weighted else None
    value = exact.rms_norm(x, weight, 1e-6)
    given = native.rms_norm(x, weight, 1e-6)
    assert given.dtype == dtype
    exact.Bounded(value, (exact.STEP if dtype == BF16 else 1e-6) * value.abs() + exact.TINY).check(given)


# --- packing


@pytest.mark.parametrize("size", [1e-38, 1e-6, 1.0, 1e4])
def test_packing_in_four_bits(size: float) -> None:
    check_packing(numbers(3, 500, 32) * size)


def test_packing_peaks_zeros_and_what_is_too_large() -> None:
    groups = torch.zeros(4, 32)
    groups[1, 5], groups[2, 31], groups[3, 0] = 3.0, -3.0, 6e5
    q, scales = native.pack_groups(groups, DIVISORS)
    assert torch.equal(q[:3].float() * scales[:3, None].float(), groups[:3])
    assert scales.isnan().tolist() == [False, False, False, True]


# --- threads and instruction sets


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 12, 300])
def test_threads_change_nothing(kind: type[PackedLinear], rows: int, threads: Callable[[int], None]) -> None:
    layers, x = [layer(kind, out, 330) for out in (1, 17, 500)], numbers(rows, 330)

    def products(count: int) -> tuple[Tensor, ...]:
        threads(count)
        return native.linear(x, layers)

    alone = products(1)
    for count in (2, 3):
        assert all(torch.equal(a, b) for a, b in zip(alone, products(count), strict=True))


def run(*command: str, kernels: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"AURICLE_KERNELS": kernels}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["avx512-vnni-bf16", "avx512-vnni", "avx2-vnni", "avx2", "neon", "portable"])
def test_every_instruction_set(name: str) -> None:
    done = run("-m", "tests.quant.kernel_checks", kernels=name)
    if "this processor runs" in done.stderr:
        assert name != "portable"
        pytest.skip(done.stderr.splitlines()[-1])
    assert (done.returncode, done.stdout) == (0, f"{name}\n"), done.stderr


def inspected(kernels: str) -> subprocess.CompletedProcess[str]:
    command = "from auricle.cli.main import main; main()"
    return run("-c", command, "inspect", str(ROOT / "src/auricle/assets/tiny"), kernels=kernels)


def test_they_can_be_switched_off() -> None:
    done = inspected("none")
    assert done.returncode == 0, done.stderr
    assert "torch's own operators; AURICLE_KERNELS=none switches them off" in done.stdout


def test_unknown_ones_are_refused_and_the_known_named() -> None:
    done = inspected("bogus")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"auricle: AURICLE_KERNELS is bogus; this processor runs .*portable, none\n", done.stderr)
