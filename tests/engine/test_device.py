"""Where and in which precision a model runs."""

from __future__ import annotations

import pytest
import torch

from auricle.engine import device
from auricle.engine.device import choose_device, choose_dtype, use_threads
from auricle.errors import DeviceError, OptionError

LARGE = device.SMALL + 1


@pytest.fixture
def cuda_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(DeviceError, match=f"device '{name}' is not available .*use --device cpu"):
        choose_device(name)


@pytest.mark.usefixtures("nothing")
def test_auto_is_the_cpu_where_there_is_no_other() -> None:
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.usefixtures("cuda_only")
def test_auto_is_cuda_where_there_is_one() -> None:
    assert choose_device("auto").type == "cuda"
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("cpu") == torch.device("cpu")


def test_auto_is_mps_where_there_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"


@pytest.mark.parametrize("name", ["gpu", "", "tpu:0"])
def test_an_unknown_device_names_the_known(name: str) -> None:
    with pytest.raises(OptionError, match="known are auto, cpu, cuda, mps"):
        choose_device(name)


@pytest.mark.usefixtures("cuda_only")
@pytest.mark.parametrize("name", ["cuda:x", "cuda:"])
def test_a_device_number_that_is_none(name: str) -> None:
    with pytest.raises(DeviceError, match=f"'{name}' is no device: spell it cuda or cuda:0"):
        choose_device(name)


@pytest.mark.usefixtures("cuda_only")
def test_a_device_number_that_is_too_high() -> None:
    with pytest.raises(DeviceError, match="there is no device 'cuda:2': this machine has 2"):
        choose_device("cuda:2")


@pytest.mark.parametrize(
    ("fast", "parameters", "expected"),
    [
        (True, LARGE, torch.bfloat16),
        (True, device.SMALL, torch.float32),  # the same tokens on every machine
        (False, LARGE, torch.float32),
    ],
)
def test_auto_dtype(monkeypatch: pytest.MonkeyPatch, fast: bool, parameters: int, expected: torch.dtype) -> None:
    monkeypatch.setattr(device, "fast_bfloat16", lambda _: fast)
    assert choose_dtype("auto", torch.device("cpu"), parameters) == expected


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_named_dtype_is_taken(name: str) -> None:
    assert choose_dtype(name, torch.device("cpu"), 1) == getattr(torch, name)


def test_an_unknown_dtype_names_the_known() -> None:
    with pytest.raises(OptionError, match="unknown dtype 'int4': known are auto, float32, bfloat16, float16"):
        choose_dtype("int4", torch.device("cpu"), 1)


@pytest.mark.parametrize(
    ("flags", "fast"),
    [({"avx512f", "avx512_bf16"}, True), ({"amx_bf16"}, True), ({"asimd", "bf16"}, True), ({"avx512f"}, False)],
    ids=str,
)
def test_a_cpu_is_fast_in_bfloat16_when_it_says_so(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], fast: bool
) -> None:
    monkeypatch.setattr(device, "_processor_flags", lambda: flags)
    assert device.fast_bfloat16(torch.device("cpu")) is fast


def test_threads() -> None:
    before = torch.get_num_threads()
    try:
        use_threads(None)
        assert torch.get_num_threads() == before
        use_threads(3)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    with pytest.raises(OptionError, match="threads is 0; it must be from 1 to 1024"):
        use_threads(0)
    with pytest.raises(OptionError, match="threads is 100000"):
        use_threads(100_000)
