"""What a config says of packed tensors, and what is wrong with one that can't be understood."""

from __future__ import annotations

from typing import Any

import pytest

from auricle.errors import CheckpointError
from auricle.layers.packing import Packing, read_packing

PACKING = Packing(
    "int4",
    (("layers.*.up", "int8"), ("layers.*", "int4"), ("table", "int8-rows")),
    {"source": "tiny", "date": "2026-12-01"},
)


def config(**changes: Any) -> dict[str, Any]:
    """As it is after a way through JSON, with some settings changed, or left out where the change is None."""
    settings = {**PACKING.as_config(), "rules": [list(rule) for rule in PACKING.rules], **changes}
    return {"model_type": "x", "quantization_config": {k: v for k, v in settings.items() if v is not None}}


def test_what_was_written_is_read() -> None:
    assert read_packing(config(), "folder") == PACKING


def test_a_dense_checkpoint_has_none() -> None:
    assert read_packing({"model_type": "x"}, "folder") is None
    assert read_packing({"model_type": "x", "quantization_config": None}, "folder") is None


@pytest.mark.parametrize(
    ("path", "scheme"),
    [("layers.3.up", "int8"), ("layers.3.down", "int4"), ("table", "int8-rows"), ("tables", "dense"), ("", "dense")],
)
def test_the_first_rule_that_fits_decides(path: str, scheme: str) -> None:
    assert PACKING.scheme_of(path) == scheme


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quant_method": "gptq"}, r"is quantised by 'gptq', and only 'auricle' is understood: take .* dense weights"),
        ({"quant_method": None}, r"is quantised by None"),
        ({"version": 2}, r"in version 2 with groups of 32, and version 1 .* quantise the model again"),
        ({"version": None}, r"in version None"),
        ({"version": "1"}, r"in version '1'"),
        ({"group_size": 128}, r"with groups of 128, and version 1 with groups of 32"),
        ({"scheme": None}, "can't be read"),
        ({"scheme": 4}, "can't be read"),
        ({"rules": None}, "can't be read"),
        ({"rules": {"a": "int4"}}, "can't be read"),
        ({"rules": [["a"]]}, "can't be read"),
        ({"rules": [["a", 4]]}, "can't be read"),
        ({"rules": ["ab"]}, "can't be read"),
        ({"provenance": []}, "can't be read"),
    ],
)
def test_what_is_not_understood(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=f"^the/folder.*{said}") as caught:
        read_packing(config(**changes), "the/folder")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("settings", ["int4", 4, [], True])
def test_something_else_in_its_place(settings: Any) -> None:
    with pytest.raises(CheckpointError, match="can't be read"):
        read_packing({"quantization_config": settings}, "folder")
