"""What a measurement was made on: it stands in every file of results."""

from __future__ import annotations

import os
import platform
import time
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# Instructions that the matrix products of this project's models care about.
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimddp", "bf16", "i8mm", "sve")
PACKAGES = ("auricle", "torch", "transformers", "numpy", "safetensors")


def describe(threads: int | None = None) -> dict[str, Any]:
    """Date, versions and hardware. With `threads`, the rate at which so many read memory is measured too."""
    info = _cpuinfo()
    machine: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": info.get("model name") or platform.processor() or platform.machine(),
        "family and model": " ".join(info.get(key, "") for key in ("cpu family", "model")).strip(),
        "features": [name for name in FEATURES if name in info.get("flags", info.get("Features", "")).split()],
        "cores": os.cpu_count(),
        "memory_gb": round(_memory_bytes() / 1e9, 1),
        "load_average": round(os.getloadavg()[0], 2),  # of the minute before: others at work make figures worthless
    }
    if threads is not None:
        machine["memory_gb_per_s"] = {str(n): memory_gb_per_s(n) for n in sorted({1, threads})}
    return {"date": date.today().isoformat(), "versions": _versions(), "machine": machine}


def memory_gb_per_s(threads: int, size: int = 1 << 30) -> float:
    """How fast so many threads read memory, the best of some passes over a gigabyte."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    numbers = torch.ones(size // 8, dtype=torch.int64)
    best = min(_seconds(numbers.sum) for _ in range(5))
    torch.set_num_threads(before)
    return round(size / best / 1e9, 1)


def _seconds(call: Any) -> float:
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
