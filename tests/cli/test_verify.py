"""`auricle verify`: agreement is shown, disagreement found."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from auricle.backends import verify as library
from tests.cli.conftest import Run
from tests.qwen2_audio import make_qwen2_audio

CHECKS = ["mel", "encoder", "logits", "logits, last position", "greedy tokens"]


@pytest.fixture
def verify(auricle: Run, e2b: Path, sounds: Path) -> Run:
    return lambda *arguments, **rest: auricle(
        "verify", e2b, "--audio", sounds / "noise.wav", "--max-tokens", 8, *arguments, **rest
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_ours_agrees_with_the_reference(verify: Run, dtype: str) -> None:
    done = verify("--dtype", dtype, "--json")
    assert done.status == 0, done
    record = done.json
    assert record["ok"] is True
    assert (record["device"], record["dtype"], record["seconds"]) == ("cpu", dtype, 0.5)
    assert record["reference"].startswith("transformers 5")
    assert [check["name"] for check in record["checks"]] == CHECKS
    for check in record["checks"]:
        assert set(check) == {"name", "shape", "difference", "tolerance", "ok", "remark"}
        assert check["ok"]


def test_the_table(verify: Run) -> None:
    done = verify()
    assert done.status == 0
    title, header, *rows = done.out.splitlines()
    assert "float32 on cpu, 0.5 s of sound" in title
    assert header.split("  ")[0] == "what"
    assert len([row for row in rows if "ok" in row]) == len(CHECKS)
    assert done.err == ""


def test_only_the_first_clip_of_long_sound_is_compared(verify: Run, sounds: Path) -> None:
    done = verify("--audio", sounds / "long.wav", "--max-tokens", "2")
    assert done.status == 0
    assert "note: only the first 20.5 s of 36.0 s were compared" in done.err


@pytest.mark.parametrize("broken", CHECKS)
def test_a_difference_fails(verify: Run, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    theirs = library._theirs

    def changed(*arguments: Any) -> Any:
        numbers = theirs(*arguments)
        if broken == "greedy tokens":
            return replaced(numbers, greedy=(*numbers.greedy[:-1], (numbers.greedy[-1] + 1) % 320))
        field = {"mel": "mel", "encoder": "encoded", "logits": "logits", "logits, last position": "last"}[broken]
        values = getattr(numbers, field).clone()
        values.view(-1)[0] += 1
        return replaced(numbers, **{field: values})

    monkeypatch.setattr(library, "_theirs", changed)
    done = verify("--json")
    assert done.status == 1
    assert done.json["ok"] is False
    assert [check["name"] for check in done.json["checks"] if not check["ok"]] == [broken]
    assert "FAILED" in verify().out


def test_numbers_that_are_none_fail() -> None:
    assert not library._numbers("mel", torch.tensor([float("nan")]), torch.zeros(1), 1.0).ok
    wrong_shape = library._numbers("mel", torch.zeros(2), torch.zeros(3), 1.0)
    assert not wrong_shape.ok
    assert "(3,)" in wrong_shape.remark


def test_without_transformers_it_says_what_to_install(verify: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else find(name))
    done = verify()
    assert (done.status, done.out) == (2, "")
    assert 'pip install "auricle[transformers]"' in done.err
    assert done.err.count("\n") == 1


def test_bad_sounds_are_refused(auricle: Run, e2b: Path) -> None:
    done = auricle("verify", e2b, "--audio", "missing.wav")
    assert done.status == 2
    assert "there is no file missing.wav" in done.err


def replaced(numbers: Any, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(numbers, **changes)


def test_qwen2_audio_agrees_with_its_own(auricle: Run, tmp_path: Path, sounds: Path) -> None:
    folder = make_qwen2_audio(tmp_path / "qwen")
    done = auricle("verify", folder, "--audio", sounds / "noise.wav", "--max-tokens", 8, "--json")
    assert done.status == 0, done
    assert [check["name"] for check in done.json["checks"]] == CHECKS
    assert all(check["ok"] for check in done.json["checks"])
