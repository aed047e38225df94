"""Which tensors get how many bits: for each model type and scheme, rules that are read from the top.

A rule is a pattern of module paths and the scheme of what it fits; the first that fits a linear layer or a table
decides. Everything else stays as it is: norms, convolutions, biases, scalars, clipping ranges.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, get_args

from auricle.errors import CheckpointError, OptionError
from auricle.layers.linear import replaceable
from auricle.layers.packing import GROUP_SIZE, AudioTower, Packing, Rule, Scheme
from auricle.layers.table import Lookup
from auricle.models.weights import WholeModel

SCHEMES: tuple[str, ...] = get_args(Scheme)
AUDIO_TOWERS: tuple[str, ...] = get_args(AudioTower)

_CHOSEN = "as chosen"  # stands for the scheme of the audio tower


@dataclass(frozen=True)
class Policy:
    """How a model type is packed."""

    model: str  # "module:attribute" of `(config.json, packing or None) -> WholeModel`, on the meta device
    rules: dict[str, tuple[Rule, ...]]  # by scheme

    def outline(self, config: dict[str, Any], packing: Packing | None = None) -> WholeModel:
        """The model's modules, names and shapes, without numbers."""
        module, _, attribute = self.model.partition(":")
        made: WholeModel = getattr(importlib.import_module(module), attribute)(config, packing)
        return made


GEMMA4 = Policy(
    model="auricle.models.gemma4.model:outline_of",
    rules={
        "int4": (
            ("language_model.layers.*", "int4"),
            ("language_model.per_layer_model_projection", "int4"),
            ("language_model.lm_head", "int4"),  # its best candidates are scored again, by the next
            ("language_model.embed_tokens", "int8-rows"),
            ("language_model.embed_tokens_per_layer", "int4-rows"),  # over two billion numbers in E2B
            ("audio_tower.*", _CHOSEN),
            ("embed_audio.*", _CHOSEN),
        ),
        "int8": (
            ("language_model.embed_tokens", "int8-rows"),
            ("language_model.embed_tokens_per_layer", "int8-rows"),
            ("language_model.*", "int8"),
            ("audio_tower.*", _CHOSEN),
            ("embed_audio.*", _CHOSEN),
        ),
    },
)
QWEN2_AUDIO = Policy(
    model="auricle.models.qwen2_audio.model:outline_of",
    rules={
        "int4": (
            ("language_model.model.layers.*", "int4"),
            ("language_model.lm_head", "int8"),  # no table of more bits is its twin, that could put it right
            ("language_model.model.embed_tokens", "int8-rows"),
            ("audio_tower.*", _CHOSEN),
            ("multi_modal_projector.*", _CHOSEN),
        ),
        "int8": (
            ("language_model.model.embed_tokens", "int8-rows"),
            ("language_model.*", "int8"),
            ("audio_tower.*", _CHOSEN),
            ("multi_modal_projector.*", _CHOSEN),
        ),
    },
)
POLICIES = {"gemma4": GEMMA4, "qwen2_audio": QWEN2_AUDIO}  # by model_type


def policy_of(config: dict[str, Any], folder: object) -> Policy:
    """The policy for a checkpoint's config.

    Args:
        folder: what to call the checkpoint in messages.

    Raises:
        CheckpointError: there is none for its model type; the message names those there are.
    """
    kind = config["model_type"]
    if kind not in POLICIES:
        raise CheckpointError(
            f"{folder} is a {kind!r} model; model types that can be quantised are {', '.join(sorted(POLICIES))}"
        )
    return POLICIES[kind]


def rules_of(policy: Policy, scheme: str, audio: str, model: WholeModel) -> tuple[tuple[Rule, ...], list[str]]:
    """The rules for one model.

    Args:
        scheme: one of `SCHEMES`.
        audio: one of `AUDIO_TOWERS`: the scheme of the audio tower's linears.
        model: the dense outline.

    Returns:
        The rules, and a note on each table whose rows are too narrow for the scheme.

    Raises:
        OptionError: the scheme, or that of the audio tower, is unknown.
    """
    _require("scheme", scheme, SCHEMES)
    _require("audio tower's scheme", audio, AUDIO_TOWERS)
    rules, notes = [], []
    for pattern, packed in policy.rules[scheme]:
        if packed == "int4-rows" and (width := _odd_width(model, pattern)):
            packed = "int8-rows"
            notes.append(f"{pattern} is {width} wide, not a multiple of {GROUP_SIZE}: packed as int8-rows")
        rules.append((pattern, audio if packed == _CHOSEN else packed))
    return tuple(rules), notes


def _odd_width(model: WholeModel, pattern: str) -> int | None:
    """The width of the table that a rule names, if no whole number of groups fits into it."""
    table = model.get_submodule(pattern) if pattern in replaceable(model) else None
    return table.width if isinstance(table, Lookup) and table.width % GROUP_SIZE else None


def _require(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise OptionError(f"unknown {what} {value!r}: known are {', '.join(known)}")
