"""Every setting outside its range is refused by name; what may change in a run that goes on is named too."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from auricle.audiolm.training import Every
from auricle.audiolm.training.schedule import rate, warmup_steps
from auricle.audiolm.training.settings import parse_fraction
from auricle.errors import OptionError
from tests.audiolm.training.toy import settings


def made(**changes: Any) -> Any:
    return settings(Path("tokens"), Path("out"), **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pattern": "both"}, "pattern is 'both'; it must be ar-nar, delay"),
        ({"positions": "none"}, "positions is 'none'; it must be rotary, sine"),
        ({"nhead": 0}, "nhead is 0; it must be at least 1"),
        ({"decoder_dim": 30, "nhead": 4}, "decoder_dim is 30; it must be an even multiple of nhead, 4"),
        ({"decoder_dim": 30, "nhead": 2}, "decoder_dim is 30; it must be an even multiple of nhead, 2"),
        ({"nar_layers": 0}, "nar_layers is 0"),
        ({"nar_scale_factor": float("nan")}, "nar_scale_factor is nan; it must be from 0.01 to 100"),
        ({"nar_scale_factor": 0.3}, "nar_scale_factor is 0.3, which makes a second half 9 wide with 0 heads"),
        (
            {"nar_scale_factor": 0.5, "num_decoder_layers": 1},
            "nar_scale_factor is 0.5, which leaves a second half of 1 layers none: raise it",
        ),
        ({"threads": 10**9}, "threads is 1000000000; it must be from 1 to 1024"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be from 0 to 0.9"),
        ({"max_duration": 0.0}, "max_duration is 0.0; it must be a number of seconds above 0"),
        ({"filter_min_duration": 5.0, "filter_max_duration": 3.0}, "filter_min_duration is 5.0"),
        ({"prompt_fraction": (0.5, 0.4)}, "prompt_fraction is 0.5:0.4"),
        ({"prompt_fraction": (0.4, 1.0)}, "prompt_fraction is 0.4:1.0; it must be from 0 to below 1"),
        ({"infill": 1.5}, "infill is 1.5; it must be from 0 to 1"),
        ({"style": -0.1}, "style is -0.1"),
        ({"drop_prompt": float("nan")}, "drop_prompt is nan"),
        ({"codebook_size": 1}, "codebook_size is 1; it must be at least 2"),
        ({"train_stage": 3}, "train_stage is 3; it must be 0, 1, 2"),
        ({"train_stage": 2, "pattern": "delay"}, "train_stage is 2; a model of pattern delay has one part"),
        ({"train_stage": 2, "num_quantizers": 1}, "train_stage is 2; with num_quantizers 1 there is no such part"),
        ({"drop_prompt": 0.1, "bos": False}, "drop_prompt needs bos"),
        ({"num_epochs": 3, "start_epoch": 4}, "num_epochs is 3; it must be at least start_epoch, 4"),
        ({"max_steps": -1}, "max_steps is -1"),
        (
            {"base_lr": 0.05},
            "base_lr is 0.05; it must be above 0 and at most 0.01: rates like 0.05 were meant",
        ),
        ({"base_lr": 0.0}, "base_lr is 0.0; it must be above 0 and at most 0.01"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd'; it must be adamw"),
        ({"weight_decay": 2.0}, "weight_decay is 2.0"),
        ({"clip_grad": -1.0}, "clip_grad is -1.0; it must be at least 0, where 0 is off"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"dtype": "float16"}, "dtype is 'float16'; it must be bf16, float32"),
        ({"seed": -1}, "seed is -1"),
        ({"log_every": 0}, "log_every is 0"),
        ({"minutes": float("inf")}, "minutes is inf"),
        ({"threads": 0}, "threads is 0"),
        ({"device": "tpu"}, "device is 'tpu'"),
    ],
)
def test_what_is_outside_its_range(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match="^" + said.replace("(", r"\(")):
        made(**changes)


def test_what_a_run_keeps_to() -> None:
    fixed = made().fixed()
    assert {"base_lr", "seed", "decoder_dim", "prompt_fraction", "init"} <= fixed.keys()
    changed = made(threads=2, save_every=Every(5), minutes=1.0, device="auto", log_every=7)
    assert changed.fixed() == fixed
    assert made(seed=1).fixed() != fixed


@pytest.mark.parametrize(("text", "pair"), [("0.4", (0.4, 0.4)), ("0.1:0.7", (0.1, 0.7)), ("0", (0.0, 0.0))])
def test_fractions(text: str, pair: tuple[float, float]) -> None:
    assert parse_fraction(text) == pair


@pytest.mark.parametrize("text", ["", "x", "0.1:", ":0.5", "0.1:0.2:0.3"])
def test_what_is_no_fraction(text: str) -> None:
    with pytest.raises(OptionError, match="prompt_fraction is"):
        parse_fraction(text)


def test_how_often() -> None:
    assert [Every.parse("x", text) for text in ("500", "90s", "1.5m", "0")] == [
        Every(steps=500),
        Every(seconds=90),
        Every(seconds=90),
        Every(),
    ]
    for wrong in ("-1", "5h", "", "1.5"):
        with pytest.raises(OptionError, match=r"save_every is .*; it must be steps \(500\) or a time"):
            Every.parse("save_every", wrong)


def test_the_rate_goes_up_and_down() -> None:
    rates = [rate(step, 100, 1.0, 10) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == 1.0
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[55] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)


def test_the_warm_up_that_nobody_asked_for() -> None:
    assert [warmup_steps(None, total) for total in (5, 1000, 10**6)] == [1, 50, 1000]
    assert warmup_steps(7, 1000) == 7
    assert rate(0, 10, 1.0, warmup_steps(0, 10)) == 1.0


def test_settings_need_no_torch() -> None:
    code = "import sys, auricle.audiolm.training, auricle.cli.train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
