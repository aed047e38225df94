"""What a checkpoint's config says of its packed tensors. No torch: `auricle inspect` reads it too.

    "quantization_config": {
        "quant_method": "auricle", "version": 1, "scheme": "int4", "group_size": 32,
        "rules": [["language_model.layers.*", "int4"], ...],
        "provenance": {"source": "gemma-4-E2B-it", "source_dtype": "bfloat16", "auricle": "0.1.0", "date": "2026-12-01"}
    }

A rule names modules by a shell pattern, whose `*` crosses dots, and says how they are packed. The first that fits a
linear layer or a table decides; one that no rule fits is dense.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from auricle.errors import CheckpointError

METHOD = "auricle"
VERSION = 1
GROUP_SIZE = 32  # inputs that share a scale where a scheme has groups; the kernels know no other
DENSE = "dense"
BF16 = "bf16"  # dense too, whatever the source's dtype was

Scheme = Literal["int4", "int8"]  # of a whole checkpoint: `quant.policy` says what it means for each tensor
AudioTower = Literal["int8", "bf16"]  # of the audio tower's linears
Rule = tuple[str, str]  # pattern of module paths, scheme


@dataclass(frozen=True)
class Packing:
    """How the tensors of a checkpoint are packed."""

    scheme: str  # "int4" or "int8": the policy as a whole
    rules: tuple[Rule, ...]
    provenance: dict[str, str] = field(default_factory=dict)  # source, source_dtype, auricle, date

    def scheme_of(self, path: str) -> str:
        """How the module at this path is packed; "dense" when no rule fits."""
        return next((scheme for pattern, scheme in self.rules if fnmatchcase(path, pattern)), DENSE)

    def as_config(self) -> dict[str, Any]:
        """As it stands under `quantization_config`."""
        return {"quant_method": METHOD, "version": VERSION, "group_size": GROUP_SIZE, **asdict(self)}


def read_packing(config: dict[str, Any], folder: object) -> Packing | None:
    """The packing that a checkpoint's `config.json` describes; None for a dense one.

    Args:
        folder: what to call the checkpoint in messages.

    Raises:
        CheckpointError: it was packed by something else, by another version, or the description is damaged.
    """
    settings = config.get("quantization_config")
    if settings is None:
        return None
    if not isinstance(settings, dict):
        raise _damaged(folder)
    method, version, group = (settings.get(key) for key in ("quant_method", "version", "group_size"))
    if method != METHOD:
        raise CheckpointError(
            f"{folder} is quantised by {method!r}, and only {METHOD!r} is understood: take the model's dense weights, "
            "and pack them with `auricle quantize`"
        )
    if version != VERSION or group != GROUP_SIZE:
        raise CheckpointError(
            f"{folder} is quantised in version {version!r} with groups of {group!r}, and version {VERSION} with groups "
            f"of {GROUP_SIZE} is understood: quantise the model again with this Auricle"
        )
    scheme, provenance = settings.get("scheme"), settings.get("provenance", {})
    rules = settings.get("rules")
    if not isinstance(scheme, str) or not isinstance(provenance, dict) or not isinstance(rules, list):
        raise _damaged(folder)
    if not all(_is_rule(rule) for rule in rules):
        raise _damaged(folder)
    words = {str(key): str(value) for key, value in provenance.items()}
    return Packing(scheme, tuple((pattern, packed) for pattern, packed in rules), words)


def _is_rule(rule: Any) -> bool:
    return isinstance(rule, list) and len(rule) == 2 and all(isinstance(word, str) for word in rule)


def _damaged(folder: object) -> CheckpointError:
    return CheckpointError(
        f"{folder}: the quantization_config of config.json can't be read: quantise the model again, or fetch it again"
    )
