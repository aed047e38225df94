"""A run that is killed without warning, and goes on: its losses are those of one that nobody disturbed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from auricle.audiolm.training import Every
from auricle.audiolm.training.loop import Ending
from auricle.audiolm.training.run import train
from tests.audiolm.training.conftest import logged, same_weights
from tests.audiolm.training.toy import settings

ROOT = Path(__file__).parents[3]
STEPS = 120
# The same as `options`; it says when it is in the middle of things.
RUN = """
import sys
from pathlib import Path
import auricle.audiolm.training.run as run
from tests.audiolm.training.test_kill import options
run.draw_losses = lambda records, path: None
run.train(options(Path(sys.argv[1]), Path(sys.argv[2])), say=lambda step, steps, words: print(step, flush=True))
"""


def options(tokens: Path, out: Path) -> object:
    return settings(tokens, out, max_steps=STEPS, save_every=Every(7), valid_every=Every(50))


def test_kill_9(tokens: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    started = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tokens), str(out)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    for line in started.stdout:
        if int(line) >= 60:
            break
    time.sleep(0.02)  # wherever it is now: within a step, or a checkpoint
    started.send_signal(signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL
    seen = len(logged_whole_lines(out))
    assert 60 <= seen < STEPS, "it was killed too late"

    on = train(options(tokens, out))
    assert on.ending is Ending.DONE
    assert on.resumed_from is not None
    assert 49 <= on.resumed_from < STEPS
    whole = tmp_path / "whole"
    train(options(tokens, whole))
    assert logged(out) == logged(whole)
    assert logged(out, "validation") == logged(whole, "validation")
    assert same_weights(out / "best", whole / "best")


def logged_whole_lines(out: Path) -> list[str]:
    return [line for line in (out / "log.jsonl").read_text().splitlines(keepends=True) if '"step"' in line]
