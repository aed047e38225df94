"""The transformers library: imported late, kept quiet, and what it lacks told in one line."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from auricle.errors import AuricleError, CheckpointError, InputError
from auricle.hub import ModelName

EXTRA = 'pip install "auricle[transformers]"'
_REQUIRED = re.compile(r"requires the (?:🤗 )?([\w .-]+?) library", re.IGNORECASE)
_LACKING = re.compile(r"Can't load (?:the )?([\w ]+?)(?: configuration)? for ")  # then advice on names of the hub
_PACKAGES = {"pyav": "av", "mistral-common": "mistral-common", "opencv": "opencv-python"}  # others by their own name


def library(model: ModelName) -> Any:
    """The module, without its progress bars and its warnings, of which those that matter are errors of ours.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec("transformers") is None:
        raise InputError(f"transformers:{model.name} needs the transformers library, which is not installed: {EXTRA}")
    transformers = importlib.import_module("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


@contextmanager
def reading(folder: Path, what: str) -> Iterator[None]:
    """What goes wrong within, as an error of ours that says in one line what the folder or the machine lacks."""
    try:
        yield
    except AuricleError:
        raise
    except ImportError as error:
        raise InputError(f"{folder} needs {_missing(error)}") from error
    except MemoryError as error:
        raise AuricleError(f"{folder} does not fit into memory: use a smaller model") from error
    except Exception as error:  # the library, and a file from anywhere: it raises what it will
        if "trust_remote_code" in str(error):
            raise needs_code(folder) from error
        if lacking := _LACKING.match(str(error)):
            raise CheckpointError(f"{folder} lacks the files of its {lacking[1]}: fetch the model again") from error
        raise CheckpointError(f"{what} of {folder} can't be read ({one_line(error)}): fetch the model again") from error


def needs_code(folder: Path) -> CheckpointError:
    return CheckpointError(
        f"{folder} needs code of its own (trust_remote_code), which is never run here: "
        "choose a checkpoint whose model type is part of transformers"
    )


def one_line(error: BaseException) -> str:
    """What an exception says, in one line that is not too long."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 200 else text[:197] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _missing(error: ImportError) -> str:
    """The libraries that a message of transformers, or Python's own, names as not there."""
    if error.name and not error.name.startswith("transformers"):
        names = [error.name.partition(".")[0]]
    else:
        names = [found.lower() for found in _REQUIRED.findall(str(error))]
    if not names:
        return f"a library that is not installed ({one_line(error)})"
    packages = " ".join(dict.fromkeys(_PACKAGES.get(name, name) for name in names))
    return f"{' and '.join(dict.fromkeys(names))}, which is not installed: pip install {packages}"
