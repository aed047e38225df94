"""Two processes on CPUs: the same steps as one, and the same weights in both."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from auricle.audiolm.model.layers import Layer
from auricle.audiolm.training import run as run_module
from auricle.audiolm.training.launch import LAUNCHED
from auricle.audiolm.training.loop import Loop
from auricle.audiolm.training.objective import optimizer_of
from auricle.audiolm.training.run import Outcome, train
from auricle.audiolm.training.settings import Settings
from auricle.audiolm.training.workers import Workers
from auricle.errors import OptionError
from tests.audiolm.training.conftest import logged
from tests.audiolm.training.toy import settings

ROOT = Path(__file__).parents[3]
# Argument 4 is a step at which the main process, and it alone, is asked to stop; argument 5 says whether to shard.
RUN = """
import sys
import time
from pathlib import Path
from tests.audiolm.training.test_processes import trained
done = trained(Path(sys.argv[1]), Path(sys.argv[2]), eval(sys.argv[3]), int(sys.argv[4]), bool(int(sys.argv[5])))
print(done.ending.value, done.step, done.result is not None)
"""
# Other items in each, some steps of which see no prompt in one process; dropout; several batches a step.
UNEQUAL = {"max_duration": 3.0, "num_epochs": 3, "drop_prompt": 0.5, "dropout": 0.1, "accumulate": 2}
WHOLE = {"max_duration": 1000.0, "num_epochs": 4}  # an epoch is one step, so that all see the same items in it


def options(tokens: Path, out: Path, **changes: Any) -> Settings:
    return settings(tokens, out, **{"dropout": 0.0, "infill": 0.5, **changes})


def trained(tokens: Path, out: Path, changes: dict[str, Any], stop: int, shard: bool) -> Outcome:
    """What one of two processes does; it leaves its weights beside the folder."""
    save, step = run_module._Run._save, Loop._step

    def saved(self: Any, model: Any, *rest: Any) -> None:
        save(self, model, *rest)
        torch.save(self._workers.weights(model), out.parent / f"weights-{self._workers.rank}.pt")

    def stepped(self: Loop, *arguments: Any) -> None:
        step(self, *arguments)
        if self.place.step == stop and self.workers.main:
            self.stop._note(2, None)

    run_module._Run._save, Loop._step = saved, stepped
    run_module.draw_losses = lambda records, path: None
    if shard:
        Workers.prepared = sharded
    return train(options(tokens, out, **changes))


def sharded(self: Workers, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    """What Accelerate does on several GPUs, which it refuses to do on CPUs: each layer is cut up, then the rest."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (self.count,))
    for module in [one for one in model.modules() if isinstance(one, Layer)]:
        fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    self.sharded = True
    return model, optimizer_of(model, "adamw", optimizer.defaults["lr"], 0.1)


def together(tokens: Path, out: Path, *, stop: int = 0, shard: bool = False, **changes: Any) -> list[str]:
    """What two processes print."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = {LAUNCHED: 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    command = [sys.executable, "-c", RUN, str(tokens), str(out), repr(changes), str(stop), str(int(shard))]
    crew = []
    for rank in range(2):
        env = {name: str(value) for name, value in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        crew.append(subprocess.Popen(command, cwd=ROOT, env={**os.environ, **env}, **options))
    said = [process.communicate(timeout=300)[0] for process in crew]
    assert [process.returncode for process in crew] == [0, 0], said
    return [one.splitlines()[-1] for one in said]


def test_two_are_as_one(tokens: Path, tmp_path: Path) -> None:
    """Also in how tokens count, though the halves of a batch have unequal lengths."""
    assert together(tokens, tmp_path / "two", **WHOLE) == ["done 4 True", "done 4 False"]
    check_as_one(tokens, tmp_path)


@pytest.mark.slow
def test_shards_are_as_one(tokens: Path, tmp_path: Path) -> None:
    assert together(tokens, tmp_path / "two", shard=True, **WHOLE) == ["done 4 True", "done 4 False"]
    check_as_one(tokens, tmp_path)


def check_as_one(tokens: Path, folder: Path) -> None:
    train(options(tokens, folder / "one", **WHOLE))
    one, two = logged(folder / "one"), logged(folder / "two")
    assert len(one) == len(two) == 4
    for a, b in zip(one, two, strict=True):
        assert (a["loss"], a["grad_norm"]) == pytest.approx((b["loss"], b["grad_norm"]), rel=1e-4)
    one, two = logged(folder / "one", "validation"), logged(folder / "two", "validation")
    assert [a["tokens"] for a in one] == [b["tokens"] for b in two]
    assert [a["loss"] for a in one] == pytest.approx([b["loss"] for b in two], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("shard", [False, True])
def test_stopped_and_gone_on_with(tokens: Path, tmp_path: Path, shard: bool) -> None:
    """All stop at once, though one is asked; the losses go on, and the weights of both stay the same."""
    same = {"shard": shard, **UNEQUAL}
    together(tokens, tmp_path / "whole", **same)
    assert together(tokens, tmp_path / "run", stop=5, **same) == ["interrupted 6 False"] * 2
    assert together(tokens, tmp_path / "run", **same) == ["done 12 True", "done 12 False"]
    assert logged(tmp_path / "run") == logged(tmp_path / "whole")
    if not shard:
        check_weights(tmp_path)


def test_their_weights_stay_the_same(tokens: Path, tmp_path: Path) -> None:
    together(tokens, tmp_path / "run", **UNEQUAL)
    check_weights(tmp_path)


def check_weights(folder: Path) -> None:
    a, b = (torch.load(folder / f"weights-{rank}.pt") for rank in range(2))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) and torch.isfinite(a[name]).all() for name in a)


@pytest.mark.slow
def test_a_launch_of_two(tokens: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "auricle", "train", "--manifest-dir", tokens, "--exp-dir", tmp_path / "run"]
    command += "--codebook-size 16 --decoder-dim 32 --nhead 2 --num-decoder-layers 1 --max-steps 2".split()
    command += "--processes 2 --threads 1 --device cpu --no-tensorboard".split()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout.count("# 6 test items")) == (0, 1), done.stderr
    wrong = subprocess.run(
        [*command, "--seed", "1"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert re.fullmatch(r"auricle: .* was begun with seed 0, and not 1: .*\n", wrong.stderr), "one line, said once"


def test_more_processes_than_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    from auricle.audiolm.training.launch import launch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(OptionError, match="processes is 2, and there are 1 CUDA devices"):
        launch(2, [], device="auto", threads=None)
    with pytest.raises(OptionError, match="processes is 0; it must be at least 1"):
        launch(0, [], device="cpu", threads=None)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_launch_that_is_stopped(tokens: Path, tmp_path: Path, number: int) -> None:
    """Ctrl-C is passed on; where the launcher is killed, its processes notice. They save in both cases."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "auricle", "train", "--manifest-dir", tokens, "--exp-dir", out, "--log-every", "1"]
    command += "--codebook-size 16 --decoder-dim 32 --nhead 2 --num-decoder-layers 1 --max-steps 99999".split()
    command += "--processes 2 --threads 1 --device cpu --no-tensorboard --valid-every 0".split()
    started = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while time.monotonic() < until and not ((out / "log.jsonl").exists() and (out / "log.jsonl").stat().st_size):
        time.sleep(0.1)
    started.send_signal(number)
    said = started.communicate(timeout=60)[1]  # ends once no process holds its end of the pipe
    assert started.returncode == (130 if number == signal.SIGINT else -number)
    assert re.search(r"^note: interrupted at step \d+ of 99999: run the same command again", said, re.MULTILINE)
    assert (out / "checkpoint" / "state.pt").exists()
