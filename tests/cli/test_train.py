"""`auricle train`: VALL-E's flags and ours, what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auricle.audiolm.training import run as library
from auricle.cli.train import _left_at_once
from tests.audiolm.training.toy import toy_tokens
from tests.cli.conftest import Run

SMALL = "--decoder-dim 32 --nhead 2 --num-decoder-layers 1 --codebook-size 16 --device cpu --threads 1".split()


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_tokens(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "draw_losses", lambda records, path: None)


@pytest.fixture
def command(tokens: Path, tmp_path: Path) -> list[Any]:
    where = ["train", "--manifest-dir", tokens, "--exp-dir", tmp_path / "run"]
    return [*where, *SMALL, "--no-tensorboard", "--max-steps", 2]


def test_the_flags_of_vall_e(auricle: Run, tokens: Path, tmp_path: Path) -> None:
    """As in its guide, but for the sizes and the rate of its optimiser."""
    flags = (
        "--model-name audio-lm --decoder-dim 32 --nhead 2 --num-decoder-layers 1 --num-quantizers 4 --base-lr 0.001 "
    )
    flags += "--num-epochs 1 --max-duration 150 --filter-min-duration 0.5 --filter-max-duration 15 --train-stage 0 "
    flags += "--start-epoch 1 --prompt-fraction 0.4 --codebook-size 16 --device cpu --no-tensorboard"
    done = auricle("train", *flags.split(), "--exp-dir", tmp_path / "exp", "--manifest-dir", tokens)
    assert done.status == 0
    assert done.out.startswith(f"# 6 test items, in nats a token: {tmp_path / 'exp' / 'best'}\ncodebook  cross-entropy")
    assert [line.split()[0] for line in done.out.splitlines()[2:6]] == ["0", "1", "2", "3"]
    assert done.err.splitlines() == [
        f"note: beginning at step 0 of 1 in {tmp_path / 'exp'}: 36,896 parameters",
        "note: measuring the best model on the test items",
    ]


def test_json_and_a_finished_run(auricle: Run, command: list[Any], tmp_path: Path) -> None:
    done = auricle(*command, "--json")
    record = done.json
    assert (record["ending"], record["step"], record["steps"], record["resumed_from"]) == ("done", 2, 2, None)
    assert record["result"] == json.loads((tmp_path / "run" / "result.json").read_text())
    assert record["best"] == {"step": 2, "validation_loss": record["result"]["best"]["validation_loss"]}
    again = auricle(*command)
    assert again.status == 0
    assert (
        again.err
        == f"note: {tmp_path / 'run'} was finished already, at step 2: to train further, name it with --init\n"
    )
    assert again.out.startswith("# 6 test items")


def test_an_interruption(auricle: Run, command: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from auricle.audiolm.training.stopping import Stop

    with monkeypatch.context() as patch:
        patch.setattr(Stop, "asked", True)
        done = auricle(*command)
    assert (done.status, done.out) == (130, "")
    assert done.err.partition("\n")[2] == "note: interrupted at step 1 of 2: run the same command again to go on\n"
    on = auricle(*command)
    assert on.status == 0
    assert on.err.startswith(f"note: going on from step 1 of 2 in {tmp_path / 'run'}\n")


def test_ctrl_c_while_modules_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    left, before = list[int](), signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(os, "_exit", left.append)
    with _left_at_once():
        signal.raise_signal(signal.SIGINT)
    assert (left, signal.getsignal(signal.SIGINT)) == ([130], before)


def test_the_time_is_up(auricle: Run, command: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from auricle.audiolm.training.stopping import Stop

    monkeypatch.setattr(Stop, "time_is_up", True)
    done = auricle(*command, "--minutes", 1)
    assert (done.status, done.out) == (0, "")
    assert done.err.partition("\n")[2] == "note: the time is up at step 1 of 2: run the same command again to go on\n"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--base-lr 0.05", "base_lr is 0.05; "),
        ("--prompt-fraction x", "prompt_fraction is 'x'; it must be a number (0.4) or a range (0.1:0.7)"),
        ("--save-every 5h", "save_every is '5h'; it must be steps (500) or a time (90s, 10m)"),
        ("--valid-every x", "valid_every is 'x'"),
        ("--pattern both", "Invalid value for '--pattern'"),
        ("--model-name other", "Invalid value for '--model-name'"),
        ("--nhead 3", "decoder_dim is 32; it must be an even multiple of nhead, 3"),
        ("--num-quantizers 3", "num_quantizers is 3, and the tokens in"),
        ("--codebook-size 4", "and codebooks have 4 entries"),
        ("--decoder-dim 1000000000000", "entries a codebook needs 288,000,000,000,192,000 GB of memory"),
        ("--codebook-size 1000000000000", "GB of memory or more to be trained, and there are"),
        ("--processes 0", "processes is 0; it must be at least 1"),
        ("--init nowhere/model", "nowhere/model"),
        ("--start-epoch 2", "start_epoch is 2, and "),
        ("--filter-min-duration 20", "no item of train lasts 20 to 30 s"),
        ("--max-duration 0.5", "max_duration is 0.5 s, and the longest item has"),
    ],
)
def test_what_is_refused(refused: Callable[..., str], command: list[Any], flags: str, said: str) -> None:
    assert said in refused(*command, *flags.split())
    assert not command[4].exists()


def test_processes_of_a_launcher(
    refused: Callable[..., str], command: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert "a launcher started this one, and says how many: drop it" in refused(*command, "--processes", 2)


def test_settings_that_come_to_nothing(auricle: Run, command: list[Any]) -> None:
    done = auricle(*command, "--warmup", 1000, "--accumulate", 1000)
    assert done.status == 0
    assert "note: warmup is 1000 steps, and the run has 2: the rate never comes to base_lr\n" in done.err
    assert "note: accumulate is 1000 batches a step, and an epoch has 1: each step has those alone\n" in done.err


def test_a_folder_without_tokens(refused: Callable[..., str], tmp_path: Path) -> None:
    said = refused("train", "--manifest-dir", tmp_path / "none", "--exp-dir", tmp_path / "run")
    assert said.startswith(f"there is no folder {tmp_path / 'none'} with manifests: make it with auricle tokenize")
    assert not (tmp_path / "run").exists()


def test_a_folder_of_something_else(refused: Callable[..., str], command: list[Any], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("mine")
    assert "holds other files (thesis.tex, ...)" in refused(*command)
