"""What a measurement was made on: it stands in every file of results."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# Instructions that the matrix products of this project's models care about.
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimddp", "bf16", "i8mm", "sve")
PACKAGES = ("auricle", "torch", "transformers", "numpy", "safetensors")
BUSY = 0.5  # a load average above it: others at work make figures worthless


def describe(threads: int | None = None, device: str = "cpu") -> dict[str, Any]:
    """Date, versions and hardware.

    Args:
        threads: with it, the rate at which one thread and so many read memory is measured too.
        device: where the model runs; of a card, its name and its memory's rate are told as well.
    """
    info = _cpuinfo()
    machine: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": info.get("model name") or platform.processor() or platform.machine(),
        "family and model": " ".join(info.get(key, "") for key in ("cpu family", "model")).strip(),
        "features": [name for name in FEATURES if name in info.get("flags", info.get("Features", "")).split()],
        "cores": os.cpu_count(),
        "memory_gb": round(_memory_bytes() / 1e9, 1),
        "load_average": load_average(),  # of the minute before
    }
    if threads is not None:
        machine["memory_gb_per_s"] = {str(n): memory_gb_per_s(n) for n in sorted({1, threads})}
    if device.startswith("cuda"):
        machine |= _card(device)
    return {"date": date.today().isoformat(), "versions": _versions(), "machine": machine}


def load_average() -> float:
    """How many processes were at work, over the last minute."""
    return round(os.getloadavg()[0], 2)


def memory_gb_per_s(threads: int, size: int = 1 << 30) -> float:
    """How fast so many threads read memory, in GB/s: the best of some passes over `size` bytes."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    numbers = torch.ones(size // 8, dtype=torch.int64)
    best = min(_seconds(numbers.sum) for _ in range(5))
    torch.set_num_threads(before)
    return round(size / best / 1e9, 1)


def _card(device: str) -> dict[str, Any]:
    """A card's name, and how fast it reads its own memory, in GB/s."""
    import torch

    numbers = torch.ones(1 << 27, dtype=torch.int64, device=device)  # 1 GiB

    def read() -> None:
        numbers.sum()
        torch.cuda.synchronize(device)

    best = min(_seconds(read) for _ in range(5))
    rate = round(numbers.nbytes / best / 1e9, 1)
    return {"card": torch.cuda.get_device_name(device), "card_memory_gb_per_s": rate}


def _seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def _cpuinfo() -> dict[str, str]:
    """The first processor's entry in Linux's list; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    lines = path.read_text().split("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
