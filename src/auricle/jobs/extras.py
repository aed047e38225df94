"""Packages that only some rooms need, imported when they are."""

from __future__ import annotations

import importlib
from typing import Any

from auricle.errors import UnsupportedError


def needed(module: str, what: str, extra: str) -> Any:
    """A module of an optional package.

    Raises:
        UnsupportedError: it isn't installed; the message says what needs it, and how to get it.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise UnsupportedError(
            f'{what} needs {package}, which is not installed: pip install "auricle[{extra}]"'
        ) from None
