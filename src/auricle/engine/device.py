"""Where and in which precision a model runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from auricle.errors import DeviceError, OptionError

Device = Literal["auto", "cpu", "cuda", "mps"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
DEVICES: tuple[Device, ...] = ("auto", "cpu", "cuda", "mps")
DTYPES: tuple[Dtype, ...] = ("auto", "float32", "bfloat16", "float16")

SMALL = 100_000_000  # parameters; below, float32 costs nothing and gives the same tokens on every machine

MAX_THREADS = 1024  # past some tens of thousands the OpenMP runtime ends the process, out of memory


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA, else MPS, else the CPU; a name this machine lacks is an error."""
    kind = name.partition(":")[0]
    if kind not in DEVICES:
        raise OptionError(f"unknown device {name!r}: known are {', '.join(DEVICES)}")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        return torch.device("cuda" if available["cuda"] else "mps" if available["mps"] else "cpu")
    if not available[kind]:
        raise DeviceError(f"device {name!r} is not available on this machine, or not with this torch: use --device cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"{name!r} is no device: spell it cuda or cuda:0") from error
    if kind == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"there is no device {name!r}: this machine has {torch.cuda.device_count()}, from cuda:0 on")
    return device


def choose_dtype(name: str, device: torch.device, parameters: int) -> torch.dtype:
    """`auto` is bfloat16 where it is fast and the model is large enough to gain, float32 elsewhere."""
    if name not in DTYPES:
        raise OptionError(f"unknown dtype {name!r}: known are {', '.join(DTYPES)}")
    if name != "auto":
        dtype: torch.dtype = getattr(torch, name)
        return dtype
    return torch.bfloat16 if parameters > SMALL and fast_bfloat16(device) else torch.float32


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively, not by way of float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "mps":
        return True
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & _processor_flags())


def use_threads(threads: int | None) -> None:
    """Sets how many threads torch uses on the CPU; None leaves its own choice."""
    if threads is None:
        return
    if not 1 <= threads <= MAX_THREADS:
        raise OptionError(f"threads is {threads}; it must be from 1 to {MAX_THREADS}")
    torch.set_num_threads(threads)


def _processor_flags() -> set[str]:
    """The CPU's features as Linux names them ("flags" on x86, "Features" on Arm); empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split()}
