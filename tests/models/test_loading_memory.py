"""Loading never holds two copies: tensors come one at a time, from a file that is mapped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.qwen2_audio import make_qwen2_audio

SHOWN = """
import re, sys, torch
from pathlib import Path
import auricle
from auricle.checkpoint import Checkpoint
from auricle.models.family import open_family

def held(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

family = open_family(Checkpoint(Path(sys.argv[1])))
before = held("RssAnon"), held("VmHWM")
family.load(torch.device("cpu"), getattr(torch, sys.argv[2]))
print(held("RssAnon") - before[0], held("VmHWM") - before[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("dtype", "copies"), [("bfloat16", 0.0), ("float32", 2.0)])
def test_a_dense_checkpoint_is_held_once(tmp_path: Path, dtype: str, copies: float) -> None:
    """In its own dtype it is the file itself; in another, one copy of the new numbers (here of twice the bytes)."""
    sizes = {"hidden_size": 512, "intermediate_size": 4096, "num_hidden_layers": 8, "num_key_value_heads": 4}
    folder = make_qwen2_audio(tmp_path, dtype="bfloat16", **sizes)
    stored = (folder / "model.safetensors").stat().st_size
    done = subprocess.run([sys.executable, "-c", SHOWN, str(folder), dtype], capture_output=True, text=True, check=True)
    own, peak = map(int, done.stdout.split())
    slack = 0.15 * stored
    assert stored > 80e6
    assert own <= copies * stored + slack
    assert peak <= (copies + 1) * stored + slack  # the file's pages, which the system can take back, and the copy
