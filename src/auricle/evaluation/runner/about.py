"""What doesn't define a run, but belongs to it: `about.json`, with the manifest and each time that it was worked on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

from auricle.errors import InputError
from auricle.evaluation.manifest import relative
from auricle.jobs.folder import replaced

ABOUT = "about.json"
LIBRARIES = ("auricle", "torch", "numpy", "transformers", "openai", "silero-vad", "jiwer")


def read_about(out: Path) -> dict[str, Any]:
    """What is known of a run; empty where nothing is.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return dict(json.loads((out / ABOUT).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(f"{out / ABOUT} is damaged ({error}): remove it, it holds no rows") from None


@contextmanager
def session(out: Path, manifest: Path, clips: int, load_s: float | None) -> Iterator[dict[str, Any]]:
    """Tells the folder of this time's work, also if it is broken off. What it gives may be added to."""
    about, begun = read_about(out), perf_counter()
    about["manifest"] = {"path": relative(manifest, out), "sha256": _sha256(manifest), "clips": clips}
    this: dict[str, Any] = {"started": datetime.now(UTC).isoformat(timespec="seconds"), "load_s": load_s, **machine()}
    about.setdefault("sessions", []).append(this)
    try:
        yield this
    finally:
        this["elapsed_s"] = perf_counter() - begun
        if out.is_dir():
            replaced(out / ABOUT, (json.dumps(about, indent=1) + "\n").encode())


def machine() -> dict[str, Any]:
    """Where figures come from: system, processor, cores that may be used, versions of what computes."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "machine": f"{platform.system()} {platform.machine()}, {cores} cores" + (f", {gpu}" if gpu else ""),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **{name: v for name in LIBRARIES if (v := _version(name))}},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
