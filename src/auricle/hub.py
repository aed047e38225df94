"""From a model's name to a checkpoint folder: built in, a local folder, the hub's cache, or the hub itself."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from auricle.errors import CheckpointError, HubError

if TYPE_CHECKING:
    from collections.abc import Iterator

BUILT_IN = {
    "tiny": "hears English words, sounds and instruments; 16 MB, ships with Auricle",
    "tiny-codec": "turns sound into codes and back, for what makes sound",
    "tiny-audiolm": "goes on with melodies: `auricle continue`, `infill` and `restyle`",
}

# What a checkpoint needs: weights as safetensors, settings, tokenizer, chat template. No pickles, no duplicates: some
# repositories hold the weights once more as their maker writes them. Tokenizers of all kinds, whatever the backend, so
# that what one of them fetched is whole for another.
_PATTERNS = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.tiktoken", "*.bpe", "vocab.txt", "merges.txt"]
_DUPLICATES = ["consolidated*.safetensors", "original/*"]
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class ModelName:
    """`[backend:]name[@revision]`, taken apart."""

    name: str
    backend: str = "native"
    revision: str | None = None

    @classmethod
    def parse(cls, text: str, backends: tuple[str, ...]) -> ModelName:
        """Splits a name. A folder that exists is taken as it is, colons and at-signs included.

        Raises:
            HubError: the backend is unknown, or nothing is left for a name.
        """
        if text and Path(text).exists() and text not in BUILT_IN:
            return cls(text)
        backend, colon, rest = text.partition(":")
        if not colon or len(backend) == 1 or "/" in backend:  # C:\models\... and ./a:b are paths
            backend, rest = "native", text
        if backend not in backends:
            raise HubError(f"unknown backend {backend!r} in {text!r}: known is {', '.join(backends)}")
        if rest and backend != "openai" and Path(rest).exists() and rest not in BUILT_IN:
            return cls(rest, backend)
        if backend == "openai":  # a server calls its models what it will: `llama3:8b`, `name@x`
            name, revision = rest, ""
        else:
            name, _, revision = rest.partition("@")
        if not name:
            raise HubError(f"{text!r} names no model: spell it [backend:]name[@revision]")
        return cls(name, backend, revision or None)


def find(model: ModelName, *, download: bool = True) -> Path:
    """The folder of a model: built in, local, in the hub's cache, or (with `download`) fetched into it.

    Raises:
        HubError: it is none of these, or the hub can't be reached; the message says what would help.
    """
    if model.backend == "openai":
        raise HubError(f"openai:{model.name} is a model on a server, which shows no files: name a model that is here")
    found = _local(model) or _cached(model)
    if found is None and not download:
        raise HubError(f"{model.name} is not in the cache: fetch it with `auricle models pull {model.name}`")
    return found or _fetch(model)


def pull(model: ModelName) -> Path:
    """Brings a model of the hub into its cache: what is missing there, or newer on the hub. Returns its folder.

    Raises:
        HubError: there is no such model, or the hub can't be reached.
    """
    return _local(model) or _fetch(model)


def _local(model: ModelName) -> Path | None:
    """The folder of a model that needs no hub; None for a hub name."""
    if model.name in BUILT_IN:
        if model.revision:
            raise HubError(f"{model.name} is built in and has no revisions: leave out @{model.revision}")
        return Path(__file__).parent / "assets" / model.name
    path = Path(model.name).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise CheckpointError(f"{model.name} is no checkpoint folder: it is a file; name the folder it lies in")
    if not _HUB_ID.fullmatch(model.name) or model.name.startswith((".", "/", "~")):
        raise HubError(
            f"no model {model.name!r}: it is not built in ({', '.join(BUILT_IN)}), not a folder, and not a hub name "
            "such as google/gemma-4-E2B-it"
        )
    return None


def cached_models() -> Iterator[tuple[str, Path, int]]:
    """Checkpoints in the hub's cache that hold safetensors: name, folder of the newest revision, bytes on disk."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cache = scan_cache_dir()
    except CacheNotFound:
        return
    for repo in sorted(cache.repos, key=lambda repo: repo.repo_id):
        newest = max(repo.revisions, key=lambda revision: revision.last_modified, default=None)  # none: interrupted
        if repo.repo_type == "model" and newest and any(f.file_name.endswith(".safetensors") for f in newest.files):
            yield repo.repo_id, newest.snapshot_path, repo.size_on_disk


def _cached(model: ModelName) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            model.name,
            revision=model.revision,
            allow_patterns=_PATTERNS,
            ignore_patterns=_DUPLICATES,
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise HubError(f"{model.name!r} can't be a hub name, and is no folder: {error}") from error
    # The library counts a folder with any file as cached: an interrupted download lacks some of the weights.
    return Path(folder) if _is_complete(Path(folder)) else None


def _is_complete(folder: Path) -> bool:
    index = folder / "model.safetensors.index.json"
    try:
        weights = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # no shards; a damaged index is told later
        weights = {"model.safetensors"}
    return all((folder / name).is_file() for name in ("config.json", *weights))


def _fetch(model: ModelName) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined] # HTTPError is httpx's or httpx2's
        GatedRepoError,
        HTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        folder = Path(
            snapshot_download(
                model.name, revision=model.revision, allow_patterns=_PATTERNS, ignore_patterns=_DUPLICATES
            )
        )
    except GatedRepoError as error:
        raise HubError(
            f"{model.name} is gated: accept its licence on the hub, then log in with `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise HubError(f"{model.name} has no revision {model.revision!r} on the hub") from error
    except RepositoryNotFoundError as error:
        raise HubError(f"the hub has no model {model.name!r}, or it is private: check the name") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HTTPError, OSError) as error:
        raise HubError(
            f"{model.name} is not in the cache and the hub can't be reached: connect to the network, "
            "give a local folder, or a built-in model (--model tiny; tiny-audiolm makes sound)"
        ) from error
    if not _is_complete(folder):  # without a network the library is content with what is there
        raise HubError(
            f"{model.name} is not complete: {folder} lacks config.json or safetensors weights; "
            "connect to the network, or choose a model that has them"
        )
    return folder
