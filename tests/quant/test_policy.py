"""Which tensors get how many bits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from auricle.errors import CheckpointError, OptionError
from auricle.layers.linear import replaceable
from auricle.layers.packing import Packing
from auricle.models.gemma4.config import Gemma4Config
from auricle.models.gemma4.model import Gemma4
from auricle.quant.policy import POLICIES, policy_of, rules_of
from tests.checkpoints import AUDIO, TEXT

HEAD, TABLE = "language_model.lm_head", "language_model.embed_tokens"
PER_LAYER = "language_model.embed_tokens_per_layer"


def settings(family: str = "e2b") -> dict[str, Any]:
    return {"model_type": "gemma4", "text_config": TEXT[family], "audio_config": AUDIO[family]}


def schemes(scheme: str, audio: str = "int8", family: str = "e2b") -> dict[str, str]:
    """The scheme of each linear and table."""
    policy = policy_of(settings(), "folder")
    rules, _ = rules_of(policy, scheme, audio, policy.outline(settings(family)))
    packing = Packing(scheme, rules)
    with torch.device("meta"):
        model = Gemma4(Gemma4Config.from_dict(settings(family)), own_head=True)
    return {path: packing.scheme_of(path) for path in replaceable(model)}


def test_int4() -> None:
    found = schemes("int4")
    assert (found[HEAD], found[TABLE], found[PER_LAYER]) == ("int4", "int8-rows", "int4-rows")
    layers = {scheme for path, scheme in found.items() if path.startswith("language_model.layers.")}
    assert layers == {"int4"}
    assert found["language_model.per_layer_model_projection"] == "int4"
    assert {scheme for path, scheme in found.items() if "audio" in path} == {"int8"}


def test_int8() -> None:
    found = schemes("int8")
    assert (found[HEAD], found[TABLE], found[PER_LAYER]) == ("int8", "int8-rows", "int8-rows")
    assert {scheme for path, scheme in found.items() if path not in (TABLE, PER_LAYER)} == {"int8"}


@pytest.mark.parametrize("scheme", ["int4", "int8"])
def test_the_audio_tower_as_chosen(scheme: str) -> None:
    packed, dense = schemes(scheme), schemes(scheme, audio="bf16")
    assert {path for path in packed if packed[path] != dense[path]} == {path for path in packed if "audio" in path}
    assert {scheme for path, scheme in dense.items() if "audio" in path} == {"bf16"}


@pytest.mark.parametrize("scheme", ["int4", "int8"])
@pytest.mark.parametrize("family", ["e2b", "e4b"])
def test_nothing_is_forgotten(scheme: str, family: str) -> None:
    assert "dense" not in schemes(scheme, family=family).values()


def test_a_table_of_an_odd_width_gets_8_bits_and_a_note() -> None:
    """e4b's here is 6 layers x 12 = 72 wide."""
    assert schemes("int4", family="e4b")[PER_LAYER] == "int8-rows"
    policy = policy_of(settings(), "folder")
    _, notes = rules_of(policy, "int4", "int8", policy.outline(settings("e4b")))
    assert notes == [f"{PER_LAYER} is 72 wide, not a multiple of 32: packed as int8-rows"]


def test_without_per_layer_embeddings() -> None:
    plain = settings()
    plain["text_config"] = {**plain["text_config"], "hidden_size_per_layer_input": 0}
    policy = policy_of(plain, "folder")
    assert rules_of(policy, "int4", "int8", policy.outline(plain))[1] == []


@pytest.mark.parametrize(
    ("scheme", "audio", "said"),
    [
        ("int3", "int8", "unknown scheme 'int3': known are int4, int8"),
        ("int4", "int4", "unknown audio tower's scheme 'int4': known are int8, bf16"),
    ],
)
def test_unknown_schemes(scheme: str, audio: str, said: str) -> None:
    policy = POLICIES["gemma4"]
    with pytest.raises(OptionError, match=said):
        rules_of(policy, scheme, audio, policy.outline(settings()))


def test_a_model_type_without_a_policy() -> None:
    with pytest.raises(
        CheckpointError, match="folder is a 'llama' model; model types that can be quantised are gemma4"
    ):
        policy_of({"model_type": "llama"}, "folder")
