"""Packages that only measuring needs, imported when they are."""

from __future__ import annotations

from typing import Any

from auricle.jobs import extras


def needed(module: str, what: str) -> Any:
    """As `jobs.extras.needed`, of the packages that the evaluation needs."""
    return extras.needed(module, what, "eval")
